//! Personal identifiers: found, taken out of a record before anybody else sees it, and left as entities.
//!
//! A social security number leaves as its pseudonym, a keyed hash with its last four digits, never in clear: not in an
//! event, not in what is refused, not in a log line. Addresses of mail are written in lower case, telephone numbers as E.164.

use std::path::Path;
use std::sync::LazyLock;

use bytes::Bytes;
use regex::{Captures, Regex};
use serde_json::{Value, json};
use sightline_producers::pseudonyms::KeyError;
use sightline_producers::{Hidden, Pseudonyms};

/// What a social security number may look like: anything before it, area, group, serial. What stands next to it is looked
/// at when it is found: `\b` would not see one behind a letter or an underscore.
static SSN: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"()(\d{3})[- .](\d{2})[- .](\d{4})").expect("constant"));
/// Nine digits where the word before says what they are.
static NAMED_SSN: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"(?i)((?:ssn|social security(?: number)?)\W{0,4})(\d{3})(\d{2})(\d{4})").expect("constant")
});
static NINE_DIGITS: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"()(\d{3})(\d{2})(\d{4})").expect("constant"));
static EMAIL: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"(?i)\b[a-z0-9._%+-]+@[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9-]+)+\b").expect("constant")
});
/// A number with a country code, or ten digits of North America in groups.
static PHONE: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"\+\d{1,3}[ .-]?(?:\(\d{1,4}\)[ .-]?)?\d(?:[ .-]?\d){5,12}\b|(?:\(\d{3}\)[ ]?|\b\d{3}[ .-])\d{3}[ .-]\d{4}\b")
        .expect("constant")
});

/// Finds and hides personal identifiers.
pub struct Personal {
    pseudonyms: Pseudonyms,
    /// What a telephone number without a country code begins with.
    country_code: String,
}

impl Personal {
    /// With what makes pseudonyms of numbers.
    pub fn new(pseudonyms: Pseudonyms, country_code: &str) -> Self {
        Personal { pseudonyms, country_code: country_code.trim_start_matches('+').to_owned() }
    }

    /// With the key in a file: 64 hexadecimal digits, the same on every producer whose events are to be joined.
    ///
    /// # Errors
    /// When it cannot be read or holds no key.
    pub fn open(path: &Path, country_code: &str) -> Result<Self, KeyError> {
        Pseudonyms::with_key_file(path, Hidden::default())
            .map(|pseudonyms| Self::new(pseudonyms, country_code))
    }

    /// Takes social security numbers out of a record and gives all identifiers in it as entities, each once.
    pub fn take_out(&self, record: &mut Value) -> Vec<Value> {
        let mut found = Found { personal: self, entities: Vec::new(), digits: Vec::new() };
        found.walk(record, "");
        // The same number may stand somewhere else without its dashes.
        for digits in std::mem::take(&mut found.digits) {
            erase(record, &digits, &self.mark(&digits));
        }
        found.entities
    }

    /// Text that nobody could read as a record, without anything that could be a social security number.
    pub fn blacken(&self, bytes: &[u8]) -> Bytes {
        let text = String::from_utf8_lossy(bytes);
        let text = self.replace(&SSN, any, &text, &mut Vec::new());
        let text = self.replace(&NINE_DIGITS, any, &text, &mut Vec::new());
        Bytes::from(text)
    }

    /// The name of something whose plain hash would give it away.
    pub fn name_of(&self, plain: &str) -> String {
        self.pseudonyms.of(plain)
    }

    /// What stands in the place of a number: `kh1:HASH:LAST4`.
    fn mark(&self, digits: &str) -> String {
        self.pseudonyms.of(digits)
    }

