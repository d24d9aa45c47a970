//! A subject that others publish their logs on. Where a stream keeps it, each message is read from the stream, by a consumer
//! of our own that goes on where it was; otherwise as it comes, and what comes while nobody reads is gone.

use std::time::Duration;

use anyhow::{Context, anyhow};
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, PullConsumer, pull};
use async_nats::jetstream::{self, AckKind};
use bytes::Bytes;
use futures_util::StreamExt;
use sightline_producers::Connect;
use sightline_schemas::subject::{
    DEADLETTER_STREAM, EVENTS_STREAM, EVIDENCE_STREAM, INCIDENTS_STREAM, encode_token,
};

use crate::Ended;
use crate::bridge::{self, Bridge};
use crate::delivery::now;
use crate::mapping::Origin;
use crate::record::{Input, Press};

/// Messages on their way at once.
const BATCH: usize = 500;
/// How long a batch waits for its first message.
const BATCH_WAIT: Duration = Duration::from_secs(1);
/// After this long without an acknowledgement, the server gives a message out again. More than any patience.
const ACK_WAIT: Duration = Duration::from_secs(300);

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
        Ok(stream) => from_stream(bridge, press, subject, &context, &stream).await,
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

async fn from_stream(
    bridge: &mut Bridge,
    press: &Press,
    subject: &str,
    context: &jetstream::Context,
    name: &str,
) -> Result<(), Ended> {
    let tally = bridge.tally(press.name());
    let durable = encode_token(&format!("sightline-bridge-{}-{}-{subject}", press.tenant(), press.name()))
        .replace('=', "_");
    let config = pull::Config {
        durable_name: Some(durable.clone()),
        ack_policy: AckPolicy::Explicit,
        ack_wait: ACK_WAIT,
        deliver_policy: DeliverPolicy::All,
        filter_subject: subject.to_owned(),
        max_ack_pending: 2 * BATCH as i64,
        ..pull::Config::default()
    };
    let stream = context.get_stream(name).await.with_context(|| format!("stream {name}"))?;
    let created = stream.cached_info().created.unix_timestamp_nanos();
    let consumer: PullConsumer = stream
        .get_or_create_consumer(&durable, config)
        .await
        .with_context(|| format!("consumer on stream {name}"))?;
    while !bridge.stopping() {
        let batch = consumer.fetch().max_messages(BATCH).expires(BATCH_WAIT).messages().await;
        let mut batch = match batch {
            Ok(batch) => batch,
            Err(error) => {
                tally.source_failed(&error.to_string());
                tracing::warn!(%error, stream = name, "source_failed");
                bridge.pause(BATCH_WAIT).await;
                continue;
            }
        };
        let (mut items, mut taken) = (Vec::new(), Vec::new());
        while let Some(Ok(message)) = batch.next().await {
            let Ok(info) = message.info() else { continue };
            // The stream may be deleted and made again, and counts from 1 then.
            let place = format!("{name}:{created}:{}", info.stream_sequence);
            items.extend(press.make(&input(message.payload.clone(), Some(place)), now()));
            taken.push(message);
        }
        tally.source_well();
        if taken.is_empty() {
            if bridge.once {
                return Ok(());
            }
            continue;
        }
        if bridge.delivery.deliver_all(&tally, items, &mut bridge.stop).await.is_err() {
            return Ok(());
        }
        for message in taken {
            // Without it, the message comes again after a while, under the same id.
            if let Err(error) = message.ack_with(AckKind::Ack).await {
                tracing::warn!(%error, "not acknowledged");
            }
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
    loop {
        let batch = tokio::select! {
            batch = batches.next() => batch,
            _ = bridge.stop.wait_for(|stop| *stop) => None,
        };
        let Some(batch) = batch else { return Ok(()) };
        let made = |message: async_nats::Message| press.make(&input(message.payload, None), now());
        let items = batch.into_iter().flat_map(made).collect();
        if bridge.delivery.deliver_all(&tally, items, &mut bridge.stop).await.is_err() {
            return Ok(());
        }
    }
}

/// The client's bytes are a part of a larger buffer, which must not be held by a record that waits.
fn input(payload: Bytes, place: Option<String>) -> Input {
    Input {
        bytes: Bytes::copy_from_slice(&payload),
        content_type: "application/json",
        place,
        origin: Origin::default(),
    }
}
