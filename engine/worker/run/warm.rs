//! The loop where rules come that are to be warmed: back into the log, and forth again.

use std::time::Duration;

use tokio::time::Instant;

use super::{Turn, Worker};
use crate::bus::{BusError, EventLog, LogMessage, OutputLog};
use crate::worker::start::WorkerError;
use crate::worker::threads::computing;
use crate::worker::warm::{self, Warming};

/// How long to wait for messages of the past, which are there.
const PAST_WAIT: Duration = Duration::from_secs(2);

/// The place in a batch of the first rules that are to be warmed.
pub(super) fn place(batch: &[LogMessage]) -> Option<usize> {
    batch.iter().position(warm::asks)
}

impl<E: EventLog, O: OutputLog, D: OutputLog> Worker<E, O, D> {
    /// Works through a batch up to the rules at `at`, warms them and puts them in force. What follows them is read again.
    pub(super) async fn work_warm(&mut self, batch: &[LogMessage], at: usize) -> Result<Turn, WorkerError> {
        if at > 0 {
            self.work(&batch[..at]).await?;
        }
        let rules = &batch[at];
        if let Some(warming) = Warming::begin(&self.machine, rules, self.settings.partitions) {
            self.warm(warming).await?;
            self.events.seek(rules.seq + 1).await?;
            return self.work(&batch[at..=at]).await;
        }
        self.work(&batch[at..=at]).await?;
        match batch.get(at + 1) {
            Some(_) => Box::pin(self.work_rest(&batch[at + 1..])).await,
            None => Ok(Turn::Worked),
        }
    }

    async fn work_rest(&mut self, batch: &[LogMessage]) -> Result<Turn, WorkerError> {
        match place(batch) {
            Some(at) => self.work_warm(batch, at).await,
            None => self.work(batch).await,
        }
    }

    /// Runs the changed rules over the log from where their message says up to it.
    async fn warm(&mut self, mut warming: Warming) -> Result<(), WorkerError> {
        let (from, until, began) = (warming.from, warming.until, Instant::now());
        tracing::info!(from, until, changed = warming.units().join(", "), "warming rules over the log");
        let mut done = from.saturating_sub(1);
        self.back_to(from).await?;
        while done + 1 < until {
            match self.events.next_batch(self.settings.batch_messages, PAST_WAIT).await {
                Ok(batch) => {
                    let Some(last) = batch.last() else { continue };
                    done = last.seq;
                    computing(|| warming.take(&batch));
                }
                Err(BusError::Gap { first, last }) => {
                    // What the log has lost since cannot be made up for: it is said, like any other gap.
                    tracing::error!(
                        first,
                        last,
                        "messages are gone that changed rules were to be warmed with"
                    );
                    done = last.min(until - 1);
                    self.miss(first, done).await?;
                    self.back_to(done + 1).await?;
                }
                Err(BusError::Retry { what, why }) => {
                    tracing::warn!(what, why, "the bus is away, trying again");
                    tokio::time::sleep(super::RETRY_DELAY).await;
                    self.back_to(done + 1).await?;
                }
                Err(error) => return Err(error.into()),
            }
        }
        let warmed = warming.end();
        let (keys, took) = (warmed.states.len(), began.elapsed());
        tracing::info!(keys, seconds = took.as_secs_f64(), "rules are warm");
        self.machine.adopt_warmed(warmed);
        Ok(())
    }

    /// Reads on from there, once the bus lets us.
    async fn back_to(&mut self, seq: u64) -> Result<(), BusError> {
        loop {
            match self.events.seek(seq).await {
                Err(BusError::Retry { what, why }) => {
                    tracing::warn!(what, why, "the bus is away, trying again");
                    tokio::time::sleep(super::RETRY_DELAY).await;
                }
                sought => return sought,
            }
        }
    }
}
