//! CloudEvents 1.0 on input: the envelope is opened, and what is in it becomes an event like any other.
//!
//! Structured (`application/cloudevents+json`), a batch (`application/cloudevents-batch+json`), or binary: the attributes
//! are headers `ce-…` and the body is the data, as the NATS binding has it,
//! <https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/nats-protocol-binding.md>.
//!
//! The members of `data` are the event, under any of the names that the edge knows. Where they do not say so themselves,
//! `type` is its kind and `time` is when it happened. Its key is `source` and `id` together, which CloudEvents promises to
//! be unique, unless the data has a `source_event_id`. Every attribute is kept in `fields`, as `ce_source` and so on.

use std::borrow::Cow;

use crate::edge::{Reason, Reject, same_field};
use crate::value::Value;
use crate::wire::Form;

/// One event in its envelope.
pub const STRUCTURED: &str = "application/cloudevents+json";
/// A list of events, each in its envelope.
pub const BATCH: &str = "application/cloudevents-batch+json";
/// What the names of attributes begin with where they are headers.
const HEADER_PREFIX: &str = "ce-";

/// Whether a body of this `Content-Type` holds CloudEvents in their envelopes.
pub fn is_enveloped(content_type: Option<&str>) -> bool {
    let essence = content_type.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case(STRUCTURED) || essence.eq_ignore_ascii_case(BATCH)
}

/// A message in binary mode put into an envelope, of [`STRUCTURED`] form; `None` where it is no CloudEvent, or its data is
/// neither JSON nor text. `headers` are all headers of the message.
pub fn enveloped<'h>(
    headers: impl Iterator<Item = (&'h str, &'h str)>,
    content_type: Option<&str>,
    data: &[u8],
) -> Option<Vec<u8>> {
    let of_ours = |name: &str| {
        name.get(..HEADER_PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(HEADER_PREFIX))
    };
    let attributes: Vec<(String, String)> = headers
        .filter(|(name, _)| of_ours(name))
        .map(|(name, text)| (name[HEADER_PREFIX.len()..].to_ascii_lowercase(), decoded(text)))
        .collect();
    if !attributes.iter().any(|(name, _)| name == "specversion") {
        return None;
    }
    let is_json = matches!(Form::of(content_type), Ok(Form::Json));
    let mut envelope = b"{".to_vec();
    for (name, text) in attributes.iter().filter(|(name, _)| name != "data") {
        serde_json::to_writer(&mut envelope, name).ok()?;
        envelope.push(b':');
        serde_json::to_writer(&mut envelope, text).ok()?;
        envelope.push(b',');
    }
    envelope.extend(b"\"data\":");
    match data {
        [] => envelope.extend(b"null"),
        json if is_json => envelope.extend(json),
        text => serde_json::to_writer(&mut envelope, std::str::from_utf8(text).ok()?).ok()?,
    }
    envelope.push(b'}');
    Some(envelope)
}

/// The event in an envelope, as the edge takes it.
///
/// # Errors
/// When an attribute is missing that every CloudEvent has, the version is another one, or the data is no JSON.
pub fn open(envelope: Value<'_>) -> Result<Value<'_>, Reject> {
    let Value::Map(members) = envelope else {
        return Err(Reject::new(Reason::Undecodable, "a CloudEvent must be an object"));
    };
    let (mut attributes, mut data) = (Vec::new(), Value::Null);
    for (name, value) in members {
        match &*name {
            "data" => data = value,
            "data_base64" => {
                return Err(Reject::new(Reason::BadField, "`data_base64`: an event is JSON, in `data`"));
            }
            _ => attributes.push((name, value)),
        }
    }
    event(attributes, data)
}

/// Headers hold `%XX` for what is not printable ASCII.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let digits = tail.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) if *first == b'%' => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8(bytes).unwrap_or_else(|_| text.to_owned())
}

type Members<'v> = Vec<(Cow<'v, str>, Value<'v>)>;

