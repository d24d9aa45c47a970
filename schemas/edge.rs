//! The edge: every source's spelling becomes the one [`Event`]. Nothing behind the edge knows of aliases.

use std::borrow::Cow;

use crate::event::{Class, Entity, Event, TimeSource};
use crate::id::EventId;
pub use crate::reject::{Reason, Reject};
use crate::severity::Severity;
use crate::source::{SourceProfile, SourceProfiles};
use crate::subject::EventSubject;
use crate::time::EventTime;
use crate::value::Value;

/// An `occurred_at` further ahead of receipt than this is suspect, in microseconds.
pub const SKEW_MAX_MICROS: i64 = 60_000_000;

/// What a top-level name stands for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Slot {
    Version,
    OwnId,
    Tenant,
    Source,
    SourceEventId,
    Class,
    Kind,
    Severity,
    OccurredAt,
    ObservedAt,
    HostId,
    User,
    Actor,
    Subject,
    Object,
    Network,
    Device,
    Entities,
    Title,
    Description,
    Tags,
    Fields,
    Attack,
    Refs,
    Producer,
    /// Set by us, whatever a producer says.
    Ours,
    Other,
}

fn slot(name: &str) -> Slot {
    match name {
        "v" => Slot::Version,
        "id" => Slot::OwnId,
        "tenant" => Slot::Tenant,
        "source" => Slot::Source,
        "source_event_id" | "sourceEventId" | "sourceAlertId" => Slot::SourceEventId,
        "class" => Slot::Class,
        "kind" | "eventType" | "event_type" | "category" => Slot::Kind,
        "severity" | "rule_severity" => Slot::Severity,
        "occurred_at" | "ts" | "timestamp" | "detected_at" | "created_at" | "last_seen" => Slot::OccurredAt,
        "observed_at" => Slot::ObservedAt,
        "host_id" | "hostname" | "endpoint_asset_id" => Slot::HostId,
        "user" | "userId" => Slot::User,
        "actor" => Slot::Actor,
        "subject" => Slot::Subject,
        "object" => Slot::Object,
        "network" => Slot::Network,
        "device" => Slot::Device,
        "entities" => Slot::Entities,
        "title" => Slot::Title,
        "description" => Slot::Description,
        "tags" => Slot::Tags,
        "fields" | "sourceData" | "custom_fields" | "properties" => Slot::Fields,
        "attack" => Slot::Attack,
        "refs" => Slot::Refs,
        "producer" => Slot::Producer,
        "received_at" | "time_source" | "severity_raw" => Slot::Ours,
        _ => Slot::Other,
    }
}

/// Whether two top-level names stand for the same field of an event: `user` and `userId` do.
pub fn same_field(one: &str, other: &str) -> bool {
    one == other || (slot(one) == slot(other) && !matches!(slot(one), Slot::Other | Slot::Ours))
}

/// Whether a top-level name is one that the edge knows; any other is kept in `fields`.
pub fn is_known_field(name: &str) -> bool {
    slot(name) != Slot::Other
}

/// A value together with the name it came under, so that a refusal can name both.
type Named<'a> = Option<(Cow<'a, str>, Value<'a>)>;

/// Puts a value in its place, unless another name already put a different one there.
fn put<'a>(place: &mut Named<'a>, name: Cow<'a, str>, value: Value<'a>) -> Result<(), Reject> {
    if value == Value::Null {
        return Ok(());
    }
    match place {
        Some((first, there)) if *there != value => Err(Reject::new(
            Reason::AliasConflict,
            format!("`{first}` and `{name}` mean the same and have different values: leave one out"),
        )),
        Some(_) => Ok(()),
        None => {
            *place = Some((name, value));
            Ok(())
        }
    }
}

