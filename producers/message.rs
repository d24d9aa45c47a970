//! One message ready to leave: the subject it goes to, its body, its headers, and the id by which the server knows it
//! again.

use std::borrow::Cow;

use bytes::Bytes;
use sightline_schemas::edge::Reject;
use sightline_schemas::subject::EventSubject;
use sightline_schemas::wire::{self, Form};
use sightline_schemas::{Event, EventId};

/// One event or a frame of many, on its way to `events.<tenant>.<source>`; or whatever else a producer has to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    subject: String,
    body: Bytes,
    content_type: Cow<'static, str>,
    headers: Vec<(Cow<'static, str>, String)>,
    id: EventId,
    events: u32,
}

impl Message {
    /// Bytes that a producer already has, as they are: one event.
    pub fn raw(tenant: &str, source: &str, body: impl Into<Bytes>, form: Form) -> Self {
        Self::frame(tenant, source, body, form, 1)
    }

    /// A body that holds `events` events of one source.
    ///
    /// Two messages with the same bytes on the same subject have the same id. The engine, too, takes the same bytes of
    /// one source for the same event, so the server never drops one that the engine would have counted.
    pub fn frame(tenant: &str, source: &str, body: impl Into<Bytes>, form: Form, events: u32) -> Self {
        let body = body.into();
        let id = EventId::from_raw(tenant, source, &body);
        Self::on(subject(tenant, source), body, form.content_type(), id, events)
    }

    /// An event that was built in Rust. Its id is computed from what is sent, as the engine does when it arrives;
    /// `event.id` and `event.received_at` are not trusted there and do not matter here.
    ///
    /// # Errors
    /// When a value of the event cannot be written in this form.
    pub fn event(event: &Event<'_>, form: Form) -> Result<Self, Reject> {
        let body = wire::encode(event, form)?;
        let id = EventId::of(event, &body);
        Ok(Self::on(subject(&event.tenant, &event.source), body, form.content_type(), id, 1))
    }

    /// A message on any subject that a stream takes, such as `evidence.<tenant>.<source>`. Its id names it: the server
    /// drops a second message of the same id inside its duplicate window, whatever its subject.
    pub fn on(
        subject: impl Into<String>,
        body: impl Into<Bytes>,
        content_type: impl Into<Cow<'static, str>>,
        id: EventId,
        events: u32,
    ) -> Self {
        let (subject, body, content_type) = (subject.into(), body.into(), content_type.into());
        Message { subject, body, content_type, headers: Vec::new(), id, events }
    }

    /// The same message with a further header. `Content-Type` and `Nats-Msg-Id` are not set here.
    #[must_use]
    pub fn with_header(mut self, name: impl Into<Cow<'static, str>>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// The same message with another body, such as the same one compressed: what it says and its id stay.
    #[must_use]
    pub fn with_body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// Where it goes, such as `events.<tenant>.<source>`.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// What is sent.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// How the body is written.
    pub fn content_type(&self) -> &str {
        &self.content_type
    }

    /// The further headers, in the order in which they were added.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.headers.iter().map(|(name, value)| (&**name, value.as_str()))
    }

    /// The value of `Nats-Msg-Id`: the same for the same message, whoever publishes it and however often.
    pub fn id(&self) -> EventId {
        self.id
    }

    /// How many events the body holds.
    pub fn events(&self) -> u32 {
        self.events
    }
}

pub(crate) fn subject(tenant: &str, source: &str) -> String {
    EventSubject { tenant: tenant.to_owned(), source: source.to_owned() }.subject()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_bytes_of_another_source_are_another_message() {
        let one = Message::raw("default", "iris", &b"{}"[..], Form::Json);
        assert_eq!(one.id(), Message::raw("default", "iris", &b"{}"[..], Form::Json).id());
        assert_ne!(one.id(), Message::raw("default", "sentry", &b"{}"[..], Form::Json).id());
        assert_ne!(one.id(), Message::raw("other", "iris", &b"{}"[..], Form::Json).id());
    }

    #[test]
    fn a_source_cannot_leave_its_subject() {
        let message = Message::raw("default", "a.b >", &b"{}"[..], Form::Json);
        assert_eq!(message.subject(), "events.default.a=2Eb=20=3E");
    }
}
