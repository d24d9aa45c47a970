//! Brings messages into the log: many on their way at once, each acknowledged by the server, none forgotten.
//!
//! One task owns the connection's answers. It takes messages while the window has room (so the one who publishes is
//! slowed down to what the server takes), sends a message again when the connection it left on is gone or no answer came,
//! and gives it up after [`PublisherConfig::patience`]. A message that was sent twice carries the same `Nats-Msg-Id`: the
//! server drops the second inside its duplicate window, and the engine does so for ever, by the id of the event.
//! Messages leave in the order in which they were taken, and leave in that order again on a new connection; one that the
//! server could not take goes behind. The engine does not depend on the order of arrival.

use std::collections::VecDeque;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_nats::client::PublishErrorKind;
use async_nats::connection::State;
use async_nats::header::NATS_MESSAGE_ID;
use async_nats::{Client, HeaderMap, HeaderName, HeaderValue, StatusCode, Subscriber};
use futures_util::StreamExt;
use serde::Deserialize;
use sightline_schemas::subject::HEADER_CONTENT_TYPE;
use tokio::sync::{mpsc, oneshot};
use tokio::time::MissedTickBehavior;

use crate::crash_point;
use crate::in_flight::{Done, Due, Flight, InFlight, Window};
use crate::message::Message;
use crate::publish_error::PublishError;

/// How often what is due is looked for. Bounds how late after a reconnect the messages in flight are sent again.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Messages that wait between the callers and the task: enough that neither waits for the other's turn on a core.
const QUEUE_MESSAGES: usize = 256;
/// Longest wait for room in the client's own queue. It stands still while there is no connection.
const HAND_OVER_MAX: Duration = Duration::from_millis(500);

/// How a publisher behaves. The defaults suit a service that must not lose an event over a restart of the server.
#[derive(Clone, Debug)]
pub struct PublisherConfig {
    /// Most messages on their way. More hides a slow network, but is sent again as a whole after a reconnect.
    pub messages_in_flight_max: usize,
    /// A further message is taken while the bodies on their way hold less than this many bytes.
    pub bytes_in_flight_max: usize,
    /// Without an answer for this long, a message is sent again.
    pub ack_wait: Duration,
    /// Without success for this long, a message is given up and counted as such.
    pub patience: Duration,
    /// Who drops what is published twice.
    pub dedup: Dedup,
}

/// Who drops a message that is published twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dedup {
    /// The server inside its duplicate window, then the engine.
    ServerAndEngine,
    /// The engine alone. Saves the server about a third of its work a message, and the log grows by what is sent twice.
    EngineOnly,
}

impl Default for PublisherConfig {
    fn default() -> Self {
        PublisherConfig {
            messages_in_flight_max: 4_096,
            bytes_in_flight_max: 64 << 20,
            ack_wait: Duration::from_secs(5),
            patience: Duration::from_secs(120),
            dedup: Dedup::ServerAndEngine,
        }
    }
}

/// Where a message lies now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Its sequence in the stream.
    pub seq: u64,
    /// The server already had it.
    pub duplicate: bool,
}

/// A publisher cannot start.
#[derive(Debug, thiserror::Error)]
#[error("cannot subscribe to the answers of the server: {0}")]
pub struct StartError(#[from] async_nats::SubscribeError);

/// What became of the events so far. A frame counts as many as it holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Handed to the server.
    pub sent: u64,
    /// Handed to the server once more.
    pub resent: u64,
    /// In the log, as the server says.
    pub acknowledged: u64,
    /// Of those: the server already had them.
    pub duplicates: u64,
    /// Never to be in the log.
    pub refused: u64,
    /// Not brought into the log in time.
    pub gave_up: u64,
}

impl Counts {
    /// Not in the log.
    pub fn failed(&self) -> u64 {
        self.refused + self.gave_up
    }
}

#[derive(Debug, Default)]
struct Counters {
    sent: AtomicU64,
    resent: AtomicU64,
    acknowledged: AtomicU64,
    duplicates: AtomicU64,
    refused: AtomicU64,
    gave_up: AtomicU64,
}

enum Request {
    Publish(Message, Option<Done>),
    Flush(oneshot::Sender<Result<(), PublishError>>),
}

/// The handle; clones share one window. When the last one is dropped, the task brings home what is on its way and ends,
/// as long as the runtime lives: call [`Publisher::flush`] before the end of a program.
#[derive(Clone, Debug)]
pub struct Publisher {
    requests: mpsc::Sender<Request>,
    counters: Arc<Counters>,
    client: Client,
}

