//! The index: from the members of an event to the steps that might want it.

use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};
use sightline_schemas::Event;

use crate::detect::memo::{Answer, Memo};
use crate::detect::recall::Recalled;
use crate::detect::search::{Search, SearchBuilder, Searches, Wanted, lower};
use crate::detect::witness::{Answered, Popularity, Sign, StepCost, answered};
use crate::field::{Beside, Field, Scalar, Standing, beside_of};
use crate::hit::RuleIndex;
use crate::predicate::{Condition, Look, Predicate, Test};

/// A step of a rule.
pub type StepRef = (RuleIndex, u8);

/// Fields that no event is without.
const EVERY_EVENT_HAS: [&str; 4] = ["source", "kind", "class", "severity"];

/// Finds the steps that an event satisfies.
#[derive(Debug, Default)]
pub struct Detector {
    predicates: Vec<Known>,
    steps: Vec<Indexed>,
    fields: Vec<FieldIndex>,
    /// Fields that are names of the event itself.
    own: Vec<u32>,
    /// Fields in an object beside the payload.
    beside: Vec<(Beside, u32)>,
    /// Fields by the member of the payload in which they can stand.
    members: FxHashMap<Box<str>, Vec<Standpoint>>,
    /// Steps without a witness.
    always: Vec<u32>,
    /// Tells it from every other one.
    identity: Arc<()>,
}

/// A predicate, and the steps whose witness it is.
#[derive(Debug)]
struct Known {
    predicate: Predicate,
    answered: Answered,
    wakes: Vec<u32>,
}

#[derive(Debug)]
struct Indexed {
    step: StepRef,
    condition: Compiled,
    cost: StepCost,
}

/// A field that rules read.
#[derive(Debug)]
struct FieldIndex {
    field: Field,
    texts: Searches<Search>,
    /// Predicates that hold of any value.
    exists: Vec<u32>,
    /// Steps whose witness is any value.
    wakes: Vec<u32>,
}

#[derive(Clone, Copy, Debug)]
struct Standpoint {
    field: u32,
    /// The member is the field, and not merely where it may be found.
    is_whole: bool,
}

/// A condition whose predicates are numbers.
#[derive(Debug)]
enum Compiled {
    Test(u32),
    All(Vec<Compiled>),
    Any(Vec<Compiled>),
    Not(Box<Compiled>),
}

/// Takes in steps, one after the other.
#[derive(Debug, Default)]
pub struct DetectorBuilder<'c> {
    steps: Vec<(StepRef, &'c Condition)>,
}

impl<'c> DetectorBuilder<'c> {
    /// Adds the condition of a step. Steps come in the order of their rules.
    pub fn add(&mut self, step: StepRef, condition: &'c Condition) {
        self.steps.push((step, condition));
    }

    /// The detector of these steps.
    pub fn build(self) -> Detector {
        let mut popularity = Popularity::default();
        self.steps.iter().for_each(|(_, condition)| popularity.count(condition));
        let mut building = Building::default();
        for (number, (step, condition)) in self.steps.iter().enumerate() {
            building.add(*step, condition, number as u32, &popularity);
        }
        building.detector.fields = building
            .texts
            .into_iter()
            .zip(building.detector.fields)
            .map(|(texts, field)| FieldIndex {
                texts: Searches { sensitive: texts.sensitive.build(), ignored: texts.ignored.build() },
                ..field
            })
            .collect();
        building.detector
    }
}

/// A detector as it grows.
#[derive(Default)]
struct Building {
    detector: Detector,
    texts: Vec<Searches<SearchBuilder>>,
    field_numbers: FxHashMap<Field, u32>,
    /// Predicates that could be equal, by what is cheap to compare.
    alike: FxHashMap<(u32, String), Vec<u32>>,
}

