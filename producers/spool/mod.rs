//! The spool: what a producer was handed over is on disk before anything else, and leaves the disk when it is in the log.
//!
//! [`record`] is one message on disk, [`folder`] the files and what a crash leaves of them, [`ledger`] what is written and
//! what is done. Two threads live by it: the [`writer`] appends records, moves the cursor and removes segments whose
//! records are all done; the [`reader`] reads records in order and has them published. So a bus that is away costs disk
//! and not memory, and what a process had not sent when it was killed, the next one sends.
//!
//! A record that was on its way when the process was killed is sent again, as the same message under the same
//! `Nats-Msg-Id`: the server drops it inside its duplicate window, and the engine drops its events for ever.

mod folder;
mod ledger;
mod reader;
mod record;
mod writer;

use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use sightline_schemas::EventId;
use tokio::sync::{mpsc, oneshot, watch};

use crate::frame::Frame;
use crate::message::Message;
use crate::outbox::{Kept, Waiting};
use crate::publish_error::PublishError;
use crate::publisher::Publisher;
use folder::Folder;
use ledger::Ledger;

/// Least size of a spool: room for some segments of the longest records.
pub const SPOOL_BYTES_MIN: u64 = 16 << 20;
/// A segment is closed when it is larger than this, or than a part of a small spool.
const SEGMENT_BYTES_MAX: u64 = 8 << 20;
/// Frames that wait to be written.
const QUEUE_FRAMES: usize = 64;

/// Where a spool lies and how large it may grow.
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpoolConfig {
    /// Its folder. No other process may have it open.
    pub path: PathBuf,
    /// Most bytes on disk, at least [`SPOOL_BYTES_MIN`]. When it is full, whoever publishes waits.
    #[serde(default = "bytes_max_default")]
    pub bytes_max: u64,
    /// What a record must survive before its caller is told that it is kept.
    #[serde(default)]
    pub survives: Survives,
}

fn bytes_max_default() -> u64 {
    1 << 30
}

impl SpoolConfig {
    /// A spool of 1 GiB in `path` that survives the death of the process.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        SpoolConfig { path: path.into(), bytes_max: bytes_max_default(), survives: Survives::default() }
    }
}

/// What a record must survive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Survives {
    /// The death of the process, also by `kill -9`: it is written.
    #[default]
    ProcessDeath,
    /// A loss of power: it is flushed to the disk, once for all that came together.
    PowerLoss,
}

/// A spool cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// Stop the other process, or give this one a folder of its own.
    #[error("the spool {} is open in another process: each needs a folder of its own", path.display())]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// Mend the path, its permissions or the disk.
    #[error("cannot use the spool {}: {source}", path.display())]
    Disk {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// How full a spool is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SpoolState {
    /// Events on disk that are not in the log.
    pub waiting_events: u64,
    /// Bytes on disk.
    pub bytes: u64,
    /// Most bytes on disk.
    pub bytes_max: u64,
}

/// What the writer is asked for, in order.
pub(crate) enum Request {
    Append(Frame<Waiting>),
    /// Told when all before it is written: up to and without which record.
    Barrier(oneshot::Sender<u64>),
    /// Somebody offers what is in a frame before: told when that is written.
    Tell(Waiting),
    /// Something was done: move the cursor.
    Look,
    Close(oneshot::Sender<()>),
}

/// What the threads and the answers of the server share.
#[derive(Debug)]
pub(crate) struct Shared {
    ledger: Mutex<Ledger>,
    /// The ledger has changed.
    changed: Condvar,
    /// The cursor of the ledger, for those who await it.
    cursor: watch::Sender<u64>,
    /// What the server will never take: the number of the record, and why.
    refused: Mutex<Vec<(u64, Message, String)>>,
    requests: mpsc::WeakSender<Request>,
}

impl Shared {
    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what became of a record. Called by the publisher's task: it does not block.
    fn hear(&self, number: u64, message: Message, result: Result<(), PublishError>) {
        match result {
            Ok(()) => self.finish(number, message.events()),
            Err(PublishError::Refused { why, .. }) => {
                let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
                refused.push((number, message, why));
            }
            // It stays on disk, for the next connection.
            Err(_) => {}
        }
        // A writer with a full queue is awake anyway.
        if let Some(requests) = self.requests.upgrade() {
            let _ = requests.try_send(Request::Look);
        }
    }

