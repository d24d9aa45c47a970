//! Every metric, declared once. Names are `sightline_<noun>_<unit>[_total]`.
//!
//! Labels come from closed enums, rule ids and source names, never from the content of events. Each [`Metrics`] has a
//! registry of its own, so that two engines in one process (tests, backtests) do not count together.

mod declare;
mod rule;
mod source;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prometheus::{Gauge, Histogram, IntCounter, IntCounterVec, IntGauge, Registry, TextEncoder};
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

    input_position: IntGauge,
    input_lag_messages: IntGauge,
    log_time_seconds: Gauge,
    batch_seconds: Histogram,
    batch_events: Histogram,

    publish_to_incident_seconds: Histogram,
    outputs_in_flight: IntGauge,

    checkpoint_seconds: Histogram,
    checkpoint_bytes: IntGauge,
    checkpoint_keys: IntGauge,
    checkpoint_time_seconds: Gauge,
    checkpoints: IntCounterVec,

    keys: IntGauge,
    state_bytes: IntGauge,

    rule_changes: IntCounterVec,
    commands: IntCounterVec,
    coverage_gaps: IntCounter,
    missing_messages: IntCounter,
    replay_mismatch: IntCounter,
    reconnects: IntCounter,
}

/// From a batch on a fast machine to one that stands in the way of the next.
const SECONDS: [f64; 15] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];
/// A frame may hold many events, so a batch may hold more than its messages.
const EVENTS: [f64; 10] = [1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1_000.0, 3_000.0, 10_000.0, 100_000.0];

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

            input_position: declare.gauge("input_position", "Stream sequence of the newest input message that was processed."),
            input_lag_messages: declare.gauge("input_lag_messages", "Input messages that are stored and not processed yet."),
            log_time_seconds: declare.float("log_time_seconds", "Log time: when the bus received the newest processed message, in seconds since 1970."),
            batch_seconds: declare.histogram("batch_seconds", "Time from taking a batch to handing its outputs over.", &SECONDS),
            batch_events: declare.histogram("batch_events", "Events in a batch.", &EVENTS),

            publish_to_incident_seconds: declare.histogram("publish_to_incident_seconds", "Time from the bus receiving the last evidence to its incident being published; live work only.", &SECONDS),
            outputs_in_flight: declare.gauge("outputs_in_flight", "Outputs that are published and not acknowledged yet."),

            checkpoint_seconds: declare.histogram("checkpoint_seconds", "Time that a checkpoint took.", &SECONDS),
            checkpoint_bytes: declare.gauge("checkpoint_bytes", "Bytes that the last checkpoint wrote."),
            checkpoint_keys: declare.gauge("checkpoint_keys", "Keys that the last checkpoint wrote."),
            checkpoint_time_seconds: declare.float("checkpoint_time_seconds", "When the last checkpoint was taken, in seconds since 1970; 0 if none was."),
            checkpoints: declare.results("checkpoints_total", "Checkpoints that were tried.", &["ok", "failed"]),

            keys: declare.gauge("keys", "Keys that state is kept for, over all rules."),
            state_bytes: declare.gauge("state_bytes", "Estimated memory of the state, in bytes."),

            rule_changes: declare.results("rule_changes_total", "Rule changes in the input log.", &Outcome::ALL.map(Outcome::as_str)),
            commands: declare.results("commands_total", "Commands on incidents in the input log.", &Outcome::ALL.map(Outcome::as_str)),
            coverage_gaps: declare.counter("coverage_gaps_total", "Stretches of the input log that were gone before they could be read."),
            missing_messages: declare.counter("missing_messages_total", "Input messages that were gone before they could be read."),
            replay_mismatch: declare.counter("replay_mismatch_total", "Outputs that a replay made otherwise than they had been published; must stay 0."),
            reconnects: declare.counter("reconnects_total", "Times that the connection to the bus was lost and made again."),
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
        self.0.input_position.set(whole(seq));
        self.0.input_lag_messages.set(whole(lag));
        #[expect(
            clippy::cast_precision_loss,
            reason = "microseconds since 1970 fit 53 bits until the year 2255"
        )]
        self.0.log_time_seconds.set(at.as_micros() as f64 / 1e6);
    }

    /// A batch of `events` was worked off.
    pub fn batch(&self, events: usize, took: Duration) {
        self.0.batch_seconds.observe(took.as_secs_f64());
        #[expect(clippy::cast_precision_loss, reason = "a batch has fewer than 2^53 events")]
        self.0.batch_events.observe(events as f64);
    }

    /// An incident was published `after` the bus received the last of its evidence. Not to be told while replaying.
    pub fn incident_published(&self, after: Duration) {
        self.0.publish_to_incident_seconds.observe(after.as_secs_f64());
    }

    /// So many outputs are under way.
    pub fn outputs_in_flight(&self, outputs: usize) {
        self.0.outputs_in_flight.set(whole(outputs));
    }

    /// A checkpoint was written just now.
    pub fn checkpoint_taken(&self, took: Duration, bytes: u64, keys: usize) {
        self.0.checkpoints.with_label_values(&["ok"]).inc();
        self.0.checkpoint_seconds.observe(took.as_secs_f64());
        self.0.checkpoint_bytes.set(whole(bytes));
        self.0.checkpoint_keys.set(whole(keys));
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.0.checkpoint_time_seconds.set(now.as_secs_f64());
    }

    /// A checkpoint could not be written.
    pub fn checkpoint_failed(&self) {
        self.0.checkpoints.with_label_values(&["failed"]).inc();
    }

    /// State is kept for `keys` keys and takes about `bytes` of memory.
    pub fn state(&self, keys: usize, bytes: u64) {
        self.0.keys.set(whole(keys));
        self.0.state_bytes.set(whole(bytes));
    }

    /// A rule change was met in the log.
    pub fn rule_change(&self, outcome: Outcome) {
        self.0.rule_changes.with_label_values(&[outcome.as_str()]).inc();
    }

    /// A command on an incident was met in the log.
    pub fn command(&self, outcome: Outcome) {
        self.0.commands.with_label_values(&[outcome.as_str()]).inc();
    }

    /// `missing` messages of the input log were gone.
    pub fn coverage_gap(&self, missing: u64) {
        self.0.coverage_gaps.inc();
        self.0.missing_messages.inc_by(missing);
    }

    /// A replay made an output otherwise than it had been published.
    pub fn replay_mismatch(&self) {
        self.0.replay_mismatch.inc();
    }

    /// The connection to the bus was lost and made again.
    pub fn reconnected(&self) {
        self.0.reconnects.inc();
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
