//! A checkpoint store in memory, for tests: with the same promises as the real one, and faults on demand.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sightline_core::correlate::KeyState;

use crate::state::state_key::StateKey;
use crate::state::store::{
    Checkpoint, CheckpointStore, ChunkLine, Committed, Loaded, Meta, Restore, StoreError,
};
use crate::state::table::StateTable;

/// Name of the place in errors.
const PLACE: &str = "memory";
/// How many checkpoints are remembered, the newest one included.
const REMEMBERED: usize = 4;

/// A whole checkpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Image {
    /// What holds at its place.
    pub meta: Meta,
    /// Its chunks, sealed.
    pub chunks: BTreeMap<u32, (ChunkLine, Arc<[u8]>)>,
}

impl Image {
    /// Every key's state.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn states(&self) -> Result<BTreeMap<StateKey, KeyState>, String> {
        let table = StateTable::default();
        table.begin(&self.meta)?;
        self.chunks.values().try_for_each(|(line, sealed)| table.adopt(line, sealed))?;
        let mut states = BTreeMap::new();
        table.for_each(|key, state| drop(states.insert(key, state.clone())));
        table.fault().map_or(Ok(states), Err)
    }
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
    cleared: Option<String>,
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

    /// Whether what lies here, or was cleared away, speaks of input log `log`, or of no log any more because it is damaged.
    pub fn speaks_of(&self, log: &str) -> bool {
        let inner = self.inner();
        let was_cleared = inner.cleared.as_deref() == Some(log);
        was_cleared
            || inner.damaged.is_some()
            || inner.images.last().is_some_and(|image| image.meta.log_id == log)
    }

    /// Loses the newest checkpoint; the one before is there again.
    pub fn roll_back(&self) {
        self.inner().images.pop();
    }

    /// Loses everything.
    pub fn wipe(&self) {
        let mut inner = self.inner();
        inner.images.clear();
        (inner.damaged, inner.cleared) = (None, None);
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
    fn load(&mut self, restore: &mut dyn Restore) -> Result<Loaded, StoreError> {
        let inner = self.claim(true)?;
        let Some(image) = inner.images.last() else { return Ok(Loaded::Empty) };
        // Damage shows itself halfway.
        let readable = if inner.damaged.is_some() { image.chunks.len() / 2 } else { image.chunks.len() };
        let mut taken = restore.begin(&image.meta);
        for (line, sealed) in image.chunks.values().take(readable) {
            taken = taken.and_then(|()| restore.chunk(line, sealed));
        }
        Ok(match (taken, &inner.damaged) {
            (Err(why), _) => Loaded::Damaged(why),
            (Ok(()), Some(reason)) => Loaded::Damaged(reason.clone()),
            (Ok(()), None) => Loaded::Found(image.meta.clone()),
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
        let mut known = inner.images.last().cloned().unwrap_or_default().chunks;
        for new in &checkpoint.new {
            let sealed = new.sealed().map_err(|why| failed(&why.to_string()))?;
            known.insert(new.number, (ChunkLine::default(), sealed.bytes.into()));
        }
        let mut image = Image { meta: checkpoint.meta.clone(), chunks: BTreeMap::new() };
        for line in &checkpoint.chunks {
            let Some((_, sealed)) = known.remove(&line.number) else {
                let reason = format!("chunk {} is listed and was never written", line.number);
                return Err(StoreError::Damaged { place: PLACE.to_owned(), reason });
            };
            image.chunks.insert(line.number, (line.clone(), sealed));
        }
        let keys = checkpoint.chunks.iter().flat_map(|line| &line.current);
        let keys = keys.map(|byte| byte.count_ones() as usize).sum();
        inner.images.push(image);
        if inner.images.len() > REMEMBERED {
            inner.images.remove(0);
        }
        match misfortune {
            Misfortune::FailedAfterwards => Err(failed("a fault was asked for, after the write")),
            _ => Ok(Committed { keys, chunks: checkpoint.chunks.len(), ..Committed::default() }),
        }
    }

    fn clear(&mut self, log_id: Option<&str>) -> Result<(), StoreError> {
        let mut inner = self.claim(true)?;
        inner.cleared = log_id.map(str::to_owned).or(inner.cleared.take());
        inner.images.clear();
        inner.damaged = None;
        Ok(())
    }

    fn cleared(&mut self) -> Result<Option<String>, StoreError> {
        Ok(self.claim(true)?.cleared.clone())
    }
}
