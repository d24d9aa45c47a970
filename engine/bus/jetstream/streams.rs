//! The four streams: made where they are missing, brought to the wanted shape where they are not.

use std::fmt;
use std::time::Duration;

use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::response::Response;
use async_nats::jetstream::stream::{Config, DiscardPolicy, Info, RetentionPolicy, StorageType};
use sightline_schemas::subject;

use super::connect::Connection;
use super::lookup;
use super::room::{Room, Share, advice};
use crate::bus::BusError;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// How long the server knows the ids of published messages, for producers that repeat themselves.
const DUPLICATE_WINDOW: Duration = Duration::from_secs(120);

/// What the streams are called, and how much they keep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamSettings {
    /// Name of the input log.
    pub events: String,
    /// Name of the output log.
    pub incidents: String,
    /// Name of the stream of what could not be read.
    pub deadletter: String,
    /// Name of the stream of raw evidence.
    pub evidence: String,
    /// Servers that keep a copy of each stream.
    pub replicas: usize,
    /// How long events are kept. A state that is lost can be rebuilt from this far back.
    pub events_max_age: Duration,
    /// How much of the input log is kept.
    pub events_max_bytes: u64,
    /// How long incidents are kept.
    pub incidents_max_age: Duration,
    /// How much of the output log is kept.
    pub incidents_max_bytes: u64,
    /// How long dead letters are kept.
    pub deadletter_max_age: Duration,
    /// How many dead letters are kept.
    pub deadletter_max_bytes: u64,
    /// How long evidence is kept.
    pub evidence_max_age: Duration,
    /// How much evidence is kept.
    pub evidence_max_bytes: u64,
}

impl Default for StreamSettings {
    fn default() -> Self {
        StreamSettings {
            events: subject::EVENTS_STREAM.to_owned(),
            incidents: subject::INCIDENTS_STREAM.to_owned(),
            deadletter: subject::DEADLETTER_STREAM.to_owned(),
            evidence: subject::EVIDENCE_STREAM.to_owned(),
            replicas: 1,
            events_max_age: 7 * DAY,
            events_max_bytes: 4 << 30,
            incidents_max_age: 90 * DAY,
            incidents_max_bytes: 512 << 20,
            deadletter_max_age: 30 * DAY,
            deadletter_max_bytes: 512 << 20,
            evidence_max_age: 365 * DAY,
            evidence_max_bytes: 1 << 30,
        }
    }
}

/// What to do when a smaller limit would make the server delete messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shrink {
    /// Change nothing, and say what would be lost.
    Refuse,
    /// Go ahead.
    Allow,
}

/// What became of one stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was not there.
    Created,
    /// Each setting that was changed, such as `max_age 7days -> 30days`.
    Changed(Vec<String>),
    /// It was as it should be.
    Unchanged,
}

/// One stream and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamReport {
    /// Its name.
    pub stream: String,
    /// What was done.
    pub outcome: Outcome,
}

impl fmt::Display for StreamReport {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.outcome {
            Outcome::Created => write!(out, "{}: created", self.stream),
            Outcome::Changed(changes) => write!(out, "{}: changed {}", self.stream, changes.join(", ")),
            Outcome::Unchanged => write!(out, "{}: unchanged", self.stream),
        }
    }
}

/// Creates the four streams, or brings them to the shape of `settings`. What the settings do not speak of (placement,
/// compression, a description) is left as it is. Nothing is changed unless everything can be.
///
/// # Errors
/// [`BusError::Stop`] when a stream is of another kind (not on disk, another retention), when messages would be deleted
/// and `shrink` forbids it, or when the server refuses, as where it has no room for what the streams reserve;
/// [`BusError::Retry`] when it does not answer.
pub async fn setup(
    connection: &Connection,
    settings: &StreamSettings,
    shrink: Shrink,
) -> Result<Vec<StreamReport>, BusError> {
    let mut plans = Vec::new();
    let mut refusals = Vec::new();
    let mut shares = Vec::new();
    for (wanted, setting) in wanted(settings)?.into_iter().zip(MAX_BYTES_SETTINGS) {
        let found = lookup::find(connection, &wanted.name).await?;
        shares.push(share(&wanted, setting, found.as_deref()));
        let plan = Plan::new(wanted, found.as_deref());
        refusals.extend(plan.impossible.iter().cloned());
        if shrink == Shrink::Refuse {
            refusals.extend(plan.losses.iter().cloned());
        }
        plans.push(plan);
    }
    if !refusals.is_empty() {
        return Err(BusError::Stop(format!("streams are left as they are: {}", refusals.join("; "))));
    }
    let grows = shares.iter().any(|share| share.more > 0);
    let room = if grows { Room::ask(connection).await } else { None };
    if let Some(why) = room.and_then(|room| room.lacks(&shares)) {
        return Err(BusError::Stop(format!("streams are left as they are: {why}")));
    }
    let mut reports = Vec::new();
    for plan in plans {
        let (verb, stream) = match plan.outcome {
            Outcome::Created => ("CREATE", &plan.config.name),
            Outcome::Changed(_) => ("UPDATE", &plan.config.name),
            Outcome::Unchanged => ("", &plan.config.name),
        };
        if !verb.is_empty() {
            apply(connection, verb, &plan.config).await.map_err(|refused| match refused {
                Refused::NoRoom => {
                    BusError::Stop(format!("stream {stream} is left as it is: {}", advice(&shares, room)))
                }
                Refused::Other(error) => error,
            })?;
        }
        let report = StreamReport { stream: stream.clone(), outcome: plan.outcome };
        tracing::info!(%report, "stream_set_up");
        reports.push(report);
    }
    Ok(reports)
}

