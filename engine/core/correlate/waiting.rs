//! What a rule that waits remembers for a key: up to when its moments are settled, and when the next ones will be.
//!
//! A moment is settled when nothing can come any more, inside the lateness, that lies at or before it. That is so when
//! the key's own newest event is further ahead than the lateness, or when the lateness has passed in log time since its
//! last event arrived. Either way everything before it is settled too, so one time says it all.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use sightline_schemas::EventTime;

use crate::pattern::Stamp;
use crate::pattern::first_seen::Seen;
use crate::pattern::vigil::Vigil;
use crate::rule::{Pattern, Rule};

/// Where a rule that waits stands for a key.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Waiting {
    /// Moments up to here are settled.
    settled: EventTime,
    /// In log time, when moments up to which event time will be. Both grow.
    dues: VecDeque<(EventTime, EventTime)>,
    /// The same for single events that claim to come from the future: they settle nothing but themselves.
    suspects: VecDeque<(EventTime, Stamp)>,
    /// The values that the key has had, for first-seen rules.
    pub(super) seen: Seen,
    /// For each step that must not follow: when its source was heard.
    pub(super) vigils: Vec<Vigil>,
}

impl Waiting {
    pub(super) fn new(rule: &Rule) -> Self {
        let followers = match &rule.pattern {
            Pattern::Sequence { bounds, .. } => bounds.after.len(),
            Pattern::AllOf { .. } => 0,
        };
        Waiting {
            settled: EventTime::MIN,
            dues: VecDeque::new(),
            suspects: VecDeque::new(),
            seen: Seen::default(),
            vigils: vec![Vigil::default(); followers],
        }
    }

    /// Whether moments at that time are settled.
    pub(super) fn is_settled(&self, at: EventTime) -> bool {
        at <= self.settled
    }

    /// A moment may lie at that time; log time `due` settles it.
    pub(super) fn expect(&mut self, at: EventTime, due: EventTime) {
        match self.dues.back_mut() {
            // What settles the later one settles this one, and sooner.
            Some((_, last)) if *last >= at => {}
            Some((known, last)) if *known >= due => *last = at,
            _ => self.dues.push_back((due, at)),
        }
    }

    /// The same for an event that claims to come from the future.
    pub(super) fn expect_suspect(&mut self, event: Stamp, due: EventTime) {
        self.suspects.push_back((due, event));
    }

    /// The log time at which something settles next.
    pub(super) fn due(&self) -> Option<EventTime> {
        let dues = self.dues.front().map(|(due, _)| *due);
        let suspects = self.suspects.front().map(|(due, _)| *due);
        dues.into_iter().chain(suspects).min()
    }

    /// How many log times there are at which something settles.
    pub(super) fn pending(&self) -> usize {
        self.dues.len() + self.suspects.len()
    }

    /// Up to which event time moments are settled at that log time, if further than before.
    pub(super) fn settled_by(&mut self, log_time: EventTime) -> Option<EventTime> {
        let mut upto = None;
        while let Some((_, at)) = self.dues.pop_front_if(|(due, _)| *due <= log_time) {
            upto = Some(at);
        }
        upto.filter(|upto| *upto > self.settled)
    }

    /// The next event from the future whose own time to wait is over at that log time.
    pub(super) fn suspect_by(&mut self, log_time: EventTime) -> Option<Stamp> {
        self.suspects.pop_front_if(|(due, _)| *due <= log_time).map(|(_, event)| event)
    }

    /// Moments up to there are settled from now on. Gives the time up to which they were.
    pub(super) fn settle(&mut self, upto: EventTime) -> EventTime {
        let before = self.settled;
        self.settled = before.max(upto);
        while self.dues.front().is_some_and(|(_, at)| *at <= self.settled) {
            self.dues.pop_front();
        }
        before
    }
}
