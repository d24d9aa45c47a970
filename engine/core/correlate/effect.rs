//! What follows from a hit, a command or the passing of time. Data, carried out by the worker.

use std::sync::Arc;

use sightline_schemas::{EventId, EventTime, IncidentId, IncidentMessage, Position};

use crate::hit::{Brief, RuleIndex};
use crate::key::Key;

/// Something to do.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Publish this.
    Publish(Box<IncidentMessage>),
    /// A rule is complete: a hit for the rules that build on it.
    Complete(Completion),
    /// Count this for a rule.
    Count(RuleIndex, Counted),
}

/// What is counted for a rule beside what becomes of its hits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// A moment of a rule that waits was settled.
    Match {
        /// Whether it opened an incident.
        opened: bool,
    },
    /// An exception of the rule held of an event.
    Excepted,
    /// Nobody knows whether a step followed, as its source was silent.
    Unknown,
}

/// A rule is complete for a key.
#[derive(Clone, Debug)]
pub struct Completion {
    /// Whose events.
    pub tenant: Arc<str>,
    /// The rule.
    pub rule: RuleIndex,
    /// For which key.
    pub key: Key,
    /// In event time: when its last piece of evidence happened.
    pub at: EventTime,
    /// That piece of evidence claims to come from the future.
    pub suspect: bool,
    /// The completion's own id: recomputable, so that it counts once.
    pub event: EventId,
    /// The input position that brought it about.
    pub position: Position,
    /// What is known of the event that completed it.
    pub brief: Arc<Brief>,
}

/// What became of a hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is remembered. So many moments came of it, and so many of those belong to an incident that was there.
    Taken {
        /// Moments.
        matches: u32,
        /// Moments that opened no incident.
        suppressed: u32,
    },
    /// This event is remembered already.
    Duplicate,
    /// It is too old for this key: its window is gone.
    Late,
}

impl Verdict {
    /// It is remembered, and nothing came of it.
    pub const TAKEN: Verdict = Verdict::Taken { matches: 0, suppressed: 0 };
}

/// Why a command is not carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Nothing has this id.
    #[error("there is no incident {0}")]
    NotFound(IncidentId),
    /// The incident cannot go there.
    #[error("incident {id} is {from}: only `open` reopens it")]
    Terminal {
        /// Which incident.
        id: IncidentId,
        /// Its status.
        from: &'static str,
    },
}
