//! The bytes on the wire, held fast: what is in `schemas/golden/` was written once and must be read for ever, and what we
//! write must stay the same byte for byte.
//!
//! A golden file is never written anew. `UPDATE=1` writes those that are missing; a change of an old one breaks whoever
//! reads the stream, and its ids no longer name what they named (schemas/README.md, Compatibility).

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use sightline_schemas::cloudevents;
use sightline_schemas::control::{EngineSettings, IncidentCommand, RuleFile, RulesMessage};
use sightline_schemas::deadletter::DeadLetter;
use sightline_schemas::edge::{self, Reason, Reject};
use sightline_schemas::event::Entity;
use sightline_schemas::fields::Fields;
use sightline_schemas::incident::{
    CoverageGap, Evidence, Named, RuleRef, Scope, ScopeType, SeverityBasis, StatusChange, StepExplain,
};
use sightline_schemas::source::{SourceProfile, SourceProfiles};
use sightline_schemas::subject::EventSubject;
use sightline_schemas::wire::{self, Form};
use sightline_schemas::{
    Change, Class, Event, EventId, EventTime, Incident, IncidentId, IncidentMessage, Position, Resolution,
    Severity, Status, Value, event::TimeSource,
};

/// The ids in the golden files, as they were when those were written.
const EVENT_ID: &str = "ca35105a0af583c016063864a243d138";
const SENTRACORE_ID: &str = "c935f44fc4ddf501e2ce6e807bc7a9ba";
const TRACE_ID: &str = "021e593b11f8729e14a20dccd0adaeed";
const COMPLETION_ID: &str = "100c7aa5befaa40b664e9bc65aeee798";
const INCIDENT_ID: &str = "831df6181c27e2eb55a01c61134391e6";
const NEXT_INCIDENT_ID: &str = "6da43c8448c7a2d22dcfc5983ecc0486";

/// The golden bytes of that name, which `written` must be.
#[track_caller]
fn golden(name: &str, written: &[u8]) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden").join(name);
    if !path.exists() && std::env::var_os("UPDATE").is_some_and(|update| update == "1") {
        fs::write(&path, written).expect("golden files can be written");
    }
    let bytes = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let show = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(bytes == written, "{name} is\n{}\nand we write\n{}", show(&bytes), show(written));
    bytes
}

fn at(text: &str) -> EventTime {
    EventTime::parse(text).expect("a time")
}

fn text(text: &'static str) -> Option<Cow<'static, str>> {
    Some(Cow::Borrowed(text))
}

fn map<const N: usize>(members: [(&'static str, Value<'static>); N]) -> Value<'static> {
    Value::Map(members.into_iter().map(|(name, value)| (Cow::Borrowed(name), value)).collect())
}

