//! ShieldAI's five services: `POST /api/v1/alerts/NAME`, one alert or an array of them.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Json, Response};
use axum::routing::post;
use bytes::Bytes;
use serde_json::json;

use super::{AWAY, AWAY_WHY, Desk, refuse};
use crate::bridge::Bridge;

const SERVICES: [&str; 5] = ["darkwatch", "spamshield", "voiceprint", "hometitle", "removebrokers"];

/// The routes.
///
/// # Errors
/// When there is no key to hash personal identifiers with.
pub fn routes(bridge: &Bridge) -> anyhow::Result<Router> {
    let desk = Desk::new(bridge, "shieldai", &SERVICES)?;
    Ok(Router::new().route("/api/v1/alerts/{service}", post(alerts)).with_state(Arc::new(desk)))
}

async fn alerts(State(desk): State<Arc<Desk>>, Path(service): Path<String>, body: Bytes) -> Response {
    let Some(press) = desk.press(&service) else {
        return refuse(StatusCode::NOT_FOUND, &format!("no such service: use {}", SERVICES.join(", ")));
    };
    let told = desk.take_body(press, body).await;
    if told.away {
        return refuse(AWAY, AWAY_WHY);
    }
    let status = if told.ids.is_empty() { StatusCode::BAD_REQUEST } else { StatusCode::ACCEPTED };
    let answer = json!({
        "accepted": told.ids.len(), "duplicates": told.duplicates, "ids": told.ids, "errors": told.errors(),
    });
    (status, Json(answer)).into_response()
}
