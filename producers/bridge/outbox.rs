//! The way to the bus. Whatever goes in comes to an end that is counted: in the log, there already, rejected and kept,
//! left out, or handed back.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use serde_json::{Value, json};
use sightline_producers::{Message, PublishError, Publisher};
use sightline_schemas::edge::{Reason, Reject};
use sightline_schemas::subject::EventSubject;
use sightline_schemas::wire::Form;
use sightline_schemas::{EventId, EventTime};
use tokio::sync::watch;

use crate::evidence::{Evidence, Kept};
use crate::ledger::{Fate, Tally};
use crate::record::{Draft, Item, Rejected};
use crate::rejects::{self, RejectFile};

/// Pause before what could not be delivered is tried again. The publisher has been trying for its patience by then.
const PAUSE: Duration = Duration::from_secs(1);

/// The way to the bus; clones share it.
#[derive(Clone)]
pub struct Outbox {
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

#[derive(Clone)]
struct Bus {
    events: Publisher,
    /// For evidence and dead letters, so that each is counted by itself.
    beside: Publisher,
    file: RejectFile,
}

/// What became of one item.
#[derive(Debug)]
pub enum Outcome {
    /// In the log, now or before.
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
    /// It is not in the log, and nothing is known to be wrong with it: try again.
    Failed {
        /// What to try again with.
        item: Item,
        /// What was last heard.
        why: String,
    },
}

/// Told to stop before everything was delivered. What was not is read again at the next start.
#[derive(Debug)]
pub struct Stopped;

impl Outbox {
    /// Onto the bus: events by one publisher, evidence and dead letters by another, and `file` for rejected records while
    /// the bus is away.
    pub fn to_bus(tenant: &str, events: Publisher, beside: Publisher, file: RejectFile) -> Self {
        let bus_well = Arc::new(AtomicBool::new(true));
        Outbox { way: Way::Bus(Box::new(Bus { events, beside, file })), tenant: tenant.to_owned(), bus_well }
    }

    /// To standard output.
    pub fn dry(tenant: &str) -> Self {
        Outbox { way: Way::Dry, tenant: tenant.to_owned(), bus_well: Arc::new(AtomicBool::new(true)) }
    }

    /// Whether the last delivery found the bus.
    pub fn is_well(&self) -> bool {
        self.bus_well.load(Ordering::Relaxed)
    }

    /// Delivers what can be delivered within the publisher's patience. The outcomes are in the order of the items.
    pub async fn deliver(&self, items: Vec<Item>) -> Vec<Outcome> {
        self.deliver_with(items, None).await
    }

    /// The same, and each event points to the evidence.
    pub async fn deliver_with(&self, items: Vec<Item>, evidence: Option<&Kept>) -> Vec<Outcome> {
        let outcomes = join_all(items.into_iter().map(|item| self.one(item, evidence))).await;
        let failed = outcomes.iter().find_map(|outcome| match outcome {
            Outcome::Failed { why, .. } => Some(why),
            _ => None,
        });
        if self.bus_well.swap(failed.is_none(), Ordering::Relaxed) != failed.is_none() {
            match failed {
                Some(why) => tracing::error!(why, "bus_away"),
                None => tracing::info!("bus_back"),
            }
        }
        outcomes
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
        let mut left = items;
        loop {
            let outcomes = tokio::select! {
                outcomes = self.deliver(left) => outcomes,
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
                return Ok(());
            }
            tokio::select! {
                () = tokio::time::sleep(PAUSE) => {}
                _ = stop.wait_for(|stop| *stop) => return Err(Stopped),
            }
        }
    }

    /// Keeps bytes as they came.
    ///
    /// # Errors
    /// When the bus does not take them.
    pub async fn keep_evidence(&self, evidence: &Evidence) -> Result<Kept, PublishError> {
        match &self.way {
            Way::Bus(bus) => {
                let stored = bus.beside.store(evidence.message(&self.tenant)).await?;
                Ok(evidence.kept(stored.seq))
            }
            Way::Dry => Ok(evidence.kept(0)),
        }
    }

    async fn one(&self, item: Item, evidence: Option<&Kept>) -> Outcome {
        match item {
            Item::Skip => Outcome::Skipped,
            Item::Event(draft) => self.event(draft, evidence).await,
            Item::Reject(rejected) => self.reject(rejected).await,
        }
    }

    async fn event(&self, draft: Draft, evidence: Option<&Kept>) -> Outcome {
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
        let bytes = Bytes::from(Value::Object(body).to_string());
        // The engine names an event by its key, and so must the server: the body may come to say more of the same event.
        let id = EventId::from_source_key(&self.tenant, &draft.source, &draft.key);
        let subject = EventSubject { tenant: self.tenant.clone(), source: draft.source.clone() }.subject();
        let message = Message::on(subject, bytes.clone(), Form::Json.content_type(), id, 1);
        let Way::Bus(bus) = &self.way else {
            let event: Value = serde_json::from_slice(&bytes).unwrap_or_default();
            print(&json!({ "subject": message.subject(), "id": message.id(), "event": event }));
            return Outcome::Stored { id, duplicate: false };
        };
        match bus.events.store(message).await {
            Ok(stored) => Outcome::Stored { id, duplicate: stored.duplicate },
            // The server will never take it, for what it is: too large, most often.
            Err(PublishError::Refused { why, .. }) => {
                let reject = Reject::new(Reason::TooLarge, format!("the server refuses it: {why}"));
                let source = draft.source;
                self.reject(Rejected { source, reject, bytes, content_type: "application/json" }).await
            }
            Err(error) => Outcome::Failed { item: Item::Event(draft), why: error.to_string() },
        }
    }

    async fn reject(&self, rejected: Rejected) -> Outcome {
        let now = now();
        let Way::Bus(bus) = &self.way else {
            print(&json!({ "rejected": rejects::describe(&self.tenant, &rejected, now) }));
            return Outcome::Rejected(rejected.reject);
        };
        tracing::warn!(source = rejected.source, reason = rejected.reject.reason.as_str(), "rejected");
        let Err(error) = bus.beside.store(rejects::letter(&self.tenant, &rejected)).await else {
            return Outcome::Rejected(rejected.reject);
        };
        match bus.file.keep(&self.tenant, &rejected, now) {
            Ok(()) => {
                tracing::warn!(%error, file = %bus.file.path().display(), "rejected record kept in a file");
                Outcome::Rejected(rejected.reject)
            }
            Err(full) => Outcome::Failed { item: Item::Reject(rejected), why: format!("{error}; {full}") },
        }
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

/// What was on its way when the bridge was told to stop gets this long to arrive.
async fn stopped_for_long(stop: &mut watch::Receiver<bool>) {
    // An error means that nobody can say stop any more: the program ends.
    let _ = stop.wait_for(|stop| *stop).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
}

fn print(line: &Value) {
    // A closed pipe (`| head`) is no failure.
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}