/// The parts of an event, under one name each, before they are checked.
#[derive(Default)]
struct Parts<'a> {
    version: Named<'a>,
    own_id: Named<'a>,
    tenant: Named<'a>,
    source: Named<'a>,
    source_event_id: Named<'a>,
    class: Named<'a>,
    kind: Named<'a>,
    severity: Named<'a>,
    occurred_at: Named<'a>,
    observed_at: Named<'a>,
    host_id: Named<'a>,
    user: Named<'a>,
    actor: Named<'a>,
    subject: Named<'a>,
    object: Named<'a>,
    network: Named<'a>,
    device: Named<'a>,
    entities: Named<'a>,
    title: Named<'a>,
    description: Named<'a>,
    tags: Named<'a>,
    fields: Named<'a>,
    attack: Named<'a>,
    refs: Named<'a>,
    producer: Named<'a>,
    others: Vec<(Cow<'a, str>, Value<'a>)>,
}

impl<'a> Parts<'a> {
    fn sort(members: Vec<(Cow<'a, str>, Value<'a>)>) -> Result<Self, Reject> {
        let mut parts = Parts::default();
        for (name, value) in members {
            let place = match slot(&name) {
                Slot::Version => &mut parts.version,
                Slot::OwnId => &mut parts.own_id,
                Slot::Tenant => &mut parts.tenant,
                Slot::Source => &mut parts.source,
                Slot::SourceEventId => &mut parts.source_event_id,
                Slot::Class => &mut parts.class,
                Slot::Kind => &mut parts.kind,
                Slot::Severity => &mut parts.severity,
                Slot::OccurredAt => &mut parts.occurred_at,
                Slot::ObservedAt => &mut parts.observed_at,
                Slot::HostId => &mut parts.host_id,
                Slot::User => &mut parts.user,
                Slot::Actor => &mut parts.actor,
                Slot::Subject => &mut parts.subject,
                Slot::Object => &mut parts.object,
                Slot::Network => &mut parts.network,
                Slot::Device => &mut parts.device,
                Slot::Entities => &mut parts.entities,
                Slot::Title => &mut parts.title,
                Slot::Description => &mut parts.description,
                Slot::Tags => &mut parts.tags,
                Slot::Fields => &mut parts.fields,
                Slot::Attack => &mut parts.attack,
                Slot::Refs => &mut parts.refs,
                Slot::Producer => &mut parts.producer,
                Slot::Ours => continue,
                Slot::Other => {
                    parts.others.push((name, value));
                    continue;
                }
            };
            put(place, name, value)?;
        }
        // Our own `id` comes with `v`; anyone else's `id` is the key of their record.
        if parts.version.is_none() {
            if let Some((name, value)) = parts.own_id.take() {
                put(&mut parts.source_event_id, name, value)?;
            }
            // An agent says `observed_at` for the moment it happened on the endpoint.
            if parts.occurred_at.is_none() {
                parts.occurred_at = parts.observed_at.take();
            }
        }
        Ok(parts)
    }
}

