//! Personal data does not leave in clear: configured fields and entities become keyed hashes, so that equal values stay
//! equal and rules can still join them, and nobody without the key can tell whose they are or try them out.
//!
//! A pseudonym is `kh1:` and 32 hexadecimal digits: BLAKE3 with the key, cut to 128 bits, of the value without blanks at
//! its ends; of an e-mail address in lower case; of a social security number its nine digits. Behind the latter stand its
//! last four digits, `kh1:…:9999`, by which people find a case again.

use std::borrow::Cow;
use std::fmt;
use std::path::{Path, PathBuf};

use sightline_schemas::Value;
use sightline_schemas::edge::{is_known_field, same_field};

/// What stands before every pseudonym; its digit changes when the way they are made does.
const PREFIX: &str = "kh1:";

/// What must not leave in clear.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Hidden {
    /// Fields by their path, such as `user`, `actor.name` or `fields.email`; whatever lies below a path is hidden too. A
    /// field is found under each of its names: `user` hides `userId`, `fields.email` a top-level `email`.
    pub fields: Vec<String>,
    /// Entities by their type, such as `email`: their values are hidden.
    pub entities: Vec<String>,
    /// Social security numbers of the United States, wherever in the event they stand, also inside of text.
    pub social_security_numbers: bool,
}

/// Makes pseudonyms of what is hidden.
#[derive(Clone)]
pub struct Pseudonyms {
    key: [u8; 32],
    hidden: Hidden,
}

/// There is no key to hash with.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be read: mend its path or its permissions.
    #[error("cannot read the key {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The file holds something else.
    #[error("{} holds no key: expected 64 hexadecimal digits, as `openssl rand -hex 32` writes them", path.display())]
    NoKey {
        /// The file.
        path: PathBuf,
    },
}

impl Pseudonyms {
    /// Pseudonyms under `key`. The same key on every producer whose events are to be joined, and nowhere else.
    pub fn new(key: [u8; 32], hidden: Hidden) -> Self {
        Pseudonyms { key, hidden }
    }

    /// With the key out of a file: 64 hexadecimal digits.
    ///
    /// # Errors
    /// When the file cannot be read or holds no key.
    pub fn with_key_file(path: &Path, hidden: Hidden) -> Result<Self, KeyError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| KeyError::File { path: path.to_owned(), source })?;
        let digits = text.trim();
        let no_key = || KeyError::NoKey { path: path.to_owned() };
        if digits.len() != 64 || !digits.is_ascii() {
            return Err(no_key());
        }
        let mut key = [0; 32];
        for (at, byte) in key.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).map_err(|_| no_key())?;
        }
        Ok(Pseudonyms { key, hidden })
    }

    /// The pseudonym of a value. Of a pseudonym it is the pseudonym itself.
    pub fn of(&self, value: &str) -> String {
        let value = value.trim();
        if is_pseudonym(value) {
            return value.to_owned();
        }
        if let Some(number) = SocialSecurityNumber::whole(value) {
            return self.of_number(&number);
        }
        let said: Cow<'_, str> =
            if value.contains('@') { value.to_lowercase().into() } else { Cow::Borrowed(value) };
        self.hash(&said)
    }

    fn of_number(&self, number: &SocialSecurityNumber) -> String {
        format!("{}:{}", self.hash(&number.0), &number.0[5..])
    }

    fn hash(&self, said: &str) -> String {
        let hash = blake3::keyed_hash(&self.key, said.as_bytes());
        format!("{PREFIX}{}", &hash.to_hex().as_str()[..32])
    }

    /// Hides in an event, as its producer wrote it, what is to be hidden.
    pub fn hide(&self, event: &mut Value<'_>) {
        let Value::Map(members) = event else { return };
        for path in &self.hidden.fields {
            let mut steps = path.split('.');
            let Some(first) = steps.next() else { continue };
            let rest: Vec<&str> = steps.collect();
            for (name, value) in members.iter_mut() {
                if same_field(name, first) {
                    self.below(value, &rest);
                }
                // What the edge does not know it takes for a member of `fields`.
                if first == "fields" && !is_known_field(name) && rest.first().is_some_and(|next| next == name)
                {
                    self.below(value, &rest[1..]);
                }
            }
        }
        if !self.hidden.entities.is_empty() {
            for (_, value) in members.iter_mut().filter(|(name, _)| same_field(name, "entities")) {
                self.hide_entities(value);
            }
        }
        if self.hidden.social_security_numbers {
            members.iter_mut().for_each(|(_, value)| self.hide_numbers(value));
        }
    }

    fn below(&self, value: &mut Value<'_>, path: &[&str]) {
        match (value, path) {
            (Value::List(items), _) => items.iter_mut().for_each(|item| self.below(item, path)),
            (Value::Map(members), [next, rest @ ..]) => {
                members
                    .iter_mut()
                    .filter(|(name, _)| name == next)
                    .for_each(|(_, value)| self.below(value, rest));
            }
            (Value::Map(members), []) => members.iter_mut().for_each(|(_, value)| self.below(value, &[])),
            (value, []) => {
                if let Some(text) = value.as_text() {
                    *value = Value::from(self.of(&text));
                }
            }
            _ => {}
        }
    }

    fn hide_entities(&self, entities: &mut Value<'_>) {
        let Value::List(entities) = entities else { return };
        for entity in entities {
            let hidden = entity
                .get("type")
                .and_then(Value::as_str)
                .is_some_and(|of| self.hidden.entities.iter().any(|hidden| hidden == of));
            if hidden {
                self.below(entity, &["value"]);
            }
        }
    }

    fn hide_numbers(&self, value: &mut Value<'_>) {
        match value {
            Value::List(items) => items.iter_mut().for_each(|item| self.hide_numbers(item)),
            Value::Map(members) => members.iter_mut().for_each(|(_, value)| self.hide_numbers(value)),
            Value::Str(text) => {
                if let Some(hidden) = self.without_numbers(text) {
                    *text = Cow::Owned(hidden);
                }
            }
            Value::Int(number) => {
                if let Some(number) = SocialSecurityNumber::whole(&number.to_string()) {
                    *value = Value::from(self.of_number(&number));
                }
            }
            Value::Null | Value::Bool(_) | Value::Float(_) => {}
        }
    }

    /// The text with a pseudonym for every social security number; `None` where it holds none.
    fn without_numbers(&self, text: &str) -> Option<String> {
        let mut hidden = String::new();
        let mut copied = 0;
        let mut at = 0;
        while let Some(next) = text[at..].find(|c: char| c.is_ascii_digit()) {
            let start = at + next;
            let before = text[..start].chars().next_back();
            match SocialSecurityNumber::at_start(&text[start..]) {
                Some((number, length)) if !before.is_some_and(|before| joins(before, &text[start..])) => {
                    hidden.push_str(&text[copied..start]);
                    hidden.push_str(&self.of_number(&number));
                    at = start + length;
                    copied = at;
                }
                _ => {
                    let run = text[start..].find(|c: char| !c.is_ascii_digit());
                    at = run.map_or(text.len(), |run| start + run);
                }
            }
        }
        (copied > 0).then(|| hidden + &text[copied..])
    }
}

