//! An output log: many messages under way at once, each on the condition that the one before it is the last one there.
//!
//! A message knows its sequence before it is sent: the last one there, and one more for each message before it. The
//! expected sequence alone does not fence: had somebody else written three messages, our first three would be refused,
//! and the fourth would find just the sequence that it expects. So each message also names the one before it by id
//! (`Nats-Expected-Last-Msg-Id`), and whatever somebody else writes breaks that chain for good. The first message of a
//! chain can name none, and goes alone.
//!
//! Sending a message twice changes nothing. After anything unclear (a refusal, a time-out, a lost connection) the stream
//! itself is read for how far we got, and a new chain is begun there.

use std::collections::VecDeque;
use std::time::Duration;

use async_nats::header::{NATS_EXPECTED_LAST_MESSAGE_ID, NATS_EXPECTED_LAST_SEQUENCE, NATS_MESSAGE_ID};
use async_nats::{HeaderMap, Subscriber};
use bytes::Bytes;
use futures_util::{FutureExt, StreamExt};
use sightline_schemas::Position;
use sightline_schemas::subject::{HEADER_LOG, HEADER_POSITION};
use tokio::sync::watch;
use tokio::time::Instant;

use super::connect::Connection;
use super::lookup::{self, Which};
use super::reply::{Answer, header_value};
use crate::bus::{BusError, LastOutput, Output, OutputLog, OutputPlace};

/// How long an acknowledgement may take before the stream is asked.
const ACK_WAIT_MAX: Duration = Duration::from_secs(5);
/// First pause after a refusal; doubles up to the next one.
const DELAY_MIN: Duration = Duration::from_millis(20);
/// Longest pause: how late we notice at most that a full stream has room again.
const DELAY_MAX: Duration = Duration::from_secs(2);

/// JetStream's codes for a message that will never be stored: too large for the stream, stream sealed, header too large.
const NEVER_CODES: [u64; 3] = [10054, 10109, 10097];

/// How much may be sent and not yet acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InFlight {
    /// Messages; far below the 65,536 acknowledgements that the client holds for us.
    pub messages_max: usize,
    /// Bytes of bodies; one message may always be under way, however large.
    pub bytes_max: usize,
}

impl Default for InFlight {
    fn default() -> Self {
        InFlight { messages_max: 4_096, bytes_max: 16 << 20 }
    }
}

/// An output log on a JetStream stream.
///
/// All methods may be given up half-way (in a `select!`): what `publish` was given is taken at once, and goes out with
/// later calls. A message that is found where our own should be, with the same log, place and body, is taken for ours:
/// that is how our own are known again after a lost connection, and from anybody else it would do no harm.
#[derive(Debug)]
pub struct JetStreamOutputs {
    connection: Connection,
    stream: String,
    in_flight: InFlight,
    opened: Option<Opened>,
}

/// What is known of the stream since `open`.
#[derive(Debug)]
struct Opened {
    /// [`crate::bus::LogInfo::id`] of the input log that causes these outputs.
    log: String,
    /// Which stream this is; changes when it is created anew.
    id: String,
    /// Sequence of the last output that is known to be stored; `pending[0]` gets the next one.
    acked: u64,
    pending: VecDeque<Output>,
    /// How many of `pending`, from the front, are under way.
    sent: usize,
    sent_bytes: usize,
    /// The highest sequence that was ever under way.
    sent_seq_max: u64,
    /// When the oldest message under way was sent, or the last acknowledgement came.
    waiting_since: Instant,
    /// Counts resumptions: answers to messages that were sent before one are no news any more.
    epoch: u64,
    /// Some when nothing may be sent before the stream has been asked how far we got.
    trouble: Option<Trouble>,
    /// The first message of a chain goes alone, and the others when it is stored.
    probing: bool,
    delay: Duration,
    inbox: String,
    replies: Subscriber,
    connects: watch::Receiver<u64>,
}

#[derive(Debug)]
struct Trouble {
    why: String,
    not_before: Instant,
}

impl JetStreamOutputs {
    /// The output log in `stream`. Call [`OutputLog::open`] before anything else.
    pub fn new(connection: Connection, stream: &str, in_flight: InFlight) -> Self {
        JetStreamOutputs { connection, stream: stream.to_owned(), in_flight, opened: None }
    }

    fn opened(&mut self) -> Result<&mut Opened, BusError> {
        self.opened.as_mut().ok_or_else(|| BusError::Stop(format!("output log {} is not open", self.stream)))
    }

