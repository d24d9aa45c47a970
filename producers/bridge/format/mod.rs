//! From bytes to records: JSON, the Linux audit log, syslog, tables, plain text.

pub mod auditd;
pub mod sockaddr;
pub mod syslog;

use bytes::Bytes;
use serde_json::{Map, Value, json};
use sightline_schemas::EventTime;
use sightline_schemas::edge::{Reason, Reject};
use sightline_schemas::wire::EVENT_BYTES_MAX;

pub use crate::mapping::Format;
use crate::mapping::Mapping;

/// A record, or the bytes that are none and why.
pub type Record = Result<Value, (Bytes, Reject)>;

/// Most records of one input.
const RECORDS_MAX: usize = 65_536;

/// The records of an input.
///
/// # Errors
/// When the input as a whole cannot be read.
pub fn records(mapping: &Mapping, bytes: &Bytes, now: EventTime) -> Result<Vec<Record>, Reject> {
    let text = || {
        std::str::from_utf8(bytes)
            .map_err(|error| Reject::new(Reason::Undecodable, format!("not UTF-8: {error}")))
    };
    let records = match &mapping.format {
        Format::Json => json_records(mapping, bytes)?,
        Format::Auditd => auditd::events(text()?),
        Format::Syslog => vec![Ok(syslog::parse(text()?, now)?)],
        Format::Csv(columns) => table(text()?, columns)?,
        Format::Text => vec![Ok(json!({ "message": text()?.trim_end_matches(['\r', '\n']) }))],
    };
    if records.len() > RECORDS_MAX {
        return Err(Reject::new(
            Reason::TooLarge,
            format!("{} records in one input: at most {RECORDS_MAX} are allowed", records.len()),
        ));
    }
    Ok(records)
}

fn json_records(mapping: &Mapping, bytes: &[u8]) -> Result<Vec<Record>, Reject> {
    // Byte order marks come from Windows.
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let document: Value = serde_json::from_slice(bytes)
        .map_err(|error| Reject::new(Reason::Undecodable, format!("not JSON: {error}")))?;
    let inner = mapping.records.as_ref().and_then(|path| path.find(&document));
    Ok(match (inner, document) {
        (Some(Value::Array(items)), _) | (None, Value::Array(items)) => items.into_iter().map(Ok).collect(),
        // A document without records, such as a digest among CloudTrail's files, is a record itself.
        (_, document) => vec![Ok(document)],
    })
}

/// The rows of a table. The first line names the columns, where they are not given.
fn table(text: &str, columns: &[String]) -> Result<Vec<Record>, Reject> {
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(columns.is_empty())
        .flexible(true)
        .trim(csv::Trim::All)
        .from_reader(text.as_bytes());
    let names: Vec<String> = if columns.is_empty() {
        let header = reader
            .headers()
            .map_err(|error| Reject::new(Reason::Undecodable, format!("no table: {error}")))?;
        header.iter().map(|name| name.to_lowercase()).collect()
    } else {
        columns.to_vec()
    };
    if names.iter().all(String::is_empty) {
        return Err(Reject::new(Reason::Undecodable, "no table: the first line must name the columns"));
    }
    let mut records = Vec::new();
    for (at, row) in reader.records().enumerate() {
        let number = at + 1;
        let line = |row: &csv::StringRecord| Bytes::from(row.iter().collect::<Vec<_>>().join(","));
        records.push(match row {
            Ok(row) if row.len() != names.len() => Err((
                line(&row),
                Reject::new(
                    Reason::BadField,
                    format!("row {number}: {} values for {} columns", row.len(), names.len()),
                ),
            )),
            Ok(row) => {
                let members = names.iter().zip(row.iter()).filter(|(_, value)| !value.is_empty());
                let mut record: Map<String, Value> =
                    members.map(|(name, value)| (name.clone(), value.into())).collect();
                record.insert("row".to_owned(), number.into());
                Ok(Value::Object(record))
            }
            Err(error) => {
                let what = Reject::new(Reason::Undecodable, format!("row {number}: {error}"));
                Err((Bytes::new(), what))
            }
        });
    }
    Ok(records)
}

/// What is too long for an event is refused before anybody reads it.
pub fn too_long(bytes: usize) -> Reject {
    Reject::new(
        Reason::TooLarge,
        format!("{bytes} bytes without an end: at most {EVENT_BYTES_MAX} are read as one record"),
    )
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use proptest::prelude::*;

    use super::*;

    static MAPPINGS: LazyLock<Vec<Mapping>> = LazyLock::new(|| {
        let shelf = crate::mapping::Shelf::open(None)
            .map_err(|wrong| wrong.to_string())
            .expect("what ships is right");
        shelf.all().cloned().collect()
    });

    proptest! {
        /// Whoever can send a line must not be able to end a bridge.
        #[test]
        fn no_bytes_end_a_parser(bytes in proptest::collection::vec(any::<u8>(), 0..200), text in "(<[0-9]{1,3}>1? ?)?\\PC{0,80}") {
            let personal = crate::personal::tests::personal();
            for bytes in [bytes, format!("type=A msg=audit(1.0:1): {text}").into_bytes(), text.into_bytes()] {
                let bytes = Bytes::from(bytes);
                for mapping in MAPPINGS.iter() {
                    for record in records(mapping, &bytes, EventTime::default()).unwrap_or_default() {
                        let Ok(mut record) = record else { continue };
                        personal.take_out(&mut record);
                        drop(mapping.apply(&record, &crate::mapping::Origin::default()));
                    }
                }
                personal.blacken(&bytes);
            }
        }
    }

    #[test]
    fn rows_become_records_and_a_short_row_says_which() {
        let records = table("Timestamp,user\n2026-01-01T00:00:00Z,\"a, b\"\nx\n", &[]).expect("a table");
        assert_eq!(records[0], Ok(json!({"timestamp": "2026-01-01T00:00:00Z", "user": "a, b", "row": 1})));
        assert!(
            records[1].as_ref().expect_err("too short").1.detail.starts_with("row 2: 1 values for 2 columns")
        );
    }
}
