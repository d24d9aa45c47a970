//! Those who read and write shape 1 today go on doing so: the schemas are compared with the ones in `schemas/baseline/`,
//! and what would break them is a failure (schemas/README.md, Compatibility).
//!
//! `UPDATE=1 cargo test -p sightline-schemas` brings the baseline up to what the types say, where nothing is broken.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sightline_schemas::schema::documents;

/// Who has to cope with a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    /// Others write it, we read it: nothing that was taken may be refused.
    Taken,
    /// We write it, others read it: nothing that was there may be missing or look otherwise.
    Written,
}

fn direction(name: &str) -> Direction {
    match name {
        "event" | "frame" | "incident_command" => Direction::Taken,
        _ => Direction::Written,
    }
}

fn place(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// A schema and the document that its references lead into.
#[derive(Clone, Copy)]
struct At<'v> {
    root: &'v Value,
    schema: &'v Value,
}

impl<'v> At<'v> {
    fn of(root: &'v Value) -> Self {
        At { root, schema: root }
    }

    fn to(self, schema: &'v Value) -> Self {
        At { schema, ..self }.followed()
    }

    fn followed(self) -> Self {
        let reference =
            self.schema.get("$ref").and_then(Value::as_str).and_then(|path| path.strip_prefix('#'));
        match reference.and_then(|path| self.root.pointer(path)) {
            Some(schema) => At { schema, ..self }.followed(),
            None => self,
        }
    }

    fn names(self, keyword: &str) -> BTreeSet<String> {
        let list = self.schema.get(keyword).and_then(Value::as_array).into_iter().flatten();
        list.filter_map(Value::as_str).map(str::to_owned).collect()
    }

    /// The types, where the schema names any.
    fn types(self) -> BTreeSet<String> {
        match self.schema.get("type") {
            Some(Value::String(one)) => BTreeSet::from([one.clone()]),
            Some(Value::Array(_)) => self.names("type"),
            _ => BTreeSet::new(),
        }
    }

    /// The values of a closed list, however it is written.
    fn values(self) -> BTreeSet<String> {
        let mut values: BTreeSet<String> = self
            .schema
            .get("enum")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .map(Value::to_string)
            .collect();
        values.extend(self.schema.get("const").map(Value::to_string));
        for keyword in ["oneOf", "anyOf"] {
            for one in self.schema.get(keyword).and_then(Value::as_array).into_iter().flatten() {
                values.extend(self.to(one).values());
            }
        }
        values
    }

    /// The schema without `null` beside it: an optional value.
    fn present(self) -> Self {
        let choices = self.schema.get("anyOf").and_then(Value::as_array);
        let of_value: Vec<&Value> =
            choices.into_iter().flatten().filter(|one| one.get("type") != Some(&json!("null"))).collect();
        match of_value[..] {
            [one] => self.to(one),
            _ => self,
        }
    }
}

/// What breaks between two schemas, with the place.
fn breaks(old: At<'_>, new: At<'_>, direction: Direction, path: &str, depth: usize, found: &mut Vec<String>) {
    let (old, new) = (old.followed(), new.followed());
    if depth > 20 {
        return;
    }
    let (old_types, new_types) = (old.types(), new.types());
    if !old_types.is_empty() && !new_types.is_empty() {
        match direction {
            Direction::Taken if !old_types.is_subset(&new_types) => {
                found.push(format!("{path}: took {old_types:?}, takes {new_types:?}"));
            }
            Direction::Written if !new_types.is_subset(&old_types) => {
                found.push(format!("{path}: was {old_types:?}, is {new_types:?}"));
            }
            _ => {}
        }
    }
    let (old_values, new_values) = (old.values(), new.values());
    let gone: Vec<&String> = old_values.difference(&new_values).collect();
    if !gone.is_empty() && (direction == Direction::Written || !new_values.is_empty()) {
        found.push(format!("{path}: {gone:?} is in the list no more"));
    }
    let (old_required, new_required) = (old.names("required"), new.names("required"));
    match direction {
        Direction::Taken => {
            for name in new_required.difference(&old_required) {
                found.push(format!("{path}: `{name}` is required now"));
            }
        }
        Direction::Written => {
            for name in old_required.difference(&new_required) {
                found.push(format!("{path}: `{name}` may be missing now"));
            }
        }
    }
    let (old, new) = (old.present(), new.present());
    for (name, was) in old.schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        let path = format!("{path}.{name}");
        match new.schema.get("properties").and_then(|properties| properties.get(name)) {
            Some(is) => breaks(old.to(was), new.to(is), direction, &path, depth + 1, found),
            None => found.push(format!("{path}: is gone, or has another name")),
        }
    }
    for keyword in ["items", "additionalProperties"] {
        if let (Some(was), Some(is)) = (old.schema.get(keyword), new.schema.get(keyword)) {
            breaks(old.to(was), new.to(is), direction, &format!("{path}[]"), depth + 1, found);
        }
    }
    if direction == Direction::Taken
        && old.schema.get("additionalProperties").is_none()
        && new.schema.get("additionalProperties") == Some(&json!(false))
    {
        found.push(format!("{path}: other names are refused now"));
    }
}

