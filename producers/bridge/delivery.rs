//! The way to the bus. Whatever goes in comes to an end that is counted: kept for the log, there already, rejected and kept,
//! left out, or handed back.
//!
//! With a spool, an event is kept as soon as it is on the disk: the cursor moves and the sender is told then, whether or not
//! there is a bus. Without one, as soon as the server has acknowledged it.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::join_all;
use serde_json::{Value, json};
use sightline_producers::crash_point;
use sightline_producers::outbox::Keeping;
use sightline_producers::{Kept as Place, Message, Metrics, Outbox, PublishError, Publisher, Raw};
use sightline_schemas::edge::{Reason, Reject};
use sightline_schemas::subject::EventSubject;
use sightline_schemas::{EventId, EventTime};
use tokio::sync::watch;

use crate::evidence::{Evidence, Kept};
use crate::ledger::{Fate, Tally};
use crate::record::{Draft, Item, Rejected};
use crate::rejects::{self, RejectFile};

/// Pause before what could not be delivered is tried again. The publisher has been trying for its patience by then.
const PAUSE: Duration = Duration::from_secs(1);
/// What was on its way when the bridge was told to stop gets this long to arrive.
const STOP_MAX: Duration = Duration::from_secs(5);
/// How often is looked whether the bus takes what waits on the disk.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// What a server takes that was never asked: its default.
const MESSAGE_BYTES_DEFAULT: usize = 1 << 20;
/// What headers may add to a body.
const HEADERS_BYTES: usize = 4 << 10;

/// The way to the bus; clones share it.
#[derive(Clone)]
pub struct Delivery {
    way: Way,
    tenant: String,
    bus_well: Arc<AtomicBool>,
}

#[derive(Clone)]
enum Way {
    Bus(Box<Bus>),
    /// Written to standard output instead.
    Dry,
}

/// What a way to the bus is made of.
#[derive(Clone)]
pub struct Bus {
    /// For events.
    pub outbox: Outbox,
    /// For evidence and dead letters while there is a connection: each is counted by itself, and evidence has its number.
    pub beside: Publisher,
    /// For rejected records that the bus does not take.
    pub file: RejectFile,
    /// Whether the outbox has a spool.
    pub spooled: bool,
    /// How long the bus may take nothing before a sender is told to try again.
    pub patience: Duration,
}

/// What became of one item.
#[derive(Debug)]
pub enum Outcome {
    /// It is kept for the log, or there already.
    Stored {
        /// The event's id.
        id: EventId,
        /// It was there before.
        duplicate: bool,
    },
    /// The mapping leaves it out.
    Skipped,
    /// It is no event, and is kept.
    Rejected(Reject),
    /// It is not kept, and nothing is known to be wrong with it: try again.
    Failed {
        /// What to try again with.
        item: Item,
        /// What was last heard.
        why: String,
    },
}

/// What was begun with an item.
enum Begun {
    Ended(Outcome),
    Reject(Rejected),
    Event(Draft, Bytes, Keeping),
}

/// Told to stop before everything was delivered. What was not is read again at the next start.
#[derive(Debug)]
pub struct Stopped;

impl Delivery {
    /// Onto the bus.
    pub fn to_bus(tenant: &str, bus: Bus) -> Self {
        let bus_well = Arc::new(AtomicBool::new(true));
        Delivery { way: Way::Bus(Box::new(bus)), tenant: tenant.to_owned(), bus_well }
    }

    /// To standard output.
    pub fn dry(tenant: &str) -> Self {
        Delivery { way: Way::Dry, tenant: tenant.to_owned(), bus_well: Arc::new(AtomicBool::new(true)) }
    }

    /// Whether the bus takes what it is given.
    pub fn is_well(&self) -> bool {
        self.bus_well.load(Ordering::Relaxed)
    }

    /// What became of the events behind the bridge's own counts; `None` in a dry run.
    pub fn metrics(&self) -> Option<Metrics> {
        match &self.way {
            Way::Bus(bus) => Some(bus.outbox.metrics()),
            Way::Dry => None,
        }
    }

