//! The JSON Schemas of everything that travels, made from the Rust types. They are kept in `schemas/json/`.

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema};
use serde_json::{Map, Value as Json, json};

use crate::control::{IncidentCommand, RulesMessage};
use crate::event::Event;
use crate::incident::{CoverageGap, IncidentMessage};
use crate::reject::Reason;
use crate::subject::{
    HEADER_CONTENT_TYPE, HEADER_DETAIL, HEADER_LOG, HEADER_PART, HEADER_POSITION, HEADER_REASON,
    HEADER_SUBJECT,
};
use crate::wire::FRAME_EVENTS_MAX;

/// The schemas by name: `event` and `frame` are what a producer may send, the others are messages as they are written.
pub fn documents() -> [(&'static str, Json); 8] {
    [
        ("event", event()),
        ("frame", frame()),
        ("incident", written::<IncidentMessage>()),
        ("coverage_gap", written::<CoverageGap>()),
        ("incident_command", read::<IncidentCommand>()),
        ("rules", written::<RulesMessage>()),
        ("dead_letter_headers", dead_letter_headers()),
        ("replay_end", replay_end()),
    ]
}

/// What we write: fields that we may leave out are not required.
fn written<T: JsonSchema>() -> Json {
    SchemaSettings::draft2020_12().for_serialize().into_generator().into_root_schema_for::<T>().to_value()
}

/// What we read.
fn read<T: JsonSchema>() -> Json {
    SchemaSettings::draft2020_12().for_deserialize().into_generator().into_root_schema_for::<T>().to_value()
}

/// Text, and what the edge takes for text. Null is as good as absent.
const TEXT: [&str; 4] = ["string", "number", "boolean", "null"];
/// As [`TEXT`], where there must be something.
const TEXT_NOT_NULL: [&str; 3] = ["string", "number", "boolean"];

/// [`Event`] as the edge takes it: nothing is required of every source, what we set ourselves is not asked for, and the
/// edge is generous with types. Other names for these fields are in `schemas/README.md`.
fn event() -> Json {
    let mut schema = written::<Event<'static>>();
    let entity = schema["$defs"]["Entity"].take();
    let class = schema["$defs"]["Class"].take();
    let properties = members(&mut schema, "properties");
    for ours in ["received_at", "time_source", "severity_raw"] {
        properties.remove(ours);
    }
    for (name, property) in properties.iter_mut() {
        let description = property["description"].take();
        let mut taken = match name.as_str() {
            "v" => json!({ "enum": [1, null] }),
            "tenant" | "source" => json!({ "type": ["string", "null"] }),
            "occurred_at" | "observed_at" => {
                json!({ "type": ["string", "null"], "examples": ["2026-05-08T12:30:00.120Z", "2026-05-08 12:30:00"] })
            }
            "severity" => {
                json!({ "type": TEXT, "examples": ["info", "informational", "low", "medium", "high", "critical"] })
            }
            "class" => json!({ "anyOf": [{ "$ref": "#/$defs/Class" }, { "type": "null" }] }),
            "entities" => json!({ "type": ["array", "null"], "items": { "$ref": "#/$defs/Entity" } }),
            "tags" => json!({ "type": ["array", "string", "null"], "items": { "type": TEXT_NOT_NULL } }),
            "actor" | "subject" | "object" | "network" | "device" | "fields" | "attack" | "refs"
            | "producer" => {
                json!({ "type": ["object", "null"] })
            }
            _ => json!({ "type": TEXT }),
        };
        taken["description"] = description;
        *property = taken;
    }
    let schema_of_schemas = schema["$schema"].take();
    json!({
        "$schema": schema_of_schemas,
        "title": "Event",
        "description": "One security event, as a producer may send it. Other names for these fields are in \
                        schemas/README.md. Names that are neither are kept, in `fields`.",
        "type": "object",
        "properties": schema["properties"].take(),
        "$defs": { "Class": class, "Entity": offered_entity(entity) },
    })
}

/// A list of events: a frame as JSON or MessagePack. As NDJSON, each line is an event.
fn frame() -> Json {
    let mut event = event();
    let schema_of_schemas = event["$schema"].take();
    let mut definitions = event["$defs"].take();
    members_of(&mut event).retain(|name, _| name != "$schema" && name != "$defs");
    definitions["Event"] = event;
    json!({
        "$schema": schema_of_schemas,
        "title": "Frame",
        "description": "Many events of the source that the subject names, in one message.",
        "type": "array",
        "items": { "$ref": "#/$defs/Event" },
        "maxItems": FRAME_EVENTS_MAX,
        "$defs": definitions,
    })
}

/// What a replay says at its end.
fn replay_end() -> Json {
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "ReplayEnd",
        "description": "A replay is over.",
        "type": "object",
        "properties": {
            "v": { "const": 1, "description": "Version of this shape." },
            "replay": { "type": "string", "description": "Which run: the header `Sightline-Replay` of its messages." },
            "total": { "type": "integer", "minimum": 0, "description": "How many events were published." },
            "complete": { "type": "boolean", "description": "Whether these are all that were asked for." },
        },
        "required": ["v", "replay", "total", "complete"],
    })
}

fn offered_entity(mut entity: Json) -> Json {
    for (_, property) in members(&mut entity, "properties").iter_mut() {
        property["type"] = json!(TEXT_NOT_NULL);
    }
    for needed in ["type", "value"] {
        entity["properties"][needed]["minLength"] = json!(1);
    }
    entity
}

fn members<'j>(schema: &'j mut Json, name: &str) -> &'j mut Map<String, Json> {
    members_of(&mut schema[name])
}

fn members_of(schema: &mut Json) -> &mut Map<String, Json> {
    schema.as_object_mut().expect("a schema is an object, and that of a struct names its properties")
}

/// The headers of a dead letter, as if they were the members of an object. Its body is the input as it came.
fn dead_letter_headers() -> Json {
    let reason = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<Reason>();
    let described = |text: &str| json!({ "type": "string", "description": text });
    let position = json!({
        "type": "string",
        "pattern": r"^[0-9]+\.[0-9]+(\.[0-9]+)?$",
        "description": "Where the input stands: sequence and index in its frame, and the ordinal of this output there.",
    });
    json!({
        "$schema": Schema::to_value(reason.clone())["$schema"],
        "title": "DeadLetterHeaders",
        "description": "The headers of a message on `deadletter.>`. Its body is the input as it came.",
        "type": "object",
        "properties": {
            HEADER_REASON: { "description": "Why it is a dead letter: a closed list.", "oneOf": reason.to_value()["oneOf"] },
            HEADER_DETAIL: described("Why, in one line for people: what is wrong and what to mend."),
            HEADER_POSITION: position,
            HEADER_LOG: described("Which input log that position is in."),
            HEADER_SUBJECT: described("The subject that the input came on."),
            HEADER_CONTENT_TYPE: described("The input's own, if it had one."),
            HEADER_PART: described("Which part of the input this body is, such as `2/3`, where it is too large for one message."),
        },
        "required": [HEADER_REASON, HEADER_DETAIL, HEADER_POSITION, HEADER_LOG, HEADER_SUBJECT],
    })
}