    /// Replaces what looks like a number, stands alone among digits, and is accepted for one.
    fn replace(&self, pattern: &Regex, accepts: Accepts, text: &str, digits: &mut Vec<String>) -> String {
        let is_digit =
            |at: Option<usize>| at.and_then(|at| text.as_bytes().get(at)).is_some_and(u8::is_ascii_digit);
        let replaced = pattern.replace_all(text, |found: &Captures<'_>| {
            let (Some(first), Some(last)) = (found.get(2), found.get(4)) else { return found[0].to_owned() };
            let inside = is_digit(first.start().checked_sub(1)) || is_digit(Some(last.end()));
            if inside || !accepts([&found[2], &found[3], &found[4]]) {
                return found[0].to_owned();
            }
            let number = [&found[2], &found[3], &found[4]].concat();
            let replaced = format!("{}{}", &found[1], self.mark(&number));
            if !digits.contains(&number) {
                digits.push(number);
            }
            replaced
        });
        replaced.into_owned()
    }

    fn phone(&self, text: &str) -> Option<String> {
        let digits: String = text.chars().filter(char::is_ascii_digit).collect();
        // In North America, a 1 before ten digits is the country's code even without its plus.
        let national_one = self.country_code == "1" && digits.len() == 11 && digits.starts_with('1');
        let full = if text.trim_start().starts_with('+') || national_one {
            digits
        } else {
            format!("{}{}", self.country_code, digits.trim_start_matches('0'))
        };
        // E.164: at most fifteen digits.
        (8..=15).contains(&full.len()).then(|| format!("+{full}"))
    }
}

/// Whether area, group and serial are taken for a number.
type Accepts = fn([&str; 3]) -> bool;

/// Where the place says what it is, or nobody can tell: taxpayers' numbers begin with 9 and are as personal.
fn any(_: [&str; 3]) -> bool {
    true
}

/// The rules of the Social Security Administration: no area 000, 666 or 9xx, no group 00, no serial 0000.
fn valid([area, group, serial]: [&str; 3]) -> bool {
    area != "000" && area != "666" && !area.starts_with('9') && group != "00" && serial != "0000"
}

struct Found<'p> {
    personal: &'p Personal,
    entities: Vec<Value>,
    /// Numbers that were found, in clear. Never leaves this file.
    digits: Vec<String>,
}

impl Found<'_> {
    fn walk(&mut self, value: &mut Value, path: &str) {
        match value {
            Value::Object(members) => {
                let numbers: Vec<String> =
                    members.keys().filter(|name| SSN.is_match(name)).cloned().collect();
                for name in numbers {
                    if let Some(inner) = members.remove(&name) {
                        members.insert(self.text(&name, path), inner);
                    }
                }
                for (name, inner) in members {
                    let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                    self.walk(inner, &path);
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|inner| self.walk(inner, path)),
            Value::String(text) => {
                let said = text.clone();
                *text = self.text(&said, path);
            }
            Value::Number(number) if names_ssn(path) => {
                let padded = format!("{:0>9}", number.to_string());
                *value = Value::String(self.text(&padded, path));
            }
            _ => {}
        }
    }

    /// The text without social security numbers; all identifiers in it become entities.
    fn text(&mut self, text: &str, path: &str) -> String {
        let mut digits = Vec::new();
        let accepts: Accepts = if names_ssn(path) { any } else { valid };
        let mut clean = self.personal.replace(&SSN, accepts, text, &mut digits);
        clean = self.personal.replace(&NAMED_SSN, any, &clean, &mut digits);
        if names_ssn(path) {
            clean = self.personal.replace(&NINE_DIGITS, any, &clean, &mut digits);
        }
        for number in digits {
            self.entity(json!({ "type": "ssn#", "value": self.personal.mark(&number), "origin": path }));
            if !self.digits.contains(&number) {
                self.digits.push(number);
            }
        }
        for found in EMAIL.find_iter(&clean) {
            self.entity(json!({ "type": "email", "value": found.as_str().to_lowercase(), "origin": path }));
        }
        let names_phone = ["phone", "from", "to", "caller", "number", "mobile", "tel"]
            .iter()
            .any(|word| path.to_lowercase().rsplit('.').next().is_some_and(|name| name.contains(word)));
        let mut phones: Vec<String> =
            PHONE.find_iter(&clean).filter_map(|found| self.personal.phone(found.as_str())).collect();
        let bare = clean.trim();
        if phones.is_empty() && names_phone && bare.len() >= 7 && bare.chars().all(|c| c.is_ascii_digit()) {
            phones.extend(self.personal.phone(bare));
        }
        for phone in phones {
            self.entity(json!({ "type": "phone", "value": phone, "origin": path }));
        }
        clean
    }

    /// One entity for one value, whatever its origins.
    fn entity(&mut self, entity: Value) {
        let same = |there: &Value| there["type"] == entity["type"] && there["value"] == entity["value"];
        if !self.entities.iter().any(same) {
            self.entities.push(entity);
        }
    }
}

