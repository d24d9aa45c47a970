//! What was found out about one event: reused from event to event.

use sightline_schemas::Position;

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
    /// For each predicate: the number of the event that was asked, four times, and what is known of it.
    answers: Vec<u64>,
    /// For each field: the number of the event in which it was found.
    found: Vec<u64>,
    event: u64,
    /// Steps to evaluate.
    pub(super) candidates: Vec<u32>,
    /// The value being looked at, in lower case or as text.
    pub(super) text: String,
    /// What was found in values before.
    pub(super) recall: Recall,
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

    pub(super) fn next_event(&mut self, predicates: usize, fields: usize) {
        self.event += 1;
        // Also after a reload: answers of another detector carry an older number.
        self.answers.resize(predicates, 0);
        self.found.resize(fields, 0);
        self.candidates.clear();
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
