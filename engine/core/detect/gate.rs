//! What rules agree to ask first, and what is left of them once it is known.
//!
//! Rules name few sources, kinds and log sources, and say so in fields of which they ask that the whole value be one of
//! these. What an event has in the fields that most rules ask so, its **pass**, decides which steps it can satisfy at all.
//! Events of few passes make up a stream, so for each that comes often an index of its own is made: of the steps that are
//! left, and of what is left of their conditions. Other events are looked at by the index of all steps, which finds the
//! same.

use std::sync::{Arc, Mutex};

use rustc_hash::{FxHashMap, FxHashSet};
use sightline_schemas::Event;

use crate::detect::catalogue::{Catalogue, NO_PLACE, Tree};
use crate::detect::index::{Index, StepRef};
use crate::detect::memo::Memo;
use crate::detect::search::lower;
use crate::field::{Scalar, Standing};
use crate::predicate::{Case, Look, Predicate, Test, Where};

/// Fields that make up a pass.
const FIELDS_MAX: usize = 4;
/// A field is asked first when one step in so many asks for it.
const STEPS_A_FIELD: usize = 32;
/// Values of one field that are told from each other.
const VALUES_MAX: usize = (u16::MAX - 2) as usize;
/// How often a pass must come before it has an index of its own: making one takes as long as some thousand events.
const SEEN_BEFORE: u32 = if cfg!(test) { 1 } else { 1_000 };
/// Indexes of passes.
const INDEXES_MAX: usize = 128;
/// Steps in all of them, as a multiple of all steps: what they take in memory.
const STEPS_FACTOR: usize = 8;
/// Passes whose events are counted.
const COUNTED_MAX: usize = 4_096;

/// The event has none, which no rule can want.
const ABSENT: u16 = 0;
/// One that no rule asks for.
const OTHER: u16 = 1;

/// What the event has in each of the fields.
type Pass = [u16; FIELDS_MAX];

/// The fields that make up a pass, and the indexes that were made.
#[derive(Debug, Default)]
pub(super) struct Gate {
    fields: Vec<GateField>,
    /// By the number of a member of the payload: which of the fields it is.
    members: Vec<Vec<usize>>,
    /// For each predicate that a pass decides.
    decided: FxHashMap<u32, Decided>,
    made: Mutex<Made>,
}

#[derive(Debug)]
struct GateField {
    /// In the catalogue.
    number: u32,
    case: Case,
    /// What rules ask for.
    values: FxHashMap<Box<str>, u16>,
    is_member: bool,
}

#[derive(Debug)]
enum Decided {
    /// The value of that field is one of these.
    OneOf(usize, Box<[u16]>),
    /// That field has a value.
    Present(usize),
}

#[derive(Debug, Default)]
struct Made {
    indexes: FxHashMap<Pass, Arc<Index>>,
    steps: usize,
}

/// What a thread knows of passes.
#[derive(Debug, Default)]
pub(super) struct Passed {
    /// For each field of the gate: the text that it had last, and what that is.
    latest: Vec<(String, u16)>,
    pass: Pass,
    index: Option<Arc<Index>>,
    others: FxHashMap<Pass, Other>,
}

#[derive(Debug)]
enum Other {
    Index(Arc<Index>),
    /// It came so often, and has none yet.
    Seen(u32),
    /// There is no room for one.
    Never,
}

impl Gate {
    /// Over the steps of a catalogue.
    pub(super) fn new(catalogue: &Catalogue) -> Self {
        let mut asked: FxHashMap<(u32, Case), usize> = FxHashMap::default();
        for (_, tree) in &catalogue.steps {
            let mut of_step = FxHashSet::default();
            asked_first(tree, catalogue, &mut of_step);
            of_step.into_iter().for_each(|field| *asked.entry(field).or_default() += 1);
        }
        let enough = catalogue.steps.len().div_ceil(STEPS_A_FIELD);
        let mut asked: Vec<_> = asked.into_iter().filter(|(_, steps)| *steps >= enough).collect();
        asked.sort_unstable_by_key(|((number, case), steps)| {
            (usize::MAX - steps, *number, *case == Case::Ignored)
        });
        let mut gate = Gate::default();
        for ((number, case), _) in asked {
            let values = values_of(number, case, catalogue);
            if values.len() <= VALUES_MAX && gate.fields.len() < FIELDS_MAX {
                let is_member = matches!(catalogue.fields[number as usize].standing(), Standing::Member(_));
                gate.fields.push(GateField { number, case, values, is_member });
            }
        }
        gate.members.resize(catalogue.places(), Vec::new());
        for (at, field) in gate.fields.iter().enumerate() {
            if let Standing::Member(name) = catalogue.fields[field.number as usize].standing() {
                gate.members[catalogue.place(name) as usize].push(at);
            }
        }
        for (number, known) in (0..).zip(&catalogue.predicates) {
            gate.decided.extend(gate.decides(known.field, &known.predicate).map(|decided| (number, decided)));
        }
        gate
    }

