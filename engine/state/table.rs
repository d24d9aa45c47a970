//! The table of key states. Partitions work on their own keys; the API and the checkpoint read.
//!
//! A state is *open* while it is worked on, and *packed* when it is left alone: then it is some dozens of bytes on the
//! [`Shelf`], or on the disk where there is no room for it in memory. Whoever touches it finds it open. What is packed when
//! depends on memory and on when checkpoints are taken, and is seen by nobody: packing loses nothing.

use std::hash::{BuildHasherDefault, Hasher};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use dashmap::DashMap;
use dashmap::mapref::entry::Entry as MapEntry;
use sightline_core::correlate::KeyState;
use sightline_core::rule::RuleSet;
use sightline_schemas::EventTime;

use super::census::{Census, Counts};
use super::chunk::Entry;
use super::index::Address;
use super::packed::{self, Prelude, Words};
use super::pending::{self, Agenda};
use super::room::{HIT_BYTES, Room};
use super::scratch::Scratch;
use super::shelf::Shelf;
use super::state_key::StateKey;
use super::store::{ChunkLine, Meta, NewChunk};
use super::sweeping::Sweep;

/// An open state.
#[derive(Debug)]
pub struct Live {
    /// The state.
    pub state: KeyState,
    /// Whether it changed since it was last packed.
    pub dirty: bool,
    /// Where it is packed, as it was then.
    address: Option<Address>,
    /// When it was last touched, by the table's clock.
    seen: u32,
}

/// All states.
#[derive(Debug)]
pub struct StateTable {
    open: DashMap<StateKey, Box<Live>, BuildHasherDefault<KeyHasher>>,
    shelf: RwLock<Shelf>,
    /// Of the packed states that are not open as well.
    packed: Mutex<Tally>,
    room: Room,
    /// Goes on each time states are closed.
    clock: AtomicU32,
    /// The clock at the last checkpoint.
    settled: AtomicU32,
    /// Bytes that open states are taken to have: counted when states were last closed, and what was added since.
    open_bytes: AtomicU64,
    fault: Mutex<Option<String>>,
}

/// How many packed states there are, and what they wait for.
#[derive(Debug, Default)]
struct Tally {
    counts: Counts,
    agenda: Agenda,
}

