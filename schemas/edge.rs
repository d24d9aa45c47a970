//! The edge: every source's spelling becomes the one [`Event`]. Nothing behind the edge knows of aliases.

use std::borrow::Cow;
use std::sync::LazyLock;

use crate::event::{Class, Entity, Event, TimeSource};
use crate::id::EventId;
use crate::parts::{Named, Parts, Slot};
pub use crate::parts::{is_known_field, same_field};
pub use crate::reject::{Reason, Reject};
use crate::severity::Severity;
use crate::source::{SourceProfile, SourceProfiles};
use crate::subject::EventSubject;
use crate::time::EventTime;
use crate::value::Value;
use crate::wire::{self, EVENT_BYTES_MAX, Form};

/// An `occurred_at` further ahead of receipt than this is suspect, in microseconds.
pub const SKEW_MAX_MICROS: i64 = 60_000_000;

/// The bytes of one event, read but not judged: whose it is decides what it must have.
pub struct Draft<'a>(Read<'a>);

enum Read<'a> {
    /// The plain case: JSON whose payload nobody has read yet.
    Scanned(Parts<'a>),
    Tree(Value<'a>),
}

impl<'a> Draft<'a> {
    /// Reads the bytes of one event.
    ///
    /// # Errors
    /// When they cannot be decoded, or exceed the limits on bytes, values and depth.
    pub fn read(raw: &'a [u8], form: Form) -> Result<Self, Reject> {
        let scanned = match form {
            Form::Json | Form::Ndjson if raw.len() <= EVENT_BYTES_MAX => Parts::scan(raw),
            _ => None,
        };
        match scanned {
            Some(parts) => Ok(Draft(Read::Scanned(parts))),
            None => Ok(Draft(Read::Tree(wire::decode(raw, form)?))),
        }
    }

    /// An event that was read already.
    pub fn from_tree(tree: Value<'a>) -> Self {
        Draft(Read::Tree(tree))
    }

    /// The source that the event itself names, as text.
    pub fn source(&self) -> Option<&str> {
        match &self.0 {
            Read::Scanned(parts) => parts.text(Slot::Source),
            Read::Tree(tree) => tree.get("source").and_then(Value::as_str),
        }
    }

    /// The tenant that the event itself names, as text.
    pub fn tenant(&self) -> Option<&str> {
        match &self.0 {
            Read::Scanned(parts) => parts.text(Slot::Tenant),
            Read::Tree(tree) => tree.get("tenant").and_then(Value::as_str),
        }
    }

    /// The event, without its id: [`EventId::of`] gives that, and most events are never asked for it.
    ///
    /// # Errors
    /// When it cannot be an event of this subject; the text says why and what to mend.
    pub fn into_event(
        self,
        subject: &'a EventSubject,
        received_at: EventTime,
        profiles: &SourceProfiles,
    ) -> Result<Event<'a>, Reject> {
        let parts = match self.0 {
            Read::Scanned(parts) => parts,
            Read::Tree(Value::Map(members)) => Parts::sort(members)?,
            Read::Tree(_) => {
                return Err(Reject::new(Reason::Undecodable, "an event must be an object with named fields"));
            }
        };
        judge(parts, subject, received_at, profiles)
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
    let mut event = Draft::from_tree(tree).into_event(subject, received_at, profiles)?;
    event.id = EventId::of(&event, raw);
    Ok(event)
}

/// Puts the objects beside the payload in their places, which were seen to be objects. Most events have none: so what is
/// not there costs a question, and is not moved about.
fn put_objects<'a>(event: &mut Event<'a>, parts: &mut Parts<'a>) {
    for (slot, place) in [
        (Slot::Actor, &mut event.actor),
        (Slot::Subject, &mut event.subject),
        (Slot::Object, &mut event.object),
        (Slot::Network, &mut event.network),
        (Slot::Device, &mut event.device),
        (Slot::Attack, &mut event.attack),
        (Slot::Refs, &mut event.refs),
        (Slot::Producer, &mut event.producer),
    ] {
        if let Some((_, value)) = parts.take(slot) {
            *place = Some(value);
        }
    }
}

/// What a source means of which nothing is known.
static UNKNOWN_SOURCE: LazyLock<SourceProfile> = LazyLock::new(SourceProfile::default);

fn judge<'a>(
    mut parts: Parts<'a>,
    subject: &'a EventSubject,
    received_at: EventTime,
    profiles: &SourceProfiles,
) -> Result<Event<'a>, Reject> {
    let profile = profiles.get(&subject.source).unwrap_or(&UNKNOWN_SOURCE);
    // Returned from one place, so that it is made where the caller wants it and not moved there.
    let mut event = shape(&mut parts, subject, received_at, profile);
    if let Ok(made) = &mut event {
        put_objects(made, &mut parts);
        if let Err(reject) = require(made, profile) {
            event = Err(reject);
        }
    }
    event
}

