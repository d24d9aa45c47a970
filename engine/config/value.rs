//! What a setting may be, and reading it from text.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use sightline_schemas::source::SourceProfile;

use super::errors::{nearest, quoted};

/// What a setting may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    OptionalText,
    /// Text that is never shown, in no message and no listing.
    Secret,
    Path,
    OptionalPath,
    /// Text that may hold a password before an `@`.
    Url,
    StreamName,
    Count {
        min: u64,
        max: u64,
    },
    /// Bytes.
    Size {
        min: u64,
    },
    Duration {
        min_millis: u64,
        max_millis: u64,
    },
    Word(&'static [&'static str]),
    /// Empty means off.
    Address,
    Paths,
    Sources,
}

/// A setting as it was read. No `Debug`: it may hold a secret.
#[derive(Clone, PartialEq)]
pub(super) enum Value {
    /// An optional one that is not given.
    Unset,
    Text(String),
    Number(u64),
    Duration(Duration),
    Address(Option<SocketAddr>),
    List(Vec<String>),
    Sources(BTreeMap<String, SourceProfile>),
}

/// What is wrong with a text, and what to write.
pub(super) struct Wrong {
    pub message: String,
    pub help: String,
}

impl Wrong {
    pub fn new(message: impl Into<String>, help: impl Into<String>) -> Self {
        Wrong { message: message.into(), help: help.into() }
    }
}

impl Kind {
    /// What is expected, for messages.
    pub fn expected(self) -> String {
        match self {
            Kind::Text | Kind::OptionalText | Kind::Secret => "a text".to_owned(),
            Kind::Path | Kind::OptionalPath => "a path".to_owned(),
            Kind::Url => "an address such as nats://127.0.0.1:4222".to_owned(),
            Kind::StreamName => "a stream name: letters, digits, `-` and `_`".to_owned(),
            Kind::Count { min, max } => format!("a whole number from {min} to {max}"),
            Kind::Size { min } => format!("a size such as 64MiB or 8GiB, at least {}", size_text(min)),
            Kind::Duration { min_millis, max_millis } => format!(
                "a duration such as 5m, 1h 30m or 500ms, from {} to {}",
                humantime::format_duration(Duration::from_millis(min_millis)),
                days_text(max_millis)
            ),
            Kind::Word(words) => format!("one of {}", words.join(", ")),
            Kind::Address => "an address such as 127.0.0.1:9464, or an empty text for none".to_owned(),
            Kind::Paths => "a list of paths such as [rules, more/rules.yaml]".to_owned(),
            Kind::Sources => "a map such as {edr: {severity: low, require: [host_id]}}".to_owned(),
        }
    }

    /// The text as it may be shown.
    pub fn shown(self, text: &str) -> String {
        match self {
            Kind::Secret if text.is_empty() => String::new(),
            Kind::Secret => "***".to_owned(),
            Kind::Url => without_userinfo(text),
            _ => text.to_owned(),
        }
    }

    /// Reads a single value. Lists and maps are read elsewhere.
    pub fn read(self, text: &str) -> Result<Value, Wrong> {
        let text = if self == Kind::Secret { text } else { text.trim() };
        match self {
            Kind::OptionalText | Kind::OptionalPath | Kind::Secret if text.is_empty() => Ok(Value::Unset),
            Kind::Text | Kind::Path | Kind::Url if text.is_empty() => {
                Err(Wrong::new("an empty text", format!("expected {}", self.expected())))
            }
            Kind::OptionalText | Kind::OptionalPath | Kind::Secret | Kind::Text | Kind::Path => {
                Ok(Value::Text(text.to_owned()))
            }
            Kind::Url => self.read_url(text),
            Kind::StreamName => self.read_stream_name(text),
            Kind::Count { min, max } => match text.replace('_', "").parse::<u64>() {
                Ok(number) if (min..=max).contains(&number) => Ok(Value::Number(number)),
                Ok(_) => Err(self.wrong(text, "is out of range")),
                Err(_) => Err(self.wrong(text, "is not a whole number")),
            },
            Kind::Size { min } => match read_size(text)? {
                bytes if bytes >= min => Ok(Value::Number(bytes)),
                _ => Err(self.wrong(text, "is too small")),
            },
            Kind::Duration { min_millis, max_millis } => {
                let duration = self.read_duration(text)?;
                let range = Duration::from_millis(min_millis)..=Duration::from_millis(max_millis);
                if range.contains(&duration) {
                    Ok(Value::Duration(duration))
                } else {
                    Err(self.wrong(text, "is out of range"))
                }
            }
            Kind::Word(words) if words.contains(&text) => Ok(Value::Text(text.to_owned())),
            Kind::Word(words) => Err(match nearest(text, words.iter().copied()) {
                Some(word) => Wrong::new(
                    format!("{} is not known", quoted(text)),
                    format!("did you mean `{word}`? expected {}", self.expected()),
                ),
                None => self.wrong(text, "is not known"),
            }),
            Kind::Address => self.read_address(text).map(Value::Address),
            Kind::Paths | Kind::Sources => Err(self.wrong(text, "is a single value")),
        }
    }

