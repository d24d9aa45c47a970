//! A syslog message: RFC 5424 with a version, RFC 3164 without.

use jiff::{Timestamp, Zoned, civil, tz::TimeZone};
use serde_json::{Map, Value, json};
use sightline_schemas::EventTime;
use sightline_schemas::edge::{Reason, Reject};

/// Reads a message. A time without a year (RFC 3164) gets the one that lies nearest to `now`, in UTC, and the record says so
/// in `time_assumed`; a message without a time has none.
///
/// # Errors
/// When it does not begin with a priority, `<0>` to `<191>`.
pub fn parse(message: &str, now: EventTime) -> Result<Value, Reject> {
    let none = || {
        Reject::new(
            Reason::Undecodable,
            "no syslog message: expected a priority such as `<34>` at its beginning",
        )
    };
    let message = message.trim_end_matches(['\r', '\n', '\0']);
    let (priority, rest) =
        message.strip_prefix('<').and_then(|rest| rest.split_once('>')).ok_or_else(none)?;
    let priority: u8 = priority.parse().ok().filter(|value| *value <= 191).ok_or_else(none)?;
    let mut record = Map::new();
    record.insert("facility".to_owned(), (priority / 8).into());
    record.insert("level".to_owned(), (priority % 8).into());
    match rest.strip_prefix("1 ") {
        Some(rest) => rfc5424(rest, &mut record)?,
        None => rfc3164(rest, now, &mut record),
    }
    Ok(Value::Object(record))
}

/// `TIMESTAMP HOST APP PROCID MSGID [STRUCTURED] MESSAGE`; `-` is nothing.
fn rfc5424(text: &str, record: &mut Map<String, Value>) -> Result<(), Reject> {
    let mut rest = text;
    for name in ["timestamp", "host", "app", "pid", "msgid"] {
        let (word, after) = rest.split_once(' ').ok_or_else(|| {
            Reject::new(
                Reason::Undecodable,
                format!("no message of RFC 5424: it ends before its `{name}` is complete"),
            )
        })?;
        if word != "-" {
            record.insert(name.to_owned(), word.into());
        }
        rest = after;
    }
    let (structured, text) = structured(rest)?;
    if !structured.is_empty() {
        record.insert("structured".to_owned(), Value::Object(structured));
    }
    let text = text.strip_prefix(' ').unwrap_or(text);
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if !text.is_empty() {
        record.insert("message".to_owned(), text.into());
    }
    Ok(())
}

/// `[id name="value" …]…`, or `-`; and what comes behind it.
fn structured(text: &str) -> Result<(Map<String, Value>, &str), Reject> {
    let broken =
        || Reject::new(Reason::Undecodable, "no message of RFC 5424: its structured data has no end");
    let mut elements = Map::new();
    if let Some(rest) = text.strip_prefix('-') {
        return Ok((elements, rest));
    }
    let mut rest = text;
    while let Some(inner) = rest.strip_prefix('[') {
        let (id, mut inner) = inner.split_at(inner.find([' ', ']']).ok_or_else(broken)?);
        let mut members = Map::new();
        while let Some(pair) = inner.strip_prefix(' ') {
            let (name, value) = pair.split_once("=\"").ok_or_else(broken)?;
            let end = quoted_end(value).ok_or_else(broken)?;
            let plain = value[..end].replace("\\\"", "\"").replace("\\]", "]").replace("\\\\", "\\");
            members.insert(name.trim_start().to_owned(), plain.into());
            inner = &value[end + 1..];
        }
        rest = inner.strip_prefix(']').ok_or_else(broken)?;
        elements.insert(id.to_owned(), Value::Object(members));
    }
    Ok((elements, rest))
}

/// Where the quote is that no backslash stands before.
fn quoted_end(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.char_indices().find_map(|(at, c)| {
        let end = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        end.then_some(at)
    })
}

