//! An input log in memory.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use sightline_schemas::EventTime;
use sightline_schemas::subject::{HEADER_CONTENT_ENCODING, HEADER_CONTENT_TYPE};

use super::mishap::lost;
use super::{Call, Chance, lock};
use crate::bus::{BusError, EventLog, LogInfo, LogMessage};

#[derive(Debug, Default)]
struct Events {
    generation: u32,
    /// In order of sequence; some may be missing.
    messages: VecDeque<LogMessage>,
    last_seq: u64,
    read_to: u64,
    now: EventTime,
    faults: u32,
}

impl Events {
    fn first_seq(&self) -> u64 {
        self.messages.front().map_or(self.last_seq + 1, |message| message.seq)
    }

    fn append(&mut self, subject: &str, headers: &[(&'static str, String)], body: Bytes) -> u64 {
        let header =
            |wanted| headers.iter().find(|(name, _)| *name == wanted).map(|(_, value)| value.clone());
        self.last_seq += 1;
        self.messages.push_back(LogMessage {
            seq: self.last_seq,
            subject: Some(subject.into()),
            content_type: header(HEADER_CONTENT_TYPE),
            content_encoding: header(HEADER_CONTENT_ENCODING),
            received_at: Some(self.now),
            body,
        });
        self.last_seq
    }

    /// The messages from `next` on, up to the first that is missing.
    fn from(&self, next: u64, max: usize) -> Result<Vec<LogMessage>, BusError> {
        let from = self.messages.partition_point(|message| message.seq < next);
        let missing_to = match self.messages.get(from) {
            Some(first) => first.seq - 1,
            None => self.last_seq,
        };
        if missing_to >= next {
            return Err(BusError::Gap { first: next, last: missing_to });
        }
        let here = self.messages.iter().skip(from).take(max);
        let unbroken = here.zip(next..).take_while(|(message, seq)| message.seq == *seq);
        Ok(unbroken.map(|(message, _)| message.clone()).collect())
    }
}

/// An input log. Clones read the same log, each from a place of its own.
#[derive(Clone, Debug)]
pub struct MemoryLog {
    shared: Arc<Mutex<Events>>,
    chance: Chance,
    generation: u32,
    /// `None` before the first `seek` and after `Replaced`.
    next: Option<u64>,
}

impl Default for MemoryLog {
    fn default() -> Self {
        let events = Events { now: EventTime::from_micros(0), ..Events::default() };
        MemoryLog {
            shared: Arc::new(Mutex::new(events)),
            chance: Chance::default(),
            generation: 0,
            next: None,
        }
    }
}

impl MemoryLog {
    /// The same log for a reader to whom things happen.
    pub fn with(&self, chance: Chance) -> Self {
        MemoryLog { chance, next: None, ..self.clone() }
    }

    /// Appends an event that the bus receives at `at`. Gives its sequence.
    pub fn push(&self, at: EventTime, subject: &str, headers: &[(&'static str, String)], body: Bytes) -> u64 {
        let mut events = lock(&self.shared);
        events.now = at;
        events.append(subject, headers, body)
    }

    /// Says what time it is for what the worker itself appends; otherwise that is the time of the last `push`.
    pub fn set_time(&self, at: EventTime) {
        lock(&self.shared).now = at;
    }

    /// Its name; another one after [`MemoryLog::replace`].
    pub fn id(&self) -> String {
        format!("memory@{}", lock(&self.shared).generation)
    }

    /// Sequence of the oldest message that is there, or of the next one.
    pub fn first_seq(&self) -> u64 {
        lock(&self.shared).first_seq()
    }

    /// Sequence of the newest message ever.
    pub fn last_seq(&self) -> u64 {
        lock(&self.shared).last_seq
    }

    /// The highest sequence that any reader was given.
    pub fn read_to(&self) -> u64 {
        lock(&self.shared).read_to
    }

    /// All messages that are there.
    pub fn messages(&self) -> Vec<LogMessage> {
        lock(&self.shared).messages.iter().cloned().collect()
    }

    /// Deletes everything before `seq`.
    pub fn purge_to(&self, seq: u64) {
        lock(&self.shared).messages.retain(|message| message.seq >= seq);
    }

    /// Deletes `first..=last`.
    pub fn delete(&self, first: u64, last: u64) {
        lock(&self.shared).messages.retain(|message| message.seq < first || message.seq > last);
    }

    /// Loses everything after `seq`: what is appended next gets sequences that were given before.
    pub fn lose_tail(&self, seq: u64) {
        let mut events = lock(&self.shared);
        events.messages.retain(|message| message.seq <= seq);
        events.last_seq = events.last_seq.min(seq);
    }

    /// Deletes the log and makes an empty one of the same name.
    pub fn replace(&self) {
        let mut events = lock(&self.shared);
        *events = Events { generation: events.generation + 1, now: events.now, ..Events::default() };
    }

    /// Lets the next `calls` calls of the log fail with [`BusError::Retry`].
    pub fn fail_next(&self, calls: u32) {
        lock(&self.shared).faults = calls;
    }

    /// What befalls a call; answers whether its answer is lost.
    async fn befall(&self, call: Call) -> Result<bool, BusError> {
        let asked_for = {
            let mut events = lock(&self.shared);
            let asked_for = events.faults > 0;
            events.faults = events.faults.saturating_sub(1);
            asked_for
        };
        if asked_for {
            return Err(lost());
        }
        self.chance.befall(call).await
    }

    async fn on(&self, subject: &str) -> Result<VecDeque<LogMessage>, BusError> {
        if self.befall(Call::LookUp).await? {
            return Err(lost());
        }
        let events = lock(&self.shared);
        let here = events.messages.iter().filter(|message| message.subject.as_deref() == Some(subject));
        Ok(here.cloned().collect())
    }

    fn look(&mut self) -> LogInfo {
        let events = lock(&self.shared);
        // While a log is being read, only `next_batch` may find out that it is another one.
        if self.next.is_none() {
            self.generation = events.generation;
        }
        let id = format!("memory@{}", events.generation);
        LogInfo { id, first_seq: events.first_seq(), last_seq: events.last_seq }
    }
}

impl EventLog for MemoryLog {
    async fn info(&mut self) -> Result<LogInfo, BusError> {
        match self.befall(Call::Info).await? {
            true => Err(lost()),
            false => Ok(self.look()),
        }
    }

    async fn seek(&mut self, seq: u64) -> Result<(), BusError> {
        let answer_lost = self.befall(Call::Seek).await?;
        self.look();
        self.next = Some(seq.max(1));
        if answer_lost { Err(lost()) } else { Ok(()) }
    }

    async fn next_batch(&mut self, max: usize, wait: Duration) -> Result<Vec<LogMessage>, BusError> {
        // A lost answer is asked for again: the place moves only with what arrives.
        if self.befall(Call::NextBatch).await? {
            return Err(lost());
        }
        let batch = {
            let mut events = lock(&self.shared);
            let next = self.next.ok_or(BusError::Replaced)?;
            if events.generation != self.generation || events.last_seq + 1 < next {
                self.next = None;
                return Err(BusError::Replaced);
            }
            let batch = events.from(next, max)?;
            events.read_to = events.read_to.max(next - 1 + batch.len() as u64);
            batch
        };
        self.next = self.next.map(|next| next + batch.len() as u64);
        if batch.is_empty() {
            tokio::time::sleep(wait).await;
        }
        Ok(batch)
    }

    async fn last_on(&mut self, subject: &str) -> Result<Option<LogMessage>, BusError> {
        Ok(self.on(subject).await?.pop_back())
    }

    async fn first_on(&mut self, subject: &str) -> Result<Option<LogMessage>, BusError> {
        Ok(self.on(subject).await?.pop_front())
    }

    async fn append(
        &mut self,
        subject: &str,
        headers: &[(&'static str, String)],
        body: Bytes,
    ) -> Result<u64, BusError> {
        let answer_lost = self.befall(Call::Append).await?;
        let seq = lock(&self.shared).append(subject, headers, body);
        if answer_lost { Err(lost()) } else { Ok(seq) }
    }
}
