//! The bytes of a checkpoint: sealed blocks, and the entries packed into the blocks that are chunks.
//!
//! A block is a header, a BLAKE3 checksum and a zstd frame. The store below is not trusted, so a block proves by itself
//! that it is what it was asked for: its kind and number are under the checksum.
//!
//! ```text
//! 0  "SLCK"   4  version   5  kind   6  zero, zero   8  number u64   16  unpacked bytes u32
//! 20 BLAKE3 of bytes 0..20 and of the frame (32 bytes)               52  zstd frame
//! ```
//!
//! A chunk unpacks to entries one after the other: 16 bytes of key, u32 length, value. Integers are little-endian.

use super::store::StoredKey;

/// Version of everything in this file and of the manifest. Another one on disk means: rebuild.
const FORMAT: u8 = 1;
const MAGIC: [u8; 4] = *b"SLCK";
const SUM_AT: usize = 20;
const FRAME_AT: usize = SUM_AT + 32;
const ENTRY_HEAD_BYTES: usize = 16 + 4;

/// Fast and good enough: states of one rule resemble each other, and disk is written more often than read.
const ZSTD_LEVEL: i32 = 1;

/// What a block is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Packed entries.
    Chunk = 1,
    /// Which chunks count, and the meta of the checkpoint.
    Manifest = 2,
    /// A rules message.
    Rules = 3,
}

/// Checksum of a block, by which the manifest names exactly this content and no other.
pub(super) type Sum = [u8; 32];

/// A block as it lies on disk.
pub(super) struct Sealed {
    pub(super) bytes: Vec<u8>,
    pub(super) sum: Sum,
}

/// Seals `raw` as the block `number` of `kind`.
pub(super) fn seal(kind: Kind, number: u64, raw: &[u8]) -> std::io::Result<Sealed> {
    let raw_bytes =
        u32::try_from(raw.len()).expect("a block is a few MiB: chunks are cut, the rest is small");
    let frame = zstd::bulk::compress(raw, ZSTD_LEVEL)?;
    let mut bytes = Vec::with_capacity(FRAME_AT + frame.len());
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&[FORMAT, kind as u8, 0, 0]);
    bytes.extend_from_slice(&number.to_le_bytes());
    bytes.extend_from_slice(&raw_bytes.to_le_bytes());
    let sum = checksum(&bytes, &frame);
    bytes.extend_from_slice(&sum);
    bytes.extend_from_slice(&frame);
    Ok(Sealed { bytes, sum })
}

/// Verifies that `block` is the one asked for and gives its sum and what was sealed in it, or what is wrong with it.
pub(super) fn unseal(kind: Kind, number: u64, block: &[u8]) -> Result<(Sum, Vec<u8>), String> {
    let name = || format!("{kind:?} {number}");
    if block.len() < FRAME_AT || block[..4] != MAGIC {
        return Err(format!("{} is not a checkpoint block ({} bytes)", name(), block.len()));
    }
    if block[4] != FORMAT {
        return Err(format!("{} has format {}, this program reads format {FORMAT}", name(), block[4]));
    }
    let (head, rest) = block.split_at(SUM_AT);
    let (sum, frame) = rest.split_at(FRAME_AT - SUM_AT);
    let computed = checksum(head, frame);
    if computed != sum {
        return Err(format!("{} does not match its checksum", name()));
    }
    if block[5] != kind as u8 || head[8..16] != number.to_le_bytes() {
        return Err(format!("another block lies in the place of {}", name()));
    }
    // Believed only now: the checksum covers it.
    let raw_bytes = u32_at(head, 16) as usize;
    match zstd::bulk::decompress(frame, raw_bytes) {
        Ok(raw) if raw.len() == raw_bytes => Ok((computed, raw)),
        Ok(raw) => Err(format!("{} unpacks to {} bytes instead of {raw_bytes}", name(), raw.len())),
        Err(why) => Err(format!("{} does not unpack: {why}", name())),
    }
}

fn checksum(head: &[u8], frame: &[u8]) -> Sum {
    let mut hasher = blake3::Hasher::new();
    hasher.update(head).update(frame);
    *hasher.finalize().as_bytes()
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes were sliced"))
}

