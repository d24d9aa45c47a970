//! An output log in memory.
//!
//! As on the real one, a writer sends many outputs before the first is acknowledged, each on the condition that the one
//! before it is the last one there. After anything unclear it looks at the log itself for how far it got.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::mishap::lost;
use super::{Call, Chance, Mishap, lock};
use crate::bus::{BusError, LastOutput, Output, OutputLog};

/// How long an acknowledgement may take before the log is asked.
const ACK_WAIT_MAX: Duration = Duration::from_millis(250);
/// How long to wait after a refusal.
const DELAY: Duration = Duration::from_millis(50);

/// An output that is on its way and may arrive after its sender is gone.
#[derive(Debug)]
struct Stray {
    at: Instant,
    index: usize,
    log: String,
    output: Output,
}

#[derive(Debug, Default)]
struct Stored {
    /// Each output, with the input log that caused it.
    outputs: Vec<(String, Output)>,
    strays: Vec<Stray>,
    held: bool,
    silent_until: Option<Instant>,
    full_until: Option<Instant>,
    faults: u32,
}

impl Stored {
    /// Lets in what has been on its way for long enough, where it still has its place.
    fn let_in_strays(&mut self, now: Instant) {
        let (due, later): (Vec<Stray>, Vec<Stray>) = self.strays.drain(..).partition(|stray| stray.at <= now);
        self.strays = later;
        for stray in due {
            if stray.index == self.outputs.len() {
                self.outputs.push((stray.log, stray.output));
            }
        }
    }

    fn is_silent(&self, now: Instant) -> bool {
        self.held || self.silent_until.is_some_and(|until| now < until)
    }

    fn is_full(&self, now: Instant) -> bool {
        self.full_until.is_some_and(|until| now < until)
    }
}

/// An output log. A clone is a second writer on the same log; opened anew, it goes on where the log ends.
#[derive(Clone, Debug, Default)]
pub struct MemoryOutputs {
    shared: Arc<Mutex<Stored>>,
    chance: Chance,
    log: String,
    /// How many outputs are known to be stored.
    acked: usize,
    pending: VecDeque<Output>,
    /// How many of `pending` are under way.
    sent: usize,
    /// The most outputs there can be if nobody else writes.
    sent_max: usize,
    /// Something is unclear: nothing is sent before the log is asked, and not before then.
    ask_at: Option<Instant>,
    /// When to ask because no acknowledgement came.
    patience_ends: Option<Instant>,
}

impl MemoryOutputs {
    /// The same log for a writer to whom things happen.
    pub fn with(&self, chance: Chance) -> Self {
        MemoryOutputs { shared: Arc::clone(&self.shared), chance, ..MemoryOutputs::default() }
    }

    /// Everything that is stored, in order.
    pub fn outputs(&self) -> Vec<Output> {
        lock(&self.shared).outputs.iter().map(|(_, output)| output.clone()).collect()
    }

    /// How much of it is of input log `log`.
    pub fn count_of(&self, log: &str) -> usize {
        lock(&self.shared).outputs.iter().filter(|(of, _)| of == log).count()
    }

    /// What is stored from number `from` on, counted from 0.
    pub fn outputs_from(&self, from: usize) -> Vec<Output> {
        lock(&self.shared).outputs.iter().skip(from).map(|(_, output)| output.clone()).collect()
    }

    /// Everything that is stored, in order, with the input log that caused it.
    pub fn stored(&self) -> Vec<(String, Output)> {
        lock(&self.shared).outputs.clone()
    }

    /// The newest one that is stored, with the input log that caused it.
    pub fn newest(&self) -> Option<(String, Output)> {
        lock(&self.shared).outputs.last().cloned()
    }

    /// How much is stored.
    pub fn len(&self) -> usize {
        lock(&self.shared).outputs.len()
    }

    /// Whether nothing is stored.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// From now on nothing is stored or acknowledged. What a writer had under way is lost with it.
    pub fn hold(&self) {
        lock(&self.shared).held = true;
    }

    /// From now on outputs are stored again.
    pub fn release(&self) {
        let mut stored = lock(&self.shared);
        (stored.held, stored.silent_until, stored.full_until) = (false, None, None);
    }

    /// For so long nothing is stored or acknowledged, and nobody says so.
    pub fn silence(&self, how_long: Duration) {
        lock(&self.shared).silent_until = Some(Instant::now() + how_long);
    }

    /// For so long every output is refused.
    pub fn fill(&self, how_long: Duration) {
        lock(&self.shared).full_until = Some(Instant::now() + how_long);
    }

    /// Lets the next `calls` outputs be refused.
    pub fn fail_next(&self, calls: u32) {
        lock(&self.shared).faults = calls;
    }

