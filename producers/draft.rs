//! An event as a program writes it: its parts by name, put down in any order.

use std::borrow::Cow;

use sightline_schemas::event::Class;
use sightline_schemas::{EventTime, Severity, Value};

use crate::trace_context::TraceParent;

/// Whose events these are where nobody says.
pub const DEFAULT_TENANT: &str = "default";

/// An event that is being written. Source and kind it must have; what else it has decides which rules can use it.
///
/// ```
/// use sightline_producers::Draft;
/// use sightline_schemas::Severity;
///
/// let failed_login = Draft::new("my-sensor", "auth.login_failed")
///     .key("4711")
///     .occurred_at("2026-05-08T12:00:00Z".parse().expect("a time"))
///     .severity(Severity::Medium)
///     .host("WS-07")
///     .user("jdoe")
///     .field("src_ip", "185.220.101.42")
///     .field("attempts", 3);
/// # let _ = failed_login;
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Draft {
    tenant: Cow<'static, str>,
    source: Cow<'static, str>,
    members: Vec<(Cow<'static, str>, Value<'static>)>,
    trace: Option<TraceParent>,
}

impl Draft {
    /// An event that `source` reports, of dotted kind such as `auth.login_failed`.
    pub fn new(source: impl Into<Cow<'static, str>>, kind: impl Into<Cow<'static, str>>) -> Self {
        let source = source.into();
        let members = vec![
            (Cow::Borrowed("v"), Value::Int(1)),
            (Cow::Borrowed("source"), Value::Str(source.clone())),
            (Cow::Borrowed("kind"), Value::Str(kind.into())),
        ];
        Draft { tenant: Cow::Borrowed(DEFAULT_TENANT), source, members, trace: None }
    }

    /// Whose event it is; `default` where this is not said.
    #[must_use]
    pub fn tenant(mut self, tenant: impl Into<Cow<'static, str>>) -> Self {
        self.tenant = tenant.into();
        let tenant = self.tenant.clone();
        self.text("tenant", tenant)
    }

    /// Your own stable key of the event: the same for the same event, however often you report it. Without one, an event
    /// is known by its bytes.
    #[must_use]
    pub fn key(self, key: impl Into<Cow<'static, str>>) -> Self {
        self.text("source_event_id", key)
    }

    /// What sort of thing it reports; the source's own class where this is not said.
    #[must_use]
    pub fn class(self, class: Class) -> Self {
        self.text("class", class.as_str())
    }

    /// How bad it is; the source's own severity where this is not said.
    #[must_use]
    pub fn severity(self, severity: Severity) -> Self {
        self.text("severity", severity.as_str())
    }

    /// When it happened; the time of receipt where this is not said.
    #[must_use]
    pub fn occurred_at(self, at: EventTime) -> Self {
        self.text("occurred_at", at.to_string())
    }

    /// When a collector saw it.
    #[must_use]
    pub fn observed_at(self, at: EventTime) -> Self {
        self.text("observed_at", at.to_string())
    }

    /// The host that it concerns.
    #[must_use]
    pub fn host(self, host: impl Into<Cow<'static, str>>) -> Self {
        self.text("host_id", host)
    }

    /// The user that it concerns.
    #[must_use]
    pub fn user(self, user: impl Into<Cow<'static, str>>) -> Self {
        self.text("user", user)
    }

    /// One line for people.
    #[must_use]
    pub fn title(self, title: impl Into<Cow<'static, str>>) -> Self {
        self.text("title", title)
    }

    /// More for people.
    #[must_use]
    pub fn description(self, description: impl Into<Cow<'static, str>>) -> Self {
        self.text("description", description)
    }

    /// A label.
    #[must_use]
    pub fn tag(mut self, tag: impl Into<Cow<'static, str>>) -> Self {
        self.list("tags").push(Value::Str(tag.into()));
        self
    }

    /// A thing that it is about, such as (`ip`, `192.0.2.7`).
    #[must_use]
    pub fn entity(mut self, kind: impl Into<Cow<'static, str>>, value: impl Into<Cow<'static, str>>) -> Self {
        let entity = [("type", Value::Str(kind.into())), ("value", Value::Str(value.into()))];
        let entity = entity.map(|(name, value)| (Cow::Borrowed(name), value));
        self.list("entities").push(Value::Map(entity.into()));
        self
    }

    /// A value under the source's own name. Given twice, the last one holds.
    #[must_use]
    pub fn field(self, name: impl Into<Cow<'static, str>>, value: impl Into<Value<'static>>) -> Self {
        self.member("fields", name, value)
    }

    /// A part of one of the objects of an event: (`actor`, `id`, …), (`network`, `dst_ip`, …), (`device`, `hostname`, …),
    /// (`refs`, `finding_id`, …), (`producer`, `name`, …).
    ///
    /// # Panics
    /// When `object` is none of `actor`, `subject`, `object`, `network`, `device`, `attack`, `refs`, `producer`, `fields`.
    #[must_use]
    pub fn member(
        mut self,
        object: &'static str,
        name: impl Into<Cow<'static, str>>,
        value: impl Into<Value<'static>>,
    ) -> Self {
        assert!(OBJECTS.contains(&object), "an event has no object {object:?}: use one of {OBJECTS:?}");
        let place = self.place(object, || Value::Map(Vec::new()));
        if let Value::Map(members) = place {
            put(members, name.into(), value.into());
        }
        self
    }

