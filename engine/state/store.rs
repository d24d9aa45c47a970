//! What the worker and a checkpoint store say to each other. Nothing here knows how a checkpoint lies on disk.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use sightline_schemas::EventTime;

/// Keeps the newest checkpoint. Every call blocks on the disk: call it where blocking is allowed.
///
/// Made for one owner: a second store on the same place is refused with [`StoreError::InUse`].
pub trait CheckpointStore: Send {
    /// Reads the newest checkpoint and hands every key's state to `each`, in no particular order. Everything is
    /// verified on the way. What `each` refuses (a value that it cannot decode) makes the checkpoint damaged.
    ///
    /// Unless the answer is [`Loaded::Found`], forget what `each` was given: damage can show itself halfway.
    ///
    /// # Errors
    /// When the place cannot be used now: another worker has it, or the disk fails. Bad content is no error but
    /// [`Loaded::Damaged`].
    fn load(&mut self, each: EachState<'_>) -> Result<Loaded, StoreError>;

    /// Makes `checkpoint` the newest one, all of it or nothing.
    ///
    /// # Errors
    /// After [`StoreError::Full`] and [`StoreError::Io`] the checkpoint before this one is still there (or this one,
    /// if the fault came after the write): keep the changes and hand them in again with the next commit, newest
    /// values only. After [`StoreError::Damaged`] nothing on disk is of use: [`CheckpointStore::clear`], then commit
    /// every key.
    fn commit(&mut self, checkpoint: &Checkpoint) -> Result<Committed, StoreError>;

    /// Puts what is there aside and begins with nothing.
    ///
    /// # Errors
    /// When another worker has the place, or it cannot be put aside.
    fn clear(&mut self) -> Result<(), StoreError>;
}

/// Takes one key's state, or says why it cannot.
pub type EachState<'a> = &'a mut dyn FnMut(StoredKey, &[u8]) -> Result<(), String>;

/// Name of one key's state. Sixteen opaque bytes; the caller makes them so that two keys never share them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StoredKey(pub [u8; 16]);

/// What holds at the place of a checkpoint, beside the key states.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Meta {
    /// Version of the caller's encoding of key states. The store's own format has a version of its own.
    pub format: u32,
    /// Which input log this state is a function of.
    pub log_id: String,
    /// Sequence of the last message that is fully in the state; 0 where none is.
    pub seq: u64,
    /// Log time at that message.
    pub log_time: EventTime,
    /// The rules message in force. Written once per content, not once per checkpoint.
    pub rules: Vec<u8>,
    /// Other small things, by name. Written in full at each checkpoint.
    pub extra: BTreeMap<String, Vec<u8>>,
}

/// One checkpoint, told as the difference to the one before.
#[derive(Clone, Debug, Default)]
pub struct Checkpoint {
    /// What holds at its place.
    pub meta: Meta,
    /// Every key whose state changed since the last successful commit, with its encoded state, or `None` where the
    /// key is gone. Of two entries of the same key the later one counts.
    pub changed: Vec<(StoredKey, Option<Vec<u8>>)>,
}

/// What [`CheckpointStore::load`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Loaded {
    /// There never was a checkpoint here.
    Empty,
    /// A whole, verified checkpoint.
    Found(Meta),
    /// There is something, and it is not to be trusted. Say the reason, call [`CheckpointStore::clear`], rebuild from
    /// the log.
    Damaged(String),
}

/// What a commit did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Committed {
    /// Bytes handed to the disk, compressed.
    pub bytes: u64,
    /// Chunks that the checkpoint now consists of.
    pub chunks: usize,
    /// Keys in the checkpoint.
    pub keys: usize,
    /// Unchanged entries that were rewritten so that an old chunk could go.
    pub carried: usize,
    /// How long it took.
    pub duration: Duration,
}

/// What a commit has to survive before it is reported as done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// The death of this process (kill -9). Power loss costs the last checkpoints, and time.
    Kill,
    /// Power loss as well: everything is forced to the disk.
    #[default]
    Power,
}

/// Why the store could not do it, and so what to do.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Stop: two workers on one place would destroy each other's state.
    #[error("another worker uses the checkpoint at {place}: give each worker a directory of its own")]
    InUse {
        /// The place.
        place: String,
    },
    /// Go on and commit again later: state in memory is good, the checkpoint before is still there.
    #[error("no space left for the checkpoint at {place}: {why}")]
    Full {
        /// The place.
        place: String,
        /// What the disk said.
        why: String,
    },
    /// Go on and commit again later; stop if this is what loading says.
    #[error("cannot {what} the checkpoint at {place}: {why}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// The place.
        place: String,
        /// What the disk said.
        why: String,
    },
    /// What is on disk cannot be built upon: clear, then commit every key.
    #[error("the checkpoint at {place} is damaged: {reason}")]
    Damaged {
        /// The place.
        place: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl fmt::Display for StoredKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:032x}", u128::from_be_bytes(self.0))
    }
}
