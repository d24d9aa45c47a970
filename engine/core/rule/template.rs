//! Titles and descriptions with values of key and evidence in them: `{{key.user}}`, `{{step.failures.count}}`.
//!
//! What is put in comes from events, so it is bounded, and can hold neither control characters nor further names.

use crate::field::Field;
use crate::limits::TEMPLATE_VALUE_BYTES_MAX;

/// A name between double braces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Name {
    /// How many events are evidence.
    Count,
    /// How many matches there were.
    Matches,
    /// The hosts, users or sources of the evidence.
    Hosts,
    /// Its users.
    Users,
    /// Its sources.
    Sources,
    /// A part of the key.
    Key(String),
    /// Of a step.
    Step(String, OfStep),
}

/// What of a step is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OfStep {
    /// How many events satisfied it.
    Count,
    /// The distinct values that it counted.
    Values,
    /// When it was satisfied first.
    First,
    /// When it was satisfied last.
    Last,
    /// A field of the first event that satisfied it.
    Field(String),
}

/// What stands in place of a value that is not there.
const MISSING: &str = "-";

impl Name {
    /// Reads a name.
    ///
    /// # Errors
    /// With what could be written, when it is none.
    pub fn parse(text: &str) -> Result<Name, String> {
        let known = "`count`, `matches`, `hosts`, `users`, `sources`, `key.PART`, `step.NAME.count`, `step.NAME.values`, \
                     `step.NAME.first`, `step.NAME.last` or `step.NAME.fields.FIELD`";
        let wrong = || format!("write {known}");
        match text {
            "count" => return Ok(Name::Count),
            "matches" => return Ok(Name::Matches),
            "hosts" => return Ok(Name::Hosts),
            "users" => return Ok(Name::Users),
            "sources" => return Ok(Name::Sources),
            _ => {}
        }
        if let Some(part) = text.strip_prefix("key.") {
            return Ok(Name::Key(part.to_owned()));
        }
        let of_step = text.strip_prefix("step.").ok_or_else(wrong)?;
        let (step, what) = match of_step.split_once(".fields.") {
            Some((step, field)) => {
                Field::parse(field)?;
                (step, OfStep::Field(field.to_owned()))
            }
            None => {
                let (step, what) = of_step.rsplit_once('.').ok_or_else(wrong)?;
                let what = match what {
                    "count" => OfStep::Count,
                    "values" => OfStep::Values,
                    "first" => OfStep::First,
                    "last" => OfStep::Last,
                    _ => return Err(wrong()),
                };
                (step, what)
            }
        };
        Ok(Name::Step(step.to_owned(), what))
    }
}

/// The parts of a text: what stands between, and what is named.
fn parts(text: &str) -> impl Iterator<Item = (&str, Option<&str>)> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let Some(open) = rest.find("{{") else { return Some((std::mem::take(&mut rest), None)) };
        let Some(length) = rest[open..].find("}}") else { return Some((std::mem::take(&mut rest), None)) };
        let (before, name) = (&rest[..open], rest[open + 2..open + length].trim());
        rest = &rest[open + length + 2..];
        Some((before, Some(name)))
    })
}

/// The names in a text, each as it is written.
pub fn names(text: &str) -> Vec<&str> {
    parts(text).filter_map(|(_, name)| name).collect()
}

/// The text with values in the place of names. Whoever loads a rule has seen that its names are good.
pub fn filled(text: &str, value: impl Fn(&Name) -> Option<String>) -> String {
    if !text.contains("{{") {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len());
    for (before, name) in parts(text) {
        out.push_str(before);
        if let Some(name) = name {
            let value = Name::parse(name).ok().and_then(|name| value(&name));
            out.push_str(&harmless(value.as_deref().unwrap_or(MISSING)));
        }
    }
    out
}

/// One line of bounded length.
fn harmless(value: &str) -> String {
    let mut clean: String =
        value.chars().filter(|letter| !letter.is_control() && !is_invisible(*letter)).collect();
    if clean.len() > TEMPLATE_VALUE_BYTES_MAX {
        let mut cut = TEMPLATE_VALUE_BYTES_MAX;
        while !clean.is_char_boundary(cut) {
            cut -= 1;
        }
        clean.truncate(cut);
        clean.push('…');
    }
    if clean.trim().is_empty() { MISSING.to_owned() } else { clean }
}

/// What turns the direction of text round, or hides in it.
fn is_invisible(letter: char) -> bool {
    matches!(letter, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_filled_and_what_is_filled_in_is_harmless() {
        let value = |name: &Name| match name {
            Name::Key(part) if part == "user" => Some("al\u{1b}[31mice\n{{count}}\u{202e}".to_owned()),
            Name::Count => Some("3".to_owned()),
            Name::Step(step, OfStep::Field(field)) if step == "a" && field == "x.y" => Some("z".repeat(500)),
            _ => None,
        };
        let said = filled("{{ count }} by {{key.user}}: {{step.a.fields.x.y}} {{key.host}} {{open", value);
        let long = "z".repeat(TEMPLATE_VALUE_BYTES_MAX);
        assert_eq!(said, format!("3 by al[31mice{{{{count}}}}: {long}… - {{{{open"));
    }

    #[test]
    fn names_that_are_none_are_refused() {
        for name in ["", "counts", "key", "step.a", "step.a.what", "step.a.fields."] {
            assert!(Name::parse(name).is_err(), "{name}");
        }
        assert_eq!(Name::parse("step.a.b.count"), Ok(Name::Step("a.b".into(), OfStep::Count)));
    }
}
