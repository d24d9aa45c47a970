//! SentraCore's sensors: `POST /api/v1/ingest/events` with `X-Api-Key`, one event or an array of them.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Json, Response};
use axum::routing::post;
use bytes::Bytes;
use serde_json::json;

use super::{AWAY, AWAY_WHY, Desk, refuse};
use crate::bridge::Bridge;

const MAPPING: &str = "sentracore";

/// The routes.
///
/// # Errors
/// When the mapping is not there.
pub fn routes(bridge: &Bridge) -> anyhow::Result<Router> {
    let desk = Desk::new(bridge, MAPPING, &[MAPPING])?.requiring(MAPPING, &["host_id", "kind"]);
    Ok(Router::new().route("/api/v1/ingest/events", post(ingest)).with_state(Arc::new(desk)))
}

async fn ingest(State(desk): State<Arc<Desk>>, body: Bytes) -> Response {
    let Some(press) = desk.press(MAPPING) else { return refuse(StatusCode::NOT_FOUND, "no such source") };
    let batch = body.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[');
    let told = desk.take_body(press, body).await;
    if told.away {
        return refuse(AWAY, AWAY_WHY);
    }
    match (batch, told.ids.first(), told.refused.first()) {
        (false, Some(id), _) => Json(json!({ "id": id, "duplicate": told.duplicates > 0 })).into_response(),
        (false, None, Some((_, why))) => refuse(StatusCode::BAD_REQUEST, why),
        (true, None, Some(_)) => {
            let answer = json!({ "error": "no event of the batch was accepted", "errors": told.errors() });
            (StatusCode::BAD_REQUEST, Json(answer)).into_response()
        }
        _ => Json(json!({
            "accepted": told.ids.len(), "duplicates": told.duplicates, "rejected": told.refused.len(), "ids": told.ids,
            "errors": told.errors(),
        }))
        .into_response(),
    }
}
