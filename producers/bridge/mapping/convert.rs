//! What a mapping can do to a value on its way: read a time, change the case, take it apart.

use jiff::{Timestamp, civil, tz::TimeZone};
use serde_json::Value;
use sightline_schemas::EventTime;

use super::text_of;

/// One conversion, as `as:` names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Convert {
    /// `epoch`: seconds since 1970, with or without a fraction. A time that is written out stays as it is.
    Epoch,
    /// `epoch_ms`: milliseconds since 1970.
    EpochMillis,
    /// `epoch_us`: microseconds since 1970.
    EpochMicros,
    /// `epoch_ns`: nanoseconds since 1970.
    EpochNanos,
    /// `time FORMAT`: as `strptime` writes it; UTC where the text names no zone.
    Time(String),
    /// `lower`
    Lower,
    /// `upper`
    Upper,
    /// `int`: a whole number out of text; hexadecimal with `0x`.
    Int,
    /// `text`
    Text,
    /// `split SEPARATOR`: a list out of text.
    Split(String),
    /// `base`: what stands behind the last `/` or `\`.
    Base,
    /// `hex`: bytes written as hexadecimal digits, NULs as blanks; anything else stays as it is.
    Hex,
    /// `json`: what JSON text says; anything else stays as it is.
    Json,
}

impl Convert {
    /// What can be written.
    pub const NAMES: [&'static str; 13] = [
        "epoch", "epoch_ms", "epoch_us", "epoch_ns", "time", "lower", "upper", "int", "text", "split",
        "base", "hex", "json",
    ];

    /// Reads one, such as `lower` or `time %d/%b/%Y:%H:%M:%S %z`.
    pub fn parse(text: &str) -> Option<Self> {
        let (name, argument) = text.split_once(' ').unwrap_or((text, ""));
        Some(match (name, argument) {
            ("epoch", "") => Convert::Epoch,
            ("epoch_ms", "") => Convert::EpochMillis,
            ("epoch_us", "") => Convert::EpochMicros,
            ("epoch_ns", "") => Convert::EpochNanos,
            ("time", format) if !format.is_empty() => Convert::Time(format.to_owned()),
            ("lower", "") => Convert::Lower,
            ("upper", "") => Convert::Upper,
            ("int", "") => Convert::Int,
            ("text", "") => Convert::Text,
            ("split", separator) if !separator.is_empty() => Convert::Split(separator.to_owned()),
            ("base", "") => Convert::Base,
            ("hex", "") => Convert::Hex,
            ("json", "") => Convert::Json,
            _ => return None,
        })
    }

    /// Converts a value.
    ///
    /// # Errors
    /// When it is none of this sort. Times only: a time that cannot be read refuses the record, anything else that cannot
    /// be converted is as good as absent.
    pub fn apply(&self, value: Value) -> Result<Option<Value>, String> {
        let text = text_of(&value);
        Ok(match self {
            Convert::Epoch => Some(epoch(&value, 1_000_000.0)?),
            Convert::EpochMillis => Some(epoch(&value, 1_000.0)?),
            Convert::EpochMicros => Some(epoch(&value, 1.0)?),
            Convert::EpochNanos => Some(epoch(&value, 0.001)?),
            Convert::Time(format) => Some(strptime(format, text.as_deref().unwrap_or_default())?),
            Convert::Lower => text.map(|text| text.to_lowercase().into()),
            Convert::Upper => text.map(|text| text.to_uppercase().into()),
            Convert::Text => text.map(|text| text.into_owned().into()),
            Convert::Int => text.as_deref().and_then(int).map(Value::from),
            Convert::Split(separator) => text.map(|text| {
                let parts = text.split(separator.as_str()).map(str::trim).filter(|part| !part.is_empty());
                parts.map(Value::from).collect()
            }),
            Convert::Base => {
                text.map(|text| text.rsplit(['/', '\\']).next().unwrap_or_default().to_owned().into())
            }
            Convert::Hex => Some(text.as_deref().and_then(unhex).map_or(value, Value::String)),
            Convert::Json => {
                Some(text.as_deref().and_then(|text| serde_json::from_str(text).ok()).unwrap_or(value))
            }
        })
    }
}