    fn decides(&self, number: u32, predicate: &Predicate) -> Option<Decided> {
        let of_field = |field: &GateField| field.number == number;
        if predicate.test == Test::Exists {
            return self.fields.iter().position(of_field).map(Decided::Present);
        }
        let (case, texts) = whole(predicate)?;
        let at = self.fields.iter().position(|field| of_field(field) && field.case == case)?;
        Some(Decided::OneOf(at, texts.iter().map(|text| self.fields[at].values[text.as_str()]).collect()))
    }

    /// Notes the members of the payload of an event in the memo. Its own index, if there is one: it is given back by
    /// [`Passed::give_back`].
    pub(super) fn pass(
        &self,
        catalogue: &Catalogue,
        event: &Event<'_>,
        memo: &mut Memo,
    ) -> Option<Arc<Index>> {
        let mut passed = std::mem::take(&mut memo.passed);
        passed.latest.resize_with(self.fields.len(), Default::default);
        let mut pass = Some([ABSENT; FIELDS_MAX]);
        let mut known = |at: usize, code: Option<u16>| match (code, &mut pass) {
            (Some(code), Some(pass)) => pass[at] = code,
            _ => pass = None,
        };
        for (at, field) in self.fields.iter().enumerate().filter(|(_, field)| !field.is_member) {
            let mut values = Values::default();
            catalogue.fields[field.number as usize].any(event, |value| values.take(value));
            known(at, field.code(values, &mut passed.latest[at], &mut memo.text));
        }
        for member in event.fields.members() {
            let place = catalogue.place(member.name());
            let is_first = memo.add_place(place);
            if place == NO_PLACE || !is_first {
                continue;
            }
            for at in &self.members[place as usize] {
                let field = &self.fields[*at];
                let mut values = Values::default();
                catalogue.fields[field.number as usize].each(member.value(), |value| values.take(value));
                known(*at, field.code(values, &mut passed.latest[*at], &mut memo.text));
            }
        }
        let index = pass.filter(|_| !self.fields.is_empty()).and_then(|pass| {
            if passed.index.is_none() || passed.pass != pass {
                passed.index = self.index(pass, catalogue, &mut passed.others);
                passed.pass = pass;
            }
            passed.index.take()
        });
        memo.passed = passed;
        index
    }

    /// The index of a pass, made when it came often.
    fn index(
        &self,
        pass: Pass,
        catalogue: &Catalogue,
        others: &mut FxHashMap<Pass, Other>,
    ) -> Option<Arc<Index>> {
        if others.len() >= COUNTED_MAX && !others.contains_key(&pass) {
            return None;
        }
        let other = others.entry(pass).or_insert(Other::Seen(0));
        match other {
            Other::Index(index) => Some(Arc::clone(index)),
            Other::Never => None,
            Other::Seen(times) => {
                *times = times.saturating_add(1);
                if *times <= SEEN_BEFORE {
                    return None;
                }
                // While somebody is making one, the index of all steps does.
                let mut made = self.made.try_lock().ok()?;
                let index = self.make(pass, catalogue, &mut made);
                *other = index.as_ref().map_or(Other::Never, |index| Other::Index(Arc::clone(index)));
                index
            }
        }
    }

    fn make(&self, pass: Pass, catalogue: &Catalogue, made: &mut Made) -> Option<Arc<Index>> {
        if let Some(index) = made.indexes.get(&pass) {
            return Some(Arc::clone(index));
        }
        if made.indexes.len() >= INDEXES_MAX || made.steps > catalogue.steps.len() * STEPS_FACTOR {
            return None;
        }
        let known = |number: u32| match self.decided.get(&number)? {
            Decided::OneOf(at, codes) => Some(codes.contains(&pass[*at])),
            Decided::Present(at) => Some(pass[*at] != ABSENT),
        };
        let left = catalogue.steps.iter().map(|(step, tree)| (*step, tree.knowing(&known)));
        let left: Vec<(StepRef, Tree)> = left.filter(|(_, tree)| !tree.is_false()).collect();
        made.steps += left.len();
        let number = made.indexes.len() as u32 + 1;
        let steps = left.iter().map(|(step, tree)| (*step, tree));
        let index = Arc::new(Index::new(number, catalogue, steps, |_| {}));
        made.indexes.insert(pass, Arc::clone(&index));
        Some(index)
    }
}