impl Building {
    fn add(&mut self, step: StepRef, condition: &Condition, number: u32, popularity: &Popularity) {
        let mut compiled = self.compile(condition);
        self.cheapest_first(&mut compiled);
        let witness = popularity.witness(condition, &mut |predicate| self.sign(predicate));
        let mut cost = self.cost(condition);
        match &witness {
            None => self.detector.always.push(number),
            Some(witness) => {
                for sign in &witness.signs {
                    cost.witness.push(self.told(*sign));
                    let wakes = match sign {
                        Sign::Holds(predicate) => &mut self.detector.predicates[*predicate as usize].wakes,
                        Sign::Present(field) => &mut self.detector.fields[*field as usize].wakes,
                    };
                    if wakes.last() != Some(&number) {
                        wakes.push(number);
                    }
                }
                // Nothing can satisfy it: an empty choice.
                if witness.signs.is_empty() {
                    cost.witness.push("nothing: no event can satisfy it".to_owned());
                }
            }
        }
        self.detector.steps.push(Indexed { step, condition: compiled, cost });
    }

    fn compile(&mut self, condition: &Condition) -> Compiled {
        match condition {
            Condition::Test(predicate) => Compiled::Test(self.predicate(predicate)),
            Condition::All(inner) => Compiled::All(inner.iter().map(|inner| self.compile(inner)).collect()),
            Condition::Any(inner) => Compiled::Any(inner.iter().map(|inner| self.compile(inner)).collect()),
            Condition::Not(inner) => Compiled::Not(Box::new(self.compile(inner))),
        }
    }

    /// The number of a predicate. Equal ones have the same.
    fn predicate(&mut self, predicate: &Predicate) -> u32 {
        let field = self.field(&predicate.field);
        let witness = predicate.test.witness();
        let first_text =
            witness.as_ref().and_then(|witness| witness.texts.first().copied()).unwrap_or_default();
        let alike = self.alike.entry((field, first_text.to_owned())).or_default();
        let known = &self.detector.predicates;
        if let Some(same) = alike.iter().find(|number| known[**number as usize].predicate == *predicate) {
            return *same;
        }
        let number = known.len() as u32;
        alike.push(number);
        let answered = answered(&predicate.test);
        if let Some(witness) = &witness {
            let texts = self.texts[field as usize].of(witness.case);
            texts.add(witness, number, answered == Answered::Wholly);
        }
        if predicate.test == Test::Exists {
            self.detector.fields[field as usize].exists.push(number);
        }
        self.detector.predicates.push(Known { predicate: predicate.clone(), answered, wakes: Vec::new() });
        number
    }

    fn field(&mut self, field: &Field) -> u32 {
        if let Some(number) = self.field_numbers.get(field) {
            return *number;
        }
        let detector = &mut self.detector;
        let number = detector.fields.len() as u32;
        let mut stands = |name: &str, is_whole| {
            let places = detector.members.entry(name.into()).or_default();
            places.push(Standpoint { field: number, is_whole });
        };
        match field.standing() {
            Standing::Own => detector.own.push(number),
            Standing::Member(name) => stands(name, true),
            Standing::Inside(written, first) => {
                stands(written, false);
                stands(first, false);
            }
            Standing::Beside(beside, written, first) => {
                stands(written, false);
                stands(first, false);
                detector.beside.push((beside, number));
            }
        }
        self.field_numbers.insert(field.clone(), number);
        self.texts.push(Searches::default());
        detector.fields.push(FieldIndex {
            field: field.clone(),
            texts: Searches::default(),
            exists: Vec::new(),
            wakes: Vec::new(),
        });
        number
    }

    fn sign(&mut self, predicate: &Predicate) -> Option<Sign> {
        match answered(&predicate.test) {
            Answered::Wholly | Answered::ByText => Some(Sign::Holds(self.predicate(predicate))),
            // Every event has these: that they are there is no sign of anything.
            Answered::ByPresence if EVERY_EVENT_HAS.contains(&predicate.field.name()) => None,
            Answered::ByPresence => Some(Sign::Present(self.field(&predicate.field))),
            Answered::Never => None,
        }
    }

