//! YAML as a tree that remembers where everything stood.

use std::fmt;
use std::ops::Range;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

use crate::limits::YAML_DEPTH_MAX;

/// A value and the bytes of the file that it came from.
#[derive(Clone, Debug)]
pub struct Node {
    /// The value.
    pub kind: Kind,
    /// Where it stood, in bytes of the file.
    pub span: Range<usize>,
}

/// A value.
#[derive(Clone, Debug)]
pub enum Kind {
    /// Nothing.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Any other number.
    Float(f64),
    /// Text.
    Text(String),
    /// A list.
    List(Vec<Node>),
    /// The values of a named list, in the place of its name.
    Named(Named),
    /// Named values, in the order of the file.
    Map(Vec<(Node, Node)>),
}

/// A named list where a rule uses it.
#[derive(Clone, Debug)]
pub struct Named {
    /// Its name.
    pub name: String,
    /// Its values.
    pub values: std::sync::Arc<[String]>,
    /// A hash of its values.
    pub digest: std::sync::Arc<str>,
}

impl Kind {
    /// What sort of value it is, for messages.
    pub fn describe(&self) -> &'static str {
        match self {
            Kind::Null => "nothing",
            Kind::Bool(_) => "true or false",
            Kind::Int(_) => "a number",
            Kind::Float(_) => "a fraction",
            Kind::Text(_) => "text",
            Kind::List(_) => "a list",
            Kind::Named(_) => "a named list",
            Kind::Map(_) => "named values",
        }
    }
}

impl Node {
    /// The value of a member; `None` where there is none, or these are no named values.
    pub fn member(&self, name: &str) -> Option<&Node> {
        let Kind::Map(members) = &self.kind else { return None };
        members
            .iter()
            .find(|(key, _)| matches!(&key.kind, Kind::Text(key) if key == name))
            .map(|(_, value)| value)
    }

    /// The text of a scalar: the number 3 is `"3"`.
    pub fn scalar_text(&self) -> Option<String> {
        match &self.kind {
            Kind::Text(text) => Some(text.clone()),
            Kind::Int(number) => Some(number.to_string()),
            Kind::Float(number) => Some(number.to_string()),
            Kind::Bool(flag) => Some(flag.to_string()),
            Kind::Null | Kind::List(_) | Kind::Named(_) | Kind::Map(_) => None,
        }
    }
}

impl Node {
    /// The value as one text that does not depend on layout or comments.
    pub fn canonical(&self, saying: Saying) -> String {
        let mut out = String::new();
        self.write_canonical(saying, &mut out);
        out
    }

    fn write_canonical(&self, saying: Saying, out: &mut String) {
        match &self.kind {
            Kind::Null => out.push('~'),
            Kind::Bool(flag) => out.push_str(&flag.to_string()),
            Kind::Int(number) => out.push_str(&number.to_string()),
            Kind::Float(number) => out.push_str(&number.to_string()),
            Kind::Text(text) => {
                // Length first: no text can look like two.
                out.push_str(&format!("{}:{text}", text.len()));
            }
            Kind::List(items) => {
                out.push('[');
                for item in items {
                    item.write_canonical(saying, out);
                    out.push(',');
                }
                out.push(']');
            }
            // Hits are remembered over a change of the list: what matched then is evidence still. So it is part of what
            // the rule says, and not of what its hits mean.
            Kind::Named(list) if saying == Saying::Whole => {
                out.push_str(&format!("@{}:{}#{}", list.name.len(), list.name, list.digest));
            }
            Kind::Named(list) => out.push_str(&format!("@{}:{}", list.name.len(), list.name)),
            Kind::Map(members) => {
                // In the order of their names: the order of the file is layout.
                let mut pairs: Vec<(String, &Node)> = Vec::with_capacity(members.len());
                for (key, value) in members {
                    let mut name = String::new();
                    key.write_canonical(saying, &mut name);
                    pairs.push((name, value));
                }
                pairs.sort_by(|(a, _), (b, _)| a.cmp(b));
                out.push('{');
                for (name, value) in pairs {
                    out.push_str(&name);
                    out.push('=');
                    value.write_canonical(saying, out);
                    out.push(',');
                }
                out.push('}');
            }
        }
    }
}

