//! What was found out about one event: reused from event to event.

use std::sync::Arc;

use sightline_schemas::Position;

use crate::detect::gate::Passed;
use crate::detect::recall::Recall;
use crate::detect::search::Wanted;
use crate::hit::RuleIndex;

/// What is known of a predicate and an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// Nothing was found that concerns it.
    Nothing,
    /// What it requires was found.
    MayHold,
    /// Whether it holds.
    Known(bool),
}

const FAILS: u64 = 1;
const HOLDS: u64 = 2;
const MAY_HOLD: u64 = 3;

/// Answers, and who is to be asked.
#[derive(Debug, Default)]
pub struct Memo {
    /// Of which detector it knows something.
    of: Option<Arc<()>>,
    /// For each predicate: the number of the event that was asked, four times, and what is known of it.
    answers: Vec<u64>,
    /// For each field: the number of the event in which it was found.
    found: Vec<u64>,
    event: u64,
    /// For each member of the payload: its number, and whether it is the first of that name.
    pub(super) places: Vec<(u32, bool)>,
    /// For each member that fields stand in: the number of the event in which it was seen.
    pub(super) seen: Vec<u64>,
    /// Steps to evaluate.
    pub(super) candidates: Vec<u32>,
    /// The value being looked at, in lower case or as text.
    pub(super) text: String,
    /// What was found in values before.
    pub(super) recall: Recall,
    /// The index of the event before, and of those before that.
    pub(super) passed: Passed,
    /// What was found in the value being looked at.
    pub(super) in_value: Vec<Wanted>,
    /// Steps that the event satisfies, as long as it is being routed.
    pub(super) satisfied: Vec<super::index::StepRef>,
    /// Events and the rules of which an exception held, each once.
    pub(super) excepted: Vec<(Position, RuleIndex)>,
}

impl Memo {
    /// The rules of which an exception held since this was last asked, once for each event.
    pub fn take_excepted(&mut self) -> impl Iterator<Item = RuleIndex> {
        std::mem::take(&mut self.excepted).into_iter().map(|(_, rule)| rule)
    }

    /// Forgets what was known of another detector.
    pub(super) fn belong_to(&mut self, detector: &Arc<()>) {
        if !self.of.as_ref().is_some_and(|of| Arc::ptr_eq(of, detector)) {
            self.of = Some(Arc::clone(detector));
            self.recall.clear();
            self.passed = Passed::default();
        }
    }

    /// Begins with another event, for which these many members are known.
    pub(super) fn next_event(&mut self, places: usize) {
        self.event += 1;
        // Also after a reload: what was noted for another detector carries an older number.
        if self.seen.len() < places {
            self.seen.resize(places, 0);
        }
        self.places.clear();
        self.candidates.clear();
    }

    /// Makes room for the answers of an index of so many predicates and fields. Those of other events carry an older number.
    pub(super) fn make_room(&mut self, predicates: usize, fields: usize) {
        if self.answers.len() < predicates {
            self.answers.resize(predicates, 0);
        }
        if self.found.len() < fields {
            self.found.resize(fields, 0);
        }
    }

    /// Adds the next member of the payload, by its number. Whether it is the first of its name.
    pub(super) fn add_place(&mut self, place: u32) -> bool {
        let event = self.event;
        let seen = self.seen.get_mut(place as usize);
        let is_first = seen.is_some_and(|seen| std::mem::replace(seen, event) != event);
        self.places.push((place, is_first));
        is_first
    }

    /// Notes that a predicate holds. Whether that is news.
    pub(super) fn holds_now(&mut self, predicate: u32) -> bool {
        let yes = self.event * 4 + HOLDS;
        std::mem::replace(&mut self.answers[predicate as usize], yes) != yes
    }

    /// Notes that a predicate may hold: what it requires was found. Whether that is news.
    pub(super) fn may_hold_now(&mut self, predicate: u32) -> bool {
        let maybe = self.event * 4 + MAY_HOLD;
        std::mem::replace(&mut self.answers[predicate as usize], maybe) != maybe
    }

    /// Notes what a predicate answered.
    pub(super) fn note(&mut self, predicate: u32, answer: bool) -> bool {
        self.answers[predicate as usize] = self.event * 4 + if answer { HOLDS } else { FAILS };
        answer
    }

    /// What is known of a predicate and this event.
    pub(super) fn answer(&self, predicate: u32) -> Answer {
        let answer = self.answers[predicate as usize];
        match answer % 4 {
            _ if answer / 4 != self.event => Answer::Nothing,
            HOLDS => Answer::Known(true),
            FAILS => Answer::Known(false),
            _ => Answer::MayHold,
        }
    }

    /// Notes that a field was found. Whether that is news.
    pub(super) fn found_now(&mut self, field: u32) -> bool {
        std::mem::replace(&mut self.found[field as usize], self.event) != self.event
    }
}
