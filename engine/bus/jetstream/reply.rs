//! What the server writes on reply subjects: where a delivered message stands, and what became of a published one.

use std::sync::Arc;

use async_nats::HeaderMap;
use bytes::Bytes;
use serde::Deserialize;
use sightline_schemas::EventTime;
use sightline_schemas::cloudevents;
use sightline_schemas::subject::{HEADER_CONTENT_ENCODING, HEADER_CONTENT_TYPE};

use super::by_hand;
use super::wire::decimal;
use crate::bus::LogMessage;

/// Prefix of the reply subject of every message that a consumer delivers.
const DELIVERY_PREFIX: &[u8] = b"$JS.ACK.";

/// Where and when a delivered message was stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Delivered {
    /// Its stream sequence.
    pub(super) seq: u64,
    /// When the server received it.
    pub(super) received_at: EventTime,
}

impl Delivered {
    /// Reads the reply subject of a delivered message; `None` where it is no such subject.
    ///
    /// `$JS.ACK.<stream>.<consumer>.<deliveries>.<stream seq>.<consumer seq>.<time>.<pending>`, or with
    /// `<domain>.<account>` before the stream and a random token at the end (ADR-15 of nats-architecture-and-design).
    pub(super) fn parse(reply: &[u8]) -> Option<Self> {
        let rest = reply.strip_prefix(DELIVERY_PREFIX)?;
        // In one pass: every message has one.
        let (mut tokens, mut count, mut from) = ([&rest[..0]; 8], 0, 0);
        for end in memchr::memchr_iter(b'.', rest).chain([rest.len()]) {
            if let Some(place) = tokens.get_mut(count) {
                *place = &rest[from..end];
            }
            count += 1;
            from = end + 1;
        }
        let before_stream = if count == 7 { 0 } else { 2 };
        let seq = decimal(tokens[before_stream + 3])?;
        let nanos = i64::try_from(decimal(tokens[before_stream + 5])?).ok()?;
        Some(Delivered { seq, received_at: EventTime::from_micros(nanos / 1_000) })
    }

    /// The message that came with it, without its body where that is taken as it came.
    pub(super) fn message(self, subject: Arc<str>, block: &[u8], body: &[u8]) -> LogMessage {
        let headers = by_hand::headers(block);
        let mut message = log_message(self.seq, self.received_at, subject, headers.as_ref(), body);
        if headers.is_none() && !block.is_empty() {
            by_hand::note_unreadable(&mut message);
        }
        message
    }
}

/// What a message of the server says that is none of the log: how many messages of a pull will not come.
///
/// # Errors
/// With what the server said, where there is no consumer any more.
pub(super) fn called_off(block: &[u8]) -> Result<usize, String> {
    let text = String::from_utf8_lossy(block);
    let mut lines = text.lines();
    let status = lines.next().unwrap_or_default().trim_start_matches("NATS/1.0").trim();
    let called_off = lines.find_map(|line| line.strip_prefix("Nats-Pending-Messages:")?.trim().parse().ok());
    let of_the_pull = !["Consumer", "Leadership", "Server"].iter().any(|word| status.contains(word));
    match (status.get(..3), called_off) {
        (Some("100"), _) => Ok(0),
        (Some("404" | "408" | "409"), Some(count)) if of_the_pull => Ok(count),
        _ => Err(format!("the server said {status}")),
    }
}

/// A message that was asked for by itself, as the log gives it.
pub(super) fn from_stored(message: &async_nats::jetstream::message::StreamMessage) -> LogMessage {
    let micros = i64::try_from(message.time.unix_timestamp_nanos() / 1_000).unwrap_or(i64::MAX);
    let (received_at, subject) = (EventTime::from_micros(micros), Arc::from(&*message.subject));
    let headers = Some(&message.headers);
    with_body(
        log_message(message.sequence, received_at, subject, headers, &message.payload),
        &message.payload,
    )
}

/// With the body as it came, in memory of its own, unless it has another.
pub(super) fn with_body(message: LogMessage, body: &[u8]) -> LogMessage {
    match message.body.is_empty() {
        true => LogMessage { body: Bytes::copy_from_slice(body), ..message },
        false => message,
    }
}

