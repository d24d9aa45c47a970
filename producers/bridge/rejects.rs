//! What is no event is kept as it came, with its reason: as a dead letter, or in a file while the bus is away.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::json;
use sightline_producers::Message;
use sightline_schemas::subject::{EventSubject, HEADER_DETAIL, HEADER_REASON, HEADER_SUBJECT, deadletter};
use sightline_schemas::{EventId, EventTime};

use crate::record::Rejected;

/// Most bytes of the file. Beyond it, a rejected record waits for the bus, and its source with it.
const FILE_BYTES_MAX: u64 = 256 << 20;

/// The dead letter of a rejected record. It has no position: it never was in the log.
pub fn letter(tenant: &str, rejected: &Rejected) -> Message {
    let subject = EventSubject { tenant: tenant.to_owned(), source: rejected.source.clone() }.subject();
    let id = EventId::from_raw(tenant, &format!("deadletter of {}", rejected.source), &rejected.bytes);
    Message::on(deadletter(&subject), rejected.bytes.clone(), rejected.content_type, id, 1)
        .with_header(HEADER_REASON, rejected.reject.reason.as_str())
        .with_header(HEADER_DETAIL, rejected.reject.detail.replace(['\r', '\n'], " "))
        .with_header(HEADER_SUBJECT, subject)
}

/// The file for rejected records, one JSON object a line.
#[derive(Clone, Debug)]
pub struct RejectFile {
    path: PathBuf,
    file: Arc<Mutex<Option<File>>>,
}

impl RejectFile {
    /// At this path; made when it is first needed.
    pub fn at(path: PathBuf) -> Self {
        RejectFile { path, file: Arc::default() }
    }

    /// Where it is.
    pub fn path(&self) -> &std::path::Path {
        &self.path
    }

    /// Keeps a record; comes back when it is on the disk.
    ///
    /// # Errors
    /// When the disk refuses or the file is full.
    pub fn keep(&self, tenant: &str, rejected: &Rejected, now: EventTime) -> std::io::Result<()> {
        let mut place = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        if place.is_none() {
            *place = Some(File::options().create(true).append(true).open(&self.path)?);
        }
        let Some(file) = place.as_mut() else { return Ok(()) };
        let mut line = describe(tenant, rejected, now).to_string();
        line.push('\n');
        if file.metadata()?.len() + line.len() as u64 > FILE_BYTES_MAX {
            return Err(std::io::Error::other(format!("{} is full: move it away", self.path.display())));
        }
        file.write_all(line.as_bytes())?;
        file.sync_data()
    }
}

/// A rejected record for people; bytes that are no text are written in hexadecimal.
pub fn describe(tenant: &str, rejected: &Rejected, now: EventTime) -> serde_json::Value {
    let mut line = json!({
        "at": now, "tenant": tenant, "source": rejected.source, "reason": rejected.reject.reason,
        "detail": rejected.reject.detail, "content_type": rejected.content_type,
    });
    match std::str::from_utf8(&rejected.bytes) {
        Ok(text) => line["text"] = text.into(),
        Err(_) => {
            let digits = rejected.bytes.iter().map(|byte| format!("{byte:02x}"));
            line["hex"] = digits.collect::<String>().into();
        }
    }
    line
}
