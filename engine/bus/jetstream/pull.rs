//! The pull loop: an ephemeral consumer, a plain inbox, and an exact account of what has been asked for.
//!
//! The client's own message stream loses count on a busy machine and then waits for half a minute. Here everything asked
//! for is counted down by what arrives, and whatever else happens to the consumer, it is thrown away and made anew:
//! its position is ours, so nothing is lost with it.

use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, ReplayPolicy, pull};
use async_nats::{StatusCode, Subject, Subscriber};
use futures_util::{FutureExt, StreamExt};
use tokio::sync::watch;
use tokio::time::Instant;

use super::connect::Connection;
use super::reply::Delivered;
use crate::bus::{BusError, LogMessage};

/// Messages asked for at a time. At most one and a half times as many are under way, far below the 65,536 that the
/// client holds for a subscription before it drops some without a word.
const PULL_MESSAGES: usize = 4_096;
/// Bytes asked for at a time, whichever is reached first: bounds what lies in the client's memory.
const PULL_BYTES: usize = 32 << 20;
/// How long the server keeps a pull that it cannot fill.
const PULL_EXPIRES: Duration = Duration::from_secs(30);
/// How often the server says that it still has our pull.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// Two heartbeats missed, and some time for a busy machine.
const SILENCE_MAX: Duration = Duration::from_secs(12);
/// When the server forgets a consumer that nobody pulls from.
const CONSUMER_IDLE_MAX: Duration = Duration::from_secs(60);

/// What came in.
pub(super) enum Heard {
    /// A message.
    Message(LogMessage),
    /// A sign of life.
    Alive,
    /// The consumer or the connection it lived on is gone, for this reason.
    Broken(String),
}

/// A consumer that reads on from one place, and its outstanding pulls.
#[derive(Debug)]
pub(super) struct Puller {
    consumer: async_nats::jetstream::consumer::PullConsumer,
    inbox: Subject,
    replies: Subscriber,
    /// Messages asked for and neither arrived nor called off.
    outstanding: usize,
    last_heard: Instant,
    connects: watch::Receiver<u64>,
    delivered_any: bool,
    pull_bytes: usize,
}

impl Puller {
    /// Starts to read `stream` at `seq`.
    pub(super) async fn start(connection: &Connection, stream: &str, seq: u64) -> Result<Self, BusError> {
        let from = DeliverPolicy::ByStartSequence { start_sequence: seq };
        Puller::start_on(connection, stream, from, "").await
    }

    /// Starts to read what `stream` holds on subjects like `filter`; an empty one is all of them.
    pub(super) async fn start_on(
        connection: &Connection,
        stream: &str,
        from: DeliverPolicy,
        filter: &str,
    ) -> Result<Self, BusError> {
        const WHAT: &str = "create a consumer";
        // Before the request: a reconnect in between is then seen as one.
        let mut connects = connection.connects();
        connects.mark_unchanged();
        let config = pull::Config {
            description: Some("sightline: reads in order, keeps its own place".to_owned()),
            deliver_policy: from,
            filter_subject: filter.to_owned(),
            // The place is ours to keep: with acknowledgements a second worker could move it.
            ack_policy: AckPolicy::None,
            replay_policy: ReplayPolicy::Instant,
            memory_storage: true,
            num_replicas: 1,
            inactive_threshold: CONSUMER_IDLE_MAX,
            ..pull::Config::default()
        };
        let created = connection.context().create_consumer_on_stream(config, stream).await;
        let consumer = created.map_err(|error| connection.retry(WHAT, error))?;
        let inbox = Subject::from(connection.client().new_inbox());
        let subscribed = connection.client().subscribe(inbox.clone()).await;
        let replies = subscribed.map_err(|error| connection.retry(WHAT, error))?;
        // A single message larger than a pull would never come.
        let pull_bytes = PULL_BYTES.max(2 * connection.client().max_payload());
        let mut puller = Puller {
            consumer,
            inbox,
            replies,
            outstanding: 0,
            last_heard: Instant::now(),
            connects,
            delivered_any: false,
            pull_bytes,
        };
        puller.top_up().await?;
        Ok(puller)
    }

    /// Whether any message has come of this consumer.
    pub(super) fn delivered_any(&self) -> bool {
        self.delivered_any
    }

    /// Asks for more when half of what was asked for has come, so that the server never waits for us.
    pub(super) async fn top_up(&mut self) -> Result<(), BusError> {
        if self.outstanding > PULL_MESSAGES / 2 {
            return Ok(());
        }
        let pull = pull::BatchConfig {
            batch: PULL_MESSAGES,
            max_bytes: self.pull_bytes,
            expires: Some(PULL_EXPIRES),
            idle_heartbeat: HEARTBEAT,
            ..pull::BatchConfig::default()
        };
        self.consumer
            .request_batch(pull, self.inbox.clone())
            .await
            .map_err(|error| BusError::Retry { what: "pull from the input log", why: error.to_string() })?;
        self.outstanding += PULL_MESSAGES;
        Ok(())
    }

    /// What is already here.
    pub(super) fn try_next(&mut self) -> Option<Heard> {
        // Tokio lets a task take 128 messages before it pretends that there are none.
        let next = tokio::task::coop::unconstrained(self.replies.next()).now_or_never()?;
        Some(self.take_in(next))
    }

    /// What comes until `deadline`; `None` when that is nothing.
    pub(super) async fn next_until(&mut self, deadline: Instant) -> Option<Heard> {
        let silence_ends = self.last_heard + SILENCE_MAX;
        tokio::select! {
            biased;
            next = self.replies.next() => Some(self.take_in(next)),
            // The server forgets ephemeral consumers and pulls with their connection.
            _ = self.connects.changed() => Some(Heard::Broken("the connection was made anew".to_owned())),
            () = tokio::time::sleep_until(deadline.min(silence_ends)) => {
                let silent = Instant::now() >= silence_ends;
                silent.then(|| Heard::Broken("the server fell silent".to_owned()))
            }
        }
    }

    fn take_in(&mut self, message: Option<async_nats::Message>) -> Heard {
        let Some(message) = message else {
            return Heard::Broken("the connection was closed".to_owned());
        };
        self.last_heard = Instant::now();
        // First of all: a producer may write a status line into the headers of its own message.
        if let Some(delivered) = message.reply.as_deref().and_then(Delivered::parse) {
            self.outstanding = self.outstanding.saturating_sub(1);
            self.delivered_any = true;
            return Heard::Message(delivered.into_message(&message));
        }
        let text = message.description.as_deref().unwrap_or_default();
        let called_off = message
            .headers
            .as_ref()
            .and_then(|headers| headers.get("Nats-Pending-Messages"))
            .and_then(|count| count.as_str().parse::<usize>().ok());
        match (message.status, called_off) {
            (Some(StatusCode::IDLE_HEARTBEAT), _) => Heard::Alive,
            (
                Some(StatusCode::NOT_FOUND | StatusCode::TIMEOUT | StatusCode::REQUEST_TERMINATED),
                Some(count),
            ) if !text.contains("Consumer") && !text.contains("Leadership") && !text.contains("Server") => {
                self.outstanding = self.outstanding.saturating_sub(count);
                Heard::Alive
            }
            (status, _) => {
                Heard::Broken(format!("the server said {}: {text}", status.map_or(0, |code| code.as_u16())))
            }
        }
    }
}
