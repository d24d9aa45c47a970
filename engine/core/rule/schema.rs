//! The JSON Schema of rule files, for editors: completions, hovers, and red lines under what the checker would refuse.

use serde_json::{Map, Value, json};

use crate::rule::keys::{CASE, EXPECTED, Key, MATCH, RULE, Shape};

/// The schema, draft 2020-12. It also takes files of tests.
pub fn schema() -> Value {
    let rules = json!({
        "type": ["array", "null"],
        "items": with_needed(block(RULE), &["id", "steps"]),
        "description": "The rules of this file.",
    });
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Sightline rules",
        "description": "Rules of Sightline, or tests of them.",
        "type": ["object", "null"],
        "properties": {
            "rules": rules,
            "lists": {
                "type": "object",
                "description": "Named lists: values, or `{file: NAME}` with one value a line.",
            },
            "tests": {
                "type": "array",
                "items": { "$ref": "#/$defs/test" },
                "description": "In a file NAME.test.yaml: tests of rules.",
            },
            "rule": { "type": "string", "description": "In a file of tests: the rule that they are about." },
            "base": { "type": "string", "description": "In a file of tests: the time from which times count." },
        },
        "additionalProperties": false,
        "$defs": {
            "conditions": with_needed(block(MATCH), &[]),
            "test": with_needed(block(CASE), &["name", "events", "expect"]),
            "incident": with_needed(block(EXPECTED), &[]),
            "value": { "type": ["string", "number", "boolean", "null"] },
        },
    })
}

fn block(keys: &[Key]) -> Map<String, Value> {
    let properties: Map<String, Value> =
        keys.iter().map(|key| (key.name.to_owned(), property(key))).collect();
    let mut block = Map::new();
    block.insert("type".to_owned(), "object".into());
    block.insert("properties".to_owned(), properties.into());
    block.insert("additionalProperties".to_owned(), false.into());
    block
}

fn with_needed(mut block: Map<String, Value>, needed: &[&str]) -> Value {
    if !needed.is_empty() {
        block.insert("required".to_owned(), json!(needed));
    }
    block.into()
}

fn property(key: &Key) -> Value {
    let mut shape = shape(key.shape);
    if let Value::Object(members) = &mut shape {
        members.insert("description".to_owned(), key.about.into());
    }
    shape
}

fn shape(shape: Shape) -> Value {
    let value = || json!({ "$ref": "#/$defs/value" });
    let by_field = |of: Value| json!({ "type": "object", "additionalProperties": of });
    match shape {
        Shape::Text => json!({ "type": ["string", "number", "boolean"] }),
        Shape::Words(words) => json!({ "enum": words }),
        Shape::Flag => json!({ "type": "boolean" }),
        Shape::Count => json!({ "type": "integer", "minimum": 0 }),
        Shape::Duration => json!({
            "type": "string",
            "pattern": "^\\s*([0-9]+\\s*[a-zA-Zµ]+\\s*)+$",
            "examples": ["30s", "5m", "1h 30m", "7d"],
        }),
        Shape::Texts => json!({ "anyOf": [value(), { "type": "array", "items": value(), "minItems": 1 }] }),
        Shape::ByField => by_field(json!({ "anyOf": [value(), { "type": "array", "minItems": 1 }] })),
        Shape::FlagsByField => by_field(json!({ "type": "boolean" })),
        Shape::NumbersByField => by_field(json!({ "type": ["number", "string"] })),
        Shape::Block(keys) => with_needed(block(keys), &[]),
        Shape::Blocks(keys) if is(keys, CASE) => {
            json!({ "type": "array", "items": { "$ref": "#/$defs/test" } })
        }
        Shape::Blocks(keys) => {
            json!({ "type": "array", "items": with_needed(block(keys), &["name"]), "minItems": 1 })
        }
        Shape::Conditions => json!({ "$ref": "#/$defs/conditions" }),
        Shape::ConditionBlocks => json!({
            "anyOf": [
                { "$ref": "#/$defs/conditions" },
                { "type": "array", "items": { "$ref": "#/$defs/conditions" } },
            ],
        }),
        Shape::KeyParts => {
            let part = json!({ "type": ["string", "object"] });
            json!({ "anyOf": [part, { "type": "array", "items": part }] })
        }
        Shape::Expectations => json!({
            "anyOf": [
                { "const": "none" },
                { "$ref": "#/$defs/incident" },
                { "type": "array", "items": { "$ref": "#/$defs/incident" } },
            ],
        }),
        Shape::Anything => json!({}),
    }
}

fn is(keys: &[Key], those: &[Key]) -> bool {
    keys.len() == those.len() && keys.iter().zip(those).all(|(a, b)| a.name == b.name)
}
