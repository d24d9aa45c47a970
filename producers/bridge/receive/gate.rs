//! What every request passes before anything is made of it: who sends it, and its body, which must come whole and in time.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;

use super::keys::Keys;

/// Most bytes of a request's body.
const BODY_BYTES_MAX: usize = 16 << 20;

/// Who may post, and how slowly.
pub struct Gate {
    /// Who may post.
    pub keys: Keys,
    /// How long a sender may take for a body.
    pub body_wait: Duration,
    /// How the senders of this system are told that they may not.
    pub refuse: fn(StatusCode, &str) -> Response,
}

/// Lets a request through when its key is right and its body is there.
pub async fn pass(State(gate): State<Arc<Gate>>, request: Request, next: Next) -> Response {
    // Before the body: who may not post has no claim on memory.
    if !gate.keys.admit(request.headers()) {
        return last((gate.refuse)(StatusCode::UNAUTHORIZED, "the key is missing or wrong"));
    }
    let too_large = || {
        let why = format!("the body is too large: at most {BODY_BYTES_MAX} bytes are taken at once");
        last((gate.refuse)(StatusCode::PAYLOAD_TOO_LARGE, &why))
    };
    let announced = request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    if announced.and_then(|text| text.parse::<usize>().ok()).is_some_and(|bytes| bytes > BODY_BYTES_MAX) {
        return too_large();
    }
    let (parts, body) = request.into_parts();
    match tokio::time::timeout(gate.body_wait, to_bytes(body, BODY_BYTES_MAX)).await {
        Ok(Ok(bytes)) => next.run(Request::from_parts(parts, Body::from(bytes))).await,
        Ok(Err(error)) if is_length_limit(&error) => too_large(),
        Ok(Err(error)) => {
            let why = format!("the body ends before its end: {error}");
            last((gate.refuse)(StatusCode::BAD_REQUEST, &why))
        }
        Err(_) => {
            let why = format!("the body did not come within {} s", gate.body_wait.as_secs());
            last((gate.refuse)(StatusCode::REQUEST_TIMEOUT, &why))
        }
    }
}

/// The last answer on its connection: what is left of the request is not read.
fn last(mut answer: Response) -> Response {
    answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    answer
}

/// Whether a body was longer than its limit. Its type is another package's; its words are what there is.
fn is_length_limit(error: &axum::Error) -> bool {
    error.to_string().contains("length limit exceeded")
}
