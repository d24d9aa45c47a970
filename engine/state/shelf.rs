//! Packed states, put away in chunks: the chunks of the checkpoint, in memory for as long as there is room.
//!
//! Chunks are only ever written whole and removed whole. A state that is packed again leaves its old entry behind as waste;
//! which entries count is said by the [`Index`] and, for a start, by a bit for each entry. What becomes of the waste is in
//! [`rolling`](super::rolling), what becomes of idle states in [`sweeping`](super::sweeping).
//!
//! A chunk is immutable from the moment it is cut. So a checkpoint is a list of chunks, of which only new ones are written,
//! and a chunk for which there is no room can lie on the disk as it is, to be read one frame at a time.

use std::sync::Arc;

use sightline_core::correlate::KeyState;
use sightline_schemas::EventTime;

use super::bits::Bits;
use super::chunk::{self, Entry, Frame, Kind, Raw};
use super::index::{Address, ENTRIES_MAX, Index, SLOTS_MAX};
use super::packed::{self, Prelude, Words};
use super::scratch::{OnDisk, Scratch};
use super::state_key::StateKey;
use super::store::{ChunkLine, NewChunk};

/// Told of each entry that counts of a chunk that is taken in.
pub(super) type Each<'e> = &'e mut dyn FnMut(&Prelude, Entry<'_>, &Words) -> Result<(), String>;

/// A chunk is cut when it holds this much: large enough that a million keys are some dozens of values to the store below,
/// small enough to be written at once. One state larger than this makes a chunk of its own. In the tests of this room it is
/// small, so that a few thousand states are many chunks.
pub(super) const CHUNK_RAW_BYTES: usize = if cfg!(test) { 64 << 10 } else { 4 << 20 };

/// Chunks, and where in them the states are.
#[derive(Debug)]
pub struct Shelf {
    pub(super) words: Words,
    pub(super) index: Index,
    /// By slot, of which 0 stays empty.
    pub(super) slots: Vec<Option<Chunk>>,
    building: Option<Building>,
    next: u32,
    memory_bytes: u64,
    scratch: Arc<Scratch>,
    packing: Vec<u8>,
}

/// A chunk.
#[derive(Debug)]
pub(super) struct Chunk {
    number: u32,
    pub(super) entries: u32,
    pub(super) raw_bytes: u32,
    /// Which entries count.
    pub(super) current: Bits,
    body: Body,
    is_saved: bool,
    /// Log time from which on it is worth looking for entries to forget.
    pub(super) sweep_at: EventTime,
}

#[derive(Debug)]
enum Body {
    /// Not cut yet: [`Shelf::building`] has it.
    Building,
    Memory(Arc<Raw>),
    OnDisk(Arc<OnDisk>, Vec<Frame>),
}

/// The chunk that is filled at present.
#[derive(Debug)]
struct Building {
    slot: usize,
    raw: Raw,
    forget_at: Vec<EventTime>,
}

impl Chunk {
    /// Unpacked size of the entries that count, as if all were of one size.
    pub(super) fn current_raw_bytes(&self) -> u64 {
        u64::from(self.raw_bytes) * u64::from(self.current.ones()) / u64::from(self.entries.max(1))
    }

    pub(super) fn number(&self) -> u32 {
        self.number
    }

    pub(super) fn is_building(&self) -> bool {
        matches!(self.body, Body::Building)
    }
}

impl Shelf {
    /// An empty one.
    pub(super) fn new(scratch: Scratch) -> Self {
        Shelf {
            words: Words::default(),
            index: Index::default(),
            slots: vec![None],
            building: None,
            next: 0,
            memory_bytes: 0,
            scratch: Arc::new(scratch),
            packing: Vec::new(),
        }
    }

    /// Begins with the words of a checkpoint and the number that its next chunk gets; the chunks follow with
    /// [`Shelf::adopt`].
    pub(super) fn begin(&mut self, words: Words, next: u32) {
        self.words = words;
        self.next = next;
    }

    /// Forgets everything, words and all.
    pub(super) fn clear(&mut self) {
        *self = Shelf { scratch: Arc::clone(&self.scratch), ..Shelf::new(Scratch::in_memory()) };
    }

    /// Bytes of packed states in memory.
    pub(super) fn memory_bytes(&self) -> u64 {
        self.memory_bytes + self.building.as_ref().map_or(0, |building| building.raw.weight())
    }

    /// Bytes of memory that finding states takes.
    pub(super) fn index_bytes(&self) -> u64 {
        let bits: u64 = self.chunks().map(|(_, chunk)| chunk.current.weight()).sum();
        self.index.weight() + bits
    }

    /// States that are on the disk alone.
    pub(super) fn on_disk(&self) -> u64 {
        let on_disk = self.chunks().filter(|(_, chunk)| matches!(chunk.body, Body::OnDisk(..)));
        on_disk.map(|(_, chunk)| u64::from(chunk.current.ones())).sum()
    }

    /// The chunks and their slots.
    pub(super) fn chunks(&self) -> impl Iterator<Item = (usize, &Chunk)> {
        self.slots.iter().enumerate().filter_map(|(slot, chunk)| Some((slot, chunk.as_ref()?)))
    }

    pub(super) fn chunk(&mut self, slot: usize) -> &mut Chunk {
        self.slots[slot].as_mut().expect("an address is of a chunk that is there")
    }

    /// The state of a key, and where it is.
    ///
    /// # Errors
    /// When it cannot be read: the disk failed.
    pub(super) fn find(&self, key: StateKey) -> Result<Option<(Address, KeyState)>, String> {
        for address in self.index.candidates(key) {
            let state = self.read(address, |entry| packed::unpack(entry.state, &self.words))?;
            if StateKey::of(state.tenant(), state.unit_id(), state.key()) == key {
                return Ok(Some((address, state)));
            }
        }
        Ok(None)
    }

    /// Reads the entry at an address.
    fn read<T>(
        &self,
        address: Address,
        look: impl FnOnce(Entry<'_>) -> Result<T, String>,
    ) -> Result<T, String> {
        let chunk = self.slots[address.slot()].as_ref().expect("an address is of a chunk that is there");
        let number = address.entry();
        match &chunk.body {
            Body::Building => look(self.built().entry(number)?),
            Body::Memory(raw) => look(raw.entry(number)?),
            Body::OnDisk(on_disk, frames) => {
                let after = frames.partition_point(|frame| frame.first_entry <= number);
                let frame = &frames[after.checked_sub(1).ok_or("a chunk without frames")?];
                let packed = on_disk.read(frame.range());
                let packed = packed.map_err(|why| format!("chunk {}: {why}", chunk.number))?;
                let raw = frame.unpack(&packed)?;
                look(chunk::nth_entry(&raw, (number - frame.first_entry) as usize)?)
            }
        }
    }

    fn built(&self) -> &Raw {
        &self.building.as_ref().expect("a chunk that is not cut is being built").raw
    }

    /// All entries of a chunk, in order.
    pub(super) fn raw(&self, slot: usize) -> Result<Arc<Raw>, String> {
        let chunk = self.slots[slot].as_ref().expect("an address is of a chunk that is there");
        match &chunk.body {
            Body::Building => Ok(Arc::new(self.built().clone())),
            Body::Memory(raw) => Ok(Arc::clone(raw)),
            Body::OnDisk(on_disk, _) => {
                let sealed = on_disk.read_all();
                let sealed = sealed.map_err(|why| format!("chunk {}: {why}", chunk.number))?;
                let (_, bytes) = chunk::unseal(Kind::Chunk, u64::from(chunk.number), &sealed)?;
                Raw::from_bytes(bytes).map(Arc::new)
            }
        }
    }

    /// Packs a state that was at `old`, if it was here. It is forgotten at that log time, if nothing comes between.
    pub(super) fn put(
        &mut self,
        key: StateKey,
        state: &KeyState,
        old: Option<Address>,
        forget_at: EventTime,
    ) -> Address {
        let mut packing = std::mem::take(&mut self.packing);
        packing.clear();
        packed::pack(state, &mut self.words, &mut packing);
        let active = state.incidents().iter().filter(|incident| incident.status.is_active()).count();
        let entry = Entry {
            has_incidents: !state.incidents().is_empty(),
            is_due: state.due().is_some(),
            active: active as u32,
            hits: state.hits() as u32,
            state: &packing,
        };
        let address = self.push(entry, forget_at);
        match old {
            Some(old) => self.moved(key, old, address),
            None => self.index.insert(key, address),
        }
        self.packing = packing;
        // The bytes of a giant are not kept for the next.
        self.packing.shrink_to(CHUNK_RAW_BYTES);
        address
    }

    /// The state of a key is at another address.
    pub(super) fn moved(&mut self, key: StateKey, from: Address, to: Address) {
        self.chunk(from.slot()).current.clear(from.entry());
        self.index.replace(key, from, to);
    }

    /// Adds an entry to the chunk that is being built.
    pub(super) fn push(&mut self, entry: Entry<'_>, forget_at: EventTime) -> Address {
        let building = match &mut self.building {
            Some(building) => building,
            None => {
                let slot = self.free_slot();
                self.building.insert(Building { slot, raw: Raw::default(), forget_at: Vec::new() })
            }
        };
        let number = building.raw.push(entry);
        building.forget_at.push(forget_at);
        let slot = building.slot;
        let is_full = building.raw.bytes().len() >= CHUNK_RAW_BYTES || building.raw.entries() >= ENTRIES_MAX;
        let address = Address::new(slot, number);
        self.chunk(slot).current.set(number);
        if is_full {
            self.cut();
        }
        address
    }

    fn free_slot(&mut self) -> usize {
        let chunk = Chunk {
            number: self.next,
            entries: 0,
            raw_bytes: 0,
            current: Bits::default(),
            body: Body::Building,
            is_saved: false,
            sweep_at: EventTime::MAX,
        };
        self.next = self.next.checked_add(1).expect("two chunks a second last for 68 years");
        self.put_chunk(chunk)
    }

    fn put_chunk(&mut self, chunk: Chunk) -> usize {
        let free = self.slots.iter().skip(1).position(Option::is_none).map(|at| at + 1);
        let slot = free.unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        assert!(slot < SLOTS_MAX, "rolling keeps the chunks far below {SLOTS_MAX}");
        self.slots[slot] = Some(chunk);
        slot
    }

    /// Ends the chunk that is being built.
    pub(super) fn cut(&mut self) {
        let Some(Building { slot, mut raw, mut forget_at }) = self.building.take() else { return };
        raw.shrink();
        self.memory_bytes += raw.weight();
        let sweep_at = lower_quarter(&mut forget_at);
        let chunk = self.chunk(slot);
        chunk.entries = raw.entries();
        chunk.raw_bytes = u32::try_from(raw.bytes().len()).expect("a chunk is cut far below 4 GiB");
        chunk.sweep_at = sweep_at;
        chunk.body = Body::Memory(Arc::new(raw));
    }

    /// A state is forgotten.
    pub(super) fn forget(&mut self, key: StateKey, address: Address) {
        self.chunk(address.slot()).current.clear(address.entry());
        self.index.remove(key, address);
    }

    /// Takes out a chunk of which no entry counts.
    pub(super) fn remove(&mut self, slot: usize) {
        let chunk = self.slots[slot].take().expect("who removes a chunk found it");
        assert_eq!(chunk.current.ones(), 0, "chunk {} was removed while entries of it counted", chunk.number);
        assert!(!chunk.is_building(), "the chunk that is being built stays");
        if let Body::Memory(raw) = chunk.body {
            self.memory_bytes -= raw.weight();
        }
    }

    /// Puts the oldest chunks on the disk until the others take no more than `bytes`.
    ///
    /// # Errors
    /// When the disk takes nothing; then they stay in memory.
    pub(super) fn keep_within(&mut self, bytes: u64) -> std::io::Result<()> {
        if self.memory_bytes() <= bytes {
            return Ok(());
        }
        if bytes < CHUNK_RAW_BYTES as u64 {
            self.cut();
        }
        let in_memory = self.chunks().filter(|(_, chunk)| matches!(chunk.body, Body::Memory(_)));
        let mut slots: Vec<(u32, usize)> = in_memory.map(|(slot, chunk)| (chunk.number, slot)).collect();
        slots.sort_unstable();
        for (number, slot) in slots {
            if self.memory_bytes() <= bytes {
                break;
            }
            let chunk = self.slots[slot].as_mut().expect("just listed");
            let Body::Memory(raw) = &chunk.body else { continue };
            let (raw, sealed) = (Arc::clone(raw), chunk::seal_chunk(number, raw)?);
            let on_disk = self.scratch.put(number, &sealed.bytes)?;
            chunk.body = Body::OnDisk(on_disk, frames_of(number, &sealed.bytes));
            self.memory_bytes -= raw.weight();
        }
        Ok(())
    }

    /// Takes in a chunk of a checkpoint, sealed, and shows its entries that count to `each`. Beyond `room` bytes it lies
    /// on the disk.
    ///
    /// # Errors
    /// When it is not what its line says, or cannot be read.
    pub(super) fn adopt(
        &mut self,
        line: &ChunkLine,
        sealed: &[u8],
        room: u64,
        each: Each<'_>,
    ) -> Result<(), String> {
        let number = line.number;
        let (_, bytes) = chunk::unseal(Kind::Chunk, u64::from(number), sealed)?;
        let raw = Raw::from_bytes(bytes)?;
        let current = Bits::from_bytes(&line.current);
        let fits =
            raw.entries() == line.entries && current.end() <= line.entries && line.entries <= ENTRIES_MAX;
        if !fits || number >= self.next {
            return Err(format!("chunk {number} is not as the manifest says"));
        }
        let chunk = Chunk {
            number,
            entries: line.entries,
            raw_bytes: u32::try_from(raw.bytes().len()).map_err(|_| "a chunk of more than 4 GiB")?,
            current,
            body: Body::Building,
            is_saved: true,
            sweep_at: EventTime::MIN,
        };
        let slot = self.put_chunk(chunk);
        for (entry_number, entry) in (0..).zip(raw.iter()) {
            let entry = entry?;
            if !self.chunk(slot).current.has(entry_number) {
                continue;
            }
            let prelude = Prelude::read(entry.state, &self.words)
                .map_err(|why| format!("entry {entry_number} of chunk {number}: {why}"))?;
            let key = prelude.state_key();
            self.index.insert(key, Address::new(slot, entry_number));
            each(&prelude, entry, &self.words)?;
        }
        let weight = raw.weight();
        let is_too_much = self.memory_bytes() + weight > room;
        let on_disk = is_too_much.then(|| self.scratch.put(number, sealed)).and_then(Result::ok);
        self.chunk(slot).body = match on_disk {
            Some(on_disk) => Body::OnDisk(on_disk, frames_of(number, sealed)),
            None => {
                self.memory_bytes += weight;
                Body::Memory(Arc::new(raw))
            }
        };
        Ok(())
    }

    /// The chunks as a manifest lists them, and those among them that the store does not have. Cut before.
    pub(super) fn listing(&self) -> (Vec<ChunkLine>, Vec<NewChunk>) {
        let (mut lines, mut new) = (Vec::new(), Vec::new());
        for (_, chunk) in self.chunks() {
            let number = chunk.number;
            match &chunk.body {
                Body::Building => continue,
                _ if chunk.is_saved => {}
                Body::Memory(raw) => new.push(NewChunk::in_memory(number, Arc::clone(raw))),
                Body::OnDisk(on_disk, _) => new.push(NewChunk::on_disk(number, Arc::clone(on_disk))),
            }
            let current = chunk.current.to_bytes();
            lines.push(ChunkLine { number, entries: chunk.entries, current });
        }
        lines.sort_by_key(|line| line.number);
        (lines, new)
    }

    /// Number that the next chunk gets.
    pub(super) fn next_number(&self) -> u32 {
        self.next
    }

    /// The store has these chunks, and no others.
    pub(super) fn note_saved(&mut self, numbers: &[u32]) {
        for chunk in self.slots.iter_mut().flatten() {
            chunk.is_saved = numbers.binary_search(&chunk.number).is_ok();
        }
    }

    /// Shows every entry that counts, and its address.
    pub(super) fn for_each(
        &self,
        mut look: impl FnMut(Address, Entry<'_>) -> Result<(), String>,
    ) -> Result<(), String> {
        for (slot, chunk) in self.chunks() {
            let raw = self.raw(slot)?;
            for (number, entry) in (0..).zip(raw.iter()) {
                if chunk.current.has(number) {
                    look(Address::new(slot, number), entry?)?;
                }
            }
        }
        Ok(())
    }
}

fn frames_of(number: u32, sealed: &[u8]) -> Vec<Frame> {
    let (_, frames) =
        chunk::verify(Kind::Chunk, u64::from(number), sealed).expect("sealed a moment ago, or verified");
    frames
}

/// The time that a fourth of these times lie before: looking for what is forgotten then finds so many at least.
pub(super) fn lower_quarter(times: &mut [EventTime]) -> EventTime {
    match times.len() {
        0 => EventTime::MAX,
        len => *times.select_nth_unstable(len / 4).1,
    }
}
