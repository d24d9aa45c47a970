//! What is counted per source.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus::{IntCounter, IntCounterVec};
use sightline_schemas::edge::Reason;

use super::declare::Declare;

/// Sources that are counted by name. A name comes from the subject, which the server lets a producer publish on; the
/// bound is against a producer that may publish on all of them.
pub const SOURCES_MAX: usize = 256;

const OTHER: &str = "other";

/// The counters of one source.
pub struct SourceMetrics {
    label: String,
    events: IntCounter,
    duplicates: IntCounter,
    late: IntCounter,
    suspect_time: IntCounter,
    dead_letters: IntCounterVec,
}

impl SourceMetrics {
    /// So many events came in.
    pub fn events(&self, events: u64) {
        self.events.inc_by(events);
    }

    /// An event came in that had been counted before.
    pub fn duplicate(&self) {
        self.duplicates.inc();
    }

    /// An event was later than its rule allows.
    pub fn late(&self) {
        self.late.inc();
    }

    /// An event said a time that lies ahead of its receipt.
    pub fn suspect_time(&self) {
        self.suspect_time.inc();
    }

    /// An input could not be read.
    pub fn dead_letter(&self, reason: Reason) {
        self.dead_letters.with_label_values(&[self.label.as_str(), reason.as_str()]).inc();
    }
}

pub(super) struct Sources {
    events: IntCounterVec,
    duplicates: IntCounterVec,
    late: IntCounterVec,
    suspect_time: IntCounterVec,
    dead_letters: IntCounterVec,
    known: Mutex<HashMap<String, Arc<SourceMetrics>>>,
}

impl Sources {
    pub fn new(declare: &Declare<'_>) -> Self {
        let counters = |name, help| declare.counters(name, help, &["source"]);
        Sources {
            events: counters("events_total", "Events that came in and could be read."),
            duplicates: counters("duplicates_total", "Events that had been counted before."),
            late: counters("late_total", "Hits that were later than their rule allows."),
            suspect_time: counters(
                "suspect_time_total",
                "Events whose time lies more than a minute ahead of their receipt.",
            ),
            dead_letters: declare.counters(
                "dead_letters_total",
                "Inputs that could not be read.",
                &["source", "reason"],
            ),
            known: Mutex::new(HashMap::new()),
        }
    }

    pub fn get(&self, source: &str) -> Arc<SourceMetrics> {
        // Counters are whole after a panic elsewhere.
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(metrics) = known.get(source) {
            return Arc::clone(metrics);
        }
        let label = if known.len() < SOURCES_MAX { source } else { OTHER };
        if let Some(metrics) = known.get(label) {
            return Arc::clone(metrics);
        }
        let metrics = Arc::new(SourceMetrics {
            label: label.to_owned(),
            events: self.events.with_label_values(&[label]),
            duplicates: self.duplicates.with_label_values(&[label]),
            late: self.late.with_label_values(&[label]),
            suspect_time: self.suspect_time.with_label_values(&[label]),
            dead_letters: self.dead_letters.clone(),
        });
        known.insert(label.to_owned(), Arc::clone(&metrics));
        metrics
    }
}
