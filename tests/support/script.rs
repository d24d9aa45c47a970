//! From the messages that a scenario writes to the messages of an input log.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::{Map, Value};
use sightline::bus::LogMessage;
use sightline_schemas::control::IncidentCommand;
use sightline_schemas::edge::to_event;
use sightline_schemas::source::SourceProfiles;
use sightline_schemas::subject::{CONTROL_RULES, CONTROL_TICK, EventSubject, incident_command};
use sightline_schemas::wire::{self, Form};
use sightline_schemas::{Change, EventId, EventTime, IncidentId, IncidentMessage};

use super::scenario::{Input, Message, SettingsPatch, Which, micros, rules_message, time};

/// Names under which a producer may say when something happened.
const TIMES: [&str; 6] = ["ts", "timestamp", "occurred_at", "detected_at", "created_at", "observed_at"];

/// Writes the input log of a scenario, message by message.
#[derive(Debug)]
pub struct Script {
    base: EventTime,
    templates: BTreeMap<String, Value>,
    settings: Vec<SettingsPatch>,
    clock: EventTime,
    next_seq: u64,
    /// The id of each event, by the name that the scenario gives it.
    pub names: BTreeMap<String, (EventId, EventTime)>,
    /// Which messages are nothing but events.
    pub is_event: Vec<bool>,
}

/// An event as it goes out.
struct Written {
    subject: String,
    body: Vec<u8>,
    at: Option<EventTime>,
}

impl Script {
    /// Of a scenario with these events and settings, time counting from `base`.
    pub fn new(base: EventTime, templates: BTreeMap<String, Value>, settings: Vec<SettingsPatch>) -> Self {
        let names = BTreeMap::new();
        Script { base, templates, settings, clock: base, next_seq: 1, names, is_event: Vec::new() }
    }

    /// The log messages of one entry, `said` being what came of the entries before.
    pub fn write(&mut self, input: &Input, said: &[IncidentMessage]) -> Vec<LogMessage> {
        let plain;
        let message = match input {
            Input::Event(name) => {
                plain = Message { send: Some(name.clone()), ..Message::default() };
                &plain
            }
            Input::Message(message) => message,
        };
        if message.send.is_some() || message.frame.is_some() {
            return self.events(message);
        }
        let one = self.other(message, said);
        self.is_event.push(false);
        vec![one]
    }

    fn other(&mut self, message: &Message, said: &[IncidentMessage]) -> LogMessage {
        let tenant = message.tenant.as_deref().unwrap_or("default");
        let json = Some("application/json".to_owned());
        if let Some(status) = &message.status {
            let incident = match (&message.of, message.incident) {
                (Some(which), None) => find(which, tenant, said),
                (None, Some(id)) => id,
                _ => panic!("a command names an incident either by `of` or by `incident`"),
            };
            let command = IncidentCommand {
                incident,
                status: status.clone(),
                resolution: message.resolution,
                actor: message.actor.clone().unwrap_or_else(|| "ana".to_owned()),
                reason: message.reason.clone(),
            };
            let subject = message.subject.clone().unwrap_or_else(|| incident_command(tenant));
            let body = serde_json::to_vec(&command).expect("a command is plain data");
            return self.log_message(message, subject, json, body, None);
        }
        if let Some(at) = &message.tick {
            let at = time(at, self.base);
            return self.log_message(message, CONTROL_TICK.to_owned(), None, Vec::new(), Some(at));
        }
        if let Some(rules) = &message.rules {
            let mut patches: Vec<&SettingsPatch> = self.settings.iter().collect();
            patches.push(&message.settings);
            let body = serde_json::to_vec(&rules_message(rules, &patches)).expect("rules are plain data");
            return self.log_message(message, CONTROL_RULES.to_owned(), json, body, None);
        }
        let body = raw_body(message);
        let source = message.source.as_deref().unwrap_or("manual");
        let subject = message.subject.clone().unwrap_or_else(|| subject(tenant, source));
        self.log_message(message, subject, form(message).1, body, None)
    }