    /// Delivers what can be delivered within the patience. The outcomes are in the order of the items.
    pub async fn deliver(&self, items: Vec<Item>, evidence: Option<&Kept>) -> Vec<Outcome> {
        let until = self.bus().map(|bus| Instant::now() + bus.patience);
        self.deliver_until(items, evidence, until).await
    }

    /// Delivers all of them, however long the bus is away.
    ///
    /// # Errors
    /// When told to stop before that.
    pub async fn deliver_all(
        &self,
        tally: &Tally,
        items: Vec<Item>,
        stop: &mut watch::Receiver<bool>,
    ) -> Result<(), Stopped> {
        tally.read(items.len());
        crash_point!(AfterRead);
        let mut left = items;
        loop {
            let outcomes = tokio::select! {
                // A full spool is waited for: whoever is read can wait.
                outcomes = self.deliver_until(left, None, None) => outcomes,
                () = stopped_for_long(stop) => return Err(Stopped),
            };
            left = Vec::new();
            for outcome in outcomes {
                match outcome {
                    Outcome::Failed { item, .. } => left.push(item),
                    other => tally.ended(other.fate(), 1),
                }
            }
            if left.is_empty() {
                crash_point!(AfterKept);
                return Ok(());
            }
            tokio::select! {
                () = tokio::time::sleep(PAUSE) => {}
                _ = stop.wait_for(|stop| *stop) => return Err(Stopped),
            }
        }
    }

    /// Delivers with evidence, for those who cannot be told to wait: `Failed` only where there is no spool.
    pub async fn deliver_patiently(&self, items: Vec<Item>, evidence: &Kept) -> Vec<Outcome> {
        self.deliver_until(items, Some(evidence), None).await
    }

    /// Keeps bytes as they came. Where they wait on the disk, nobody knows yet which number they will have.
    ///
    /// # Errors
    /// When they are not kept: [`PublishError::Refused`] for good.
    pub async fn keep_evidence(&self, evidence: &Evidence) -> Result<Kept, PublishError> {
        let Some(bus) = self.bus() else { return Ok(evidence.kept(Some(0))) };
        let message = evidence.message(&self.tenant);
        if !bus.takes(evidence.bytes.len()) {
            let why = format!("{} bytes are more than the server takes", evidence.bytes.len());
            return Err(PublishError::Refused { subject: message.subject().to_owned(), why });
        }
        let kept = evidence.kept(bus.bring(message).await?);
        crash_point!(AfterEvidence);
        Ok(kept)
    }

