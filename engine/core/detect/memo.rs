//! What was found out about one event: reused from event to event.

/// Answers, and who is to be asked.
#[derive(Debug, Default)]
pub struct Memo {
    /// For each predicate: the number of the event that was asked, twice, and one more where it holds.
    answers: Vec<u64>,
    /// For each field: the number of the event in which it was found.
    found: Vec<u64>,
    event: u64,
    /// Steps to evaluate.
    pub(super) candidates: Vec<u32>,
    /// The value being looked at, in lower case or as text.
    pub(super) text: String,
    /// Steps that the event satisfies, as long as it is being routed.
    pub(super) satisfied: Vec<super::index::StepRef>,
}

impl Memo {
    pub(super) fn next_event(&mut self, predicates: usize, fields: usize) {
        self.event += 1;
        // Also after a reload: answers of another detector carry an older number.
        self.answers.resize(predicates, 0);
        self.found.resize(fields, 0);
        self.candidates.clear();
    }

    /// Notes that a predicate holds. Whether that is news.
    pub(super) fn holds_now(&mut self, predicate: u32) -> bool {
        let yes = self.event * 2 + 1;
        std::mem::replace(&mut self.answers[predicate as usize], yes) != yes
    }

    /// Notes what a predicate answered.
    pub(super) fn note(&mut self, predicate: u32, answer: bool) -> bool {
        self.answers[predicate as usize] = self.event * 2 + u64::from(answer);
        answer
    }

    /// What a predicate answered of this event, if anybody asked.
    pub(super) fn answer(&self, predicate: u32) -> Option<bool> {
        let answer = self.answers[predicate as usize];
        (answer / 2 == self.event).then_some(answer % 2 == 1)
    }

    /// Notes that a field was found. Whether that is news.
    pub(super) fn found_now(&mut self, field: u32) -> bool {
        std::mem::replace(&mut self.found[field as usize], self.event) != self.event
    }
}