/// A message of the log without its body, unless that becomes another one.
pub(super) fn log_message(
    seq: u64,
    received_at: EventTime,
    subject: Arc<str>,
    headers: Option<&HeaderMap>,
    payload: &[u8],
) -> LogMessage {
    let header = |name: &'static str| Some(headers?.get(name)?.as_str().to_owned());
    let content_type = header(HEADER_CONTENT_TYPE);
    // Attributes of a CloudEvent may be headers: they go into its envelope, so that nobody behind asks for headers.
    let content_encoding = header(HEADER_CONTENT_ENCODING);
    let envelope = headers.filter(|_| content_encoding.is_none()).and_then(|headers| {
        let named = headers.iter().filter_map(|(name, values)| {
            let name: &str = name.as_ref();
            Some((name, values.first()?.as_str()))
        });
        cloudevents::enveloped(named, content_type.as_deref(), payload)
    });
    let (content_type, body) = match envelope {
        Some(envelope) => (Some(cloudevents::STRUCTURED.to_owned()), Bytes::from(envelope)),
        None => (content_type, Bytes::new()),
    };
    let subject = Some(subject);
    LogMessage { seq, subject, content_type, content_encoding, received_at: Some(received_at), body }
}

/// `text` as a header can hold it: on one line.
pub(super) fn header_value(text: &str) -> String {
    text.replace(['\r', '\n'], " ")
}

/// What became of a published message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// Stored in `stream` under `seq`.
    Stored {
        /// The stream that took it.
        stream: String,
        /// Its sequence there.
        seq: u64,
    },
    /// Refused, with JetStream's error code and text.
    Refused {
        /// Such as 10071: wrong last sequence. 503 where no stream listens.
        code: u64,
        /// For people.
        text: String,
    },
}

impl Answer {
    /// Reads the reply to a publish.
    pub(super) fn parse(message: &async_nats::Message) -> Self {
        #[derive(Deserialize)]
        struct Written {
            #[serde(default)]
            stream: String,
            #[serde(default)]
            seq: u64,
            error: Option<Refusal>,
        }
        #[derive(Deserialize)]
        struct Refusal {
            #[serde(default)]
            err_code: u64,
            #[serde(default)]
            description: String,
        }
        if message.status == Some(async_nats::StatusCode::NO_RESPONDERS) {
            return Answer::Refused { code: 503, text: "no stream takes this subject".to_owned() };
        }
        match serde_json::from_slice(&message.payload) {
            Ok(Written { error: Some(refusal), .. }) => {
                Answer::Refused { code: refusal.err_code, text: refusal.description }
            }
            Ok(Written { stream, seq, error: None }) => Answer::Stored { stream, seq },
            Err(error) => Answer::Refused { code: 0, text: format!("unreadable answer: {error}") },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_a_delivery_subject_are_read() {
        let delivered = Delivered { seq: 22, received_at: EventTime::from_micros(1_600_000_000_000_001) };
        for reply in [
            "$JS.ACK.EVENTS.abc.1.22.3.1600000000000001999.4",
            "$JS.ACK._.hash.EVENTS.abc.1.22.3.1600000000000001999.4.random",
            "$JS.ACK.hub.hash.EVENTS.abc.1.22.3.1600000000000001999.4",
        ] {
            assert_eq!(Delivered::parse(reply.as_bytes()), Some(delivered), "{reply}");
        }
    }

    #[test]
    fn what_a_pull_lacks_is_called_off_and_the_end_of_a_consumer_ends_the_reading() {
        let read = |text: &str| called_off(text.as_bytes());
        let size = "NATS/1.0 409 Message Size Exceeds MaxBytes\r\nNats-Pending-Messages: 12\r\n\r\n";
        assert_eq!(read(size), Ok(12));
        assert_eq!(read("NATS/1.0 408 Request Timeout\r\nNats-Pending-Messages: 4096\r\n\r\n"), Ok(4_096));
        assert_eq!(read("NATS/1.0 100 Idle Heartbeat\r\nNats-Last-Stream: 3\r\n\r\n"), Ok(0));
        for end in [
            "NATS/1.0 409 Consumer Deleted\r\nNats-Pending-Messages: 1\r\n\r\n",
            "NATS/1.0 409 Leadership Change\r\nNats-Pending-Messages: 1\r\n\r\n",
            "NATS/1.0 409 Server Shutdown\r\nNats-Pending-Messages: 1\r\n\r\n",
            "NATS/1.0 404 No Messages\r\n\r\n",
            "NATS/1.0 503\r\n\r\n",
            "",
        ] {
            assert!(read(end).is_err(), "{end:?}");
        }
    }

    #[test]
    fn other_subjects_are_no_delivery() {
        for reply in ["_INBOX.x.1", "$JS.ACK.", "$JS.ACK.EVENTS.abc.1.x.3.4.5", "$JS.FC.EVENTS"] {
            assert_eq!(Delivered::parse(reply.as_bytes()), None, "{reply}");
        }
    }
}
