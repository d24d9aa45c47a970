//! What a source gives, and what the bridge makes of it before anything is sent.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Map, Value};
use sightline_schemas::edge::{Reason, Reject, to_event};
use sightline_schemas::source::SourceProfiles;
use sightline_schemas::subject::EventSubject;
use sightline_schemas::wire::{self, Form};
use sightline_schemas::{EventTime, edge};

use crate::format;
use crate::mapping::{Mapped, Mapping, Origin};
use crate::personal::Personal;

/// Bytes from a source: a line, a message, the body of a request, or one item of an answer.
#[derive(Clone, Debug)]
pub struct Input {
    /// As they came.
    pub bytes: Bytes,
    /// What they are.
    pub content_type: &'static str,
    /// What names them where they name themselves nowhere: their place in a file or stream. Otherwise their contents do.
    pub place: Option<String>,
    /// What is known of them beside.
    pub origin: Origin,
}

/// What becomes of one record of an input.
#[derive(Debug)]
pub enum Item {
    /// It is an event.
    Event(Draft),
    /// The mapping leaves it out.
    Skip,
    /// It is none.
    Reject(Rejected),
}

/// An event that is ready but for its evidence.
#[derive(Debug)]
pub struct Draft {
    /// Who reports it.
    pub source: String,
    /// Its own key, which is in the body as well.
    pub key: String,
    /// Its members.
    pub body: Map<String, Value>,
}

/// A record that is no event.
#[derive(Clone, Debug)]
pub struct Rejected {
    /// Who sent it, as far as that is known.
    pub source: String,
    /// Why.
    pub reject: Reject,
    /// What came.
    pub bytes: Bytes,
    /// What that is.
    pub content_type: &'static str,
}

/// Makes events of one source's records.
#[derive(Clone)]
pub struct Press {
    tenant: String,
    mapping: Arc<Mapping>,
    profiles: Arc<SourceProfiles>,
    /// Members without which a record is refused, beside what the profile of its source says.
    require: &'static [&'static str],
    personal: Option<Arc<Personal>>,
}

impl Press {
    /// For one source. `personal` must be there where the mapping asks for it.
    ///
    /// # Errors
    /// When the mapping concerns personal identifiers and there is no key to hash them with.
    pub fn new(tenant: &str, mapping: Mapping, personal: Option<Arc<Personal>>) -> Result<Self, String> {
        if mapping.personal && personal.is_none() {
            return Err(format!(
                "mapping `{}` concerns personal identifiers, which leave hashed with a key: name its file with \
                 --personal-key-file; `openssl rand -hex 32` writes one",
                mapping.name
            ));
        }
        Ok(Press {
            tenant: tenant.to_owned(),
            mapping: Arc::new(mapping),
            profiles: Arc::new(SourceProfiles::with(std::collections::BTreeMap::new())),
            require: &[],
            personal,
        })
    }

