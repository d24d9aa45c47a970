//! YAML as a tree that knows where each part was written.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{Location, Spanned};

/// How deep lists and maps may nest: more than the table of settings has, and few enough for any stack.
const DEPTH_MAX: usize = 16;

/// Line and column, both counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct At {
    pub line: u64,
    pub column: u64,
}

/// A part of a YAML text. No `Debug`: it may hold secrets.
pub(super) struct Node {
    pub at: At,
    pub content: Content,
}

/// What a part is. Scalars are text as it was written: which kind it should be is the setting's business.
pub(super) enum Content {
    Null,
    Scalar(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// A key and its value.
pub(super) struct Entry {
    pub key: String,
    pub key_at: At,
    pub value: Node,
}

/// Why a text is no YAML.
pub(super) struct YamlError {
    pub at: Option<At>,
    pub message: String,
}

impl Content {
    /// What it is, for messages.
    pub fn noun(&self) -> &'static str {
        match self {
            Content::Null => "nothing",
            Content::Scalar(_) => "a single value",
            Content::List(_) => "a list",
            Content::Map(_) => "a map",
        }
    }
}

/// Reads one YAML document. An empty one is [`Content::Null`].
pub(super) fn parse(text: &str) -> Result<Node, YamlError> {
    if text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#')) {
        return Ok(Node { at: At { line: 1, column: 1 }, content: Content::Null });
    }
    // Snippets would show neighbouring lines, which may hold a password.
    let options = serde_saphyr::options! {
        with_snippet: false,
        strict_booleans: true,
        budget: serde_saphyr::budget! { max_depth: DEPTH_MAX },
    };
    match serde_saphyr::from_str_with_options::<Spanned<Raw>>(text, options) {
        Ok(raw) => Ok(node(raw, text)),
        Err(error) => {
            let at = error.location().map(at);
            let message = error.without_snippet().to_string();
            let message = message.lines().next().unwrap_or_default();
            // The place is printed by us, once.
            let message = message.find(" at line ").map_or(message, |end| &message[..end]);
            let message = message.strip_prefix("error: ").unwrap_or(message);
            // What follows is advice for callers of the reader.
            let message = message.split_once("; use ").map_or(message, |(message, _)| message);
            Err(YamlError { at, message: message.to_owned() })
        }
    }
}

fn at(location: Location) -> At {
    At { line: location.line().max(1), column: location.column().max(1) }
}

fn node(raw: Spanned<Raw>, text: &str) -> Node {
    let content = match raw.value {
        Raw::Null => Content::Null,
        Raw::Text(value) => Content::Scalar(value),
        Raw::Typed(read) => Content::Scalar(as_written(raw.defined, text).unwrap_or(read)),
        Raw::List(items) => Content::List(items.into_iter().map(|item| node(item, text)).collect()),
        Raw::Map(entries) => Content::Map(
            entries
                .into_iter()
                .map(|(key, value)| Entry {
                    key_at: at(key.referenced),
                    key: key.value,
                    value: node(value, text),
                })
                .collect(),
        ),
    };
    Node { at: at(raw.referenced), content }
}

/// The source of a scalar that YAML takes for a number or a boolean: a password `1e3` must not become `1000`.
fn as_written(location: Location, text: &str) -> Option<String> {
    let span = location.span();
    let start = usize::try_from(span.byte_offset()?).ok()?;
    let len = usize::try_from(span.byte_len()?).ok()?;
    let source = text.get(start..start.checked_add(len)?)?.trim();
    (!source.is_empty()).then(|| source.to_owned())
}

enum Raw {
    Null,
    Text(String),
    Typed(String),
    List(Vec<Spanned<Raw>>),
    Map(Vec<(Spanned<String>, Spanned<Raw>)>),
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a value, a list or a map")
    }

    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Raw, E> {
        Ok(Raw::Typed(value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Raw, E> {
        Ok(Raw::Typed(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Raw, E> {
        Ok(Raw::Typed(value.to_string()))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Raw, E> {
        Ok(Raw::Typed(value.to_string()))
    }

    fn visit_u128<E>(self, value: u128) -> Result<Raw, E> {
        Ok(Raw::Typed(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Raw, E> {
        Ok(Raw::Typed(value.to_string()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Raw, E> {
        Ok(Raw::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Raw, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Raw::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Raw, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Raw::Map(entries))
    }
}
