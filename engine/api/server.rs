//! The HTTP server.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use axum::extract::{RawQuery, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::serve::Listener;
use axum::{Json, Router};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::access::{Access, Token};
use super::tls_listener::TlsListener;
use crate::telemetry::metrics::{CONTENT_TYPE, Metrics};
use crate::telemetry::{Inspect, NotReady, Question, Readiness};

/// Why the server could not begin.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The address can be reached from other machines.
    #[error(
        "api.listen {0} can be reached from other machines, and not everybody there may look: set api.tls_cert and \
         api.tls_key, and one of api.token_file, api.token and api.tls_client_ca; or listen on 127.0.0.1 or [::1]"
    )]
    Unprotected(SocketAddr),
    /// A file of the settings cannot be used.
    #[error("{setting}: cannot use {path}: {why}", path = path.display())]
    File {
        /// The setting that names it.
        setting: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not; nothing of what it holds.
        why: String,
    },
    /// The token is none.
    #[error(
        "{setting}: expected at least {bytes_min} visible ASCII characters, such as `openssl rand -hex 32` makes"
    )]
    Token {
        /// The setting that gives it.
        setting: &'static str,
        /// How long it must be.
        bytes_min: usize,
    },
    /// The address cannot be had.
    #[error("cannot listen on {listen} (api.listen): {source}")]
    Bind {
        /// The address.
        listen: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
}

/// How a token is announced in a header.
const BEARER: &[u8] = b"Bearer ";

#[derive(Clone)]
struct Shared {
    metrics: Metrics,
    readiness: Readiness,
    inspect: Arc<dyn Inspect>,
}

/// Begins to serve, in a task of its own, until `shutdown` says `true` or its sender is gone. Gives the address that it
/// listens on: port 0 becomes a free one.
///
/// # Errors
/// When the address cannot be had.
pub async fn serve(
    access: &Access,
    metrics: Metrics,
    readiness: Readiness,
    inspect: Arc<dyn Inspect>,
    shutdown: watch::Receiver<bool>,
) -> Result<SocketAddr, ApiError> {
    let listen = access.listen();
    let failed = |source| ApiError::Bind { listen, source };
    let listener = TcpListener::bind(listen).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    let routes = routes(Shared { metrics, readiness, inspect }, access.token());
    match access.tls() {
        Some(tls) => tokio::spawn(answer(TlsListener::start(listener, bound, tls), bound, routes, shutdown)),
        None => tokio::spawn(answer(listener, bound, routes, shutdown)),
    };
    tracing::info!(listen = %bound, tls = access.tls().is_some(), token = access.token().is_some(), "api listening");
    Ok(bound)
}

async fn answer<L: Listener<Addr = SocketAddr>>(
    listener: L,
    bound: SocketAddr,
    routes: Router,
    mut shutdown: watch::Receiver<bool>,
) {
    let stop = async move {
        // An error means that the sender is gone: the engine is too.
        let _ = shutdown.wait_for(|stop| *stop).await;
    };
    // Requests that are being answered are answered; connections that wait for one more are closed.
    match axum::serve(listener, routes).with_graceful_shutdown(stop).await {
        Ok(()) => tracing::debug!(listen = %bound, "api stopped"),
        Err(error) => tracing::error!(listen = %bound, %error, "api failed"),
    }
}

fn routes(shared: Shared, token: Option<Token>) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/state", get(state))
        .route("/why-not", get(why_not))
        .route("/incident", get(incident))
        .route_layer(middleware::from_fn_with_state(token, admit))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .fallback(|| async {
            (StatusCode::NOT_FOUND, "try /healthz, /readyz, /metrics, /state, /why-not or /incident\n")
        })
        .with_state(shared)
}

/// Lets through who knows the token, or everybody where there is none.
async fn admit(State(token): State<Option<Token>>, request: Request, next: Next) -> Response {
    let given = request.headers().get(header::AUTHORIZATION).map(header::HeaderValue::as_bytes);
    let given = given.and_then(|value| value.split_at_checked(BEARER.len()));
    let known = token.is_none_or(|token| {
        given.is_some_and(|(scheme, text)| scheme.eq_ignore_ascii_case(BEARER) && token.is(text))
    });
    if known {
        return next.run(request).await;
    }
    let how = [(header::WWW_AUTHENTICATE, "Bearer")];
    (StatusCode::UNAUTHORIZED, how, "send the token of api.token: `Authorization: Bearer …`\n")
        .into_response()
}

