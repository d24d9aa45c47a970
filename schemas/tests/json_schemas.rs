//! `schemas/json/` says what the Rust types say, and what is on the wire keeps to it.
//!
//! `UPDATE=1 cargo test -p sightline-schemas` writes the schemas anew.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sightline_schemas::schema::documents;
use sightline_schemas::source::SourceProfiles;
use sightline_schemas::subject::EventSubject;
use sightline_schemas::wire::{self, Form};
use sightline_schemas::{EventTime, edge};

fn place(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

#[test]
fn the_schemas_on_disk_are_those_of_the_types() {
    let mut expected = BTreeSet::new();
    for (name, schema) in documents() {
        let path = place(&format!("json/{name}.json"));
        let text = serde_json::to_string_pretty(&schema).expect("a schema is plain data") + "\n";
        if std::env::var_os("UPDATE").is_some_and(|update| update == "1") {
            fs::write(&path, &text).expect("the schemas can be written");
        }
        let on_disk = fs::read_to_string(&path).unwrap_or_default();
        let same = serde_json::from_str::<Value>(&on_disk).is_ok_and(|on_disk| on_disk == schema);
        assert!(
            same,
            "{} is out of date: run `UPDATE=1 cargo test -p sightline-schemas`, and see in the difference whether \
             those who read it can go on reading (schemas/README.md, Compatibility)",
            path.display()
        );
        expected.insert(format!("{name}.json"));
    }
    let files = fs::read_dir(place("json")).expect("a directory");
    let on_disk: BTreeSet<String> =
        files.map(|file| file.expect("a file").file_name().to_string_lossy().into_owned()).collect();
    assert_eq!(on_disk, expected, "a schema of nothing, or none of something");
}

#[test]
fn what_is_on_the_wire_keeps_to_its_schema() {
    let events = ["event.json", "sentracore.json", "trace.json", "sentracore.event.json", "trace.event.json"];
    let incidents = ["opened", "updated", "status_changed", "reopened", "merged"];
    for name in events {
        holds("event", &golden(name), true);
    }
    for event in golden("frame.json").as_array().expect("a frame is a list") {
        holds("event", event, true);
    }
    holds("frame", &golden("frame.json"), true);
    holds("frame", &json!([{ "v": 2 }]), false);
    holds("replay_end", &json!({ "v": 1, "replay": "x", "total": 2_500, "complete": true }), true);
    for change in incidents {
        holds("incident", &golden(&format!("incident_{change}.json")), true);
    }
    holds("coverage_gap", &golden("coverage_gap.json"), true);
    holds("incident_command", &golden("incident_command.json"), true);
    holds("rules", &golden("rules.json"), true);
    let headers = fs::read_to_string(place("golden/dead_letter.headers")).expect("golden headers");
    let headers: serde_json::Map<String, Value> = headers
        .lines()
        .map(|line| line.split_once(": ").expect("a header"))
        .map(|(name, value)| (name.to_owned(), json!(value)))
        .collect();
    holds("dead_letter_headers", &Value::Object(headers), true);
}

#[test]
fn what_the_schema_of_events_refuses_the_edge_refuses_and_the_other_way_round() {
    let rows = [
        (json!({}), true),
        (json!({ "v": 1, "anything": [1] }), true),
        (json!({ "v": 2 }), false),
        (json!({ "host_id": 7, "user": true, "severity": "odd", "title": null }), true),
        (json!({ "host_id": ["a"] }), false),
        (json!({ "severity": {} }), false),
        (json!({ "class": "finding" }), true),
        (json!({ "class": "Finding" }), false),
        (json!({ "occurred_at": 1_715_171_400 }), false),
        (json!({ "tags": "one" }), true),
        (json!({ "tags": ["one", 2] }), true),
        (json!({ "tags": [["one"]] }), false),
        (json!({ "fields": [] }), false),
        (json!({ "device": { "hostname": "a" } }), true),
        (json!({ "device": "a" }), false),
        (json!({ "entities": [{ "type": "ip", "value": "192.0.2.1", "more": {} }] }), true),
        (json!({ "entities": [{ "type": "ip" }] }), false),
        (json!({ "entities": [{ "type": "ip", "value": "", "role": "x" }] }), false),
        (json!({ "entities": {} }), false),
        (json!({ "source": "other" }), true),
        (json!([]), false),
    ];
    for (event, fine) in rows {
        holds("event", &event, fine);
        let raw = event.to_string();
        let subject = EventSubject { tenant: "default".to_owned(), source: "other".to_owned() };
        let taken = wire::decode(raw.as_bytes(), Form::Json).and_then(|tree| {
            let received_at = EventTime::from_micros(1);
            edge::to_event(tree, raw.as_bytes(), &subject, received_at, &SourceProfiles::default())
                .map(|_| ())
        });
        assert_eq!(taken.is_ok(), fine, "{raw}: {taken:?}");
    }
}

#[test]
fn a_command_with_a_misspelt_field_is_none() {
    let mut command = golden("incident_command.json");
    command["resoluton"] = json!("fixed");
    holds("incident_command", &command, false);
    holds("incident_command", &json!({ "incident": "xyz", "status": "open", "actor": "a" }), false);
}

fn golden(name: &str) -> Value {
    let text = fs::read_to_string(place(&format!("golden/{name}"))).expect("a golden file");
    serde_json::from_str(&text).expect("a golden file of JSON")
}

#[track_caller]
fn holds(schema: &str, value: &Value, expected: bool) {
    let (_, root) = documents().into_iter().find(|(name, _)| *name == schema).expect("a schema of that name");
    let told = against(&root, &root, value);
    assert_eq!(told.is_ok(), expected, "{schema}: {told:?}: {value}");
}

/// Whether a value keeps to a schema, for the part of JSON Schema that ours use; anything else in a schema is a panic, so
/// that nothing goes unchecked in silence.
fn against(root: &Value, schema: &Value, value: &Value) -> Result<(), String> {
    let Some(keywords) = schema.as_object() else {
        return if schema == &json!(true) { Ok(()) } else { Err("nothing is allowed here".to_owned()) };
    };
    for (keyword, argument) in keywords {
        keeps(root, schema, keyword, argument, value).map_err(|why| format!("{keyword}: {why}"))?;
    }
    Ok(())
}

fn keeps(root: &Value, schema: &Value, keyword: &str, argument: &Value, value: &Value) -> Result<(), String> {
    let fails = |fails: bool| if fails { Err(format!("{value} is not {argument}")) } else { Ok(()) };
    let list = || argument.as_array().expect("a list");
    match keyword {
        "$schema" | "$defs" | "title" | "description" | "examples" | "default" => Ok(()),
        // Formats of numbers are the widths of Rust's types; `date-time` is what we write.
        "format" => match (argument.as_str(), value.as_str()) {
            (Some("date-time"), Some(text)) => fails(EventTime::parse(text).is_err() || !text.contains('T')),
            _ => Ok(()),
        },
        "type" => {
            let is = |name: &Value| match name.as_str().expect("a name") {
                "null" => value.is_null(),
                "boolean" => value.is_boolean(),
                "integer" => value.is_i64() || value.is_u64(),
                "number" => value.is_number(),
                "string" => value.is_string(),
                "array" => value.is_array(),
                "object" => value.is_object(),
                other => panic!("type {other}"),
            };
            fails(!if argument.is_array() { list().iter().any(is) } else { is(argument) })
        }
        "const" => fails(value != argument),
        "enum" => fails(!list().contains(value)),
        "minimum" => fails(value.as_f64() < argument.as_f64() && value.is_number()),
        "maximum" => fails(value.as_f64() > argument.as_f64()),
        "minLength" => {
            fails(value.as_str().is_some_and(|text| (text.len() as u64) < argument.as_u64().unwrap_or(0)))
        }
        "pattern" => fails(value.as_str().is_some_and(|text| !matches_pattern(argument, text))),
        "required" => fails(value.as_object().is_some_and(|members| {
            list().iter().any(|name| !members.contains_key(name.as_str().expect("a name")))
        })),
        "properties" => value.as_object().into_iter().flatten().try_for_each(|(name, member)| {
            let Some(property) = argument.get(name) else { return Ok(()) };
            against(root, property, member).map_err(|why| format!("{name}: {why}"))
        }),
        "additionalProperties" => value.as_object().into_iter().flatten().try_for_each(|(name, member)| {
            let known = schema.get("properties").is_some_and(|properties| properties.get(name).is_some());
            if known {
                Ok(())
            } else {
                against(root, argument, member).map_err(|why| format!("{name}: {why}"))
            }
        }),
        "maxItems" => {
            fails(value.as_array().is_some_and(|items| (items.len() as u64) > argument.as_u64().unwrap_or(0)))
        }
        "items" => value.as_array().into_iter().flatten().try_for_each(|item| against(root, argument, item)),
        "anyOf" => fails(!list().iter().any(|one| against(root, one, value).is_ok())),
        "oneOf" => fails(list().iter().filter(|one| against(root, one, value).is_ok()).count() != 1),
        "$ref" => {
            let path =
                argument.as_str().and_then(|path| path.strip_prefix('#')).expect("a place in this schema");
            against(root, root.pointer(path).expect("a definition"), value)
        }
        other => panic!("{other}: not a keyword that this test understands"),
    }
}

fn matches_pattern(pattern: &Value, text: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match pattern.as_str() {
        Some("^[0-9a-f]{32}$") => {
            text.len() == 32 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        }
        Some(r"^[0-9]+\.[0-9]+(\.[0-9]+)?$") => {
            let parts: Vec<&str> = text.split('.').collect();
            (2..=3).contains(&parts.len()) && parts.into_iter().all(digits)
        }
        _ => panic!("{pattern}: not a pattern that this test understands"),
    }
}
