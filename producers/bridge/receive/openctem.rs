//! OpenCTEM's agents: `POST /api/v1/telemetry-events`, at most a hundred events, with an error for each that is none.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Json, Response};
use axum::routing::post;
use bytes::Bytes;
use serde_json::{Value, json};
use sightline_schemas::edge::{Reason, Reject};

use super::{AWAY, AWAY_WHY, Desk, Told, events_of, input, item};
use crate::bridge::Bridge;
use crate::record::{Item, Press};

const MAPPING: &str = "openctem";
/// Most events of one request, as OpenCTEM has it.
const EVENTS_MAX: usize = 100;
const TYPES: [&str; 9] = [
    "process_start",
    "process_stop",
    "network_connect",
    "file_write",
    "file_delete",
    "dns_query",
    "auth_attempt",
    "kernel_module_load",
    "other",
];
const SEVERITIES: [&str; 5] = ["info", "low", "medium", "high", "critical"];

/// The routes.
///
/// # Errors
/// When the mapping is not there.
pub fn routes(bridge: &Bridge) -> anyhow::Result<Router> {
    let desk = Desk::new(bridge, MAPPING, &[MAPPING])?.requiring(MAPPING, &["occurred_at", "kind"]);
    Ok(Router::new().route("/api/v1/telemetry-events", post(telemetry)).with_state(Arc::new(desk)))
}

async fn telemetry(State(desk): State<Arc<Desk>>, body: Bytes) -> Response {
    let Some(press) = desk.press(MAPPING) else { return StatusCode::NOT_FOUND.into_response() };
    let events = match events_of(&body) {
        Ok(events) => inner_events(events),
        Err(why) => {
            let reject = Reject::new(Reason::Undecodable, why.clone());
            let outcomes = desk.take(vec![press.reject(&input(body, None, None), None, reject)], None).await;
            return bad(if Told::of(&outcomes).away { AWAY } else { StatusCode::BAD_REQUEST }, &why);
        }
    };
    if events.is_empty() || events.len() > EVENTS_MAX {
        return bad(
            StatusCode::BAD_REQUEST,
            &format!("{} events: send 1 to {EVENTS_MAX} at once", events.len()),
        );
    }
    let items = events.into_iter().map(|event| checked(press, event)).collect();
    let told = Told::of(&desk.take(items, None).await);
    if told.away {
        return bad(AWAY, AWAY_WHY);
    }
    let errors: Vec<String> = told.refused.iter().map(|(at, why)| format!("events[{at}]: {why}")).collect();
    let status = if told.ids.is_empty() { StatusCode::BAD_REQUEST } else { StatusCode::ACCEPTED };
    let answer = json!({
        "accepted": told.ids.len(), "duplicates": told.duplicates, "rejected": errors.len(), "ids": told.ids,
        "errors": errors,
    });
    (status, Json(answer)).into_response()
}

/// `{"events": […]}`, or the list itself.
fn inner_events(mut events: Vec<Value>) -> Vec<Value> {
    match events.as_mut_slice() {
        [Value::Object(members)] => match members.remove("events") {
            Some(Value::Array(inner)) => inner,
            _ => events,
        },
        _ => events,
    }
}

/// The lists of OpenCTEM are closed: a word that is not in them is an agent's mistake, and not a new sort of event.
fn checked(press: &Press, event: Value) -> Item {
    let word = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
    let (kind, severity) = (word("event_type"), word("severity"));
    let wrong = if !TYPES.contains(&kind.as_str()) {
        Some(format!("`event_type` is {kind:?}: use {}", TYPES.join(", ")))
    } else if !severity.is_empty() && !SEVERITIES.contains(&severity.as_str()) {
        Some(format!("`severity` is {severity:?}: use {}", SEVERITIES.join(", ")))
    } else if word("observed_at").is_empty() {
        Some("`observed_at` is missing: say when it happened on the endpoint".to_owned())
    } else {
        None
    };
    match wrong {
        None => item(press, event, None),
        Some(why) => {
            let bytes = Bytes::from(event.to_string());
            press.reject(
                &input(bytes, Some("agent".to_owned()), None),
                None,
                Reject::new(Reason::BadField, why),
            )
        }
    }
}

fn bad(status: StatusCode, why: &str) -> Response {
    (status, Json(json!({ "accepted": 0, "errors": [why] }))).into_response()
}
