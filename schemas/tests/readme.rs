//! `schemas/README.md` is what other programs are written by: it must say what the code does.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::{Value as Json, json};
use sightline_schemas::edge::{self, Reason, SKEW_MAX_MICROS};
use sightline_schemas::source::SourceProfiles;
use sightline_schemas::subject::{self, EventSubject};
use sightline_schemas::value::{DEPTH_MAX, VALUES_MAX};
use sightline_schemas::wire::{self, EVENT_BYTES_MAX, FRAME_EVENTS_MAX, Form};
use sightline_schemas::{Change, EventTime, Severity, Status, schema};

fn readme() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    fs::read_to_string(path).expect("schemas/README.md")
}

/// The words in backticks of each row of the table under `heading`, by column.
fn table(readme: &str, heading: &str) -> Vec<Vec<Vec<String>>> {
    let after = readme.split(&format!("\n{heading}\n")).nth(1).expect("the heading");
    let rows = after.lines().skip_while(|line| !line.starts_with("|---")).skip(1);
    rows.take_while(|line| line.starts_with('|'))
        .map(|line| {
            let cells = line.trim_matches('|').split('|');
            cells.map(|cell| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()).collect()
        })
        .collect()
}

/// A value that the field can have, and that is no other field's.
fn sample(field: &str) -> Json {
    match field {
        "v" => json!(1),
        "tenant" => json!("acme"),
        "source" => json!("edr"),
        "class" => json!("finding"),
        "severity" => json!("critical"),
        "occurred_at" | "observed_at" => json!("2026-05-08T12:00:00Z"),
        "actor" | "subject" | "object" | "network" | "device" | "attack" | "refs" | "producer" | "fields" => {
            json!({ "of": field })
        }
        "entities" => json!([{ "type": "ip", "value": "192.0.2.1" }]),
        "tags" => json!(["one"]),
        text => json!(format!("some {text}")),
    }
}

/// The event that has this value under this name, as we write it.
fn taken(name: &str, value: Json) -> Json {
    let mut members = json!({ name: value });
    // Otherwise it would be when it happened.
    if name == "observed_at" {
        members["occurred_at"] = sample("occurred_at");
    }
    let raw = members.to_string();
    let subject = EventSubject { tenant: "acme".to_owned(), source: "edr".to_owned() };
    let tree = wire::decode(raw.as_bytes(), Form::Json).expect("it decodes");
    let received_at = EventTime::parse("2026-05-08T13:00:00Z").expect("a time");
    let event = edge::to_event(tree, raw.as_bytes(), &subject, received_at, &SourceProfiles::default());
    let event = event.unwrap_or_else(|reject| panic!("{raw}: {reject}"));
    serde_json::to_value(event).expect("an event is plain data")
}

#[test]
fn each_other_name_means_its_field() {
    let readme = readme();
    let mut listed = BTreeSet::new();
    for row in table(&readme, "## An event") {
        let field = &row[0][0];
        listed.insert(field.clone());
        let said = taken(field, sample(field));
        for name in &row[1] {
            let mut said_otherwise = taken(name, sample(field));
            // It is made of the bytes, in which the name stands.
            said_otherwise["id"] = said["id"].clone();
            assert_eq!(said_otherwise, said, "`{name}` is not `{field}`");
        }
        if field != "fields" && field != "id" {
            assert_eq!(said["fields"], json!({}), "`{field}` is no field of an event");
            assert_eq!(said[field], sample(field), "{field}");
        }
    }
    let schema = schema::documents().into_iter().find(|(name, _)| *name == "event").expect("its schema").1;
    let fields: BTreeSet<String> =
        schema["properties"].as_object().expect("properties").keys().cloned().collect();
    assert_eq!(listed, fields, "the fields in the table, and those of the schema");
}

#[test]
fn a_name_that_the_table_does_not_have_is_kept_as_it_is() {
    for name in ["EventType", "time", "host", "username", "severity_label", "data"] {
        assert_eq!(taken(name, json!("x"))["fields"], json!({ name: "x" }), "{name}");
    }
}

#[test]
fn every_reason_has_its_row() {
    let rows = table(&readme(), "## Dead letters");
    let listed: Vec<&str> = rows.iter().map(|row| &*row[0][0]).collect();
    assert_eq!(listed, Reason::ALL.map(Reason::as_str));
}

#[test]
fn headers_subjects_and_words_are_named() {
    let readme = readme();
    let headers = table(&readme, "## Headers");
    let headers: BTreeSet<&str> = headers.iter().map(|row| &*row[0][0]).collect();
    let expected = [
        subject::HEADER_CONTENT_TYPE,
        subject::HEADER_CONTENT_ENCODING,
        "Nats-Msg-Id",
        subject::HEADER_POSITION,
        subject::HEADER_REPLAY,
        subject::HEADER_BLAKE3,
        subject::HEADER_LOG,
        subject::HEADER_REASON,
        subject::HEADER_DETAIL,
        subject::HEADER_SUBJECT,
        subject::HEADER_PART,
    ];
    assert_eq!(headers, BTreeSet::from(expected));
    let words = [subject::EVENTS_STREAM, subject::INCIDENTS_STREAM, subject::DEADLETTER_STREAM]
        .into_iter()
        .chain([subject::CONTROL_RULES, subject::CONTROL_TICK])
        .chain(Change::ALL.map(Change::as_str))
        .chain(Status::ALL.map(Status::as_str))
        .chain(Severity::ALL.map(Severity::as_str));
    for word in words {
        assert!(readme.contains(&format!("`{word}`")), "{word}");
    }
    for row in table(&readme, "## Forms") {
        for content_type in &row[0] {
            assert!(Form::of(Some(content_type)).is_ok(), "{content_type}");
        }
    }
}

#[test]
fn limits_are_those_of_the_code() {
    let readme = readme();
    let grouped = |number: usize| {
        let digits = number.to_string();
        let groups: Vec<&str> =
            digits.as_bytes().rchunks(3).rev().map(|group| str::from_utf8(group).expect("digits")).collect();
        groups.join(",")
    };
    for limit in [EVENT_BYTES_MAX, FRAME_EVENTS_MAX, DEPTH_MAX, VALUES_MAX] {
        assert!(readme.contains(&grouped(limit)), "{}", grouped(limit));
    }
    assert!(readme.contains(&format!("More than {} s after", SKEW_MAX_MICROS / 1_000_000)));
}
