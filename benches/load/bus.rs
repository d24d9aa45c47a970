//! The streams, filled; a consumer that does nothing; and the worker, drained in turn with it.

use std::time::{Duration, Instant};

use async_nats::jetstream;
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};
use bytes::Bytes;
use futures_util::StreamExt;
use sightline::bus::EventLog;
use sightline::bus::jetstream::{
    ConnectSettings, Connection, FirstConnect, InFlight, JetStreamEvents, JetStreamOutputs, Shrink,
    StreamSettings, connect, setup,
};
use sightline::state::{Durability, Room, SledStore};
use sightline::telemetry::Readiness;
use sightline::telemetry::metrics::Metrics;
use sightline::worker::inspect::Status;
use sightline::worker::run::{Settings, Worker};
use sightline_benches::clock::{Spent, cpu_of, process_cpu};
use sightline_schemas::control::RulesMessage;

use crate::events::SUBJECT;
use crate::server::Server;

/// Messages asked for at a time, by the engine and by the consumer that does nothing.
const PULL_MESSAGES: usize = 4_096;
/// Publishes that may be without an answer.
const IN_FLIGHT: usize = 2_048;

/// A message to fill the stream with.
pub struct Filled {
    /// Headers beside the body.
    pub headers: Vec<(&'static str, &'static str)>,
    /// The body.
    pub body: Vec<u8>,
}

/// A server and its streams.
pub struct Bus {
    /// The server.
    pub server: Server,
    /// A connection as the engine has it.
    pub connection: Connection,
    /// A plain client beside it.
    pub plain: async_nats::Client,
}

/// What draining took.
#[derive(Clone, Copy, Debug, Default)]
pub struct Drained {
    /// This process.
    pub spent: Spent,
    /// The server's processor time.
    pub server: Duration,
}

impl Bus {
    /// Starts a server with the three streams, and puts rules at the beginning of the input log.
    pub async fn start(rules: &RulesMessage) -> Result<Bus, String> {
        let server = Server::start()?;
        let to = ConnectSettings { url: server.url(), ..ConnectSettings::default() };
        let connection = connect(&to, FirstConnect::OrFail).await.map_err(|error| error.to_string())?;
        setup(&connection, &StreamSettings::default(), Shrink::Refuse)
            .await
            .map_err(|error| error.to_string())?;
        let plain = async_nats::connect(server.url()).await.map_err(|error| error.to_string())?;
        let bus = Bus { server, connection, plain };
        let dir = tempfile::tempdir().map_err(|error| error.to_string())?;
        let mut worker = bus.worker(dir.path(), &settings(1)).await?;
        worker.announce(rules, false).await.map_err(|error| error.to_string())?;
        Ok(bus)
    }

    /// Publishes messages, and gives the sequence of the last.
    pub async fn fill(&self, messages: impl Iterator<Item = Filled>) -> Result<u64, String> {
        let inbox = self.plain.new_inbox();
        let mut acks = self.plain.subscribe(format!("{inbox}.*")).await.map_err(|error| error.to_string())?;
        let (mut sent, mut stored) = (0usize, 0usize);
        for message in messages {
            let reply = format!("{inbox}.{sent}");
            let body = Bytes::from(message.body);
            let published = match message.headers.is_empty() {
                true => self.plain.publish_with_reply(SUBJECT, reply, body).await,
                false => {
                    let mut headers = async_nats::HeaderMap::new();
                    message.headers.iter().for_each(|(name, value)| headers.insert(*name, *value));
                    self.plain.publish_with_reply_and_headers(SUBJECT, reply, headers, body).await
                }
            };
            published.map_err(|error| error.to_string())?;
            sent += 1;
            while sent - stored > IN_FLIGHT {
                acks.next().await.ok_or("the connection closed")?;
                stored += 1;
            }
        }
        while stored < sent {
            acks.next().await.ok_or("the connection closed")?;
            stored += 1;
        }
        self.last_seq().await
    }

    /// Sequence of the last message of the input log.
    pub async fn last_seq(&self) -> Result<u64, String> {
        let context = jetstream::new(self.plain.clone());
        let mut stream = context.get_stream("EVENTS").await.map_err(|error| error.to_string())?;
        Ok(stream.info().await.map_err(|error| error.to_string())?.state.last_sequence)
    }

