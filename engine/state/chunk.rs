//! The bytes of a checkpoint: sealed blocks, and the entries packed into the ones that are chunks.
//!
//! What lies below is not trusted, so a sealed block proves by itself that it is what it was asked for: its kind and
//! number are under the checksum. Inside it is cut into zstd frames of some kilobytes, each of which can be read without
//! the others: a single state comes back from the disk without its whole chunk.
//!
//! ```text
//! 0  "SLCK"   4  version   5  kind   6  zero, zero   8  number u64   16  frames u32
//! 20 BLAKE3 of bytes 0..20 and of everything behind it (32 bytes)
//! 52 for each frame: u32 first entry, u32 unpacked bytes, u32 packed bytes, 8 bytes of its BLAKE3; then the frames
//! ```
//!
//! A chunk unpacks to entries one after the other: the length of the rest as a varint, a varint of flags (see [`Entry`]),
//! how many hits as a varint, and the packed state. Integers are little-endian.

/// Version of everything in this file and of the manifest. Another one on disk means: rebuild.
const FORMAT: u8 = 2;
const MAGIC: [u8; 4] = *b"SLCK";
const SUM_AT: usize = 20;
const TABLE_AT: usize = SUM_AT + 32;
const FRAME_LINE_BYTES: usize = 20;

/// Fast and good enough: states of one rule resemble each other, and disk is written more often than read.
const ZSTD_LEVEL: i32 = 1;
/// A frame is cut when it holds this much: what reading one state costs, against how well states compress together.
const FRAME_RAW_BYTES: usize = 16 << 10;
/// The place of every so manieth entry is remembered; the others are found by walking from there.
pub(super) const MARK_ENTRIES: usize = 16;

/// What a block is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Packed entries.
    Chunk = 1,
    /// Which chunks count, and the meta of the checkpoint.
    Manifest = 2,
    /// A text that is written once for each content.
    Text = 3,
}

/// Checksum of a block, by which the manifest names exactly this content and no other.
pub(super) type Sum = [u8; 32];

/// A block as it lies on disk.
pub(super) struct Sealed {
    pub(super) bytes: Vec<u8>,
    pub(super) sum: Sum,
}

/// Where a frame of a sealed chunk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    /// Number of its first entry.
    pub(super) first_entry: u32,
    /// Where it begins in the sealed bytes.
    at: u32,
    packed_bytes: u32,
    raw_bytes: u32,
    check: [u8; 8],
}

impl Frame {
    /// The place of the frame in the sealed bytes.
    pub(super) fn range(&self) -> std::ops::Range<usize> {
        self.at as usize..self.at as usize + self.packed_bytes as usize
    }

    /// Unpacks the frame from its bytes, or says what is wrong with them.
    pub(super) fn unpack(&self, packed: &[u8]) -> Result<Vec<u8>, String> {
        if frame_check(packed) != self.check {
            return Err(format!("the frame from entry {} on does not match its checksum", self.first_entry));
        }
        let raw_bytes = self.raw_bytes as usize;
        match zstd::bulk::decompress(packed, raw_bytes) {
            Ok(raw) if raw.len() == raw_bytes => Ok(raw),
            Ok(raw) => Err(format!("a frame unpacks to {} bytes instead of {raw_bytes}", raw.len())),
            Err(why) => Err(format!("a frame does not unpack: {why}")),
        }
    }
}

fn frame_check(packed: &[u8]) -> [u8; 8] {
    *blake3::hash(packed).as_bytes().first_chunk().expect("a hash has 32 bytes")
}

/// Seals text or a manifest.
pub(super) fn seal(kind: Kind, raw: &[u8]) -> std::io::Result<Sealed> {
    seal_frames(kind, 0, &[(0, raw)])
}

/// Seals a chunk.
pub(super) fn seal_chunk(number: u32, raw: &Raw) -> std::io::Result<Sealed> {
    let mut frames: Vec<(u32, &[u8])> = Vec::new();
    let mut from = 0;
    let mut first_entry = 0;
    for (mark, at) in raw.marks.iter().enumerate().skip(1) {
        if *at as usize - from >= FRAME_RAW_BYTES {
            frames.push((first_entry, &raw.bytes[from..*at as usize]));
            (from, first_entry) = (*at as usize, (mark * MARK_ENTRIES) as u32);
        }
    }
    frames.push((first_entry, &raw.bytes[from..]));
    seal_frames(Kind::Chunk, u64::from(number), &frames)
}

