//! Field mappings are data: a YAML file says how the records of a source become events.
//!
//! [`tree`] is YAML with line numbers; [`read`] makes a checked [`Mapping`] of it, or says all that is wrong with it.
//! [`path`] finds values in a record, [`template`] fills text with them, [`convert`] changes them on their way.
//! [`apply`] makes the event. [`shelf`] holds the mappings that ship, and those that a user puts beside or over them.

pub mod apply;
pub mod convert;
pub mod path;
mod read;
pub mod shelf;
mod slots;
pub mod template;
mod tree;

pub use apply::Mapped;
pub use read::{Problem, read};
pub use shelf::Shelf;

use std::borrow::Cow;

use serde_json::Value;

use convert::Convert;
use path::Path;
use template::Template;

/// How the records of one source become events.
#[derive(Clone, Debug)]
pub struct Mapping {
    /// Its name: that of its file.
    pub name: String,
    /// One line for people.
    pub about: String,
    /// How a record is written.
    pub format: Format,
    /// Where in a document its records are, for sources that send many in one.
    pub records: Option<Path>,
    /// Whether the record has the shape of an event already, so that only what is named here is set.
    pub pass: bool,
    /// Personal identifiers are looked for in the record, taken out, and become entities.
    pub personal: bool,
    base: Slots,
    cases: Vec<Case>,
}

/// How a record is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Format {
    /// A JSON object a line, or a JSON document.
    Json,
    /// A line of the Linux audit log.
    Auditd,
    /// A syslog message of RFC 5424 or RFC 3164.
    Syslog,
    /// Values separated by commas; the names of the columns, where the first line does not hold them.
    Csv(Vec<String>),
    /// A line of text, which becomes `{"message": …}`.
    Text,
}

/// What holds for records of one kind.
#[derive(Clone, Debug)]
struct Case {
    when: Vec<(Path, Vec<Pattern>)>,
    /// Why such records are left out.
    skip: Option<String>,
    slots: Slots,
}

/// What a value must be.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Pattern {
    /// Nothing is there.
    Absent,
    /// Text in which `*` stands for anything, any case.
    Glob(String),
}

/// The parts of an event that a mapping fills.
#[derive(Clone, Debug, Default)]
struct Slots {
    /// Members with one value.
    single: Vec<(&'static str, Slot)>,
    /// Members that are objects.
    objects: Vec<(&'static str, Vec<(String, Slot)>)>,
    tags: Vec<Slot>,
    entities: Vec<EntitySlot>,
    tactics: Vec<Slot>,
    techniques: Vec<Slot>,
    keep: Option<Keep>,
    drop: Vec<Path>,
    spread: Vec<Path>,
    set: Vec<(String, Slot)>,
}

#[derive(Clone, Debug)]
struct EntitySlot {
    kind: Slot,
    value: Slot,
    role: Option<Slot>,
}

/// Which of a record's own members go into `fields`.
#[derive(Clone, Debug)]
enum Keep {
    All,
    Nothing,
    Some(Vec<Path>),
}

/// Where a value comes from.
#[derive(Clone, Debug)]
enum Slot {
    /// A number or a flag.
    Fixed(Value),
    Text(Template),
    /// The first that there is.
    First(Vec<Slot>),
    Rule(Box<Rule>),
}

/// `{value: …, as: …, map: …, otherwise: …}`.
#[derive(Clone, Debug)]
struct Rule {
    value: Slot,
    convert: Vec<Convert>,
    /// Words and what they become, any case.
    map: Vec<(String, Value)>,
    /// What stands for a value that is absent or not in `map`.
    otherwise: Option<Slot>,
}

/// What the bridge knows of a record beside its contents.
#[derive(Clone, Debug, Default)]
pub struct Origin {
    /// The file it stood in.
    pub file: Option<String>,
    /// What the sender says of itself, such as the source that a request's header names.
    pub source: Option<String>,
    /// The peer's address.
    pub peer: Option<String>,
}

impl Origin {
    fn get(&self, name: &str) -> Option<String> {
        match name {
            "file" => self.file.clone(),
            // `conn` for /var/log/zeek/conn.log and for conn.2026-05-08.log.
            "stem" => {
                let name = self.file.as_ref()?.rsplit('/').next()?;
                Some(name.split('.').next().unwrap_or(name).to_owned())
            }
            "source" => self.source.clone(),
            "peer" => self.peer.clone(),
            _ => None,
        }
    }

    const NAMES: [&str; 4] = ["file", "stem", "source", "peer"];
}

/// The text of a single value: the number 3 is `"3"`.
pub fn text_of(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::String(text) => Some(Cow::Borrowed(text)),
        Value::Number(_) | Value::Bool(_) => Some(Cow::Owned(value.to_string())),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}