    /// Comparisons that are answered already go before those that must be asked.
    fn cheapest_first(&self, condition: &mut Compiled) {
        match condition {
            Compiled::All(inner) | Compiled::Any(inner) => {
                inner.iter_mut().for_each(|inner| self.cheapest_first(inner));
                inner.sort_by_cached_key(|inner| self.effort(inner));
            }
            Compiled::Not(inner) => self.cheapest_first(inner),
            Compiled::Test(_) => {}
        }
    }

    fn effort(&self, condition: &Compiled) -> u32 {
        match condition {
            Compiled::Test(number) => {
                let known = &self.detector.predicates[*number as usize];
                match (known.answered, &known.predicate.test) {
                    (Answered::Wholly, _) => 0,
                    (Answered::ByText, _) => 50,
                    (_, Test::Regular(_)) => 1_000,
                    _ => 100,
                }
            }
            Compiled::All(inner) | Compiled::Any(inner) => {
                1 + inner.iter().map(|inner| self.effort(inner)).sum::<u32>()
            }
            Compiled::Not(inner) => self.effort(inner),
        }
    }

    fn cost(&mut self, condition: &Condition) -> StepCost {
        let mut cost = StepCost::default();
        let mut counted = FxHashSet::default();
        for predicate in condition.predicates() {
            let number = self.predicate(predicate);
            if counted.insert(number) {
                match self.detector.predicates[number as usize].answered {
                    Answered::Wholly => cost.indexed += 1,
                    _ => cost.asked += 1,
                }
                cost.regexes += usize::from(matches!(predicate.test, Test::Regular(_)));
            }
        }
        cost
    }

    fn told(&self, sign: Sign) -> String {
        match sign {
            Sign::Holds(number) => {
                let predicate = &self.detector.predicates[number as usize].predicate;
                format!("{} {}", predicate.field.name(), predicate.expectation())
            }
            Sign::Present(field) => format!("{} is there", self.detector.fields[field as usize].field.name()),
        }
    }
}

impl Detector {
    /// How many distinct predicates there are.
    pub fn predicates(&self) -> usize {
        self.predicates.len()
    }

    /// What each step costs, in the order of the rules.
    pub fn costs(&self) -> impl Iterator<Item = (StepRef, &StepCost)> {
        self.steps.iter().map(|indexed| (indexed.step, &indexed.cost))
    }

    /// Gives every step that the event satisfies to `take`, in the order of the rules.
    pub fn satisfied(&self, event: &Event<'_>, memo: &mut Memo, mut take: impl FnMut(StepRef)) {
        memo.next_event(self.predicates.len(), self.fields.len());
        memo.recall.belong_to(&self.identity);
        for number in &self.own {
            let index = &self.fields[*number as usize];
            index.field.any(event, |value| {
                self.look(*number, value, memo);
                false
            });
        }
        for (beside, number) in &self.beside {
            if beside_of(event, *beside).is_some() {
                self.look_for(*number, event, memo);
            }
        }
        for member in event.fields.members() {
            for standpoint in self.members.get(member.name()).into_iter().flatten() {
                if !standpoint.is_whole {
                    self.look_for(standpoint.field, event, memo);
                } else if memo.found_now(standpoint.field) {
                    self.fields[standpoint.field as usize].field.each(member.value(), |value| {
                        self.look(standpoint.field, value, memo);
                        false
                    });
                }
            }
        }
        let mut candidates = std::mem::take(&mut memo.candidates);
        candidates.extend_from_slice(&self.always);
        candidates.sort_unstable();
        candidates.dedup();
        for number in &candidates {
            let indexed = &self.steps[*number as usize];
            if self.holds(&indexed.condition, event, memo) {
                take(indexed.step);
            }
        }
        memo.candidates = candidates;
    }

