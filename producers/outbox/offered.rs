//! What a program offers for publishing, and what becomes of it before it may leave: personal data is hidden, and what
//! the engine would dead-letter is refused here.

use std::borrow::Cow;
use std::cell::RefCell;
use std::time::{SystemTime, UNIX_EPOCH};

use sightline_schemas::edge::{self, Reason, Reject};
use sightline_schemas::source::SourceProfiles;
use sightline_schemas::subject::EventSubject;
use sightline_schemas::wire::{self, Form};
use sightline_schemas::{EventId, EventTime, Value};

use crate::draft::Draft;
use crate::frame::Ready;
use crate::pseudonyms::Pseudonyms;
use crate::trace_context::TraceParent;

/// An event that somebody wants to publish.
#[derive(Clone, Debug)]
pub enum Offered<'a> {
    /// As a program writes it.
    Draft(Cow<'a, Draft>),
    /// As bytes that are already there.
    Raw(Raw<'a>),
}

/// One event as the bytes that a producer already has: they are sent as they are, unless something in them is hidden.
#[derive(Clone, Copy, Debug)]
pub struct Raw<'a> {
    /// Whose event it is.
    pub tenant: &'a str,
    /// Who reports it.
    pub source: &'a str,
    /// One event, not a frame.
    pub body: &'a [u8],
    /// How it is written.
    pub form: Form,
    /// Where it stands in a distributed trace.
    pub trace: Option<TraceParent>,
}

impl<'a> Raw<'a> {
    /// A JSON object.
    pub fn json(tenant: &'a str, source: &'a str, body: &'a [u8]) -> Self {
        Raw { tenant, source, body, form: Form::Json, trace: None }
    }
}

impl From<Draft> for Offered<'_> {
    fn from(draft: Draft) -> Self {
        Offered::Draft(Cow::Owned(draft))
    }
}

impl<'a> From<&'a Draft> for Offered<'a> {
    fn from(draft: &'a Draft) -> Self {
        Offered::Draft(Cow::Borrowed(draft))
    }
}

impl<'a> From<Raw<'a>> for Offered<'a> {
    fn from(raw: Raw<'a>) -> Self {
        Offered::Raw(raw)
    }
}

/// What is checked of an event before it leaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Check {
    /// Everything that the engine checks, by the same code: what would be a dead letter is refused here.
    #[default]
    AsTheEngine,
    /// Nothing: for recordings that go as they are, whatever they are.
    Nothing,
}

thread_local! {
    /// The subject of the event that is being checked. Its texts are kept for the next one, which needs as much room.
    static SUBJECT: RefCell<EventSubject> =
        const { RefCell::new(EventSubject { tenant: String::new(), source: String::new() }) };
}

/// How events are made ready.
#[derive(Clone, Debug)]
pub(crate) struct Preparation {
    pub check: Check,
    pub form: Form,
    pub profiles: SourceProfiles,
    pub pseudonyms: Option<Pseudonyms>,
}

/// An event that may leave, borrowed where it came as bytes.
#[derive(Debug)]
pub(crate) struct Prepared<'a> {
    tenant: Cow<'a, str>,
    source: Cow<'a, str>,
    form: Form,
    body: Cow<'a, [u8]>,
    id: EventId,
    trace: Option<TraceParent>,
}

impl Prepared<'_> {
    pub fn ready(&self) -> Ready<'_> {
        Ready {
            tenant: &self.tenant,
            source: &self.source,
            form: self.form,
            body: &self.body,
            id: self.id,
            trace: self.trace,
        }
    }
}

impl Preparation {
    /// Makes an event ready to leave.
    ///
    /// # Errors
    /// When the engine would not take it, or what must be hidden cannot be found in it.
    pub fn prepare<'a>(&self, offered: Offered<'a>) -> Result<Prepared<'a>, Reject> {
        match offered {
            Offered::Draft(draft) => {
                let mut value = draft.to_value();
                if let Some(pseudonyms) = &self.pseudonyms {
                    pseudonyms.hide(&mut value);
                }
                let body = wire::encode_value(&value, self.form)?;
                let (tenant, source) = (draft.tenant_name().to_owned(), draft.source_name().to_owned());
                let id = match self.check {
                    Check::AsTheEngine => self.check(&tenant, &source, &body, self.form)?,
                    Check::Nothing => match value.get("source_event_id").and_then(Value::as_str) {
                        Some(key) => EventId::from_source_key(&tenant, &source, key),
                        None => EventId::from_raw(&tenant, &source, &body),
                    },
                };
                Ok(Prepared {
                    tenant: tenant.into(),
                    source: source.into(),
                    form: self.form,
                    body: body.into(),
                    id,
                    trace: draft.trace_parent(),
                })
            }
            Offered::Raw(raw) => {
                let mut body = one_line(raw.body, raw.form);
                if let Some(pseudonyms) = &self.pseudonyms {
                    // Also where nothing is checked: what cannot be read may hold what must be hidden.
                    let read = wire::decode(&body, raw.form)?;
                    let mut hidden = read.clone();
                    pseudonyms.hide(&mut hidden);
                    if hidden != read {
                        body = Cow::Owned(wire::encode_value(&hidden, raw.form)?);
                    }
                }
                let id = match self.check {
                    Check::AsTheEngine => self.check(raw.tenant, raw.source, &body, raw.form)?,
                    Check::Nothing => EventId::from_raw(raw.tenant, raw.source, &body),
                };
                Ok(Prepared {
                    tenant: raw.tenant.into(),
                    source: raw.source.into(),
                    form: raw.form,
                    body,
                    id,
                    trace: raw.trace,
                })
            }
        }
    }

    /// Takes the event as the engine does; gives the id that it has there.
    fn check(&self, tenant: &str, source: &str, body: &[u8], form: Form) -> Result<EventId, Reject> {
        if source.trim().is_empty() {
            return Err(Reject::new(Reason::MissingField, "an event without a source: say who reports it"));
        }
        SUBJECT.with_borrow_mut(|subject| {
            tenant.clone_into(&mut subject.tenant);
            source.clone_into(&mut subject.source);
            let event = edge::Draft::read(body, form)?.into_event(subject, now(), &self.profiles)?;
            Ok(EventId::of(&event, body))
        })
    }
}

