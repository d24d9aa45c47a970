//! One event and one rule: which steps does it satisfy, for which key, and what stands between it and the others?

use serde::Serialize;
use sightline_schemas::{Event, EventId, EventTime, Position};

use crate::explain::inquiry::values;
use crate::explain::unmet::{Unmet, unmet};
use crate::key::Key;
use crate::rule::{Input, Rule, RuleSet};

/// What an event is to a rule.
#[derive(Clone, Debug, Serialize)]
pub struct EventAnswer {
    /// The rule.
    pub rule: String,
    /// When the event happened.
    pub at: EventTime,
    /// The event.
    pub event: EventId,
    /// Where it stands in the log.
    pub position: Position,
    /// Who reports it.
    pub source: String,
    /// What kind of event.
    pub kind: String,
    /// What it is to each step.
    pub steps: Vec<EventStep>,
}

/// What an event is to a step.
#[derive(Clone, Debug, Serialize)]
pub struct EventStep {
    /// The step.
    pub step: String,
    /// Whether the step is for events at all, and not for completions of this rule.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub builds_on: Option<String>,
    /// The comparisons that do not hold; where all do, the event satisfies the step.
    pub unmet: Vec<Unmet>,
    /// The values of each part of the key, in their one spelling, none where the event has none.
    pub key: Vec<(String, Vec<String>)>,
}

impl EventStep {
    /// The first key that the event reaches in this step, if it satisfies it and has one.
    pub fn reaches(&self) -> Option<Key> {
        if self.builds_on.is_some() || !self.unmet.is_empty() {
            return None;
        }
        self.key.iter().map(|(_, values)| values.first().cloned()).collect::<Option<Vec<_>>>().map(Key::new)
    }
}

/// Looks at an event.
pub fn look(rules: &RuleSet, rule: &Rule, event: &Event<'_>, position: Position) -> EventAnswer {
    let parts = &rules.units[rule.unit].by;
    let step = |step: &crate::rule::Step| {
        let (builds_on, unmet) = match &step.input {
            Input::Events(condition) => (None, unmet(condition, event)),
            Input::Completions(upstream) => (Some(rules.rule(*upstream).reference.id.clone()), Vec::new()),
        };
        let key = step.keys.iter().zip(parts);
        let key = key.map(|(fields, part)| (part.name.clone(), values(fields, part, event))).collect();
        EventStep { step: step.name.clone(), builds_on, unmet, key }
    };
    EventAnswer {
        rule: rule.reference.id.clone(),
        at: event.occurred_at,
        event: event.id,
        position,
        source: event.source.to_string(),
        kind: event.kind.to_string(),
        steps: rule.steps.iter().map(step).collect(),
    }
}
