//! One value against all texts that rules compare its field with, at once.

use rustc_hash::FxHashMap;

use crate::detect::ends::{End, Ends};
use crate::detect::grams::Grams;
use crate::predicate::{Case, Look, Where, Witness};

/// A predicate that wants a text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    /// Its number.
    pub(super) predicate: u32,
    look: Look,
    /// Whether the text is all that it asks for.
    pub(super) is_answer: bool,
}

impl Wanted {
    /// A predicate that holds of any value.
    pub(super) const fn answer(predicate: u32) -> Self {
        Wanted { predicate, look: Look::Scalars, is_answer: true }
    }
}

/// The texts of one field and one way of comparing case, and the predicates that want them.
#[derive(Debug, Default)]
pub(super) struct Search {
    whole: FxHashMap<Box<str>, Vec<Wanted>>,
    ends: Vec<Ends<Vec<Wanted>>>,
    parts: Option<Parts>,
    /// Whether any of them also wants the text of numbers and flags.
    takes_scalars: bool,
}

#[derive(Debug)]
struct Parts {
    grams: Grams,
    /// For each text: who wants it.
    wanted: Vec<Vec<Wanted>>,
}

/// Texts as they are collected.
#[derive(Debug)]
pub(super) struct SearchBuilder {
    whole: FxHashMap<Box<str>, Vec<Wanted>>,
    first: Ends<Vec<Wanted>>,
    last: Ends<Vec<Wanted>>,
    parts: Vec<(Box<str>, Vec<Wanted>)>,
    places: FxHashMap<Box<str>, usize>,
    takes_scalars: bool,
}

impl Default for SearchBuilder {
    fn default() -> Self {
        SearchBuilder {
            whole: FxHashMap::default(),
            first: Ends::at(End::First),
            last: Ends::at(End::Last),
            parts: Vec::new(),
            places: FxHashMap::default(),
            takes_scalars: false,
        }
    }
}

impl SearchBuilder {
    /// Adds the texts of a predicate. `is_answer` says whether they are all that it asks for.
    pub(super) fn add(&mut self, witness: &Witness<'_>, predicate: u32, is_answer: bool) {
        let wanted = Wanted { predicate, look: witness.look, is_answer };
        self.takes_scalars |= witness.look == Look::Scalars;
        for text in &witness.texts {
            let who = match witness.place {
                Where::Whole => self.whole.entry((*text).into()).or_default(),
                Where::Start => self.first.entry(text),
                Where::End => self.last.entry(text),
                Where::Inside => {
                    let parts = &mut self.parts;
                    let at = *self.places.entry((*text).into()).or_insert_with(|| {
                        parts.push(((*text).into(), Vec::new()));
                        parts.len() - 1
                    });
                    &mut self.parts[at].1
                }
            };
            who.push(wanted);
        }
    }

    pub(super) fn build(self) -> Search {
        let (texts, wanted): (Vec<Box<str>>, Vec<_>) = self.parts.into_iter().unzip();
        let parts = (!texts.is_empty()).then(|| Parts { grams: Grams::new(texts), wanted });
        let ends = [self.first, self.last].into_iter().filter(|ends| !ends.is_empty()).collect();
        Search { whole: self.whole, ends, parts, takes_scalars: self.takes_scalars }
    }
}

impl Search {
    pub(super) fn is_empty(&self) -> bool {
        self.whole.is_empty() && self.ends.is_empty() && self.parts.is_none()
    }

    /// Whether the text of numbers and flags is wanted, too.
    pub(super) fn takes_scalars(&self) -> bool {
        self.takes_scalars
    }

    /// Gives everyone who finds what they want in `value`, some more than once. `from` says what the value is.
    pub(super) fn look(&self, value: &str, from: Look, mut found: impl FnMut(Wanted)) {
        let mut take = |wanted: &Wanted| {
            if from == Look::Texts || wanted.look == Look::Scalars {
                found(*wanted);
            }
        };
        if let Some(wanted) = self.whole.get(value) {
            wanted.iter().for_each(&mut take);
        }
        for ends in &self.ends {
            ends.find(value, |wanted| wanted.iter().for_each(&mut take));
        }
        if let Some(parts) = &self.parts {
            parts.grams.find(value, |text| parts.wanted[text].iter().for_each(&mut take));
        }
    }

    /// The same for texts in lower case and a value of any case, for which `room` is needed.
    pub(super) fn look_in_any_case(
        &self,
        value: &str,
        from: Look,
        room: &mut String,
        mut found: impl FnMut(Wanted),
    ) {
        match &self.parts {
            // Nothing is looked up by the whole value or by its ends: it need not be brought to lower case.
            Some(parts) if self.whole.is_empty() && self.ends.is_empty() && value.is_ascii() => {
                let mut take = |wanted: &Wanted| {
                    if from == Look::Texts || wanted.look == Look::Scalars {
                        found(*wanted);
                    }
                };
                parts.grams.find_in_any_case(value, |text| parts.wanted[text].iter().for_each(&mut take));
            }
            _ => self.look(lower(value, room), from, found),
        }
    }
}

/// `value` in lower case, as predicates compare it, made in `room`.
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

impl Searches<SearchBuilder> {
    pub(super) fn build(self) -> Searches<Search> {
        Searches { sensitive: self.sensitive.build(), ignored: self.ignored.build() }
    }
}

impl<S> Searches<S> {
    pub(super) fn of(&mut self, case: Case) -> &mut S {
        match case {
            Case::Sensitive => &mut self.sensitive,
            Case::Ignored => &mut self.ignored,
        }
    }
}