/// JSON without line breaks, which would end its line in a frame. Inside of JSON they can only be blanks between tokens.
fn one_line(body: &[u8], form: Form) -> Cow<'_, [u8]> {
    let breaks = |byte: &u8| matches!(byte, b'\n' | b'\r');
    if form == Form::MessagePack || memchr::memchr2(b'\n', b'\r', body).is_none() {
        return Cow::Borrowed(body);
    }
    Cow::Owned(body.iter().map(|byte| if breaks(byte) { b' ' } else { *byte }).collect())
}

fn now() -> EventTime {
    // A clock before 1970 has no use; the engine takes the server's in any case.
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    EventTime::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::pseudonyms::Hidden;

    fn preparation(pseudonyms: Option<Pseudonyms>) -> Preparation {
        Preparation {
            check: Check::AsTheEngine,
            form: Form::Json,
            profiles: SourceProfiles::with(BTreeMap::new()),
            pseudonyms,
        }
    }

    #[test]
    fn what_the_engine_would_refuse_is_refused_here_for_the_same_reason() {
        let rows = [
            (&br#"{"ts":"soon"}"#[..], "my-sensor", Some(Reason::BadTime)),
            (
                br#"{"ts":"2026-05-08T12:00:00Z","timestamp":"2026-05-08T12:00:01Z"}"#,
                "my-sensor",
                Some(Reason::AliasConflict),
            ),
            (br#"{"source":"other"}"#, "my-sensor", Some(Reason::SubjectMismatch)),
            (b"{}", "sentrafim", Some(Reason::MissingField)),
            (b"[{}]", "my-sensor", Some(Reason::Undecodable)),
            (b"{", "my-sensor", Some(Reason::Undecodable)),
            (b"{}", " ", Some(Reason::MissingField)),
            (b"{}", "my-sensor", None),
        ];
        for (body, source, expected) in rows {
            let prepared = preparation(None).prepare(Raw::json("default", source, body).into());
            let reason = prepared.as_ref().err().map(|reject| reject.reason);
            assert_eq!(reason, expected, "{}: {prepared:?}", String::from_utf8_lossy(body));
        }
    }

    #[test]
    fn an_event_of_many_lines_becomes_one_and_is_known_by_it() {
        let prepared = preparation(None).prepare(Raw::json("default", "a", b"{\n  \"a\": 1\r\n}").into());
        let prepared = prepared.expect("an event");
        assert_eq!(&prepared.body[..], b"{   \"a\": 1  }");
        assert_eq!(prepared.id, EventId::from_raw("default", "a", b"{   \"a\": 1  }"));
    }

    #[test]
    fn nothing_leaves_in_clear_that_is_to_be_hidden() {
        let pseudonyms = Pseudonyms::new(
            [1; 32],
            Hidden { fields: vec!["user".to_owned()], social_security_numbers: true, ..Hidden::default() },
        );
        let preparation = preparation(Some(pseudonyms));
        let raw = br#"{"userId":"jdoe","note":"219-09-9999"}"#;
        let draft = Draft::new("a", "x").user("jdoe").title("ssn 219099999");
        for offered in [Raw::json("default", "a", raw).into(), Offered::from(&draft)] {
            let prepared = preparation.prepare(offered).expect("an event");
            let sent = String::from_utf8_lossy(&prepared.body).into_owned();
            assert!(sent.contains("kh1:"), "{sent}");
            for clear in ["jdoe", "219-09-9999", "219099999"] {
                assert!(!sent.contains(clear), "{sent}");
            }
        }
        let unread = Preparation { check: Check::Nothing, ..preparation };
        assert!(unread.prepare(Raw::json("default", "a", b"219-09-9999 and no JSON").into()).is_err());
        let clean = br#"{ "kind":"x" }"#;
        let prepared = unread.prepare(Raw::json("default", "a", clean).into()).expect("JSON");
        assert_eq!(&prepared.body[..], clean, "what hides nothing goes as it came");
    }
}
