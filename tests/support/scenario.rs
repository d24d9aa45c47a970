//! The scenario format: a YAML file of messages and of what must come of them. `tests/README.md` explains it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use sightline_schemas::control::{EngineSettings, RuleFile, RulesMessage};
use sightline_schemas::incident::AttackIds;
use sightline_schemas::source::SourceProfiles;
use sightline_schemas::{EventTime, IncidentId, Resolution};

/// A file of scenarios, and what they share.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScenarioFile {
    /// The instant that `+5m` counts from.
    pub base: String,
    /// Rules of the scenarios that name none.
    #[serde(default)]
    pub rules: Vec<String>,
    /// Settings of all scenarios.
    #[serde(default)]
    pub settings: SettingsPatch,
    /// Events by name.
    #[serde(default)]
    pub events: BTreeMap<String, Value>,
    pub scenarios: Vec<Scenario>,
}

/// What was read, what it takes, and the number over how many events with the first match and with the last one.
pub type ExpectedReading = (String, String, (f64, u64), (f64, u64));

/// One story: messages in, and what must come out.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// The fact that it states.
    pub name: String,
    /// Why it is so, where that is not plain.
    #[serde(default)]
    pub why: String,
    /// File names from `rules/`, or the text of a rule file.
    #[serde(default)]
    pub rules: Vec<String>,
    #[serde(default)]
    pub settings: SettingsPatch,
    #[serde(default)]
    pub events: BTreeMap<String, Value>,
    pub input: Vec<Input>,
    /// Whether every order of the events between two other messages must leave the same incidents.
    #[serde(default)]
    pub shuffle: bool,
    pub expect: Expect,
}

/// An event by its name, or a message written out.
#[derive(Clone, Debug)]
pub enum Input {
    Event(String),
    Message(Box<Message>),
}

// By hand, as an untagged enum would not say what is wrong with a message.
impl<'de> Deserialize<'de> for Input {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;

        impl<'de> Visitor<'de> for Either {
            type Value = Input;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("the name of an event, or a message")
            }

            fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<Input, E> {
                Ok(Input::Event(name.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Input, A::Error> {
                Message::deserialize(MapAccessDeserializer::new(map))
                    .map(|message| Input::Message(Box::new(message)))
            }
        }

        deserializer.deserialize_any(Either)
    }
}

/// One message. Exactly one of `send`, `frame`, `status`, `tick`, `rules`, `text`, `hex` and `build` says what it is.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Message {
    /// An event by its name.
    pub send: Option<String>,
    /// The name that expectations know this one by.
    #[serde(rename = "as")]
    pub name: Option<String>,
    /// Its event time, over the one that it has.
    pub at: Option<String>,
    /// Members to put over the event's own; null takes one away.
    #[serde(default)]
    pub set: BTreeMap<String, Value>,
    /// So many of it, `{n}` in its texts being the number, named `name#n`.
    pub times: Option<u32>,
    /// With so much event time between them.
    pub every: Option<String>,
    /// All of them in one message.
    #[serde(default)]
    pub framed: bool,
    /// Several events in one message.
    pub frame: Option<Vec<Message>>,
    /// `json`, `ndjson` or `msgpack`.
    pub form: Option<String>,
    /// The header, over the one that goes with the form.
    pub content_type: Option<String>,
    pub content_encoding: Option<String>,
    /// The whole subject.
    pub subject: Option<String>,
    /// The subject's tenant.
    pub tenant: Option<String>,
    /// The subject's source.
    pub source: Option<String>,
    /// Log time, over the one that follows from event time.
    pub received: Option<String>,
    /// A status command.
    pub status: Option<String>,
    /// About the newest incident of a rule and key.
    pub of: Option<Which>,
    /// About the incident of this id.
    pub incident: Option<IncidentId>,
    pub resolution: Option<Resolution>,
    pub actor: Option<String>,
    pub reason: Option<String>,
    /// Time passes, up to here.
    pub tick: Option<String>,
    /// Rules take effect.
    pub rules: Option<Vec<String>>,
    #[serde(default)]
    pub settings: SettingsPatch,
    /// Bytes: as text, as hexadecimal digits, or built of repeated parts.
    pub text: Option<String>,
    pub hex: Option<String>,
    pub build: Option<Build>,
}

/// The incident of a rule and key that was spoken of last, or the `nth` of them, counted from 1, in order of opening.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Which {
    pub rule: String,
    pub key: String,
    pub nth: Option<usize>,
}

/// `head`, then `part` so many times with `{n}` being the number, then `tail`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Build {
    #[serde(default)]
    pub head: String,
    pub part: String,
    pub times: usize,
    #[serde(default)]
    pub between: String,
    #[serde(default)]
    pub tail: String,
}

/// Settings that a scenario puts over the defaults.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SettingsPatch {
    pub late: Option<String>,
    pub coalesce: Option<String>,
    pub idle: Option<String>,
    pub incident_idle: Option<String>,
}

/// What must come out.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expect {
    /// The incidents that remain, those of one rule and key in order of time. All of them.
    #[serde(default)]
    pub incidents: Vec<ExpectedIncident>,
    /// What was said, in order: `opened`, `updated`, ….
    pub messages: Option<Vec<String>>,
    /// How many messages were said at most.
    pub messages_max: Option<usize>,
    /// The dead letters, in order. All of them.
    #[serde(default)]
    pub dead_letters: Vec<ExpectedDead>,
    /// Counts over all sources.
    pub events: Option<u64>,
    pub duplicates: Option<u64>,
    pub late: Option<u64>,
    pub suspect: Option<u64>,
    /// Commands that were carried out, and that were refused.
    pub commands: Option<(u64, u64)>,
    /// Keys remembered at the end, after idle ones are forgotten.
    pub keys: Option<usize>,
}