impl Publisher {
    /// Starts a publisher on a connection.
    ///
    /// # Errors
    /// When the inbox for the answers cannot be subscribed to.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub async fn start(client: Client, config: PublisherConfig) -> Result<Self, StartError> {
        let inbox = client.new_inbox();
        let answers = client.subscribe(format!("{inbox}.*")).await?;
        let (requests, queue) = mpsc::channel(QUEUE_MESSAGES);
        let counters = Arc::new(Counters::default());
        let window = Window {
            messages_max: config.messages_in_flight_max.max(1),
            bytes_max: config.bytes_in_flight_max.max(1),
            ack_wait: config.ack_wait,
            patience: config.patience,
        };
        let task = Task {
            client: client.clone(),
            inbox,
            in_flight: InFlight::new(window, own_seed()),
            looked_on: None,
            flushes: VecDeque::new(),
            failures: None,
            counters: Arc::clone(&counters),
            config,
        };
        tokio::spawn(task.run(queue, answers));
        Ok(Publisher { requests, counters, client })
    }

    /// Hands a message over; waits while the window is full. What becomes of it, [`Publisher::flush`] and
    /// [`Publisher::counts`] say.
    ///
    /// # Errors
    /// When the publisher has stopped.
    pub async fn publish(&self, message: Message) -> Result<(), PublishError> {
        self.requests.send(Request::Publish(message, None)).await.map_err(|_| PublishError::Closed)
    }

    /// Publishes a message and waits until it is in the log: for those who promise so to somebody else. Many may wait
    /// at once.
    ///
    /// # Errors
    /// When it is not in the log: refused, given up, or the publisher has stopped.
    pub async fn store(&self, message: Message) -> Result<Stored, PublishError> {
        let (done, stored) = oneshot::channel();
        // Whoever waited may have gone.
        self.publish_then(message, move |result| drop(done.send(result))).await?;
        stored.await.map_err(|_| PublishError::Closed)?
    }

    /// Hands a message over and has `done` called with what became of it. It is called by the task that hears the
    /// server's answers, so it must not block. It is dropped uncalled when the connection is closed before an answer.
    ///
    /// # Errors
    /// When the publisher has stopped.
    pub async fn publish_then(
        &self,
        message: Message,
        done: impl FnOnce(Result<Stored, PublishError>) + Send + 'static,
    ) -> Result<(), PublishError> {
        let request = Request::Publish(message, Some(Done(Box::new(done))));
        self.requests.send(request).await.map_err(|_| PublishError::Closed)
    }

    /// Waits until one more message can be handed over at once.
    ///
    /// # Errors
    /// When the publisher has stopped.
    pub(crate) async fn room(&self) -> Result<Room<'_>, PublishError> {
        self.requests.reserve().await.map(Room).map_err(|_| PublishError::Closed)
    }

    /// Whether there is a connection to a server now.
    pub fn is_connected(&self) -> bool {
        self.client.connection_state() == State::Connected
    }

    /// Most bytes of a message, with its headers, that the server takes; `None` before the first connection.
    pub fn message_bytes_max(&self) -> Option<usize> {
        Some(self.client.server_info().max_payload).filter(|bytes| *bytes > 0)
    }

    /// Waits until every message handed over so far is in the log, refused or given up.
    ///
    /// # Errors
    /// When some since the last flush are not in the log, through this handle or a clone.
    pub async fn flush(&self) -> Result<(), PublishError> {
        let (done, flushed) = oneshot::channel();
        self.requests.send(Request::Flush(done)).await.map_err(|_| PublishError::Closed)?;
        flushed.await.map_err(|_| PublishError::Closed)?
    }

    /// What became of the events so far.
    pub fn counts(&self) -> Counts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            sent: read(&self.counters.sent),
            resent: read(&self.counters.resent),
            acknowledged: read(&self.counters.acknowledged),
            duplicates: read(&self.counters.duplicates),
            refused: read(&self.counters.refused),
            gave_up: read(&self.counters.gave_up),
        }
    }
}

/// A place in the queue of the publisher.
pub(crate) struct Room<'a>(mpsc::Permit<'a, Request>);

