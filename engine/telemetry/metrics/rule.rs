//! What is counted per rule.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec};
use sightline_schemas::Change;

use super::declare::Declare;
use super::whole;

/// The counters of one rule, resolved beforehand: counting costs one atomic addition and no lookup.
#[derive(Clone)]
pub struct RuleMetrics {
    hits: IntCounter,
    matches: IntCounter,
    suppressed: IntCounter,
    unknown: IntCounter,
    excepted: IntCounter,
    incidents: [IntCounter; Change::ALL.len()],
    keys: IntGauge,
    window_hits: IntGauge,
}

impl RuleMetrics {
    /// So many events satisfied a step of the rule.
    pub fn hits(&self, hits: u64) {
        self.hits.inc_by(hits);
    }

    /// The rule's pattern was complete.
    pub fn matched(&self) {
        self.matches.inc();
    }

    /// A match was held back by the rule's own policy.
    pub fn suppressed(&self) {
        self.suppressed.inc();
    }

    /// So often nobody could know whether a step followed, as its source was silent.
    pub fn unknown(&self, times: u64) {
        self.unknown.inc_by(times);
    }

    /// An exception of the rule held of so many events.
    pub fn excepted(&self, events: u64) {
        self.excepted.inc_by(events);
    }

    /// An incident message of the rule was published.
    pub fn incident(&self, change: Change) {
        self.incidents[place(change)].inc();
    }

    /// State is kept for `keys` keys of the rule, which hold `hits` in their windows.
    pub fn window(&self, keys: usize, hits: usize) {
        self.keys.set(whole(keys));
        self.window_hits.set(whole(hits));
    }
}

fn place(change: Change) -> usize {
    Change::ALL.iter().position(|known| *known == change).expect("ALL holds every change")
}

pub(super) struct Rules {
    hits: IntCounterVec,
    matches: IntCounterVec,
    suppressed: IntCounterVec,
    unknown: IntCounterVec,
    excepted: IntCounterVec,
    incidents: IntCounterVec,
    keys: IntGaugeVec,
    window_hits: IntGaugeVec,
    loaded: IntGauge,
    known: Mutex<HashMap<String, RuleMetrics>>,
}

impl Rules {
    pub fn new(declare: &Declare<'_>) -> Self {
        let counters = |name, help| declare.counters(name, help, &["rule"]);
        Rules {
            hits: counters("hits_total", "Events that satisfied a step of a rule."),
            matches: counters("matches_total", "Times that a rule's pattern was complete."),
            suppressed: counters("suppressed_total", "Matches that a rule's own policy held back."),
            excepted: counters("excepted_total", "Events of which an exception of a rule held."),
            unknown: counters(
                "unknown_total",
                "Steps that may have followed or not: their source was silent.",
            ),
            incidents: declare.counters(
                "incidents_total",
                "Incident messages, by what they tell.",
                &["rule", "change"],
            ),
            keys: declare.gauges("rule_keys", "Keys that state is kept for.", &["rule"]),
            window_hits: declare.gauges(
                "rule_window_hits",
                "Hits that the windows of a rule hold.",
                &["rule"],
            ),
            loaded: declare.gauge("rules_loaded", "Rules in force."),
            known: Mutex::new(HashMap::new()),
        }
    }

    pub fn get(&self, rule: &str) -> RuleMetrics {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.entry(rule.to_owned()).or_insert_with(|| self.make(rule)).clone()
    }

    fn make(&self, rule: &str) -> RuleMetrics {
        RuleMetrics {
            hits: self.hits.with_label_values(&[rule]),
            matches: self.matches.with_label_values(&[rule]),
            suppressed: self.suppressed.with_label_values(&[rule]),
            unknown: self.unknown.with_label_values(&[rule]),
            excepted: self.excepted.with_label_values(&[rule]),
            incidents: Change::ALL.map(|change| self.incidents.with_label_values(&[rule, change.as_str()])),
            keys: self.keys.with_label_values(&[rule]),
            window_hits: self.window_hits.with_label_values(&[rule]),
        }
    }

    /// Makes the series of `rules` and removes all others.
    pub fn keep<'a>(&self, rules: impl IntoIterator<Item = &'a str>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let mut before = std::mem::take(&mut *known);
        for rule in rules {
            let metrics = before.remove(rule).unwrap_or_else(|| self.make(rule));
            known.insert(rule.to_owned(), metrics);
        }
        self.loaded.set(whole(known.len()));
        for rule in before.into_keys() {
            // An error would mean that the series is gone already, which is what is wanted.
            for counters in [&self.hits, &self.matches, &self.suppressed, &self.unknown, &self.excepted] {
                let _ = counters.remove_label_values(&[&rule]);
            }
            for gauges in [&self.keys, &self.window_hits] {
                let _ = gauges.remove_label_values(&[&rule]);
            }
            for change in Change::ALL {
                let _ = self.incidents.remove_label_values(&[rule.as_str(), change.as_str()]);
            }
        }
    }
}
