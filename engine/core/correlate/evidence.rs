//! The bounded lists that an incident shows. What they hold depends on the evidence alone, not on its order of arrival.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use sightline_schemas::EventTime;
use sightline_schemas::incident::{Evidence, StepExplain};

use crate::correlate::moments::Absence;
use crate::correlate::readings::{ReadAt, Readings};
use crate::hit::Measured;
use crate::limits::LISTED_VALUES_MAX;
use crate::pattern::{Stamp, TrackHit};
use crate::rule::Step;

/// The first and the last pieces of evidence, in event time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Ends {
    /// How many of either end.
    most: (u8, u8),
    first: BTreeMap<Stamp, Shown>,
    last: BTreeMap<Stamp, Shown>,
}

/// A piece of evidence as it is shown.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Shown {
    position: sightline_schemas::Position,
    brief: std::sync::Arc<crate::hit::Brief>,
}

impl Ends {
    fn add(&mut self, stamp: Stamp, shown: Shown) {
        self.first.insert(stamp, shown);
        if self.first.len() > usize::from(self.most.0)
            && let Some((stamp, shown)) = self.first.pop_last()
        {
            self.last.insert(stamp, shown);
        }
        if self.last.len() > usize::from(self.most.1) {
            self.last.pop_first();
        }
    }
}

/// A set of texts that keeps the first ones in order of text.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Listed(BTreeSet<Box<str>>);

impl Listed {
    /// Takes in one more.
    pub fn add(&mut self, text: &str) {
        if !self.0.contains(text) {
            self.0.insert(text.into());
            if self.0.len() > LISTED_VALUES_MAX {
                self.0.pop_last();
            }
        }
    }

    /// Takes in another set.
    pub fn merge(&mut self, other: Listed) {
        for text in other.0 {
            self.add(&text);
        }
    }

    /// The texts, sorted.
    pub fn texts(&self) -> Vec<String> {
        self.0.iter().map(|text| text.to_string()).collect()
    }

    /// How many there are, as far as they are listed.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The first few of them in one text.
    pub fn told(&self) -> String {
        let first: Vec<&str> = self.0.iter().take(3).map(|text| &**text).collect();
        match self.0.len().saturating_sub(first.len()) {
            0 => first.join(", "),
            more => format!("{} and {more} more", first.join(", ")),
        }
    }

    /// The text, where there is exactly one.
    pub fn only(&self) -> Option<String> {
        match self.0.len() {
            1 => self.0.first().map(|text| text.to_string()),
            _ => None,
        }
    }
}

/// The evidence of one step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepEvidence {
    rule: Box<str>,
    step: Box<str>,
    needed: u32,
    counts_values: bool,
    events: u64,
    first_at: EventTime,
    last_at: EventTime,
    ends: Ends,
    values: Listed,
    absent: u64,
    unknown: u64,
    /// What it came to, where it measures, or limits what it counts.
    readings: Option<Box<Readings>>,
}

impl StepEvidence {
    /// A step without evidence yet.
    pub fn new(rule: &str, step: &str, needed: u32, counts_values: bool, most: (u8, u8)) -> Self {
        StepEvidence {
            rule: rule.into(),
            step: step.into(),
            needed,
            counts_values,
            events: 0,
            first_at: EventTime::MAX,
            last_at: EventTime::MIN,
            ends: Ends { most, ..Ends::default() },
            values: Listed::default(),
            absent: 0,
            unknown: 0,
            readings: None,
        }
    }

    /// Whether this is the evidence of that step.
    pub fn is_of(&self, rule: &str, step: &str) -> bool {
        &*self.rule == rule && &*self.step == step
    }

    /// Takes in one more piece.
    pub fn add(&mut self, hit: &TrackHit) {
        self.events += 1;
        self.first_at = self.first_at.min(hit.stamp.at);
        self.last_at = self.last_at.max(hit.stamp.at);
        if self.counts_values
            && let Some(value) = hit.value.as_ref().and_then(Measured::text)
        {
            self.values.add(value);
        }
        let shown = Shown { position: hit.position, brief: std::sync::Arc::clone(&hit.brief) };
        self.ends.add(hit.stamp, shown);
    }

    /// Takes in that it did not happen, or that nobody knows.
    pub(super) fn add_absence(&mut self, absence: Absence) {
        self.first_at = self.first_at.min(absence.from);
        self.last_at = self.last_at.max(absence.to);
        match absence.unknown {
            true => self.unknown += 1,
            false => self.absent += 1,
        }
    }

    /// Takes in what it came to at a moment.
    pub(super) fn add_reading(&mut self, step: &Step, read: ReadAt) {
        match &mut self.readings {
            Some(readings) => readings.add(read),
            None => self.readings = Readings::new(step, read).map(Box::new),
        }
    }

    /// Takes in the evidence of the same step of another incident.
    pub fn merge(&mut self, other: StepEvidence) {
        self.events += other.events;
        self.absent += other.absent;
        self.unknown += other.unknown;
        self.first_at = self.first_at.min(other.first_at);
        self.last_at = self.last_at.max(other.last_at);
        self.values.merge(other.values);
        match (&mut self.readings, other.readings) {
            (Some(readings), Some(more)) => readings.merge(*more),
            (readings @ None, more) => *readings = more,
            (Some(_), None) => {}
        }
        for (stamp, shown) in other.ends.first.into_iter().chain(other.ends.last) {
            self.ends.add(stamp, shown);
        }
    }

    /// Name of the rule and of the step.
    pub fn names(&self) -> (&str, &str) {
        (&self.rule, &self.step)
    }

    /// How many events satisfied the step.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// The first and the last time.
    pub fn times(&self) -> (EventTime, EventTime) {
        (self.first_at, self.last_at)
    }

    /// The distinct values counted, as far as they are listed.
    pub fn values(&self) -> &Listed {
        &self.values
    }

    /// A field of the first event.
    pub fn first_field(&self, name: &str) -> Option<&str> {
        self.ends.first.values().next()?.brief.get(name)
    }

    /// The pieces that are shown, oldest first.
    pub fn shown(&self) -> impl Iterator<Item = (Stamp, Evidence)> + '_ {
        self.ends.first.iter().chain(&self.ends.last).map(|(stamp, shown)| {
            let brief = &shown.brief;
            let evidence = Evidence {
                id: stamp.event,
                rule: self.rule.to_string(),
                step: self.step.to_string(),
                occurred_at: stamp.at,
                position: shown.position,
                source: brief.source.to_string(),
                kind: brief.kind.to_string(),
                host_id: brief.host_id.as_deref().map(str::to_owned),
                user: brief.user.as_deref().map(str::to_owned),
                severity: brief.severity,
                title: brief.title.as_deref().map(str::to_owned),
                why: brief.fields.clone(),
            };
            (*stamp, evidence)
        })
    }

    /// How the step was satisfied.
    pub fn explain(&self) -> StepExplain {
        StepExplain {
            rule: self.rule.to_string(),
            step: self.step.to_string(),
            needed: self.needed,
            events: self.events,
            first_at: self.first_at,
            last_at: self.last_at,
            values: self.values.texts(),
            absent: self.absent,
            unknown: self.unknown,
            reading: self.readings.as_ref().map(|readings| readings.told()),
        }
    }
}