/// `Mmm dd hh:mm:ss HOST TAG[PID]: MESSAGE`, of which all may be missing. Some daemons write RFC 3339 as the time.
fn rfc3164(text: &str, now: EventTime, record: &mut Map<String, Value>) {
    let mut rest = text;
    let mut timed = true;
    if let Some((at, after)) =
        text.split_at_checked(15).and_then(|(stamp, after)| Some((nearest(stamp, now)?, after)))
    {
        record.insert("timestamp".to_owned(), at.to_string().into());
        record.insert("time_assumed".to_owned(), json!(["year", "zone"]));
        rest = after.trim_start();
    } else if let Some((stamp, after)) =
        text.split_once(' ').filter(|(word, _)| word.parse::<Timestamp>().is_ok())
    {
        record.insert("timestamp".to_owned(), stamp.into());
        rest = after;
    } else {
        timed = false;
    }
    if timed
        && let Some((host, after)) =
            rest.split_once(' ').filter(|(word, _)| !word.ends_with(':') && !word.is_empty())
    {
        record.insert("host".to_owned(), host.into());
        rest = after;
    }
    // A tag is at most 32 letters and ends with a colon or a process id.
    let end = rest.find(|c: char| !(c.is_alphanumeric() || "_-./".contains(c))).unwrap_or(0);
    let (tag, after) = rest.split_at(end);
    let pid = after.strip_prefix('[').and_then(|inner| inner.split_once(']'));
    let message = match (pid, after.strip_prefix(':')) {
        (Some((pid, behind)), _) if !tag.is_empty() => {
            record.insert("pid".to_owned(), pid.into());
            behind.strip_prefix(':')
        }
        (_, behind) => behind.filter(|_| !tag.is_empty()),
    };
    if let Some(message) = message {
        record.insert("app".to_owned(), tag.into());
        rest = message.trim_start();
    }
    if !rest.is_empty() {
        record.insert("message".to_owned(), rest.into());
    }
}

/// The time that `Mmm dd hh:mm:ss` means, in the year in which it lies nearest to now.
fn nearest(stamp: &str, now: EventTime) -> Option<EventTime> {
    let year = Timestamp::from_microsecond(now.as_micros()).ok()?.to_zoned(TimeZone::UTC).year();
    let in_year = |year: i16| {
        // The year comes first, so that the 29th of February is one.
        let text = format!("{year} {}", stamp.trim());
        let local = civil::DateTime::strptime("%Y %b %e %H:%M:%S", text).ok()?;
        let zoned: Zoned = local.to_zoned(TimeZone::UTC).ok()?;
        Some(EventTime::from_micros(zoned.timestamp().as_microsecond()))
    };
    let candidates = [year.checked_sub(1)?, year, year.checked_add(1)?].into_iter().filter_map(in_year);
    candidates.min_by_key(|at| at.since(now).unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Value {
        parse(text, EventTime::parse("2026-01-02T00:00:00Z").expect("valid")).expect("a message")
    }

    #[test]
    fn both_forms_are_read() {
        let new = read("<34>1 2026-04-09T12:00:00Z web01 sshd 123 - - Failed password");
        assert_eq!(
            new,
            json!({"facility": 4, "level": 2, "timestamp": "2026-04-09T12:00:00Z", "host": "web01", "app": "sshd",
                   "pid": "123", "message": "Failed password"})
        );
        let old = read("<13>Dec 31 23:59:58 fw1 kernel: dropped [x]");
        assert_eq!(old["timestamp"], "2025-12-31T23:59:58Z");
        assert_eq!(
            (&old["host"], &old["app"], &old["message"]),
            (&json!("fw1"), &json!("kernel"), &json!("dropped [x]"))
        );
        assert_eq!(old["time_assumed"], json!(["year", "zone"]));
        assert_eq!(read("<13>Jan  2 00:00:01 fw1 su[7]: ok")["timestamp"], "2026-01-02T00:00:01Z");
        assert_eq!(read("<13>Jan  2 00:00:01 fw1 su[7]: ok")["pid"], "7");
    }

    #[test]
    fn structured_data_is_read_with_its_escapes() {
        let read = read(r#"<165>1 - host - - ID47 [a@1 x="1" y="q\"]"][b] text"#);
        assert_eq!(read["structured"], json!({"a@1": {"x": "1", "y": "q\"]"}, "b": {}}));
        assert_eq!((&read["message"], read.get("timestamp")), (&json!("text"), None));
    }

    #[test]
    fn a_message_without_a_time_gets_none() {
        assert_eq!(read("<13>just words"), json!({"facility": 1, "level": 5, "message": "just words"}));
        for bad in ["", "words", "<192>x", "<x>y", "<34>1 2026"] {
            assert!(parse(bad, EventTime::default()).is_err(), "{bad}");
        }
    }
}