    fn finish(&self, number: u64, events: u32) {
        let mut ledger = self.ledger();
        ledger.finish(number, events);
        self.cursor.send_replace(ledger.cursor);
        self.changed.notify_all();
    }
}

/// An open spool.
#[derive(Debug)]
pub(crate) struct Spool {
    requests: mpsc::Sender<Request>,
    shared: Arc<Shared>,
    bytes_max: u64,
}

impl Spool {
    /// Opens it and goes on where the last process ended. Gives the ids of the events that it remembers, oldest first.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn open(config: &SpoolConfig, publisher: Publisher) -> Result<(Self, Vec<EventId>), SpoolError> {
        let (folder, inventory) = Folder::open(&config.path)?;
        let (requests, queue) = mpsc::channel(QUEUE_FRAMES);
        let bytes_max = config.bytes_max.max(SPOOL_BYTES_MIN);
        let next = inventory.ledger.cursor;
        let shared = Arc::new(Shared {
            cursor: watch::Sender::new(inventory.ledger.cursor),
            ledger: Mutex::new(inventory.ledger),
            changed: Condvar::new(),
            refused: Mutex::new(Vec::new()),
            requests: requests.downgrade(),
        });
        let limits = writer::Limits {
            bytes_max,
            segment_bytes: SEGMENT_BYTES_MAX.min(bytes_max / 4),
            survives: config.survives,
        };
        let writer = writer::Writer::new(folder, limits, Arc::clone(&shared));
        let reader = reader::Reader::new(Arc::clone(&shared), publisher, next);
        let runtime = tokio::runtime::Handle::current();
        let failed = |source| SpoolError::Disk { path: config.path.clone(), source };
        let name = |what: &str| std::thread::Builder::new().name(format!("spool-{what}"));
        name("writer").spawn(move || writer.run(queue)).map_err(failed)?;
        name("reader").spawn(move || reader.run(&runtime)).map_err(failed)?;
        Ok((Spool { requests, shared, bytes_max }, inventory.ids))
    }

    /// Waits while too many frames wait to be written; gives the place for one more.
    pub async fn room(&self) -> Result<Room<'_>, PublishError> {
        self.requests.reserve().await.map(Room).map_err(|_| PublishError::Closed)
    }

    /// Has `waiting` told when everything handed over before is on disk.
    pub async fn tell(&self, waiting: Waiting) -> Result<(), PublishError> {
        self.ask(Request::Tell(waiting)).await
    }

    async fn ask(&self, request: Request) -> Result<(), PublishError> {
        self.requests.send(request).await.map_err(|_| PublishError::Closed)
    }

    /// Waits until everything handed over before is on disk; gives the number of the record behind it.
    pub async fn written(&self) -> Result<u64, PublishError> {
        let (told, written) = oneshot::channel();
        self.ask(Request::Barrier(told)).await?;
        written.await.map_err(|_| PublishError::Closed)
    }

    /// Waits until all records before `number` are in the log, or refused for good.
    pub async fn in_log(&self, number: u64) {
        let mut cursor = self.shared.cursor.subscribe();
        // An error says that there is no sender: it lives in the same place as this.
        let _ = cursor.wait_for(|cursor| *cursor >= number).await;
    }

    /// Writes what was handed over, and closes the folder. What is not in the log, the next process sends.
    pub async fn close(&self) {
        let (told, closed) = oneshot::channel();
        if self.ask(Request::Close(told)).await.is_ok() {
            let _ = closed.await;
        }
        self.stop_reading();
    }

    pub fn state(&self) -> SpoolState {
        let ledger = self.shared.ledger();
        SpoolState { waiting_events: ledger.waiting_events, bytes: ledger.bytes(), bytes_max: self.bytes_max }
    }

    fn stop_reading(&self) {
        self.shared.ledger().closing = true;
        self.shared.changed.notify_all();
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        self.stop_reading();
    }
}

/// A place in the queue of the writer.
pub(crate) struct Room<'a>(mpsc::Permit<'a, Request>);

impl Room<'_> {
    /// Hands a frame over.
    pub fn append(self, frame: Frame<Waiting>) {
        self.0.send(Request::Append(frame));
    }
}

/// Tells everyone who waits where their events are.
fn told(waiting: Vec<Waiting>, kept: Kept) {
    for one in waiting {
        // Whoever waited may have gone.
        let _ = one.send(Ok(kept));
    }
}
