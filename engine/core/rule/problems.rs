//! Reading values out of a rule file, and collecting what is wrong with them.

use std::ops::Range;

use crate::field::Field;
use crate::key::Normal;
use crate::rule::diagnostic::{Diagnostic, Level, nearest};
use crate::rule::tree::{Kind, Node};

/// A value and where it stood.
#[derive(Clone, Debug)]
pub(crate) struct At<T> {
    pub(crate) value: T,
    pub(crate) span: Range<usize>,
}

/// Collects what is wrong in one file.
pub(crate) struct Problems<'d> {
    pub(crate) file: usize,
    pub(crate) all: &'d mut Vec<Diagnostic>,
}

impl Problems<'_> {
    pub(crate) fn error(
        &mut self,
        span: &Range<usize>,
        message: impl Into<String>,
        label: impl Into<String>,
        help: Option<String>,
    ) {
        self.all.push(Diagnostic {
            level: Level::Error,
            file: self.file,
            span: span.clone(),
            message: message.into(),
            label: label.into(),
            help,
        });
    }

    pub(crate) fn expected(&mut self, node: &Node, what: &str, expected: &str) {
        let label = format!("expected {expected}, found {}", node.kind.describe());
        self.error(&node.span, format!("`{what}` has a value that it cannot have"), label, None);
    }

    /// The members of a map, each key known and once.
    pub(crate) fn members<'n>(
        &mut self,
        node: &'n Node,
        what: &str,
        known: &[&str],
    ) -> Vec<(&'n str, &'n Node, &'n Node)> {
        let Kind::Map(members) = &node.kind else {
            self.expected(node, what, "named values");
            return Vec::new();
        };
        let mut found: Vec<(&str, &Node, &Node)> = Vec::new();
        for (key, value) in members {
            let Kind::Text(name) = &key.kind else {
                self.expected(key, what, "a name");
                continue;
            };
            if !known.contains(&name.as_str()) {
                let help = match nearest(name, known.iter().copied()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("known here: {}", known.join(", ")),
                };
                self.error(
                    &key.span,
                    format!("unknown key `{name}` in {what}"),
                    "not known here",
                    Some(help),
                );
            } else if found.iter().any(|(there, _, _)| there == name) {
                self.error(
                    &key.span,
                    format!("`{name}` stands twice in {what}"),
                    "the second one",
                    Some("leave one out".into()),
                );
            } else {
                found.push((name, key, value));
            }
        }
        found
    }

    pub(crate) fn text(&mut self, node: &Node, what: &str) -> Option<String> {
        let text = node.scalar_text();
        if text.is_none() {
            self.expected(node, what, "text");
        }
        text
    }

    /// One text or a list of texts.
    pub(crate) fn texts(&mut self, node: &Node, what: &str) -> Vec<At<String>> {
        let items = match &node.kind {
            Kind::List(items) => items.as_slice(),
            Kind::Named(list) => {
                let value = |value: &String| At { value: value.clone(), span: node.span.clone() };
                return list.values.iter().map(value).collect();
            }
            _ => std::slice::from_ref(node),
        };
        if items.is_empty() {
            self.error(
                &node.span,
                format!("`{what}` is an empty list"),
                "nothing can match it",
                Some("leave it out, or list a value".into()),
            );
        }
        let text = |problems: &mut Self, item: &Node| {
            problems.text(item, what).map(|value| At { value, span: item.span.clone() })
        };
        items.iter().filter_map(|item| text(self, item)).collect()
    }

    pub(crate) fn flag(&mut self, node: &Node, what: &str) -> Option<bool> {
        match node.kind {
            Kind::Bool(flag) => Some(flag),
            _ => {
                self.expected(node, what, "true or false");
                None
            }
        }
    }

    pub(crate) fn number(&mut self, node: &Node, what: &str, least: u32, most: u32) -> Option<u32> {
        match node.kind {
            Kind::Int(number) if (i64::from(least)..=i64::from(most)).contains(&number) => {
                u32::try_from(number).ok()
            }
            _ => {
                let label = format!("expected a number from {least} to {most}");
                self.error(&node.span, format!("`{what}` has a value that it cannot have"), label, None);
                None
            }
        }
    }

    /// A number, whole or not.
    pub(crate) fn float(&mut self, node: &Node, what: &str) -> Option<f64> {
        match node.kind {
            Kind::Int(number) => Some(number as f64),
            Kind::Float(number) if number.is_finite() => Some(number),
            _ => {
                self.expected(node, what, "a number");
                None
            }
        }
    }

    /// A length of time in microseconds.
    pub(crate) fn duration(&mut self, node: &Node, what: &str, most: i64) -> Option<i64> {
        let written = node.scalar_text().unwrap_or_default();
        let problem = match (&node.kind, humantime::parse_duration(&written)) {
            (Kind::Int(number), _) => format!("a number without a unit: write `{number}s` or `{number}m`"),
            (Kind::Text(_), Ok(duration)) => match i64::try_from(duration.as_micros()) {
                Ok(micros) if micros <= most => return Some(micros),
                _ => format!(
                    "longer than {}: note that `M` means months and `m` minutes",
                    print_duration(most)
                ),
            },
            (Kind::Text(_), Err(error)) => format!("no length of time: {error}"),
            (other, _) => format!("expected a length of time, found {}", other.describe()),
        };
        self.error(
            &node.span,
            format!("`{what}` is no length of time that can be used"),
            problem,
            Some("write it as `30s`, `5m`, `1h 30m` or `7d`".into()),
        );
        None
    }

    pub(crate) fn field(&mut self, name: &At<String>) -> Option<Field> {
        match Field::parse(&name.value) {
            Ok(field) => Some(field),
            Err(problem) => {
                self.error(
                    &name.span,
                    "this is no field name",
                    problem,
                    Some("write it as `host_id`, `network.src_ip` or `fields.path`".into()),
                );
                None
            }
        }
    }

    pub(crate) fn fields(&mut self, node: &Node, what: &str) -> Vec<Field> {
        let names = self.texts(node, what);
        names.iter().filter_map(|name| self.field(name)).collect()
    }

    pub(crate) fn normal(&mut self, node: &Node) -> Option<Normal> {
        let name = self.text(node, "as")?;
        let known = Normal::NAMES.iter().find(|(known, _)| *known == name);
        if known.is_none() {
            let names: Vec<&str> = Normal::NAMES.iter().map(|(name, _)| *name).collect();
            self.error(
                &node.span,
                format!("`{name}` is no way to spell a key"),
                format!("expected one of {}", names.join(", ")),
                None,
            );
        }
        known.map(|(_, normal)| *normal)
    }
}

/// A duration in microseconds, as people write it.
pub fn print_duration(micros: i64) -> String {
    humantime::format_duration(std::time::Duration::from_micros(micros.unsigned_abs())).to_string()
}