    /// Does what can be done now: takes answers in, asks the stream after trouble, sends what may be sent.
    async fn step(&mut self) -> Result<&mut Opened, BusError> {
        let Some(opened) = &mut self.opened else {
            return Err(BusError::Stop(format!("output log {} is not open", self.stream)));
        };
        opened.take_in_answers(&self.stream)?;
        if opened.connects.has_changed().unwrap_or(false) {
            opened.connects.mark_unchanged();
            opened.suspect(&self.stream, "the connection was made anew".to_owned());
        }
        // Not while the stream is to be asked anyway: that would put the asking off again and again.
        if opened.trouble.is_none() && opened.sent > 0 && opened.waiting_since.elapsed() > ACK_WAIT_MAX {
            let why = self.connection.explain("no acknowledgement came");
            opened.suspect(&self.stream, why);
        }
        if opened.trouble.as_ref().is_some_and(|trouble| trouble.not_before <= Instant::now())
            && self.connection.is_connected()
        {
            match opened.resume(&self.connection, &self.stream).await {
                Err(BusError::Retry { what, why }) => opened.suspect(&self.stream, format!("{what}: {why}")),
                resumed => resumed?,
            }
        }
        if opened.trouble.is_none() && self.connection.is_connected() {
            opened.send(&self.connection, self.in_flight).await?;
        }
        Ok(opened)
    }

    fn too_large(&self, output: &Output, log: &str) -> Option<BusError> {
        // As the server counts: the headers as they are written, and the body.
        let line = |name: &str, value: &str| name.len() + value.len() + 4;
        let (place, number, id) = ("9".repeat(42), "9".repeat(20), "9".repeat(64));
        let ours = line(HEADER_POSITION, &place)
            + line(HEADER_LOG, log)
            + line("Nats-Expected-Last-Sequence", &number)
            + line("Nats-Msg-Id", &id)
            + line("Nats-Expected-Last-Msg-Id", &id);
        let given: usize = output.headers.iter().map(|(name, value)| line(name, value)).sum();
        let bytes = "NATS/1.0\r\n\r\n".len() + ours + given + output.body.len();
        let bytes_max = self.connection.client().max_payload();
        (bytes > bytes_max).then(|| {
            BusError::Stop(format!(
                "a message for {} has {bytes} bytes with its headers, and the server takes {bytes_max} (max_payload)",
                output.subject
            ))
        })
    }
}

impl Opened {
    /// Something is unclear: nothing is sent until the stream has been asked, after a pause that grows.
    fn suspect(&mut self, stream: &str, why: String) {
        if self.sent == 0 && self.trouble.is_none() {
            return;
        }
        // One refusal brings as many as there are messages behind it; the first says why.
        let news = self.trouble.as_ref().is_none_or(|trouble| trouble.not_before <= Instant::now());
        if news {
            tracing::warn!(stream, why, pending = self.pending.len(), acked = self.acked, delay = ?self.delay, "output_held");
            self.trouble = Some(Trouble { why, not_before: Instant::now() + self.delay });
            self.delay = (self.delay * 2).min(DELAY_MAX);
        }
    }

    /// Takes in the answers that have come, without waiting.
    fn take_in_answers(&mut self, stream: &str) -> Result<(), BusError> {
        // Tokio lets a task take 128 messages before it pretends that there are none.
        while let Some(answer) = tokio::task::coop::unconstrained(self.replies.next()).now_or_never() {
            self.take_in(answer, stream)?;
        }
        Ok(())
    }

    fn take_in(&mut self, message: Option<async_nats::Message>, stream: &str) -> Result<(), BusError> {
        let Some(message) = message else {
            return Err(BusError::Stop("the connection to the bus was closed".to_owned()));
        };
        // `<inbox>.<epoch>.<sequence>`
        let mut tokens = message.subject.rsplit('.');
        let seq = tokens.next().and_then(|token| token.parse::<u64>().ok());
        let epoch = tokens.next().and_then(|token| token.parse::<u64>().ok());
        let (Some(seq), Some(epoch)) = (seq, epoch) else {
            return Ok(());
        };
        match Answer::parse(&message) {
            // Good news is true whenever it was sent: message `seq` is the same in every epoch.
            Answer::Stored { stream: at, seq: stored } if at == stream && stored == seq => self.confirm(seq),
            Answer::Stored { stream: at, seq: stored } => {
                let why = format!("{stream}: message {seq} was stored as {stored} in {at}");
                return Err(BusError::Stop(why));
            }
            Answer::Refused { .. } if epoch != self.epoch || seq <= self.acked => {}
            Answer::Refused { code, text } if NEVER_CODES.contains(&code) => {
                let output = &self.pending[usize::try_from(seq - self.acked - 1).unwrap_or(0)];
                let bytes = output.body.len();
                return Err(BusError::Stop(format!(
                    "{stream} refuses {bytes} bytes for {}: {text} ({code})",
                    output.subject
                )));
            }
            Answer::Refused { code, text } => self.suspect(stream, format!("{text} ({code})")),
        }
        Ok(())
    }