    /// Looks at the values of a field that may be somewhere in the event, once.
    fn look_for(&self, number: u32, event: &Event<'_>, memo: &mut Memo) {
        if memo.found_now(number) {
            self.fields[number as usize].field.any(event, |value| {
                self.look(number, value, memo);
                false
            });
        }
    }

    /// Notes what one value of a field answers, and wakes whom that concerns.
    fn look(&self, number: u32, value: Scalar<'_>, memo: &mut Memo) {
        let index = &self.fields[number as usize];
        memo.candidates.extend_from_slice(&index.wakes);
        index.exists.iter().for_each(|predicate| self.note(*predicate, memo));
        let texts = &index.texts;
        match value {
            Scalar::Text(_) if texts.sensitive.is_empty() && texts.ignored.is_empty() => {}
            Scalar::Text(text) => self.look_into_text(number, text, memo),
            other if texts.sensitive.takes_scalars() || texts.ignored.takes_scalars() => {
                let found = self.look_into(texts, &other.text(), Look::Scalars, memo);
                memo.in_value = found;
            }
            _ => {}
        }
    }

    fn look_into_text(&self, number: u32, text: &str, memo: &mut Memo) {
        let mut recall = std::mem::take(&mut memo.recall);
        let keep_as = match recall.recall(number, text) {
            Recalled::Known(found) => {
                found.iter().for_each(|wanted| self.found(*wanted, memo));
                memo.recall = recall;
                return;
            }
            Recalled::Again(hash) => Some(hash),
            Recalled::Nothing => None,
        };
        let found = self.look_into(&self.fields[number as usize].texts, text, Look::Texts, memo);
        if let Some(hash) = keep_as {
            recall.keep(hash, number, text, &found);
        }
        (memo.in_value, memo.recall) = (found, recall);
    }

    /// What is found in a value, each once, after it was noted.
    fn look_into(&self, texts: &Searches<Search>, value: &str, from: Look, memo: &mut Memo) -> Vec<Wanted> {
        let mut found = std::mem::take(&mut memo.in_value);
        found.clear();
        if !texts.sensitive.is_empty() {
            texts.sensitive.look(value, from, |wanted| found.push(wanted));
        }
        if !texts.ignored.is_empty() {
            texts.ignored.look(lower(value, &mut memo.text), from, |wanted| found.push(wanted));
        }
        found.sort_unstable_by_key(|wanted| wanted.predicate);
        found.dedup_by_key(|wanted| wanted.predicate);
        found.iter().for_each(|wanted| self.found(*wanted, memo));
        found
    }

    fn found(&self, wanted: Wanted, memo: &mut Memo) {
        match wanted.is_answer {
            true => self.note(wanted.predicate, memo),
            false => {
                if memo.may_hold_now(wanted.predicate) {
                    self.wake(wanted.predicate, memo);
                }
            }
        }
    }

    fn note(&self, predicate: u32, memo: &mut Memo) {
        if memo.holds_now(predicate) {
            self.wake(predicate, memo);
        }
    }

    fn wake(&self, predicate: u32, memo: &mut Memo) {
        memo.candidates.extend_from_slice(&self.predicates[predicate as usize].wakes);
    }

    fn holds(&self, condition: &Compiled, event: &Event<'_>, memo: &mut Memo) -> bool {
        match condition {
            Compiled::Test(number) => {
                let known = &self.predicates[*number as usize];
                match (memo.answer(*number), known.answered) {
                    (Answer::Known(answer), _) => answer,
                    // Without what it requires it cannot hold.
                    (Answer::Nothing, Answered::Wholly | Answered::ByText) => memo.note(*number, false),
                    _ => {
                        let answer = known.predicate.holds(event);
                        memo.note(*number, answer)
                    }
                }
            }
            Compiled::All(inner) => inner.iter().all(|inner| self.holds(inner, event, memo)),
            Compiled::Any(inner) => inner.iter().any(|inner| self.holds(inner, event, memo)),
            Compiled::Not(inner) => !self.holds(inner, event, memo),
        }
    }
}