impl Passed {
    /// Keeps the index of an event for the next one.
    pub(super) fn give_back(&mut self, index: Arc<Index>) {
        self.index = Some(index);
    }
}

/// The values that an event has of a field.
#[derive(Default)]
enum Values<'e> {
    #[default]
    None,
    One(Scalar<'e>),
    Many,
}

impl<'e> Values<'e> {
    /// Takes one in, and says whether that is all one wants to know.
    fn take(&mut self, value: Scalar<'e>) -> bool {
        *self = match self {
            Values::None => Values::One(value),
            _ => Values::Many,
        };
        matches!(self, Values::Many)
    }
}

impl GateField {
    /// What these values are; `None` where they are several.
    fn code(&self, values: Values<'_>, latest: &mut (String, u16), room: &mut String) -> Option<u16> {
        let text = match values {
            Values::None => return Some(ABSENT),
            Values::Many => return None,
            Values::One(value) => value.text(),
        };
        // What nothing was looked up for yet is no text that rules ask for.
        if latest.1 == ABSENT || latest.0 != text {
            let known = match self.case {
                Case::Sensitive => self.values.get(&*text),
                Case::Ignored => self.values.get(lower(&text, room)),
            };
            latest.1 = known.copied().unwrap_or(OTHER);
            latest.0.clear();
            latest.0.push_str(&text);
        }
        Some(latest.1)
    }
}

/// Case and texts of a comparison with whole values of a field that a pass could decide.
fn whole(predicate: &Predicate) -> Option<(Case, &[String])> {
    let Test::Texts(texts) = &predicate.test else { return None };
    // Every value has a text, and all of them are looked into.
    (texts.place() == Where::Whole && texts.look() == Look::Scalars).then(|| (texts.case(), texts.texts()))
}

fn values_of(number: u32, case: Case, catalogue: &Catalogue) -> FxHashMap<Box<str>, u16> {
    let mut values = FxHashMap::default();
    for known in catalogue.predicates.iter().filter(|known| known.field == number) {
        let Some((_, texts)) = whole(&known.predicate).filter(|(its, _)| *its == case) else { continue };
        for text in texts {
            let next = OTHER.saturating_add(1).saturating_add(values.len().min(VALUES_MAX) as u16);
            values.entry(text.as_str().into()).or_insert(next);
        }
    }
    values
}

/// The fields that a step asks so that a pass can rule it out by each.
fn asked_first(tree: &Tree, catalogue: &Catalogue, fields: &mut FxHashSet<(u32, Case)>) {
    match tree {
        Tree::All(inner) => inner.iter().for_each(|inner| asked_first(inner, catalogue, fields)),
        Tree::Test(_) | Tree::Any(_) => fields.extend(choice(tree, catalogue)),
        Tree::Not(_) => {}
    }
}

/// The field of which the tree asks nothing but that the whole value be one of some, or be absent.
fn choice(tree: &Tree, catalogue: &Catalogue) -> Option<(u32, Case)> {
    match tree {
        Tree::Test(number) => {
            let known = &catalogue.predicates[*number as usize];
            let field = &catalogue.fields[known.field as usize];
            let stands = matches!(field.standing(), Standing::Own | Standing::Member(_)) && !field.is_many();
            whole(&known.predicate).filter(|_| stands).map(|(case, _)| (known.field, case))
        }
        Tree::Any(inner) => {
            let absent = |inner: &Tree| match inner {
                Tree::Not(inner) => match **inner {
                    Tree::Test(number) => {
                        let known = &catalogue.predicates[number as usize];
                        (known.predicate.test == Test::Exists).then_some(known.field)
                    }
                    _ => None,
                },
                _ => None,
            };
            let field = inner.iter().find_map(|inner| choice(inner, catalogue))?;
            let agrees =
                |inner: &Tree| choice(inner, catalogue) == Some(field) || absent(inner) == Some(field.0);
            inner.iter().all(agrees).then_some(field)
        }
        Tree::All(_) | Tree::Not(_) => None,
    }
}
