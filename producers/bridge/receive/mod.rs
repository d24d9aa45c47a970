//! Sources that post. Whoever posts hears that an event is accepted when it is kept, on disk or in the log, and not before.
//!
//! [`server`] takes connections, by [`tls`] where they come from other machines; a request passes the [`gate`], where [`keys`]
//! say who may post. [`sentracore`], [`openctem`], [`streamtrace`] and [`shieldai`] each speak as the system that their
//! senders know; [`syslog`] listens on UDP and TCP.

mod gate;
mod keys;
pub mod openctem;
pub mod sentracore;
mod server;
pub mod shieldai;
pub mod streamtrace;
pub mod syslog;
mod tls;

use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::middleware;
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use bytes::Bytes;
use serde_json::{Value, json};
use sightline_producers::{PublishError, crash_point};
use sightline_schemas::edge::{Reason, Reject};
use tokio::net::TcpListener;

use crate::Ended;
use crate::arguments::Receive;
use crate::bridge::Bridge;
use crate::delivery::{Delivery, Outcome, now};
use crate::evidence::{Evidence, Kept};
use crate::ledger::Tally;
use crate::mapping::Origin;
use crate::record::{Input, Item, Press};
use gate::Gate;
use keys::Keys;
use server::Limits;

/// How long a request that is being answered may take when the bridge stops.
const END_WAIT: Duration = Duration::from_secs(5);
/// Longest value of a header that names a source.
const HEADER_BYTES_MAX: usize = 256;

/// One way of posting: what makes events of what is posted, and where they go.
pub struct Desk {
    delivery: Delivery,
    tally: Arc<Tally>,
    presses: Vec<Press>,
}

impl Desk {
    /// For these mappings.
    ///
    /// # Errors
    /// When one needs a key for personal identifiers that is not there.
    pub fn new(bridge: &Bridge, name: &str, mappings: &[&str]) -> anyhow::Result<Self> {
        let presses = mappings.iter().map(|mapping| bridge.press(mapping)).collect::<Result<_, _>>()?;
        Ok(Desk { delivery: bridge.delivery.clone(), tally: bridge.tally(name), presses })
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
        crash_point!(AfterRead);
        let outcomes = self.delivery.deliver(items, evidence).await;
        crash_point!(AfterKept);
        for outcome in &outcomes {
            self.tally.ended(outcome.fate(), 1);
        }
        outcomes
    }

    /// Delivers what a body holds, an event or an array of them; what is no JSON is rejected as a whole.
    pub async fn take_body(&self, press: &Press, body: Bytes) -> Told {
        let items = match events_of(&body) {
            Ok(events) => events.into_iter().map(|event| item(press, event, None)).collect(),
            Err(why) => {
                let reject = Reject::new(Reason::Undecodable, why);
                vec![press.reject(&input(body, None, None), None, reject)]
            }
        };
        Told::of(&self.take(items, None).await)
    }

    /// Keeps what was posted as it came.
    ///
    /// # Errors
    /// When it is not kept: [`PublishError::Refused`] for good.
    pub async fn keep_evidence(&self, evidence: &Evidence) -> Result<Kept, PublishError> {
        self.delivery.keep_evidence(evidence).await
    }
}

/// How what was posted ended, as senders are told.
#[derive(Default)]
pub struct Told {
    /// Ids of events that are kept, now or before.
    pub ids: Vec<String>,
    /// How many of those were there before.
    pub duplicates: usize,
    /// Which were refused, by their number in the request, and why.
    pub refused: Vec<(usize, String)>,
    /// Whether some are not kept only because nothing takes them now.
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

    /// The refused ones, as senders are told.
    pub fn errors(&self) -> Vec<Value> {
        self.refused.iter().map(|(at, why)| json!({ "index": at, "error": why })).collect()
    }
}

/// What the senders of a system speak.
pub struct Dialect {
    routes: fn(&Bridge) -> anyhow::Result<Router>,
    refuse: fn(StatusCode, &str) -> Response,
}

/// SentraCore's sensors.
pub const SENTRACORE: Dialect = Dialect { routes: sentracore::routes, refuse };
/// OpenCTEM's agents.
pub const OPENCTEM: Dialect = Dialect { routes: openctem::routes, refuse };
/// StreamTrace's sources.
pub const STREAMTRACE: Dialect = Dialect { routes: streamtrace::routes, refuse: streamtrace::refuse };
/// ShieldAI's services.
pub const SHIELDAI: Dialect = Dialect { routes: shieldai::routes, refuse };

/// Serves senders until stopped; with `--once`, until none sends any more.
pub async fn run(bridge: &mut Bridge, arguments: &Receive, dialect: Dialect) -> Result<(), Ended> {
    let usage = |why: String| Ended::Usage(anyhow!(why));
    let keys = match &arguments.api_keys {
        Some(path) => Keys::open(path).map_err(usage)?,
        None => Keys::none(),
    };
    let tls = match (&arguments.tls_cert, &arguments.tls_key) {
        (Some(cert), Some(key)) => {
            Some(tls::acceptor(cert, key, arguments.tls_client_ca.as_deref()).map_err(usage)?)
        }
        _ => None,
    };
    let is_hidden = tls.is_some() || arguments.behind_proxy;
    let asks = arguments.api_keys.is_some() || arguments.tls_client_ca.is_some();
    if !(arguments.bind.ip().is_loopback() || is_hidden && asks) {
        return Err(usage(format!(
            "--bind {} can be reached from other machines: name a certificate with --tls-cert and --tls-key (or say \
             --behind-proxy where a proxy speaks TLS), and the keys that senders may use with --api-keys or the authority \
             of their certificates with --tls-client-ca",
            arguments.bind
        )));
    }
    let wait = arguments.request_timeout;
    let gate = Arc::new(Gate { keys, body_wait: wait, refuse: dialect.refuse });
    // The gate bounds the body.
    let routes = (dialect.routes)(bridge)
        .map_err(Ended::Usage)?
        .route_layer(middleware::from_fn_with_state(gate, gate::pass))
        .route("/healthz", get(|| async { Json(json!({ "status": "ok" })) }))
        .layer(DefaultBodyLimit::disable());
    let listener = TcpListener::bind(arguments.bind)
        .await
        .map_err(|error| usage(format!("cannot listen on {}: {error}", arguments.bind)))?;
    let address = listener.local_addr().map_err(anyhow::Error::from)?;
    tracing::info!(%address, tls = tls.is_some(), "listening");
    let limits = Limits { connections_max: arguments.connections_max, head_wait: wait, end_wait: END_WAIT };
    server::serve(listener, tls, routes, limits, bridge.end()).await;
    Ok(())
}

/// How most systems say no.
pub fn refuse(status: StatusCode, why: &str) -> Response {
    (status, Json(json!({ "error": why }))).into_response()
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
/// And what is said then.
pub const AWAY_WHY: &str = "nothing takes it now: send it again; what is kept already will not count twice";