/// Why the server does not make or change a stream.
enum Refused {
    /// It has no room for what the stream reserves.
    NoRoom,
    Other(BusError),
}

async fn apply(connection: &Connection, verb: &str, config: &Config) -> Result<(), Refused> {
    let subject = format!("STREAM.{verb}.{}", config.name);
    let answer: Result<Response<Box<Info>>, _> = connection.context().request(subject, config).await;
    let failed =
        |error| Refused::Other(connection.retry("set up a stream", format!("{}: {error}", config.name)));
    match answer.map_err(failed)? {
        Response::Ok(_) => Ok(()),
        Response::Err { error } if error.error_code() == ErrorCode::STORAGE_RESOURCES_EXCEEDED => {
            Err(Refused::NoRoom)
        }
        Response::Err { error } => {
            Err(Refused::Other(BusError::Stop(format!("stream {}: {error}", config.name))))
        }
    }
}

/// What a stream is to reserve, and how much of it is new.
fn share(wanted: &Config, setting: &'static str, found: Option<&Info>) -> Share {
    let copies = |config: &Config| config.num_replicas.max(1) as u64;
    let reserved = |config: &Config| u64::try_from(config.max_bytes).unwrap_or(0) * copies(config);
    let bytes = reserved(wanted);
    Share { setting, bytes, more: bytes.saturating_sub(found.map_or(0, |found| reserved(&found.config))) }
}

/// Which setting says how much a stream keeps, in the order of [`wanted`].
const MAX_BYTES_SETTINGS: [&str; 4] = [
    "streams.events_max_bytes",
    "streams.incidents_max_bytes",
    "streams.deadletter_max_bytes",
    "streams.evidence_max_bytes",
];

fn wanted(settings: &StreamSettings) -> Result<[Config; 4], BusError> {
    let stream = |name: &str, subjects: &[&str], discard, max_age, max_bytes: u64| {
        let max_bytes = i64::try_from(max_bytes).map_err(|_| {
            BusError::Stop(format!("stream {name}: {max_bytes} bytes are more than a server counts"))
        })?;
        Ok(Config {
            name: name.to_owned(),
            subjects: subjects.iter().map(|subject| (*subject).to_owned()).collect(),
            retention: RetentionPolicy::Limits,
            storage: StorageType::File,
            discard,
            max_age,
            max_bytes,
            max_messages: -1,
            // A limit by subject deletes in the middle of the log, which would be a gap for every reader.
            max_messages_per_subject: -1,
            max_message_size: -1,
            max_consumers: -1,
            num_replicas: settings.replicas,
            duplicate_window: DUPLICATE_WINDOW.min(max_age),
            allow_direct: true,
            ..Config::default()
        })
    };
    Ok([
        // Old: producers must never be refused because of what was long processed. A worker that is slower than the
        // limits sees the gap and reports it.
        stream(
            &settings.events,
            &subject::EVENTS_SUBJECTS,
            DiscardPolicy::Old,
            settings.events_max_age,
            settings.events_max_bytes,
        )?,
        // New: an incident that nobody has seen yet must not vanish to make room. A full stream holds the engine up,
        // which is seen at once, and loses nothing that the input log still has. (nats-server 2.9 compares max_bytes with
        // less than it stores, and at the very edge deletes the oldest message all the same; later ones do not.)
        stream(
            &settings.incidents,
            &subject::INCIDENTS_SUBJECTS,
            DiscardPolicy::New,
            settings.incidents_max_age,
            settings.incidents_max_bytes,
        )?,
        // Old: whoever can send rubbish could otherwise fill this stream and so hold up the detection of everything else.
        stream(
            &settings.deadletter,
            &subject::DEADLETTER_SUBJECTS,
            DiscardPolicy::Old,
            settings.deadletter_max_age,
            settings.deadletter_max_bytes,
        )?,
        // New, and nothing in it can be deleted by anybody before its time: evidence that gives way to newer evidence is
        // none. A full stream refuses, and whoever posts hears so. The server never takes these two switches back.
        Config {
            deny_delete: true,
            deny_purge: true,
            ..stream(
                &settings.evidence,
                &subject::EVIDENCE_SUBJECTS,
                DiscardPolicy::New,
                settings.evidence_max_age,
                settings.evidence_max_bytes,
            )?
        },
    ])
}