/// How much of a value its one text says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Saying {
    /// All of it.
    Whole,
    /// What decides the meaning of remembered hits: of a named list the name alone.
    Meaning,
}

/// Why a file is no YAML, and where.
#[derive(Clone, Debug)]
pub struct Malformed {
    /// Why.
    pub message: String,
    /// Where, in bytes of the file.
    pub span: Range<usize>,
}

/// Reads a file.
///
/// # Errors
/// When it is no YAML, names a key twice in one map, or expands beyond all measure.
pub fn read(text: &str) -> Result<Node, Malformed> {
    let options = options();
    let read = serde_saphyr::from_str_with_options::<Raw>(text, options);
    read.map(Raw::into_node).map_err(|error| malformed(text, &error))
}

/// Reads a file of several documents; those with nothing in them are left out.
///
/// # Errors
/// As [`read`].
pub fn read_all(text: &str) -> Result<Vec<Node>, Malformed> {
    let options = options();
    let read = serde_saphyr::from_multiple_with_options::<Raw>(text, options);
    read.map(|documents| documents.into_iter().map(Raw::into_node).collect())
        .map_err(|error| malformed(text, &error))
}

fn options() -> serde_saphyr::Options {
    // `no`, `yes` and `off` are words: only `true` and `false` are flags.
    serde_saphyr::options! {
        strict_booleans: true,
        budget: serde_saphyr::budget! { max_depth: YAML_DEPTH_MAX },
    }
}

fn malformed(text: &str, error: &serde_saphyr::Error) -> Malformed {
    let place = error.location().map_or((1, 1), |location| (location.line(), location.column()));
    let at = offset(text, place.0, place.1);
    // The first line says it; the rest is an excerpt, which we draw ourselves.
    let message = error.without_snippet().to_string();
    let message = message.lines().next().unwrap_or_default().to_owned();
    Malformed { message, span: at..at + 1 }
}

/// The byte at a line and column, both counted from 1, the column in characters.
fn offset(text: &str, line: u64, column: u64) -> usize {
    let lines = text.split_inclusive('\n').take(usize::try_from(line).unwrap_or(1).saturating_sub(1));
    let start: usize = lines.map(str::len).sum();
    let rest = &text[start..];
    let column = usize::try_from(column).unwrap_or(1).saturating_sub(1);
    start + rest.char_indices().nth(column).map_or(rest.len(), |(at, _)| at)
}

struct Raw(Spanned<Kind>);

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Spanned::<Kind>::deserialize(deserializer).map(Raw)
    }
}

impl Raw {
    fn into_node(self) -> Node {
        let span = self.0.referenced.span();
        let from = span.byte_offset().unwrap_or(0) as usize;
        let len = span.byte_len().unwrap_or(0) as usize;
        Node { kind: self.0.value, span: from..from + len }
    }
}

impl<'de> Deserialize<'de> for Kind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(KindVisitor)
    }
}

struct KindVisitor;

impl<'de> Visitor<'de> for KindVisitor {
    type Value = Kind;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a YAML value")
    }

    fn visit_unit<E>(self) -> Result<Kind, E> {
        Ok(Kind::Null)
    }

    fn visit_none<E>(self) -> Result<Kind, E> {
        Ok(Kind::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Kind, D::Error> {
        Kind::deserialize(deserializer)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Kind, E> {
        Ok(Kind::Bool(flag))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Kind, E> {
        Ok(Kind::Int(number))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Kind, E> {
        Ok(i64::try_from(number).map_or(Kind::Float(number as f64), Kind::Int))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Kind, E> {
        Ok(Kind::Float(number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Kind, E> {
        Ok(Kind::Text(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Kind, E> {
        Ok(Kind::Text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Kind, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element::<Raw>()? {
            items.push(item.into_node());
        }
        Ok(Kind::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Kind, A::Error> {
        let mut members = Vec::new();
        while let Some(key) = map.next_key::<Raw>()? {
            members.push((key.into_node(), map.next_value::<Raw>()?.into_node()));
        }
        Ok(Kind::Map(members))
    }
}
