//! The pull loop: an ephemeral consumer, a line of its own, and an exact account of what has been asked for.
//!
//! The client's own message stream loses count on a busy machine and then waits for half a minute. Here everything asked
//! for is counted down by what arrives, and whatever else happens to the consumer, it is thrown away and made anew:
//! its position is ours, so nothing is lost with it.

use std::collections::VecDeque;
use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, ReplayPolicy, pull};
use tokio::time::Instant;

use super::connect::Connection;
use super::line::{Line, Pulls};
use super::login::log_in;
use crate::bus::{BusError, LogMessage};

/// Messages asked for at a time. At most one and a half times as many are under way or not yet taken over.
const PULL_MESSAGES: usize = 4_096;
/// Bytes asked for at a time, whichever is reached first: bounds what lies in memory.
const PULL_BYTES: usize = 32 << 20;
/// How long the server keeps a pull that it cannot fill.
const PULL_EXPIRES: Duration = Duration::from_secs(30);
/// How often the server says that it still has our pull.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// Two heartbeats missed, and some time for a busy machine.
const SILENCE_MAX: Duration = Duration::from_secs(12);
/// When the server forgets a consumer that nobody pulls from.
const CONSUMER_IDLE_MAX: Duration = Duration::from_secs(60);

/// A consumer that reads on from one place, and the line that its messages come over.
#[derive(Debug)]
pub(super) struct Puller {
    line: Line,
    delivered_any: bool,
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
        // A single message larger than a pull would never come.
        let pull_bytes = PULL_BYTES.max(2 * connection.client().max_payload());
        let body = serde_json::json!({
            "batch": PULL_MESSAGES,
            "max_bytes": pull_bytes,
            "expires": PULL_EXPIRES.as_nanos() as u64,
            "idle_heartbeat": HEARTBEAT.as_nanos() as u64,
        });
        let pulls = Pulls {
            inbox: connection.client().new_inbox(),
            subject: format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.{}", consumer.cached_info().name),
            body: body.to_string(),
            messages: PULL_MESSAGES,
        };
        let logged_in = log_in(connection).await?;
        Ok(Puller { line: Line::open(logged_in, pulls), delivered_any: false })
    }

    /// Whether any message has come of this consumer.
    pub(super) fn delivered_any(&self) -> bool {
        self.delivered_any
    }

    /// Moves what has come into `ready`, until that holds `max`.
    ///
    /// # Errors
    /// Why nothing will come any more.
    pub(super) fn take(&mut self, ready: &mut VecDeque<LogMessage>, max: usize) -> Result<(), String> {
        let before = ready.len();
        self.line.take(ready, max)?;
        self.delivered_any |= ready.len() > before;
        Ok(())
    }

    /// Returns when something may have come, or at `deadline`.
    ///
    /// # Errors
    /// When the server has been silent for too long.
    pub(super) async fn wait_until(&mut self, deadline: Instant) -> Result<(), String> {
        let silence_ends = self.line.last_heard() + SILENCE_MAX;
        tokio::select! {
            biased;
            () = self.line.news() => Ok(()),
            () = tokio::time::sleep_until(deadline.min(silence_ends)) => {
                // It may have been heard meanwhile.
                match Instant::now() >= self.line.last_heard() + SILENCE_MAX {
                    true => Err("the server fell silent".to_owned()),
                    false => Ok(()),
                }
            }
        }
    }
}
