//! What most producers use: events go in, one by one, and come out in frames, in the log, or on disk while the bus is away.
//!
//! An event that is [`offered`] is made ready (hidden where it must be, checked as the engine checks), packed into a
//! [frame](crate::frame) with others of its source, and handed to the [publisher](crate::publisher), or to the
//! [spool](crate::spool) first where there is one. [`recent`] keeps a spool from holding an event twice.

mod offered;
mod recent;

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sightline_schemas::source::SourceProfiles;
use sightline_schemas::wire::Form;
use tokio::sync::{Notify, oneshot};

use crate::connect::Client;
use crate::frame::{Frame, Framer, Framing};
use crate::message::Message;
use crate::metrics::Metrics;
use crate::pseudonyms::Pseudonyms;
use crate::publish_error::PublishError;
use crate::publisher::{Publisher, PublisherConfig, StartError, Stored};
use crate::spool::{Spool, SpoolConfig, SpoolError};
use offered::Preparation;
pub use offered::{Check, Offered, Raw};
use recent::Recent;

/// How an outbox behaves. The defaults suit a service that is always connected; one that must outlive the bus adds a
/// spool.
#[derive(Clone, Debug)]
pub struct OutboxConfig {
    /// How events are packed.
    pub framing: Framing,
    /// How a [`Draft`](crate::Draft) is written.
    pub form: Form,
    /// What is checked before an event leaves.
    pub check: Check,
    /// What is known of sources beforehand: the engine's settings, where they differ from what ships.
    pub profiles: SourceProfiles,
    /// What must not leave in clear.
    pub pseudonyms: Option<Pseudonyms>,
    /// Where events wait while the bus is away.
    pub spool: Option<SpoolConfig>,
    /// How messages are published. With a spool, its patience has no end.
    pub publisher: PublisherConfig,
    /// With a spool: how long [`Outbox::flush`] waits for the bus.
    pub flush_wait: Duration,
}

impl Default for OutboxConfig {
    fn default() -> Self {
        OutboxConfig {
            framing: Framing::default(),
            form: Form::Json,
            check: Check::default(),
            profiles: SourceProfiles::with(BTreeMap::new()),
            pseudonyms: None,
            spool: None,
            publisher: PublisherConfig::default(),
            flush_wait: Duration::from_secs(5),
        }
    }
}

/// Where an event is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// In the log.
    InLog(Stored),
    /// In the spool: it will be in the log, whatever happens to this process.
    OnDisk,
    /// The spool was handed it before: it is there still, or in the log by now.
    Before,
}

/// An event that was handed over and is not known to be kept yet.
#[derive(Debug)]
#[must_use = "it tells whether the event is kept"]
pub struct Keeping(oneshot::Receiver<Result<Kept, PublishError>>);

impl Keeping {
    /// Waits until the event is kept.
    ///
    /// # Errors
    /// When it is not: the server does not take it, or the connection was closed.
    pub async fn kept(self) -> Result<Kept, PublishError> {
        self.0.await.map_err(|_| PublishError::Closed)?
    }
}

/// What a flush came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flushed {
    /// Events that wait on disk for the bus; 0 where all are in the log.
    pub on_disk: u64,
}

/// An outbox cannot start.
#[derive(Debug, thiserror::Error)]
pub enum OutboxError {
    /// The publisher cannot start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The spool cannot be opened.
    #[error(transparent)]
    Spool(#[from] SpoolError),
}

/// Who waits for an event.
pub(crate) type Waiting = oneshot::Sender<Result<Kept, PublishError>>;

/// The handle; clones share everything. When the last one is dropped, what is open is sent, as long as the runtime lives:
/// call [`Outbox::close`] at the end of a program.
#[derive(Clone, Debug)]
pub struct Outbox {
    inner: Arc<Inner>,
    _alive: Arc<Alive>,
}

#[derive(Debug)]
struct Inner {
    preparation: Preparation,
    desk: tokio::sync::Mutex<Desk>,
    publisher: Publisher,
    spool: Option<Spool>,
    flush_wait: Duration,
    counters: Counters,
    failures: Arc<Failures>,
    /// Wakes the one who looks after frames that wait.
    wake: Arc<Notify>,
}

/// What is being packed.
#[derive(Debug)]
struct Desk {
    framer: Framer<Waiting>,
    /// Closed and not handed over.
    outgoing: VecDeque<Frame<Waiting>>,
    recent: Recent,
}

#[derive(Debug, Default)]
struct Counters {
    accepted: AtomicU64,
    invalid: AtomicU64,
    known: AtomicU64,
    frames: AtomicU64,
}

/// Events for which nobody waits and that did not reach the log, since the last flush; and how the first failed.
#[derive(Debug, Default)]
struct Failures(Mutex<Option<(u64, PublishError)>>);

/// Wakes the one who looks after frames when the last handle is dropped.
#[derive(Debug)]
struct Alive(Arc<Notify>);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

/// Wakes the one who looks after frames, unless everything was handed over.
struct Unfinished<'a> {
    wake: &'a Notify,
    finished: bool,
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        if !self.finished {
            self.wake.notify_one();
        }
    }
}