/// What to do with one stream.
struct Plan {
    config: Config,
    outcome: Outcome,
    /// Differences that no update can remove.
    impossible: Vec<String>,
    /// What would be deleted.
    losses: Vec<String>,
}

impl Plan {
    fn new(wanted: Config, found: Option<&Info>) -> Self {
        let Some(found) = found else {
            return Plan {
                config: wanted,
                outcome: Outcome::Created,
                impossible: Vec::new(),
                losses: Vec::new(),
            };
        };
        let name = &wanted.name;
        let mut config = found.config.clone();
        let mut changes = Changes(Vec::new());
        let mut impossible = Vec::new();
        if config.storage != wanted.storage {
            impossible.push(format!("{name} is not on disk, and cannot be moved there"));
        }
        if config.retention != wanted.retention {
            impossible.push(format!("{name} has retention {:?}, and needs Limits", config.retention));
        }
        if config.sealed {
            impossible.push(format!("{name} is sealed"));
        }
        let losses = losses(&wanted, found);
        changes.set("subjects", &mut config.subjects, wanted.subjects, |subjects| subjects.join(" "));
        changes.set("discard", &mut config.discard, wanted.discard, |discard| {
            format!("{discard:?}").to_lowercase()
        });
        changes.set("max_age", &mut config.max_age, wanted.max_age, |age| {
            humantime::format_duration(*age).to_string()
        });
        changes.set("max_bytes", &mut config.max_bytes, wanted.max_bytes, i64::to_string);
        changes.set("replicas", &mut config.num_replicas, wanted.num_replicas, usize::to_string);
        changes.set("allow_direct", &mut config.allow_direct, wanted.allow_direct, bool::to_string);
        // Only ever turned on.
        changes.set(
            "deny_delete",
            &mut config.deny_delete,
            wanted.deny_delete | found.config.deny_delete,
            bool::to_string,
        );
        changes.set(
            "deny_purge",
            &mut config.deny_purge,
            wanted.deny_purge | found.config.deny_purge,
            bool::to_string,
        );
        changes.set("duplicate_window", &mut config.duplicate_window, wanted.duplicate_window, |window| {
            humantime::format_duration(*window).to_string()
        });
        // Servers write "no limit" as -1 or 0.
        if config.max_messages_per_subject > 0 {
            changes.set("max_msgs_per_subject", &mut config.max_messages_per_subject, -1, i64::to_string);
        }
        let outcome = if changes.0.is_empty() { Outcome::Unchanged } else { Outcome::Changed(changes.0) };
        Plan { config, outcome, impossible, losses }
    }
}

struct Changes(Vec<String>);

impl Changes {
    fn set<T: PartialEq>(&mut self, name: &str, is: &mut T, wanted: T, show: impl Fn(&T) -> String) {
        if *is != wanted {
            self.0.push(format!("{name} {} -> {}", show(is), show(&wanted)));
            *is = wanted;
        }
    }
}

/// What the server would delete at once if `found` got the limits of `wanted`.
fn losses(wanted: &Config, found: &Info) -> Vec<String> {
    let mut losses = Vec::new();
    let held = &found.state;
    if held.messages == 0 {
        return losses;
    }
    let name = &wanted.name;
    if u64::try_from(wanted.max_bytes).is_ok_and(|max| held.bytes > max) {
        losses.push(format!("{name} holds {} bytes, more than max_bytes {}", held.bytes, wanted.max_bytes));
    }
    let shorter = found.config.max_age.is_zero() || wanted.max_age < found.config.max_age;
    let oldest =
        jiff::Timestamp::from_nanosecond(held.first_timestamp.unix_timestamp_nanos()).unwrap_or_default();
    let age = Duration::try_from(jiff::Timestamp::now().duration_since(oldest)).unwrap_or_default();
    if shorter && !wanted.max_age.is_zero() && age > wanted.max_age {
        let max_age = humantime::format_duration(wanted.max_age);
        losses.push(format!("{name} holds messages from {oldest:.0} on, older than max_age {max_age}"));
    }
    losses
}