/// Entries on their way into a chunk.
#[derive(Default)]
pub(super) struct Packer {
    raw: Vec<u8>,
    entries: u32,
}

impl Packer {
    /// Adds an entry and gives its number in the chunk.
    pub(super) fn push(&mut self, key: StoredKey, value: &[u8]) -> u32 {
        let value_bytes = u32::try_from(value.len()).expect("a key state is bounded far below 4 GiB");
        self.raw.extend_from_slice(&key.0);
        self.raw.extend_from_slice(&value_bytes.to_le_bytes());
        self.raw.extend_from_slice(value);
        self.entries += 1;
        self.entries - 1
    }

    pub(super) fn entries(&self) -> u32 {
        self.entries
    }

    pub(super) fn raw(&self) -> &[u8] {
        &self.raw
    }

    /// Makes room for the next chunk.
    pub(super) fn clear(&mut self) {
        self.raw.clear();
        self.entries = 0;
    }
}

/// The entries of an unpacked chunk in the order in which they were pushed.
pub(super) struct Entries<'a> {
    rest: &'a [u8],
}

impl<'a> Entries<'a> {
    pub(super) fn of(raw: &'a [u8]) -> Self {
        Entries { rest: raw }
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = Result<(StoredKey, &'a [u8]), String>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let rest = std::mem::take(&mut self.rest);
        let Some((head, rest)) = rest.split_at_checked(ENTRY_HEAD_BYTES) else {
            return Some(Err("a chunk ends inside an entry".to_owned()));
        };
        let Some((value, rest)) = rest.split_at_checked(u32_at(head, 16) as usize) else {
            return Some(Err("a chunk ends inside a value".to_owned()));
        };
        self.rest = rest;
        let key = StoredKey(head[..16].try_into().expect("sixteen bytes were sliced"));
        Some(Ok((key, value)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_come_back_as_they_went_in() {
        let mut packer = Packer::default();
        let entries =
            [(StoredKey([1; 16]), &b"one"[..]), (StoredKey([2; 16]), b""), (StoredKey([0; 16]), b"three")];
        for (number, (key, value)) in entries.iter().enumerate() {
            assert_eq!(packer.push(*key, value) as usize, number);
        }
        let sealed = seal(Kind::Chunk, 7, packer.raw()).expect("in memory");
        let (sum, raw) = unseal(Kind::Chunk, 7, &sealed.bytes).expect("untouched");
        assert_eq!(sum, sealed.sum);
        let read: Result<Vec<_>, _> = Entries::of(&raw).collect();
        assert_eq!(read.expect("whole"), entries);
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        let sealed = seal(Kind::Chunk, 7, b"some bytes that are worth keeping").expect("in memory").bytes;
        for bit in 0..sealed.len() * 8 {
            let mut flipped = sealed.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(unseal(Kind::Chunk, 7, &flipped).is_err(), "bit {bit}");
        }
        for cut in 0..sealed.len() {
            assert!(unseal(Kind::Chunk, 7, &sealed[..cut]).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn a_whole_block_in_the_wrong_place_is_noticed() {
        let sealed = seal(Kind::Chunk, 7, b"x").expect("in memory").bytes;
        let wrong_number = unseal(Kind::Chunk, 8, &sealed).expect_err("number 7");
        assert_eq!(wrong_number, "another block lies in the place of Chunk 8");
        assert!(unseal(Kind::Rules, 7, &sealed).is_err());
    }

    #[test]
    fn other_formats_are_named() {
        let mut sealed = seal(Kind::Manifest, 0, b"x").expect("in memory").bytes;
        sealed[4] = 9;
        let reason = unseal(Kind::Manifest, 0, &sealed).expect_err("format 9");
        assert_eq!(reason, "Manifest 0 has format 9, this program reads format 1");
    }

    #[test]
    fn an_entry_that_runs_over_the_end_is_an_error() {
        let mut packer = Packer::default();
        packer.push(StoredKey([1; 16]), b"value");
        for cut in 1..packer.raw().len() {
            assert!(Entries::of(&packer.raw()[..cut]).any(|entry| entry.is_err()), "cut at {cut}");
        }
    }
}