    /// Does what can be done now.
    fn step(&mut self) -> Result<(), BusError> {
        let now = Instant::now();
        let shared = Arc::clone(&self.shared);
        let mut stored = lock(&shared);
        stored.let_in_strays(now);
        if self.patience_ends.is_some_and(|at| at <= now) {
            self.ask_at.get_or_insert(now);
        }
        if self.ask_at.is_some_and(|at| at <= now) && !stored.is_silent(now) {
            self.resume(&stored)?;
        }
        while self.ask_at.is_none() && self.sent < self.pending.len() {
            self.send(&mut stored, now);
        }
        Ok(())
    }

    /// Looks at the log for how far we got.
    fn resume(&mut self, stored: &Stored) -> Result<(), BusError> {
        let there = stored.outputs.len();
        let ours = there.checked_sub(self.acked + 1).and_then(|index| self.pending.get(index));
        let same = |output: &Output| stored.outputs.last() == Some(&(self.log.clone(), output.clone()));
        if there != self.acked && (there > self.sent_max || !ours.is_some_and(same)) {
            return Err(BusError::Fenced(format!("{there} outputs, where we left {}", self.acked)));
        }
        self.confirm(there);
        (self.sent, self.ask_at, self.patience_ends) = (0, None, None);
        Ok(())
    }

    /// So many are stored.
    fn confirm(&mut self, there: usize) {
        let confirmed = there.saturating_sub(self.acked);
        self.pending.drain(..confirmed);
        self.sent = self.sent.saturating_sub(confirmed);
        self.acked = self.acked.max(there);
        if self.sent == 0 {
            self.patience_ends = None;
        }
    }

    /// Sends the next one.
    fn send(&mut self, stored: &mut Stored, now: Instant) {
        let output = self.pending[self.sent].clone();
        let index = self.acked + self.sent;
        self.sent += 1;
        self.sent_max = self.sent_max.max(index + 1);
        let refused = stored.faults > 0;
        stored.faults = stored.faults.saturating_sub(1);
        let mishap = if refused { Mishap::Refused } else { self.chance.of(Call::Store) };
        let patience_ends = Some(self.patience_ends.unwrap_or(now + ACK_WAIT_MAX));
        if stored.is_silent(now) {
            self.patience_ends = patience_ends;
            return;
        }
        if stored.is_full(now) || mishap == Mishap::Refused || stored.outputs.len() != index {
            self.ask_at = Some(now + DELAY);
            return;
        }
        match mishap {
            Mishap::Slow(how) => {
                stored.strays.push(Stray { at: now + how, index, log: self.log.clone(), output });
                self.patience_ends = patience_ends;
            }
            _ => {
                stored.outputs.push((self.log.clone(), output));
                match mishap {
                    Mishap::AnswerLost => self.patience_ends = patience_ends,
                    _ => self.confirm(index + 1),
                }
            }
        }
    }

    async fn news(&self) {
        let soon = Instant::now() + DELAY;
        let at = self.ask_at.or(self.patience_ends).unwrap_or(soon);
        // A silent log is asked again and again.
        tokio::time::sleep_until(if at <= Instant::now() { soon } else { at }).await;
    }
}

impl OutputLog for MemoryOutputs {
    async fn open(&mut self, log: &str) -> Result<Option<LastOutput>, BusError> {
        if self.chance.befall(Call::Open).await? {
            return Err(lost());
        }
        let mut stored = lock(&self.shared);
        stored.let_in_strays(Instant::now());
        let acked = stored.outputs.len();
        let last = stored.outputs.last().cloned();
        drop(stored);
        *self =
            MemoryOutputs { log: log.to_owned(), acked, sent_max: acked, ..self.with(self.chance.clone()) };
        Ok(last.map(|(log, output)| LastOutput {
            seq: acked as u64,
            log,
            place: output.place,
            body: output.body,
        }))
    }

    async fn all_on(&mut self, subject: &str) -> Result<Vec<(String, Bytes)>, BusError> {
        if self.chance.befall(Call::LookUp).await? {
            return Err(lost());
        }
        let stored = lock(&self.shared);
        let here = stored.outputs.iter().filter(|(_, output)| output.subject == subject);
        Ok(here.map(|(log, output)| (log.clone(), output.body.clone())).collect())
    }

    async fn publish(&mut self, outputs: Vec<Output>) -> Result<(), BusError> {
        self.pending.extend(outputs);
        loop {
            self.step()?;
            if self.sent == self.pending.len() && self.ask_at.is_none() {
                return Ok(());
            }
            self.news().await;
        }
    }

    async fn poll(&mut self) -> Result<usize, BusError> {
        self.step()?;
        Ok(self.pending.len())
    }

    async fn flush(&mut self) -> Result<(), BusError> {
        loop {
            self.step()?;
            if self.pending.is_empty() {
                return Ok(());
            }
            self.news().await;
        }
    }
}