impl Room<'_> {
    /// Hands a message over, as [`Publisher::publish_then`] does.
    pub fn publish_then(
        self,
        message: Message,
        done: impl FnOnce(Result<Stored, PublishError>) + Send + 'static,
    ) {
        self.0.send(Request::Publish(message, Some(Done(Box::new(done)))));
    }
}

/// The one who owns the window and the answers.
struct Task {
    client: Client,
    inbox: String,
    in_flight: InFlight,
    /// The connection that there was when everything was last looked after.
    looked_on: Option<u64>,
    /// Who waits until all messages before a ticket are done.
    flushes: VecDeque<(u64, oneshot::Sender<Result<(), PublishError>>)>,
    /// How many events failed since the last flush, and how the first did.
    failures: Option<(u64, PublishError)>,
    counters: Arc<Counters>,
    config: PublisherConfig,
}

impl Task {
    async fn run(mut self, mut queue: mpsc::Receiver<Request>, mut answers: Subscriber) {
        let mut look = tokio::time::interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut open = true;
        while open || !self.in_flight.is_empty() {
            tokio::select! {
                biased;
                _ = look.tick(), if !self.in_flight.is_empty() => self.look_after().await,
                answer = answers.next() => match answer {
                    Some(answer) => self.hear(&answer),
                    // Everyone who waits learns of it by the drop of what they wait on.
                    None => return tracing::warn!("publisher stopped: the connection was closed"),
                },
                request = queue.recv(), if open && self.in_flight.has_room() => match request {
                    Some(Request::Publish(message, done)) => {
                        let ticket = self.in_flight.take(message, done, Instant::now());
                        // What waits for a connection, or left on another one, goes before the newest.
                        if self.in_flight.is_behind() || self.connection() != self.looked_on {
                            self.look_after().await;
                        } else {
                            self.send(ticket).await;
                        }
                    }
                    Some(Request::Flush(done)) => self.flushes.push_back((self.in_flight.next(), done)),
                    None => open = false,
                },
            }
            self.answer_flushes();
        }
    }

    /// The number of the live connection, if there is one.
    fn connection(&self) -> Option<u64> {
        let connected = self.client.connection_state() == State::Connected;
        connected.then(|| self.client.statistics().connects.load(Ordering::Relaxed))
    }

    async fn look_after(&mut self) {
        self.looked_on = self.connection();
        for due in self.in_flight.due(self.connection(), Instant::now()) {
            match due {
                Due::Send(ticket) => self.send(ticket).await,
                Due::GiveUp(ticket) => {
                    let Some(flight) = self.in_flight.finish(ticket) else { continue };
                    let error = PublishError::GaveUp {
                        subject: flight.message.subject().to_owned(),
                        after: self.config.patience,
                        why: flight.last_answer.clone().unwrap_or_else(|| {
                            "no answer: is the server there, and may we publish on this subject?".to_owned()
                        }),
                    };
                    self.fail(flight, error);
                }
            }
        }
    }

    /// Hands a message to the client. Where that is not possible now, the message stays due.
    async fn send(&mut self, ticket: u64) {
        let Some(connection) = self.connection() else { return };
        let Some(flight) = self.in_flight.get_mut(ticket) else { return };
        let message = flight.message.clone();
        let headers = match headers(&message, self.config.dedup) {
            Ok(headers) => headers,
            Err(why) => return self.refuse(ticket, why),
        };
        let reply = format!("{}.{ticket}", self.inbox);
        let (subject, body) = (message.subject().to_owned(), message.body().clone());
        let handed = self.client.publish_with_reply_and_headers(subject, reply, headers, body);
        match tokio::time::timeout(HAND_OVER_MAX, handed).await {
            Ok(Ok(())) => {
                let first = self.in_flight.sent(ticket, connection, Instant::now());
                let counter = if first { &self.counters.sent } else { &self.counters.resent };
                counter.fetch_add(message.events().into(), Ordering::Relaxed);
                crash_point!(AfterSend);
            }
            Ok(Err(error)) if error.kind() == PublishErrorKind::Send => {
                self.in_flight.postpone(ticket, error.to_string(), Instant::now());
            }
            Ok(Err(error)) => self.refuse(ticket, error.to_string()),
            Err(_) => {}
        }
    }

