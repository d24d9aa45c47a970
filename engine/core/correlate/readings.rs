//! What a step that measures, or limits what it counts, came to at the first moment of an incident and at its last one.

use serde::{Deserialize, Serialize};
use sightline_schemas::EventTime;
use sightline_schemas::incident::{Reading, StepReading};

use crate::pattern::Track;
use crate::rule::Step;

/// What a step came to at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct ReadAt {
    at: EventTime,
    comes_to: f64,
    /// How many events were read, and when the first and the last of them happened.
    events: u64,
    from: EventTime,
    to: EventTime,
}

impl ReadAt {
    /// What a step comes to over the window up to `at`, if there is anything to read.
    pub(super) fn of(step: &Step, track: &mut Track, from: EventTime, at: EventTime) -> Option<Self> {
        step.read()?;
        let comes_to = track.measure(&step.need, from, at)?;
        let within = track.between(from, at);
        let (first, last) = (within.start, within.end.checked_sub(1)?);
        let (from, to) = (track.hit(first).stamp.at, track.hit(last).stamp.at);
        Some(ReadAt { at, comes_to, events: within.len() as u64, from, to })
    }

    fn told(self) -> Reading {
        Reading { value: self.comes_to, events: self.events, first_at: self.from, last_at: self.to }
    }
}

/// What a step came to, over the moments of an incident.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Readings {
    of: Box<str>,
    takes: Box<str>,
    first: ReadAt,
    last: ReadAt,
}

impl Readings {
    /// Of a step that is read, at one moment.
    pub(super) fn new(step: &Step, read: ReadAt) -> Option<Self> {
        let takes = step.read()?.to_string();
        Some(Readings { of: step.read_as().into(), takes: takes.into(), first: read, last: read })
    }

    /// Takes in what the step came to at another moment.
    pub(super) fn add(&mut self, read: ReadAt) {
        if read.at < self.first.at {
            self.first = read;
        }
        if read.at >= self.last.at {
            self.last = read;
        }
    }

    /// Takes in those of another incident.
    pub(super) fn merge(&mut self, other: Readings) {
        self.add(other.first);
        self.add(other.last);
    }

    pub(super) fn told(&self) -> StepReading {
        StepReading {
            of: self.of.to_string(),
            takes: self.takes.to_string(),
            first: self.first.told(),
            last: self.last.told(),
        }
    }
}
