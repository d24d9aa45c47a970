//! The narrow waist between detection and correlation: an event satisfies a step of a rule, for a key.

use std::sync::{Arc, LazyLock};

use serde::{Deserialize, Serialize};
use sightline_schemas::incident::Named;
use sightline_schemas::{EventId, EventTime, Position, Severity};

use crate::attack::Attack;
use crate::key::Key;
use crate::limits::ALLOCATION_BYTES;

/// A rule of the set in force, by its place there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleIndex(pub u32);

impl RuleIndex {
    /// The place as an index.
    pub const fn get(self) -> usize {
        self.0 as usize
    }
}

/// An event satisfies a step of a rule, for one key.
#[derive(Clone, Debug)]
pub struct Hit {
    /// Whose event.
    pub tenant: Arc<str>,
    /// Which rule.
    pub rule: RuleIndex,
    /// Which of its steps.
    pub step: u8,
    /// For which key.
    pub key: Key,
    /// When it happened, in event time.
    pub at: EventTime,
    /// The event claims to come from the future: it moves no clock.
    pub suspect: bool,
    /// Which event.
    pub event: EventId,
    /// Where it stands in the input log.
    pub position: Position,
    /// What the step counts or measures of it.
    pub value: Option<Measured>,
    /// What people will want to see of it.
    pub brief: Arc<Brief>,
}

/// What a step counts or measures of an event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Measured {
    /// A value, to be told from others.
    Text(Arc<str>),
    /// A number, never infinite.
    Number(f64),
}

impl Measured {
    /// The value, if it is one to be told from others.
    pub fn text(&self) -> Option<&Arc<str>> {
        match self {
            Measured::Text(text) => Some(text),
            Measured::Number(_) => None,
        }
    }
}

/// What evidence shows of an event: shared by all hits of it in one step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Brief {
    /// Who reports it.
    pub source: Box<str>,
    /// What kind of event.
    pub kind: Box<str>,
    /// The host it concerns.
    pub host_id: Option<Box<str>>,
    /// The user it concerns.
    pub user: Option<Box<str>>,
    /// How bad the source says it is.
    pub severity: Severity,
    /// One line for people.
    pub title: Option<Box<str>>,
    /// Tactics and techniques that it names.
    pub attack: Option<Box<Attack>>,
    /// The fields that the rule reads, and their values.
    pub fields: Vec<Named>,
}

impl Brief {
    /// What is left of a brief that nothing will show again.
    pub fn spent() -> Arc<Brief> {
        static SPENT: LazyLock<Arc<Brief>> = LazyLock::new(|| {
            Arc::new(Brief {
                source: "".into(),
                kind: "".into(),
                host_id: None,
                user: None,
                severity: Severity::Info,
                title: None,
                attack: None,
                fields: Vec::new(),
            })
        });
        Arc::clone(&SPENT)
    }

    /// Bytes that it takes, about.
    pub fn weight(&self) -> usize {
        let texts = [
            Some(&self.source),
            Some(&self.kind),
            self.host_id.as_ref(),
            self.user.as_ref(),
            self.title.as_ref(),
        ];
        let texts: usize = texts.into_iter().flatten().map(|text| text.len() + ALLOCATION_BYTES).sum();
        let field =
            |field: &Named| size_of::<Named>() + field.name.len() + field.value.len() + 2 * ALLOCATION_BYTES;
        let fields: usize = self.fields.iter().map(field).sum();
        let attack = self.attack.as_ref().map_or(0, |_| size_of::<Attack>() + ALLOCATION_BYTES);
        size_of::<Self>() + 2 * ALLOCATION_BYTES + texts + fields + attack
    }

    /// The value of a field that the evidence shows.
    pub fn get(&self, name: &str) -> Option<&str> {
        let own = match name {
            "source" => Some(&*self.source),
            "kind" => Some(&*self.kind),
            "host_id" => self.host_id.as_deref(),
            "user" => self.user.as_deref(),
            _ => None,
        };
        own.or_else(|| self.fields.iter().find(|field| field.name == name).map(|field| field.value.as_str()))
    }
}
