//! StreamTrace's sources: `POST /v1/ingest/events` and `POST /v1/ingest/raw`. What is posted is kept as it came, before
//! anything is made of it, and every event points to it.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::post;
use bytes::Bytes;
use serde_json::json;
use sightline_producers::PublishError;
use sightline_schemas::edge::{Reason, Reject};

use super::{AWAY, AWAY_WHY, Desk, Told, events_of, header as text_header, input, item};
use crate::bridge::Bridge;
use crate::delivery::now;
use crate::evidence::{Evidence, Kept};
use crate::record::{Item, Press};

/// Most events of one request, as StreamTrace has it.
const EVENTS_MAX: usize = 1_000;

/// The routes.
///
/// # Errors
/// When a mapping is not there.
pub fn routes(bridge: &Bridge) -> anyhow::Result<Router> {
    let desk = Desk::new(bridge, "streamtrace", &["streamtrace", "csv", "syslog", "native"])?
        .requiring("streamtrace", &["kind", "occurred_at"]);
    Ok(Router::new()
        .route("/v1/ingest/events", post(events))
        .route("/v1/ingest/raw", post(raw))
        .with_state(Arc::new(desk)))
}

/// What a request says of itself.
struct Post {
    source: String,
    parser: Option<String>,
    content_type: String,
    body: Bytes,
}

impl Post {
    fn read(headers: &HeaderMap, body: Bytes) -> Result<Self, String> {
        // Checked, and kept with the evidence's source only: the type and the name say nothing that a rule could use.
        text_header(headers, "x-source-type")?;
        text_header(headers, "x-source-name")?;
        let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        Ok(Post {
            source: text_header(headers, "x-source-id")?.unwrap_or_else(|| "api".to_owned()),
            parser: text_header(headers, "x-parser-id")?,
            content_type: content_type.unwrap_or("application/octet-stream").to_owned(),
            body,
        })
    }
}

async fn events(State(desk): State<Arc<Desk>>, headers: HeaderMap, body: Bytes) -> Response {
    let (post, kept) = match begin(&desk, &headers, body).await {
        Ok(begun) => begun,
        Err(answer) => return answer,
    };
    let Some(press) = desk.press("streamtrace") else { return StatusCode::NOT_FOUND.into_response() };
    let items = match events_of(&post.body) {
        Ok(events) if events.len() > EVENTS_MAX => {
            let why = format!("{} events: at most {EVENTS_MAX} are taken at once", events.len());
            return error(StatusCode::BAD_REQUEST, "VALIDATION_FAILED", &why);
        }
        Ok(events) => events.into_iter().map(|event| item(press, event, Some(post.source.clone()))).collect(),
        Err(why) => return unreadable(&desk, press, &post, why).await,
    };
    answer(&desk, items, &kept).await
}

async fn raw(State(desk): State<Arc<Desk>>, headers: HeaderMap, body: Bytes) -> Response {
    let (post, kept) = match begin(&desk, &headers, body).await {
        Ok(begun) => begun,
        Err(answer) => return answer,
    };
    let first = post.body.iter().find(|byte| !byte.is_ascii_whitespace());
    let parser = post.parser.as_deref().unwrap_or(match first {
        Some(b'{' | b'[') => "json_generic",
        Some(b'<') => "syslog",
        _ => "csv_generic",
    });
    let name = match parser {
        "json_generic" => "native",
        "csv_generic" => "csv",
        "syslog" => "syslog",
        other => {
            let why = format!("no parser {other:?}: use json_generic, csv_generic or syslog");
            return error(StatusCode::BAD_REQUEST, "VALIDATION_FAILED", &why);
        }
    };
    let Some(press) = desk.press(name) else { return StatusCode::NOT_FOUND.into_response() };
    let source = Some(post.source.clone());
    let items = match name {
        "native" => match events_of(&post.body) {
            Ok(events) => {
                let press = desk.press("streamtrace").unwrap_or(press).clone().requiring(&[]);
                events.into_iter().map(|event| item(&press, event, source.clone())).collect()
            }
            Err(why) => return unreadable(&desk, press, &post, why).await,
        },
        // Two lines that say the same are two events: their place in the evidence names them.
        "syslog" => {
            let lines = post.body.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty());
            let of_line = |(at, line): (usize, &[u8])| {
                let place = Some(format!("raw:{}#{at}", &kept.blake3[..32]));
                press.make(&input(post.body.slice_ref(line), source.clone(), place), now())
            };
            lines.enumerate().flat_map(of_line).collect()
        }
        _ => {
            let place = Some(format!("raw:{}", &kept.blake3[..32]));
            press.make(&input(post.body.clone(), source, place), now())
        }
    };
    answer(&desk, items, &kept).await
}

/// What is posted, and where it is kept.
async fn begin(desk: &Desk, headers: &HeaderMap, body: Bytes) -> Result<(Post, Kept), Response> {
    let post =
        Post::read(headers, body).map_err(|why| error(StatusCode::BAD_REQUEST, "VALIDATION_FAILED", &why))?;
    if post.body.trim_ascii().is_empty() {
        return Err(error(StatusCode::BAD_REQUEST, "VALIDATION_FAILED", "the body is empty"));
    }
    let evidence = Evidence {
        source: post.source.clone(),
        bytes: post.body.clone(),
        content_type: post.content_type.clone(),
    };
    match desk.keep_evidence(&evidence).await {
        Ok(kept) => Ok((post, kept)),
        Err(PublishError::Refused { why, .. }) => {
            Err(error(StatusCode::PAYLOAD_TOO_LARGE, "VALIDATION_FAILED", &why))
        }
        Err(away) => {
            tracing::error!(error = %away, "evidence not kept");
            Err(error(AWAY, "INTERNAL_ERROR", "the evidence cannot be kept now: send it again"))
        }
    }
}

async fn answer(desk: &Desk, items: Vec<Item>, kept: &Kept) -> Response {
    let told = Told::of(&desk.take(items, Some(kept)).await);
    if told.away {
        return error(AWAY, "INTERNAL_ERROR", AWAY_WHY);
    }
    let rejected = told.errors();
    if told.ids.is_empty() && !rejected.is_empty() {
        let why = told.refused.iter().map(|(at, why)| format!("[{at}] {why}")).collect::<Vec<_>>().join("; ");
        return error(StatusCode::BAD_REQUEST, "VALIDATION_FAILED", &why);
    }
    let answer = json!({
        "accepted": told.ids.len(), "duplicates": told.duplicates, "event_ids": told.ids, "raw_event_id": kept.blake3,
        "rejected": rejected,
    });
    (StatusCode::ACCEPTED, Json(answer)).into_response()
}

async fn unreadable(desk: &Desk, press: &Press, post: &Post, why: String) -> Response {
    let reject = Reject::new(Reason::Undecodable, why.clone());
    let item = press.reject(&input(post.body.clone(), Some(post.source.clone()), None), None, reject);
    let told = Told::of(&desk.take(vec![item], None).await);
    if told.away {
        return error(AWAY, "INTERNAL_ERROR", AWAY_WHY);
    }
    error(StatusCode::BAD_REQUEST, "PARSE_ERROR", &why)
}

/// How a request is refused before it is read.
pub fn refuse(status: StatusCode, why: &str) -> Response {
    let code = if status == StatusCode::UNAUTHORIZED { "AUTHENTICATION_FAILED" } else { "VALIDATION_FAILED" };
    error(status, code, why)
}

fn error(status: StatusCode, code: &str, why: &str) -> Response {
    (status, Json(json!({ "error": { "code": code, "message": why } }))).into_response()
}
