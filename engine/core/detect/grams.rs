//! Many texts looked for in one value, by one rare piece of each.
//!
//! The value is looked at in every other place, with a window of three bytes: each text of four bytes or more shows three of
//! its own in one of them. Which three depends on whether it begins in an even or in an odd place, so of each text two
//! pieces are chosen that few other texts have. Whether any text has chosen what the window shows is one bit of a table
//! that stays in the processor's nearest memory, and most places end there. Where it is set, the texts that chose it are
//! compared in full. Texts of two or three bytes have a pass of their own with a window of two in every place, and single
//! bytes are searched for one by one. An automaton of all texts finds the same and waits, byte after byte, for the state
//! that the byte before leads to. That this is slower is a reason, not a measurement: the two have not been timed against
//! each other yet.

use rustc_hash::FxHashMap;

/// Bytes of the window, and the distance of the places where it is looked through.
const WIDE: (usize, usize) = (3, 2);
/// The same for texts that are too short to show three bytes in every other place.
const NARROW: (usize, usize) = (2, 1);
/// Bytes of a text that the wide window finds.
const WIDE_TEXT_MIN: usize = WIDE.0 + WIDE.1 - 1;
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
    /// The bits of a hash that choose one of them.
    mask: u32,
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
            wide: Pass::new::<{ WIDE.0 }, { WIDE.1 }>(of_len(WIDE_TEXT_MIN..=usize::MAX)),
            narrow: Pass::new::<{ NARROW.0 }, { NARROW.1 }>(of_len(NARROW.0..=WIDE_TEXT_MIN - 1)),
            bytes: of_len(1..=1).map(|(number, text)| (text.as_bytes()[0], number as usize)).collect(),
            texts,
        }
    }

    /// Gives every text in `value`, some more than once.
    pub(super) fn find(&self, value: &str, found: impl FnMut(usize)) {
        self.find_where(
            value.as_bytes(),
            |there, text| there == text,
            |byte| memchr::memchr(byte, value.as_bytes()).is_some(),
            found,
        );
    }

    /// Gives every text in `value`, which is ASCII, in any case, some more than once. The texts are in lower case.
    pub(super) fn find_in_any_case(&self, value: &str, found: impl FnMut(usize)) {
        let has = |byte: u8| memchr::memchr2(byte, byte.to_ascii_uppercase(), value.as_bytes()).is_some();
        self.find_where(value.as_bytes(), <[u8]>::eq_ignore_ascii_case, has, found);
    }

    fn find_where(
        &self,
        value: &[u8],
        is_text: impl Fn(&[u8], &[u8]) -> bool,
        has: impl Fn(u8) -> bool,
        mut found: impl FnMut(usize),
    ) {
        for (_, text) in self.bytes.iter().filter(|(byte, _)| has(*byte)) {
            found(*text);
        }
        let mut candidate = |text: u32, at: usize, offset: u32| {
            let wanted = self.texts[text as usize].as_bytes();
            let there =
                at.checked_sub(offset as usize).and_then(|start| value.get(start..start + wanted.len()));
            if there.is_some_and(|there| is_text(there, wanted)) {
                found(text as usize);
            }
        };
        if let Some(pass) = &self.wide {
            pass.over::<{ WIDE.0 }, { WIDE.1 }>(value, &mut candidate);
        }
        if let Some(pass) = &self.narrow {
            pass.over::<{ NARROW.0 }, { NARROW.1 }>(value, &mut candidate);
        }
    }
}

impl Pass {
    /// For texts with their numbers; `None` where there are none.
    fn new<'t, const LEN: usize, const STEP: usize>(
        texts: impl Iterator<Item = (u32, &'t Box<str>)> + Clone,
    ) -> Option<Self> {
        // How many texts have these bytes.
        let mut common: FxHashMap<u32, u32> = FxHashMap::default();
        for (_, text) in texts.clone() {
            windows::<LEN, 1>(text.as_bytes()).for_each(|(_, gram)| *common.entry(gram).or_default() += 1);
        }
        let mut chosen: FxHashMap<u32, Vec<(u32, u32)>> = FxHashMap::default();
        let mut count = 0;
        for (number, text) in texts {
            // Wherever the text begins, one of the places lies within the first few of its bytes, and others follow.
            for first in 0..STEP {
                // Of equally rare pieces the last: the ends of paths and words differ more than their beginnings.
                let rarest = windows::<LEN, STEP>(&text.as_bytes()[first..])
                    .min_by_key(|(at, gram)| (common[gram], frequency(*gram), usize::MAX - at));
                let (at, gram) = rarest.expect("the text is as long as the window and a step");
                chosen.entry(gram).or_default().push((number, (first + at) as u32));
                count += 1;
            }
        }
        if chosen.is_empty() {
            return None;
        }
        let log = (count * BITS_A_TEXT).next_power_of_two().ilog2().clamp(BITS_LOG_MIN, BITS_LOG_MAX);
        let mut bits = vec![0; (1 << log) / u64::BITS as usize];
        let mask = (1 << log) - 1;
        for gram in chosen.keys() {
            let (word, bit) = place(*gram, mask);
            bits[word] |= bit;
        }
        Some(Pass { bits: bits.into(), mask, texts: chosen })
    }

