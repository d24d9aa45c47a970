//! The AsyncAPI 3 document: every subject, who writes on it and what. Made from the same constants as the code that
//! publishes. It is kept in `schemas/asyncapi.json`.

use serde_json::{Map, Value as Json, json};

use crate::subject::{
    CONTROL_RULES, CONTROL_TICK, HEADER_BLAKE3, HEADER_CONTENT_ENCODING, HEADER_CONTENT_TYPE, HEADER_LOG,
    HEADER_POSITION, HEADER_REPLAY, REPLAY_END,
};

/// One kind of message on one kind of subject.
struct Channel {
    name: &'static str,
    address: String,
    summary: &'static str,
    /// What the worker does with it.
    action: Action,
    message: Message,
}

enum Action {
    /// The worker reads it.
    Receive,
    /// The worker writes it.
    Send,
    /// Others write it and read it.
    Neither,
}

struct Message {
    name: &'static str,
    title: &'static str,
    content_type: &'static str,
    /// The schema of the body; `None` where it may be anything.
    payload: Option<Json>,
    /// Headers by name, with what they say.
    headers: Vec<(&'static str, &'static str)>,
    /// The schema of the headers, where there is one.
    headers_schema: Option<Json>,
}

fn file(name: &str) -> Option<Json> {
    Some(json!({ "$ref": format!("./json/{name}.json") }))
}

const MSG_ID: (&str, &str) = (
    "Nats-Msg-Id",
    "The same for the same message: the server drops a second one inside its duplicate window.",
);
const POSITION: (&str, &str) =
    (HEADER_POSITION, "Where the input stands that brought it about: seq.index.ordinal.");
const LOG: (&str, &str) = (HEADER_LOG, "Which input log that position is in.");

fn channels() -> Vec<Channel> {
    let incident_headers = || vec![POSITION, LOG];
    vec![
        Channel {
            name: "events",
            address: "events.{tenant}.{source}".to_owned(),
            summary: "An event of a source, or a frame of many. Stream EVENTS.",
            action: Action::Receive,
            message: Message {
                name: "event",
                title: "An event, or a frame of many",
                content_type: "application/json",
                payload: Some(
                    json!({ "oneOf": [{ "$ref": "./json/event.json" }, { "$ref": "./json/frame.json" }] }),
                ),
                headers: vec![
                    (
                        HEADER_CONTENT_TYPE,
                        "How the body is written: JSON where there is none, NDJSON, MessagePack, or a CloudEvent.",
                    ),
                    (HEADER_CONTENT_ENCODING, "zstd, or none."),
                    MSG_ID,
                    ("traceparent", "Where it stands in a distributed trace, as W3C Trace Context says it."),
                    (HEADER_REPLAY, "Which run of a replay it belongs to, if it is one."),
                ],
                headers_schema: None,
            },
        },
        Channel {
            name: "incidentCommands",
            address: "control.{tenant}.incident".to_owned(),
            summary: "Sets the status of an incident. Stream EVENTS.",
            action: Action::Receive,
            message: Message {
                name: "incidentCommand",
                title: "The status of an incident",
                content_type: "application/json",
                payload: file("incident_command"),
                headers: vec![MSG_ID],
                headers_schema: None,
            },
        },
        Channel {
            name: "rules",
            address: CONTROL_RULES.to_owned(),
            summary: "Rules and settings in force from here on. Stream EVENTS; the worker alone writes here.",
            action: Action::Send,
            message: Message {
                name: "rules",
                title: "Rules and settings",
                content_type: "application/json",
                payload: file("rules"),
                headers: vec![(HEADER_CONTENT_ENCODING, "zstd, or none.")],
                headers_schema: None,
            },
        },
        Channel {
            name: "ticks",
            address: CONTROL_TICK.to_owned(),
            summary: "Time, when no events flow; the time is the server's. Stream EVENTS; the worker alone writes here.",
            action: Action::Send,
            message: Message {
                name: "tick",
                title: "A tick without a body",
                content_type: "application/octet-stream",
                payload: None,
                headers: Vec::new(),
                headers_schema: None,
            },
        },
        Channel {
            name: "incidents",
            address: "incidents.{tenant}.{severity}.{rule}".to_owned(),
            summary: "One version of an incident, whole. Stream INCIDENTS.",
            action: Action::Send,
            message: Message {
                name: "incident",
                title: "An incident after a change",
                content_type: "application/json",
                payload: file("incident"),
                headers: incident_headers(),
                headers_schema: None,
            },
        },
        Channel {
            name: "coverageGaps",
            address: "incidents._sightline.coverage_gap".to_owned(),
            summary: "A stretch of input that was never seen. Stream INCIDENTS.",
            action: Action::Send,
            message: Message {
                name: "coverageGap",
                title: "A gap in the input",
                content_type: "application/json",
                payload: file("coverage_gap"),
                headers: incident_headers(),
                headers_schema: None,
            },
        },
        Channel {
            name: "deadLetters",
            address: "deadletter.{tenant}.{source}".to_owned(),
            summary: "What could not be read, as it came. Stream DEADLETTER.",
            action: Action::Send,
            message: Message {
                name: "deadLetter",
                title: "Input that could not be read",
                content_type: "application/octet-stream",
                payload: None,
                headers: Vec::new(),
                headers_schema: file("dead_letter_headers"),
            },
        },
        Channel {
            name: "evidence",
            address: "evidence.{tenant}.{source}".to_owned(),
            summary: "Raw evidence, as it came; events point to it. Stream EVIDENCE.",
            action: Action::Neither,
            message: Message {
                name: "evidence",
                title: "What a source sent, as it came",
                content_type: "application/octet-stream",
                payload: None,
                headers: vec![
                    (HEADER_CONTENT_TYPE, "The source's own, if it gave one."),
                    (HEADER_BLAKE3, "The BLAKE3 of the bytes, in hexadecimal."),
                    MSG_ID,
                ],
                headers_schema: None,
            },
        },
        Channel {
            name: "replay",
            address: "replay.{tenant}.{source}".to_owned(),
            summary: "An event that was recorded, as it came, for whoever subscribes. No stream.",
            action: Action::Neither,
            message: Message {
                name: "replayedEvent",
                title: "A recorded event",
                content_type: "application/json",
                payload: file("event"),
                headers: vec![(HEADER_REPLAY, "Which run of a replay it belongs to."), POSITION],
                headers_schema: None,
            },
        },
        Channel {
            name: "replayEnd",
            address: REPLAY_END.to_owned(),
            summary: "A replay is over. No stream.",
            action: Action::Neither,
            message: Message {
                name: "replayEnd",
                title: "The end of a replay",
                content_type: "application/json",
                payload: file("replay_end"),
                headers: vec![(HEADER_REPLAY, "Which run of a replay it is.")],
                headers_schema: None,
            },
        },
    ]
}

