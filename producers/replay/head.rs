//! What the replayer must know of a line: its source and its time. Everything else is the engine's business.

use std::borrow::Cow;

use serde::Deserialize;
use sightline_schemas::EventTime;

/// The source under which lines travel that name none.
pub const UNKNOWN_SOURCE: &str = "unknown";

/// What is read of a line.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// Who reports it; `None` where the line does not say, or is no JSON object.
    pub source: Option<String>,
    /// When it happened; `None` where the line gives no time that can be read.
    pub occurred_at: Option<EventTime>,
}

#[derive(Deserialize)]
struct Members<'a> {
    #[serde(borrow)]
    source: Option<Cow<'a, str>>,
    // Not aliases of one member: a line may give a time under two names.
    occurred_at: Option<serde_json::Value>,
    ts: Option<serde_json::Value>,
    timestamp: Option<serde_json::Value>,
}

impl Head {
    /// Reads the head of a line.
    pub fn of(line: &[u8]) -> Head {
        let Ok(members) = serde_json::from_slice::<Members<'_>>(line) else { return Head::default() };
        let time = members.occurred_at.or(members.ts).or(members.timestamp);
        Head {
            source: members.source.map(Cow::into_owned).filter(|source| !source.trim().is_empty()),
            occurred_at: time.as_ref().and_then(|time| EventTime::parse(time.as_str()?).ok()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_read_under_each_of_its_names() {
        let time = EventTime::parse("2026-05-08T12:00:00Z").expect("valid");
        for name in ["ts", "timestamp", "occurred_at"] {
            let line =
                format!(r#"{{"source":"iris","{name}":"2026-05-08 12:00:00","x":{{"source":"inner"}}}}"#);
            assert_eq!(
                Head::of(line.as_bytes()),
                Head { source: Some("iris".to_owned()), occurred_at: Some(time) }
            );
        }
        assert_eq!(Head::of(br#"{"source":"iris","ts":17}"#).occurred_at, None);
        let twice = br#"{"source":"iris","ts":"2026-05-08T12:00:00Z","timestamp":"2026-05-08T12:00:00Z"}"#;
        assert_eq!(Head::of(twice).occurred_at, Some(time));
    }

    #[test]
    fn what_names_no_source_has_none() {
        for line in
            ["", "not json", "[1]", "17", "{}", r#"{"source":null}"#, r#"{"source":7}"#, r#"{"source":" "}"#]
        {
            assert_eq!(Head::of(line.as_bytes()), Head::default(), "{line}");
        }
    }
}