impl Outbox {
    /// Starts an outbox on a connection.
    ///
    /// # Errors
    /// When the inbox for the server's answers cannot be subscribed to, or the spool cannot be opened.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub async fn start(client: Client, config: OutboxConfig) -> Result<Self, OutboxError> {
        let mut publishing = config.publisher;
        if config.spool.is_some() {
            publishing.patience = Duration::MAX;
        }
        let publisher = Publisher::start(client, publishing).await?;
        let mut recent = Recent::default();
        let spool = match &config.spool {
            None => None,
            Some(at) => {
                let (spool, ids) = Spool::open(at, publisher.clone())?;
                for id in ids {
                    recent.note(id);
                }
                Some(spool)
            }
        };
        let wake = Arc::new(Notify::new());
        let inner = Arc::new(Inner {
            preparation: Preparation {
                check: config.check,
                form: config.form,
                profiles: config.profiles,
                pseudonyms: config.pseudonyms,
            },
            desk: tokio::sync::Mutex::new(Desk {
                framer: Framer::new(config.framing),
                outgoing: VecDeque::new(),
                recent,
            }),
            publisher,
            spool,
            flush_wait: config.flush_wait,
            counters: Counters::default(),
            failures: Arc::default(),
            wake: Arc::clone(&wake),
        });
        let alive = Arc::new(Alive(wake));
        tokio::spawn(look_after(Arc::clone(&inner), Arc::downgrade(&alive)));
        Ok(Outbox { inner, _alive: alive })
    }

    /// Hands an event over; waits while too much is on its way. What becomes of it, [`Outbox::flush`] and
    /// [`Outbox::metrics`] say.
    ///
    /// # Errors
    /// When the engine would not take it, or the connection was closed.
    pub async fn publish(&self, event: impl Into<Offered<'_>>) -> Result<(), PublishError> {
        self.inner.take(event.into(), None).await
    }

    /// Publishes an event and waits until it is kept: in the log, or with a spool on disk. Many may wait at once, and share
    /// frames.
    ///
    /// # Errors
    /// When it is not kept: the engine would not take it, the server does not, or the connection was closed.
    pub async fn store(&self, event: impl Into<Offered<'_>>) -> Result<Kept, PublishError> {
        self.store_later(event).await?.kept().await
    }

    /// Hands an event over, and gives a wait until it is kept: for those who store many and then wait for all.
    ///
    /// # Errors
    /// When the engine would not take it, or the connection was closed; the wait fails as [`Outbox::store`] does.
    pub async fn store_later(&self, event: impl Into<Offered<'_>>) -> Result<Keeping, PublishError> {
        let (waiting, kept) = oneshot::channel();
        self.inner.take(event.into(), Some(waiting)).await?;
        Ok(Keeping(kept))
    }

    /// Brings a message that is no event (evidence, a dead letter) into the log as [`Outbox::store`] does an event: with a
    /// spool it is on disk first, once for each id.
    ///
    /// # Errors
    /// When it is not kept: the server does not take it, or the connection was closed.
    pub async fn store_message(&self, message: Message) -> Result<Kept, PublishError> {
        let (waiting, kept) = oneshot::channel();
        self.inner.take_message(message, waiting).await?;
        Keeping(kept).kept().await
    }

    /// Waits until everything handed over so far is in the log, or, with a spool, at least on disk: for the log it waits
    /// [`OutboxConfig::flush_wait`] then.
    ///
    /// # Errors
    /// When some events for which nobody waited are not kept.
    pub async fn flush(&self) -> Result<Flushed, PublishError> {
        self.inner.send_all().await?;
        match &self.inner.spool {
            None => self.inner.publisher.flush().await?,
            Some(spool) => {
                let written = spool.written().await?;
                let _ = tokio::time::timeout(self.inner.flush_wait, spool.in_log(written)).await;
            }
        }
        match self.inner.failures.0.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some((events, first)) => Err(PublishError::Some { events, first: Box::new(first) }),
            None => Ok(Flushed { on_disk: self.waiting_on_disk() }),
        }
    }

    /// Flushes, and closes the spool, so that another process can open it. What is offered afterwards is refused.
    ///
    /// # Errors
    /// As [`Outbox::flush`].
    pub async fn close(self) -> Result<Flushed, PublishError> {
        let flushed = self.flush().await;
        if let Some(spool) = &self.inner.spool {
            spool.close().await;
        }
        flushed
    }

    /// What became of the events so far.
    pub fn metrics(&self) -> Metrics {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counters = &self.inner.counters;
        Metrics {
            accepted: read(&counters.accepted),
            invalid: read(&counters.invalid),
            known: read(&counters.known),
            frames: read(&counters.frames),
            counts: self.inner.publisher.counts(),
            connected: self.inner.publisher.is_connected(),
            spool: self.inner.spool.as_ref().map(Spool::state),
        }
    }

    /// The publisher underneath: for messages that are no events.
    pub fn publisher(&self) -> &Publisher {
        &self.inner.publisher
    }

    fn waiting_on_disk(&self) -> u64 {
        self.inner.spool.as_ref().map_or(0, |spool| spool.state().waiting_events)
    }
}

