//! Sources that post. Whoever posts hears that an event is accepted when the server has acknowledged it, and not before.
//!
//! [`keys`] says who may post. [`sentracore`], [`openctem`], [`streamtrace`] and [`shieldai`] each speak as the system that
//! their senders know; [`syslog`] listens on UDP and TCP.

pub mod keys;
pub mod openctem;
pub mod sentracore;
pub mod shieldai;
pub mod streamtrace;
pub mod syslog;

use std::sync::Arc;

use anyhow::anyhow;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderMap, HeaderName, StatusCode};
use bytes::Bytes;
use serde_json::Value;
use tokio::net::TcpListener;

use crate::Ended;
use crate::arguments::Receive;
use crate::bridge::Bridge;
use crate::evidence::Kept;
use crate::ledger::Tally;
use crate::mapping::Origin;
use crate::outbox::{Outbox, Outcome, now};
use crate::record::{Input, Item, Press};
use keys::Keys;

/// Most bytes of a request's body.
const BODY_BYTES_MAX: usize = 16 << 20;
/// Longest value of a header that names a source.
const HEADER_BYTES_MAX: usize = 256;

/// One way of posting: what makes events of what is posted, and where they go.
pub struct Desk {
    /// Who may post.
    pub keys: Keys,
    /// The way to the bus.
    pub outbox: Outbox,
    /// The counts.
    pub tally: Arc<Tally>,
    presses: Vec<Press>,
}

impl Desk {
    /// For these mappings.
    ///
    /// # Errors
    /// When one needs a key for personal identifiers that is not there.
    pub fn new(bridge: &Bridge, keys: Keys, name: &str, mappings: &[&str]) -> anyhow::Result<Self> {
        let presses = mappings.iter().map(|mapping| bridge.press(mapping)).collect::<Result<_, _>>()?;
        Ok(Desk { keys, outbox: bridge.outbox.clone(), tally: bridge.tally(name), presses })
    }

    /// What makes events by a mapping, if there is one of that name here.
    pub fn press(&self, mapping: &str) -> Option<&Press> {
        self.presses.iter().find(|press| press.name() == mapping)
    }

    /// Replaces a press.
    #[must_use]
    pub fn requiring(mut self, mapping: &str, names: &'static [&'static str]) -> Self {
        for press in &mut self.presses {
            if press.name() == mapping {
                *press = press.clone().requiring(names);
            }
        }
        self
    }

    /// Delivers what was posted, once: whoever posted can try again.
    pub async fn take(&self, items: Vec<Item>, evidence: Option<&Kept>) -> Vec<Outcome> {
        self.tally.read(items.len());
        let outcomes = self.outbox.deliver_with(items, evidence).await;
        for outcome in &outcomes {
            self.tally.ended(outcome.fate(), 1);
        }
        outcomes
    }
}

/// How what was posted ended, as senders are told.
#[derive(Default)]
pub struct Told {
    /// Ids of events that are in the log, now or before.
    pub ids: Vec<String>,
    /// How many of those were there before.
    pub duplicates: usize,
    /// Which were refused, by their number in the request, and why.
    pub refused: Vec<(usize, String)>,
    /// Whether some are not in the log only because the bus is away.
    pub away: bool,
}

impl Told {
    /// Sums the outcomes up.
    pub fn of(outcomes: &[Outcome]) -> Self {
        let mut told = Told::default();
        for (at, outcome) in outcomes.iter().enumerate() {
            match outcome {
                Outcome::Stored { id, duplicate, .. } => {
                    told.ids.push(id.to_string());
                    told.duplicates += usize::from(*duplicate);
                }
                Outcome::Skipped => {}
                Outcome::Rejected(reject) => told.refused.push((at, reject.detail.clone())),
                Outcome::Failed { .. } => told.away = true,
            }
        }
        told
    }
}

/// Serves the routes until stopped.
pub async fn run(
    bridge: &mut Bridge,
    arguments: &Receive,
    routes: fn(&Bridge, Keys) -> anyhow::Result<Router>,
) -> Result<(), Ended> {
    let keys = match &arguments.api_keys {
        Some(path) => Keys::open(path).map_err(|why| Ended::Usage(anyhow!(why)))?,
        None if arguments.bind.ip().is_loopback() => Keys::none(),
        None => {
            return Err(Ended::Usage(anyhow!(
                "--bind {} can be reached from other machines: name the keys that senders may use with --api-keys",
                arguments.bind
            )));
        }
    };
    let router = routes(bridge, keys).map_err(Ended::Usage)?.layer(DefaultBodyLimit::max(BODY_BYTES_MAX));
    let listener = TcpListener::bind(arguments.bind)
        .await
        .map_err(|error| Ended::Usage(anyhow!("cannot listen on {}: {error}", arguments.bind)))?;
    let address = listener.local_addr().map_err(anyhow::Error::from)?;
    tracing::info!(%address, "listening");
    let mut stop = bridge.stop.clone();
    let stopped = async move {
        // An error means that the program ends.
        let _ = stop.wait_for(|stop| *stop).await;
    };
    axum::serve(listener, router).with_graceful_shutdown(stopped).await.map_err(anyhow::Error::from)?;
    Ok(())
}

/// An input out of a request.
pub fn input(bytes: Bytes, source: Option<String>, place: Option<String>) -> Input {
    let origin = Origin { source, ..Origin::default() };
    Input { bytes, content_type: "application/json", place, origin }
}

/// The events of a body: an object is one, of an array each is one.
///
/// # Errors
/// When the body is no JSON; the text says why.
pub fn events_of(body: &Bytes) -> Result<Vec<Value>, String> {
    match serde_json::from_slice(body) {
        Ok(Value::Array(items)) => Ok(items),
        Ok(other) => Ok(vec![other]),
        Err(error) => Err(format!("the body is no JSON: {error}")),
    }
}

/// What becomes of one event of a body.
pub fn item(press: &Press, event: Value, source: Option<String>) -> Item {
    let input = input(Bytes::from(event.to_string()), source, None);
    press.item(&input, input.bytes.clone(), event, None, now())
}

/// A header's value, if it is text that is not too long.
///
/// # Errors
/// When it is.
pub fn header(headers: &HeaderMap, name: &'static str) -> Result<Option<String>, String> {
    let Some(value) = headers.get(HeaderName::from_static(name)) else { return Ok(None) };
    match value.to_str() {
        Ok(text) if text.len() <= HEADER_BYTES_MAX => {
            Ok(Some(text.trim().to_owned()).filter(|text| !text.is_empty()))
        }
        _ => Err(format!("{name} must be text of at most {HEADER_BYTES_MAX} bytes")),
    }
}

/// The status for what nobody is to blame for but the bus.
pub const AWAY: StatusCode = StatusCode::SERVICE_UNAVAILABLE;