fn int(text: &str) -> Option<i64> {
    let text = text.trim();
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => i64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

/// The text that an even number of hexadecimal digits stands for.
pub fn unhex(digits: &str) -> Option<String> {
    if digits.is_empty()
        || !digits.len().is_multiple_of(2)
        || !digits.bytes().all(|byte| byte.is_ascii_hexdigit())
    {
        return None;
    }
    let byte = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).ok();
    let bytes: Option<Vec<u8>> = (0..digits.len()).step_by(2).map(byte).collect();
    Some(String::from_utf8_lossy(&bytes?).trim_end_matches('\0').replace('\0', " "))
}

/// A number of units, each of so many microseconds, since 1970.
fn epoch(value: &Value, micros: f64) -> Result<Value, String> {
    let text = text_of(value).unwrap_or_default();
    // Many sources can be set to either, and some write both.
    if EventTime::parse(&text).is_ok() {
        return Ok(text.into_owned().into());
    }
    let bad = || format!("cannot read time {text:?}: expected a number since 1970");
    // Whole numbers stay exact; a fraction has less than a microsecond of error until the year 2100.
    let at = match (text.trim().parse::<i64>(), micros >= 1.0) {
        #[expect(clippy::cast_possible_truncation, reason = "1, 1,000 or 1,000,000")]
        (Ok(whole), true) => whole.checked_mul(micros as i64).ok_or_else(bad)?,
        (Ok(whole), false) => whole / 1_000,
        (Err(_), _) => {
            let number: f64 = text.trim().parse().map_err(|_| bad())?;
            let at = (number * micros).round();
            if !at.is_finite() || at.abs() > 9e18 {
                return Err(bad());
            }
            #[expect(clippy::cast_possible_truncation, reason = "bounded above")]
            let at = at as i64;
            at
        }
    };
    match Timestamp::from_microsecond(at) {
        Ok(_) => Ok(EventTime::from_micros(at).to_string().into()),
        Err(_) => Err(bad()),
    }
}

fn strptime(format: &str, text: &str) -> Result<Value, String> {
    let at = Timestamp::strptime(format, text.trim()).or_else(|_| {
        civil::DateTime::strptime(format, text.trim())
            .and_then(|local| local.to_zoned(TimeZone::UTC))
            .map(|zoned| zoned.timestamp())
    });
    match at {
        Ok(at) => Ok(EventTime::from_micros(at.as_microsecond()).to_string().into()),
        Err(_) => Err(format!("cannot read time {text:?}: expected the form {format:?}")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn convert(how: &str, value: Value) -> Option<Value> {
        Convert::parse(how).expect("a conversion").apply(value).expect("convertible")
    }

    #[test]
    fn times_of_every_form_are_the_same_moment() {
        let at = Some(json!("2013-03-27T14:22:43.243Z"));
        assert_eq!(convert("epoch", json!(1364394163.243)), at);
        assert_eq!(convert("epoch", json!("1364394163.243")), at);
        assert_eq!(convert("epoch_ms", json!(1364394163243_i64)), at);
        assert_eq!(convert("epoch_us", json!("1364394163243000")), at);
        assert_eq!(convert("epoch_ns", json!(1364394163243000000_i64)), at);
        assert_eq!(
            convert("time %d/%b/%Y:%H:%M:%S %z", json!("27/Mar/2013:16:22:43 +0200")),
            Some(json!("2013-03-27T14:22:43Z"))
        );
        assert_eq!(
            convert("time %Y-%m-%d %H:%M:%S", json!("2013-03-27 14:22:43")),
            Some(json!("2013-03-27T14:22:43Z"))
        );
        assert_eq!(convert("epoch_ms", json!("2013-03-27 14:22:43")), Some(json!("2013-03-27 14:22:43")));
        for bad in [json!("yesterday"), json!(1e300), json!(null)] {
            assert!(Convert::Epoch.apply(bad.clone()).is_err(), "{bad}");
        }
    }

    #[test]
    fn values_are_taken_apart() {
        assert_eq!(convert("base", json!(r"C:\Windows\cmd.exe")), Some(json!("cmd.exe")));
        assert_eq!(convert("split ,", json!("a, b,,c")), Some(json!(["a", "b", "c"])));
        assert_eq!(convert("int", json!("0x1f4")), Some(json!(500)));
        assert_eq!(convert("hex", json!("6361740061")), Some(json!("cat a")));
        assert_eq!(convert("hex", json!("cat")), Some(json!("cat")));
        assert_eq!(convert("json", json!("{\"a\":1}")), Some(json!({"a": 1})));
    }
}