/// Shown without its key: it goes to no log.
impl fmt::Debug for Pseudonyms {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Pseudonyms").field("hidden", &self.hidden).finish_non_exhaustive()
    }
}

/// Whether `c` beside a number says that it is a part of something longer: a digit always, a letter where nothing but
/// the number of its digits says what it is.
fn joins(c: char, number: &str) -> bool {
    let separated = matches!(number.as_bytes().get(3), Some(b'-' | b' '));
    c.is_ascii_digit() || (!separated && (c.is_alphanumeric() || c == '_'))
}

fn is_pseudonym(value: &str) -> bool {
    let Some(rest) = value.strip_prefix(PREFIX) else { return false };
    let (hash, last) = rest.split_once(':').unwrap_or((rest, ""));
    hash.len() == 32
        && hash.bytes().all(|byte| byte.is_ascii_hexdigit())
        && (last.is_empty() || (last.len() == 4 && last.bytes().all(|byte| byte.is_ascii_digit())))
}

/// Nine digits that could be one: <https://www.ssa.gov/employer/randomization.html> says which never are.
struct SocialSecurityNumber(String);

impl SocialSecurityNumber {
    fn whole(text: &str) -> Option<Self> {
        let (number, length) = Self::at_start(text)?;
        (length == text.len()).then_some(number)
    }

