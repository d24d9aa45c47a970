//! Which entry of which chunk is the newest of its key, and how old chunks are rolled up so that the disk stays bounded.
//!
//! Chunks are only ever written whole and removed whole. A changed key leaves its old entry behind as waste; when
//! there is more waste than content, the chunk with the smallest part of current entries is rewritten: those entries
//! go into the new chunk, the old one goes away in the same write. Taking the emptiest chunk, and not the oldest, means
//! that at least half of it is waste, so a commit never rewrites much more than it adds, also where most keys rest and
//! few change. That order does not matter is owed to the manifest, which says bit by bit what counts: there are no
//! tombstones to keep, and no newest-first to obey.
//!
//! The price is an index in memory: 24 bytes a key in a hash map, 28 to 57 with the map's spare room.

use std::collections::{BTreeMap, HashMap};

use super::chunk::{self, Entries, Kind, Packer, Sum};
use super::manifest::ListedChunk;
use super::store::{EachState, StoredKey};

/// A chunk is cut when it holds this much: large enough that a million keys are some hundred values to the store below,
/// small enough to be unpacked at once. One value larger than this makes a chunk of its own.
const CHUNK_RAW_BYTES: usize = 4 << 20;
/// So much waste is always borne: below it, rolling saves nothing worth a rewrite.
const WASTE_FLOOR_RAW_BYTES: u64 = 16 << 20;
/// So many chunks are always borne, however small: commits of a handful of keys make chunks of a handful of entries.
const CHUNKS_FLOOR: u64 = 32;

/// Where a key's newest entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Slot {
    chunk: u32,
    entry: u32,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct ChunkInfo {
    sum: Sum,
    entries: u32,
    raw_bytes: u32,
    current: Bits,
}

impl ChunkInfo {
    /// Unpacked size of the entries that count, as if all were of one size.
    fn current_raw_bytes(&self) -> u64 {
        u64::from(self.raw_bytes) * u64::from(self.current.ones) / u64::from(self.entries.max(1))
    }
}

/// The chunks of the checkpoint and the newest entry of each key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Chunks {
    index: HashMap<StoredKey, Slot>,
    live: BTreeMap<u32, ChunkInfo>,
    next: u32,
}

/// What a commit writes, and how to forget it if the write fails.
#[derive(Default)]
pub(super) struct Rolled {
    /// New chunks, sealed.
    pub(super) written: Vec<(u32, Vec<u8>)>,
    /// Chunks that go.
    pub(super) removed: Vec<u32>,
    /// Entries taken over from removed chunks.
    pub(super) carried: usize,
    first_new: u32,
    forgotten: Vec<(u32, ChunkInfo)>,
    /// Every key that moved and where it was before, in order.
    moved: Vec<(StoredKey, Option<Slot>)>,
}

/// Gives a chunk's unpacked bytes, verified against the sum.
pub(super) type ReadChunk<'a, E> = &'a mut dyn FnMut(u32, &Sum) -> Result<Vec<u8>, E>;

impl Chunks {
    pub(super) fn keys(&self) -> usize {
        self.index.len()
    }

    pub(super) fn chunks(&self) -> usize {
        self.live.len()
    }

    pub(super) fn next_chunk(&self) -> u32 {
        self.next
    }

    /// Starts from a manifest; its chunks follow with [`Chunks::adopt`].
    pub(super) fn with_room(next_chunk: u32, chunks: &[ListedChunk]) -> Self {
        let keys =
            chunks.iter().flat_map(|chunk| &chunk.current).map(|byte| byte.count_ones() as usize).sum();
        Chunks { index: HashMap::with_capacity(keys), live: BTreeMap::new(), next: next_chunk }
    }

