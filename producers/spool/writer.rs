//! The thread that writes: records at the end of the newest segment, the cursor, and what the server refused.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;

use super::folder::Folder;
use super::ledger::Segment;
use super::record::Record;
use super::{Request, Shared, Survives, told};
use crate::crash_point;
use crate::frame::Frame;
use crate::message::Message;
use crate::outbox::{Kept, Waiting};

/// Frames that are written before those who wait for them are told, so that one flush serves them all.
const BATCH_FRAMES: usize = 64;
/// Pause before a disk that failed is tried again. Whoever publishes waits that long too.
const RETRY_PAUSE: Duration = Duration::from_millis(250);
/// A full spool looks for room this often at least.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Refused messages that are kept. Whoever has so many has one mistake, not many.
const REFUSED_MAX: usize = 1_000;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub bytes_max: u64,
    pub segment_bytes: u64,
    pub survives: Survives,
}

#[derive(Debug)]
pub(crate) struct Writer {
    folder: Folder,
    limits: Limits,
    shared: Arc<Shared>,
    /// The cursor as it is on disk.
    cursor: u64,
    refused: usize,
    buffer: Vec<u8>,
    is_full: bool,
}

impl Writer {
    pub fn new(folder: Folder, limits: Limits, shared: Arc<Shared>) -> Self {
        Writer { folder, limits, shared, cursor: 0, refused: 0, buffer: Vec::new(), is_full: false }
    }

    pub fn run(mut self, mut queue: mpsc::Receiver<Request>) {
        while let Some(request) = queue.blocking_recv() {
            let (mut waiting, mut known) = (Vec::new(), Vec::new());
            let mut next = Some(request);
            let mut taken = 0;
            let mut barriers = Vec::new();
            let mut closed = None;
            while let Some(request) = next.take() {
                match request {
                    Request::Append(frame) => match self.append(frame, &queue) {
                        Some(written) => waiting.extend(written),
                        // Nobody hands over anything any more, and there is no room: whoever waits learns it by the drop.
                        None => return,
                    },
                    Request::Tell(one) => known.push(one),
                    Request::Barrier(told) => barriers.push(told),
                    Request::Look => {}
                    Request::Close(told) => closed = Some(told),
                }
                taken += 1;
                if taken < BATCH_FRAMES && closed.is_none() {
                    next = queue.try_recv().ok();
                }
            }
            if self.limits.survives == Survives::PowerLoss && !(waiting.is_empty() && known.is_empty()) {
                self.until_it_works("flush", |writer| writer.folder.file.sync_data());
            }
            told(waiting, Kept::OnDisk);
            told(known, Kept::Before);
            let next = self.shared.ledger().next;
            for told in barriers {
                let _ = told.send(next);
            }
            self.look();
            if let Some(told) = closed {
                // The folder is unlocked before anyone is told.
                drop(self);
                let _ = told.send(());
                return;
            }
        }
        self.look();
    }

    /// Writes a frame; gives those who wait for it. `None` when there is no room and nobody is left to wait for it.
    fn append(&mut self, frame: Frame<Waiting>, queue: &mpsc::Receiver<Request>) -> Option<Vec<Waiting>> {
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        let number = self.shared.ledger().next;
        Record::write(number, &frame.message, &frame.ids, &mut buffer);
        let bytes = buffer.len() as u64;
        if !self.make_room(bytes, queue) {
            return None;
        }
        self.roll(number);
        let end = self.shared.ledger().segments.back().map_or(0, |segment| segment.bytes);
        crash_point!(HalfRecord, self.folder.file.write_all(&buffer[..buffer.len() / 2]));
        self.until_it_works("write", |writer| {
            let written = writer.folder.file.write_all(&buffer);
            // A part of a record would stand before the whole one.
            written.inspect_err(|_| cut_off(&mut writer.folder.file, end))
        });
        crash_point!(AfterRecord);
        self.buffer = buffer;
        self.shared.ledger().written(bytes, frame.message.events());
        self.shared.changed.notify_all();
        Some(frame.waiting)
    }