    fn events(&mut self, message: &Message) -> Vec<LogMessage> {
        let (form, content_type) = form(message);
        let parts = match &message.frame {
            Some(parts) => parts.clone(),
            None => vec![message.clone()],
        };
        let written: Vec<Written> = parts.iter().flat_map(|part| self.written(part, form)).collect();
        if message.frame.is_none() && !message.framed {
            let one = |it: Written| {
                self.is_event.push(true);
                self.log_message(message, it.subject, content_type.clone(), it.body, it.at)
            };
            return written.into_iter().map(one).collect();
        }
        let subject = message.subject.clone().unwrap_or_else(|| written[0].subject.clone());
        let newest = written.iter().filter_map(|it| it.at).max();
        let bodies: Vec<Vec<u8>> = written.into_iter().map(|it| it.body).collect();
        self.is_event.push(true);
        vec![self.log_message(message, subject, content_type, frame(&bodies, form), newest)]
    }

    /// An event, or as many as `times` says.
    fn written(&mut self, part: &Message, form: Form) -> Vec<Written> {
        let template = part.send.as_deref().expect("an event is sent by its name");
        let event = self.templates.get(template).expect("the event is declared under `events`").clone();
        let Value::Object(mut event) = event else { panic!("event {template} is an object") };
        for (name, value) in &part.set {
            match value {
                Value::Null => event.remove(name),
                value => event.insert(name.clone(), value.clone()),
            };
        }
        if let Some(at) = &part.at {
            let place = TIMES.into_iter().find(|name| event.contains_key(*name)).unwrap_or("ts");
            event.insert(place.to_owned(), Value::String(at.clone()));
        }
        let name = part.name.as_deref().unwrap_or(template);
        let every = part.every.as_deref().map_or(0, micros);
        match part.times {
            None => vec![self.one(part, name, event, 0, form)],
            Some(times) => (0..times)
                .map(|n| {
                    let mut event = event.clone();
                    event.values_mut().for_each(|value| number(value, n));
                    self.one(part, &format!("{name}#{n}"), event, every * i64::from(n), form)
                })
                .collect(),
        }
    }

    fn one(
        &mut self,
        part: &Message,
        name: &str,
        mut event: Map<String, Value>,
        later: i64,
        form: Form,
    ) -> Written {
        let mut newest = None;
        for place in TIMES {
            let Some(Value::String(text)) = event.get_mut(place) else { continue };
            if text.starts_with(['+', '-']) {
                *text = time(text, self.base).plus(later).to_string();
            }
            newest = newest.max(EventTime::parse(text).ok());
        }
        let text = |name: &str| event.get(name).and_then(Value::as_str).map(str::to_owned);
        let tenant = part.tenant.clone().or_else(|| text("tenant")).unwrap_or_else(|| "default".to_owned());
        let source = part.source.clone().or_else(|| text("source")).unwrap_or_else(|| "manual".to_owned());
        let body = match form {
            Form::Json | Form::Ndjson => serde_json::to_vec(&event).expect("an event is plain data"),
            Form::MessagePack => rmp_serde::to_vec_named(&event).expect("an event is plain data"),
        };
        let owner = EventSubject { tenant: tenant.clone(), source: source.clone() };
        let named = wire::decode(&body, form).and_then(|tree| {
            let profiles = SourceProfiles::with(BTreeMap::new());
            to_event(tree, &body, &owner, self.clock, &profiles).map(|event| (event.id, event.occurred_at))
        });
        if let Ok(known) = named {
            self.names.insert(name.to_owned(), known);
        }
        let subject = part.subject.clone().unwrap_or_else(|| subject(&tenant, &source));
        Written { subject, body, at: newest }
    }