    /// Reads an answer of the server. One for a message that is already done changes nothing.
    fn hear(&mut self, answer: &async_nats::Message) {
        let Some(ticket) = answer.subject.rsplit('.').next().and_then(|token| token.parse().ok()) else {
            return;
        };
        match Answer::read(answer) {
            Answer::Stored(stored) => {
                crash_point!(AfterAcknowledgement);
                let Some(flight) = self.in_flight.finish(ticket) else { return };
                let events = u64::from(flight.message.events());
                self.counters.acknowledged.fetch_add(events, Ordering::Relaxed);
                if stored.duplicate {
                    self.counters.duplicates.fetch_add(events, Ordering::Relaxed);
                }
                if let Some(done) = flight.done {
                    done.tell(Ok(stored));
                }
            }
            Answer::Later(why) => self.in_flight.postpone(ticket, why, Instant::now()),
            Answer::Never(why) => self.refuse(ticket, why),
        }
    }

    fn refuse(&mut self, ticket: u64, why: String) {
        if let Some(flight) = self.in_flight.finish(ticket) {
            let error = PublishError::Refused { subject: flight.message.subject().to_owned(), why };
            self.fail(flight, error);
        }
    }

    fn fail(&mut self, flight: Flight, error: PublishError) {
        let events = u64::from(flight.message.events());
        let counter = match error {
            PublishError::GaveUp { .. } => &self.counters.gave_up,
            _ => &self.counters.refused,
        };
        counter.fetch_add(events, Ordering::Relaxed);
        if let Some(done) = flight.done {
            done.tell(Err(error));
        } else if let Some((failed, _)) = &mut self.failures {
            // A server that is gone fails thousands at once: the first is written, all are counted.
            *failed += events;
        } else {
            tracing::error!(%error, id = %flight.message.id(), "event not published");
            self.failures = Some((events, error));
        }
    }

    fn answer_flushes(&mut self) {
        while let Some((ticket, _)) = self.flushes.front()
            && *ticket <= self.in_flight.oldest()
        {
            let Some((_, done)) = self.flushes.pop_front() else { return };
            let result = match self.failures.take() {
                None => Ok(()),
                Some((events, first)) => Err(PublishError::Some { events, first: Box::new(first) }),
            };
            let _ = done.send(result);
        }
    }
}

/// Publishers that lost the same server must not all come back in the same instant.
fn own_seed() -> u64 {
    use std::hash::BuildHasher;
    std::hash::RandomState::new().hash_one(std::process::id())
}

fn headers(message: &Message, dedup: Dedup) -> Result<HeaderMap, String> {
    let value = |text: &str| HeaderValue::from_str(text).map_err(|error| format!("header {text:?}: {error}"));
    let mut headers = HeaderMap::new();
    headers.insert(HEADER_CONTENT_TYPE, value(message.content_type())?);
    if dedup == Dedup::ServerAndEngine {
        headers.insert(NATS_MESSAGE_ID, message.id().to_string());
    }
    for (name, text) in message.headers() {
        let name = HeaderName::from_str(name).map_err(|error| format!("header name {name:?}: {error}"))?;
        headers.insert(name, value(text)?);
    }
    Ok(headers)
}

/// What the server says to a message.
enum Answer {
    Stored(Stored),
    /// It may take it later.
    Later(String),
    /// It will never take it.
    Never(String),
}

/// The body of an answer: <https://docs.nats.io/reference/reference-protocols/nats_api_reference>, publish response.
#[derive(Deserialize)]
struct AnswerBody {
    #[serde(default)]
    seq: u64,
    #[serde(default)]
    duplicate: bool,
    error: Option<AnswerError>,
}

#[derive(Deserialize)]
struct AnswerError {
    code: u16,
    #[serde(default)]
    err_code: u64,
    #[serde(default)]
    description: String,
}

impl Answer {
    fn read(answer: &async_nats::Message) -> Answer {
        if answer.status == Some(StatusCode::NO_RESPONDERS) {
            return Answer::Later("no stream takes this subject, or JetStream is not up yet".to_owned());
        }
        match serde_json::from_slice::<AnswerBody>(&answer.payload) {
            Ok(AnswerBody { error: None, seq, duplicate }) => Answer::Stored(Stored { seq, duplicate }),
            Ok(AnswerBody { error: Some(error), .. }) => {
                let text = format!("{} ({})", error.description, error.err_code);
                // 5xx: full, or no leader now. 429: too much at once. The other 4xx are about the message itself.
                if error.code >= 500 || error.code == 429 { Answer::Later(text) } else { Answer::Never(text) }
            }
            Err(error) => Answer::Later(format!("unreadable answer: {error}")),
        }
    }
}
