//! Where each message lives. Tokens taken from data are encoded, so that they can hold no `.`, `*`, `>` or blank.

use std::fmt::Write;

use crate::edge::{Reason, Reject};
use crate::severity::Severity;

/// Everything that can change a result: `events.>` and `control.>`.
pub const EVENTS_STREAM: &str = "EVENTS";
/// What the engine says: `incidents.>`.
pub const INCIDENTS_STREAM: &str = "INCIDENTS";
/// What could not be read: `deadletter.>`.
pub const DEADLETTER_STREAM: &str = "DEADLETTER";

/// Raw evidence, as it came: `evidence.>`. Nothing in it can be deleted.
pub const EVIDENCE_STREAM: &str = "EVIDENCE";

/// Subjects of the stream `EVENTS`.
pub const EVENTS_SUBJECTS: [&str; 2] = ["events.>", "control.>"];
/// Subjects of the stream `INCIDENTS`.
pub const INCIDENTS_SUBJECTS: [&str; 1] = ["incidents.>"];
/// Subjects of the stream `DEADLETTER`.
pub const DEADLETTER_SUBJECTS: [&str; 1] = ["deadletter.>"];

/// Subjects of the stream `EVIDENCE`.
pub const EVIDENCE_SUBJECTS: [&str; 1] = ["evidence.>"];

/// Rule changes enter the log here.
pub const CONTROL_RULES: &str = "control.rules";
/// Time enters the log here when no events flow.
pub const CONTROL_TICK: &str = "control.tick";

/// Header of every output message: the input position that caused it, `seq.index`, and its ordinal there.
pub const HEADER_POSITION: &str = "Sightline-Position";
/// Header of every output message: which input log that position is in.
pub const HEADER_LOG: &str = "Sightline-Log";
/// Header of a dead letter: why it is one.
pub const HEADER_REASON: &str = "Sightline-Reason";
/// Header of a dead letter: one line for people.
pub const HEADER_DETAIL: &str = "Sightline-Detail";
/// Header of a dead letter: the subject that it came on.
pub const HEADER_SUBJECT: &str = "Sightline-Subject";
/// Header of evidence: the BLAKE3 of its bytes, in hexadecimal.
pub const HEADER_BLAKE3: &str = "Sightline-Blake3";
/// Header of what is replayed: which run of a replay it belongs to.
pub const HEADER_REPLAY: &str = "Sightline-Replay";
/// Where a replay says that it is over, and how many events it was.
pub const REPLAY_END: &str = "replay._sightline.end";
/// The standard header that says how a body is written.
pub const HEADER_CONTENT_TYPE: &str = "Content-Type";
/// The standard header that says how a body is compressed.
pub const HEADER_CONTENT_ENCODING: &str = "Content-Encoding";

/// Header of a dead letter that is too large for one message: which part of its body this is, such as `2/3`.
pub const HEADER_PART: &str = "Sightline-Part";

/// Longest encoded token. Names of tenants and sources are shorter; and a subject must fit, with the subject for the
/// answer, on the one line of 4,096 bytes that the server reads, or it ends the connection of who publishes on it.
pub const TOKEN_BYTES_MAX: usize = 128;

/// One token of a subject: letters, digits, `-` and `_` as they are, everything else as `=XX`; never empty.
pub fn encode_token(text: &str) -> String {
    if text.is_empty() {
        return "=".to_owned();
    }
    let mut token = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_' {
            token.push(char::from(byte));
        } else {
            let _ = write!(token, "={byte:02X}");
        }
        if token.len() > TOKEN_BYTES_MAX {
            break;
        }
    }
    token
}

/// The text that [`encode_token`] made a token of; `None` where it is no such token.
pub fn decode_token(token: &str) -> Option<String> {
    if token == "=" {
        return Some(String::new());
    }
    let mut bytes = Vec::with_capacity(token.len());
    let mut rest = token.as_bytes();
    while let [first, tail @ ..] = rest {
        if *first == b'=' {
            let (digits, after) = tail.split_at_checked(2)?;
            bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
            rest = after;
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    String::from_utf8(bytes).ok()
}

/// The tenant and the source that an event subject names.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EventSubject {
    /// Whose events these are.
    pub tenant: String,
    /// Who reports them.
    pub source: String,
}

/// Whether an encoded token can go into another subject as it is.
fn fits(token: &str) -> bool {
    !token.is_empty()
        && token.len() <= TOKEN_BYTES_MAX
        && token.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'*' && byte != b'>')
}