impl Tally {
    fn put(&mut self, state: &KeyState) {
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

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
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
            fault: Mutex::default(),
        }
    }

    fn shelf(&self) -> RwLockReadGuard<'_, Shelf> {
        self.shelf.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn shelf_mut(&self) -> RwLockWriteGuard<'_, Shelf> {
        self.shelf.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> u32 {
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

    fn fail(&self, why: String) {
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
            MapEntry::Occupied(mut live) => {
                live.get_mut().seen = self.now();
                work(live.get_mut())
            }
            MapEntry::Vacant(place) => {
                let live = self.reopened(key).unwrap_or_else(|| Live {
                    state: fresh(),
                    dirty: false,
                    address: None,
                    seen: self.now(),
                });
                self.open_bytes.fetch_add(live.state.weight() as u64, Ordering::Relaxed);
                work(&mut place.insert(Box::new(live)))
            }
        }
    }

    /// Works on a state, if it is there.
    pub fn with_existing<T>(&self, key: StateKey, work: impl FnOnce(&mut Live) -> T) -> Option<T> {
        match self.open.entry(key) {
            MapEntry::Occupied(mut live) => {
                live.get_mut().seen = self.now();
                Some(work(live.get_mut()))
            }
            MapEntry::Vacant(place) => {
                let live = self.reopened(key)?;
                self.open_bytes.fetch_add(live.state.weight() as u64, Ordering::Relaxed);
                Some(work(&mut place.insert(Box::new(live))))
            }
        }
    }

    /// The packed state of a key, unpacked.
    fn reopened(&self, key: StateKey) -> Option<Live> {
        let found = self.shelf().find(key);
        match found {
            Ok(None) => None,
            Ok(Some((address, state))) => {
                locked(&self.packed).take(&state);
                Some(Live { state, dirty: false, address: Some(address), seen: self.now() })
            }
            Err(why) => {
                self.fail(why);
                None
            }
        }
    }

    /// So many hits were taken in.
    pub fn grew(&self, hits: usize) {
        self.open_bytes.fetch_add(hits as u64 * HIT_BYTES, Ordering::Relaxed);
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

    /// Brings the table in order, between batches: forgets idle states, packs what changed, closes what was not touched
    /// since the last time, rolls up waste.
    pub fn settle(&self, rules: &RuleSet, log_time: EventTime, sweep: Sweep, released: Released<'_>) {
        let mut shelf = self.shelf_mut();
        let until = self.settled.load(Ordering::Relaxed);
        self.pack(&mut shelf, until, rules, log_time, Some(released));
        self.settled.store(self.now(), Ordering::Relaxed);
        self.clock.fetch_add(1, Ordering::Relaxed);
        let is_open = |key| self.open.contains_key(&key);
        let swept = shelf.sweep(sweep, rules, log_time, &is_open, &mut |gone| {
            locked(&self.packed).counts.remove(&gone.unit, gone.hits, gone.active);
            // What waits is not forgotten, so nothing leaves the agenda here.
            if let Some(state) = &gone.state {
                released(gone.key, state);
            }
        });
        if let Err(why) = swept {
            self.fail(why);
        }
        self.roll(&mut shelf);
        shelf.cut();
        self.make_room(&mut shelf);
    }

    /// Closes states and puts packed ones on the disk, as far as there is no room for them. Between batches.
    pub fn relieve(&self, rules: &RuleSet, log_time: EventTime) {
        if self.open_bytes.load(Ordering::Relaxed) > self.room.open_bytes {
            let mut shelf = self.shelf_mut();
            self.pack(&mut shelf, self.now() - 1, rules, log_time, None);
            if self.open_bytes.load(Ordering::Relaxed) > self.room.open_bytes / 2 {
                self.pack(&mut shelf, self.now(), rules, log_time, None);
            }
            self.clock.fetch_add(1, Ordering::Relaxed);
            self.roll(&mut shelf);
        }
        let needed = {
            let shelf = self.shelf();
            shelf.memory_bytes() + shelf.index_bytes() > self.room.packed_bytes
        };
        if needed {
            self.make_room(&mut self.shelf_mut());
        }
    }

    /// Rolls up waste.
    fn roll(&self, shelf: &mut Shelf) {
        let rolled = shelf.roll(&mut |key, address| {
            if let Some(mut live) = self.open.get_mut(&key) {
                live.address = Some(address);
            }
        });
        if let Err(why) = rolled {
            self.fail(why);
        }
    }

    fn make_room(&self, shelf: &mut Shelf) {
        let bytes = self.room.packed_bytes.saturating_sub(shelf.index_bytes());
        if let Err(error) = shelf.keep_within(bytes) {
            tracing::error!(%error, "no place for states beyond the memory budget; they stay in memory");
        }
    }

    /// Packs what changed and closes what was not touched since the clock stood at `until`. At a checkpoint, where somebody is
    /// told of what is forgotten, also forgets what is idle, and packs states of any size.
    fn pack(
        &self,
        shelf: &mut Shelf,
        until: u32,
        rules: &RuleSet,
        log_time: EventTime,
        mut released: Option<Released<'_>>,
    ) {
        let mut open_bytes = 0;
        let mut packed = locked(&self.packed);
        let giant = self.room.giant_bytes();
        self.open.retain(|key, live| {
            let bytes = live.state.weight() as u64;
            let is_settled = released.is_some();
            if !is_settled && bytes > giant && live.seen + 1 >= self.now() {
                open_bytes += bytes;
                return true;
            }
            if let Some(released) = &mut released
                && live.state.is_forgotten(rules, log_time)
            {
                released(*key, &live.state);
                live.address.inspect(|address| shelf.forget(*key, *address));
                return false;
            }
            if live.dirty {
                let address = shelf.put(*key, &live.state, live.address, live.state.forget_at(rules));
                (live.address, live.dirty) = (Some(address), false);
            }
            if live.seen <= until && live.address.is_some() {
                packed.put(&live.state);
                return false;
            }
            open_bytes += bytes;
            true
        });
        self.open_bytes.store(open_bytes, Ordering::Relaxed);
        // The map never gives room back by itself, and a flood must not leave its size behind.
        if self.open.capacity() > 8 * (self.open.len() + 1_024) {
            self.open.shrink_to_fit();
        }
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
            open_bytes += live.value().state.weight() as u64;
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
