//! What the loop counts: the machine's tallies into metrics.

use std::collections::HashMap;
use std::time::Duration;

use sightline_core::rule::RuleSet;
use sightline_schemas::EventTime;

use crate::state::Census;
use crate::telemetry::metrics::{Metrics, Outcome, RuleMetrics};
use crate::worker::checkpoint::Written;
use crate::worker::machine::Applied;

/// Turns tallies into metrics.
pub struct Reporter {
    metrics: Metrics,
    rules: HashMap<String, RuleMetrics>,
}

impl Reporter {
    /// Into these metrics.
    pub fn new(metrics: Metrics) -> Self {
        Reporter { metrics, rules: HashMap::new() }
    }

    /// Other rules are in force.
    pub fn rules(&mut self, rules: &RuleSet) {
        let ids = || rules.rules.iter().map(|rule| rule.reference.id.as_str());
        self.metrics.set_rules(ids());
        self.rules = ids().map(|id| (id.to_owned(), self.metrics.rule(id))).collect();
    }

    /// A batch was worked through.
    pub fn applied(&self, applied: &Applied, messages: usize, took: Duration) {
        let mut events = 0;
        for (name, tally) in &applied.sources {
            let source = self.metrics.source(name);
            events += tally.events;
            source.events(tally.events);
            (0..tally.suspect).for_each(|_| source.suspect_time());
            (0..tally.duplicates).for_each(|_| source.duplicate());
            (0..tally.late).for_each(|_| source.late());
            for (reason, count) in &tally.dead {
                (0..*count).for_each(|_| source.dead_letter(*reason));
            }
        }
        self.metrics.batch(messages.max(events as usize), took);
        for (id, tally) in &applied.rules {
            let Some(rule) = self.rules.get(id) else { continue };
            rule.hits(tally.hits);
            (0..tally.matches).for_each(|_| rule.matched());
            (0..tally.suppressed).for_each(|_| rule.suppressed());
            rule.unknown(tally.unknown);
            rule.excepted(tally.excepted);
            for (change, count) in &tally.changes {
                (0..*count).for_each(|_| rule.incident(*change));
            }
        }
        (0..applied.commands.0).for_each(|_| self.metrics.command(Outcome::Applied));
        (0..applied.commands.1).for_each(|_| self.metrics.command(Outcome::Refused));
        for change in &applied.rule_changes {
            self.metrics.rule_change(if change.is_ok() { Outcome::Applied } else { Outcome::Refused });
        }
    }

    /// So much time passed from receipt to publishing.
    pub fn published(&self, after: Duration) {
        self.metrics.incident_published(after);
    }

    /// So many outputs are not acknowledged yet.
    pub fn in_flight(&self, outputs: usize) {
        self.metrics.outputs_in_flight(outputs);
    }

    /// The place in the input log.
    pub fn progress(&self, seq: u64, log_time: EventTime, lag: u64) {
        self.metrics.input(seq, log_time, lag);
    }

    /// How much is remembered. Rules of a group share their keys, rules of a watch their hits as well.
    pub fn census(&self, rules: &RuleSet, census: &Census) {
        self.metrics.state(census.counts.keys, census.bytes());
        self.metrics.states_packed(census.packed, census.on_disk);
        for rule in &rules.rules {
            let counts = census.of_rule(rules, rule);
            if let Some(metrics) = self.rules.get(&rule.reference.id) {
                metrics.window(counts.keys, counts.hits as usize);
            }
        }
    }

    /// Input is gone.
    pub fn gap(&self, missing: u64) {
        self.metrics.coverage_gap(missing);
    }

    /// The replay differs from what was published.
    pub fn replay_mismatch(&self) {
        self.metrics.replay_mismatch();
    }

    /// A checkpoint was written, or not.
    pub fn checkpoint(&self, written: &Written) {
        match written {
            Written::Saved { committed, .. } => {
                self.metrics.checkpoint_taken(committed.duration, committed.bytes, committed.keys);
            }
            Written::Failed(_) => self.metrics.checkpoint_failed(),
        }
    }
}