    /// Takes in a chunk that a manifest lists, and hands its current entries to `each`.
    pub(super) fn adopt(
        &mut self,
        listed: &ListedChunk,
        raw: &[u8],
        each: EachState<'_>,
    ) -> Result<(), String> {
        let number = listed.number;
        let current = Bits::from_bytes(&listed.current);
        let mut entries = 0;
        for entry in Entries::of(raw) {
            let (key, value) = entry?;
            if current.has(entries) {
                each(key, value).map_err(|why| format!("state of key {key}: {why}"))?;
                if self.index.insert(key, Slot { chunk: number, entry: entries }).is_some() {
                    return Err(format!("key {key} has two current entries"));
                }
            }
            entries += 1;
        }
        let fits =
            entries == listed.entries && current.end() <= entries && raw.len() == listed.raw_bytes as usize;
        if !fits || number >= self.next {
            return Err(format!("chunk {number} is not as the manifest says"));
        }
        let info = ChunkInfo { sum: listed.sum, entries, raw_bytes: listed.raw_bytes, current };
        match self.live.insert(number, info) {
            None => Ok(()),
            Some(_) => Err(format!("the manifest lists chunk {number} twice")),
        }
    }

    /// The chunks as a manifest lists them.
    pub(super) fn list(&self) -> Vec<ListedChunk> {
        let listed = self.live.iter().map(|(&number, info)| ListedChunk {
            number,
            sum: info.sum,
            entries: info.entries,
            raw_bytes: info.raw_bytes,
            current: info.current.to_bytes(),
        });
        listed.collect()
    }

    /// Packs the changed keys into new chunks and rolls up old ones.
    ///
    /// # Errors
    /// When an old chunk cannot be read; then nothing is changed here.
    pub(super) fn roll<E: From<std::io::Error>>(
        &mut self,
        changed: &[(StoredKey, Option<Vec<u8>>)],
        read: ReadChunk<'_, E>,
    ) -> Result<Rolled, E> {
        let mut rolled = Rolled { first_new: self.next, ..Rolled::default() };
        match self.roll_into(&mut rolled, changed, read) {
            Ok(()) => Ok(rolled),
            Err(why) => {
                self.undo(rolled);
                Err(why)
            }
        }
    }

    fn roll_into<E: From<std::io::Error>>(
        &mut self,
        rolled: &mut Rolled,
        changed: &[(StoredKey, Option<Vec<u8>>)],
        read: ReadChunk<'_, E>,
    ) -> Result<(), E> {
        let mut packer = Packer::default();
        for (key, value) in changed {
            match value {
                Some(value) => self.pack(rolled, &mut packer, *key, value)?,
                None => self.move_key(rolled, *key, None),
            }
        }
        while let Some(victim) = self.victim(rolled.first_new, packer.raw().len() as u64) {
            let info = &self.live[&victim];
            if info.current.ones > 0 {
                let raw = read(victim, &info.sum)?;
                for (number, entry) in (0..).zip(Entries::of(&raw)) {
                    let (key, value) = entry.map_err(std::io::Error::other)?;
                    if self.live[&victim].current.has(number) {
                        self.pack(rolled, &mut packer, key, value)?;
                        rolled.carried += 1;
                    }
                }
            }
            let info = self.live.remove(&victim).expect("victims are chosen among the live chunks");
            assert_eq!(info.current.ones, 0, "chunk {victim} was removed while it held current entries");
            rolled.removed.push(victim);
            rolled.forgotten.push((victim, info));
        }
        self.cut(rolled, &mut packer)?;
        Ok(())
    }

    fn pack(
        &mut self,
        rolled: &mut Rolled,
        packer: &mut Packer,
        key: StoredKey,
        value: &[u8],
    ) -> std::io::Result<()> {
        let slot = Slot { chunk: self.next, entry: packer.push(key, value) };
        // Listed from its first entry on, so that bits have a place; size and sum follow when it is cut.
        self.live.entry(self.next).or_default();
        self.move_key(rolled, key, Some(slot));
        if packer.raw().len() >= CHUNK_RAW_BYTES { self.cut(rolled, packer) } else { Ok(()) }
    }

    fn cut(&mut self, rolled: &mut Rolled, packer: &mut Packer) -> std::io::Result<()> {
        if packer.entries() == 0 {
            return Ok(());
        }
        let number = self.next;
        let sealed = chunk::seal(Kind::Chunk, u64::from(number), packer.raw())?;
        let info = self.live.get_mut(&number).expect("listed with its first entry");
        info.sum = sealed.sum;
        info.entries = packer.entries();
        info.raw_bytes = u32::try_from(packer.raw().len()).expect("sealed, so it fits");
        rolled.written.push((number, sealed.bytes));
        self.next = number.checked_add(1).expect("two chunks a second last for 68 years");
        packer.clear();
        Ok(())
    }

