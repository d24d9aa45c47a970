//! A subject that others publish their logs on. Where a stream keeps it, each message is read from the stream, in its order,
//! and how far is noted here, as for a file; where messages leave the stream when they are acknowledged, the server notes it.
//! Otherwise they are read as they come, and what comes while nobody reads is gone.

use std::time::Duration;

use anyhow::{Context, anyhow};
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, PullConsumer, pull};
use async_nats::jetstream::stream::{RetentionPolicy, Stream};
use async_nats::jetstream::{self, AckKind};
use bytes::Bytes;
use futures_util::StreamExt;
use sightline_producers::{Connect, crash_point};
use sightline_schemas::subject::{
    DEADLETTER_STREAM, EVENTS_STREAM, EVIDENCE_STREAM, INCIDENTS_STREAM, encode_token,
};

use super::group::{EVENT_WAIT, Grouping, Held, Placed};
use super::items_of;
use super::lines::Line;
use crate::Ended;
use crate::bridge::{self, Bridge};
use crate::cursor::Cursors;
use crate::format::Format;
use crate::mapping::Origin;
use crate::record::{Item, Press};

/// Messages on their way at once.
const BATCH: usize = 500;
/// How long a batch waits for its first message.
const BATCH_WAIT: Duration = Duration::from_secs(1);
/// After this long without an acknowledgement, the server gives a message out again: those of a bridge that was killed.
const ACK_WAIT: Duration = Duration::from_secs(30);
/// Messages without an acknowledgement. Bridges that were killed may have left many, which must not hold up the next one.
const UNACKED_MAX: usize = 20 * BATCH;
/// A consumer that nobody asks for this long is taken away by the server.
const IDLE_MAX: Duration = Duration::from_secs(60);

/// Reads until stopped; with `--once`, until a stream has nothing more.
pub async fn run(bridge: &mut Bridge, press: &Press, subject: &str, connect: &Connect) -> Result<(), Ended> {
    let client = bridge::connect(connect, bridge.once, bridge.stop.clone()).await.map_err(Ended::Usage)?;
    let context = jetstream::new(client.clone());
    match context.stream_by_subject(subject).await {
        Ok(stream)
            if [EVENTS_STREAM, INCIDENTS_STREAM, DEADLETTER_STREAM, EVIDENCE_STREAM]
                .contains(&stream.as_str()) =>
        {
            Err(Ended::Usage(anyhow!(
                "{subject} is in {stream}, which bridges write to: it would feed itself"
            )))
        }
        Ok(name) => {
            let stream = context.get_stream(&name).await.with_context(|| format!("stream {name}"))?;
            let reading = Reading::begin(stream, press, subject, &bridge.cursors)?;
            from_stream(bridge, press, reading).await
        }
        Err(_) if bridge.once => Err(Ended::Usage(anyhow!(
            "no stream keeps {subject}, so there is no end to come to: leave out --once, or make a stream for it"
        ))),
        Err(_) => {
            tracing::warn!(
                subject,
                "no stream keeps this subject: what comes while the bridge is down is lost"
            );
            as_it_comes(bridge, press, subject, &client).await
        }
    }
}

/// A stream that is read, and how far.
struct Reading {
    stream: Stream,
    name: String,
    /// The stream may be deleted and made again, and counts from 1 then.
    created: i128,
    subject: String,
    consumer: Option<PullConsumer>,
    /// Which of the consumer's messages comes next; another one says that some were lost on their way.
    turn: u64,
    /// The first message that was not read.
    next: u64,
    /// Under which name that is noted; none where the server notes it, by acknowledgements.
    key: Option<String>,
    durable: String,
}

impl Reading {
    fn begin(stream: Stream, press: &Press, subject: &str, cursors: &Cursors) -> anyhow::Result<Self> {
        let info = stream.cached_info();
        let (name, created) = (info.config.name.clone(), info.created.unix_timestamp_nanos());
        let durable = format!("sightline-bridge-{}-{}-{subject}", press.tenant(), press.name());
        let key = (info.config.retention == RetentionPolicy::Limits)
            .then(|| format!("stream/{}/{}/{name}/{created}/{subject}", press.tenant(), press.name()));
        let noted = key.as_ref().map(|key| cursors.get(key)).transpose()?.flatten();
        let next = noted.and_then(|bytes| std::str::from_utf8(&bytes).ok()?.parse().ok()).unwrap_or(1);
        let durable = encode_token(&durable).replace('=', "_");
        let subject = subject.to_owned();
        Ok(Reading { stream, name, created, subject, consumer: None, turn: 1, next, key, durable })
    }

    /// The next messages with their numbers, in the order of the stream; `None` where it has no more now.
    async fn batch(&mut self) -> anyhow::Result<Option<Vec<(u64, jetstream::Message)>>> {
        if self.consumer.is_none() {
            self.consumer = Some(self.consumer().await?);
        }
        let consumer = self.consumer.as_ref().expect("it was made just now");
        let fetch = consumer.fetch().max_messages(BATCH).expires(BATCH_WAIT);
        let mut batch = fetch.messages().await?;
        let mut taken = Vec::new();
        while let Some(message) = batch.next().await {
            let message = message.map_err(|error| anyhow!("{error}"))?;
            let info = message.info().map_err(|error| anyhow!("{error}"))?;
            let (number, turn) = (info.stream_sequence, info.consumer_sequence);
            if self.key.is_some() {
                anyhow::ensure!(
                    turn == self.turn,
                    "messages were lost on their way: they are asked for again"
                );
                self.turn += 1;
            }
            taken.push((number, message));
        }
        if let Some((last, _)) = taken.last().filter(|_| self.key.is_some()) {
            self.next = last + 1;
        }
        if taken.is_empty() {
            // A consumer that went with its server gives nothing, either.
            let left = consumer.get_info().await?.num_pending;
            return Ok((left > 0).then_some(taken));
        }
        Ok(Some(taken))
    }

