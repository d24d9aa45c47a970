//! The two logs, as the worker sees them: one to read in order, one to write in order.
//!
//! [`jetstream`] is the real thing, [`mod@file`] serves backtests, [`memory`] serves tests and can fail on demand.

pub mod file;
pub mod jetstream;
pub mod memory;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sightline_schemas::{EventTime, Position};

/// One message of the input log.
#[derive(Clone, Debug)]
pub struct LogMessage {
    /// Stream sequence, counted from 1.
    pub seq: u64,
    /// The subject it was published on; `None` where the log is a file and every event says its source itself.
    pub subject: Option<Arc<str>>,
    /// `Content-Type`, if given.
    pub content_type: Option<String>,
    /// `Content-Encoding`, if given.
    pub content_encoding: Option<String>,
    /// When the bus received it; `None` where the log is a file, in which log time follows event time.
    pub received_at: Option<EventTime>,
    /// The body: often a slice of what it was read with, so copy what is to be kept.
    pub body: Bytes,
}

/// Which log this is and how far it reaches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogInfo {
    /// Changes when the stream is deleted and created again, even under the same name.
    pub id: String,
    /// Sequence of the oldest message that is still there (last + 1 where there is none).
    pub first_seq: u64,
    /// Sequence of the newest message ever (0 where there never was one).
    pub last_seq: u64,
}

/// Place of an output message: the input position that caused it and its ordinal among the messages of that position.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct OutputPlace {
    /// The input position.
    pub position: Position,
    /// Counted from 0 in each position.
    pub ordinal: u32,
}

/// A message for an output log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// Where in the input it comes from; strictly increasing along the output log.
    pub place: OutputPlace,
    /// The subject to publish on.
    pub subject: String,
    /// Headers beside the ones that the log itself adds (`Sightline-Position`, `Sightline-Log`, expected-last).
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: Bytes,
}

/// The newest message of an output log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastOutput {
    /// Its sequence in the output log.
    pub seq: u64,
    /// Which input log caused it: [`LogInfo::id`].
    pub log: String,
    /// Where in that log.
    pub place: OutputPlace,
    /// Its body.
    pub body: Bytes,
}

/// What can go wrong on the bus, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum BusError {
    /// Passing: wait and do the same again.
    #[error("{what}: {why}")]
    Retry {
        /// What was tried.
        what: &'static str,
        /// What the client or server said.
        why: String,
    },
    /// Somebody else wrote to our output log: stop.
    #[error("another worker owns this output: {0}")]
    Fenced(String),
    /// The input log has no message where there must be one: `first..=last` are gone.
    #[error("input messages {first} to {last} are gone")]
    Gap {
        /// First missing sequence.
        first: u64,
        /// Last missing sequence.
        last: u64,
    },
    /// The input log is another one than a moment ago (deleted and created again).
    #[error("the input log was replaced")]
    Replaced,
    /// Lasting: stop and say so.
    #[error("{0}")]
    Stop(String),
}

/// The input log: read in order from a place of our own choosing, and written for rules and time only.
pub trait EventLog: Send {
    /// Which log this is and how far it reaches.
    ///
    /// # Errors
    /// When the server does not answer or has no such stream.
    fn info(&mut self) -> impl Future<Output = Result<LogInfo, BusError>> + Send;

    /// Reads on from sequence `seq` (1 is the first).
    ///
    /// # Errors
    /// When the server does not answer.
    fn seek(&mut self, seq: u64) -> impl Future<Output = Result<(), BusError>> + Send;

    /// The next messages in order, at most `max`; waits up to `wait` for the first one, and not for more than are there.
    /// Empty when none came. Sequences rise by exactly one from message to message, and from the last batch to this.
    ///
    /// # Errors
    /// [`BusError::Gap`] when messages are missing: nothing of the batch is lost, call [`EventLog::seek`] to go on
    /// behind the gap. [`BusError::Replaced`] when the stream was created anew.
    fn next_batch(
        &mut self,
        max: usize,
        wait: Duration,
    ) -> impl Future<Output = Result<Vec<LogMessage>, BusError>> + Send;

    /// The newest message on `subject`, if there is one.
    ///
    /// # Errors
    /// When the server does not answer.
    fn last_on(&mut self, subject: &str)
    -> impl Future<Output = Result<Option<LogMessage>, BusError>> + Send;

    /// The oldest retained message on `subject`, if there is one.
    ///
    /// # Errors
    /// When the server does not answer.
    fn first_on(
        &mut self,
        subject: &str,
    ) -> impl Future<Output = Result<Option<LogMessage>, BusError>> + Send;

    /// The first message that was received no more than so many microseconds before the newest one; the oldest that is
    /// kept, where the log cannot tell.
    ///
    /// # Errors
    /// When the server does not answer.
    fn first_within(&mut self, micros: i64) -> impl Future<Output = Result<u64, BusError>> + Send {
        let _ = micros;
        async { Ok(self.info().await?.first_seq) }
    }

    /// Appends a message and gives its sequence, once the server has stored it.
    ///
    /// # Errors
    /// When it was not stored, as far as we know.
    fn append(
        &mut self,
        subject: &str,
        headers: &[(&'static str, String)],
        body: Bytes,
    ) -> impl Future<Output = Result<u64, BusError>> + Send;
}

/// An output log: written in order, each message on the condition that the one before it is the last one there.
pub trait OutputLog: Send {
    /// The newest message, if there is one; everything published from now on follows it, and comes from input log `log`.
    ///
    /// # Errors
    /// When the server does not answer or has no such stream.
    fn open(&mut self, log: &str) -> impl Future<Output = Result<Option<LastOutput>, BusError>> + Send;

    /// All messages on `subject`, oldest first: body, and the input log that caused it. For subjects that hold few.
    ///
    /// # Errors
    /// When the server does not answer.
    fn all_on(
        &mut self,
        subject: &str,
    ) -> impl Future<Output = Result<Vec<(String, Bytes)>, BusError>> + Send;

    /// Takes messages to publish in order. Returns when they are under way, not when they are acknowledged; waits
    /// while too many are (back-pressure).
    ///
    /// # Errors
    /// [`BusError::Fenced`] when another writer was there. Passing faults are retried inside, for as long as it takes,
    /// and logged.
    fn publish(&mut self, outputs: Vec<Output>) -> impl Future<Output = Result<(), BusError>> + Send;

    /// Takes in the acknowledgements that have arrived, without waiting. Gives how many outputs are still under way.
    ///
    /// # Errors
    /// As [`OutputLog::publish`].
    fn poll(&mut self) -> impl Future<Output = Result<usize, BusError>> + Send;

    /// Returns when everything published is acknowledged.
    ///
    /// # Errors
    /// As [`OutputLog::publish`].
    fn flush(&mut self) -> impl Future<Output = Result<(), BusError>> + Send;
}
