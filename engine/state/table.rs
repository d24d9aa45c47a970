//! The table of key states. Partitions work on their own keys; the API and the checkpoint read.
//!
//! A state is *open* while it is worked on, and *packed* when it is left alone: then it is some dozens of bytes on the
//! [`Shelf`], or on the disk where there is no room for it in memory. Whoever touches it finds it open. What is packed when
//! depends on memory and on when checkpoints are taken, and is seen by nobody: packing loses nothing.

use std::hash::BuildHasherDefault;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use dashmap::DashMap;
use dashmap::mapref::entry::Entry as MapEntry;
use sightline_core::correlate::{Aim, KeyState};
use smallvec::SmallVec;

use super::census::{Census, Counts};
use super::chunk::Entry;
use super::due::Due;
use super::index::Address;
use super::packed::{self, Prelude, Words};
use super::pending::{self, Agenda};
use super::room::{HIT_BYTES, Room, weight};
use super::scratch::Scratch;
use super::shelf::Shelf;
use super::state_key::{KeyHasher, StateKey};
use super::store::{ChunkLine, Meta, NewChunk};

/// So many hits are fetched for at once: more than the processor waits for at a time, and less than its caches hold.
pub const FETCHED_MAX: usize = 64;

/// An open state.
#[derive(Debug)]
pub struct Live {
    /// The state.
    pub state: KeyState,
    /// Whether it changed since it was last packed.
    pub dirty: bool,
    /// Where it is packed, as it was then.
    pub(super) address: Option<Address>,
    /// When it was last touched, by the table's clock.
    pub(super) seen: u32,
    /// What it weighed when it was opened or packed.
    pub(super) weight: u64,
}

/// All states.
#[derive(Debug)]
pub struct StateTable {
    pub(super) open: DashMap<StateKey, Box<Live>, BuildHasherDefault<KeyHasher>>,
    pub(super) shelf: RwLock<Shelf>,
    /// Of the packed states that are not open as well.
    pub(super) packed: Mutex<Tally>,
    pub(super) room: Room,
    /// Goes on each time states are closed.
    pub(super) clock: AtomicU32,
    /// The clock at the last checkpoint.
    pub(super) settled: AtomicU32,
    /// Bytes that open states are taken to have: what they weighed when they were opened or packed, and what was added since.
    pub(super) open_bytes: AtomicU64,
    /// Of these, what hits are taken to have added since the last checkpoint.
    pub(super) grown_bytes: AtomicU64,
    pub(super) due: Mutex<Due>,
    fault: Mutex<Option<String>>,
}

/// How many packed states there are, and what they wait for.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) counts: Counts,
    agenda: Agenda,
}

impl Tally {
    pub(super) fn put(&mut self, state: &KeyState) {
        self.counts.put(state);
        self.agenda.put(state);
    }

    fn take(&mut self, state: &KeyState) {
        self.counts.take(state);
        self.agenda.take(state);
    }
}

impl Default for StateTable {
    fn default() -> Self {
        StateTable::new(Room::unlimited(), Scratch::in_memory())
    }
}

/// What a checkpoint holds of the table.
#[derive(Debug, Default)]
pub struct Listing {
    /// The words that packed states share.
    pub words: Vec<u8>,
    /// Number that the next chunk gets.
    pub next_chunk: u32,
    /// All chunks.
    pub chunks: Vec<ChunkLine>,
    /// Those that no checkpoint has yet.
    pub new: Vec<NewChunk>,
}

/// Told of each state that is forgotten and remembered incidents.
pub type Released<'r> = &'r mut dyn FnMut(StateKey, &KeyState);

pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl StateTable {
    /// An empty one, that has so much room in memory and this place beside it.
    pub fn new(room: Room, scratch: Scratch) -> Self {
        StateTable {
            open: DashMap::default(),
            shelf: RwLock::new(Shelf::new(scratch)),
            packed: Mutex::default(),
            room,
            clock: AtomicU32::new(1),
            settled: AtomicU32::new(0),
            open_bytes: AtomicU64::new(0),
            grown_bytes: AtomicU64::new(0),
            due: Mutex::default(),
            fault: Mutex::default(),
        }
    }

    pub(super) fn shelf(&self) -> RwLockReadGuard<'_, Shelf> {
        self.shelf.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn shelf_mut(&self) -> RwLockWriteGuard<'_, Shelf> {
        self.shelf.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn now(&self) -> u32 {
        self.clock.load(Ordering::Relaxed)
    }

    /// How many states there are.
    pub fn len(&self) -> usize {
        self.open.len() + locked(&self.packed).counts.keys
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What went wrong with packed states, if something did. What was computed since cannot be trusted: publish nothing of
    /// it, take no checkpoint, begin again from the last one.
    pub fn fault(&self) -> Option<String> {
        locked(&self.fault).clone()
    }

    pub(super) fn fail(&self, why: String) {
        locked(&self.fault).get_or_insert(why);
    }

    /// Works on a state, made by `fresh` where there is none.
    pub fn with<T>(
        &self,
        key: StateKey,
        fresh: impl FnOnce() -> KeyState,
        work: impl FnOnce(&mut Live) -> T,
    ) -> T {
        match self.open.entry(key) {
            MapEntry::Occupied(mut live) => self.touch(key, live.get_mut(), work),
            MapEntry::Vacant(place) => {
                let live = self.reopened(key).unwrap_or_else(|| Live {
                    state: fresh(),
                    dirty: false,
                    address: None,
                    seen: 0,
                    weight: 0,
                });
                let mut live = self.opened(key, live);
                let done = self.touch(key, &mut live, work);
                place.insert(live);
                done
            }
        }
    }

    /// Brings what hits will find into the processor's caches, all of them at a time: with a million keys most of what a hit
    /// costs is waiting for memory, and what is asked for together is waited for once. Changes nothing.
    pub fn fetch(&self, hits: impl Iterator<Item = (StateKey, Aim)>) {
        let shards: SmallVec<[_; 64]> = self.open.shards().iter().map(|shard| shard.read()).collect();
        let open = |key: StateKey| {
            let hash = self.open.hash_usize(&key);
            let slot = shards[self.open.determine_shard(hash)].get(hash as u64, |(there, _)| *there == key);
            slot.map(|(_, live)| &live.get().state)
        };
        // One look after the other at all of them, as each look leads to the next.
        let states: SmallVec<[_; FETCHED_MAX]> =
            hits.filter_map(|(key, aim)| Some((open(key)?, aim))).collect();
        let tracks: SmallVec<[_; FETCHED_MAX]> =
            states.iter().filter_map(|(state, aim)| Some((state.track_of(*aim)?, aim.event))).collect();
        let glances = tracks.iter().enumerate().map(|(ahead, (track, event))| track.glance(*event, ahead));
        let seen = glances.fold(0, |seen, glance| seen ^ glance);
        std::hint::black_box(seen);
    }

    /// Works on a state, if it is there.
    pub fn with_existing<T>(&self, key: StateKey, work: impl FnOnce(&mut Live) -> T) -> Option<T> {
        match self.open.entry(key) {
            MapEntry::Occupied(mut live) => Some(self.touch(key, live.get_mut(), work)),
            MapEntry::Vacant(place) => {
                let mut live = self.opened(key, self.reopened(key)?);
                let done = self.touch(key, &mut live, work);
                place.insert(live);
                Some(done)
            }
        }
    }

    fn opened(&self, key: StateKey, mut live: Live) -> Box<Live> {
        live.weight = weight(&live.state);
        self.open_bytes.fetch_add(live.weight, Ordering::Relaxed);
        locked(&self.due).opened.push_back(key);
        Box::new(live)
    }

    fn touch<T>(&self, key: StateKey, live: &mut Live, work: impl FnOnce(&mut Live) -> T) -> T {
        live.seen = self.now();
        let was_dirty = live.dirty;
        let done = work(live);
        if live.dirty && !was_dirty {
            locked(&self.due).dirtied.push_back(key);
        }
        done
    }

    /// The packed state of a key, unpacked.
    fn reopened(&self, key: StateKey) -> Option<Live> {
        let found = self.shelf().find(key);
        match found {
            Ok(None) => None,
            Ok(Some((address, state))) => {
                locked(&self.packed).take(&state);
                Some(Live { state, dirty: false, address: Some(address), seen: 0, weight: 0 })
            }
            Err(why) => {
                self.fail(why);
                None
            }
        }
    }

    /// So many hits were taken in.
    pub fn grew(&self, hits: usize) {
        let bytes = hits as u64 * HIT_BYTES;
        self.open_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.grown_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Shows every state to `look`. States that are written meanwhile are seen before or after.
    pub fn for_each(&self, mut look: impl FnMut(StateKey, &KeyState)) {
        self.for_each_of(|_| true, &mut look);
    }

    /// Shows every state that partitions take note of to `look`: those that remember incidents, or wait for a time.
    pub fn for_each_with_notes(&self, mut look: impl FnMut(StateKey, &KeyState)) {
        self.for_each_of(|entry| entry.has_incidents || entry.is_due, &mut look);
    }

    fn for_each_of(&self, of: impl Fn(&Entry<'_>) -> bool, look: &mut dyn FnMut(StateKey, &KeyState)) {
        for live in &self.open {
            look(*live.key(), &live.value().state);
        }
        let shelf = self.shelf();
        let shown = shelf.for_each(|_, entry| {
            if of(&entry) {
                let state = packed::unpack(entry.state, &shelf.words)?;
                let key = StateKey::of(state.tenant(), state.unit_id(), state.key());
                if !self.open.contains_key(&key) {
                    look(key, &state);
                }
            }
            Ok(())
        });
        if let Err(why) = shown {
            self.fail(why);
        }
    }

    /// The names of all states of some units.
    pub fn keys_of(&self, of: impl Fn(&str) -> bool) -> Vec<StateKey> {
        let open = self.open.iter().filter(|live| of(live.value().state.unit_id()));
        let mut keys: Vec<StateKey> = open.map(|live| *live.key()).collect();
        let shelf = self.shelf();
        let looked = shelf.for_each(|_, entry| {
            let prelude = Prelude::read(entry.state, &shelf.words)?;
            let key = of(prelude.unit()).then(|| prelude.state_key());
            keys.extend(key.filter(|key| !self.open.contains_key(key)));
            Ok(())
        });
        if let Err(why) = looked {
            self.fail(why);
        }
        keys
    }

    /// What a checkpoint holds. Settled before.
    pub fn listing(&self) -> Listing {
        let shelf = self.shelf();
        let (chunks, new) = shelf.listing();
        Listing { words: shelf.words.to_bytes(), next_chunk: shelf.next_number(), chunks, new }
    }

    /// The store has these chunks, by rising number, and no others.
    pub fn note_saved(&self, numbers: &[u32]) {
        self.shelf_mut().note_saved(numbers);
    }

    /// Begins with what a checkpoint says; its chunks follow with [`StateTable::adopt`].
    ///
    /// # Errors
    /// When its words are none.
    pub fn begin(&self, meta: &Meta) -> Result<(), String> {
        self.shelf_mut().begin(Words::from_bytes(&meta.words)?, meta.next_chunk);
        Ok(())
    }

    /// Takes in a chunk of a checkpoint.
    ///
    /// # Errors
    /// When it is not what its line says.
    pub fn adopt(&self, line: &ChunkLine, sealed: &[u8]) -> Result<(), String> {
        let mut shelf = self.shelf_mut();
        let mut packed = locked(&self.packed);
        let room = self.room.packed_bytes.saturating_sub(shelf.index_bytes());
        let mut count = |prelude: &Prelude, entry: Entry<'_>, words: &Words| {
            packed.counts.add(prelude.unit(), entry.hits, entry.active);
            if entry.is_due {
                packed.agenda.put(&packed::unpack(entry.state, words)?);
            }
            Ok(())
        };
        shelf.adopt(line, sealed, room, &mut count)
    }

    /// Forgets everything.
    pub fn clear(&self) {
        self.open.clear();
        self.shelf_mut().clear();
        *locked(&self.packed) = Tally::default();
        self.open_bytes.store(0, Ordering::Relaxed);
        self.grown_bytes.store(0, Ordering::Relaxed);
        *locked(&self.due) = Due::default();
    }

    /// How much is remembered, and where it is.
    pub fn census(&self) -> Census {
        let (mut counts, mut pending) = {
            let tally = locked(&self.packed);
            (tally.counts.clone(), tally.agenda.told())
        };
        let packed = counts.keys;
        let mut open_bytes = 0;
        for live in &self.open {
            counts.put(&live.value().state);
            pending::add(&mut pending, &live.value().state);
            open_bytes += weight(&live.value().state);
        }
        let shelf = self.shelf();
        Census {
            open: counts.keys - packed,
            open_bytes,
            on_disk: shelf.on_disk() as usize,
            packed,
            packed_bytes: shelf.memory_bytes(),
            index_bytes: shelf.index_bytes(),
            budget: self.room.budget,
            counts,
            pending,
        }
    }
}