    async fn consumer(&mut self) -> anyhow::Result<PullConsumer> {
        let about = format!("consumer on stream {}", self.name);
        self.turn = 1;
        let config = pull::Config { filter_subject: self.subject.clone(), ..pull::Config::default() };
        if self.key.is_none() {
            let config = pull::Config {
                durable_name: Some(self.durable.clone()),
                ack_policy: AckPolicy::Explicit,
                ack_wait: ACK_WAIT,
                max_ack_pending: UNACKED_MAX as i64,
                ..config
            };
            return self.stream.get_or_create_consumer(&self.durable, config).await.context(about);
        }
        let config = pull::Config {
            ack_policy: AckPolicy::None,
            deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: self.next },
            inactive_threshold: IDLE_MAX,
            memory_storage: true,
            num_replicas: 1,
            ..config
        };
        self.stream.create_consumer(config).await.context(about)
    }

    fn place(&self, number: u64) -> String {
        format!("{}:{}:{number}", self.name, self.created)
    }
}

async fn from_stream(bridge: &mut Bridge, press: &Press, mut reading: Reading) -> Result<(), Ended> {
    let tally = bridge.tally(press.name());
    let mut held = Held::new(Grouping::of(press.format()));
    // Those of which something is held, where the server is told of each.
    let mut unacked = Vec::new();
    while !bridge.stopping() {
        let taken = match reading.batch().await {
            Ok(taken) => taken,
            Err(error) => {
                let why = format!("{error:#}");
                if !bridge.ledger.failing().contains_key(press.name()) {
                    tracing::warn!(why, stream = reading.name, "source_failed");
                }
                tally.source_failed(&why);
                reading.consumer = None;
                bridge.pause(BATCH_WAIT).await;
                continue;
            }
        };
        tally.source_well();
        let is_end = bridge.once && taken.is_none();
        let mut lines = Vec::new();
        for (number, message) in taken.unwrap_or_default() {
            lines.extend(lines_of(press, &message.payload, Some(reading.place(number)), number));
            unacked.push((number, message));
        }
        let lines = held.take(lines, is_end);
        if !lines.is_empty() {
            let items = items(press, lines);
            if bridge.delivery.deliver_all(&tally, items, &mut bridge.stop).await.is_err() {
                return Ok(());
            }
        }
        let is_held = |number: &u64| held.offsets().any(|offset| offset == *number);
        match &reading.key {
            Some(key) => {
                let first = held.offsets().min().unwrap_or(reading.next);
                if !unacked.is_empty() {
                    let note = (key.clone(), first.to_string().into_bytes());
                    bridge.cursors.put(vec![note]).await.map_err(anyhow::Error::from)?;
                }
                unacked.retain(|(number, _)| *number >= first);
            }
            None => {
                crash_point!(BeforeStreamAck);
                let (waiting, done) = unacked.into_iter().partition(|(number, _)| is_held(number));
                unacked = waiting;
                for (_, message) in done {
                    // Without it, the message comes again after a while, under the same id.
                    if let Err(error) = message.ack_with(AckKind::Ack).await {
                        tracing::warn!(%error, "not acknowledged");
                    }
                }
            }
        }
        if is_end {
            return Ok(());
        }
    }
    Ok(())
}

async fn as_it_comes(
    bridge: &mut Bridge,
    press: &Press,
    subject: &str,
    client: &async_nats::Client,
) -> Result<(), Ended> {
    let tally = bridge.tally(press.name());
    let messages =
        client.subscribe(subject.to_owned()).await.with_context(|| format!("subscribe to {subject}"))?;
    let mut batches = messages.ready_chunks(BATCH);
    let mut held = Held::new(Grouping::of(press.format()));
    let mut ended = false;
    while !ended {
        let batch = tokio::select! {
            batch = batches.next() => batch,
            () = tokio::time::sleep(EVENT_WAIT), if !held.is_empty() => Some(Vec::new()),
            _ = bridge.stop.wait_for(|stop| *stop) => None,
        };
        ended = batch.is_none();
        let messages = batch.unwrap_or_default();
        let lines = messages.iter().flat_map(|message| lines_of(press, &message.payload, None, 0)).collect();
        let items = items(press, held.take(lines, ended));
        if bridge.delivery.deliver_all(&tally, items, &mut bridge.stop).await.is_err() {
            return Ok(());
        }
    }
    Ok(())
}

/// The lines of a message that is one of several which may tell of one event; otherwise the message as it is.
fn lines_of(press: &Press, payload: &Bytes, place: Option<String>, number: u64) -> Vec<Placed> {
    let placed = |(at, bytes): (usize, &[u8])| Placed {
        // The client's bytes are a part of a larger buffer, which must not be held by a record that waits.
        line: Line::Whole(Bytes::copy_from_slice(bytes)),
        place: place.as_ref().map(|place| if at == 0 { place.clone() } else { format!("{place}#{at}") }),
        offset: number,
    };
    match press.format() {
        Format::Auditd => {
            let lines = payload.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty());
            lines.enumerate().map(placed).collect()
        }
        _ => vec![placed((0, &payload[..]))],
    }
}

fn items(press: &Press, lines: Vec<Placed>) -> Vec<Item> {
    let of_line = |placed: Placed| items_of(press, placed.line, placed.place, &Origin::default());
    lines.into_iter().flat_map(of_line).collect()
}
