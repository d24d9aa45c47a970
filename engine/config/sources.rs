//! `engine.sources`: what is known of a source beforehand.

use std::collections::BTreeMap;

use sightline_schemas::event::Class;
use sightline_schemas::severity::Severity;
use sightline_schemas::source::{SourceProfile, SourceProfiles};
use sightline_schemas::subject::TOKEN_BYTES_MAX;

use super::errors::{ConfigError, Origin, nearest, quoted};
use super::value::{Kind, Value, Wrong};
use super::yaml::{At, Content, Entry, Node};

const FIELDS: [&str; 4] = ["class", "kind", "severity", "require"];

/// Reads the map of profiles. What a profile leaves out stays as it ships.
pub(super) fn read(node: &Node, origin: &Origin, errors: &mut Vec<ConfigError>) -> Option<Value> {
    let before = errors.len();
    let mut reader = Reader { origin, errors };
    let shipped = SourceProfiles::with(BTreeMap::new());
    let mut profiles = BTreeMap::new();
    match &node.content {
        Content::Null => {}
        Content::Map(entries) => {
            for Entry { key, key_at, value } in entries {
                if key.is_empty() || key.len() > TOKEN_BYTES_MAX {
                    let message = format!("{} cannot be a source", quoted(key));
                    reader.wrong(*key_at, message, "a name of 1 to 128 bytes, as it stands in the subject");
                }
                let profile = shipped.get(key).cloned().unwrap_or_default();
                profiles.insert(key.clone(), reader.profile(key, value, profile));
            }
        }
        other => {
            reader.wrong(node.at, format!("engine.sources is {}", other.noun()), &Kind::Sources.expected())
        }
    }
    (errors.len() == before).then_some(Value::Sources(profiles))
}

struct Reader<'a> {
    origin: &'a Origin,
    errors: &'a mut Vec<ConfigError>,
}

impl Reader<'_> {
    fn wrong(&mut self, at: At, message: String, expected: &str) {
        let help = format!("expected {expected}");
        self.errors.push(ConfigError { message, origin: self.origin.at(at), help });
    }

    fn profile(&mut self, source: &str, node: &Node, mut profile: SourceProfile) -> SourceProfile {
        let entries = match &node.content {
            Content::Null => return profile,
            Content::Map(entries) => entries,
            other => {
                self.wrong(
                    node.at,
                    format!("source {} is {}", quoted(source), other.noun()),
                    "a map such as {severity: low}",
                );
                return profile;
            }
        };
        for Entry { key, key_at, value } in entries {
            match key.as_str() {
                "class" => {
                    let all = "event, alert, finding, indicator, anomaly, report or note";
                    if let Some(class) = self.word(source, key, value, Class::parse, all) {
                        profile.class = class;
                    }
                }
                "severity" => {
                    let all = "info, low, medium, high or critical";
                    if let Some(severity) = self.word(source, key, value, Severity::parse, all) {
                        profile.severity = severity;
                    }
                }
                "kind" => {
                    let text = |text: &str| (!text.trim().is_empty()).then(|| text.to_owned());
                    if let Some(kind) = self.word(source, key, value, text, "a text") {
                        profile.kind = kind;
                    }
                }
                "require" => match list(value) {
                    Ok(names) => profile.require = names,
                    Err(wrong) => self.list_wrong(value, wrong),
                },
                _ => {
                    let help = match nearest(key, FIELDS) {
                        Some(name) => format!("did you mean `{name}`?"),
                        None => format!("a source has {}", FIELDS.join(", ")),
                    };
                    let message = format!("unknown field {} of source {}", quoted(key), quoted(source));
                    self.errors.push(ConfigError { message, origin: self.origin.at(*key_at), help });
                }
            }
        }
        profile
    }

    fn word<T>(
        &mut self,
        source: &str,
        key: &str,
        node: &Node,
        parse: impl Fn(&str) -> Option<T>,
        expected: &str,
    ) -> Option<T> {
        let found = match &node.content {
            Content::Scalar(text) => match parse(text) {
                Some(value) => return Some(value),
                None => format!("{} is not known", quoted(text)),
            },
            other => format!("found {}", other.noun()),
        };
        self.wrong(node.at, format!("{key} of source {}: {found}", quoted(source)), expected);
        None
    }

    fn list_wrong(&mut self, node: &Node, wrong: Wrong) {
        let origin = self.origin.at(node.at);
        self.errors.push(ConfigError { message: wrong.message, origin, help: wrong.help });
    }
}

/// Reads a list of texts.
pub(super) fn list(node: &Node) -> Result<Vec<String>, Wrong> {
    let help = "expected a list of texts such as [one, two]";
    let Content::List(items) = &node.content else {
        return Err(Wrong::new(format!("found {} where a list belongs", node.content.noun()), help));
    };
    let mut texts = Vec::with_capacity(items.len());
    for item in items {
        match &item.content {
            Content::Scalar(text) if !text.trim().is_empty() => texts.push(text.clone()),
            Content::Scalar(_) => return Err(Wrong::new("an empty text in a list", help)),
            other => return Err(Wrong::new(format!("{} in a list of texts", other.noun()), help)),
        }
    }
    Ok(texts)
}
