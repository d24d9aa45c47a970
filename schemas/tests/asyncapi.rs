//! `schemas/asyncapi.json` says what the code says, and everything in it points at something.
//!
//! `UPDATE=1 cargo test -p sightline-schemas` writes it anew.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use sightline_schemas::asyncapi::document;
use sightline_schemas::subject::{
    self, CONTROL_RULES, CONTROL_TICK, DEADLETTER_SUBJECTS, EVENTS_SUBJECTS, EVIDENCE_SUBJECTS, EventSubject,
    INCIDENTS_SUBJECTS, REPLAY_END,
};
use sightline_schemas::{Severity, schema};

fn place(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Every `$ref` in a document.
fn references<'v>(value: &'v Value, found: &mut Vec<&'v str>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        Value::Object(members) => {
            found.extend(members.get("$ref").and_then(Value::as_str));
            members.values().for_each(|value| references(value, found));
        }
        _ => {}
    }
}

#[test]
fn the_document_on_disk_is_that_of_the_code() {
    let text = serde_json::to_string_pretty(&document()).expect("plain data") + "\n";
    let path = place("asyncapi.json");
    if std::env::var_os("UPDATE").is_some_and(|update| update == "1") {
        fs::write(&path, &text).expect("it can be written");
    }
    let on_disk = fs::read_to_string(&path).unwrap_or_default();
    assert!(on_disk == text, "asyncapi.json is out of date: run `UPDATE=1 cargo test -p sightline-schemas`");
}

#[test]
fn every_reference_leads_somewhere() {
    let document = document();
    let mut found = Vec::new();
    references(&document, &mut found);
    assert!(found.len() > 20, "{found:?}");
    for reference in found {
        match reference.strip_prefix('#') {
            Some(pointer) => assert!(document.pointer(pointer).is_some(), "{reference}"),
            None => assert!(place(reference).is_file(), "{reference}"),
        }
    }
}

#[test]
fn every_schema_is_that_of_some_message() {
    let document = document();
    let mut found = Vec::new();
    references(&document, &mut found);
    for (name, _) in schema::documents() {
        assert!(
            found.contains(&format!("./json/{name}.json").as_str()),
            "{name}: no message has this schema"
        );
    }
}

#[test]
fn parameters_are_those_of_the_addresses_and_operations_belong_to_their_channels() {
    let document = document();
    for (name, channel) in document["channels"].as_object().expect("channels") {
        let address = channel["address"].as_str().expect("an address");
        let in_address: BTreeSet<&str> = address
            .split('.')
            .filter_map(|token| token.strip_prefix('{').and_then(|token| token.strip_suffix('}')))
            .collect();
        let declared: BTreeSet<&str> =
            channel["parameters"].as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect();
        assert_eq!(in_address, declared, "{name}");
        assert!(channel["messages"].as_object().is_some_and(|messages| !messages.is_empty()), "{name}");
    }
    for (name, operation) in document["operations"].as_object().expect("operations") {
        assert!(matches!(operation["action"].as_str(), Some("send" | "receive")), "{name}");
        let channel = operation["channel"]["$ref"].as_str().expect("a channel");
        for message in operation["messages"].as_array().expect("messages") {
            let of = message["$ref"].as_str().expect("a reference");
            assert!(of.starts_with(&format!("{channel}/messages/")), "{name}: {of} is not of {channel}");
        }
    }
}

/// What the code publishes on is an address of the document, and every stream has one at least.
#[test]
fn the_subjects_of_the_code_are_in_it() {
    let document = document();
    let channels = document["channels"].as_object().expect("channels");
    let addresses: Vec<&str> =
        channels.values().map(|channel| channel["address"].as_str().expect("an address")).collect();
    let fits = |address: &str, subject: &str| {
        let (address, subject): (Vec<&str>, Vec<&str>) =
            (address.split('.').collect(), subject.split('.').collect());
        address.len() == subject.len()
            && address.iter().zip(&subject).all(|(token, of)| token.starts_with('{') || token == of)
    };
    let event = EventSubject { tenant: "acme".to_owned(), source: "a.b".to_owned() }.subject();
    let subjects = [
        event.clone(),
        subject::deadletter(&event),
        subject::incident("acme", Severity::High, "a rule"),
        subject::incident_command("acme"),
        subject::evidence("acme", "edr"),
        subject::replay("acme", "edr"),
        CONTROL_RULES.to_owned(),
        CONTROL_TICK.to_owned(),
        REPLAY_END.to_owned(),
    ];
    for subject in subjects {
        assert!(addresses.iter().any(|address| fits(address, &subject)), "{subject}");
    }
    for stream in EVENTS_SUBJECTS
        .iter()
        .chain(&INCIDENTS_SUBJECTS)
        .chain(&DEADLETTER_SUBJECTS)
        .chain(&EVIDENCE_SUBJECTS)
    {
        let prefix = stream.trim_end_matches('>');
        assert!(addresses.iter().any(|address| address.starts_with(prefix)), "{stream}");
    }
}
