//! Many texts looked for in one value, by one rare piece of each.
//!
//! Of each text four bytes are chosen that few other texts have. The value is passed over once with a window of four
//! bytes; whether any text has chosen these is one bit of a table that stays in the processor's nearest memory, and most
//! places end there. Where it is set, the texts that chose them are compared in full. Texts of two or three bytes have a
//! pass of their own with a window of two, and single bytes are searched for one by one. An automaton of all texts finds the
//! same and waits, byte after byte, for the state that the byte before leads to. That this is slower is a reason, not a
//! measurement: the two have not been timed against each other yet.

use rustc_hash::FxHashMap;

/// Bytes of the window.
const WINDOW: usize = 4;
/// Bytes of the window for texts that are shorter than that.
const NARROW: usize = 2;
/// Bits of the table for each text, so that few of them are set.
const BITS_A_TEXT: usize = 32;
/// Most bits of the table, as a power of two: 32 KiB.
const BITS_LOG_MAX: u32 = 18;
const BITS_LOG_MIN: u32 = 9;

/// Texts to look for.
#[derive(Debug)]
pub(super) struct Grams {
    texts: Vec<Box<str>>,
    wide: Option<Pass>,
    narrow: Option<Pass>,
    /// Texts of one byte, and which they are.
    bytes: Vec<(u8, usize)>,
}

/// What is looked for with a window of one length.
#[derive(Debug)]
struct Pass {
    bits: Box<[u64]>,
    shift: u32,
    /// By the bytes in the window: the texts that chose them, and where in the text they stand.
    texts: FxHashMap<u32, Vec<(u32, u32)>>,
}

impl Grams {
    /// Texts that are not empty. They are known by their places here.
    pub(super) fn new(texts: Vec<Box<str>>) -> Self {
        let of_len = |lens: std::ops::RangeInclusive<usize>| {
            (0..).zip(&texts).filter(move |(_, text)| lens.contains(&text.len()))
        };
        Grams {
            wide: Pass::new::<WINDOW>(of_len(WINDOW..=usize::MAX)),
            narrow: Pass::new::<NARROW>(of_len(NARROW..=WINDOW - 1)),
            bytes: of_len(1..=1).map(|(number, text)| (text.as_bytes()[0], number as usize)).collect(),
            texts,
        }
    }

    /// Gives every text in `value`, some more than once.
    pub(super) fn find(&self, value: &str, mut found: impl FnMut(usize)) {
        let bytes = value.as_bytes();
        let mut candidate = |text: u32, at: usize, offset: u32| {
            let text = text as usize;
            let Some(start) = at.checked_sub(offset as usize) else { return };
            if bytes[start..].starts_with(self.texts[text].as_bytes()) {
                found(text);
            }
        };
        if let Some(pass) = &self.wide {
            pass.over::<WINDOW>(bytes, &mut candidate);
        }
        if let Some(pass) = &self.narrow {
            pass.over::<NARROW>(bytes, &mut candidate);
        }
        for (byte, text) in &self.bytes {
            if memchr::memchr(*byte, bytes).is_some() {
                found(*text);
            }
        }
    }
}

impl Pass {
    /// For texts with their numbers; `None` where there are none.
    fn new<'t, const LEN: usize>(texts: impl Iterator<Item = (u32, &'t Box<str>)> + Clone) -> Option<Self> {
        // How many texts have these bytes.
        let mut common: FxHashMap<u32, u32> = FxHashMap::default();
        for (_, text) in texts.clone() {
            windows::<LEN>(text.as_bytes()).for_each(|(_, gram)| *common.entry(gram).or_default() += 1);
        }
        let mut chosen: FxHashMap<u32, Vec<(u32, u32)>> = FxHashMap::default();
        let mut count = 0;
        for (number, text) in texts {
            // Of equally rare pieces the last: the ends of paths and words differ more than their beginnings.
            let rarest =
                windows::<LEN>(text.as_bytes()).min_by_key(|(at, gram)| (common[gram], usize::MAX - at));
            let (at, gram) = rarest.expect("the text is as long as the window");
            chosen.entry(gram).or_default().push((number, at as u32));
            count += 1;
        }
        if chosen.is_empty() {
            return None;
        }
        let log = (count * BITS_A_TEXT).next_power_of_two().ilog2().clamp(BITS_LOG_MIN, BITS_LOG_MAX);
        let mut bits = vec![0; (1 << log) / u64::BITS as usize];
        let shift = u32::BITS - log;
        for gram in chosen.keys() {
            let (word, bit) = place(*gram, shift);
            bits[word] |= bit;
        }
        Some(Pass { bits: bits.into(), shift, texts: chosen })
    }

    // A loop by itself: within what calls it, it does not fit into the registers.
    #[inline(never)]
    fn over<const LEN: usize>(&self, value: &[u8], candidate: &mut impl FnMut(u32, usize, u32)) {
        for (at, gram) in windows::<LEN>(value) {
            let (word, bit) = place(gram, self.shift);
            if self.bits[word] & bit != 0 {
                for (text, offset) in self.texts.get(&gram).into_iter().flatten() {
                    candidate(*text, at, *offset);
                }
            }
        }
    }
}

/// The word and the bit of the table that stand for these bytes.
fn place(gram: u32, shift: u32) -> (usize, u64) {
    let hash = gram.wrapping_mul(0x9e37_79b1) >> shift;
    ((hash / u64::BITS) as usize, 1 << (hash % u64::BITS))
}

/// Each place in `bytes` with the bytes in the window there, two or four, as a number.
fn windows<const LEN: usize>(bytes: &[u8]) -> impl Iterator<Item = (usize, u32)> + '_ {
    let number = |window: &[u8; LEN]| window.iter().rev().fold(0, |sum, byte| sum << 8 | u32::from(*byte));
    bytes.array_windows::<LEN>().map(number).enumerate()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks everywhere for everything, once.
    fn plainly(texts: &[&str], value: &str) -> Vec<usize> {
        let mut found = Vec::new();
        for (number, text) in texts.iter().enumerate() {
            if value.contains(text) {
                found.push(number);
            }
        }
        found
    }

    #[test]
    fn every_place_of_every_text_is_found() {
        let texts = [
            "a", "ab", "abc", "abcd", "bcda", "aaaa", "aaaaa", "abcdabcd", ".exe", "\\a.exe", "\\b.exe", "é",
            "né", "aéb", "éé",
        ];
        let grams = Grams::new(texts.iter().map(|text| Box::from(*text)).collect());
        for value in [
            "",
            "a",
            "abcdabcdabcd",
            "aaaaaaaa",
            "c:\\a.exe",
            "c:\\b.exe \\a.exe",
            "néébaéb",
            "xyz",
            "abc",
            ".ex",
        ] {
            let mut found = Vec::new();
            grams.find(value, |text| found.push(text));
            found.sort_unstable();
            found.dedup();
            assert_eq!(found, plainly(&texts, value), "{value:?}");
        }
    }
}