    /// Drains the input log from `first` to `last` with a consumer of the client, and does nothing with it.
    pub async fn drain_nothing(&self, first: u64, last: u64) -> Result<Drained, String> {
        let context = jetstream::new(self.plain.clone());
        let config = pull::Config {
            deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: first },
            ack_policy: AckPolicy::None,
            memory_storage: true,
            num_replicas: 1,
            ..pull::Config::default()
        };
        let began = self.begun();
        let consumer =
            context.create_consumer_on_stream(config, "EVENTS").await.map_err(|error| error.to_string())?;
        let inbox = async_nats::Subject::from(self.plain.new_inbox());
        let mut messages = self.plain.subscribe(inbox.clone()).await.map_err(|error| error.to_string())?;
        let (mut outstanding, mut left, mut bytes) = (0usize, last + 1 - first, 0);
        while left > 0 {
            if outstanding <= PULL_MESSAGES / 2 {
                let pull = pull::BatchConfig {
                    batch: PULL_MESSAGES,
                    expires: Some(Duration::from_secs(30)),
                    ..pull::BatchConfig::default()
                };
                consumer.request_batch(pull, inbox.clone()).await.map_err(|error| error.to_string())?;
                outstanding += PULL_MESSAGES;
            }
            let message =
                tokio::task::coop::unconstrained(messages.next()).await.ok_or("the connection closed")?;
            if message.reply.is_some() {
                bytes += message.payload.len();
                outstanding -= 1;
                left -= 1;
            }
        }
        std::hint::black_box(bytes);
        Ok(self.ended(began))
    }

    /// Drains the input log from its beginning as the worker does, and does nothing with it.
    pub async fn drain_log(&self, last: u64) -> Result<Drained, String> {
        let mut log = JetStreamEvents::new(self.connection.clone(), "EVENTS");
        let Settings { batch_messages, batch_wait, .. } = settings(1);
        let began = self.begun();
        log.seek(1).await.map_err(|error| error.to_string())?;
        let mut at = 0;
        while at < last {
            let batch =
                log.next_batch(batch_messages, batch_wait).await.map_err(|error| error.to_string())?;
            at = batch.last().map_or(at, |message| message.seq);
        }
        Ok(self.ended(began))
    }

    /// Drains the input log from its beginning with a worker under these rules, checkpoints running.
    pub async fn drain(
        &self,
        last: u64,
        rules: &RulesMessage,
        settings: &Settings,
    ) -> Result<Drained, String> {
        let dir = tempfile::tempdir().map_err(|error| error.to_string())?;
        let mut worker = self.worker(dir.path(), settings).await?;
        // They are in the log already, or they would not be in force for what it holds.
        worker.announce(rules, false).await.map_err(|error| error.to_string())?;
        let began = self.begun();
        while worker.position() < last {
            worker.turn().await.map_err(|error| error.to_string())?;
        }
        let drained = self.ended(began);
        worker.drain().await.map_err(|error| error.to_string())?;
        Ok(drained)
    }

    /// A worker on this bus.
    pub async fn worker(
        &self,
        dir: &std::path::Path,
        settings: &Settings,
    ) -> Result<Worker<JetStreamEvents, JetStreamOutputs, JetStreamOutputs>, String> {
        let readiness = Readiness::new();
        let begun = Worker::begin(
            JetStreamEvents::new(self.connection.clone(), "EVENTS"),
            JetStreamOutputs::new(self.connection.clone(), "INCIDENTS", InFlight::default()),
            JetStreamOutputs::new(self.connection.clone(), "DEADLETTER", InFlight::default()),
            Box::new(SledStore::at(dir, Durability::Kill)),
            settings.clone(),
            Metrics::new(),
            readiness.clone(),
            Status::new(readiness, settings.partitions),
        );
        begun.await.map_err(|error| error.to_string())
    }

    /// Deletes what the worker said, so that another one can begin at the beginning.
    pub async fn forget_outputs(&self) -> Result<(), String> {
        let context = jetstream::new(self.plain.clone());
        for stream in ["INCIDENTS", "DEADLETTER"] {
            context.delete_stream(stream).await.map_err(|error| error.to_string())?;
        }
        setup(&self.connection, &StreamSettings::default(), Shrink::Refuse)
            .await
            .map_err(|error| error.to_string())
            .map(|_| ())
    }

    /// Messages in the incident log.
    pub async fn incidents(&self) -> Result<u64, String> {
        let context = jetstream::new(self.plain.clone());
        let mut stream = context.get_stream("INCIDENTS").await.map_err(|error| error.to_string())?;
        Ok(stream.info().await.map_err(|error| error.to_string())?.state.messages)
    }

    fn begun(&self) -> (Instant, Duration, Duration) {
        (Instant::now(), process_cpu(), cpu_of(self.server.pid()))
    }

    fn ended(&self, (wall, own, server): (Instant, Duration, Duration)) -> Drained {
        let spent = Spent { wall: wall.elapsed(), cpu: process_cpu().saturating_sub(own) };
        Drained { spent, server: cpu_of(self.server.pid()).saturating_sub(server) }
    }
}

/// How the worker runs where nothing else is said: as the shipped settings have it, with a checkpoint each second.
pub fn settings(partitions: usize) -> Settings {
    Settings {
        partitions,
        batch_messages: 1_000,
        batch_wait: Duration::from_millis(20),
        tick_every: Duration::from_secs(1),
        checkpoint_every: Duration::from_secs(1),
        room: Room::unlimited(),
        scratch_dir: None,
    }
}
