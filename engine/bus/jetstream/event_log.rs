//! The input log: read in order from a place of our own, without a gap that goes unseen.
//!
//! The server's consumer is disposable. Whatever happens to it (deleted, forgotten at a restart, silent), another one
//! is made at the next sequence we need. What counts is the sequence: it rises by one, or there is a reason to name.

use std::collections::VecDeque;
use std::time::Duration;

use async_nats::HeaderMap;
use bytes::Bytes;
use tokio::time::Instant;

use super::by_hand;
use super::connect::Connection;
use super::lookup::{self, Which};
use super::pull::Puller;
use super::reply;
use crate::bus::{BusError, EventLog, LogInfo, LogMessage};

/// How often an idle reader asks whether the log was purged or replaced behind its back.
const IDLE_CHECK: Duration = Duration::from_secs(2);
/// Longest pause between two consumers that both died before they delivered anything.
const RESTART_DELAY_MAX: Duration = Duration::from_secs(2);
/// Consumers in a row that may die before they delivered anything, before the next message is suspected of killing them.
const FRUITLESS_MAX: u32 = 2;
/// Messages read one by one behind a suspect: where there is one that the client cannot read, there are often more.
const BY_HAND_MESSAGES: u32 = 256;
/// How long a lost connection is waited for at least, so that a caller who does not wait does not spin.
const RECONNECT_WAIT_MIN: Duration = Duration::from_millis(20);

/// When a lost server ends the line, the client finds out that it is away within this. Asked sooner, it would wait for an
/// answer that cannot come.
const NOTICED_AFTER: Duration = Duration::from_millis(100);

/// The input log on a JetStream stream.
///
/// All methods may be given up half-way (in a `select!`) without losing a message. After [`BusError::Replaced`],
/// [`EventLog::info`] takes the new stream on and [`EventLog::seek`] says where to read in it; until then every call
/// of [`EventLog::next_batch`] gives `Replaced` again. In the same way [`BusError::Gap`] repeats until `seek`.
#[derive(Debug)]
pub struct JetStreamEvents {
    connection: Connection,
    stream: String,
    /// [`LogInfo::id`] of the stream that is being read.
    id: Option<String>,
    /// The next sequence to take from the wire; `None` before the first `seek` and after `Replaced`.
    next: Option<u64>,
    /// Taken from the wire, and not yet given out.
    ready: VecDeque<LogMessage>,
    puller: Option<Puller>,
    /// A fresh consumer began only behind this sequence, although an earlier one was asked for.
    hole_ends: Option<u64>,
    /// Consumers in a row that died before they delivered anything.
    fruitless: u32,
    /// The consumer was given up, and whether the server is there was not looked at since.
    given_up: bool,
    checked: Instant,
    /// At the last idle check there was a message at this sequence, which had not come.
    overdue: Option<u64>,
}

impl JetStreamEvents {
    /// The input log in `stream`.
    pub fn new(connection: Connection, stream: &str) -> Self {
        JetStreamEvents {
            connection,
            stream: stream.to_owned(),
            id: None,
            next: None,
            ready: VecDeque::new(),
            puller: None,
            hole_ends: None,
            fruitless: 0,
            given_up: false,
            checked: Instant::now(),
            overdue: None,
        }
    }

    /// The first message from sequence `seq` on, if there is one.
    async fn stored_from(&self, seq: u64) -> Result<Option<LogMessage>, BusError> {
        let found = lookup::message(&self.connection, &self.stream, Which::FirstOn(">", seq)).await?;
        Ok(found.as_ref().map(reply::from_stored))
    }

    /// Whether the log can still give sequence `next`, as far as the server's state of the stream says.
    async fn check(&mut self, next: u64) -> Result<LogInfo, BusError> {
        let info = lookup::log_info(&*lookup::info(&self.connection, &self.stream).await?);
        self.checked = Instant::now();
        let same = self.id.get_or_insert_with(|| info.id.clone()) == &info.id;
        // A last sequence below what we read: the server lost its end (power failure without sync), and will give those
        // numbers to other messages.
        if !same || info.last_seq + 1 < next {
            tracing::error!(
                stream = self.stream,
                was = self.id,
                is = info.id,
                next,
                last = info.last_seq,
                "log_replaced"
            );
            self.id = None;
            self.next = None;
            self.puller = None;
            return Err(BusError::Replaced);
        }
        if info.first_seq > next {
            self.puller = None;
            return Err(BusError::Gap { first: next, last: info.first_seq - 1 });
        }
        Ok(info)
    }