fn parameters(address: &str) -> Option<Json> {
    let described = |name: &str| match name {
        "tenant" => {
            "Whose it is. Letters, digits, - and _ stand for themselves, every other byte is written =XX."
        }
        "source" => "Who reports it, written as the tenant is.",
        "rule" => "The id of the rule, written as the tenant is.",
        _ => "How bad it is.",
    };
    let mut parameters = Map::new();
    for token in address.split('.') {
        let Some(name) = token.strip_prefix('{').and_then(|token| token.strip_suffix('}')) else { continue };
        let mut parameter = json!({ "description": described(name) });
        if name == "severity" {
            parameter["enum"] = json!(crate::Severity::ALL.map(crate::Severity::as_str));
        }
        parameters.insert(name.to_owned(), parameter);
    }
    (!parameters.is_empty()).then_some(Json::Object(parameters))
}

fn message(message: &Message) -> Json {
    let mut written =
        json!({ "name": message.name, "title": message.title, "contentType": message.content_type });
    if let Some(payload) = &message.payload {
        written["payload"] = payload.clone();
    }
    if let Some(headers) = &message.headers_schema {
        written["headers"] = headers.clone();
    } else if !message.headers.is_empty() {
        let described = |(name, text): &(&str, &str)| {
            ((*name).to_owned(), json!({ "type": "string", "description": text }))
        };
        let properties: Map<String, Json> = message.headers.iter().map(described).collect();
        written["headers"] = json!({ "type": "object", "properties": properties });
    }
    written
}

/// The document.
pub fn document() -> Json {
    let (mut of_channels, mut operations, mut messages) = (Map::new(), Map::new(), Map::new());
    for channel in channels() {
        let name = channel.message.name;
        messages.insert(name.to_owned(), message(&channel.message));
        let mut written = json!({
            "address": channel.address,
            "description": channel.summary,
            "messages": { name: { "$ref": format!("#/components/messages/{name}") } },
        });
        if let Some(parameters) = parameters(&channel.address) {
            written["parameters"] = parameters;
        }
        let action = match channel.action {
            Action::Receive => Some("receive"),
            Action::Send => Some("send"),
            Action::Neither => None,
        };
        if let Some(action) = action {
            let operation = json!({
                "action": action,
                "channel": { "$ref": format!("#/channels/{}", channel.name) },
                "summary": channel.summary,
                "messages": [{ "$ref": format!("#/channels/{}/messages/{name}", channel.name) }],
            });
            operations.insert(format!("{action}_{}", channel.name), operation);
        }
        of_channels.insert(channel.name.to_owned(), written);
    }
    json!({
        "asyncapi": "3.0.0",
        "id": "urn:sightline:bus",
        "info": {
            "title": "Sightline",
            "version": "1.0.0",
            "description": "What travels on the bus: events in, incidents out. Actions are those of the worker: what it receives, \
                            producers publish; what it sends, dashboards and tools subscribe to. schemas/README.md says more.",
            "license": { "name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0" },
        },
        "defaultContentType": "application/json",
        "servers": {
            "local": {
                "host": "127.0.0.1:4222",
                "protocol": "nats",
                "description": "A nats-server 2.10 or newer with JetStream.",
            },
        },
        "channels": of_channels,
        "operations": operations,
        "components": { "messages": messages },
    })
}