    /// Everything up to `seq` is stored: each of them was sent on the condition that the one before it is the last one.
    fn confirm(&mut self, seq: u64) {
        while self.acked < seq {
            let Some(output) = self.pending.pop_front() else {
                break;
            };
            self.acked += 1;
            if self.sent > 0 {
                self.sent -= 1;
                self.sent_bytes -= output.body.len();
            }
            self.waiting_since = Instant::now();
            self.probing = false;
            self.delay = DELAY_MIN;
            crash_point!(AfterAcknowledgement);
        }
    }

    /// Asks the stream how far we got, and makes ready to send the rest.
    async fn resume(&mut self, connection: &Connection, stream: &str) -> Result<(), BusError> {
        let info = lookup::log_info(&*lookup::info(connection, stream).await?);
        if info.id != self.id || info.last_seq < self.acked {
            return Err(BusError::Stop(format!(
                "output log {} had {} acknowledged messages, and is now {} with {}: some were taken back",
                self.id, self.acked, info.id, info.last_seq
            )));
        }
        if info.last_seq > self.sent_seq_max {
            return Err(self.fenced(stream, info.last_seq, "which we did not send"));
        }
        if info.last_seq > self.acked {
            let ours = usize::try_from(info.last_seq - self.acked - 1)
                .ok()
                .and_then(|index| self.pending.get(index));
            let stored = lookup::message(connection, stream, Which::At(info.last_seq)).await?;
            let same = ours.zip(stored.as_ref()).is_some_and(|(ours, stored)| {
                let (log, place) = origin(&stored.headers);
                log == self.log && place == ours.place && stored.payload == ours.body
            });
            if !same {
                return Err(self.fenced(stream, info.last_seq, "which is not the one that we sent"));
            }
            self.confirm(info.last_seq);
        }
        if let Some(trouble) = self.trouble.take() {
            tracing::info!(
                stream,
                after = trouble.why,
                acked = self.acked,
                pending = self.pending.len(),
                "output_resumed"
            );
        }
        self.epoch += 1;
        self.sent = 0;
        self.sent_bytes = 0;
        self.probing = true;
        Ok(())
    }

    fn fenced(&self, stream: &str, last: u64, which: &str) -> BusError {
        BusError::Fenced(format!("{stream} has message {last}, {which}; we stand at {}", self.acked))
    }

    /// Sends what the limits allow.
    async fn send(&mut self, connection: &Connection, limits: InFlight) -> Result<(), BusError> {
        let messages_max = if self.probing { 1 } else { limits.messages_max.max(1) };
        while let Some(output) = self.pending.get(self.sent) {
            // The client would queue some and then hold us up until the connection is back.
            if !connection.is_connected() {
                break;
            }
            let full = self.sent >= messages_max || self.sent_bytes + output.body.len() > limits.bytes_max;
            if full && self.sent > 0 {
                break;
            }
            let seq = self.acked + self.sent as u64 + 1;
            let reply = format!("{}.{}.{seq}", self.inbox, self.epoch);
            let headers = self.headers(output, seq);
            let bytes = output.body.len();
            let sending = connection.client().publish_with_reply_and_headers(
                output.subject.clone(),
                reply,
                headers,
                output.body.clone(),
            );
            // Counted before it is sent: given up half-way, it may or may not be under way.
            self.sent_seq_max = self.sent_seq_max.max(seq);
            if self.sent == 0 {
                self.waiting_since = Instant::now();
            }
            self.sent += 1;
            self.sent_bytes += bytes;
            sending.await.map_err(|error| BusError::Stop(format!("cannot publish: {error}")))?;
            if self.sent < self.pending.len() {
                crash_point!(MidPublish);
            }
        }
        Ok(())
    }