    /// The number at the start of the text, as `219-09-9999`, `219 09 9999` or `219099999`, and its length there.
    fn at_start(text: &str) -> Option<(Self, usize)> {
        let bytes = text.as_bytes();
        let separator = bytes.get(3).copied().filter(|byte| matches!(byte, b'-' | b' '));
        let mut digits = String::with_capacity(9);
        let mut at = 0;
        for (place, _) in [(); 9].iter().enumerate() {
            if let (3 | 5, Some(separator)) = (place, separator) {
                if bytes.get(at) != Some(&separator) {
                    return None;
                }
                at += 1;
            }
            let digit = bytes.get(at).copied().filter(u8::is_ascii_digit)?;
            digits.push(char::from(digit));
            at += 1;
        }
        let (area, group, serial) = (&digits[..3], &digits[3..5], &digits[5..]);
        let never =
            area == "000" || area == "666" || area.starts_with('9') || group == "00" || serial == "0000";
        let ends = !text[at..].chars().next().is_some_and(|after| joins(after, text));
        (ends && !never).then_some((SocialSecurityNumber(digits), at))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pseudonyms(hidden: serde_json::Value) -> Pseudonyms {
        Pseudonyms::new([7; 32], serde_json::from_value(hidden).expect("settings"))
    }

    #[track_caller]
    fn hidden(settings: serde_json::Value, event: serde_json::Value) -> serde_json::Value {
        let mut event = Value::from(event);
        pseudonyms(settings).hide(&mut event);
        serde_json::to_value(&event).expect("plain data")
    }

    #[test]
    fn equal_values_stay_equal_under_one_key_and_nothing_else_does() {
        let one = pseudonyms(json!({}));
        assert_eq!(one.of(" Bob@Example.com "), one.of("bob@example.com"));
        assert_eq!(one.of("219-09-9999"), one.of("219099999"));
        assert_ne!(one.of("jdoe"), one.of("JDOE"), "only an address is the same in any case");
        assert_ne!(one.of("a"), Pseudonyms::new([8; 32], Hidden::default()).of("a"));
        assert_eq!(one.of(&one.of("jdoe")), one.of("jdoe"));
        let number = one.of("219-09-9999");
        assert!(number.ends_with(":9999") && is_pseudonym(&number) && !number.contains("219"), "{number}");
        assert!(!format!("{one:?}").contains("7, 7"), "the key is not shown");
    }

    #[test]
    fn a_field_is_hidden_under_each_of_its_names() {
        let of = |value: &str| pseudonyms(json!({})).of(value);
        let settings = json!({ "fields": ["user", "fields.email", "actor"] });
        let event = json!({
            "userId": "u1", "sourceData": { "email": ["a@b.c", "d@e.f"], "n": 1 }, "email": "top@b.c",
            "actor": { "id": 7, "name": { "first": "Bob" } }, "kind": "user",
        });
        assert_eq!(
            hidden(settings, event),
            json!({
                "userId": of("u1"), "sourceData": { "email": [of("a@b.c"), of("d@e.f")], "n": 1 }, "email": of("top@b.c"),
                "actor": { "id": of("7"), "name": { "first": of("Bob") } }, "kind": "user",
            })
        );
    }

    #[test]
    fn entities_are_hidden_by_their_type() {
        let of = |value: &str| pseudonyms(json!({})).of(value);
        let event = json!({ "entities": [{ "type": "email", "value": "A@b.c" }, { "type": "ip", "value": "192.0.2.1" }] });
        assert_eq!(
            hidden(json!({ "entities": ["email"] }), event),
            json!({ "entities": [{ "type": "email", "value": of("a@b.c") }, { "type": "ip", "value": "192.0.2.1" }] })
        );
    }

    #[test]
    fn a_social_security_number_is_found_wherever_it_stands() {
        let number = pseudonyms(json!({})).of("219-09-9999");
        let rows = [
            ("219-09-9999", number.clone()),
            ("219099999", number.clone()),
            ("ssn 219 09 9999, and 219-09-9999.", format!("ssn {number}, and {number}.")),
            ("(219-09-9999)", format!("({number})")),
            ("SSN219-09-9999ü", format!("SSN{number}ü")),
            ("x-219-09-9999", format!("x-{number}")),
            ("000-12-3456 666-12-3456 912-12-3456 123-00-4567 123-45-0000", String::new()),
            ("219-0-99999 219-099999 2190999991 21909999 a219099999 219099999b", String::new()),
        ];
        for (text, expected) in rows {
            let expected = if expected.is_empty() { text.to_owned() } else { expected };
            let settings = json!({ "social_security_numbers": true });
            let event = json!({ "description": text, "fields": { "deep": [{ "er": text }] } });
            let wanted = json!({ "description": expected, "fields": { "deep": [{ "er": expected }] } });
            assert_eq!(hidden(settings, event), wanted, "{text}");
        }
        let as_number = hidden(json!({ "social_security_numbers": true }), json!({ "n": 219_099_999 }));
        assert_eq!(as_number, json!({ "n": number }));
    }

    #[test]
    fn a_key_is_read_from_a_file_or_its_absence_explained() {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let path = folder.path().join("key");
        let error = Pseudonyms::with_key_file(&path, Hidden::default()).expect_err("no file");
        assert!(error.to_string().contains("cannot read the key"), "{error}");
        std::fs::write(&path, "07".repeat(32) + "\n").expect("written");
        let read = Pseudonyms::with_key_file(&path, Hidden::default()).expect("a key");
        assert_eq!(read.of("a"), pseudonyms(json!({})).of("a"));
        std::fs::write(&path, "short").expect("written");
        let error = Pseudonyms::with_key_file(&path, Hidden::default()).expect_err("no key");
        assert!(error.to_string().contains("openssl rand -hex 32"), "{error}");
    }
}
