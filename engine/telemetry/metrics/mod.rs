//! Every metric, declared once. Names are `sightline_<noun>_<unit>[_total]`.
//!
//! Labels come from closed enums, rule ids and source names, never from the content of events. Each [`Metrics`] has a
//! registry of its own, so that two engines in one process (tests, backtests) do not count together.

mod declare;
mod rule;
mod series;
mod source;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prometheus::{Registry, TextEncoder};
use sightline_schemas::EventTime;

use declare::Declare;
pub use rule::RuleMetrics;
pub use source::{SOURCES_MAX, SourceMetrics};

/// `Content-Type` of what [`Metrics::render`] gives.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Whether something that was tried took effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It did.
    Applied,
    /// It was refused, and nothing changed.
    Refused,
}

impl Outcome {
    const ALL: [Outcome; 2] = [Outcome::Applied, Outcome::Refused];

    const fn as_str(self) -> &'static str {
        match self {
            Outcome::Applied => "applied",
            Outcome::Refused => "refused",
        }
    }
}

/// All metrics of one engine. Clones count together.
#[derive(Clone)]
pub struct Metrics(Arc<Series>);

struct Series {
    registry: Registry,
    sources: source::Sources,
    rules: rule::Rules,
    input: series::Input,
    outputs: series::Outputs,
    state: series::State,
    events: series::Events,
}

impl Default for Metrics {
    fn default() -> Self {
        Metrics::new()
    }
}

impl Metrics {
    /// All metrics, at zero.
    pub fn new() -> Self {
        let registry = Registry::new();
        let declare = Declare(&registry);
        declare.process();
        declare
            .gauges("build_info", "Always 1; the labels say which build this is.", &["version"])
            .with_label_values(&[env!("CARGO_PKG_VERSION")])
            .set(1);
        let series = Series {
            sources: source::Sources::new(&declare),
            rules: rule::Rules::new(&declare),
            input: series::Input::new(&declare),
            outputs: series::Outputs::new(&declare),
            state: series::State::new(&declare),
            events: series::Events::new(&declare),
            registry,
        };
        Metrics(Arc::new(series))
    }

    /// The counters of a source. Look them up once per source and batch, not once per event. Behind the first
    /// [`SOURCES_MAX`] sources all others count together as `other`.
    pub fn source(&self, source: &str) -> Arc<SourceMetrics> {
        self.0.sources.get(source)
    }

    /// The counters of a rule. Look them up when the rule is loaded, not when it hits.
    pub fn rule(&self, rule: &str) -> RuleMetrics {
        self.0.rules.get(rule)
    }

    /// These rules are loaded and no others: the series of all others are removed. Handles of a removed rule go on
    /// counting into nothing.
    pub fn set_rules<'a>(&self, rules: impl IntoIterator<Item = &'a str>) {
        self.0.rules.keep(rules);
    }

    /// The input was processed up to stream sequence `seq` and log time `at`; `lag` messages are waiting.
    pub fn input(&self, seq: u64, at: EventTime, lag: u64) {
        self.0.input.position.set(whole(seq));
        self.0.input.lag_messages.set(whole(lag));
        #[expect(
            clippy::cast_precision_loss,
            reason = "microseconds since 1970 fit 53 bits until the year 2255"
        )]
        self.0.input.log_time_seconds.set(at.as_micros() as f64 / 1e6);
    }

    /// A batch of `events` was worked off.
    pub fn batch(&self, events: usize, took: Duration) {
        self.0.input.batch_seconds.observe(took.as_secs_f64());
        #[expect(clippy::cast_precision_loss, reason = "a batch has fewer than 2^53 events")]
        self.0.input.batch_events.observe(events as f64);
    }

    /// An incident was published `after` the bus received the last of its evidence. Not to be told while replaying.
    pub fn incident_published(&self, after: Duration) {
        self.0.outputs.latency_seconds.observe(after.as_secs_f64());
    }

    /// So many outputs are under way.
    pub fn outputs_in_flight(&self, outputs: usize) {
        self.0.outputs.in_flight.set(whole(outputs));
    }

    /// A checkpoint was written just now.
    pub fn checkpoint_taken(&self, took: Duration, bytes: u64, keys: usize) {
        self.0.state.checkpoints.with_label_values(&["ok"]).inc();
        self.0.state.checkpoint_seconds.observe(took.as_secs_f64());
        self.0.state.checkpoint_bytes.set(whole(bytes));
        self.0.state.checkpoint_keys.set(whole(keys));
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.0.state.checkpoint_time_seconds.set(now.as_secs_f64());
    }

    /// A checkpoint could not be written.
    pub fn checkpoint_failed(&self) {
        self.0.state.checkpoints.with_label_values(&["failed"]).inc();
    }

    /// State is kept for `keys` keys and takes about `bytes` of memory.
    pub fn state(&self, keys: usize, bytes: u64) {
        self.0.state.keys.set(whole(keys));
        self.0.state.bytes.set(whole(bytes));
    }

    /// Of these keys, `packed` are packed, of which `on_disk` lie on the disk alone.
    pub fn states_packed(&self, packed: usize, on_disk: usize) {
        self.0.state.packed_keys.set(whole(packed));
        self.0.state.disk_keys.set(whole(on_disk));
    }

    /// A rule change was met in the log.
    pub fn rule_change(&self, outcome: Outcome) {
        self.0.events.rule_changes.with_label_values(&[outcome.as_str()]).inc();
    }

    /// A command on an incident was met in the log.
    pub fn command(&self, outcome: Outcome) {
        self.0.events.commands.with_label_values(&[outcome.as_str()]).inc();
    }

    /// `missing` messages of the input log were gone.
    pub fn coverage_gap(&self, missing: u64) {
        self.0.events.coverage_gaps.inc();
        self.0.events.missing_messages.inc_by(missing);
    }

    /// A replay made an output otherwise than it had been published.
    pub fn replay_mismatch(&self) {
        self.0.events.replay_mismatch.inc();
    }

    /// The connection to the bus was lost and made again.
    pub fn reconnected(&self) {
        self.0.events.reconnects.inc();
    }

    /// All metrics in Prometheus' text format.
    pub fn render(&self) -> String {
        TextEncoder::new()
            .encode_to_string(&self.0.registry.gather())
            .expect("the registry leaves out empty families")
    }
}

/// A number for a gauge.
fn whole(number: impl TryInto<i64>) -> i64 {
    number.try_into().unwrap_or(i64::MAX)
}