    /// The headers of `output`, which is to become message `seq`.
    fn headers(&self, output: &Output, seq: u64) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in &output.headers {
            map.insert(*name, header_value(value));
        }
        // After the given ones: these are what the log is read back by.
        map.insert(HEADER_POSITION, format!("{}.{}", output.place.position, output.place.ordinal));
        map.insert(HEADER_LOG, self.log.as_str());
        map.insert(NATS_EXPECTED_LAST_SEQUENCE, (seq - 1).to_string());
        map.insert(NATS_MESSAGE_ID, self.message_id(seq));
        if !self.probing {
            map.insert(NATS_EXPECTED_LAST_MESSAGE_ID, self.message_id(seq - 1));
        }
        map
    }

    /// Ours alone, and the same whenever message `seq` is sent.
    fn message_id(&self, seq: u64) -> String {
        let writer = self.inbox.rsplit('.').next().unwrap_or_default();
        format!("{writer}.{seq}")
    }

    /// Waits until there is something to do.
    async fn news(&mut self, connected: bool, stream: &str) -> Result<(), BusError> {
        let at = match &self.trouble {
            Some(trouble) if connected => trouble.not_before,
            // The connection coming back is news by itself.
            _ if !connected => Instant::now() + DELAY_MAX,
            _ => self.waiting_since + ACK_WAIT_MAX + Duration::from_millis(1),
        };
        tokio::select! {
            biased;
            message = self.replies.next() => self.take_in(message, stream)?,
            _ = self.connects.changed() => self.suspect(stream, "the connection was made anew".to_owned()),
            () = tokio::time::sleep_until(at) => {}
        }
        Ok(())
    }
}

/// The input log and the place that the headers of a stored output name; empty where they name none.
fn origin(headers: &HeaderMap) -> (String, OutputPlace) {
    let read = || {
        let (position, ordinal) = headers.get(HEADER_POSITION)?.as_str().rsplit_once('.')?;
        let place = OutputPlace { position: Position::parse(position)?, ordinal: ordinal.parse().ok()? };
        Some((headers.get(HEADER_LOG)?.as_str().to_owned(), place))
    };
    read().unwrap_or_default()
}

impl OutputLog for JetStreamOutputs {
    /// A newest message that does not say where it comes from, or that is no longer stored although there was one, gives
    /// an empty `log` and the default `place`.
    async fn open(&mut self, log: &str) -> Result<Option<LastOutput>, BusError> {
        const WHAT: &str = "open the output log";
        let connects = {
            let mut connects = self.connection.connects();
            connects.mark_unchanged();
            connects
        };
        let info = lookup::log_info(&*lookup::info(&self.connection, &self.stream).await?);
        let inbox = self.connection.client().new_inbox();
        let subscribed = self.connection.client().subscribe(format!("{inbox}.*.*")).await;
        self.opened = Some(Opened {
            log: header_value(log),
            id: info.id,
            acked: info.last_seq,
            pending: VecDeque::new(),
            sent: 0,
            sent_bytes: 0,
            sent_seq_max: info.last_seq,
            waiting_since: Instant::now(),
            epoch: 0,
            trouble: None,
            probing: true,
            delay: DELAY_MIN,
            inbox,
            replies: subscribed.map_err(|error| self.connection.retry(WHAT, error))?,
            connects,
        });
        if info.last_seq == 0 {
            return Ok(None);
        }
        let stored = lookup::message(&self.connection, &self.stream, Which::At(info.last_seq)).await?;
        let (log, place) = stored.as_ref().map(|stored| origin(&stored.headers)).unwrap_or_default();
        let body = stored.map(|stored| stored.payload).unwrap_or_default();
        Ok(Some(LastOutput { seq: info.last_seq, log, place, body: Bytes::copy_from_slice(&body) }))
    }

    async fn all_on(&mut self, subject: &str) -> Result<Vec<(String, Bytes)>, BusError> {
        let mut found = Vec::new();
        let mut from = 1;
        let read = |from| lookup::message(&self.connection, &self.stream, Which::FirstOn(subject, from));
        while let Some(message) = read(from).await? {
            from = message.sequence + 1;
            // Not a slice of a network buffer.
            found.push((origin(&message.headers).0, Bytes::copy_from_slice(&message.payload)));
        }
        Ok(found)
    }

    async fn publish(&mut self, outputs: Vec<Output>) -> Result<(), BusError> {
        let log = self.opened()?.log.clone();
        if let Some(refused) = outputs.iter().find_map(|output| self.too_large(output, &log)) {
            return Err(refused);
        }
        self.opened()?.pending.extend(outputs);
        loop {
            let opened = self.step().await?;
            if opened.sent == opened.pending.len() && opened.trouble.is_none() {
                return Ok(());
            }
            self.news().await?;
        }
    }

    async fn poll(&mut self) -> Result<usize, BusError> {
        Ok(self.step().await?.pending.len())
    }

    async fn flush(&mut self) -> Result<(), BusError> {
        while !self.step().await?.pending.is_empty() {
            self.news().await?;
        }
        Ok(())
    }
}

impl JetStreamOutputs {
    async fn news(&mut self) -> Result<(), BusError> {
        let connected = self.connection.is_connected();
        let stream = &self.stream;
        match &mut self.opened {
            Some(opened) => opened.news(connected, stream).await,
            None => Ok(()),
        }
    }
}