/// Brings one decoded object to the one shape.
///
/// `raw` is the object's bytes as they came: they name the event where the producer gives no key of its own.
///
/// # Errors
/// When the object cannot be an event of this subject; the text says why and what to mend.
pub fn to_event<'a>(
    tree: Value<'a>,
    raw: &[u8],
    subject: &'a EventSubject,
    received_at: EventTime,
    profiles: &SourceProfiles,
) -> Result<Event<'a>, Reject> {
    let Value::Map(members) = tree else {
        return Err(Reject::new(Reason::Undecodable, "an event must be an object with named fields"));
    };
    let parts = Parts::sort(members)?;
    if let Some((_, version)) = &parts.version
        && *version != Value::Int(1)
    {
        return Err(Reject::new(Reason::BadField, "`v`: this event has a version other than 1"));
    }
    same_as_subject("tenant", &parts.tenant, &subject.tenant)?;
    same_as_subject("source", &parts.source, &subject.source)?;
    let default_profile;
    let profile = match profiles.get(&subject.source) {
        Some(known) => known,
        None => {
            default_profile = SourceProfile::default();
            &default_profile
        }
    };

    let (occurred_at, time_source) = match &parts.occurred_at {
        None => (received_at, TimeSource::Received),
        Some(named) => {
            let at = time(named)?;
            let ahead = at.since(received_at) > SKEW_MAX_MICROS;
            (at, if ahead { TimeSource::Suspect } else { TimeSource::Producer })
        }
    };
    let observed_at = parts.observed_at.as_ref().map(time).transpose()?;
    let (severity, severity_raw) = severity(parts.severity, &parts.fields, &parts.others, profile)?;
    let class = match parts.class {
        None => profile.class,
        Some((name, value)) => value.as_str().and_then(Class::parse).ok_or_else(|| {
            Reject::new(
                Reason::BadField,
                format!(
                    "`{name}`: no such class; use event, alert, finding, indicator, anomaly, report or note"
                ),
            )
        })?,
    };
    let device = map(parts.device)?;
    let host_id = match text(parts.host_id)? {
        Some(host) => Some(host),
        None => device.as_ref().and_then(device_host),
    };
    let mut event = Event {
        v: 1,
        id: EventId::default(),
        tenant: Cow::Borrowed(&subject.tenant),
        source: Cow::Borrowed(&subject.source),
        source_event_id: text(parts.source_event_id)?,
        class,
        kind: text(parts.kind)?.unwrap_or_else(|| Cow::Owned(profile.kind.clone())),
        severity,
        severity_raw,
        occurred_at,
        observed_at,
        received_at,
        time_source,
        host_id,
        user: text(parts.user)?,
        actor: map(parts.actor)?,
        subject: map(parts.subject)?,
        object: map(parts.object)?,
        network: map(parts.network)?,
        device,
        entities: entities(parts.entities)?,
        title: text(parts.title)?,
        description: text(parts.description)?,
        tags: tags(parts.tags)?,
        fields: fields(parts.fields, parts.others)?,
        attack: map(parts.attack)?,
        refs: map(parts.refs)?,
        producer: map(parts.producer)?,
    };
    require(&event, profile)?;
    event.id = EventId::of(&event, raw);
    Ok(event)
}

fn same_as_subject(what: &str, named: &Named<'_>, expected: &str) -> Result<(), Reject> {
    match named {
        Some((_, value)) if value.as_str() != Some(expected) => Err(Reject::new(
            Reason::SubjectMismatch,
            format!(
                "`{what}` in the body is not {expected:?}, which the subject names: publish on the subject of that {what}"
            ),
        )),
        _ => Ok(()),
    }
}

fn time((name, value): &(Cow<'_, str>, Value<'_>)) -> Result<EventTime, Reject> {
    let Some(text) = value.as_str() else {
        return Err(Reject::new(
            Reason::BadTime,
            format!("`{name}` must be a time written as text, RFC 3339"),
        ));
    };
    EventTime::parse(text).map_err(|error| Reject::new(Reason::BadTime, format!("`{name}`: {error}")))
}

/// The severity, and the source's own word where it is none of ours.
fn severity<'a>(
    given: Named<'a>,
    fields: &Named<'a>,
    others: &[(Cow<'a, str>, Value<'a>)],
    profile: &SourceProfile,
) -> Result<(Severity, Option<Cow<'a, str>>), Reject> {
    // phishkit has no severity; its verdict stands in for one.
    let verdict = || {
        let outer = others.iter().find(|(name, _)| name == "phishScore").map(|(_, value)| value);
        outer.or_else(|| fields.as_ref().and_then(|(_, map)| map.get("phishScore"))).and_then(Value::as_str)
    };
    let Some(word) = text(given)? else {
        return Ok((verdict().and_then(Severity::parse).unwrap_or(profile.severity), None));
    };
    match Severity::parse(&word) {
        Some(severity) => Ok((severity, None)),
        None => Ok((profile.severity, Some(word))),
    }
}

fn text<'a>(named: Named<'a>) -> Result<Option<Cow<'a, str>>, Reject> {
    match named {
        None => Ok(None),
        Some((_, Value::Str(text))) if text.trim().is_empty() => Ok(None),
        Some((_, Value::Str(text))) => Ok(Some(text)),
        Some((name, value)) => match value.as_text() {
            Some(text) => Ok(Some(Cow::Owned(text.into_owned()))),
            None => Err(Reject::new(Reason::BadField, format!("`{name}` must be text"))),
        },
    }
}