fn event<'v>(attributes: Members<'v>, data: Value<'v>) -> Result<Value<'v>, Reject> {
    let text = |name: &str| -> Result<String, Reject> {
        let found = attributes.iter().find(|(known, _)| known == name).and_then(|(_, value)| value.as_text());
        found.filter(|text| !text.is_empty()).map(Cow::into_owned).ok_or_else(|| {
            Reject::new(Reason::MissingField, format!("`{name}` is missing: every CloudEvent has it"))
        })
    };
    let version = text("specversion")?;
    if version != "1.0" {
        return Err(Reject::new(Reason::BadField, format!("CloudEvents {version:?}: 1.0 is understood")));
    }
    let (id, source, kind) = (text("id")?, text("source")?, text("type")?);
    let time = attributes.iter().find(|(name, _)| name == "time").map(|(_, time)| time.clone());
    let (mut members, mut kept) = match data {
        Value::Map(members) => (members, Vec::new()),
        Value::Null => (Vec::new(), Vec::new()),
        other => (Vec::new(), vec![(Cow::Borrowed("data"), other)]),
    };
    // The record's own number is not the key of the event, and its source is not who publishes.
    for name in ["id", "source", "tenant", "v"] {
        if let Some(at) = members.iter().position(|(known, _)| known == name) {
            kept.push(members.swap_remove(at));
        }
    }
    let says = |members: &Members<'v>, field: &str| {
        members.iter().any(|(name, value)| same_field(name, field) && *value != Value::Null)
    };
    if !says(&members, "source_event_id") {
        members.push((Cow::Borrowed("source_event_id"), Value::from(format!("{source} {id}"))));
    }
    if !says(&members, "kind") {
        members.push((Cow::Borrowed("kind"), Value::from(kind)));
    }
    if let Some(time) = time
        && !says(&members, "occurred_at")
    {
        members.push((Cow::Borrowed("occurred_at"), time));
    }
    for (name, value) in attributes {
        if name != "specversion" && name != "datacontenttype" {
            kept.push((Cow::Owned(format!("ce_{name}")), value));
        }
    }
    match members.iter_mut().find(|(name, _)| same_field(name, "fields")) {
        Some((_, Value::Map(fields))) => {
            for (name, value) in kept {
                if !fields.iter().any(|(known, _)| *known == name) {
                    fields.push((name, value));
                }
            }
        }
        // Whatever else stands there, the edge refuses.
        Some(_) => {}
        None => members.push((Cow::Borrowed("fields"), Value::Map(kept))),
    }
    Ok(Value::Map(members))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::edge;
    use crate::source::SourceProfiles;
    use crate::subject::EventSubject;
    use crate::time::EventTime;
    use crate::wire::{self, Form};

    /// What the edge makes of it, as JSON.
    fn taken(came: &str) -> Result<serde_json::Value, Reject> {
        let subject = EventSubject { tenant: "default".to_owned(), source: "shop".to_owned() };
        let tree = open(wire::decode(came.as_bytes(), Form::Json)?)?;
        let at = EventTime::parse("2026-05-08T13:00:00Z").expect("a time");
        let event = edge::to_event(tree, came.as_bytes(), &subject, at, &SourceProfiles::default())?;
        Ok(serde_json::to_value(event).expect("plain data"))
    }

    const STRUCTURED_EVENT: &str = r#"{"specversion":"1.0","id":"7","source":"/shop/eu","type":"auth.login_failed",
        "time":"2026-05-08T12:00:00Z","subject":"door 1","traceparent":"00-x","datacontenttype":"application/json",
        "data":{"id":4711,"userId":"jdoe","hostname":"ws-07","source":"till 3","fields":{"n":1},"severity":"high"}}"#;

    #[test]
    fn structured_and_binary_say_the_same() {
        let structured = taken(STRUCTURED_EVENT).expect("an event");
        let headers = [
            ("ce-specversion", "1.0"),
            ("CE-id", "7"),
            ("ce-source", "/shop/eu"),
            ("ce-type", "auth.login_failed"),
            ("ce-time", "2026-05-08T12:00:00Z"),
            ("ce-subject", "door%201"),
            ("ce-traceparent", "00-x"),
            ("Nats-Msg-Id", "17"),
        ];
        let data = r#"{"id":4711,"userId":"jdoe","hostname":"ws-07","source":"till 3","fields":{"n":1},"severity":"high"}"#;
        let envelope =
            enveloped(headers.into_iter(), Some("application/json"), data.as_bytes()).expect("a CloudEvent");
        let binary = taken(str::from_utf8(&envelope).expect("JSON")).expect("an event");
        for (name, expected) in [
            ("source_event_id", json!("/shop/eu 7")),
            ("kind", json!("auth.login_failed")),
            ("occurred_at", json!("2026-05-08T12:00:00Z")),
            ("user", json!("jdoe")),
            ("host_id", json!("ws-07")),
            ("severity", json!("high")),
        ] {
            assert_eq!((&structured[name], &binary[name]), (&expected, &expected), "{name}");
        }
        assert_eq!(structured["id"], binary["id"]);
        for fields in [&structured["fields"], &binary["fields"]] {
            let expected = json!({ "n": 1, "id": 4711, "source": "till 3", "ce_id": "7", "ce_source": "/shop/eu",
                "ce_type": "auth.login_failed", "ce_time": "2026-05-08T12:00:00Z", "ce_subject": "door 1",
                "ce_traceparent": "00-x" });
            assert_eq!(*fields, expected);
        }
    }

    #[test]
    fn what_the_data_says_itself_holds() {
        let own = r#"{"specversion":"1.0","id":"7","source":"s","type":"t","time":"2026-05-08T12:00:00Z",
            "data":{"sourceEventId":"own","eventType":"own.kind","ts":"2026-05-08 11:00:00"}}"#;
        let event = taken(own).expect("an event");
        assert_eq!(event["source_event_id"], "own");
        assert_eq!(event["kind"], "own.kind");
        assert_eq!(event["occurred_at"], "2026-05-08T11:00:00Z");
        let bare = r#"{"specversion":"1.0","id":"7","source":"s","type":"t","data":[1]}"#;
        assert_eq!(taken(bare).expect("an event")["fields"]["data"], json!([1]));
    }

    #[test]
    fn what_is_no_cloud_event_is_refused_with_what_is_missing() {
        for (came, text) in [
            (r#"{"specversion":"1.0","source":"s","type":"t"}"#, "`id` is missing"),
            (r#"{"specversion":"1.0","id":"1","type":"t"}"#, "`source` is missing"),
            (r#"{"id":"1","source":"s","type":"t"}"#, "`specversion` is missing"),
            (r#"{"specversion":"0.3","id":"1","source":"s","type":"t"}"#, "1.0 is understood"),
            (
                r#"{"specversion":"1.0","id":"1","source":"s","type":"t","data_base64":"AA=="}"#,
                "`data_base64`",
            ),
            ("[1]", "must be an object"),
        ] {
            let reject = taken(came).expect_err(came);
            assert!(reject.detail.contains(text), "{came}: {reject}");
        }
    }

    #[test]
    fn only_what_says_so_is_a_cloud_event() {
        for content_type in
            ["application/cloudevents+json; charset=UTF-8", "Application/CloudEvents-Batch+JSON"]
        {
            assert!(is_enveloped(Some(content_type)), "{content_type}");
        }
        assert!(!is_enveloped(Some("application/json")) && !is_enveloped(None));
        let enveloped = |headers: &[(&str, &str)], content_type, data: &[u8]| {
            let envelope = enveloped(headers.iter().copied(), content_type, data)?;
            Some(String::from_utf8(envelope).expect("JSON is text"))
        };
        assert_eq!(enveloped(&[("ce-id", "1")], None, b"{}"), None);
        let said = [("ce-specversion", "1.0")];
        let rows = [
            (None, &b"{}"[..], Some(r#"{"specversion":"1.0","data":{}}"#)),
            (None, b"", Some(r#"{"specversion":"1.0","data":null}"#)),
            (Some("text/plain"), b"a \"b\"", Some(r#"{"specversion":"1.0","data":"a \"b\""}"#)),
            (Some("application/msgpack"), b"\x81\xa1a\x01", None),
        ];
        for (content_type, data, expected) in rows {
            assert_eq!(enveloped(&said, content_type, data).as_deref(), expected, "{content_type:?}");
        }
    }
}