fn broken(old: &Value, new: &Value, direction: Direction) -> Vec<String> {
    let mut found = Vec::new();
    breaks(At::of(old), At::of(new), direction, "", 0, &mut found);
    found
}

#[test]
fn nobody_who_speaks_shape_1_is_broken() {
    let update = std::env::var_os("UPDATE").is_some_and(|update| update == "1");
    let mut names = BTreeSet::new();
    for (name, schema) in documents() {
        let path = place(&format!("baseline/{name}.json"));
        let before = fs::read_to_string(&path).ok();
        if let Some(before) = &before {
            let before: Value = serde_json::from_str(before).expect("the baseline is JSON");
            let found = broken(&before, &schema, direction(name));
            assert!(
                found.is_empty(),
                "{name}: a change that breaks those who speak shape 1; say it in shape 2 instead \
                 (schemas/README.md, Compatibility):\n{}",
                found.join("\n")
            );
        }
        if update {
            let text = serde_json::to_string_pretty(&schema).expect("plain data") + "\n";
            fs::write(&path, text).expect("the baseline can be written");
        } else {
            assert!(
                before.is_some(),
                "{name} has no baseline: run `UPDATE=1 cargo test -p sightline-schemas`"
            );
        }
        names.insert(format!("{name}.json"));
    }
    let files = fs::read_dir(place("baseline")).expect("a folder");
    let there: BTreeSet<String> =
        files.map(|file| file.expect("a file").file_name().to_string_lossy().into_owned()).collect();
    assert_eq!(there, names, "a message is gone, or has another name");
}

/// What is changed, how, and for whom that breaks.
type Row<'r> = (&'r str, &'r dyn Fn(&mut Value), &'r [Direction]);

#[test]
fn what_breaks_is_found_and_what_does_not_is_not() {
    let old = json!({
        "type": "object", "required": ["id"],
        "properties": {
            "id": { "type": "string" }, "level": { "$ref": "#/$defs/Level" }, "note": { "type": ["string", "null"] },
            "parts": { "type": "array", "items": { "$ref": "#/$defs/Part" } },
        },
        "$defs": {
            "Level": { "oneOf": [{ "const": "low" }, { "const": "high" }] },
            "Part": { "type": "object", "properties": { "n": { "type": "integer" } }, "required": ["n"] },
        },
    });
    let changed = |change: &dyn Fn(&mut Value)| {
        let mut new = old.clone();
        change(&mut new);
        new
    };
    use Direction::{Taken, Written};
    let rows: [Row<'_>; 9] = [
        ("nothing", &|_| {}, &[]),
        ("a new field", &|new| new["properties"]["more"] = json!({ "type": "string" }), &[]),
        (
            "a field is renamed",
            &|new| {
                let id = new["properties"]["id"].take();
                new["properties"] = json!({ "ident": id });
            },
            &[Taken, Written],
        ),
        (
            "another type",
            &|new| new["$defs"]["Part"]["properties"]["n"] = json!({ "type": "string" }),
            &[Taken, Written],
        ),
        ("a narrower type", &|new| new["properties"]["note"] = json!({ "type": "string" }), &[Taken]),
        (
            "a wider type",
            &|new| new["properties"]["id"] = json!({ "type": ["string", "number"] }),
            &[Written],
        ),
        ("newly required", &|new| new["required"] = json!(["id", "level"]), &[Taken]),
        ("no longer required", &|new| new["$defs"]["Part"]["required"] = json!([]), &[Written]),
        (
            "a word is gone",
            &|new| new["$defs"]["Level"] = json!({ "oneOf": [{ "const": "low" }] }),
            &[Taken, Written],
        ),
    ];
    for (what, change, breaking) in rows {
        let new = changed(change);
        for direction in [Taken, Written] {
            let found = broken(&old, &new, direction);
            assert_eq!(!found.is_empty(), breaking.contains(&direction), "{what}, {direction:?}: {found:?}");
        }
    }
    let three = json!([{ "const": "low" }, { "const": "middle" }, { "const": "high" }]);
    let word = changed(&|new| new["$defs"]["Level"]["oneOf"] = three.clone());
    assert!(broken(&old, &word, Taken).is_empty() && broken(&old, &word, Written).is_empty());
}