fn map<'a>(named: Named<'a>) -> Result<Option<Value<'a>>, Reject> {
    match named {
        None => Ok(None),
        Some((_, value @ Value::Map(_))) => Ok(Some(value)),
        Some((name, _)) => Err(Reject::new(Reason::BadField, format!("`{name}` must be an object"))),
    }
}

fn device_host<'a>(device: &Value<'a>) -> Option<Cow<'a, str>> {
    let named = device.get("hostname").or_else(|| device.get("device_id"))?;
    match named {
        Value::Str(host) if !host.trim().is_empty() => Some(host.clone()),
        _ => None,
    }
}

/// Labels: a list, or a list that some services send as JSON text, or one label.
fn tags<'a>(named: Named<'a>) -> Result<Vec<Cow<'a, str>>, Reject> {
    let (name, value) = match named {
        None => return Ok(Vec::new()),
        Some(named) => named,
    };
    match value {
        Value::List(items) => items
            .into_iter()
            .map(|item| match item {
                Value::Str(tag) => Ok(tag),
                other => match other.as_text() {
                    Some(tag) => Ok(Cow::Owned(tag.into_owned())),
                    None => Err(Reject::new(Reason::BadField, format!("`{name}` must be a list of text"))),
                },
            })
            .collect(),
        Value::Str(text) if text.trim_start().starts_with('[') => serde_json::from_str::<Vec<String>>(&text)
            .map(|tags| tags.into_iter().map(Cow::Owned).collect())
            .map_err(|_| {
                Reject::new(Reason::BadField, format!("`{name}` looks like a JSON list and is none"))
            }),
        Value::Str(text) if text.trim().is_empty() => Ok(Vec::new()),
        Value::Str(text) => Ok(vec![text]),
        _ => Err(Reject::new(Reason::BadField, format!("`{name}` must be a list of text"))),
    }
}

/// The payload, with every top-level name that we do not know beside it: nothing that a source says is lost.
fn fields<'a>(named: Named<'a>, others: Vec<(Cow<'a, str>, Value<'a>)>) -> Result<Value<'a>, Reject> {
    let mut members = match named {
        None => Vec::new(),
        Some((_, Value::Map(members))) => members,
        Some((name, _)) => return Err(Reject::new(Reason::BadField, format!("`{name}` must be an object"))),
    };
    let given = members.len();
    for (name, value) in others {
        if !members[..given].iter().any(|(known, _)| *known == name) {
            members.push((name, value));
        }
    }
    Ok(Value::Map(members))
}

fn entities<'a>(named: Named<'a>) -> Result<Vec<Entity<'a>>, Reject> {
    let Some((name, value)) = named else { return Ok(Vec::new()) };
    let bad = || {
        Reject::new(Reason::BadField, format!("`{name}` must be a list of objects with `type` and `value`"))
    };
    let Value::List(items) = value else { return Err(bad()) };
    let mut entities = Vec::with_capacity(items.len());
    for item in items {
        let Value::Map(members) = item else { return Err(bad()) };
        let (mut kind, mut value, mut role, mut origin) = (None, None, None, None);
        for (name, member) in members {
            let place = match &*name {
                "type" => &mut kind,
                "value" => &mut value,
                "role" => &mut role,
                "origin" => &mut origin,
                _ => continue,
            };
            *place = text(Some((name, member)))?;
        }
        let (Some(kind), Some(value)) = (kind, value) else { return Err(bad()) };
        entities.push(Entity { kind, value, role, origin });
    }
    Ok(entities)
}

fn require(event: &Event<'_>, profile: &SourceProfile) -> Result<(), Reject> {
    for name in &profile.require {
        let there = match name.as_str() {
            "host_id" => event.host_id.is_some(),
            "user" => event.user.is_some(),
            "source_event_id" => event.source_event_id.is_some(),
            other => event.fields.get(other).is_some_and(|value| *value != Value::Null),
        };
        if !there {
            return Err(Reject::new(
                Reason::MissingField,
                format!("`{name}` is missing: source {:?} must give it", event.source),
            ));
        }
    }
    Ok(())
}
