//! `/healthz` and `/metrics` of a bridge, on loopback.

use std::net::SocketAddr;

use axum::Json;
use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::delivery::Delivery;
use crate::ledger::Ledger;

/// Serves until told to stop.
///
/// # Errors
/// When the address can be reached from other machines, or cannot be listened on.
pub async fn serve(
    listen: SocketAddr,
    ledger: Ledger,
    delivery: Delivery,
    mut stop: watch::Receiver<bool>,
) -> Result<SocketAddr, String> {
    if !listen.ip().is_loopback() {
        return Err(format!(
            "--listen {listen} can be reached from other machines: health and metrics are for this one"
        ));
    }
    let listener =
        TcpListener::bind(listen).await.map_err(|error| format!("cannot listen on {listen}: {error}"))?;
    let address = listener.local_addr().map_err(|error| error.to_string())?;
    let (counts, behind) = (ledger.clone(), delivery.clone());
    let router =
        Router::new().route("/healthz", get(move || async move { health(&ledger, &delivery) })).route(
            "/metrics",
            get(move || async move {
                let mut text = counts.render();
                text.extend(behind.metrics().map(|metrics| metrics.to_prometheus()));
                ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response()
            }),
        );
    tokio::spawn(async move {
        let stopped = async move {
            // An error means that the program ends.
            let _ = stop.wait_for(|stop| *stop).await;
        };
        if let Err(error) = axum::serve(listener, router).with_graceful_shutdown(stopped).await {
            tracing::error!(%error, "endpoint_failed");
        }
    });
    Ok(address)
}

/// Well, or what is not: the bus, and each source that gives nothing now.
fn health(ledger: &Ledger, delivery: &Delivery) -> Response {
    let failing = ledger.failing();
    let (bus, well) = (delivery.is_well(), failing.is_empty() && delivery.is_well());
    let code = if well { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let spool = delivery.metrics().and_then(|metrics| metrics.spool);
    let body = json!({
        "status": if well { "ok" } else { "failing" }, "bus": if bus { "ok" } else { "away" }, "failing": failing,
        "waiting_on_disk": spool.map_or(0, |spool| spool.waiting_events),
    });
    (code, Json(body)).into_response()
}
