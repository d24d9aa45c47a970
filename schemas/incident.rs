//! What leaves: incidents, each message self-contained.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::id::{EventId, IncidentId};
use crate::position::Position;
use crate::severity::Severity;
use crate::time::EventTime;

/// What happened to the incident that this message states.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// It is new.
    Opened,
    /// More evidence belongs to it.
    Updated,
    /// Somebody set its status.
    StatusChanged,
    /// A terminal incident is open again.
    Reopened,
    /// It goes on as another one: see `merged_into`.
    Merged,
}

impl Change {
    /// All changes.
    pub const ALL: [Change; 5] =
        [Change::Opened, Change::Updated, Change::StatusChanged, Change::Reopened, Change::Merged];

    /// The change as it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Change::Opened => "opened",
            Change::Updated => "updated",
            Change::StatusChanged => "status_changed",
            Change::Reopened => "reopened",
            Change::Merged => "merged",
        }
    }
}

/// Where an incident stands. The first four are active, the last two terminal.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Nobody looked yet.
    #[default]
    Open,
    /// Somebody looked.
    Triaged,
    /// Somebody is at it.
    Investigating,
    /// It cannot spread.
    Contained,
    /// Done.
    Resolved,
    /// Nothing to do.
    Dismissed,
}

impl Status {
    /// All statuses.
    pub const ALL: [Status; 6] = [
        Status::Open,
        Status::Triaged,
        Status::Investigating,
        Status::Contained,
        Status::Resolved,
        Status::Dismissed,
    ];

    /// Whether further matches belong to the incident.
    pub const fn is_active(self) -> bool {
        !matches!(self, Status::Resolved | Status::Dismissed)
    }

    /// The status as it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Status::Open => "open",
            Status::Triaged => "triaged",
            Status::Investigating => "investigating",
            Status::Contained => "contained",
            Status::Resolved => "resolved",
            Status::Dismissed => "dismissed",
        }
    }

    /// Reads a status as we or one of the served systems write it, with the resolution that the word implies.
    pub fn parse(text: &str) -> Option<(Self, Option<Resolution>)> {
        Some(match text {
            "open" => (Status::Open, None),
            "triaged" => (Status::Triaged, None),
            "investigating" => (Status::Investigating, None),
            "contained" => (Status::Contained, None),
            "resolved" => (Status::Resolved, None),
            "dismissed" => (Status::Dismissed, None),
            "closed" => (Status::Resolved, Some(Resolution::Unspecified)),
            "RESOLVED" => (Status::Resolved, Some(Resolution::Fixed)),
            "FALSE_POSITIVE" | "false_positive" => (Status::Dismissed, Some(Resolution::FalsePositive)),
            _ => return None,
        })
    }
}

/// How a terminal incident ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Resolution {
    /// It was real and is mended.
    Fixed,
    /// It never was.
    FalsePositive,
    /// Another incident says the same.
    Duplicate,
    /// It is real and stays.
    Accepted,
    /// It is real and meant.
    Benign,
    /// Nobody said.
    Unspecified,
}

impl Resolution {
    /// The resolution as it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Resolution::Fixed => "fixed",
            Resolution::FalsePositive => "false_positive",
            Resolution::Duplicate => "duplicate",
            Resolution::Accepted => "accepted",
            Resolution::Benign => "benign",
            Resolution::Unspecified => "unspecified",
        }
    }
}

/// How the severity of an incident is found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SeverityBasis {
    /// The rule states it.
    #[default]
    Rule,
    /// The highest of its evidence.
    Max,
    /// A threshold of the rule raised it.
    Raised,
}

/// What an incident is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ScopeType {
    /// A machine.
    Host,
    /// A user.
    User,
    /// An actor.
    Actor,
    /// A finding of another system.
    Finding,
    /// Several things together.
    Group,
    /// A value: an address, a hash, a URL.
    #[default]
    Value,
}

/// What an incident is about, and which one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Scope {
    /// What sort of thing.
    #[serde(rename = "type")]
    pub kind: ScopeType,
    /// Which one, as one text.
    pub key: String,
    /// The parts of the key, by name.
    pub parts: Vec<Named>,
}

/// A named value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Named {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
}

/// Tactics and techniques of MITRE ATT&CK, of the rule and of the evidence, each once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AttackIds {
    /// Tactics, such as `TA0011`.
    pub tactics: Vec<String>,
    /// Techniques, such as `T1071` or `T1059.001`.
    pub techniques: Vec<String>,
    /// Those of both that are no ids of the version known here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unknown: Vec<String>,
}

/// The rule that an incident comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RuleRef {
    /// The rule's id.
    pub id: String,
    /// Its version: the first 16 hexadecimal digits of the hash of what it means.
    pub version: String,
}