    /// The old chunk to rewrite next, if any must go. `packing` bytes wait for the chunk that is not cut yet.
    fn victim(&self, first_new: u32, packing: u64) -> Option<u32> {
        let raw = packing + self.live.values().map(|info| u64::from(info.raw_bytes)).sum::<u64>();
        let current = packing + self.live.values().map(ChunkInfo::current_raw_bytes).sum::<u64>();
        let too_many = self.live.len() as u64 > CHUNKS_FLOOR + 2 * raw / CHUNK_RAW_BYTES as u64;
        let too_wasteful = raw > 2 * current + WASTE_FLOOR_RAW_BYTES;
        let old = self.live.range(..first_new);
        // A chunk without current entries goes at once: it costs no reading.
        if let Some((&empty, _)) = old.clone().find(|(_, info)| info.current.ones == 0) {
            return Some(empty);
        }
        let chosen = if too_wasteful {
            // Smallest part of current entries, in fractions of 2^32.
            old.min_by_key(|(_, info)| (u64::from(info.current.ones) << 32) / u64::from(info.entries.max(1)))
        } else if too_many {
            old.min_by_key(|(_, info)| info.current_raw_bytes())
        } else {
            None
        };
        chosen.map(|(&number, _)| number)
    }

    fn move_key(&mut self, rolled: &mut Rolled, key: StoredKey, to: Option<Slot>) {
        let from = self.set_slot(key, to);
        rolled.moved.push((key, from));
    }

    fn set_slot(&mut self, key: StoredKey, to: Option<Slot>) -> Option<Slot> {
        let from = match to {
            Some(slot) => self.index.insert(key, slot),
            None => self.index.remove(&key),
        };
        if let Some(info) = from.and_then(|slot| self.live.get_mut(&slot.chunk)) {
            info.current.clear(from.map_or(0, |slot| slot.entry));
        }
        if let Some(slot) = to {
            self.live.get_mut(&slot.chunk).expect("keys move to live chunks").current.set(slot.entry);
        }
        from
    }

    /// Takes back a roll that did not reach the disk.
    pub(super) fn undo(&mut self, rolled: Rolled) {
        self.live.extend(rolled.forgotten);
        for (key, from) in rolled.moved.into_iter().rev() {
            self.set_slot(key, from);
        }
        self.live.retain(|&number, _| number < rolled.first_new);
        self.next = rolled.first_new;
    }
}

/// A set of entry numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Bits {
    words: Vec<u64>,
    ones: u32,
}

impl Bits {
    fn has(&self, bit: u32) -> bool {
        self.words.get(bit as usize / 64).is_some_and(|word| word >> (bit % 64) & 1 == 1)
    }

    fn set(&mut self, bit: u32) {
        let word = bit as usize / 64;
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        self.ones += u32::from(!self.has(bit));
        self.words[word] |= 1 << (bit % 64);
    }

    fn clear(&mut self, bit: u32) {
        if self.has(bit) {
            self.words[bit as usize / 64] &= !(1 << (bit % 64));
            self.ones -= 1;
        }
    }

    /// One more than the highest number in the set; 0 where it is empty.
    fn end(&self) -> u32 {
        let last = self.words.iter().rposition(|&word| word != 0);
        last.map_or(0, |at| at as u32 * 64 + 64 - self.words[at].leading_zeros())
    }

    fn from_bytes(bytes: &[u8]) -> Self {
        let words = bytes.chunks(8).map(|part| {
            let mut word = [0; 8];
            word[..part.len()].copy_from_slice(part);
            u64::from_le_bytes(word)
        });
        let words: Vec<u64> = words.collect();
        let ones = words.iter().map(|word| word.count_ones()).sum();
        Bits { words, ones }
    }

    fn to_bytes(&self) -> Vec<u8> {
        self.words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }
}

#[cfg(test)]
#[path = "rolling_tests.rs"]
mod tests;