    /// Looks after the bus until told to stop: whether it takes what waits on the disk.
    pub async fn watch(self, mut stop: watch::Receiver<bool>) {
        let Some(bus) = self.bus().filter(|bus| bus.spooled) else { return };
        let (mut acknowledged, mut since) = (0, Instant::now());
        loop {
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => {}
                // An error means that the program ends.
                _ = stop.wait_for(|stop| *stop) => return,
            }
            let metrics = bus.outbox.metrics();
            let waiting = metrics.spool.map_or(0, |spool| spool.waiting_events);
            if waiting == 0 || metrics.counts.acknowledged != acknowledged {
                (acknowledged, since) = (metrics.counts.acknowledged, Instant::now());
            }
            let why = match (metrics.connected, since.elapsed() > bus.patience) {
                (false, _) => Some("there is no connection".to_owned()),
                (true, true) => Some("the server acknowledges nothing".to_owned()),
                (true, false) => None,
            };
            self.note_bus(why.as_deref(), waiting);
        }
    }

    /// Brings home what comes home within the patience, and closes the spool. Gives how many events wait in it.
    pub async fn close(&self) -> u64 {
        let Some(bus) = self.bus() else { return 0 };
        match bus.outbox.clone().close().await {
            Ok(flushed) => flushed.on_disk,
            Err(error) => {
                tracing::error!(%error, "not all is in the log");
                bus.outbox.metrics().spool.map_or(0, |spool| spool.waiting_events)
            }
        }
    }

    fn bus(&self) -> Option<&Bus> {
        match &self.way {
            Way::Bus(bus) => Some(bus),
            Way::Dry => None,
        }
    }

    async fn deliver_until(
        &self,
        items: Vec<Item>,
        evidence: Option<&Kept>,
        until: Option<Instant>,
    ) -> Vec<Outcome> {
        // All are handed over before any is waited for: so they share frames.
        let mut begun = Vec::with_capacity(items.len());
        for item in items {
            begun.push(match item {
                Item::Skip => Begun::Ended(Outcome::Skipped),
                Item::Reject(rejected) => Begun::Reject(rejected),
                Item::Event(draft) => self.begin(draft, evidence, until).await,
            });
        }
        crash_point!(AfterHandOver);
        let outcomes = join_all(begun.into_iter().map(|one| self.end(one, until))).await;
        if self.bus().is_some_and(|bus| !bus.spooled) {
            let failed = outcomes.iter().find_map(|outcome| match outcome {
                Outcome::Failed { why, .. } => Some(why.as_str()),
                _ => None,
            });
            self.note_bus(failed, 0);
        }
        outcomes
    }

    async fn begin(&self, draft: Draft, evidence: Option<&Kept>, until: Option<Instant>) -> Begun {
        let mut body = draft.body.clone();
        body.insert(
            "producer".to_owned(),
            json!({ "name": "sightline-bridge", "version": env!("CARGO_PKG_VERSION") }),
        );
        if let Some(kept) = evidence {
            let refs = body.entry("refs").or_insert_with(|| json!({}));
            if let Value::Object(refs) = refs {
                refs.insert("raw".to_owned(), kept.reference());
            }
        }
        let body = Value::Object(body);
        let Some(bus) = self.bus() else {
            let subject =
                EventSubject { tenant: self.tenant.clone(), source: draft.source.clone() }.subject();
            let id = self.id(&draft);
            print(&json!({ "subject": subject, "id": id, "event": body }));
            return Begun::Ended(Outcome::Stored { id, duplicate: false });
        };
        let bytes = Bytes::from(body.to_string());
        let refuse = |reason, why: String| {
            let (source, bytes) = (draft.source.clone(), bytes.clone());
            let reject = Reject::new(reason, why);
            Begun::Reject(Rejected { source, reject, bytes, content_type: "application/json" })
        };
        if !bus.takes(bytes.len()) {
            return refuse(Reason::TooLarge, format!("{} bytes are more than the server takes", bytes.len()));
        }
        // The outbox names an event by its key, as the engine does: the body may come to say more of the same event.
        let raw = Raw::json(&self.tenant, &draft.source, &bytes);
        match within(until, bus.outbox.store_later(raw)).await {
            Ok(Ok(keeping)) => Begun::Event(draft, bytes, keeping),
            Ok(Err(PublishError::Invalid { reject })) => refuse(reject.reason, reject.detail),
            Ok(Err(error)) => {
                Begun::Ended(Outcome::Failed { item: Item::Event(draft), why: error.to_string() })
            }
            Err(why) => Begun::Ended(Outcome::Failed { item: Item::Event(draft), why }),
        }
    }

    async fn end(&self, begun: Begun, until: Option<Instant>) -> Outcome {
        let (draft, bytes, keeping) = match begun {
            Begun::Ended(outcome) => return outcome,
            Begun::Reject(rejected) => return self.reject(rejected, until).await,
            Begun::Event(draft, bytes, keeping) => (draft, bytes, keeping),
        };
        let id = self.id(&draft);
        match within(until, keeping.kept()).await {
            Ok(Ok(Place::InLog(stored))) => Outcome::Stored { id, duplicate: stored.duplicate },
            Ok(Ok(Place::OnDisk)) => Outcome::Stored { id, duplicate: false },
            Ok(Ok(Place::Before)) => Outcome::Stored { id, duplicate: true },
            // The server will never take it, for what it is.
            Ok(Err(PublishError::Refused { why, .. })) => {
                let reject = Reject::new(Reason::TooLarge, format!("the server refuses it: {why}"));
                let source = draft.source;
                let rejected = Rejected { source, reject, bytes, content_type: "application/json" };
                self.reject(rejected, until).await
            }
            Ok(Err(error)) => Outcome::Failed { item: Item::Event(draft), why: error.to_string() },
            Err(why) => Outcome::Failed { item: Item::Event(draft), why },
        }
    }

    async fn reject(&self, rejected: Rejected, until: Option<Instant>) -> Outcome {
        let now = now();
        let Some(bus) = self.bus() else {
            print(&json!({ "rejected": rejects::describe(&self.tenant, &rejected, now) }));
            return Outcome::Rejected(rejected.reject);
        };
        tracing::warn!(source = rejected.source, reason = rejected.reject.reason.as_str(), "rejected");
        let why = if bus.takes(rejected.bytes.len()) {
            match within(until, bus.bring(rejects::letter(&self.tenant, &rejected))).await {
                Ok(Ok(_)) => {
                    crash_point!(AfterReject);
                    return Outcome::Rejected(rejected.reject);
                }
                Ok(Err(error)) => error.to_string(),
                Err(late) => late,
            }
        } else {
            "larger than the server takes".to_owned()
        };
        match bus.file.keep(&self.tenant, &rejected, now) {
            Ok(()) => {
                tracing::warn!(why, file = %bus.file.path().display(), "rejected record kept in a file");
                Outcome::Rejected(rejected.reject)
            }
            Err(full) => Outcome::Failed { item: Item::Reject(rejected), why: format!("{why}; {full}") },
        }
    }

    fn id(&self, draft: &Draft) -> EventId {
        EventId::from_source_key(&self.tenant, &draft.source, &draft.key)
    }

    /// Says so when the bus goes away or comes back.
    fn note_bus(&self, away: Option<&str>, waiting_events: u64) {
        if self.bus_well.swap(away.is_none(), Ordering::Relaxed) != away.is_none() {
            match away {
                Some(why) => tracing::error!(why, waiting_events, "bus_away"),
                None => tracing::info!(waiting_events, "bus_back"),
            }
        }
    }
}

