//! The index: from source and kind of an event to the steps that might want it.

use std::collections::HashMap;

use sightline_schemas::Event;

use crate::hit::RuleIndex;
use crate::predicate::{Condition, Predicate};

/// A step of a rule.
pub type StepRef = (RuleIndex, u8);

/// Finds the steps that an event satisfies.
#[derive(Debug, Default)]
pub struct Detector {
    predicates: Vec<Predicate>,
    steps: Vec<(StepRef, Compiled)>,
    /// Steps by the source they require, and those that require none.
    by_source: HashMap<Box<str>, ByKind>,
    any_source: ByKind,
}

/// Steps by the kind they require, and those that require none.
#[derive(Debug, Default)]
struct ByKind {
    named: HashMap<Box<str>, Vec<u32>>,
    any: Vec<u32>,
}

/// A condition whose predicates are numbers.
#[derive(Debug)]
enum Compiled {
    Test(u32),
    All(Vec<Compiled>),
    Any(Vec<Compiled>),
    Not(Box<Compiled>),
}

/// What was found out about one event: reused from event to event.
#[derive(Debug, Default)]
pub struct Memo {
    answers: Vec<(u64, bool)>,
    event: u64,
    candidates: Vec<u32>,
    /// Rules of which an exception held, once for each event.
    pub(super) excepted: Vec<RuleIndex>,
}

impl Memo {
    /// The rules of which an exception held since this was last asked.
    pub fn take_excepted(&mut self) -> Vec<RuleIndex> {
        std::mem::take(&mut self.excepted)
    }
}

impl Detector {
    /// Adds the condition of a step.
    pub fn add(&mut self, step: StepRef, condition: &Condition) {
        let compiled = self.compile(condition);
        let number = self.steps.len() as u32;
        self.steps.push((step, compiled));
        let kinds = condition.required_texts("kind");
        match condition.required_texts("source") {
            None => self.any_source.add(kinds, number),
            Some(sources) => {
                for source in sources {
                    self.by_source.entry(source.as_str().into()).or_default().add(kinds, number);
                }
            }
        }
    }

    fn compile(&mut self, condition: &Condition) -> Compiled {
        match condition {
            Condition::Test(predicate) => {
                let known = self.predicates.iter().position(|known| known == predicate);
                let number = known.unwrap_or_else(|| {
                    self.predicates.push(predicate.clone());
                    self.predicates.len() - 1
                });
                Compiled::Test(number as u32)
            }
            Condition::All(inner) => Compiled::All(inner.iter().map(|inner| self.compile(inner)).collect()),
            Condition::Any(inner) => Compiled::Any(inner.iter().map(|inner| self.compile(inner)).collect()),
            Condition::Not(inner) => Compiled::Not(Box::new(self.compile(inner))),
        }
    }

    /// How many distinct predicates there are.
    pub fn predicates(&self) -> usize {
        self.predicates.len()
    }

    /// Gives every step that the event satisfies to `take`, in the order of the rules.
    pub fn satisfied(&self, event: &Event<'_>, memo: &mut Memo, mut take: impl FnMut(StepRef)) {
        memo.next_event(self.predicates.len());
        let mut candidates = std::mem::take(&mut memo.candidates);
        candidates.clear();
        let named = self.by_source.get(&*event.source);
        for by_kind in named.into_iter().chain([&self.any_source]) {
            candidates.extend(by_kind.named.get(&*event.kind).into_iter().flatten());
            candidates.extend(&by_kind.any);
        }
        candidates.sort_unstable();
        for number in &candidates {
            let (step, condition) = &self.steps[*number as usize];
            if self.holds(condition, event, memo) {
                take(*step);
            }
        }
        memo.candidates = candidates;
    }

    fn holds(&self, condition: &Compiled, event: &Event<'_>, memo: &mut Memo) -> bool {
        match condition {
            Compiled::Test(number) => {
                let at = *number as usize;
                if memo.answers[at].0 != memo.event {
                    memo.answers[at] = (memo.event, self.predicates[at].holds(event));
                }
                memo.answers[at].1
            }
            Compiled::All(inner) => inner.iter().all(|inner| self.holds(inner, event, memo)),
            Compiled::Any(inner) => inner.iter().any(|inner| self.holds(inner, event, memo)),
            Compiled::Not(inner) => !self.holds(inner, event, memo),
        }
    }
}

impl ByKind {
    fn add(&mut self, kinds: Option<&[String]>, step: u32) {
        match kinds {
            None => self.any.push(step),
            Some(kinds) => {
                for kind in kinds {
                    self.named.entry(kind.as_str().into()).or_default().push(step);
                }
            }
        }
    }
}

impl Memo {
    fn next_event(&mut self, predicates: usize) {
        self.event += 1;
        // Also after a reload: answers of another detector carry an older number.
        self.answers.resize(predicates, (0, false));
    }
}