    /// Waits until the spool has room for so many bytes. `false` when it has none and nobody is left.
    fn make_room(&mut self, bytes: u64, queue: &mpsc::Receiver<Request>) -> bool {
        loop {
            self.look();
            if self.shared.ledger().bytes() + bytes > self.limits.bytes_max {
                let removed = self.shared.ledger().removable(true);
                remove(&removed);
            }
            let ledger = self.shared.ledger();
            let full = ledger.bytes() + bytes > self.limits.bytes_max;
            if full != self.is_full {
                self.is_full = full;
                match full {
                    true => tracing::warn!(
                        bytes_max = self.limits.bytes_max,
                        "the spool is full: publishing waits for the bus"
                    ),
                    false => tracing::info!("the spool has room again"),
                }
            }
            if !full {
                return true;
            }
            if queue.is_closed() {
                return false;
            }
            drop(self.shared.changed.wait_timeout(ledger, LOOK_EVERY));
        }
    }

    /// Begins a new segment where the newest one is long enough.
    fn roll(&mut self, number: u64) {
        let long_enough = |segment: &Segment| segment.bytes >= self.limits.segment_bytes;
        if !self.shared.ledger().segments.back().is_some_and(long_enough) {
            return;
        }
        if self.limits.survives == Survives::PowerLoss {
            self.until_it_works("flush", |writer| writer.folder.file.sync_data());
        }
        let segment = self.until_it_works("begin a segment", |writer| writer.folder.begin(number));
        self.shared.ledger().segments.push_back(segment);
    }

    /// Brings the cursor onto the disk and removes what is done.
    fn look(&mut self) {
        let refused =
            std::mem::take(&mut *self.shared.refused.lock().unwrap_or_else(PoisonError::into_inner));
        for (number, message, why) in refused {
            self.keep_refused(number, &message, &why);
            self.shared.finish(number, message.events());
        }
        let (cursor, removed) = {
            let mut ledger = self.shared.ledger();
            (ledger.cursor, ledger.removable(false))
        };
        if cursor != self.cursor {
            match self.folder.cursor.write(cursor) {
                Ok(()) => {
                    self.cursor = cursor;
                    crash_point!(AfterSpoolCursor);
                }
                // It costs repetition after a restart, no more.
                Err(error) => tracing::warn!(%error, "the cursor of the spool cannot be written"),
            }
        }
        remove(&removed);
    }

    fn keep_refused(&mut self, number: u64, message: &Message, why: &str) {
        tracing::error!(subject = message.subject(), id = %message.id(), events = message.events(), why, "refused by the server");
        self.refused += 1;
        if self.refused > REFUSED_MAX {
            return;
        }
        let folder = self.folder.path.join("refused");
        let mut text = format!("Subject: {}\nContent-Type: {}\n", message.subject(), message.content_type());
        message.headers().for_each(|(name, value)| text.push_str(&format!("{name}: {value}\n")));
        text.push_str(&format!("Why: {}\n\n", why.replace(['\r', '\n'], " ")));
        let bytes = [text.as_bytes(), message.body()].concat();
        self.until_it_works("keep a refused message", |_| {
            std::fs::create_dir_all(&folder)?;
            std::fs::write(folder.join(format!("{number:020}")), &bytes)
        });
    }

    /// Does something with the disk until it succeeds: what was handed over must not be lost for a disk that is full for a
    /// while.
    fn until_it_works<T>(&mut self, what: &str, mut act: impl FnMut(&mut Self) -> std::io::Result<T>) -> T {
        let mut said = false;
        loop {
            match act(self) {
                Ok(done) => return done,
                Err(error) => {
                    if !said {
                        tracing::error!(%error, path = %self.folder.path.display(), "the spool cannot {what}: publishing waits");
                        said = true;
                    }
                    std::thread::sleep(RETRY_PAUSE);
                }
            }
        }
    }
}

fn cut_off(file: &mut File, end: u64) {
    if let Err(error) = file.set_len(end).and_then(|()| file.seek(SeekFrom::Start(end))) {
        tracing::error!(%error, "half a record cannot be taken away from the spool");
    }
}

fn remove(segments: &[Segment]) {
    for segment in segments {
        remove_file(&segment.path);
    }
}

fn remove_file(path: &Path) {
    if let Err(error) = std::fs::remove_file(path) {
        tracing::warn!(%error, path = %path.display(), "a segment of the spool cannot be removed");
    }
}
