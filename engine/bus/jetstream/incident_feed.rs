//! Incidents as they come, for people and dashboards: a consumer of our own on the output log, made anew whenever it is
//! lost. Reads and changes nothing.

use std::collections::VecDeque;
use std::time::Duration;

use async_nats::jetstream::consumer::DeliverPolicy;
use tokio::time::Instant;

use super::connect::Connection;
use super::lookup;
use super::pull::Puller;
use crate::bus::{BusError, LogMessage};

/// Pause between two attempts to get a lost consumer back.
const RESTART_DELAY: Duration = Duration::from_millis(200);
/// Messages taken over at a time.
const READY_MAX: usize = 256;
/// Furthest look back: ten years, more than any stream keeps, and a time that the server can read.
const PAST_MAX: Duration = Duration::from_secs(3_650 * 86_400);

/// Where a feed begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FeedStart {
    /// With the oldest message that is there.
    All,
    /// With what comes from now on.
    New,
    /// With what the server received in this time before now.
    Within(Duration),
}

/// Messages of an output log, in order, from one place on.
#[derive(Debug)]
pub struct IncidentFeed {
    connection: Connection,
    stream: String,
    filter: String,
    /// Which stream this is: another one of the same name begins at its beginning.
    id: String,
    /// Where the next consumer begins.
    from: DeliverPolicy,
    puller: Option<Puller>,
    /// Taken over, and not yet given out.
    ready: VecDeque<LogMessage>,
}

impl IncidentFeed {
    /// Follows what `stream` holds on subjects like `filter`, such as `incidents.default.>`.
    ///
    /// # Errors
    /// When the server does not answer, or has no such stream.
    pub async fn open(
        connection: &Connection,
        stream: &str,
        filter: &str,
        start: FeedStart,
    ) -> Result<Self, BusError> {
        let info = lookup::info(connection, stream).await?;
        let log = lookup::log_info(&info);
        let from = match start {
            FeedStart::All => DeliverPolicy::All,
            FeedStart::New => DeliverPolicy::ByStartSequence { start_sequence: log.last_seq + 1 },
            FeedStart::Within(past) => {
                DeliverPolicy::ByStartTime { start_time: async_nats::datetime::now() - past.min(PAST_MAX) }
            }
        };
        let puller = Some(Puller::start_on(connection, stream, from, filter).await?);
        let (stream, filter) = (stream.to_owned(), filter.to_owned());
        Ok(IncidentFeed {
            connection: connection.clone(),
            stream,
            filter,
            id: log.id,
            from,
            puller,
            ready: VecDeque::new(),
        })
    }

    /// The next message; `None` when none came in `wait`. May be given up half-way (in a `select!`) without losing a
    /// message. Lost connections and consumers are got back inside, for as long as it takes.
    ///
    /// # Errors
    /// When the connection was refused for good.
    pub async fn next(&mut self, wait: Duration) -> Result<Option<LogMessage>, BusError> {
        let deadline = Instant::now() + wait;
        loop {
            if let Some(message) = self.ready.pop_front() {
                self.from = DeliverPolicy::ByStartSequence { start_sequence: message.seq + 1 };
                return Ok(Some(message));
            }
            match self.hear(deadline).await {
                Ok(()) => {}
                Err(BusError::Retry { what, why }) => {
                    tracing::debug!(stream = self.stream, what, why, "feed_waits");
                    self.puller = None;
                    if Instant::now() < deadline {
                        tokio::time::sleep_until(deadline.min(Instant::now() + RESTART_DELAY)).await;
                    }
                }
                Err(error) => return Err(error),
            }
            if self.ready.is_empty() && Instant::now() >= deadline {
                return Ok(None);
            }
        }
    }

    /// Takes over what has come; waits for it where there is nothing.
    async fn hear(&mut self, deadline: Instant) -> Result<(), BusError> {
        if self.puller.is_none() {
            self.restart().await?;
        }
        let Some(puller) = &mut self.puller else { return Ok(()) };
        let mut heard = puller.take(&mut self.ready, READY_MAX);
        if heard.is_ok() && self.ready.is_empty() {
            heard = puller.wait_until(deadline).await;
        }
        if heard.is_ok() {
            heard = puller.take(&mut self.ready, READY_MAX);
        }
        if let Err(why) = heard {
            tracing::debug!(stream = self.stream, why, "feed_consumer_made_anew");
            self.puller = None;
        }
        Ok(())
    }

    async fn restart(&mut self) -> Result<(), BusError> {
        let log = lookup::log_info(&*lookup::info(&self.connection, &self.stream).await?);
        if log.id != self.id {
            tracing::warn!(stream = self.stream, was = self.id, is = log.id, "log_replaced");
            self.id = log.id;
            self.from = DeliverPolicy::All;
        }
        let started = Puller::start_on(&self.connection, &self.stream, self.from, &self.filter).await?;
        self.puller = Some(started);
        Ok(())
    }
}
