//! The one shape that every source's events are brought to.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::fields::Fields;
use crate::id::EventId;
use crate::severity::Severity;
use crate::time::EventTime;
use crate::value::Value;

/// What sort of thing an event reports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// Something happened.
    #[default]
    Event,
    /// Another tool raised an alert.
    Alert,
    /// A scanner or matcher found something.
    Finding,
    /// A value known to be bad.
    Indicator,
    /// A measurement outside its baseline.
    Anomaly,
    /// An analysed report.
    Report,
    /// A person's note.
    Note,
}

impl Class {
    /// Reads a class as it is written.
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "event" => Class::Event,
            "alert" => Class::Alert,
            "finding" => Class::Finding,
            "indicator" => Class::Indicator,
            "anomaly" => Class::Anomaly,
            "report" => Class::Report,
            "note" => Class::Note,
            _ => return None,
        })
    }

    /// The class as it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Class::Event => "event",
            Class::Alert => "alert",
            Class::Finding => "finding",
            Class::Indicator => "indicator",
            Class::Anomaly => "anomaly",
            Class::Report => "report",
            Class::Note => "note",
        }
    }
}

/// Where `occurred_at` comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TimeSource {
    /// The producer gave it.
    #[default]
    Producer,
    /// The producer gave none: it is the time of receipt.
    Received,
    /// The producer gave one that lies more than 60 s after receipt. Kept and shown, but it moves no clock.
    Suspect,
}

/// A thing that an event is about.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Entity<'a> {
    /// `ip`, `domain`, `url`, `hash`, `email`, `phone`, `ssn#`, `user`, `host`, `device`, `session`, `token`,
    /// `process`, `user_agent` or a custom type.
    #[serde(rename = "type")]
    pub kind: Cow<'a, str>,
    /// The value, or a keyed hash of it.
    pub value: Cow<'a, str>,
    /// What part it plays: `actor`, `src_ip`, ….
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<Cow<'a, str>>,
    /// The field it was taken from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin: Option<Cow<'a, str>>,
}

/// One security event.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Event<'a> {
    /// Version of this shape: 1.
    pub v: u8,
    /// Recomputable from tenant, source and `source_event_id`, or from the bytes as they came.
    pub id: EventId,
    /// Whose event it is: from the subject it was published on.
    pub tenant: Cow<'a, str>,
    /// Who reports it.
    pub source: Cow<'a, str>,
    /// The producer's own stable key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_event_id: Option<Cow<'a, str>>,
    /// What sort of thing it reports.
    pub class: Class,
    /// Dotted free text, such as `process_start` or `auth.login_failed`.
    pub kind: Cow<'a, str>,
    /// How bad the source says it is.
    pub severity: Severity,
    /// The source's own word, where it is not one of the five.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub severity_raw: Option<Cow<'a, str>>,
    /// When it happened.
    pub occurred_at: EventTime,
    /// When a collector saw it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_at: Option<EventTime>,
    /// When the bus received it; never taken from the producer.
    pub received_at: EventTime,
    /// Where `occurred_at` comes from.
    pub time_source: TimeSource,
    /// The host it concerns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_id: Option<Cow<'a, str>>,
    /// The user it concerns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<Cow<'a, str>>,
    /// Who did it: `{id, name, type}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actor: Option<Value<'a>>,
    /// On whose behalf: `{id, name, type}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<Value<'a>>,
    /// To what: `{id, name, type}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object: Option<Value<'a>>,
    /// `{src_ip, dst_ip, src_port, dst_port, protocol}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<Value<'a>>,
    /// `{device_id, device_name, device_type, hostname}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<Value<'a>>,
    /// What it is about.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub entities: Vec<Entity<'a>>,
    /// One line for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<Cow<'a, str>>,
    /// More for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<Cow<'a, str>>,
    /// Labels.
    pub tags: Vec<Cow<'a, str>>,
    /// Everything else, under the source's own names.
    pub fields: Fields<'a>,
    /// `{tactics[], techniques[]}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attack: Option<Value<'a>>,
    /// `{finding_id, raw{stream, seq, blake3, bytes, content_type}}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refs: Option<Value<'a>>,
    /// `{name, version}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub producer: Option<Value<'a>>,
}