fn seal_frames(kind: Kind, number: u64, frames: &[(u32, &[u8])]) -> std::io::Result<Sealed> {
    let mut compressor = zstd::bulk::Compressor::new(ZSTD_LEVEL)?;
    let small =
        |len: usize| u32::try_from(len).expect("a block is a few MiB: chunks are cut, the rest is small");
    let (mut table, mut body) = (Vec::new(), Vec::new());
    for (first_entry, raw) in frames {
        let packed = compressor.compress(raw)?;
        table.extend_from_slice(&first_entry.to_le_bytes());
        table.extend_from_slice(&small(raw.len()).to_le_bytes());
        table.extend_from_slice(&small(packed.len()).to_le_bytes());
        table.extend_from_slice(&frame_check(&packed));
        body.extend_from_slice(&packed);
    }
    let mut bytes = Vec::with_capacity(TABLE_AT + table.len() + body.len());
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&[FORMAT, kind as u8, 0, 0]);
    bytes.extend_from_slice(&number.to_le_bytes());
    bytes.extend_from_slice(&small(frames.len()).to_le_bytes());
    let sum = *blake3::Hasher::new().update(&bytes).update(&table).update(&body).finalize().as_bytes();
    bytes.extend_from_slice(&sum);
    bytes.append(&mut table);
    bytes.append(&mut body);
    Ok(Sealed { bytes, sum })
}

/// Verifies that `block` is the one asked for, and gives its sum and where its frames are, or what is wrong with it.
pub(super) fn verify(kind: Kind, number: u64, block: &[u8]) -> Result<(Sum, Vec<Frame>), String> {
    let name = || format!("{kind:?} {number}");
    if block.len() < TABLE_AT || block[..4] != MAGIC {
        return Err(format!("{} is not a checkpoint block ({} bytes)", name(), block.len()));
    }
    if block[4] != FORMAT {
        return Err(format!("{} has format {}, this program reads format {FORMAT}", name(), block[4]));
    }
    let (head, rest) = block.split_at(SUM_AT);
    let (sum, rest) = rest.split_at(TABLE_AT - SUM_AT);
    let computed = *blake3::Hasher::new().update(head).update(rest).finalize().as_bytes();
    if computed != sum {
        return Err(format!("{} does not match its checksum", name()));
    }
    if block[5] != kind as u8 || head[8..16] != number.to_le_bytes() {
        return Err(format!("another block lies in the place of {}", name()));
    }
    // Believed only now: the checksum covers it.
    let frames = frames(block).ok_or_else(|| format!("{} contradicts itself", name()))?;
    Ok((computed, frames))
}

fn frames(block: &[u8]) -> Option<Vec<Frame>> {
    let lines = u32_at(block, 16) as usize;
    let table = block.get(TABLE_AT..TABLE_AT.checked_add(lines.checked_mul(FRAME_LINE_BYTES)?)?)?;
    let mut at = TABLE_AT + table.len();
    let mut frames = Vec::with_capacity(lines);
    for line in table.chunks_exact(FRAME_LINE_BYTES) {
        let packed_bytes = u32_at(line, 8);
        let check = line[12..20].try_into().expect("eight bytes were sliced");
        let begins = u32::try_from(at).ok()?;
        let frame = Frame {
            first_entry: u32_at(line, 0),
            at: begins,
            packed_bytes,
            raw_bytes: u32_at(line, 4),
            check,
        };
        frames.push(frame);
        at += packed_bytes as usize;
    }
    (at == block.len()).then_some(frames)
}

/// Verifies `block` and gives its sum and everything that was sealed in it.
pub(super) fn unseal(kind: Kind, number: u64, block: &[u8]) -> Result<(Sum, Vec<u8>), String> {
    let (sum, frames) = verify(kind, number, block)?;
    let mut raw = Vec::new();
    for frame in frames {
        raw.append(&mut frame.unpack(&block[frame.range()])?);
    }
    Ok((sum, raw))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes were sliced"))
}

/// The unpacked entries of a chunk.
#[derive(Clone, Debug, Default)]
pub struct Raw {
    bytes: Vec<u8>,
    /// Where every [`MARK_ENTRIES`]th entry begins.
    marks: Vec<u32>,
    entries: u32,
}

/// An entry: a packed state and what must be known of it without unpacking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'e> {
    /// Whether it remembers incidents, active or not.
    pub has_incidents: bool,
    /// Whether something is held back that must be said at a time.
    pub is_due: bool,
    /// How many of its incidents are active.
    pub active: u32,
    /// How many hits it remembers.
    pub hits: u32,
    /// The packed state.
    pub state: &'e [u8],
}

impl Raw {
    /// From unpacked bytes.
    pub(super) fn from_bytes(bytes: Vec<u8>) -> Result<Self, String> {
        let mut raw = Raw { bytes, ..Raw::default() };
        let mut at = 0;
        while at < raw.bytes.len() {
            let (_, next) = entry_at(&raw.bytes, at)?;
            raw.mark(at);
            at = next;
        }
        Ok(raw)
    }

    fn mark(&mut self, at: usize) {
        if (self.entries as usize).is_multiple_of(MARK_ENTRIES) {
            self.marks.push(u32::try_from(at).expect("a chunk is cut far below 4 GiB"));
        }
        self.entries += 1;
    }