/// One piece of evidence.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Evidence {
    /// Which event.
    pub id: EventId,
    /// The rule whose step it satisfies (rules of one group share an incident).
    pub rule: String,
    /// The step that it satisfies.
    pub step: String,
    /// When it happened.
    pub occurred_at: EventTime,
    /// Where it stands in the input log.
    pub position: Position,
    /// Who reported it.
    pub source: String,
    /// What kind of event it is.
    pub kind: String,
    /// The host it concerns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_id: Option<String>,
    /// The user it concerns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// How bad the source says it is.
    pub severity: Severity,
    /// One line for people, if the source gives one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// The fields that the rule read, with their values: why it satisfies the step.
    pub why: Vec<Named>,
}

/// How one step of the rule was satisfied.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StepExplain {
    /// The rule.
    pub rule: String,
    /// Its step.
    pub step: String,
    /// How many events, or distinct values, it takes.
    pub needed: u32,
    /// How many events of the evidence satisfy it.
    pub events: u64,
    /// The first of them.
    pub first_at: EventTime,
    /// The last of them.
    pub last_at: EventTime,
    /// The distinct values counted, sorted, if the step counts values; a bounded list.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
    /// How often it did not happen where it should have; the times are those in which it was looked for.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub absent: u64,
    /// How often nobody knows, as the source that would have reported it was silent.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub unknown: u64,
    /// What it came to, if it measures, or limits what it counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reading: Option<StepReading>,
}

/// What a step that measures, or limits what it counts, came to, and what the rule takes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StepReading {
    /// What was read: `sum of bytes_out`.
    pub of: String,
    /// What the rule takes: `at least 1000000`.
    pub takes: String,
    /// What it came to with the first match of the incident.
    pub first: Reading,
    /// What it came to with the last one.
    pub last: Reading,
}

/// What something came to, and over which events.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Reading {
    /// The number.
    pub value: f64,
    /// How many events it was read over.
    pub events: u64,
    /// The first of them.
    pub first_at: EventTime,
    /// The last of them.
    pub last_at: EventTime,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// An incident: everything there is to say of it at one version.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Incident {
    /// Recomputable from tenant, rule, key and opening event.
    pub id: IncidentId,
    /// Goes up by one with every message.
    pub version: u64,
    /// Whose incident it is.
    pub tenant: String,
    /// The rule that opened it.
    pub rule: RuleRef,
    /// The group of rules that share it, if the rule is in one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// One line for people.
    pub title: String,
    /// More for people.
    pub description: String,
    /// How bad.
    pub severity: Severity,
    /// How the severity was found.
    pub severity_basis: SeverityBasis,
    /// What it is about.
    pub scope: Scope,
    /// The host, where the evidence names exactly one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_id: Option<String>,
    /// Where it stands.
    pub status: Status,
    /// How it ended, if it is terminal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolution: Option<Resolution>,
    /// Event time of the first evidence.
    pub first_event_at: EventTime,
    /// Event time of the last evidence.
    pub last_event_at: EventTime,
    /// Log time at which it was opened.
    pub opened_at: EventTime,
    /// Log time of this version.
    pub updated_at: EventTime,
    /// Log time at which it became terminal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed_at: Option<EventTime>,
    /// How many distinct events are evidence: exact, however long the list.
    pub event_count: u64,
    /// The first and the last evidence of each step, in event time order.
    pub events: Vec<Evidence>,
    /// The sources of the evidence, sorted.
    pub sources: Vec<String>,
    /// The hosts of the evidence, sorted; a bounded list.
    pub hosts: Vec<String>,
    /// The users of the evidence, sorted; a bounded list.
    pub users: Vec<String>,
    /// The rule's tags.
    pub tags: Vec<String>,
    /// Tactics and techniques, of the rule and of the evidence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attack: Option<AttackIds>,
    /// Matches that this incident absorbed instead of another being opened.
    pub suppressed_count: u64,
    /// The incident of the same rule and key before this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_incident: Option<IncidentId>,
    /// The incident that this one goes on as.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merged_into: Option<IncidentId>,
    /// How often it was reopened.
    pub reopen_count: u32,
    /// How each step was satisfied.
    pub explain: Vec<StepExplain>,
}

/// Who changed a status, and from what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StatusChange {
    /// Who, as the command says.
    pub actor: String,
    /// The status before.
    pub from: Status,
    /// The status after.
    pub to: Status,
    /// Why, if the command says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// One message on `incidents.<tenant>.<severity>.<rule>`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct IncidentMessage {
    /// Version of this shape: 1.
    pub v: u8,
    /// What happened.
    pub change: Change,
    /// The input position that caused it.
    pub cause: Position,
    /// Who changed the status, on `status_changed` and `reopened`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_change: Option<StatusChange>,
    /// The incident, whole.
    pub incident: Incident,
}

/// A stretch of the input log that the engine never saw, on `incidents._sightline.coverage_gap`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CoverageGap {
    /// Version of this shape: 1.
    pub v: u8,
    /// First sequence that is missing.
    pub first_missing: u64,
    /// Last sequence that is missing.
    pub last_missing: u64,
    /// Why, for people.
    pub reason: String,
}