    fn wrong(self, text: &str, why: &str) -> Wrong {
        let shown = if self == Kind::Secret { "the value".to_owned() } else { quoted(&self.shown(text)) };
        Wrong::new(format!("{shown} {why}"), format!("expected {}", self.expected()))
    }

    fn read_url(self, text: &str) -> Result<Value, Wrong> {
        const SCHEMES: [&str; 4] = ["nats", "tls", "ws", "wss"];
        for server in text.split(',').map(str::trim) {
            match server.split_once("://") {
                _ if server.is_empty() || server.contains(char::is_whitespace) => {
                    return Err(self.wrong(text, "is no address"));
                }
                Some((scheme, _)) if !SCHEMES.contains(&scheme) => {
                    return Err(self.wrong(text, "has a scheme other than nats, tls, ws or wss"));
                }
                _ => {}
            }
        }
        Ok(Value::Text(text.to_owned()))
    }

    fn read_stream_name(self, text: &str) -> Result<Value, Wrong> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if !text.is_empty() && text.len() <= 128 && text.chars().all(allowed) {
            Ok(Value::Text(text.to_owned()))
        } else {
            Err(self.wrong(text, "is no stream name"))
        }
    }

    fn read_duration(self, text: &str) -> Result<Duration, Wrong> {
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(Wrong::new(
                format!("{} has no unit", quoted(text)),
                format!("write {text}s for seconds; expected {}", self.expected()),
            ));
        }
        humantime::parse_duration(text).map_err(|_| self.wrong(text, "is no duration"))
    }

    fn read_address(self, text: &str) -> Result<Option<SocketAddr>, Wrong> {
        if text.is_empty() {
            return Ok(None);
        }
        // The one name that needs no resolver.
        if let Some(port) = text.strip_prefix("localhost:").and_then(|port| port.parse().ok()) {
            return Ok(Some(SocketAddr::from((Ipv4Addr::LOCALHOST, port))));
        }
        text.parse().map(Some).map_err(|_| self.wrong(text, "is no address"))
    }
}

/// `nats://user:password@host` without what stands before the last `@`, other servers included: a comma may stand in
/// a password as well as between servers.
fn without_userinfo(urls: &str) -> String {
    let Some((before, host)) = urls.rsplit_once('@') else { return urls.to_owned() };
    match before.split_once("://") {
        Some((scheme, _)) => format!("{scheme}://***@{host}"),
        None => format!("***@{host}"),
    }
}

/// Units of sizes, largest first so that a size is written in the largest that divides it.
const UNITS: [(&str, u64); 7] = [
    ("GiB", 1 << 30),
    ("GB", 1_000_000_000),
    ("MiB", 1 << 20),
    ("MB", 1_000_000),
    ("KiB", 1 << 10),
    ("KB", 1_000),
    ("B", 1),
];

/// Reads `64MiB`.
fn read_size(text: &str) -> Result<u64, Wrong> {
    let expected = "expected a size such as 64MiB: a whole number and B, KiB, MiB, GiB, KB, MB or GB";
    let digits_end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = (&text[..digits_end], text[digits_end..].trim_start());
    let wrong = |why: &str| Wrong::new(format!("{} {why}", quoted(text)), expected);
    if digits.is_empty() {
        return Err(wrong("is no size"));
    }
    if unit.is_empty() {
        return Err(Wrong::new(
            format!("{} has no unit", quoted(text)),
            format!("write {digits}B for bytes; {expected}"),
        ));
    }
    let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(|| wrong("is no size"))?;
    let number = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(*factor));
    // JetStream counts bytes in a signed 64-bit number.
    number.filter(|bytes| i64::try_from(*bytes).is_ok()).ok_or_else(|| wrong("is too large"))
}

fn size_text(bytes: u64) -> String {
    let (unit, factor) = UNITS
        .iter()
        .filter(|(unit, _)| unit.ends_with("iB"))
        .find(|(_, factor)| bytes > 0 && bytes.is_multiple_of(*factor))
        .unwrap_or(&("B", 1));
    format!("{}{unit}", bytes / factor)
}

/// Days, where a duration is whole days: humantime would write months of 30.44 days.
fn days_text(millis: u64) -> String {
    const DAY: u64 = 86_400_000;
    if millis > 0 && millis.is_multiple_of(DAY) {
        format!("{}d", millis / DAY)
    } else {
        humantime::format_duration(Duration::from_millis(millis)).to_string()
    }
}