    /// Adds an entry, already encoded, and gives its number.
    pub(super) fn push(&mut self, entry: Entry<'_>) -> u32 {
        let at = self.bytes.len();
        self.mark(at);
        let flags =
            u64::from(entry.has_incidents) | u64::from(entry.is_due) << 1 | u64::from(entry.active) << 2;
        let (flags, hits) = (Varint::of(flags), Varint::of(u64::from(entry.hits)));
        let rest = flags.bytes().len() + hits.bytes().len() + entry.state.len();
        self.bytes.extend_from_slice(Varint::of(rest as u64).bytes());
        self.bytes.extend_from_slice(flags.bytes());
        self.bytes.extend_from_slice(hits.bytes());
        self.bytes.extend_from_slice(entry.state);
        self.entries - 1
    }

    /// How many entries there are.
    pub fn entries(&self) -> u32 {
        self.entries
    }

    /// Their bytes, unpacked.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Bytes of memory.
    pub(super) fn weight(&self) -> u64 {
        (self.bytes.capacity() + self.marks.capacity() * size_of::<u32>()) as u64
    }

    /// Gives back the room that is not needed.
    pub(super) fn shrink(&mut self) {
        self.bytes.shrink_to_fit();
        self.marks.shrink_to_fit();
    }

    /// The entry of a number.
    pub(super) fn entry(&self, number: u32) -> Result<Entry<'_>, String> {
        let mark = number as usize / MARK_ENTRIES;
        let at = *self.marks.get(mark).ok_or("there is no such entry")?;
        nth_entry(&self.bytes[at as usize..], number as usize % MARK_ENTRIES)
    }

    /// All entries, in order.
    pub fn iter(&self) -> Entries<'_> {
        Entries { rest: &self.bytes }
    }
}

/// The `skip`th entry of these bytes.
pub(super) fn nth_entry(bytes: &[u8], skip: usize) -> Result<Entry<'_>, String> {
    let mut entries = Entries { rest: bytes };
    for _ in 0..skip {
        entries.skip_one()?;
    }
    entries.next().unwrap_or_else(|| Err("there is no such entry".to_owned()))
}

/// The entries of an unpacked chunk in the order in which they were pushed.
pub struct Entries<'a> {
    rest: &'a [u8],
}

impl Entries<'_> {
    fn skip_one(&mut self) -> Result<(), String> {
        let (rest, at) = varint_at(self.rest, 0)?;
        self.rest = at
            .checked_add(usize::try_from(rest).map_err(|_| INSIDE_ENTRY)?)
            .and_then(|next| self.rest.get(next..))
            .ok_or(INSIDE_ENTRY)?;
        Ok(())
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = Result<Entry<'a>, String>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let rest = std::mem::take(&mut self.rest);
        let read = entry_at(rest, 0).map(|(entry, next)| {
            self.rest = &rest[next..];
            entry
        });
        Some(read)
    }
}

const INSIDE_ENTRY: &str = "a chunk ends inside an entry";

/// The entry that begins there, and where the next one does.
fn entry_at(bytes: &[u8], at: usize) -> Result<(Entry<'_>, usize), String> {
    let (rest, at) = varint_at(bytes, at)?;
    let next = usize::try_from(rest).ok().and_then(|rest| at.checked_add(rest)).ok_or(INSIDE_ENTRY)?;
    let body = bytes.get(at..next).ok_or(INSIDE_ENTRY)?;
    let (flags, at) = varint_at(body, 0)?;
    let (hits, at) = varint_at(body, at)?;
    let entry = Entry {
        has_incidents: flags & 1 == 1,
        is_due: flags & 2 == 2,
        active: u32::try_from(flags >> 2).map_err(|_| "an entry with too many incidents")?,
        hits: u32::try_from(hits).map_err(|_| "an entry with too many hits")?,
        state: &body[at..],
    };
    Ok((entry, next))
}

/// A number as seven bits to a byte.
struct Varint {
    bytes: [u8; 10],
    len: usize,
}

impl Varint {
    fn of(mut value: u64) -> Self {
        let mut varint = Varint { bytes: [0; 10], len: 0 };
        loop {
            let more = value >= 0x80;
            varint.bytes[varint.len] = value as u8 & 0x7f | u8::from(more) << 7;
            varint.len += 1;
            if !more {
                return varint;
            }
            value >>= 7;
        }
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

fn varint_at(bytes: &[u8], mut at: usize) -> Result<(u64, usize), String> {
    let mut value = 0;
    for shift in (0..63).step_by(7) {
        let byte = *bytes.get(at).ok_or(INSIDE_ENTRY)?;
        at += 1;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok((value, at));
        }
    }
    Err("a number without end in a chunk".to_owned())
}

#[cfg(test)]
#[path = "chunk_tests.rs"]
mod tests;