/// Whether a member's name says that it holds a social security number.
fn names_ssn(path: &str) -> bool {
    let path = path.to_lowercase();
    path.contains("ssn") || path.contains("social")
}

/// Puts the mark in the place of the digits, wherever they stand alone.
fn erase(value: &mut Value, digits: &str, mark: &str) {
    match value {
        Value::Object(members) => members.values_mut().for_each(|inner| erase(inner, digits, mark)),
        Value::Array(items) => items.iter_mut().for_each(|inner| erase(inner, digits, mark)),
        Value::String(text) if text.contains(digits) => *text = text.replace(digits, mark),
        Value::Number(number) if number.to_string() == digits => *value = mark.into(),
        _ => {}
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn personal() -> Personal {
        Personal::new(Pseudonyms::new([7; 32], Hidden::default()), "+1")
    }

    #[test]
    fn identifiers_become_entities_and_the_number_is_gone() {
        let mut record = json!({"text": "SSN 219-09-9999 of Bob@Example.com", "phone": "555-201-7788",
            "from": "+1 (555) 201-7788", "copy": "x219099999y", "n": {"ssn": 219099999}, "file": "ssn_219-09-9999.pdf",
            "219-09-9999": true});
        let found = personal().take_out(&mut record);
        assert!(
            !record.to_string().contains("219099999") && !record.to_string().contains("219-09-9999"),
            "{record}"
        );
        let of = |kind: &str| found.iter().filter(|entity| entity["type"] == kind).collect::<Vec<_>>();
        assert_eq!(of("email")[0]["value"], "bob@example.com");
        assert_eq!((of("phone").len(), &of("phone")[0]["value"]), (1, &json!("+15552017788")));
        let number = of("ssn#")[0]["value"].as_str().expect("text");
        assert!(of("ssn#").len() == 1 && number.starts_with("kh1:") && number.ends_with(":9999"), "{number}");
        assert!(!format!("{found:?}").contains("219"), "{found:?}");
    }

    #[test]
    fn what_cannot_be_a_number_stays() {
        for text in
            ["000-12-3456", "666-12-3456", "912-12-3456", "123-00-4567", "123-45-0000", "order 123456789"]
        {
            let mut record = json!({ "text": text });
            personal().take_out(&mut record);
            assert_eq!(record["text"], text);
        }
    }

    #[test]
    fn where_the_name_says_what_it_is_any_nine_digits_are_hidden() {
        let mut record = json!({"ssn": "912-12-3456", "note": "ssn: 912123456"});
        personal().take_out(&mut record);
        let text = record.to_string();
        assert!(!text.contains("912-12-3456") && !text.contains("912123456"), "{text}");
    }

    #[test]
    fn what_cannot_be_read_is_blackened() {
        let black = personal().blacken(b"{broken 219-09-9999 and 219099999");
        let text = String::from_utf8_lossy(&black);
        assert!(!text.contains("219") && text.contains("kh1:"), "{text}");
    }

    #[test]
    fn another_key_gives_another_hash() {
        let other = Personal::new(Pseudonyms::new([8; 32], Hidden::default()), "+1");
        assert_ne!(personal().mark("219099999"), other.mark("219099999"));
    }
}