async fn ready(State(shared): State<Shared>) -> Response {
    let reasons: Vec<&str> = shared.readiness.reasons().into_iter().map(NotReady::as_str).collect();
    let status = if reasons.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(json!({ "ready": reasons.is_empty(), "reasons": reasons }))).into_response()
}

async fn metrics(State(shared): State<Shared>) -> Response {
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], shared.metrics.render()).into_response()
}

async fn state(State(shared): State<Shared>) -> Response {
    // The state may stand behind a lock of the worker: nobody else's answer should wait for it.
    match tokio::task::spawn_blocking(move || shared.inspect.state()).await {
        Ok(state) => Json(state).into_response(),
        Err(error) => {
            tracing::error!(%error, "inspection failed");
            (StatusCode::INTERNAL_SERVER_ERROR, "inspection failed; the log says why\n").into_response()
        }
    }
}

async fn why_not(State(shared): State<Shared>, RawQuery(query): RawQuery) -> Response {
    let mut question = Question { tenant: "default".to_owned(), ..Question::default() };
    for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
        match &*name {
            "rule" => question.rule = value.into_owned(),
            "tenant" => question.tenant = value.into_owned(),
            "key" => question.key.push(value.into_owned()),
            other => {
                return refused(StatusCode::BAD_REQUEST, &format!("{other}: ask with rule, tenant and key"));
            }
        }
    }
    match tokio::task::spawn_blocking(move || shared.inspect.why_not(&question)).await {
        Ok(Ok(answer)) => Json(answer).into_response(),
        Ok(Err(why)) => refused(StatusCode::BAD_REQUEST, &why),
        Err(error) => failed(&error),
    }
}

async fn incident(State(shared): State<Shared>, RawQuery(query): RawQuery) -> Response {
    let query = query.unwrap_or_default();
    let id = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "id");
    let Some((_, id)) = id else { return refused(StatusCode::BAD_REQUEST, "say which: ?id=ID") };
    let id = id.into_owned();
    let told = format!("no incident {id} is remembered");
    match tokio::task::spawn_blocking(move || shared.inspect.incident(&id)).await {
        Ok(Some(incident)) => Json(incident).into_response(),
        Ok(None) => refused(StatusCode::NOT_FOUND, &told),
        Err(error) => failed(&error),
    }
}

fn refused(status: StatusCode, why: &str) -> Response {
    (status, Json(json!({ "error": why }))).into_response()
}