    fn log_message(
        &mut self,
        message: &Message,
        subject: String,
        content_type: Option<String>,
        body: Vec<u8>,
        at: Option<EventTime>,
    ) -> LogMessage {
        let received = message.received.as_deref().map(|text| time(text, self.base));
        self.clock = self.clock.max(received.or(at).unwrap_or(EventTime::MIN));
        let seq = self.next_seq;
        self.next_seq += 1;
        LogMessage {
            seq,
            subject: Some(subject.into()),
            content_type,
            content_encoding: message.content_encoding.clone(),
            received_at: Some(self.clock),
            body: Bytes::from(body),
        }
    }

    /// A tick so late that whatever was held back is said.
    pub fn last_tick(&mut self, coalesce: i64) -> LogMessage {
        let at = self.clock.plus(coalesce.saturating_add(1));
        self.is_event.push(false);
        self.log_message(&Message::default(), CONTROL_TICK.to_owned(), None, Vec::new(), Some(at))
    }
}

fn subject(tenant: &str, source: &str) -> String {
    EventSubject { tenant: tenant.to_owned(), source: source.to_owned() }.subject()
}

fn form(message: &Message) -> (Form, Option<String>) {
    let form = match message.form.as_deref() {
        None | Some("json") => Form::Json,
        Some("ndjson") => Form::Ndjson,
        Some("msgpack") => Form::MessagePack,
        Some(other) => panic!("form {other:?}: json, ndjson or msgpack"),
    };
    let own = (form != Form::Json).then(|| form.content_type().to_owned());
    (form, message.content_type.clone().or(own))
}

fn frame(bodies: &[Vec<u8>], form: Form) -> Vec<u8> {
    match form {
        Form::Json => [b"[".as_slice(), &bodies.join(&b','), b"]"].concat(),
        Form::Ndjson => bodies.join(&b'\n'),
        Form::MessagePack => {
            let count = u32::try_from(bodies.len()).expect("a frame of a scenario is small");
            [[0xdd].as_slice(), &count.to_be_bytes(), &bodies.concat()].concat()
        }
    }
}

fn number(value: &mut Value, n: u32) {
    match value {
        Value::String(text) if text.contains("{n}") => *text = text.replace("{n}", &n.to_string()),
        Value::Array(items) => items.iter_mut().for_each(|item| number(item, n)),
        Value::Object(members) => members.values_mut().for_each(|member| number(member, n)),
        _ => {}
    }
}

fn raw_body(message: &Message) -> Vec<u8> {
    match (&message.text, &message.hex, &message.build) {
        (Some(text), None, None) => text.clone().into_bytes(),
        (None, Some(hex), None) => {
            let digits: Vec<u8> = hex.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
            let byte = |pair: &[u8]| {
                let pair = std::str::from_utf8(pair).expect("hexadecimal digits");
                u8::from_str_radix(pair, 16).expect("hexadecimal digits")
            };
            digits.chunks(2).map(byte).collect()
        }
        (None, None, Some(build)) => {
            let parts: Vec<String> =
                (0..build.times).map(|n| build.part.replace("{n}", &n.to_string())).collect();
            format!("{}{}{}", build.head, parts.join(&build.between), build.tail).into_bytes()
        }
        _ => panic!("a message is one of send, frame, status, tick, rules, text, hex and build"),
    }
}

/// The incident that a command of a scenario is about.
fn find(which: &Which, tenant: &str, said: &[IncidentMessage]) -> IncidentId {
    let of = |message: &&IncidentMessage| {
        let incident = &message.incident;
        incident.tenant == tenant && incident.rule.id == which.rule && incident.scope.key == which.key
    };
    let found = match which.nth {
        None => said.iter().rfind(of),
        Some(nth) => said.iter().filter(of).filter(|message| message.change == Change::Opened).nth(nth - 1),
    };
    match found {
        Some(message) => message.incident.merged_into.unwrap_or(message.incident.id),
        None => panic!("nothing was said yet of rule {} and key {}", which.rule, which.key),
    }
}