fn payload<'a, const N: usize>(members: [(&'static str, Value<'static>); N]) -> Fields<'a> {
    members.into_iter().map(|(name, value)| (Cow::Borrowed(name), value as Value<'a>)).collect()
}

fn str(text: &'static str) -> Value<'static> {
    Value::Str(Cow::Borrowed(text))
}

const RECEIVED: &str = "2026-05-08T12:30:02Z";

/// An event that has everything.
fn event<'a>() -> Event<'a> {
    Event {
        v: 1,
        id: EventId::from_source_key("acme", "edr", "7f3a/12"),
        tenant: Cow::Borrowed("acme"),
        source: Cow::Borrowed("edr"),
        source_event_id: text("7f3a/12"),
        class: Class::Alert,
        kind: Cow::Borrowed("process_start"),
        severity: Severity::High,
        severity_raw: None,
        occurred_at: at("2026-05-08T12:30:00.000125Z"),
        observed_at: Some(at("2026-05-08T12:30:01.500Z")),
        received_at: at(RECEIVED),
        time_source: TimeSource::Producer,
        host_id: text("ws-07"),
        user: text("jörg"),
        actor: Some(map([("id", str("S-1-5-21-1")), ("type", str("account"))])),
        subject: Some(map([("id", str("jörg"))])),
        object: Some(map([("name", str(r"C:\Users\jörg\Downloads\invoice.exe"))])),
        network: Some(map([("dst_ip", str("192.0.2.7")), ("dst_port", Value::Int(443))])),
        device: Some(map([("hostname", str("ws-07"))])),
        entities: vec![Entity {
            kind: Cow::Borrowed("ip"),
            value: Cow::Borrowed("192.0.2.7"),
            role: text("dst_ip"),
            origin: text("network.dst_ip"),
        }],
        title: text("A program from the internet was started"),
        description: text("In two lines:\nthis is the second \"one\"."),
        tags: vec![Cow::Borrowed("execution"), Cow::Borrowed("t1204")],
        fields: payload([
            ("pid", Value::Int(4_711)),
            ("score", Value::Float(0.5)),
            ("signed", Value::Bool(false)),
            ("parent", Value::Null),
            ("big", Value::Int(i64::MIN)),
            ("hashes", Value::List(vec![str("aa"), str("bb")])),
        ]),
        attack: Some(map([("techniques", Value::List(vec![str("T1204.002")]))])),
        refs: Some(map([("finding_id", str("F-9"))])),
        producer: Some(map([("name", str("edr-bridge")), ("version", str("1.2.0"))])),
    }
}

fn second<'a>() -> Event<'a> {
    Event {
        v: 1,
        id: EventId::from_source_key("acme", "edr", "7f3a/13"),
        tenant: Cow::Borrowed("acme"),
        source: Cow::Borrowed("edr"),
        source_event_id: text("7f3a/13"),
        kind: Cow::Borrowed("process_end"),
        occurred_at: at("2026-05-08T12:30:01Z"),
        received_at: at(RECEIVED),
        fields: Fields::default(),
        class: Class::Event,
        severity: Severity::Info,
        severity_raw: None,
        observed_at: None,
        time_source: TimeSource::Producer,
        host_id: None,
        user: None,
        actor: None,
        subject: None,
        object: None,
        network: None,
        device: None,
        entities: Vec::new(),
        title: None,
        description: None,
        tags: Vec::new(),
        attack: None,
        refs: None,
        producer: None,
    }
}

/// Reads one event as the engine does.
#[track_caller]
fn read<'a>(raw: &'a [u8], form: Form, subject: &'a EventSubject) -> Event<'a> {
    let tree = wire::decode(raw, form).expect("it decodes");
    edge::to_event(tree, raw, subject, at(RECEIVED), &SourceProfiles::with(BTreeMap::new()))
        .expect("it is an event")
}

fn from(source: &str) -> EventSubject {
    EventSubject { tenant: "acme".to_owned(), source: source.to_owned() }
}

#[test]
fn an_event_is_the_same_in_every_form() {
    let subject = from("edr");
    for (name, form) in [("event.json", Form::Json), ("event.msgpack", Form::MessagePack)] {
        let bytes = golden(name, &wire::encode(&event(), form).expect("it can be written"));
        let read = read(&bytes, form, &subject);
        assert_eq!(read, event(), "{name}");
        assert_eq!(read.id.to_string(), EVENT_ID, "{name}");
    }
}

#[test]
fn a_frame_holds_its_events_in_every_form() {
    let subject = from("edr");
    let pieces =
        |form| [event(), second()].map(|event| wire::encode(&event, form).expect("it can be written"));
    let (json, binary) = (pieces(Form::Json), pieces(Form::MessagePack));
    let ndjson = [&json[0][..], b"\n", &json[1], b"\n"].concat();
    let array = [b"[", &json[0][..], b",", &json[1], b"]"].concat();
    let packed = [&[0x92][..], &binary[0], &binary[1]].concat();
    let frames = [
        ("frame.ndjson", Form::Ndjson, ndjson),
        ("frame.json", Form::Json, array),
        ("frame.msgpack", Form::MessagePack, packed),
    ];
    for (name, form, written) in frames {
        let bytes = golden(name, &written);
        let events = wire::split(&bytes, form).expect("a frame");
        let events: Vec<Event<'_>> = events.into_iter().map(|raw| read(raw, form, &subject)).collect();
        assert_eq!(events, [event(), second()], "{name}");
    }
}

#[test]
fn other_names_come_to_the_same_shape() {
    let sentracore = concat!(
        r#"{"source":"powershell-hunt","hostname":"ws-07","ts":"2026-05-08 12:30:00","kind":"process_start","#,
        r#""severity":"Urgent","tags":"[\"encoded\",\"download\"]","fields":{"pid":7},"extra":{"a":1}}"#
    );
    let trace = concat!(
        r#"{"sourceEventId":"pk-1","eventType":"phishing_report","timestamp":"2026-05-08T14:30:00+02:00","#,
        r#""userId":7,"sourceData":{"phishScore":"CONFIRMED_PHISHING","url":"https://example.test/a"}}"#
    );
    let rows = [
        ("sentracore", "powershell-hunt", sentracore, SENTRACORE_ID),
        ("trace", "phishkit", trace, TRACE_ID),
    ];
    for (name, source, sent, id) in rows {
        let sent = golden(&format!("{name}.json"), sent.as_bytes());
        let subject = from(source);
        let event = read(&sent, Form::Json, &subject);
        golden(&format!("{name}.event.json"), &wire::encode(&event, Form::Json).expect("it can be written"));
        assert_eq!(event.id.to_string(), id, "{name}");
    }
}

#[test]
fn a_cloud_event_comes_to_the_same_shape_in_each_of_its_modes() {
    let data = r#"{"hostname":"ws-07","userId":"jdoe","severity":"high","fields":{"till":3}}"#;
    let attributes = [
        ("specversion", "1.0"),
        ("id", "7"),
        ("source", "/shop/eu"),
        ("type", "auth.login_failed"),
        ("time", "2026-05-08T12:30:00Z"),
    ];
    let named: String = attributes.iter().map(|(name, value)| format!(r#""{name}":"{value}","#)).collect();
    let structured = golden("cloudevent.json", format!(r#"{{{named}"data":{data}}}"#).as_bytes());
    let batch = golden("cloudevents.json", &[b"[", &structured[..], b"]"].concat());
    let headers = golden(
        "cloudevent.headers",
        attributes.iter().map(|(name, value)| format!("ce-{name}: {value}\n")).collect::<String>().as_bytes(),
    );
    let headers = String::from_utf8(headers).expect("headers are text");
    let headers = headers.lines().map(|line| line.split_once(": ").expect("a header"));
    let body = golden("cloudevent.body", data.as_bytes());
    let binary = cloudevents::enveloped(headers, None, &body).expect("a CloudEvent");
    let subject = from("shop");
    let in_batch = wire::split(&batch, Form::Json).expect("a frame");
    for raw in [&structured[..], in_batch[0], &binary] {
        let tree = wire::decode(raw, Form::Json).and_then(cloudevents::open).expect("a CloudEvent");
        let profiles = SourceProfiles::with(BTreeMap::new());
        let event = edge::to_event(tree, raw, &subject, at(RECEIVED), &profiles).expect("it is an event");
        assert_eq!(event.id, EventId::from_source_key("acme", "shop", "/shop/eu 7"));
        golden("cloudevent.event.json", &wire::encode(&event, Form::Json).expect("it can be written"));
    }
}

#[test]
fn an_incident_is_the_same_after_every_change() {
    for change in Change::ALL {
        let message = message(change);
        let written = serde_json::to_vec(&message).expect("plain data");
        let bytes = golden(&format!("incident_{}.json", change.as_str()), &written);
        let read: IncidentMessage = serde_json::from_slice(&bytes).expect("an incident message");
        assert_eq!(read, message, "{change:?}");
        assert_eq!(read.incident.id.to_string(), INCIDENT_ID, "{change:?}");
    }
    let next = IncidentId::of("acme", "drop_and_run", "ws-07", at("2026-05-08T12:30:00.000125Z"), 1);
    assert_eq!(next.to_string(), NEXT_INCIDENT_ID);
    let completion =
        EventId::of_completion("acme", "drop_and_run", "ws-07", at("2026-05-08T12:30:00.000125Z"));
    assert_eq!(completion.to_string(), COMPLETION_ID);
}

fn evidence(event: &Event<'_>, step: &str, position: Position) -> Evidence {
    Evidence {
        id: event.id,
        rule: "drop_and_run".to_owned(),
        step: step.to_owned(),
        occurred_at: event.occurred_at,
        position,
        source: event.source.to_string(),
        kind: event.kind.to_string(),
        host_id: event.host_id.as_ref().map(ToString::to_string),
        user: event.user.as_ref().map(ToString::to_string),
        severity: event.severity,
        title: event.title.as_ref().map(ToString::to_string),
        why: vec![Named { name: "kind".to_owned(), value: event.kind.to_string() }],
    }
}

fn message(change: Change) -> IncidentMessage {
    let (first, last) = (event(), second());
    let explain = |step: &str, event: &Event<'_>, values: &[&str]| StepExplain {
        rule: "drop_and_run".to_owned(),
        step: step.to_owned(),
        needed: 1,
        events: 1,
        first_at: event.occurred_at,
        last_at: event.occurred_at,
        values: values.iter().map(ToString::to_string).collect(),
        absent: 0,
        unknown: 0,
        reading: None,
    };
    let mut incident = Incident {
        id: IncidentId::of("acme", "drop_and_run", "ws-07", first.occurred_at, 0),
        version: 1,
        tenant: "acme".to_owned(),
        rule: RuleRef { id: "drop_and_run".to_owned(), version: "0123456789abcdef".to_owned() },
        group: None,
        title: "Downloaded program was run".to_owned(),
        description: "On ws-07".to_owned(),
        severity: Severity::High,
        severity_basis: SeverityBasis::Rule,
        scope: Scope {
            kind: ScopeType::Host,
            key: "ws-07".to_owned(),
            parts: vec![Named { name: "host_id".to_owned(), value: "ws-07".to_owned() }],
        },
        host_id: Some("ws-07".to_owned()),
        status: Status::Open,
        resolution: None,
        first_event_at: first.occurred_at,
        last_event_at: last.occurred_at,
        opened_at: at(RECEIVED),
        updated_at: at(RECEIVED),
        closed_at: None,
        event_count: 2,
        events: vec![
            evidence(&first, "dropped", Position::new(8_811, 0)),
            evidence(&last, "ran", Position::new(8_812, 3)),
        ],
        sources: vec!["edr".to_owned()],
        hosts: vec!["ws-07".to_owned()],
        users: vec!["jörg".to_owned()],
        tags: vec!["execution".to_owned()],
        attack: None,
        suppressed_count: 0,
        previous_incident: None,
        merged_into: None,
        reopen_count: 0,
        explain: vec![explain("dropped", &first, &["aa", "bb"]), explain("ran", &last, &[])],
    };
    let later = at("2026-05-08T13:00:00.250Z");
    let said = |from, to, reason: Option<&str>| StatusChange {
        actor: "jane@example.test".to_owned(),
        from,
        to,
        reason: reason.map(str::to_owned),
    };
    let mut status_change = None;
    match change {
        Change::Opened => {}
        Change::Updated => {
            (incident.version, incident.updated_at, incident.suppressed_count) = (2, later, 3);
        }
        Change::StatusChanged => {
            (incident.version, incident.updated_at) = (3, later);
            (incident.status, incident.resolution) = (Status::Dismissed, Some(Resolution::FalsePositive));
            incident.closed_at = Some(later);
            status_change = Some(said(Status::Open, Status::Dismissed, Some("a test of our own")));
        }
        Change::Reopened => {
            (incident.version, incident.updated_at, incident.reopen_count) = (4, later, 1);
            status_change = Some(said(Status::Dismissed, Status::Open, None));
        }
        Change::Merged => {
            (incident.version, incident.updated_at) = (5, later);
            (incident.status, incident.resolution) = (Status::Resolved, Some(Resolution::Duplicate));
            incident.group = Some("shared_identity".to_owned());
            incident.merged_into =
                Some(IncidentId::of("acme", "drop_and_run", "ws-06", first.occurred_at, 0));
            incident.previous_incident =
                Some(IncidentId::of("acme", "drop_and_run", "ws-07", at(RECEIVED), 0));
        }
    }
    IncidentMessage { v: 1, change, cause: Position::new(8_812, 3), status_change, incident }
}

#[test]
fn a_coverage_gap_names_what_is_missing() {
    let gap = CoverageGap {
        v: 1,
        first_missing: 41,
        last_missing: 57,
        reason: "expired before it was read".to_owned(),
    };
    let bytes = golden("coverage_gap.json", &serde_json::to_vec(&gap).expect("plain data"));
    assert_eq!(serde_json::from_slice::<CoverageGap>(&bytes).expect("a gap"), gap);
}

#[test]
fn a_command_is_read_and_written() {
    let command = IncidentCommand {
        incident: IncidentId::parse(INCIDENT_ID).expect("an id"),
        status: "dismissed".to_owned(),
        resolution: Some(Resolution::FalsePositive),
        actor: "jane@example.test".to_owned(),
        reason: Some("a test of our own".to_owned()),
    };
    let bytes = golden("incident_command.json", &serde_json::to_vec(&command).expect("plain data"));
    assert_eq!(serde_json::from_slice::<IncidentCommand>(&bytes).expect("a command"), command);
}

#[test]
fn rules_travel_with_their_settings() {
    let own = SourceProfile { require: vec!["host_id".to_owned()], ..SourceProfile::default() };
    let settings = EngineSettings {
        sources: SourceProfiles::with(BTreeMap::from([("edr".to_owned(), own)])),
        ..EngineSettings::default()
    };
    let file = RuleFile { name: "demo.yaml".to_owned(), text: "rules:\n  - id: \"a\"\n".to_owned() };
    let rules = RulesMessage { files: vec![file], settings, ..RulesMessage::default() };
    let bytes = golden("rules.json", &serde_json::to_vec(&rules).expect("plain data"));
    assert_eq!(serde_json::from_slice::<RulesMessage>(&bytes).expect("a rules message"), rules);
}

#[test]
fn a_dead_letter_says_why_in_its_headers() {
    let reject = Reject::new(Reason::BadTime, "`ts`: cannot read time \"soon\"\nand more");
    let body = br#"{"ts":"soon"}"#;
    let subject = "events.acme.powershell-hunt";
    let letter = DeadLetter::new(subject, Position::new(8_813, 2), &reject, Some("application/json"), body);
    assert_eq!(letter.destination(), "deadletter.acme.powershell-hunt");
    let headers = letter.headers("EVENTS@2026-05-08T12:00:00Z");
    let lines: String = headers.iter().map(|(name, value)| format!("{name}: {value}\n")).collect();
    golden("dead_letter.headers", lines.as_bytes());
    golden("dead_letter.body", &letter.body);
}

/// A tick is a message without a body: the time is the server's.
#[test]
fn a_tick_is_empty() {
    golden("tick", b"");
}
