//! What the worker and a checkpoint store say to each other. Nothing here knows how a checkpoint lies on disk.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sightline_schemas::EventTime;

use super::chunk::{self, Kind, Raw, Sealed};
use super::scratch::OnDisk;

/// Keeps the newest checkpoint. Every call blocks on the disk: call it where blocking is allowed.
///
/// Made for one owner: a second store on the same place is refused with [`StoreError::InUse`].
pub trait CheckpointStore: Send {
    /// Reads the newest checkpoint into `restore`. Everything is verified on the way. What `restore` refuses makes the
    /// checkpoint damaged.
    ///
    /// Unless the answer is [`Loaded::Found`], forget what `restore` was given: damage can show itself halfway.
    ///
    /// # Errors
    /// When the place cannot be used now: another worker has it, or the disk fails. Bad content is no error but
    /// [`Loaded::Damaged`].
    fn load(&mut self, restore: &mut dyn Restore) -> Result<Loaded, StoreError>;

    /// Makes `checkpoint` the newest one, all of it or nothing.
    ///
    /// # Errors
    /// After [`StoreError::Full`] and [`StoreError::Io`] the checkpoint before this one is still there (or this one,
    /// if the fault came after the write): hand in its new chunks again with the next commit, as far as they are still in
    /// the list. After [`StoreError::Damaged`] nothing on disk is of use: [`CheckpointStore::clear`], then commit every
    /// chunk.
    fn commit(&mut self, checkpoint: &Checkpoint) -> Result<Committed, StoreError>;

    /// Puts what is there aside and begins with nothing. `log_id`: the log that what was here may have been a function
    /// of, and that is still worked on. It is noted before anything else happens.
    ///
    /// # Errors
    /// When another worker has the place, or it cannot be put aside.
    fn clear(&mut self, log_id: Option<&str>) -> Result<(), StoreError>;

    /// The log that the last [`CheckpointStore::clear`] named: proof that it was worked on, until the next checkpoint is one.
    ///
    /// # Errors
    /// When the place cannot be used now.
    fn cleared(&mut self) -> Result<Option<String>, StoreError>;
}

/// Takes in a checkpoint, piece by piece, or says why it cannot.
pub trait Restore {
    /// What holds at its place, before any chunk.
    ///
    /// # Errors
    /// With what is wrong with it.
    fn begin(&mut self, meta: &Meta) -> Result<(), String>;

    /// A chunk, sealed.
    ///
    /// # Errors
    /// With what is wrong with it.
    fn chunk(&mut self, line: &ChunkLine, sealed: &[u8]) -> Result<(), String>;
}

/// Takes in nothing: for who only wants to know whether there is a checkpoint.
impl Restore for () {
    fn begin(&mut self, _: &Meta) -> Result<(), String> {
        Ok(())
    }

    fn chunk(&mut self, _: &ChunkLine, _: &[u8]) -> Result<(), String> {
        Ok(())
    }
}

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
    /// The words that packed states share. Written once per content.
    pub words: Vec<u8>,
    /// Number that the next chunk gets.
    pub next_chunk: u32,
    /// Other small things, by name. Written in full at each checkpoint.
    pub extra: BTreeMap<String, Vec<u8>>,
}

/// One checkpoint: the chunks that it consists of, and the content of those that no checkpoint before it had.
#[derive(Debug, Default)]
pub struct Checkpoint {
    /// What holds at its place.
    pub meta: Meta,
    /// All its chunks, by number. Chunks that are in the store and not in this list go.
    pub chunks: Vec<ChunkLine>,
    /// Those that the store may not have.
    pub new: Vec<NewChunk>,
}

/// A chunk of a checkpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkLine {
    /// Its number, which is given once.
    pub number: u32,
    /// How many entries it has.
    pub entries: u32,
    /// One bit per entry, lowest first: does it count? Entries without a bit are leftovers.
    pub current: Vec<u8>,
}

/// A chunk that is to be written.
#[derive(Clone, Debug)]
pub struct NewChunk {
    /// Its number.
    pub number: u32,
    content: Content,
}

#[derive(Clone, Debug)]
enum Content {
    Memory(Arc<Raw>),
    OnDisk(Arc<OnDisk>),
    Sealed(Arc<[u8]>),
}

impl NewChunk {
    /// One in memory.
    pub fn in_memory(number: u32, raw: Arc<Raw>) -> Self {
        NewChunk { number, content: Content::Memory(raw) }
    }

    /// One that lies on the disk already, sealed.
    pub(super) fn on_disk(number: u32, on_disk: Arc<OnDisk>) -> Self {
        NewChunk { number, content: Content::OnDisk(on_disk) }
    }

    /// One as it came out of a store.
    pub fn from_sealed(number: u32, sealed: &[u8]) -> Self {
        NewChunk { number, content: Content::Sealed(sealed.into()) }
    }

    /// Its sealed bytes and their sum.
    pub(super) fn sealed(&self) -> io::Result<Sealed> {
        match &self.content {
            Content::Memory(raw) => chunk::seal_chunk(self.number, raw),
            Content::OnDisk(on_disk) => self.verified(on_disk.read_all()?),
            Content::Sealed(sealed) => self.verified(sealed.to_vec()),
        }
    }

    fn verified(&self, bytes: Vec<u8>) -> io::Result<Sealed> {
        let verified = chunk::verify(Kind::Chunk, u64::from(self.number), &bytes);
        let (sum, _) = verified.map_err(io::Error::other)?;
        Ok(Sealed { bytes, sum })
    }
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
    /// Chunks among them that were written by this checkpoint.
    pub written: usize,
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
