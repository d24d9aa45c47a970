//! A stretch of a stream: its events in the order of the log, frames taken apart.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::Read;
use std::time::Duration;

use anyhow::Context;
use async_nats::HeaderMap;
use async_nats::jetstream::{self, consumer, consumer::AckPolicy, consumer::DeliverPolicy};
use futures_util::StreamExt;
use sightline_producers::connect::Client;
use sightline_schemas::edge::{self, Reject};
use sightline_schemas::source::SourceProfiles;
use sightline_schemas::subject::{EventSubject, HEADER_CONTENT_ENCODING, HEADER_CONTENT_TYPE};
use sightline_schemas::wire::{self, Form};
use sightline_schemas::{EventTime, Position};

use crate::recorded::Recorded;

/// Messages that are asked for at once.
const PULL_MESSAGES: usize = 500;
/// How long the server may take to send one of them.
const PULL_WAIT: Duration = Duration::from_secs(5);
/// A body that is compressed may grow to this.
const BODY_BYTES_MAX: u64 = 64 << 20;

/// Events of a stream, as it was when this was opened.
pub struct Stretch {
    consumer: consumer::Consumer<consumer::pull::Config>,
    next: u64,
    last: u64,
    profiles: SourceProfiles,
    /// What could not be read as an event, by the reason.
    pub unread: u64,
}

/// The events of some messages, and how far that is.
pub struct Batch {
    /// In the order of the log.
    pub events: Vec<Recorded>,
    /// Messages read.
    pub messages: u64,
}

impl Stretch {
    /// Opens the stretch that begins with what was received at `since`, or with the first message.
    ///
    /// # Errors
    /// When there is no such stream, or it may not be read.
    pub async fn open(client: Client, stream: &str, since: Option<EventTime>) -> anyhow::Result<Self> {
        let context = jetstream::new(client);
        let mut stream =
            context.get_stream(stream).await.with_context(|| format!("cannot read the stream {stream}"))?;
        let state = stream.info().await.context("cannot ask for the state of the stream")?.state.clone();
        // What happened at a time was received then or later, but for clocks that run ahead.
        let start = since.map(|since| since.minus(edge::SKEW_MAX_MICROS));
        let deliver_policy = match start.map(EventTime::as_micros) {
            Some(micros) if micros > 0 => DeliverPolicy::ByStartTime {
                start_time: async_nats::datetime::from_nanos(i128::from(micros) * 1_000)
                    .map_err(|error| anyhow::anyhow!("--since is no time that the server knows: {error}"))?,
            },
            _ => DeliverPolicy::All,
        };
        let config = consumer::pull::Config {
            deliver_policy,
            ack_policy: AckPolicy::None,
            filter_subject: "events.>".to_owned(),
            memory_storage: true,
            num_replicas: 1,
            inactive_threshold: Duration::from_secs(60),
            ..consumer::pull::Config::default()
        };
        let consumer = stream.create_consumer(config).await.context("cannot read the stream")?;
        Ok(Stretch {
            consumer,
            next: state.first_sequence,
            last: state.last_sequence,
            profiles: SourceProfiles::with(BTreeMap::new()),
            unread: 0,
        })
    }

    /// Messages that the stream holds.
    pub fn messages(&self) -> u64 {
        (self.last + 1).saturating_sub(self.next)
    }

    /// The next events; `None` at the end.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn next(&mut self) -> anyhow::Result<Option<Batch>> {
        if self.next > self.last {
            return Ok(None);
        }
        let unread = "cannot read the stream";
        let pull = self.consumer.fetch().max_messages(PULL_MESSAGES).expires(PULL_WAIT);
        let mut messages = pull.messages().await.context(unread)?;
        let mut batch = Batch { events: Vec::new(), messages: 0 };
        while let Some(message) = messages.next().await {
            let message = message.map_err(|error| anyhow::anyhow!("{unread}: {error}"))?;
            let info = message.info().map_err(|error| anyhow::anyhow!("{unread}: {error}"))?;
            let (seq, pending) = (info.stream_sequence, info.pending);
            let received_at = EventTime::from_micros((info.published.unix_timestamp_nanos() / 1_000) as i64);
            self.next = seq + 1;
            batch.messages += 1;
            if seq <= self.last {
                let empty = HeaderMap::new();
                let headers = message.headers.as_ref().unwrap_or(&empty);
                match self.events(&message.subject, headers, &message.payload, seq, received_at) {
                    Ok(events) => batch.events.extend(events),
                    Err(_) => self.unread += 1,
                }
            }
            if pending == 0 || seq >= self.last {
                self.next = self.last + 1;
                break;
            }
        }
        // Nothing came in time: behind what was asked for, there is nothing on these subjects.
        if batch.messages == 0 {
            self.next = self.last + 1;
        }
        Ok(Some(batch))
    }

    fn events(
        &mut self,
        subject: &str,
        headers: &HeaderMap,
        body: &[u8],
        seq: u64,
        received_at: EventTime,
    ) -> Result<Vec<Recorded>, Reject> {
        let header = |name: &str| headers.get(name).map(|value| value.as_str());
        let subject = EventSubject::parse(subject)?;
        let form = Form::of(header(HEADER_CONTENT_TYPE))?;
        let body = plain(body, header(HEADER_CONTENT_ENCODING))?;
        let mut events = Vec::new();
        for (index, raw) in wire::split(&body, form)?.into_iter().enumerate() {
            let read = wire::decode(raw, form)
                .and_then(|tree| edge::to_event(tree, raw, &subject, received_at, &self.profiles));
            let Ok(event) = read else {
                self.unread += 1;
                continue;
            };
            events.push(Recorded {
                tenant: subject.tenant.clone(),
                source: subject.source.clone(),
                body: raw.to_vec(),
                form: if form == Form::Ndjson { Form::Json } else { form },
                occurred_at: Some(event.occurred_at),
                position: Some(Position::new(seq, index as u32)),
            });
        }
        Ok(events)
    }
}

fn plain<'a>(body: &'a [u8], encoding: Option<&str>) -> Result<Cow<'a, [u8]>, Reject> {
    let bad = |text: String| Reject::new(edge::Reason::Undecodable, text);
    match encoding {
        None => Ok(Cow::Borrowed(body)),
        Some("zstd") => {
            let reader = zstd::Decoder::new(body).map_err(|error| bad(error.to_string()))?;
            let mut plain = Vec::new();
            reader.take(BODY_BYTES_MAX).read_to_end(&mut plain).map_err(|error| bad(error.to_string()))?;
            Ok(Cow::Owned(plain))
        }
        Some(other) => Err(bad(format!("Content-Encoding {other:?}"))),
    }
}