    /// Where it stands in a distributed trace: kept in `producer.traceparent`, and sent as the header `traceparent`.
    /// It is a part of the bytes of the event: give an event that may be reported again a [`key`](Self::key).
    #[must_use]
    pub fn trace(mut self, trace: TraceParent) -> Self {
        self.trace = Some(trace);
        self.member("producer", "traceparent", trace.to_string())
    }

    pub(crate) fn tenant_name(&self) -> &str {
        &self.tenant
    }

    pub(crate) fn source_name(&self) -> &str {
        &self.source
    }

    pub(crate) fn trace_parent(&self) -> Option<TraceParent> {
        self.trace
    }

    /// The event as the object that is sent.
    pub fn to_value(&self) -> Value<'static> {
        Value::Map(self.members.clone())
    }

    fn text(mut self, name: &'static str, text: impl Into<Cow<'static, str>>) -> Self {
        put(&mut self.members, Cow::Borrowed(name), Value::Str(text.into()));
        self
    }

    fn list(&mut self, name: &'static str) -> &mut Vec<Value<'static>> {
        match self.place(name, || Value::List(Vec::new())) {
            Value::List(items) => items,
            _ => unreachable!("`tags` and `entities` are written here alone, as lists"),
        }
    }

    fn place(&mut self, name: &'static str, empty: impl FnOnce() -> Value<'static>) -> &mut Value<'static> {
        let at = self.members.iter().position(|(known, _)| known == name).unwrap_or_else(|| {
            self.members.push((Cow::Borrowed(name), empty()));
            self.members.len() - 1
        });
        &mut self.members[at].1
    }
}

const OBJECTS: [&str; 9] =
    ["actor", "subject", "object", "network", "device", "attack", "refs", "producer", "fields"];

fn put(
    members: &mut Vec<(Cow<'static, str>, Value<'static>)>,
    name: Cow<'static, str>,
    value: Value<'static>,
) {
    match members.iter_mut().find(|(known, _)| *known == name) {
        Some((_, there)) => *there = value,
        None => members.push((name, value)),
    }
}

#[cfg(test)]
mod tests {
    use sightline_schemas::source::SourceProfiles;
    use sightline_schemas::subject::EventSubject;
    use sightline_schemas::wire::{self, Form};
    use sightline_schemas::{EventId, edge};

    use super::*;

    #[test]
    fn every_part_arrives_at_the_edge_where_it_belongs() {
        let at = EventTime::parse("2026-05-08T12:00:00.250Z").expect("a time");
        let trace: TraceParent =
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".parse().expect("a trace");
        let draft = Draft::new("edr", "process_start")
            .key("k-1")
            .class(Class::Alert)
            .severity(Severity::High)
            .occurred_at(at)
            .observed_at(at)
            .host("ws-07")
            .user("jörg")
            .title("t")
            .description("d")
            .tag("a")
            .tag("b")
            .entity("ip", "192.0.2.7")
            .entity("user", "jörg")
            .member("network", "dst_port", 443)
            .field("pid", 1)
            .field("pid", 4_711_u16)
            .trace(trace);
        for form in [Form::Json, Form::MessagePack] {
            let bytes = wire::encode_value(&draft.to_value(), form).expect("plain data");
            let subject = EventSubject { tenant: "default".to_owned(), source: "edr".to_owned() };
            let tree = wire::decode(&bytes, form).expect("it decodes");
            let event =
                edge::to_event(tree, &bytes, &subject, at, &SourceProfiles::default()).expect("an event");
            assert_eq!(event.id, EventId::from_source_key("default", "edr", "k-1"));
            assert_eq!(
                (&*event.kind, event.class, event.severity),
                ("process_start", Class::Alert, Severity::High)
            );
            assert_eq!((event.occurred_at, event.observed_at), (at, Some(at)));
            assert_eq!((event.host_id.as_deref(), event.user.as_deref()), (Some("ws-07"), Some("jörg")));
            assert_eq!((event.title.as_deref(), event.description.as_deref()), (Some("t"), Some("d")));
            assert_eq!(event.tags, ["a", "b"]);
            assert_eq!(event.entities.len(), 2);
            assert_eq!(
                event.network.as_ref().and_then(|network| network.get("dst_port")),
                Some(&Value::Int(443))
            );
            assert_eq!(event.fields.get("pid"), Some(&Value::Int(4_711)));
            let kept = event.producer.as_ref().and_then(|producer| producer.get("traceparent"));
            assert_eq!(kept.and_then(Value::as_str), Some(trace.to_string().as_str()));
        }
    }

    #[test]
    #[should_panic(expected = "an event has no object \"networks\"")]
    fn an_object_that_no_event_has_is_a_mistake_of_the_program() {
        let _ = Draft::new("edr", "x").member("networks", "a", 1);
    }
}