/// The event, without the objects beside its payload.
fn shape<'a>(
    parts: &mut Parts<'a>,
    subject: &'a EventSubject,
    received_at: EventTime,
    profile: &SourceProfile,
) -> Result<Event<'a>, Reject> {
    if let Some((_, version)) = parts.get(Slot::Version)
        && *version != Value::Int(1)
    {
        return Err(Reject::new(Reason::BadField, "`v`: this event has a version other than 1"));
    }
    same_as_subject("tenant", parts.get(Slot::Tenant), &subject.tenant)?;
    same_as_subject("source", parts.get(Slot::Source), &subject.source)?;

    let (occurred_at, time_source) = match parts.get(Slot::OccurredAt) {
        None => (received_at, TimeSource::Received),
        Some(named) => {
            let at = time(named)?;
            let ahead = at.since(received_at) > SKEW_MAX_MICROS;
            (at, if ahead { TimeSource::Suspect } else { TimeSource::Producer })
        }
    };
    let observed_at = parts.get(Slot::ObservedAt).map(time).transpose()?;
    let (severity, severity_raw) = severity(parts, profile)?;
    let class = match parts.take(Slot::Class) {
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
    are_objects(parts, &[Slot::Device])?;
    let host_id = match text(parts.get_mut(Slot::HostId))? {
        Some(host) => Some(host),
        None => parts.get(Slot::Device).and_then(|(_, device)| device_host(device)),
    };
    let source_event_id = text(parts.get_mut(Slot::SourceEventId))?;
    let kind = text(parts.get_mut(Slot::Kind))?.unwrap_or_else(|| kind_of(profile));
    let user = text(parts.get_mut(Slot::User))?;
    are_objects(parts, &[Slot::Actor, Slot::Subject, Slot::Object, Slot::Network])?;
    let entities = entities(parts.take(Slot::Entities))?;
    let title = text(parts.get_mut(Slot::Title))?;
    let description = text(parts.get_mut(Slot::Description))?;
    let tags = tags(parts.take(Slot::Tags))?;
    let fields = std::mem::take(&mut parts.payload).whole()?;
    are_objects(parts, &[Slot::Attack, Slot::Refs, Slot::Producer])?;
    Ok(Event {
        v: 1,
        id: EventId::default(),
        tenant: Cow::Borrowed(&subject.tenant),
        source: Cow::Borrowed(&subject.source),
        source_event_id,
        class,
        kind,
        severity,
        severity_raw,
        occurred_at,
        observed_at,
        received_at,
        time_source,
        host_id,
        user,
        actor: None,
        subject: None,
        object: None,
        network: None,
        device: None,
        entities,
        title,
        description,
        tags,
        fields,
        attack: None,
        refs: None,
        producer: None,
    })
}

/// The kind of an event without one.
fn kind_of<'a>(profile: &SourceProfile) -> Cow<'a, str> {
    match profile.kind.as_str() {
        // Of every source of which nothing else is known.
        "event" => Cow::Borrowed("event"),
        other => Cow::Owned(other.to_owned()),
    }
}

fn same_as_subject(
    what: &str,
    named: Option<&(Cow<'_, str>, Value<'_>)>,
    expected: &str,
) -> Result<(), Reject> {
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
    parts: &mut Parts<'a>,
    profile: &SourceProfile,
) -> Result<(Severity, Option<Cow<'a, str>>), Reject> {
    let Some(word) = text(parts.get_mut(Slot::Severity))? else {
        // phishkit has no severity; its verdict stands in for one.
        let verdict = parts.payload.get("phishScore").and_then(Value::as_str);
        return Ok((verdict.and_then(Severity::parse).unwrap_or(profile.severity), None));
    };
    match Severity::parse(&word) {
        Some(severity) => Ok((severity, None)),
        None => Ok((profile.severity, Some(word))),
    }
}

fn is_blank(text: &str) -> bool {
    // Nearly every text begins with a letter that shows.
    !matches!(text.as_bytes(), [b'!'..=b'~', ..]) && text.trim().is_empty()
}

fn text<'a>(named: Option<&mut (Cow<'a, str>, Value<'a>)>) -> Result<Option<Cow<'a, str>>, Reject> {
    match named {
        None => Ok(None),
        Some((_, Value::Str(text))) if is_blank(text) => Ok(None),
        Some((_, Value::Str(text))) => Ok(Some(std::mem::take(text))),
        Some((name, value)) => match value.as_text() {
            Some(text) => Ok(Some(Cow::Owned(text.into_owned()))),
            None => Err(Reject::new(Reason::BadField, format!("`{name}` must be text"))),
        },
    }
}

fn are_objects(parts: &Parts<'_>, slots: &[Slot]) -> Result<(), Reject> {
    for slot in slots {
        if let Some((name, value)) = parts.get(*slot)
            && !matches!(value, Value::Map(_))
        {
            return Err(Reject::new(Reason::BadField, format!("`{name}` must be an object")));
        }
    }
    Ok(())
}

fn device_host<'a>(device: &Value<'a>) -> Option<Cow<'a, str>> {
    let named = device.get("hostname").or_else(|| device.get("device_id"))?;
    match named {
        Value::Str(host) if !is_blank(host) => Some(host.clone()),
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
        Value::Str(text) if is_blank(&text) => Ok(Vec::new()),
        Value::Str(text) => Ok(vec![text]),
        _ => Err(Reject::new(Reason::BadField, format!("`{name}` must be a list of text"))),
    }
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
            *place = text(Some(&mut (name, member)))?;
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
