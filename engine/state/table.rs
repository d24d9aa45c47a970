//! The table of live key states. Partitions write their own keys; the API and the checkpoint read.

use std::hash::{BuildHasherDefault, Hasher};

use dashmap::DashMap;
use dashmap::mapref::entry::Entry as MapEntry;
use sightline_core::correlate::KeyState;
use sightline_core::key::Key;

/// Names the state of one unit of rules for one key of one tenant: a hash of the three.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StateKey(pub u128);

impl StateKey {
    /// The name of that state.
    pub fn of(tenant: &str, unit: &str, key: &Key) -> Self {
        let mut hasher = blake3::Hasher::new();
        for part in [tenant, unit].into_iter().chain(key.values().iter().map(|value| &**value)) {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part.as_bytes());
        }
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        StateKey(u128::from_le_bytes(bytes))
    }

    /// Which of so many partitions owns the state.
    pub const fn partition(self, partitions: usize) -> usize {
        (self.0 as u64 % partitions as u64) as usize
    }
}

/// A state, and whether it changed since it was last written down.
#[derive(Debug)]
pub struct Live {
    /// The state.
    pub state: KeyState,
    /// Whether it is in the list of what the next checkpoint writes.
    pub dirty: bool,
}

/// All live states.
#[derive(Debug, Default)]
pub struct StateTable {
    map: DashMap<StateKey, Live, BuildHasherDefault<KeyHasher>>,
}

impl StateTable {
    /// How many states there are.
    pub fn len(&self) -> usize {
        self.map.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.map.is_empty()
    }

    /// Works on a state, made by `fresh` where there is none.
    pub fn with<T>(
        &self,
        key: StateKey,
        fresh: impl FnOnce() -> KeyState,
        work: impl FnOnce(&mut Live) -> T,
    ) -> T {
        let mut live = self.map.entry(key).or_insert_with(|| Live { state: fresh(), dirty: false });
        work(&mut live)
    }

    /// Works on a state, if it is there.
    pub fn with_existing<T>(&self, key: StateKey, work: impl FnOnce(&mut Live) -> T) -> Option<T> {
        self.map.get_mut(&key).map(|mut live| work(&mut live))
    }

    /// Puts back a state that was written down.
    pub fn restore(&self, key: StateKey, state: KeyState) {
        self.map.insert(key, Live { state, dirty: false });
    }

    /// Forgets a state if `gone` says so. Answers whether it did.
    pub fn remove_if(&self, key: StateKey, gone: impl FnOnce(&KeyState) -> bool) -> bool {
        match self.map.entry(key) {
            MapEntry::Occupied(live) if gone(&live.get().state) => {
                live.remove();
                true
            }
            _ => false,
        }
    }

    /// Shows every state to `look`. States that are written meanwhile are seen before or after.
    pub fn for_each(&self, mut look: impl FnMut(StateKey, &KeyState)) {
        for live in &self.map {
            look(*live.key(), &live.value().state);
        }
    }

    /// Forgets everything.
    pub fn clear(&self) {
        self.map.clear();
    }
}

/// State keys are hashes already: half of one will do.
#[derive(Debug, Default)]
pub struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.0 ^= u64::from_le_bytes(word);
        }
    }

    fn write_u128(&mut self, bits: u128) {
        // The lower half chooses the partition; the upper half spreads inside the table.
        self.0 = (bits >> 64) as u64;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