    /// Also refuses records without these members of the event.
    #[must_use]
    pub fn requiring(mut self, names: &'static [&'static str]) -> Self {
        self.require = names;
        self
    }

    /// The mapping's name.
    pub fn name(&self) -> &str {
        &self.mapping.name
    }

    /// How the records are written.
    pub fn format(&self) -> &format::Format {
        &self.mapping.format
    }

    /// Whether one input may hold many records.
    pub fn holds_many(&self) -> bool {
        self.mapping.records.is_some()
    }

    /// Whose events these are.
    pub fn tenant(&self) -> &str {
        &self.tenant
    }

    /// Makes the items of an input, in its order.
    pub fn make(&self, input: &Input, now: EventTime) -> Vec<Item> {
        let records = match format::records(&self.mapping, &input.bytes, now) {
            Ok(records) => records,
            Err(reject) => return vec![self.reject(input, None, reject)],
        };
        let many = records.len() > 1;
        let mut items = Vec::with_capacity(records.len());
        for (at, record) in records.into_iter().enumerate() {
            items.push(match record {
                Ok(record) => {
                    let place = match &input.place {
                        Some(place) if many => Some(format!("{place}#{at}")),
                        other => other.clone(),
                    };
                    // A record of many is named by what it says, not by all of them.
                    let came = if many { Bytes::from(record.to_string()) } else { input.bytes.clone() };
                    self.item(input, came, record, place, now)
                }
                Err((bytes, reject)) => self.reject(input, Some(bytes), reject),
            });
        }
        items
    }

    /// Makes the item of a record that was taken out of its bytes already; `came` are the record's own.
    pub fn item(
        &self,
        input: &Input,
        came: Bytes,
        mut record: Value,
        place: Option<String>,
        now: EventTime,
    ) -> Item {
        let mut key = place.unwrap_or_else(|| content_key(&came));
        let mut found = Vec::new();
        let mut shown = came;
        if let Some(personal) = self.personal.as_ref().filter(|_| self.mapping.personal) {
            found = personal.take_out(&mut record);
            // From here on, nothing holds what was taken out: not even what is refused.
            shown = Bytes::from(record.to_string());
            // A plain hash of few unknown digits can be tried out; one with a key cannot.
            key = personal.name_of(&key);
        }
        match self.event(&record, found, &input.origin, key, now) {
            Ok(Some(draft)) => Item::Event(draft),
            Ok(None) => Item::Skip,
            Err((source, reject)) => Item::Reject(Rejected {
                source: source.unwrap_or_else(|| self.source_of(input)),
                reject,
                bytes: shown,
                content_type: "application/json",
            }),
        }
    }

    fn event(
        &self,
        record: &Value,
        found: Vec<Value>,
        origin: &Origin,
        key: String,
        now: EventTime,
    ) -> Result<Option<Draft>, (Option<String>, Reject)> {
        let mut body = match self.mapping.apply(record, origin).map_err(|reject| (None, reject))? {
            Mapped::Event(body) => body,
            Mapped::Skip => return Ok(None),
        };
        if !record.is_object() {
            return Err((
                None,
                Reject::new(Reason::Undecodable, "a record must be an object with named fields"),
            ));
        }
        let source = match body.get("source").and_then(Value::as_str) {
            Some(source) if !source.trim().is_empty() => source.to_owned(),
            _ => {
                return Err((
                    None,
                    Reject::new(Reason::MissingField, "`source` is missing: say who reports it"),
                ));
            }
        };
        if !found.is_empty() {
            let there = body.entry("entities").or_insert_with(|| Value::Array(Vec::new()));
            if let Value::Array(there) = there {
                there.extend(found);
            }
        }
        let named = ["source_event_id", "sourceEventId", "sourceAlertId"]
            .iter()
            .any(|name| body.get(*name).is_some_and(|value| !value.is_null() && value.as_str() != Some("")));
        // A passed record's own `id` is the key of that record, as the edge reads it.
        if !named
            && (!self.mapping.pass || body.contains_key("v") || body.get("id").is_none_or(Value::is_null))
        {
            body.insert("source_event_id".to_owned(), key.into());
        }
        let key = self.check(&source, &body, now).map_err(|reject| (Some(source.clone()), reject))?;
        Ok(Some(Draft { source, key, body }))
    }

    /// Lets the edge read what will be sent, as the engine will; gives the event's own key.
    fn check(&self, source: &str, body: &Map<String, Value>, now: EventTime) -> Result<String, Reject> {
        let bytes =
            serde_json::to_vec(body).map_err(|error| Reject::new(Reason::BadField, error.to_string()))?;
        let subject = EventSubject { tenant: self.tenant.clone(), source: source.to_owned() };
        let event = to_event(wire::decode(&bytes, Form::Json)?, &bytes, &subject, now, &self.profiles)?;
        for name in self.require {
            let there = match *name {
                "host_id" => event.host_id.is_some(),
                // The edge gives a kind to events that name none; here it is the sender who must name it.
                "kind" => ["kind", "event_type", "eventType", "category"].iter().any(|alias| {
                    body.get(*alias).and_then(Value::as_str).is_some_and(|kind| !kind.trim().is_empty())
                }),
                "occurred_at" => event.time_source != sightline_schemas::event::TimeSource::Received,
                _ => true,
            };
            if !there {
                return Err(Reject::new(
                    Reason::MissingField,
                    format!("`{name}` is missing: this source must give it"),
                ));
            }
        }
        event
            .source_event_id
            .map(|key| key.into_owned())
            .ok_or_else(|| Reject::new(edge::Reason::MissingField, "`source_event_id` is empty"))
    }

    /// An input, or a part of it, that is no record at all.
    pub fn reject(&self, input: &Input, bytes: Option<Bytes>, reject: Reject) -> Item {
        let mut bytes = bytes.unwrap_or_else(|| input.bytes.clone());
        if let Some(personal) = self.personal.as_ref().filter(|_| self.mapping.personal) {
            bytes = personal.blacken(&bytes);
        }
        Item::Reject(Rejected {
            source: self.source_of(input),
            reject,
            bytes,
            content_type: input.content_type,
        })
    }

    fn source_of(&self, input: &Input) -> String {
        input.origin.source.clone().unwrap_or_else(|| self.mapping.name.clone())
    }
}

/// What names bytes that name themselves nowhere.
pub fn content_key(bytes: &[u8]) -> String {
    format!("b3:{}", &blake3::hash(bytes).to_hex()[..32])
}
