//! Many texts looked for at one end of a value.
//!
//! Nothing is passed over: the last bytes of the value, up to eight of them, are looked up among those of the texts. Rules
//! ask mostly for the ends of paths, and most paths end in none of what they ask for.

use rustc_hash::FxHashMap;

/// Texts of so many bytes and more are looked up by so many, and compared.
const KEY: usize = size_of::<u64>();

/// Which end of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    First,
    Last,
}

/// Texts to look for at one end.
#[derive(Debug)]
pub(super) struct Ends<T> {
    end: End,
    /// By how many bytes they are looked up, 1 to [`KEY`]; then by these bytes.
    texts: [FxHashMap<u64, SameKey<T>>; KEY],
}

/// Texts that are looked up by the same bytes, and what belongs to them.
type SameKey<T> = Vec<(Box<str>, T)>;

impl<T> Ends<T> {
    /// No texts yet.
    pub(super) fn at(end: End) -> Self {
        Ends { end, texts: Default::default() }
    }

    /// What belongs to a text that is not empty, made where it is new.
    pub(super) fn entry(&mut self, text: &str) -> &mut T
    where
        T: Default,
    {
        let len = text.len().min(KEY);
        let same_key = self.texts[len - 1].entry(key(self.end, text.as_bytes(), len)).or_default();
        let at = same_key.iter().position(|(known, _)| **known == *text).unwrap_or_else(|| {
            same_key.push((text.into(), T::default()));
            same_key.len() - 1
        });
        &mut same_key[at].1
    }

    /// Whether there is no text.
    pub(super) fn is_empty(&self) -> bool {
        self.texts.iter().all(FxHashMap::is_empty)
    }

    /// Gives what belongs to the texts at this end of `value`.
    pub(super) fn find(&self, value: &str, mut found: impl FnMut(&T)) {
        for (texts, len) in self.texts.iter().zip(1..=value.len()) {
            if texts.is_empty() {
                continue;
            }
            for (text, belongs) in texts.get(&key(self.end, value.as_bytes(), len)).into_iter().flatten() {
                let is_there = match self.end {
                    End::First => value.as_bytes().starts_with(text.as_bytes()),
                    End::Last => value.as_bytes().ends_with(text.as_bytes()),
                };
                if is_there {
                    found(belongs);
                }
            }
        }
    }
}

/// So many bytes at an end, as a number.
fn key(end: End, bytes: &[u8], len: usize) -> u64 {
    let bytes = match end {
        End::First => &bytes[..len],
        End::Last => &bytes[bytes.len() - len..],
    };
    bytes.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_at_an_end_is_found() {
        let texts =
            ["a", "ba", "cba", ".exe", "d.exe", "md.exe", "cmd.exe", "\\cmd.exe", "x\\cmd.exe", "é", "né"];
        for end in [End::First, End::Last] {
            let mut ends: Ends<Vec<usize>> = Ends::at(end);
            assert!(ends.is_empty());
            texts.iter().enumerate().for_each(|(number, text)| ends.entry(text).push(number));
            for value in
                ["", "a", "cba", "acba", ".exe", "c:\\x\\cmd.exe", "cmd.exe.cmd.exe", "né", "éa", "xyz"]
            {
                let mut found: Vec<usize> = Vec::new();
                ends.find(value, |numbers| found.extend(numbers));
                found.sort_unstable();
                let is_there = |text: &&str| match end {
                    End::First => value.starts_with(*text),
                    End::Last => value.ends_with(*text),
                };
                let plainly = texts.iter().enumerate().filter(|(_, text)| is_there(text));
                assert_eq!(found, plainly.map(|(number, _)| number).collect::<Vec<_>>(), "{value:?} {end:?}");
            }
        }
    }
}