    /// Makes a consumer that reads on at `next`, once it is sure that the log still has that.
    async fn restart(&mut self, next: u64, deadline: Instant) -> Result<(), BusError> {
        if self.given_up {
            tokio::time::sleep(NOTICED_AFTER).await;
            self.given_up = false;
        }
        if !self.connection.is_connected() {
            let mut connects = self.connection.connects();
            connects.mark_unchanged();
            let patience = deadline.max(Instant::now() + RECONNECT_WAIT_MIN);
            if !self.connection.is_connected()
                && tokio::time::timeout_at(patience, connects.changed()).await.is_err()
            {
                return Err(self.connection.retry("read the input log", "not connected"));
            }
        }
        if self.fruitless > 1 {
            let delay =
                Duration::from_millis(50).saturating_mul(1 << self.fruitless.min(10)).min(RESTART_DELAY_MAX);
            tokio::time::sleep(delay).await;
        }
        self.check(next).await?;
        if let Some(last) = self.hole_ends {
            // A message may also have got lost on its way to us; only one that is not stored any more is a gap.
            if lookup::message(&self.connection, &self.stream, Which::At(next)).await?.is_none() {
                return Err(BusError::Gap { first: next, last });
            }
            self.hole_ends = None;
        }
        if self.fruitless >= FRUITLESS_MAX && self.read_by_hand(next).await? {
            return Ok(());
        }
        self.puller = Some(Puller::start(&self.connection, &self.stream, next).await?);
        Ok(())
    }

    /// Reads on one by one, past what ends the connection over which it is delivered. Whether there was anything.
    async fn read_by_hand(&mut self, next: u64) -> Result<bool, BusError> {
        for seq in next..next + u64::from(BY_HAND_MESSAGES) {
            let Some(message) = by_hand::read(&self.connection, &self.stream, seq).await? else { break };
            self.next = Some(seq + 1);
            self.overdue = None;
            self.fruitless = 0;
            self.ready.push_back(message);
        }
        Ok(!self.ready.is_empty())
    }

    /// Gives up the consumer; the next call makes another.
    fn give_up(&mut self, why: &str) {
        let Some(puller) = self.puller.take() else { return };
        self.fruitless = if puller.delivered_any() { 0 } else { self.fruitless.saturating_add(1) };
        self.given_up = true;
        tracing::warn!(stream = self.stream, next = self.next, why, "log_consumer_made_anew");
    }

    /// Takes over what has come, up to `max` messages in all.
    fn drain(&mut self, max: usize) {
        let Some(puller) = &mut self.puller else { return };
        let (first, before) = (!puller.delivered_any(), self.ready.len());
        let taken = puller.take(&mut self.ready, max);
        let Some(from) = self.next else { return self.ready.truncate(before) };
        let (mut next, mut at, mut jumped) = (from, before, false);
        while let Some(seq) = self.ready.get(at).map(|message| message.seq).filter(|_| !jumped) {
            if seq == next {
                next += 1;
                at += 1;
            } else if seq < next {
                self.ready.remove(at);
            } else {
                jumped = true;
                // Of a consumer that has just been told to begin at `next`, this means that there is nothing before.
                self.hole_ends = (first && next == from).then(|| seq - 1);
            }
        }
        self.ready.truncate(at);
        self.next = Some(next);
        if next > from {
            self.overdue = None;
        }
        if jumped {
            self.give_up("sequence jumped");
        }
        if let Err(why) = taken {
            self.give_up(&why);
        }
    }

    /// Nothing came for a while: is there really nothing?
    async fn check_idle(&mut self, next: u64) -> Result<(), BusError> {
        if self.checked.elapsed() < IDLE_CHECK {
            return Ok(());
        }
        let info = self.check(next).await?;
        if info.last_seq < next {
            self.overdue = None;
        } else if self.overdue.replace(next) == Some(next) {
            // Twice in a row: not merely on its way.
            self.give_up("a stored message does not come");
        }
        Ok(())
    }
}

