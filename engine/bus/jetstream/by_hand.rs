//! A stored message that cannot be delivered, and headers as we read them.
//!
//! A subject that is no UTF-8: the server stores it like any other, and the line ends whenever it is delivered. One such
//! message would hold up the log for ever. Asked for by its sequence it comes inside of JSON, and what is in it is for us to
//! judge.

use std::str::FromStr;
use std::sync::Arc;

use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::response::Response;
use async_nats::jetstream::stream::RawMessage;
use async_nats::{HeaderMap, HeaderName, StatusCode};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::json;
use sightline_schemas::EventTime;

use super::connect::Connection;
use super::reply;
use crate::bus::{BusError, LogMessage};

/// What stands for the form of a message whose headers cannot be read: none that anybody understands, so that it is buried
/// with its body as it came.
const UNREADABLE: &str = "unreadable headers";

#[derive(Deserialize)]
struct Got {
    message: RawMessage,
}

/// Message `seq` of `stream`, whatever its headers; `None` where it is not stored.
pub(super) async fn read(
    connection: &Connection,
    stream: &str,
    seq: u64,
) -> Result<Option<LogMessage>, BusError> {
    const WHAT: &str = "read a stored message by hand";
    let subject = format!("STREAM.MSG.GET.{stream}");
    let answer: Result<Response<Got>, _> =
        connection.context().request(subject, &json!({ "seq": seq })).await;
    let stored = match answer.map_err(|error| connection.retry(WHAT, error))? {
        Response::Ok(got) => got.message,
        Response::Err { error } if error.error_code() == ErrorCode::NO_MESSAGE_FOUND => return Ok(None),
        Response::Err { error } => return Err(connection.retry(WHAT, error)),
    };
    let unpacked = |text: &str| {
        STANDARD
            .decode(text)
            .map_err(|error| BusError::Retry { what: WHAT, why: format!("not base64: {error}") })
    };
    let body = Bytes::from(unpacked(&stored.payload)?);
    let headers = match &stored.headers {
        None => Some(HeaderMap::new()),
        Some(text) => headers(&unpacked(text)?),
    };
    let micros = i64::try_from(stored.time.unix_timestamp_nanos() / 1_000).unwrap_or(i64::MAX);
    let received_at = EventTime::from_micros(micros);
    let mut message = reply::with_body(
        reply::log_message(seq, received_at, Arc::from(&*stored.subject), headers.as_ref(), &body),
        &body,
    );
    if headers.is_none() {
        note_unreadable(&mut message);
    }
    Ok(Some(message))
}

/// Makes of a message whose headers cannot be read one that nobody understands.
pub(super) fn note_unreadable(message: &mut LogMessage) {
    tracing::warn!(seq = message.seq, "message_with_unreadable_headers");
    message.content_type = Some(UNREADABLE.to_owned());
}

/// The headers as the client reads them off the wire, where it can: a message must be the same whichever way it came.
pub(super) fn headers(block: &[u8]) -> Option<HeaderMap> {
    let mut lines = std::str::from_utf8(block).ok()?.lines().peekable();
    let status = lines.next()?.strip_prefix("NATS/1.0")?.trim();
    let code = status.split_once(' ').map_or(status, |(code, _)| code.trim());
    if !code.is_empty() {
        StatusCode::from_str(code).ok()?;
    }
    let mut headers = HeaderMap::new();
    while let Some(line) = lines.next() {
        if line.is_empty() {
            continue;
        }
        let (name, value) = line.split_once(':')?;
        let name = HeaderName::from_str(name).ok()?;
        let mut value = value.trim_start().to_owned();
        while let Some(more) = lines.next_if(|line| line.starts_with(char::is_whitespace)) {
            value.push_str(more);
        }
        value.truncate(value.trim_end().len());
        headers.append(name, value);
    }
    Some(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_as_the_client_reads_them_or_not_at_all() {
        let read =
            headers(b"NATS/1.0\r\nContent-Type: a\r\n b\r\nContent-Type: c\r\n\r\n").expect("readable");
        assert_eq!(read.get("Content-Type").map(|value| value.as_str()), Some("a b"));
        assert!(headers(b"NATS/1.0 503 gone\r\n\r\n").is_some());
        for unreadable in [
            &b"NATS/1.0\r\nX: \xff\r\n\r\n"[..],
            b"NATS/1.0\r\nno colon\r\n\r\n",
            b"NATS/1.0\r\na b: c\r\n\r\n",
            b"NATS/1.0 x\r\n\r\n",
            b"HTTP/1.1\r\n\r\n",
            b"",
        ] {
            assert!(headers(unreadable).is_none(), "{}", unreadable.escape_ascii());
        }
    }
}