impl EventSubject {
    /// Reads `events.<tenant>.<source>`.
    ///
    /// # Errors
    /// When the subject has another shape.
    pub fn parse(subject: &str) -> Result<Self, Reject> {
        let mut tokens = subject.split('.');
        let parsed = match (tokens.next(), tokens.next(), tokens.next(), tokens.next()) {
            (Some("events"), Some(tenant), Some(source), None) if fits(tenant) && fits(source) => {
                decode_token(tenant).zip(decode_token(source))
            }
            _ => None,
        };
        parsed.map(|(tenant, source)| EventSubject { tenant, source }).ok_or_else(|| {
            let detail = format!(
                "not events.<tenant>.<source>, each of at most {TOKEN_BYTES_MAX} bytes: subject {subject:?}"
            );
            Reject::new(Reason::BadSubject, detail)
        })
    }

    /// `events.<tenant>.<source>`.
    pub fn subject(&self) -> String {
        format!("events.{}.{}", encode_token(&self.tenant), encode_token(&self.source))
    }
}

/// `incidents.<tenant>.<severity>.<rule>`.
pub fn incident(tenant: &str, severity: Severity, rule: &str) -> String {
    format!("incidents.{}.{}.{}", encode_token(tenant), severity.as_str(), encode_token(rule))
}

/// `deadletter.<tenant>.<source>` for what came on `subject`, or `deadletter.unknown` where that cannot be read.
pub fn deadletter(subject: &str) -> String {
    match subject.split('.').collect::<Vec<_>>()[..] {
        ["events", tenant, source] if fits(tenant) && fits(source) => format!("deadletter.{tenant}.{source}"),
        ["control", tenant, _] if fits(tenant) => format!("deadletter.{tenant}.control"),
        _ => "deadletter.unknown".to_owned(),
    }
}

/// `evidence.<tenant>.<source>`.
pub fn evidence(tenant: &str, source: &str) -> String {
    format!("evidence.{}.{}", encode_token(tenant), encode_token(source))
}

/// `replay.<tenant>.<source>`: events that were recorded, for whoever subscribes; no worker takes them for new ones.
pub fn replay(tenant: &str, source: &str) -> String {
    format!("replay.{}.{}", encode_token(tenant), encode_token(source))
}

/// `control.<tenant>.incident`.
pub fn incident_command(tenant: &str) -> String {
    format!("control.{}.incident", encode_token(tenant))
}

/// The tenant of `control.<tenant>.incident`.
pub fn tenant_of_command(subject: &str) -> Option<String> {
    match subject.split('.').collect::<Vec<_>>()[..] {
        ["control", tenant, "incident"] if fits(tenant) => decode_token(tenant),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_hold_nothing_that_a_subject_reads() {
        for text in ["", "a.b", "*", ">", "ein wort", "ü", "a=b", "plain-token_1"] {
            let token = encode_token(text);
            assert!(!token.is_empty() && !token.contains(['.', '*', '>', ' ']), "{token}");
            assert_eq!(decode_token(&token).as_deref(), Some(text));
        }
    }

    #[test]
    fn only_three_tokens_are_an_event_subject() {
        assert!(EventSubject::parse("events.default.iris").is_ok());
        let long = format!("events.default.{}", "x".repeat(TOKEN_BYTES_MAX + 1));
        assert!(EventSubject::parse(&long[..long.len() - 1]).is_ok());
        assert_eq!(deadletter(&long), "deadletter.unknown");
        for subject in [&long, "events.default", "events.a.b.c", "control.rules", "events.a.=G1", ""] {
            assert!(EventSubject::parse(subject).is_err(), "{subject}");
        }
    }
}
