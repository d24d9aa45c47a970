//! One value against all texts that rules compare its field with, at once.

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use rustc_hash::FxHashMap;

use crate::predicate::{Case, Texts, Where};

/// Up to so many bytes of texts are worth the fastest and largest automaton: about half a kilobyte a byte.
const FAST_BYTES_MAX: usize = 4_096;

/// The texts of one field and one way of comparing case, and the predicates that they answer.
#[derive(Debug, Default)]
pub(super) struct Search {
    whole: FxHashMap<Box<str>, Vec<u32>>,
    parts: Option<Parts>,
}

#[derive(Debug)]
struct Parts {
    automaton: AhoCorasick,
    /// For each text of the automaton: the predicates, and where each of them wants it.
    wanted: Vec<Vec<(Where, u32)>>,
}

/// Texts as they are collected.
#[derive(Debug, Default)]
pub(super) struct SearchBuilder {
    whole: FxHashMap<Box<str>, Vec<u32>>,
    parts: Vec<(Box<str>, Vec<(Where, u32)>)>,
    places: FxHashMap<Box<str>, usize>,
}

impl SearchBuilder {
    /// Adds the texts of a predicate.
    pub(super) fn add(&mut self, texts: &Texts, predicate: u32) {
        for text in texts.texts() {
            match texts.place() {
                Where::Whole => self.whole.entry(text.as_str().into()).or_default().push(predicate),
                place => {
                    let parts = &mut self.parts;
                    let at = *self.places.entry(text.as_str().into()).or_insert_with(|| {
                        parts.push((text.as_str().into(), Vec::new()));
                        parts.len() - 1
                    });
                    self.parts[at].1.push((place, predicate));
                }
            }
        }
    }

    pub(super) fn build(self) -> Search {
        let (texts, wanted): (Vec<Box<str>>, Vec<_>) = self.parts.into_iter().unzip();
        let bytes: usize = texts.iter().map(|text| text.len()).sum();
        let kind = match bytes <= FAST_BYTES_MAX {
            true => AhoCorasickKind::DFA,
            false => AhoCorasickKind::ContiguousNFA,
        };
        let parts = (!texts.is_empty()).then(|| {
            let mut builder = AhoCorasick::builder();
            let automaton = builder
                .match_kind(MatchKind::Standard)
                .kind(Some(kind))
                .build(texts.iter().map(|text| text.as_bytes()));
            Parts { automaton: automaton.expect("rule files are far smaller than 4 GiB"), wanted }
        });
        Search { whole: self.whole, parts }
    }
}

impl Search {
    pub(super) fn is_empty(&self) -> bool {
        self.whole.is_empty() && self.parts.is_none()
    }

    /// Whether numbers and flags are compared, too, which is so where the whole value is.
    pub(super) fn takes_all_scalars(&self) -> bool {
        !self.whole.is_empty()
    }

    /// Gives every predicate that the whole value answers.
    pub(super) fn whole(&self, value: &str, mut holds: impl FnMut(u32)) {
        if let Some(predicates) = self.whole.get(value) {
            predicates.iter().for_each(|predicate| holds(*predicate));
        }
    }

    /// Gives every predicate that a text answers, some more than once.
    pub(super) fn text(&self, value: &str, mut holds: impl FnMut(u32)) {
        self.whole(value, &mut holds);
        let Some(parts) = &self.parts else { return };
        for found in parts.automaton.find_overlapping_iter(value) {
            for (place, predicate) in &parts.wanted[found.pattern().as_usize()] {
                let in_place = match place {
                    Where::Inside => true,
                    Where::Start => found.start() == 0,
                    Where::End => found.end() == value.len(),
                    Where::Whole => unreachable!("whole values are looked up"),
                };
                if in_place {
                    holds(*predicate);
                }
            }
        }
    }
}

/// `value` in lower case, as [`Texts`] compares it, made in `room`.
pub(super) fn lower<'r>(value: &str, room: &'r mut String) -> &'r str {
    room.clear();
    if value.is_ascii() {
        room.push_str(value);
        room.make_ascii_lowercase();
    } else {
        // The last letter of a word can be another one in Greek: the whole text decides.
        room.push_str(&value.to_lowercase());
    }
    room
}

/// Both ways of comparing case, for one field.
#[derive(Debug, Default)]
pub(super) struct Searches<S> {
    pub(super) sensitive: S,
    pub(super) ignored: S,
}

impl<S> Searches<S> {
    pub(super) fn of(&mut self, case: Case) -> &mut S {
        match case {
            Case::Sensitive => &mut self.sensitive,
            Case::Ignored => &mut self.ignored,
        }
    }
}