/// What an incident must state; what is left out is not asked.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExpectedIncident {
    pub rule: String,
    pub key: String,
    #[serde(default = "default_tenant")]
    pub tenant: String,
    pub status: Option<String>,
    pub resolution: Option<Resolution>,
    pub severity: Option<String>,
    pub count: Option<u64>,
    pub suppressed: Option<u64>,
    pub first: Option<String>,
    pub last: Option<String>,
    pub host_id: Option<String>,
    pub sources: Option<Vec<String>>,
    pub hosts: Option<Vec<String>>,
    pub users: Option<Vec<String>>,
    pub tags: Option<Vec<String>>,
    pub group: Option<String>,
    /// The members of its scope, by name.
    pub scope: Option<BTreeMap<String, String>>,
    /// Names of events by `step` or `rule/step`. All of them.
    pub evidence: Option<BTreeMap<String, Vec<String>>>,
    /// `needed` of each step that has evidence.
    pub needed: Option<BTreeMap<String, u32>>,
    /// For steps that did not follow: how often, and how often nobody knows.
    pub absent: Option<BTreeMap<String, (u64, u64)>>,
    /// Of steps that measure, or limit what they count.
    pub read: Option<BTreeMap<String, ExpectedReading>>,
    pub title: Option<String>,
    pub description: Option<String>,
    /// Tactics and techniques.
    pub attack: Option<AttackIds>,
    /// How many pieces of evidence are listed.
    pub listed: Option<usize>,
    /// Who changed its status with a message, and why.
    pub changed: Option<ExpectedChange>,
    /// The distinct values that a step counted.
    pub values: Option<BTreeMap<String, Vec<String>>>,
    /// Fields that a piece of evidence must show: event name, then field, then value.
    pub why: Option<BTreeMap<String, BTreeMap<String, String>>>,
    /// Severities of its evidence, by name.
    pub evidence_severity: Option<BTreeMap<String, String>>,
    pub version: Option<u64>,
    pub reopened: Option<u32>,
    /// Place in this list of the incident that it names as previous, from 0.
    pub previous: Option<usize>,
    /// How many other ids went on as this one.
    pub merged: Option<usize>,
}

/// What the message of that place, counted from 0 among those of the incident, must say of its status.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExpectedChange {
    pub actor: String,
    pub reason: String,
    pub nth: usize,
}

/// What a dead letter must be.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExpectedDead {
    pub reason: String,
    /// A part of what it says to people.
    pub detail: Option<String>,
    /// Its position, as `seq.index`.
    pub at: Option<String>,
    pub subject: Option<String>,
}

fn default_tenant() -> String {
    "default".to_owned()
}

/// Reads a file of scenarios.
pub fn read(name: &str) -> ScenarioFile {
    let path = folder("tests/scenarios").join(name);
    let text = std::fs::read_to_string(&path).expect("the scenario file is there");
    match serde_saphyr::from_str(&text) {
        Ok(file) => file,
        Err(error) => panic!("{}: {error}", path.display()),
    }
}

/// A folder of the repository.
pub fn folder(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// Reads `+5m`, `-1h 2ms` (from `base`) or an absolute time.
pub fn time(text: &str, base: EventTime) -> EventTime {
    let micros = |text: &str| micros(text.trim());
    match (text.strip_prefix('+'), text.strip_prefix('-')) {
        (Some(after), _) => base.plus(micros(after)),
        (_, Some(before)) => base.minus(micros(before)),
        _ => EventTime::parse(text).expect("a time of a scenario reads"),
    }
}

/// Reads a length of time, in microseconds.
pub fn micros(text: &str) -> i64 {
    if text == "0" {
        return 0;
    }
    let duration = humantime::parse_duration(text).expect("a length of time of a scenario reads");
    i64::try_from(duration.as_micros()).expect("shorter than the age of the universe")
}

/// The rules and settings that a scenario puts in force.
pub fn rules_message(rules: &[String], patches: &[&SettingsPatch]) -> RulesMessage {
    let file = |(at, rules): (usize, &String)| match rules.contains('\n') {
        true => RuleFile { name: format!("inline-{at}.yaml"), text: rules.clone() },
        false => {
            let path = folder("rules").join(rules);
            RuleFile {
                name: rules.clone(),
                text: std::fs::read_to_string(path).expect("the rule file is there"),
            }
        }
    };
    let mut settings =
        EngineSettings { sources: SourceProfiles::with(BTreeMap::new()), ..EngineSettings::default() };
    for patch in patches {
        let put = |place: &mut i64, text: &Option<String>| {
            if let Some(text) = text {
                *place = micros(text);
            }
        };
        put(&mut settings.lateness_micros, &patch.late);
        put(&mut settings.coalesce_micros, &patch.coalesce);
        put(&mut settings.idle_micros, &patch.idle);
        put(&mut settings.incident_idle_micros, &patch.incident_idle);
    }
    RulesMessage { files: rules.iter().enumerate().map(file).collect(), settings, ..RulesMessage::default() }
}
