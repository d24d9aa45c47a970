//! ShieldAI's five services: `POST /api/v1/alerts/NAME`, one alert or an array of them.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::post;
use bytes::Bytes;
use serde_json::json;
use sightline_schemas::edge::{Reason, Reject};

use super::keys::Keys;
use super::{AWAY, Desk, Told, events_of, input, item};
use crate::bridge::Bridge;

const SERVICES: [&str; 5] = ["darkwatch", "spamshield", "voiceprint", "hometitle", "removebrokers"];

/// The routes.
///
/// # Errors
/// When there is no key to hash personal identifiers with.
pub fn routes(bridge: &Bridge, keys: Keys) -> anyhow::Result<Router> {
    let desk = Desk::new(bridge, keys, "shieldai", &SERVICES)?;
    Ok(Router::new().route("/api/v1/alerts/{service}", post(alerts)).with_state(Arc::new(desk)))
}

async fn alerts(
    State(desk): State<Arc<Desk>>,
    Path(service): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if !desk.keys.admit(&headers) {
        return error(StatusCode::UNAUTHORIZED, "the key is missing or wrong");
    }
    let Some(press) = desk.press(&service) else {
        return error(StatusCode::NOT_FOUND, &format!("no such service: use {}", SERVICES.join(", ")));
    };
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
    let status = if told.ids.is_empty() { StatusCode::BAD_REQUEST } else { StatusCode::ACCEPTED };
    let answer = json!({ "accepted": told.ids.len(), "duplicates": told.duplicates, "ids": told.ids, "errors": errors });
    (status, Json(answer)).into_response()
}

fn error(status: StatusCode, why: &str) -> Response {
    (status, Json(json!({ "error": why }))).into_response()
}
