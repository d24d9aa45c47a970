//! SentraCore's sensors: `POST /api/v1/ingest/events` with `X-Api-Key`, one event or an array of them.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use serde_json::json;
use sightline_schemas::edge::{Reason, Reject};

use super::keys::Keys;
use super::{AWAY, Desk, Told, events_of, input, item};
use crate::bridge::Bridge;

const MAPPING: &str = "sentracore";

/// The routes.
///
/// # Errors
/// When the mapping is not there.
pub fn routes(bridge: &Bridge, keys: Keys) -> anyhow::Result<Router> {
    let desk = Desk::new(bridge, keys, MAPPING, &[MAPPING])?.requiring(MAPPING, &["host_id", "kind"]);
    Ok(Router::new()
        .route("/api/v1/ingest/events", post(ingest))
        .route("/healthz", get(|| async { Json(json!({ "status": "ok" })) }))
        .with_state(Arc::new(desk)))
}

async fn ingest(State(desk): State<Arc<Desk>>, headers: HeaderMap, body: Bytes) -> Response {
    if !desk.keys.admit(&headers) {
        return error(StatusCode::UNAUTHORIZED, "X-Api-Key is missing or wrong");
    }
    let Some(press) = desk.press(MAPPING) else { return error(StatusCode::NOT_FOUND, "no such source") };
    let batch = body.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[');
    let items = match events_of(&body) {
        Ok(events) => events.into_iter().map(|event| item(press, event, None)).collect(),
        Err(why) => {
            let reject = Reject::new(Reason::Undecodable, why);
            vec![press.reject(&input(body, None, None), None, reject)]
        }
    };
    let told = Told::of(&desk.take(items, None).await);
    if told.away {
        return error(
            AWAY,
            "the log takes nothing now: send it again; what is there already will not count twice",
        );
    }
    let errors: Vec<_> = told.refused.iter().map(|(at, why)| json!({ "index": at, "error": why })).collect();
    match (batch, told.ids.first(), told.refused.first()) {
        (false, Some(id), _) => Json(json!({ "id": id, "duplicate": told.duplicates > 0 })).into_response(),
        (false, None, Some((_, why))) => error(StatusCode::BAD_REQUEST, why),
        (true, None, Some(_)) => {
            (StatusCode::BAD_REQUEST, Json(json!({ "error": "no event of the batch was accepted", "errors": errors })))
                .into_response()
        }
        _ => Json(json!({
            "accepted": told.ids.len(), "duplicates": told.duplicates, "rejected": errors.len(), "ids": told.ids,
            "errors": errors,
        }))
        .into_response(),
    }
}

fn error(status: StatusCode, why: &str) -> Response {
    (status, Json(json!({ "error": why }))).into_response()
}