    // A loop by itself: within what calls it, it does not fit into the registers.
    #[inline(never)]
    fn over<const LEN: usize, const STEP: usize>(
        &self,
        value: &[u8],
        candidate: &mut impl FnMut(u32, usize, u32),
    ) {
        // Eight bytes at a time, as many windows as they hold.
        let held = const { (size_of::<u64>() - LEN) / STEP + 1 };
        let mut at = 0;
        while let Some(eight) = value[at..].first_chunk() {
            let bytes = u64::from_le_bytes(*eight) | FOLD;
            for first in (0..held).map(|number| number * STEP) {
                let gram = (bytes >> (first * 8)) as u32 & const { mask(LEN) };
                if self.may_have(gram) {
                    self.compare(gram, at + first, candidate);
                }
            }
            at += held * STEP;
        }
        for (from, gram) in windows::<LEN, STEP>(&value[at..]) {
            if self.may_have(gram) {
                self.compare(gram, at + from, candidate);
            }
        }
    }

    #[inline(always)]
    fn may_have(&self, gram: u32) -> bool {
        let (word, bit) = place(gram, self.mask);
        self.bits[word] & bit != 0
    }

    #[inline(never)]
    fn compare(&self, gram: u32, at: usize, candidate: &mut impl FnMut(u32, usize, u32)) {
        for (text, offset) in self.texts.get(&gram).into_iter().flatten() {
            candidate(*text, at, *offset);
        }
    }
}

/// How often bytes are seen in values, on no particular scale: rare letters tell more.
fn frequency(gram: u32) -> u32 {
    let of_byte = |byte: &u8| match byte {
        0 => 0,
        b' ' | b'a' | b'c' | b'e' | b'i' | b'l' | b'm' | b'n' | b'o' | b'r' | b's' | b't' => 3,
        // A backslash with the bit that letters of either case have.
        b'|' | b'.' | b'd' | b'p' | b'u' | b'w' => 2,
        b'a'..=b'z' | b'0'..=b'9' => 1,
        _ => 0,
    };
    gram.to_le_bytes().iter().map(of_byte).sum()
}

/// Letters of either case are the same with this bit, and so are a few other bytes, which costs a comparison.
const FOLD: u64 = u64::from_ne_bytes([0x20; size_of::<u64>()]);

/// The bits of so many bytes, two or three.
const fn mask(len: usize) -> u32 {
    u32::MAX >> (u32::BITS - len as u32 * u8::BITS)
}

/// The word and the bit of the table that stand for these bytes.
fn place(gram: u32, mask: u32) -> (usize, u64) {
    // The upper half of the product depends on all bytes.
    let hash = (u64::from(gram).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> u32::BITS) as u32 & mask;
    ((hash / u64::BITS) as usize, 1 << (hash % u64::BITS))
}

/// Each place in `bytes` so far apart, with the bytes in the window there, two or three, as a number, whatever their case.
fn windows<const LEN: usize, const STEP: usize>(bytes: &[u8]) -> impl Iterator<Item = (usize, u32)> + '_ {
    let number = |window: &[u8; LEN]| window.iter().rev().fold(0, |sum, byte| sum << 8 | u32::from(*byte));
    let fold = |gram: u32| (gram | FOLD as u32) & mask(LEN);
    bytes.array_windows::<LEN>().map(number).map(fold).enumerate().step_by(STEP)
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
            if value.is_ascii() {
                let mut found = Vec::new();
                grams.find_in_any_case(&value.to_uppercase(), |text| found.push(text));
                found.sort_unstable();
                found.dedup();
                assert_eq!(found, plainly(&texts, value), "{value:?} in upper case");
            }
        }
    }
}