fn failed(error: &tokio::task::JoinError) -> Response {
    tracing::error!(%error, "inspection failed");
    refused(StatusCode::INTERNAL_SERVER_ERROR, "inspection failed; the log says why")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;

    struct Keys(u64);

    impl Inspect for Keys {
        fn state(&self) -> serde_json::Value {
            assert!(self.0 > 0, "a worker that cannot tell");
            json!({ "keys": self.0 })
        }

        fn why_not(&self, question: &Question) -> Result<serde_json::Value, String> {
            match question.rule.as_str() {
                "" => Err("which rule?".to_owned()),
                rule => Ok(json!({ "rule": rule, "key": question.key, "tenant": question.tenant })),
            }
        }

        fn incident(&self, id: &str) -> Option<serde_json::Value> {
            (id == "ab").then(|| json!({ "incident": id }))
        }
    }

    struct Running {
        address: SocketAddr,
        metrics: Metrics,
        readiness: Readiness,
        stop: watch::Sender<bool>,
    }

    async fn start(keys: u64) -> Running {
        let (metrics, readiness) = (Metrics::new(), Readiness::new());
        let (stop, stopped) = watch::channel(false);
        let any = Access::on_loopback(SocketAddr::from(([127, 0, 0, 1], 0))).expect("loopback");
        let address = serve(&any, metrics.clone(), readiness.clone(), Arc::new(Keys(keys)), stopped)
            .await
            .expect("a free port");
        Running { address, metrics, readiness, stop }
    }

    /// Status line and body.
    async fn ask(address: SocketAddr, path: &str) -> (String, String) {
        let mut stream = TcpStream::connect(address).await.expect("it listens");
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("answered");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
        (head.to_owned(), body.to_owned())
    }

    async fn check(address: SocketAddr, path: &str, status: &str, body_has: &str) {
        let (head, body) = ask(address, path).await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{path}: {head}");
        assert!(body.contains(body_has), "{path}: {body}");
    }

    #[tokio::test]
    async fn every_path_answers() {
        let running = start(3).await;
        running.metrics.reconnected();
        check(running.address, "/healthz", "200", "ok").await;
        check(running.address, "/metrics", "200", "sightline_reconnects_total 1").await;
        check(running.address, "/state", "200", "{\"keys\":3}").await;
        check(running.address, "/", "404", "/readyz").await;
        let told = "{\"key\":[\"a b\",\"x=y\"],\"rule\":\"r\",\"tenant\":\"default\"}";
        check(running.address, "/why-not?rule=r&key=a+b&key=x%3Dy", "200", told).await;
        check(running.address, "/why-not", "400", "{\"error\":\"which rule?\"}").await;
        check(running.address, "/why-not?rul=r", "400", "ask with rule, tenant and key").await;
        check(running.address, "/incident?id=ab", "200", "{\"incident\":\"ab\"}").await;
        check(running.address, "/incident?id=cd", "404", "no incident cd is remembered").await;
        let (head, _) = ask(running.address, "/metrics").await;
        assert!(head.contains("text/plain; version=0.0.4"), "{head}");
    }

    #[tokio::test]
    async fn readiness_names_its_reasons() {
        let running = start(1).await;
        running.readiness.set(NotReady::CheckpointFailing);
        let reasons = "{\"ready\":false,\"reasons\":[\"recovering\",\"checkpoint_failing\"]}";
        check(running.address, "/readyz", "503", reasons).await;
        running.readiness.clear(NotReady::Recovering);
        running.readiness.clear(NotReady::CheckpointFailing);
        check(running.address, "/readyz", "200", "{\"ready\":true,\"reasons\":[]}").await;
    }

    #[tokio::test]
    async fn a_failed_inspection_stops_nothing_else() {
        let running = start(0).await;
        check(running.address, "/state", "500", "inspection failed").await;
        check(running.address, "/healthz", "200", "ok").await;
    }

    #[tokio::test]
    async fn it_stops_when_told_even_with_an_idle_connection() {
        let running = start(1).await;
        let mut idle = TcpStream::connect(running.address).await.expect("it listens");
        idle.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").await.expect("sent");
        let mut answer = [0; 512];
        assert!(idle.read(&mut answer).await.expect("answered") > 0);
        running.stop.send(true).expect("it listens for the signal");
        let closed = async {
            while idle.read(&mut answer).await.is_ok_and(|bytes| bytes > 0) {}
            while TcpStream::connect(running.address).await.is_ok() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(5), closed).await.expect("closed");
    }

    #[tokio::test]
    async fn what_cannot_be_listened_on_is_a_clear_error() {
        for (listen, expected) in [
            ("0.0.0.0:0", "set api.tls_cert and api.tls_key, and one of api.token_file, api.token"),
            ("192.0.2.1:9464", "api.listen 192.0.2.1:9464 can be reached from other machines"),
            ("[::]:0", "or listen on 127.0.0.1"),
        ] {
            let listen = listen.parse().expect("an address");
            let told = Access::on_loopback(listen).expect_err("refused").to_string();
            assert!(told.contains(expected), "{told}");
        }
        let running = start(1).await;
        let taken = Access::on_loopback(running.address).expect("loopback");
        let (_stop, stopped) = watch::channel(false);
        let told = serve(&taken, Metrics::new(), Readiness::new(), Arc::new(Keys(1)), stopped).await;
        let told = told.expect_err("taken").to_string();
        assert!(told.contains("cannot listen on 127.0.0.1:"), "{told}");
    }
}
