//! The declarations of what is counted once per engine; per source and per rule have files of their own.

use prometheus::{Gauge, Histogram, IntCounter, IntCounterVec, IntGauge};

use super::Outcome;
use super::declare::Declare;

/// From a batch on a fast machine to one that stands in the way of the next.
const SECONDS: [f64; 15] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];
/// A frame may hold many events, so a batch may hold more than its messages.
const EVENTS: [f64; 10] = [1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1_000.0, 3_000.0, 10_000.0, 100_000.0];

pub(super) struct Input {
    pub position: IntGauge,
    pub lag_messages: IntGauge,
    pub log_time_seconds: Gauge,
    pub batch_seconds: Histogram,
    pub batch_events: Histogram,
}

impl Input {
    pub fn new(declare: &Declare<'_>) -> Self {
        Input {
            position: declare.gauge("input_position", "Stream sequence of the newest processed message."),
            lag_messages: declare.gauge("input_lag_messages", "Input messages that wait to be processed."),
            log_time_seconds: declare.float(
                "log_time_seconds",
                "When the bus received the newest processed message, in seconds since 1970.",
            ),
            batch_seconds: declare.histogram(
                "batch_seconds",
                "Time that a batch took, wait excluded.",
                &SECONDS,
            ),
            batch_events: declare.histogram("batch_events", "Events in a batch.", &EVENTS),
        }
    }
}

pub(super) struct Outputs {
    pub latency_seconds: Histogram,
    pub in_flight: IntGauge,
}

impl Outputs {
    pub fn new(declare: &Declare<'_>) -> Self {
        Outputs {
            latency_seconds: declare.histogram(
                "publish_to_incident_seconds",
                "Time from the bus receiving the last evidence to its incident being published.",
                &SECONDS,
            ),
            in_flight: declare.gauge("outputs_in_flight", "Outputs published and not acknowledged yet."),
        }
    }
}

/// The state and its checkpoints.
pub(super) struct State {
    pub keys: IntGauge,
    pub bytes: IntGauge,
    pub packed_keys: IntGauge,
    pub disk_keys: IntGauge,
    pub checkpoint_seconds: Histogram,
    pub checkpoint_bytes: IntGauge,
    pub checkpoint_keys: IntGauge,
    pub checkpoint_time_seconds: Gauge,
    pub checkpoints: IntCounterVec,
}

impl State {
    pub fn new(declare: &Declare<'_>) -> Self {
        State {
            keys: declare.gauge("keys", "Keys that state is kept for, over all rules."),
            bytes: declare.gauge("state_bytes", "Estimated memory of the state, in bytes."),
            packed_keys: declare
                .gauge("state_packed_keys", "Keys whose state is packed, for nothing touches it."),
            disk_keys: declare.gauge(
                "state_disk_keys",
                "Keys whose packed state lies on disk alone, for want of memory (worker.memory_budget).",
            ),
            checkpoint_seconds: declare.histogram(
                "checkpoint_seconds",
                "Time that a checkpoint took.",
                &SECONDS,
            ),
            checkpoint_bytes: declare.gauge("checkpoint_bytes", "Bytes that the last checkpoint wrote."),
            checkpoint_keys: declare.gauge("checkpoint_keys", "Keys that the last checkpoint wrote."),
            checkpoint_time_seconds: declare.float(
                "checkpoint_time_seconds",
                "When the last checkpoint was taken, in seconds since 1970; 0 if none was.",
            ),
            checkpoints: declare.results(
                "checkpoints_total",
                "Checkpoints that were tried.",
                &["ok", "failed"],
            ),
        }
    }
}

/// What happens rarely, or should not.
pub(super) struct Events {
    pub rule_changes: IntCounterVec,
    pub commands: IntCounterVec,
    pub coverage_gaps: IntCounter,
    pub missing_messages: IntCounter,
    pub replay_mismatch: IntCounter,
    pub reconnects: IntCounter,
}

impl Events {
    pub fn new(declare: &Declare<'_>) -> Self {
        let outcomes = Outcome::ALL.map(Outcome::as_str);
        Events {
            rule_changes: declare.results("rule_changes_total", "Rule changes in the input log.", &outcomes),
            commands: declare.results("commands_total", "Commands on incidents in the input log.", &outcomes),
            coverage_gaps: declare
                .counter("coverage_gaps_total", "Stretches of the input log that were gone."),
            missing_messages: declare.counter("missing_messages_total", "Input messages that were gone."),
            replay_mismatch: declare.counter(
                "replay_mismatch_total",
                "Outputs that a replay made otherwise than they had been published; must stay 0.",
            ),
            reconnects: declare
                .counter("reconnects_total", "Times that the connection to the bus came back."),
        }
    }
}
