//! The two logs in memory, for tests: with the same conditions as the real ones, and faults on demand.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use sightline_schemas::EventTime;
use sightline_schemas::subject::{HEADER_CONTENT_ENCODING, HEADER_CONTENT_TYPE};

use crate::bus::{BusError, EventLog, LastOutput, LogInfo, LogMessage, Output, OutputLog};

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Counts one fault down.
fn fault(left: &mut u32) -> Result<(), BusError> {
    if *left == 0 {
        return Ok(());
    }
    *left -= 1;
    Err(BusError::Retry { what: "memory log", why: "a fault was asked for".to_owned() })
}

#[derive(Debug, Default)]
struct Events {
    generation: u32,
    /// Sequence of `messages[0]`.
    first_seq: u64,
    messages: VecDeque<LogMessage>,
    now: EventTime,
    faults: u32,
}

impl Events {
    fn last_seq(&self) -> u64 {
        self.first_seq + self.messages.len() as u64 - 1
    }

    fn append(&mut self, subject: &str, headers: &[(&'static str, String)], body: Bytes) -> u64 {
        let header =
            |wanted| headers.iter().find(|(name, _)| *name == wanted).map(|(_, value)| value.clone());
        let seq = self.last_seq() + 1;
        self.messages.push_back(LogMessage {
            seq,
            subject: Some(subject.to_owned()),
            content_type: header(HEADER_CONTENT_TYPE),
            content_encoding: header(HEADER_CONTENT_ENCODING),
            received_at: Some(self.now),
            body,
        });
        seq
    }
}

/// An input log. Clones read the same log, each from a place of its own.
#[derive(Clone, Debug)]
pub struct MemoryLog {
    shared: Arc<Mutex<Events>>,
    generation: u32,
    /// `None` before the first `seek` and after `Replaced`.
    next: Option<u64>,
}

impl Default for MemoryLog {
    fn default() -> Self {
        let events = Events { first_seq: 1, now: EventTime::from_micros(0), ..Events::default() };
        MemoryLog { shared: Arc::new(Mutex::new(events)), generation: 0, next: None }
    }
}

impl MemoryLog {
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

    /// Deletes everything before `seq`.
    pub fn purge_to(&self, seq: u64) {
        let mut events = lock(&self.shared);
        while events.first_seq < seq && events.messages.pop_front().is_some() {
            events.first_seq += 1;
        }
    }

    /// Deletes the log and makes an empty one of the same name.
    pub fn replace(&self) {
        let mut events = lock(&self.shared);
        *events =
            Events { generation: events.generation + 1, first_seq: 1, now: events.now, ..Events::default() };
    }

    /// Lets the next `calls` calls of the log fail with [`BusError::Retry`].
    pub fn fail_next(&self, calls: u32) {
        lock(&self.shared).faults = calls;
    }

    fn on(&self, subject: &str) -> Result<VecDeque<LogMessage>, BusError> {
        let mut events = lock(&self.shared);
        fault(&mut events.faults)?;
        let here = events.messages.iter().filter(|message| message.subject.as_deref() == Some(subject));
        Ok(here.cloned().collect())
    }
}

impl EventLog for MemoryLog {
    async fn info(&mut self) -> Result<LogInfo, BusError> {
        let mut events = lock(&self.shared);
        fault(&mut events.faults)?;
        // While a log is being read, only `next_batch` may find out that it is another one.
        if self.next.is_none() {
            self.generation = events.generation;
        }
        let id = format!("memory@{}", events.generation);
        Ok(LogInfo { id, first_seq: events.first_seq, last_seq: events.last_seq() })
    }

    async fn seek(&mut self, seq: u64) -> Result<(), BusError> {
        self.info().await?;
        self.next = Some(seq.max(1));
        Ok(())
    }

    async fn next_batch(&mut self, max: usize, wait: Duration) -> Result<Vec<LogMessage>, BusError> {
        let batch = {
            let mut events = lock(&self.shared);
            fault(&mut events.faults)?;
            let next = self.next.ok_or(BusError::Replaced)?;
            if events.generation != self.generation || events.last_seq() + 1 < next {
                self.next = None;
                return Err(BusError::Replaced);
            }
            if events.first_seq > next {
                return Err(BusError::Gap { first: next, last: events.first_seq - 1 });
            }
            let skipped = usize::try_from(next - events.first_seq).unwrap_or(usize::MAX);
            events.messages.iter().skip(skipped).take(max).cloned().collect::<Vec<_>>()
        };
        self.next = self.next.map(|next| next + batch.len() as u64);
        if batch.is_empty() {
            tokio::time::sleep(wait).await;
        }
        Ok(batch)
    }

    async fn last_on(&mut self, subject: &str) -> Result<Option<LogMessage>, BusError> {
        Ok(self.on(subject)?.pop_back())
    }

    async fn first_on(&mut self, subject: &str) -> Result<Option<LogMessage>, BusError> {
        Ok(self.on(subject)?.pop_front())
    }

    async fn append(
        &mut self,
        subject: &str,
        headers: &[(&'static str, String)],
        body: Bytes,
    ) -> Result<u64, BusError> {
        let mut events = lock(&self.shared);
        fault(&mut events.faults)?;
        Ok(events.append(subject, headers, body))
    }
}

#[derive(Debug, Default)]
struct Stored {
    /// Each output, with the input log that caused it.
    outputs: Vec<(String, Output)>,
    held: bool,
    faults: u32,
}

/// An output log. A clone is a second writer on the same log; opened anew, it goes on where the log ends.
#[derive(Clone, Debug, Default)]
pub struct MemoryOutputs {
    shared: Arc<Mutex<Stored>>,
    log: String,
    acked: usize,
    pending: VecDeque<Output>,
}

impl MemoryOutputs {
    /// Everything that is stored, in order.
    pub fn outputs(&self) -> Vec<Output> {
        lock(&self.shared).outputs.iter().map(|(_, output)| output.clone()).collect()
    }

    /// From now on nothing is stored or acknowledged. What a writer had under way is lost with it.
    pub fn hold(&self) {
        lock(&self.shared).held = true;
    }

    /// From now on outputs are stored again.
    pub fn release(&self) {
        lock(&self.shared).held = false;
    }

    /// Lets the next `calls` calls of the log fail with [`BusError::Retry`].
    pub fn fail_next(&self, calls: u32) {
        lock(&self.shared).faults = calls;
    }

    /// Stores `outputs` behind what is under way, if nobody else has written. How much is still under way.
    fn store(&mut self, outputs: Vec<Output>) -> Result<usize, BusError> {
        let mut stored = lock(&self.shared);
        // Before anything is taken: the caller gives all of it again.
        fault(&mut stored.faults)?;
        self.pending.extend(outputs);
        if stored.outputs.len() != self.acked {
            return Err(BusError::Fenced(format!(
                "{} outputs, where we left {}",
                stored.outputs.len(),
                self.acked
            )));
        }
        if !stored.held {
            self.acked += self.pending.len();
            stored.outputs.extend(self.pending.drain(..).map(|output| (self.log.clone(), output)));
        }
        Ok(self.pending.len())
    }
}

impl OutputLog for MemoryOutputs {
    async fn open(&mut self, log: &str) -> Result<Option<LastOutput>, BusError> {
        let mut stored = lock(&self.shared);
        fault(&mut stored.faults)?;
        self.log = log.to_owned();
        self.acked = stored.outputs.len();
        self.pending.clear();
        let seq = self.acked as u64;
        Ok(stored.outputs.last().map(|(log, output)| LastOutput {
            seq,
            log: log.clone(),
            place: output.place,
            body: output.body.clone(),
        }))
    }

    async fn publish(&mut self, outputs: Vec<Output>) -> Result<(), BusError> {
        self.store(outputs).map(|_| ())
    }

    async fn poll(&mut self) -> Result<usize, BusError> {
        self.store(Vec::new())
    }

    async fn flush(&mut self) -> Result<(), BusError> {
        while self.store(Vec::new())? > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Ok(())
    }
}
