//! Policies: what a rule does about what it finds.

use serde::{Deserialize, Serialize};
use sightline_schemas::{EventTime, Resolution, Severity};

use crate::attack::Attack;
use crate::limits::EVIDENCE_ENDS;
use crate::predicate::Condition;

/// What a rule does about what it finds.
#[derive(Clone, Debug)]
pub struct Policies {
    /// Thresholds at which the severity of an incident is raised.
    pub raises: Vec<Raise>,
    /// Least log time between two updates, in microseconds, where it is not the setting's.
    pub coalesce: Option<i64>,
    /// An incident takes in every further match until none came for so many microseconds, and none is opened that long
    /// after one that ended.
    pub suppress: i64,
    /// What a match after the end of an incident does.
    pub rematch: Rematch,
    /// Pieces of evidence that are listed of the beginning and of the end of each step, at least one of each.
    pub listed: (u8, u8),
    /// Whether there are incidents at all, or only completions for other rules.
    pub generate: bool,
    /// Events that are no candidates.
    pub exceptions: Vec<Exception>,
}

impl Default for Policies {
    fn default() -> Self {
        Policies {
            raises: Vec::new(),
            coalesce: None,
            suppress: 0,
            rematch: Rematch::New,
            listed: (EVIDENCE_ENDS as u8, EVIDENCE_ENDS as u8),
            generate: true,
            exceptions: Vec::new(),
        }
    }
}

/// What a match after the end of an incident does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rematch {
    /// It opens a new one.
    New,
    /// It opens the one that ended again, unless that was resolved in one of these ways. So a key has one incident.
    Reopen {
        /// Resolutions that stay.
        unless: Vec<Resolution>,
    },
}

/// Events of which this holds are no candidates.
#[derive(Clone, Debug)]
pub struct Exception {
    /// What holds of them.
    pub condition: Condition,
    /// Why.
    pub reason: String,
    /// Events from this time on are candidates again.
    pub expires: Option<EventTime>,
}

/// A threshold at which the severity of an incident is raised.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Raise {
    /// What is counted.
    pub grown: Grown,
    /// From how many on.
    pub least: u64,
    /// The severity from there on.
    pub severity: Severity,
}

/// What of an incident grows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Grown {
    /// Its events.
    Events,
    /// Its matches.
    Matches,
    /// The hosts it names.
    Hosts,
    /// The users it names.
    Users,
    /// The sources it names.
    Sources,
    /// The sum over its events of the weight of their severity: 1, 5, 10, 20, 40.
    Score,
    /// The distinct values that a step counted.
    Values(String),
}

/// The weight of a severity in a score.
pub const fn weight(severity: Severity) -> u64 {
    match severity {
        Severity::Info => 1,
        Severity::Low => 5,
        Severity::Medium => 10,
        Severity::High => 20,
        Severity::Critical => 40,
    }
}

/// What people want to know of a rule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notes {
    /// Tactics and techniques of MITRE ATT&CK.
    pub attack: Attack,
    /// Where to read more.
    pub references: Vec<String>,
    /// What else satisfies the rule.
    pub false_positives: Vec<String>,
    /// Who wrote it.
    pub author: Option<String>,
    /// How far it is trusted.
    pub status: Option<String>,
}