impl Bus {
    /// Brings a message beside the events into the log, and gives its number there; `None` where it waits on the disk.
    async fn bring(&self, message: Message) -> Result<Option<u64>, PublishError> {
        let away = |bus: &Bus| bus.spooled && !bus.beside.is_connected();
        if !away(self) {
            match self.beside.store(message.clone()).await {
                // The connection was lost meanwhile.
                Err(PublishError::GaveUp { .. }) if away(self) => {}
                other => return other.map(|stored| Some(stored.seq)),
            }
        }
        self.outbox.store_message(message).await.map(|_| None)
    }

    /// Whether the server takes a body of this length.
    fn takes(&self, bytes: usize) -> bool {
        bytes + HEADERS_BYTES <= self.beside.message_bytes_max().unwrap_or(MESSAGE_BYTES_DEFAULT)
    }
}

impl Outcome {
    /// How it is counted. What failed was handed back, for those who do not try again themselves.
    pub fn fate(&self) -> Fate {
        match self {
            Outcome::Stored { duplicate: false, .. } => Fate::Sent,
            Outcome::Stored { duplicate: true, .. } => Fate::Duplicate,
            Outcome::Skipped => Fate::Skipped,
            Outcome::Rejected(_) => Fate::Rejected,
            Outcome::Failed { .. } => Fate::HandedBack,
        }
    }
}

/// The time on this machine's clock.
pub fn now() -> EventTime {
    EventTime::from_micros(jiff::Timestamp::now().as_microsecond())
}

/// Waits for something, but no longer than until then. The error says that it took too long.
async fn within<T>(until: Option<Instant>, future: impl Future<Output = T>) -> Result<T, String> {
    match until {
        None => Ok(future.await),
        Some(until) => tokio::time::timeout_at(until.into(), future)
            .await
            .map_err(|_| "nothing takes it now: the bus is away, and the spool is full".to_owned()),
    }
}

async fn stopped_for_long(stop: &mut watch::Receiver<bool>) {
    // An error means that nobody can say stop any more: the program ends.
    let _ = stop.wait_for(|stop| *stop).await;
    tokio::time::sleep(STOP_MAX).await;
}

fn print(line: &Value) {
    // A closed pipe (`| head`) is no failure.
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}
