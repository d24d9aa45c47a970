//! What the server writes on reply subjects: where a delivered message stands, and what became of a published one.

use async_nats::HeaderMap;
use bytes::Bytes;
use serde::Deserialize;
use sightline_schemas::EventTime;
use sightline_schemas::cloudevents;
use sightline_schemas::subject::{HEADER_CONTENT_ENCODING, HEADER_CONTENT_TYPE};

use crate::bus::LogMessage;

/// Prefix of the reply subject of every message that a consumer delivers.
const DELIVERY_PREFIX: &str = "$JS.ACK.";

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
    pub(super) fn parse(reply: &str) -> Option<Self> {
        let rest = reply.strip_prefix(DELIVERY_PREFIX)?;
        // In one pass: every message has one.
        let (mut tokens, mut count) = ([""; 8], 0);
        for token in rest.split('.') {
            if let Some(place) = tokens.get_mut(count) {
                *place = token;
            }
            count += 1;
        }
        let before_stream = if count == 7 { 0 } else { 2 };
        let seq = tokens[before_stream + 3].parse().ok()?;
        let nanos: i64 = tokens[before_stream + 5].parse().ok()?;
        Some(Delivered { seq, received_at: EventTime::from_micros(nanos / 1_000) })
    }

    /// The message that came with it, in memory of its own.
    pub(super) fn into_message(self, message: &async_nats::Message) -> LogMessage {
        log_message(self.seq, self.received_at, &message.subject, message.headers.as_ref(), &message.payload)
    }
}

/// A message that was asked for by itself, as the log gives it.
pub(super) fn from_stored(message: &async_nats::jetstream::message::StreamMessage) -> LogMessage {
    let micros = i64::try_from(message.time.unix_timestamp_nanos() / 1_000).unwrap_or(i64::MAX);
    let received_at = EventTime::from_micros(micros);
    log_message(message.sequence, received_at, &message.subject, Some(&message.headers), &message.payload)
}

pub(super) fn log_message(
    seq: u64,
    received_at: EventTime,
    subject: &str,
    headers: Option<&HeaderMap>,
    payload: &Bytes,
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
        // The payload is a slice of the client's 64 KiB read buffer, which it would keep alive.
        None => (content_type, Bytes::copy_from_slice(payload)),
    };
    let subject = Some(subject.to_owned());
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
            assert_eq!(Delivered::parse(reply), Some(delivered), "{reply}");
        }
    }

    #[test]
    fn other_subjects_are_no_delivery() {
        for reply in ["_INBOX.x.1", "$JS.ACK.", "$JS.ACK.EVENTS.abc.1.x.3.4.5", "$JS.FC.EVENTS"] {
            assert_eq!(Delivered::parse(reply), None, "{reply}");
        }
    }
}
