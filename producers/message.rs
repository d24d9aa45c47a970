//! One message ready to leave: the subject it goes to, its body, and the id by which the server knows it again.

use bytes::Bytes;
use sightline_schemas::edge::Reject;
use sightline_schemas::subject::{EventSubject, HEADER_CONTENT_TYPE};
use sightline_schemas::wire::{self, Form};
use sightline_schemas::{Event, EventId};

/// One event or a frame of many, on its way to `events.<tenant>.<source>`.
#[derive(Clone, Debug)]
pub struct Message {
    subject: String,
    body: Bytes,
    form: Form,
    id: EventId,
    events: u32,
    /// Further headers, and one that says more of the body than its form does.
    headers: Vec<(&'static str, String)>,
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
        Message { subject: subject(tenant, source), body, form, id, events, headers: Vec::new() }
    }

    /// One event whose body says `source_event_id: key`. The engine names it by that key, and so does the server: the
    /// body may come to say more, and it stays the same event.
    pub fn keyed(tenant: &str, source: &str, key: &str, body: impl Into<Bytes>, form: Form) -> Self {
        let id = EventId::from_source_key(tenant, source, key);
        Message {
            subject: subject(tenant, source),
            body: body.into(),
            form,
            id,
            events: 1,
            headers: Vec::new(),
        }
    }

    /// Something beside the events, such as evidence or a dead letter: bytes as they came, on a subject of its own.
    pub fn beside(subject: String, body: impl Into<Bytes>, content_type: &str, id: EventId) -> Self {
        let headers = vec![(HEADER_CONTENT_TYPE, line(content_type))];
        Message { subject, body: body.into(), form: Form::Json, id, events: 1, headers }
    }

    /// With a further header. Line breaks cannot stand in one and become blanks.
    #[must_use]
    pub fn with_header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, line(value)));
        self
    }

    /// An event that was built in Rust. Its id is computed from what is sent, as the engine does when it arrives;
    /// `event.id` and `event.received_at` are not trusted there and do not matter here.
    ///
    /// # Errors
    /// When a value of the event cannot be written in this form.
    pub fn event(event: &Event<'_>, form: Form) -> Result<Self, Reject> {
        let body = wire::encode(event, form)?;
        let id = EventId::of(event, &body);
        let subject = subject(&event.tenant, &event.source);
        Ok(Message { subject, body: body.into(), form, id, events: 1, headers: Vec::new() })
    }

    /// `events.<tenant>.<source>`.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// What is sent.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// How the body is written.
    pub fn form(&self) -> Form {
        self.form
    }

    /// The value of `Nats-Msg-Id`: the same for the same message, whoever publishes it and however often.
    pub fn id(&self) -> EventId {
        self.id
    }

    /// Headers beside the id. One of the same name as the form's `Content-Type` takes its place.
    pub fn headers(&self) -> &[(&'static str, String)] {
        &self.headers
    }

    /// How many events the body holds.
    pub fn events(&self) -> u32 {
        self.events
    }
}

fn subject(tenant: &str, source: &str) -> String {
    EventSubject { tenant: tenant.to_owned(), source: source.to_owned() }.subject()
}

fn line(text: &str) -> String {
    text.replace(['\r', '\n'], " ")
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
