//! A checkpoint store in memory, for tests: with the same promises as the real one, and faults on demand.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::state::store::{
    Checkpoint, CheckpointStore, Committed, EachState, Loaded, Meta, StoreError, StoredKey,
};

/// Name of the place in errors.
const PLACE: &str = "memory";
/// How many checkpoints are remembered, the newest one included.
const REMEMBERED: usize = 4;

/// A whole checkpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Image {
    /// What holds at its place.
    pub meta: Meta,
    /// Every key's state.
    pub states: BTreeMap<StoredKey, Vec<u8>>,
}

/// What befalls a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misfortune {
    /// Nothing.
    None,
    /// There is no room; the checkpoint before stays.
    Full,
    /// The disk fails; the checkpoint before stays.
    Failed,
    /// The disk fails after the write: it is there, and nobody is told.
    FailedAfterwards,
    /// What is there turns out to be damaged.
    Damaged,
}

type Decide = dyn FnMut(&Checkpoint) -> Misfortune + Send;

#[derive(Default)]
struct Inner {
    /// The newest one last.
    images: Vec<Image>,
    damaged: Option<String>,
    owner: Option<u64>,
    owners: u64,
    decide: Option<Box<Decide>>,
}

impl fmt::Debug for Inner {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Inner").field("owner", &self.owner).field("damaged", &self.damaged).finish()
    }
}

/// Where checkpoints lie, as whoever does things to them sees it. Clones are the same place.
#[derive(Clone, Debug, Default)]
pub struct MemoryPlace(Arc<Mutex<Inner>>);

impl MemoryPlace {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A store on this place, for one worker.
    pub fn store(&self) -> MemoryStore {
        let mut inner = self.inner();
        inner.owners += 1;
        MemoryStore { place: self.clone(), me: inner.owners }
    }

    /// `decide` is shown every commit before it is done, and says what befalls it.
    pub fn on_commit(&self, decide: impl FnMut(&Checkpoint) -> Misfortune + Send + 'static) {
        self.inner().decide = Some(Box::new(decide));
    }

    /// The owner is dead: what it has still under way is not done.
    pub fn owner_died(&self) {
        self.inner().owner = None;
    }

    /// The newest checkpoint, unless it is damaged.
    pub fn newest(&self) -> Option<Image> {
        let inner = self.inner();
        inner.images.last().filter(|_| inner.damaged.is_none()).cloned()
    }

    /// Loses the newest checkpoint; the one before is there again.
    pub fn roll_back(&self) {
        self.inner().images.pop();
    }

    /// Loses everything.
    pub fn wipe(&self) {
        let mut inner = self.inner();
        inner.images.clear();
        inner.damaged = None;
    }

    /// What is there can no longer be read.
    pub fn damage(&self, reason: &str) {
        let mut inner = self.inner();
        if !inner.images.is_empty() {
            inner.damaged = Some(reason.to_owned());
        }
    }

    /// Changes what the newest checkpoint says of itself.
    pub fn forge(&self, change: impl FnOnce(&mut Meta)) {
        if let Some(image) = self.inner().images.last_mut() {
            change(&mut image.meta);
        }
    }
}

/// A store in memory.
#[derive(Debug)]
pub struct MemoryStore {
    place: MemoryPlace,
    me: u64,
}

impl MemoryStore {
    /// The place, if nobody else has it. The first call takes it.
    fn claim(&self, is_first: bool) -> Result<MutexGuard<'_, Inner>, StoreError> {
        let mut inner = self.place.inner();
        match inner.owner {
            Some(owner) if owner == self.me => Ok(inner),
            None if is_first => {
                inner.owner = Some(self.me);
                Ok(inner)
            }
            _ => Err(StoreError::InUse { place: PLACE.to_owned() }),
        }
    }
}

impl Drop for MemoryStore {
    fn drop(&mut self) {
        let mut inner = self.place.inner();
        if inner.owner == Some(self.me) {
            inner.owner = None;
        }
    }
}

fn failed(why: &str) -> StoreError {
    StoreError::Io { what: "write", place: PLACE.to_owned(), why: why.to_owned() }
}

impl CheckpointStore for MemoryStore {
    fn load(&mut self, each: EachState<'_>) -> Result<Loaded, StoreError> {
        let inner = self.claim(true)?;
        let Some(image) = inner.images.last() else { return Ok(Loaded::Empty) };
        // Damage shows itself halfway.
        let readable = if inner.damaged.is_some() { image.states.len() / 2 } else { image.states.len() };
        for (key, state) in image.states.iter().take(readable) {
            if let Err(why) = each(*key, state) {
                return Ok(Loaded::Damaged(why));
            }
        }
        Ok(match &inner.damaged {
            Some(reason) => Loaded::Damaged(reason.clone()),
            None => Loaded::Found(image.meta.clone()),
        })
    }

    fn commit(&mut self, checkpoint: &Checkpoint) -> Result<Committed, StoreError> {
        let mut inner = self.claim(false)?;
        let misfortune = match &mut inner.decide {
            Some(decide) => decide(checkpoint),
            None => Misfortune::None,
        };
        match misfortune {
            Misfortune::Full => {
                let why = "a fault was asked for".to_owned();
                return Err(StoreError::Full { place: PLACE.to_owned(), why });
            }
            Misfortune::Failed => return Err(failed("a fault was asked for")),
            Misfortune::Damaged => inner.damaged = Some("a fault was asked for".to_owned()),
            Misfortune::None | Misfortune::FailedAfterwards => {}
        }
        if let Some(reason) = inner.damaged.clone() {
            return Err(StoreError::Damaged { place: PLACE.to_owned(), reason });
        }
        let mut image = inner.images.last().cloned().unwrap_or_default();
        image.meta = checkpoint.meta.clone();
        for (key, state) in &checkpoint.changed {
            match state {
                Some(state) => image.states.insert(*key, state.clone()),
                None => image.states.remove(key),
            };
        }
        let keys = image.states.len();
        inner.images.push(image);
        if inner.images.len() > REMEMBERED {
            inner.images.remove(0);
        }
        match misfortune {
            Misfortune::FailedAfterwards => Err(failed("a fault was asked for, after the write")),
            _ => Ok(Committed { keys, chunks: 1, ..Committed::default() }),
        }
    }

    fn clear(&mut self) -> Result<(), StoreError> {
        let mut inner = self.claim(true)?;
        inner.images.clear();
        inner.damaged = None;
        Ok(())
    }
}
