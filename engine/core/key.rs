//! Keys: the values that tie events together, brought to one spelling.

use std::net::IpAddr;
use std::sync::Arc;

use sightline_schemas::incident::{Named, ScopeType};

use crate::limits::KEY_VALUE_BYTES_MAX;

/// How a key value is brought to one spelling.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Normal {
    /// As it is, blanks at the ends cut.
    Text,
    /// Lower case, blanks at the ends cut.
    Caseless,
    /// Lower case, no dot at the end.
    Host,
    /// The account alone, lower case: `THESHIRE\pgustavo` and `pgustavo@THESHIRE.LOCAL` are `pgustavo`.
    User,
    /// Canonical: `2001:DB8:0:0::1` is `2001:db8::1`, `::ffff:1.2.3.4` is `1.2.3.4`.
    Ip,
    /// Lower case.
    Hash,
    /// Scheme and host lower case, path and query as they are.
    Url,
    /// Lower case, no dot at the end.
    Domain,
    /// Lower case.
    Email,
    /// Whatever of the above the value looks like.
    Value,
}

impl Normal {
    /// All of them with the name that a rule uses.
    pub const NAMES: [(&'static str, Normal); 10] = [
        ("text", Normal::Text),
        ("caseless", Normal::Caseless),
        ("host", Normal::Host),
        ("user", Normal::User),
        ("ip", Normal::Ip),
        ("hash", Normal::Hash),
        ("url", Normal::Url),
        ("domain", Normal::Domain),
        ("email", Normal::Email),
        ("value", Normal::Value),
    ];

    /// The one that fits a key part of that name, where the rule says nothing.
    pub fn by_name(name: &str) -> Normal {
        let last = name.rsplit('.').next().unwrap_or(name);
        match last {
            "host_id" | "host" | "hostname" => Normal::Host,
            "user" | "username" | "subject_user" => Normal::User,
            "md5" | "sha1" | "sha256" | "sha512" | "hash" | "file_hash" | "image_hash" => Normal::Hash,
            "url" => Normal::Url,
            "domain" | "query" => Normal::Domain,
            "email" | "mail" => Normal::Email,
            "value" | "indicator" => Normal::Value,
            "ip" => Normal::Ip,
            _ if last.ends_with("_ip") => Normal::Ip,
            _ => Normal::Text,
        }
    }

    /// What an incident keyed by such a value is about.
    pub fn scope(self) -> ScopeType {
        match self {
            Normal::Host => ScopeType::Host,
            Normal::User => ScopeType::User,
            _ => ScopeType::Value,
        }
    }

    /// The one spelling of a value; `None` where nothing is left of it.
    pub fn apply(self, raw: &str) -> Option<String> {
        let text = raw.trim();
        if text.is_empty() {
            return None;
        }
        let normal = match self {
            Normal::Text => text.to_owned(),
            Normal::Caseless => text.to_lowercase(),
            Normal::Host | Normal::Domain => text.trim_end_matches('.').to_lowercase(),
            Normal::User => account(text),
            Normal::Ip => ip(text).unwrap_or_else(|| text.to_lowercase()),
            Normal::Hash => text.to_ascii_lowercase(),
            Normal::Email => text.to_lowercase(),
            Normal::Url => url(text).unwrap_or_else(|| text.to_owned()),
            Normal::Value => {
                ip(text).or_else(|| url(text)).unwrap_or_else(|| text.trim_end_matches('.').to_lowercase())
            }
        };
        bounded(normal)
    }
}

/// Control characters out (they separate the parts of a key), and no longer than allowed.
fn bounded(normal: String) -> Option<String> {
    let mut clean = match normal.contains(char::is_control) {
        true => normal.replace(char::is_control, ""),
        false => normal,
    };
    if clean.len() > KEY_VALUE_BYTES_MAX {
        let hash = blake3::hash(clean.as_bytes()).to_hex();
        let mut cut = KEY_VALUE_BYTES_MAX - 33;
        while !clean.is_char_boundary(cut) {
            cut -= 1;
        }
        clean.truncate(cut);
        clean.push('~');
        clean.push_str(&hash.as_str()[..32]);
    }
    (!clean.is_empty()).then_some(clean)
}

fn account(text: &str) -> String {
    let account = text.rsplit('\\').next().unwrap_or(text);
    let account = account.split('@').next().unwrap_or(account);
    // `@domain` alone names nobody: keep it as it is.
    if account.is_empty() { text.to_lowercase() } else { account.to_lowercase() }
}

fn ip(text: &str) -> Option<String> {
    let text = text.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).unwrap_or(text);
    text.parse::<IpAddr>().ok().map(|address| address.to_canonical().to_string())
}

