//! Points in time: microseconds since 1970-01-01T00:00:00Z.

use std::fmt;

use jiff::{Timestamp, civil, tz::TimeZone};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A point in time, in microseconds since the Unix epoch. Used for event time and for log time alike.
///
/// Written as RFC 3339 in UTC for people (JSON) and as an integer of microseconds in binary formats.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventTime(i64);

/// The text is no time that can be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "cannot read time {text:?}: expected RFC 3339 such as 2026-05-08T12:00:00Z, or `YYYY-MM-DD HH:MM:SS` in UTC"
)]
pub struct TimeError {
    text: String,
}

impl EventTime {
    /// The earliest time there is.
    pub const MIN: EventTime = EventTime(i64::MIN);
    /// The latest time there is.
    pub const MAX: EventTime = EventTime(i64::MAX);

    /// From microseconds since the Unix epoch.
    pub const fn from_micros(micros: i64) -> Self {
        EventTime(micros)
    }

    /// Microseconds since the Unix epoch.
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// This time, `micros` later (or earlier, if negative), held inside the representable range.
    pub const fn plus(self, micros: i64) -> Self {
        EventTime(self.0.saturating_add(micros))
    }

    /// This time, `micros` earlier, held inside the representable range.
    pub const fn minus(self, micros: i64) -> Self {
        EventTime(self.0.saturating_sub(micros))
    }

    /// Microseconds from `earlier` to this time; negative if `earlier` is later.
    pub const fn since(self, earlier: EventTime) -> i64 {
        self.0.saturating_sub(earlier.0)
    }

    /// Reads RFC 3339 with a zone, or `YYYY-MM-DD HH:MM:SS` (also with `T` and a fraction) as UTC.
    ///
    /// # Errors
    /// When the text is neither. A time is never guessed.
    pub fn parse(text: &str) -> Result<Self, TimeError> {
        if let Some(micros) = plain_utc(text.as_bytes()) {
            return Ok(EventTime(micros));
        }
        let trimmed = text.trim();
        if let Ok(timestamp) = trimmed.parse::<Timestamp>() {
            return Ok(EventTime(timestamp.as_microsecond()));
        }
        // A date alone is a day, not a moment: jiff would read it as midnight.
        let has_clock = trimmed.len() > 10;
        match trimmed.parse::<civil::DateTime>() {
            Ok(local) if has_clock => match local.to_zoned(TimeZone::UTC) {
                Ok(zoned) => Ok(EventTime(zoned.timestamp().as_microsecond())),
                Err(_) => Err(TimeError { text: text.to_owned() }),
            },
            _ => Err(TimeError { text: shorten(text) }),
        }
    }
}

/// The spelling of nearly every event, `2026-05-08T12:00:00.123Z` since 1970, in a fraction of the time. `None` for every
/// other spelling, and for what is no time.
fn plain_utc(text: &[u8]) -> Option<i64> {
    let [y0, y1, y2, y3, b'-', m0, m1, b'-', d0, d1, b'T', h0, h1, b':', i0, i1, b':', s0, s1, rest @ ..] =
        text
    else {
        return None;
    };
    let digit = |byte: &u8| byte.is_ascii_digit().then(|| i64::from(byte - b'0'));
    let two = |tens, ones| Some(digit(tens)? * 10 + digit(ones)?);
    let (year, month, day) = (two(y0, y1)? * 100 + two(y2, y3)?, two(m0, m1)?, two(d0, d1)?);
    let (hour, minute, second) = (two(h0, h1)?, two(i0, i1)?, two(s0, s1)?);
    // The leap second is for the careful reader, too.
    if year < 1970 || !(1..=12).contains(&month) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = [31, 28 + i64::from(is_leap), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    if !(1..=days[month as usize - 1]).contains(&day) {
        return None;
    }
    let micros = match rest {
        [b'Z'] => 0,
        [b'.', fraction @ .., b'Z'] if (1..=9).contains(&fraction.len()) => {
            let nanos = fraction.iter().try_fold(0, |sum, byte| Some(sum * 10 + digit(byte)?))?;
            nanos * 10i64.pow(9 - fraction.len() as u32) / 1_000
        }
        _ => return None,
    };
    let before = year - 1;
    let leap_days = (before / 4 - before / 100 + before / 400) - (1969 / 4 - 1969 / 100 + 1969 / 400);
    let day_of_year: i64 = days[..month as usize - 1].iter().sum::<i64>() + day - 1;
    let whole_days = (year - 1970) * 365 + leap_days + day_of_year;
    Some((((whole_days * 24 + hour) * 60 + minute) * 60 + second) * 1_000_000 + micros)
}

fn shorten(text: &str) -> String {
    text.chars().take(64).collect()
}

impl std::str::FromStr for EventTime {
    type Err = TimeError;

    fn from_str(text: &str) -> Result<Self, TimeError> {
        EventTime::parse(text)
    }
}

impl fmt::Display for EventTime {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Timestamp::from_microsecond(self.0) {
            // Whole seconds without a fraction, otherwise milliseconds, or microseconds where there are any.
            Ok(time) if self.0 % 1_000_000 == 0 => write!(out, "{time:.0}"),
            Ok(time) if self.0 % 1_000 == 0 => write!(out, "{time:.3}"),
            Ok(time) => write!(out, "{time:.6}"),
            Err(_) => write!(out, "{}us", self.0),
        }
    }
}

impl Serialize for EventTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            serializer.serialize_i64(self.0)
        }
    }
}

impl<'de> Deserialize<'de> for EventTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            let text = String::deserialize(deserializer)?;
            EventTime::parse(&text).map_err(serde::de::Error::custom)
        } else {
            i64::deserialize(deserializer).map(EventTime)
        }
    }
}

impl schemars::JsonSchema for EventTime {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Time".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "format": "date-time" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zone_less_time_is_utc() {
        let zoned = EventTime::parse("2026-05-08T12:30:00Z").expect("valid");
        assert_eq!(EventTime::parse("2026-05-08 12:30:00"), Ok(zoned));
        assert_eq!(EventTime::parse("2026-05-08T14:30:00+02:00"), Ok(zoned));
        assert_eq!(zoned.to_string(), "2026-05-08T12:30:00Z");
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in ["", "not-a-date", "2026-05-08", "1715171400", "2026-13-01T00:00:00Z", "12:30"] {
            assert!(EventTime::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn the_plain_spelling_is_read_as_the_careful_reader_reads_it() {
        let mut chance = 7u64;
        let mut below = |bound: u64| {
            chance ^= chance << 13;
            chance ^= chance >> 7;
            chance ^= chance << 17;
            chance % bound
        };
        let mut read = 0;
        for _ in 0..20_000 {
            let digits = below(10) as usize;
            let fraction = format!(".{:09}", below(1_000_000_000));
            let text = format!(
                "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}{}Z",
                1960 + below(200),
                below(14),
                below(33),
                below(25),
                below(61),
                below(62),
                if digits == 0 { "" } else { &fraction[..=digits] },
            );
            let careful = text.parse::<Timestamp>().ok().map(|time| time.as_microsecond());
            if let Some(micros) = plain_utc(text.as_bytes()) {
                assert_eq!(Some(micros), careful, "{text}");
                read += 1;
            }
        }
        assert!(read > 10_000, "{read} were plain");
    }

    #[test]
    fn printing_keeps_what_was_read() {
        for text in ["2026-05-08T12:30:00Z", "2026-05-08T12:30:00.120Z", "2026-05-08T12:30:00.000001Z"] {
            assert_eq!(EventTime::parse(text).expect("valid").to_string(), text);
        }
    }
}
