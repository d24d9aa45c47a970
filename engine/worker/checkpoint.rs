//! Checkpoints: taken between batches, only where all outputs are acknowledged; written while the loop goes on.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::state::table::StateTable;
use crate::state::{Census, Checkpoint, CheckpointStore, Committed, Meta, StoreError};
use crate::worker::machine::Machine;
use crate::worker::threads::on_disk;

/// Version of the encoding of key states. Goes up whenever an older program could not read them, or read them wrongly, and
/// where watches get other ids: what rules shared would be found by nobody.
pub const STATE_FORMAT: u32 = 5;

/// Since when each rule is in force, among the small things of a checkpoint.
pub const RULES_SINCE: &str = "rules_since";

/// Writes checkpoints, one at a time.
pub struct Checkpointer {
    store: Holder,
    every: Duration,
    last: Instant,
    saved_seq: u64,
}

/// The store is here, or away writing.
enum Holder {
    Here(Box<dyn CheckpointStore>),
    Writing(JoinHandle<Returned>),
    Gone,
}

/// What comes back from writing.
struct Returned {
    store: Box<dyn CheckpointStore>,
    /// What was to be written, and of which table.
    checkpoint: Checkpoint,
    table: Arc<StateTable>,
    result: Result<Committed, StoreError>,
    /// What was remembered meanwhile.
    census: Census,
}

/// What became of a checkpoint.
#[derive(Debug)]
pub enum Written {
    /// It is on disk.
    Saved {
        /// Sequence of the last message in it.
        seq: u64,
        /// What it took.
        committed: Committed,
    },
    /// It is not; its chunks go with the next one.
    Failed(StoreError),
}

impl Checkpointer {
    /// Over a store that holds everything up to message `saved_seq`.
    pub fn new(store: Box<dyn CheckpointStore>, every: Duration, saved_seq: u64) -> Self {
        Checkpointer { store: Holder::Here(store), every, last: Instant::now(), saved_seq }
    }

    /// Whether it is time for one. Messages up to `seq` are in the state.
    pub fn is_due(&self, seq: u64) -> bool {
        seq > self.saved_seq && self.last.elapsed() >= self.every && matches!(self.store, Holder::Here(_))
    }

    /// Whether one is being written.
    pub fn is_writing(&self) -> bool {
        matches!(self.store, Holder::Writing(_))
    }

    /// Sequence of the last message that is on disk.
    pub fn saved_seq(&self) -> u64 {
        self.saved_seq
    }

    /// Takes a checkpoint of the machine as it stands, and begins to write it. Only where every output of the messages
    /// so far is acknowledged: what a checkpoint holds is never said again.
    pub fn begin(&mut self, machine: &mut Machine) {
        let Holder::Here(mut store) = std::mem::replace(&mut self.store, Holder::Gone) else {
            unreachable!("asked only while the store is here");
        };
        let since = serde_json::to_vec(machine.since()).expect("names and numbers");
        machine.settle();
        let table = Arc::clone(machine.table());
        let listing = table.listing();
        let meta = Meta {
            format: STATE_FORMAT,
            log_id: machine.log_id().to_owned(),
            seq: machine.position(),
            log_time: machine.log_time(),
            rules: serde_json::to_vec(machine.rules_message()).expect("rules are plain data"),
            words: listing.words,
            next_chunk: listing.next_chunk,
            extra: BTreeMap::from([(RULES_SINCE.to_owned(), since)]),
        };
        let checkpoint = Checkpoint { meta, chunks: listing.chunks, new: listing.new };
        self.last = Instant::now();
        crash_point!(AfterEncode);
        self.store = Holder::Writing(on_disk(move || {
            let result = store.commit(&checkpoint);
            crash_point!(AfterCommit);
            // Counted beside the loop, too: it takes a look at every open state.
            let census = table.census();
            Returned { store, checkpoint, table, result, census }
        }));
    }

    /// Takes in the end of a write, if it has ended.
    pub async fn poll(&mut self) -> Option<(Written, Census)> {
        match &self.store {
            Holder::Writing(writing) if writing.is_finished() => self.finish().await,
            _ => None,
        }
    }

    /// Waits for the end of a write, if there is one.
    pub async fn finish(&mut self) -> Option<(Written, Census)> {
        let Holder::Writing(writing) = &mut self.store else { return None };
        let Returned { mut store, checkpoint, table, result, census } = match writing.await {
            Ok(written) => written,
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        };
        let written = match result {
            Ok(committed) => {
                self.saved_seq = checkpoint.meta.seq;
                let numbers: Vec<u32> = checkpoint.chunks.iter().map(|line| line.number).collect();
                table.note_saved(&numbers);
                Written::Saved { seq: checkpoint.meta.seq, committed }
            }
            Err(error) => {
                // Chunks that are not known to be saved go with the next one.
                if let StoreError::Damaged { .. } = error {
                    // Nothing on disk is of use: begin with nothing.
                    store = clear(store, checkpoint.meta.log_id).await;
                    self.saved_seq = 0;
                    table.note_saved(&[]);
                }
                Written::Failed(error)
            }
        };
        self.store = Holder::Here(store);
        Some((written, census))
    }
}

async fn clear(mut store: Box<dyn CheckpointStore>, log_id: String) -> Box<dyn CheckpointStore> {
    let cleared = on_disk(move || {
        if let Err(error) = store.clear(Some(&log_id)) {
            tracing::error!(%error, "cannot put the damaged checkpoint aside");
        }
        store
    });
    match cleared.await {
        Ok(store) => store,
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    }
}