impl Inner {
    async fn take(&self, event: Offered<'_>, waiting: Option<Waiting>) -> Result<(), PublishError> {
        let prepared = self.preparation.prepare(event).map_err(|reject| {
            self.counters.invalid.fetch_add(1, Ordering::Relaxed);
            PublishError::Invalid { reject }
        })?;
        let ready = prepared.ready();
        let mut desk = self.desk.lock().await;
        if let Some(spool) = &self.spool
            && !desk.recent.note(ready.id)
        {
            self.counters.known.fetch_add(1, Ordering::Relaxed);
            let Some(waiting) = waiting else { return Ok(()) };
            return self.tell_known(spool, &mut desk, waiting).await;
        }
        self.counters.accepted.fetch_add(1, Ordering::Relaxed);
        let was_empty = desk.framer.is_empty();
        let full = desk.framer.add(ready, waiting, Instant::now);
        desk.outgoing.extend(full);
        if was_empty && !desk.framer.is_empty() {
            self.wake.notify_one();
        }
        self.send_outgoing(&mut desk).await
    }

    async fn take_message(&self, message: Message, waiting: Waiting) -> Result<(), PublishError> {
        let mut desk = self.desk.lock().await;
        if let Some(spool) = &self.spool
            && !desk.recent.note(message.id())
        {
            return self.tell_known(spool, &mut desk, waiting).await;
        }
        let ids = vec![message.id()];
        desk.outgoing.push_back(Frame { message, ids, waiting: vec![waiting] });
        self.send_outgoing(&mut desk).await
    }

    /// Tells somebody that what he offers was offered before, as soon as that is on disk.
    async fn tell_known(&self, spool: &Spool, desk: &mut Desk, waiting: Waiting) -> Result<(), PublishError> {
        // It may still be in an open frame: whoever waits is told behind that.
        let open = desk.framer.finish();
        desk.outgoing.extend(open);
        self.send_outgoing(desk).await?;
        spool.tell(waiting).await
    }

    async fn send_all(&self) -> Result<(), PublishError> {
        let mut desk = self.desk.lock().await;
        let open = desk.framer.finish();
        desk.outgoing.extend(open);
        self.send_outgoing(&mut desk).await
    }

    /// Hands over what is closed, in order. The desk stays locked, so that nobody overtakes.
    async fn send_outgoing(&self, desk: &mut Desk) -> Result<(), PublishError> {
        if desk.outgoing.is_empty() {
            return Ok(());
        }
        // A caller that is cancelled here leaves its frames on the desk: the one who looks after them is woken.
        let mut unfinished = Unfinished { wake: &self.wake, finished: false };
        while !desk.outgoing.is_empty() {
            match &self.spool {
                Some(spool) => {
                    let room = spool.room().await?;
                    if let Some(frame) = desk.outgoing.pop_front() {
                        self.counters.frames.fetch_add(1, Ordering::Relaxed);
                        room.append(frame);
                    }
                }
                None => {
                    let room = self.publisher.room().await?;
                    if let Some(frame) = desk.outgoing.pop_front() {
                        self.counters.frames.fetch_add(1, Ordering::Relaxed);
                        let failures = Arc::clone(&self.failures);
                        let (waiting, events) = (frame.waiting, frame.message.events());
                        room.publish_then(frame.message, move |result| {
                            tell(waiting, events, &result, &failures);
                        });
                    }
                }
            }
        }
        unfinished.finished = true;
        Ok(())
    }
}

/// Tells whoever waits for an event of a frame what became of it, and notes for the others that it failed.
fn tell(waiting: Vec<Waiting>, events: u32, result: &Result<Stored, PublishError>, failures: &Failures) {
    if let Err(error) = result {
        let unheard = u64::from(events) - waiting.len() as u64;
        if unheard > 0 {
            let mut failures = failures.0.lock().unwrap_or_else(PoisonError::into_inner);
            match &mut *failures {
                Some((failed, _)) => *failed += unheard,
                None => {
                    // A server that is gone fails thousands at once: the first is written, all are counted.
                    tracing::error!(%error, "events not published");
                    *failures = Some((unheard, error.clone()));
                }
            }
        }
    }
    for one in waiting {
        // Whoever waited may have gone.
        let _ = one.send(result.clone().map(Kept::InLog));
    }
}

/// Sends frames that have waited as long as they may, until the last handle is gone and the rest is sent.
async fn look_after(inner: Arc<Inner>, alive: std::sync::Weak<Alive>) {
    let wake = Arc::clone(&inner.wake);
    let mut due: Option<Instant> = None;
    loop {
        match due {
            Some(due) => drop(tokio::time::timeout_at(due.into(), wake.notified()).await),
            None => wake.notified().await,
        }
        if alive.strong_count() == 0 {
            if let Err(error) = inner.send_all().await {
                tracing::error!(%error, "events were left behind");
            }
            return;
        }
        let mut desk = inner.desk.lock().await;
        let late = desk.framer.due(Instant::now());
        desk.outgoing.extend(late);
        if inner.send_outgoing(&mut desk).await.is_err() {
            return;
        }
        due = desk.framer.next_due();
    }
}