/// Scheme, host and the rest of a URL: `(http, example.com, :80/path?query)`.
fn url_parts(text: &str) -> Option<(&str, &str, &str)> {
    let (scheme, rest) = text.split_once("://")?;
    if scheme.is_empty() || !scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
    {
        return None;
    }
    let authority_len = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(authority_len);
    let host_from = authority.rfind('@').map_or(0, |at| at + 1);
    let host_and_port = &authority[host_from..];
    let host_len = match host_and_port.starts_with('[') {
        true => host_and_port.find(']').map_or(host_and_port.len(), |end| end + 1),
        false => host_and_port.find(':').unwrap_or(host_and_port.len()),
    };
    let host = &host_and_port[..host_len];
    if host.is_empty() {
        return None;
    }
    let from = authority_len - (host_and_port.len() - host_len);
    let _ = path;
    Some((scheme, host, &rest[from..]))
}

fn url(text: &str) -> Option<String> {
    let (scheme, host, rest) = url_parts(text)?;
    let host = host.trim_end_matches('.').to_lowercase();
    Some(format!("{}://{host}{rest}", scheme.to_ascii_lowercase()))
}

/// The host of a URL, as it is written.
pub fn url_host(text: &str) -> Option<&str> {
    url_parts(text.trim()).map(|(_, host, _)| host.trim_start_matches('[').trim_end_matches(']'))
}

/// The values that name one window of one rule: one for each part of the rule's `by`, in that order. Clones share it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(from = "Vec<String>", into = "Vec<String>")]
pub struct Key(Arc<str>);

/// Stands behind each value. Control characters cannot stand in values.
const SEPARATOR: char = '\u{1f}';

impl Key {
    /// From normalised values.
    pub fn new(values: Vec<String>) -> Self {
        let mut text = String::with_capacity(values.iter().map(|value| value.len() + 1).sum());
        for value in values {
            text.push_str(&value);
            text.push(SEPARATOR);
        }
        Key(text.into())
    }

    /// The values.
    pub fn values(&self) -> impl Iterator<Item = &str> {
        self.0.split_terminator(SEPARATOR)
    }

    /// One text that no other key of the same rule has.
    pub fn canonical(&self) -> &str {
        self.0.strip_suffix(SEPARATOR).unwrap_or(&self.0)
    }

    /// Whether both are one in memory, and so certainly equal.
    pub fn is_shared_with(&self, other: &Key) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// The key for people.
    pub fn display(&self) -> String {
        let shown: Vec<&str> =
            self.values().map(|value| if value.is_empty() { "-" } else { value }).collect();
        if shown.is_empty() { "everything".to_owned() } else { shown.join(" | ") }
    }

    /// The values with the names of their parts.
    pub fn named(&self, names: &[crate::rule::KeyPart]) -> Vec<Named> {
        let pairs = names.iter().zip(self.values());
        pairs.map(|(part, value)| Named { name: part.name.clone(), value: value.to_string() }).collect()
    }
}

impl From<Vec<String>> for Key {
    fn from(values: Vec<String>) -> Self {
        Key::new(values)
    }
}

impl From<Key> for Vec<String> {
    fn from(key: Key) -> Self {
        key.values().map(str::to_owned).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_spellings_of_a_user_are_one() {
        for text in ["pgustavo", "pgustavo@THESHIRE.LOCAL", "THESHIRE\\pgustavo", " PGustavo "] {
            assert_eq!(Normal::User.apply(text).as_deref(), Some("pgustavo"));
        }
    }

    #[test]
    fn addresses_names_and_urls_have_one_spelling() {
        let cases = [
            (Normal::Domain, "Evil.Example.com.", "evil.example.com"),
            (Normal::Value, "2001:DB8:0:0::1", "2001:db8::1"),
            (Normal::Value, "::ffff:1.2.3.4", "1.2.3.4"),
            (Normal::Value, "HTTP://EX.com/A", "http://ex.com/A"),
            (
                Normal::Url,
                "https://DHL-tracking.secure-verify.com:8443/P?Id=1",
                "https://dhl-tracking.secure-verify.com:8443/P?Id=1",
            ),
            (Normal::Hash, "ABCDEF", "abcdef"),
        ];
        for (normal, raw, expected) in cases {
            assert_eq!(normal.apply(raw).as_deref(), Some(expected));
        }
        assert_ne!(Normal::Url.apply("http://ex.com/a"), Normal::Url.apply("http://ex.com/A"));
        assert_eq!(Normal::Text.apply("   "), None);
    }

    #[test]
    fn the_host_of_a_url_is_found() {
        let cases = [
            ("http://10.0.5.13:8080/x", Some("10.0.5.13")),
            ("https://user:pass@Host/x", Some("Host")),
            ("http://[2001:db8::1]:80/", Some("2001:db8::1")),
            ("http://", None),
            ("not a url", None),
        ];
        for (text, expected) in cases {
            assert_eq!(url_host(text), expected, "{text}");
        }
    }

    #[test]
    fn an_overlong_value_keeps_its_identity() {
        let (a, b) = (format!("{}a", "x".repeat(400)), format!("{}b", "x".repeat(400)));
        let (a, b) = (Normal::Text.apply(&a), Normal::Text.apply(&b));
        assert_ne!(a, b);
        assert!(a.is_some_and(|value| value.len() <= KEY_VALUE_BYTES_MAX));
    }
}