impl EventLog for JetStreamEvents {
    async fn info(&mut self) -> Result<LogInfo, BusError> {
        let info = lookup::log_info(&*lookup::info(&self.connection, &self.stream).await?);
        // While a log is being read, only `next_batch` may find out that it is another one.
        if self.next.is_none() {
            self.id = Some(info.id.clone());
        }
        Ok(info)
    }

    async fn seek(&mut self, seq: u64) -> Result<(), BusError> {
        if self.id.is_none() {
            self.info().await?;
        }
        self.next = Some(seq.max(1));
        self.ready.clear();
        self.puller = None;
        self.hole_ends = None;
        self.overdue = None;
        Ok(())
    }

    async fn next_batch(&mut self, max: usize, wait: Duration) -> Result<Vec<LogMessage>, BusError> {
        let deadline = Instant::now() + wait;
        loop {
            self.drain(max);
            if !self.ready.is_empty() {
                let count = self.ready.len().min(max);
                return Ok(self.ready.drain(..count).collect());
            }
            let next = self.next.ok_or(BusError::Replaced)?;
            let Some(puller) = &mut self.puller else {
                self.restart(next, deadline).await?;
                continue;
            };
            if let Err(why) = puller.wait_until(deadline).await {
                self.give_up(&why);
            } else if Instant::now() >= deadline {
                self.drain(max);
                if !self.ready.is_empty() {
                    continue;
                }
                // No message, because nobody is there to send one: that is not the same.
                if !self.connection.is_connected() {
                    return Err(self.connection.retry("read the input log", "not connected"));
                }
                self.check_idle(next).await?;
                return Ok(Vec::new());
            }
        }
    }

    async fn last_on(&mut self, subject: &str) -> Result<Option<LogMessage>, BusError> {
        let found = lookup::message(&self.connection, &self.stream, Which::LastOn(subject)).await?;
        Ok(found.as_ref().map(reply::from_stored))
    }

    async fn first_on(&mut self, subject: &str) -> Result<Option<LogMessage>, BusError> {
        let found = lookup::message(&self.connection, &self.stream, Which::FirstOn(subject, 1)).await?;
        Ok(found.as_ref().map(reply::from_stored))
    }

    async fn first_within(&mut self, micros: i64) -> Result<u64, BusError> {
        let info = lookup::log_info(&*lookup::info(&self.connection, &self.stream).await?);
        let newest = self.stored_from(info.last_seq).await?;
        let Some(newest) = newest.and_then(|message| message.received_at) else { return Ok(info.first_seq) };
        let oldest_wanted = newest.minus(micros);
        // Between the two halves lies what is wanted; times rise with sequences.
        let (mut before, mut within) = (info.first_seq, info.last_seq);
        while before < within {
            let middle = before + (within - before) / 2;
            match self.stored_from(middle).await? {
                Some(message) if message.received_at.is_some_and(|at| at < oldest_wanted) => {
                    before = message.seq + 1;
                }
                _ => within = middle,
            }
        }
        Ok(before.min(info.last_seq).max(info.first_seq))
    }

    /// A `Retry` may follow a message that was stored all the same; a `Nats-Msg-Id` among the headers makes the second
    /// attempt harmless within the stream's duplicate window.
    async fn append(
        &mut self,
        subject: &str,
        headers: &[(&'static str, String)],
        body: Bytes,
    ) -> Result<u64, BusError> {
        const WHAT: &str = "append to the input log";
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, reply::header_value(value));
        }
        let sent = self.connection.context().publish_with_headers(subject.to_owned(), map, body).await;
        let ack = sent.map_err(|error| self.connection.retry(WHAT, error))?.await;
        let ack = ack.map_err(|error| self.connection.retry(WHAT, error))?;
        if ack.stream != self.stream {
            let why = format!("{subject} is stored in stream {}, not in {}", ack.stream, self.stream);
            return Err(BusError::Stop(why));
        }
        Ok(ack.sequence)
    }
}
