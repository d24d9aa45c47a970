//! Many texts looked for in one value, by one rare piece of each.
//!
//! Of each text four bytes are chosen that few other texts have. The value is passed over once with a window of four
//! bytes; whether any text has chosen these is one bit of a table that stays in the processor's nearest memory, and most
//! places end there. Where it is set, the texts that chose them are compared in full. An automaton of all texts finds the
//! same and waits, byte after byte, for the state that the byte before leads to. That this is slower is a reason, not a
//! measurement: the two have not been timed against each other yet.

use rustc_hash::FxHashMap;

/// Bytes of the window: the texts shorter than that have a pass of their own for each length.
const WINDOW: usize = 4;
/// Bits of the table for each text, so that few of them are set.
const BITS_A_TEXT: usize = 32;
/// Most bits of the table, as a power of two: 32 KiB.
const BITS_LOG_MAX: u32 = 18;
const BITS_LOG_MIN: u32 = 9;

/// Texts to look for.
#[derive(Debug)]
pub(super) struct Grams {
    texts: Vec<Box<str>>,
    /// By the length of the window, 1 to [`WINDOW`] bytes; `None` where no text needs it.
    passes: [Option<Pass>; WINDOW],
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
        // How many texts have these bytes.
        let mut common: FxHashMap<u32, u32> = FxHashMap::default();
        for text in &texts {
            windows::<WINDOW>(text.as_bytes()).for_each(|(_, gram)| *common.entry(gram).or_default() += 1);
        }
        let mut chosen: [Vec<(u32, u32, u32)>; WINDOW] = Default::default();
        for (number, text) in texts.iter().enumerate() {
            let bytes = text.as_bytes();
            // Of equally rare pieces the last: the ends of paths and words differ more than their beginnings.
            let rarest = windows::<WINDOW>(bytes).min_by_key(|(at, gram)| (common[gram], usize::MAX - at));
            let (at, gram) = rarest.unwrap_or((0, gram(bytes)));
            chosen[bytes.len().min(WINDOW) - 1].push((gram, number as u32, at as u32));
        }
        let passes = chosen.map(|chosen| (!chosen.is_empty()).then(|| Pass::new(&chosen)));
        Grams { texts, passes }
    }

    /// Gives every text in `value`, once for each place where it stands.
    pub(super) fn find(&self, value: &str, mut found: impl FnMut(usize)) {
        let bytes = value.as_bytes();
        let mut candidate = |text: u32, at: usize, offset: u32| {
            let text = text as usize;
            let wanted = self.texts[text].as_bytes();
            let Some(start) = at.checked_sub(offset as usize) else { return };
            if bytes[start..].starts_with(wanted) {
                found(text);
            }
        };
        let [one, two, three, four] = &self.passes;
        if let Some(pass) = four {
            pass.over::<4>(bytes, &mut candidate);
        }
        if let Some(pass) = three {
            pass.over::<3>(bytes, &mut candidate);
        }
        if let Some(pass) = two {
            pass.over::<2>(bytes, &mut candidate);
        }
        if let Some(pass) = one {
            pass.over::<1>(bytes, &mut candidate);
        }
    }
}

impl Pass {
    fn new(chosen: &[(u32, u32, u32)]) -> Self {
        let log = (chosen.len() * BITS_A_TEXT).next_power_of_two().ilog2().clamp(BITS_LOG_MIN, BITS_LOG_MAX);
        let mut pass = Pass {
            bits: vec![0; (1 << log) / u64::BITS as usize].into(),
            shift: u32::BITS - log,
            texts: FxHashMap::default(),
        };
        for (gram, text, at) in chosen {
            let (word, bit) = pass.place(*gram);
            pass.bits[word] |= bit;
            pass.texts.entry(*gram).or_default().push((*text, *at));
        }
        pass
    }

    fn place(&self, gram: u32) -> (usize, u64) {
        let hash = gram.wrapping_mul(0x9e37_79b1) >> self.shift;
        ((hash / u64::BITS) as usize, 1 << (hash % u64::BITS))
    }

    // A loop by itself: within what calls it, it does not fit into the registers.
    #[inline(never)]
    fn over<const LEN: usize>(&self, value: &[u8], candidate: &mut impl FnMut(u32, usize, u32)) {
        for (at, gram) in windows::<LEN>(value) {
            let (word, bit) = self.place(gram);
            if self.bits[word] & bit != 0 {
                for (text, offset) in self.texts.get(&gram).into_iter().flatten() {
                    candidate(*text, at, *offset);
                }
            }
        }
    }
}

/// Each place in `bytes` with the bytes in the window there.
fn windows<const LEN: usize>(bytes: &[u8]) -> impl Iterator<Item = (usize, u32)> + '_ {
    bytes.windows(LEN).map(gram).enumerate()
}

/// Up to four bytes as a number.
fn gram(bytes: &[u8]) -> u32 {
    match bytes.first_chunk::<WINDOW>() {
        Some(four) => u32::from_le_bytes(*four),
        None => bytes.iter().rev().fold(0, |sum, byte| sum << 8 | u32::from(*byte)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks everywhere for everything.
    fn plainly(texts: &[&str], value: &str) -> Vec<usize> {
        let mut found = Vec::new();
        for (number, text) in texts.iter().enumerate() {
            for start in 0..value.len() {
                if value.as_bytes()[start..].starts_with(text.as_bytes()) {
                    found.push(number);
                }
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
            assert_eq!(found, plainly(&texts, value), "{value:?}");
        }
    }
}
