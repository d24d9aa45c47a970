//! Connections of senders: never more than a bound, each with a time for its TLS, for the head of a request, and for its
//! whole life. Whoever is slow holds up nobody but himself.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio_rustls::TlsAcceptor;

/// How long a connection lives: whoever holds one without asking gives way in the end. Senders come anew.
const CONNECTION_LIFE: Duration = Duration::from_secs(600);
/// Pause after the system refused a connection, as where there are no more file handles.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);
/// Longest head of a request.
const HEAD_BYTES_MAX: usize = 16 << 10;

/// What a sender may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Most connections at once; further ones wait to be taken.
    pub connections_max: u32,
    /// How long a sender may take for TLS, and for the head of a request; a connection that asks nothing for so long is
    /// closed.
    pub head_wait: Duration,
    /// How long a request that is being answered may take when the bridge stops.
    pub end_wait: Duration,
}

/// Serves until told to stop, and then until the requests that are there are answered.
pub async fn serve(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    routes: Router,
    limits: Limits,
    mut stop: watch::Receiver<bool>,
) {
    let room = Arc::new(Semaphore::new(limits.connections_max as usize));
    loop {
        let next = async {
            // Nobody closes it: an error cannot come.
            let place = Arc::clone(&room).acquire_owned().await.ok()?;
            Some((listener.accept().await, place))
        };
        let next = tokio::select! {
            next = next => next,
            // An error means that the program ends.
            _ = stop.wait_for(|stop| *stop) => None,
        };
        match next {
            None => break,
            Some((Ok((stream, from)), place)) => {
                let (tls, routes, stop) = (tls.clone(), routes.clone(), stop.clone());
                tokio::spawn(async move {
                    connection(stream, from, tls, routes, limits, stop).await;
                    drop(place);
                });
            }
            Some((Err(error), _)) => {
                tracing::warn!(%error, "connection_failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    // Each connection that is left holds a place.
    let _ = tokio::time::timeout(limits.end_wait, room.acquire_many(limits.connections_max)).await;
}

async fn connection(
    stream: TcpStream,
    from: SocketAddr,
    tls: Option<TlsAcceptor>,
    routes: Router,
    limits: Limits,
    stop: watch::Receiver<bool>,
) {
    let Some(tls) = tls else { return answer(stream, from, routes, limits, stop).await };
    match tokio::time::timeout(limits.head_wait, tls.accept(stream)).await {
        Ok(Ok(stream)) => answer(stream, from, routes, limits, stop).await,
        // Not louder: whoever reaches the port could fill the log.
        Ok(Err(error)) => tracing::debug!(%from, %error, "connection not admitted"),
        Err(_) => tracing::debug!(%from, "connection not admitted: it says nothing"),
    }
}

async fn answer(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    from: SocketAddr,
    routes: Router,
    limits: Limits,
    mut stop: watch::Receiver<bool>,
) {
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_wait)
        .max_header_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(routes));
    let mut served = std::pin::pin!(served);
    tokio::select! {
        ended = served.as_mut() => {
            if let Err(error) = ended {
                tracing::debug!(%from, %error, "connection_ended");
            }
            return;
        }
        () = tokio::time::sleep(CONNECTION_LIFE) => {}
        _ = stop.wait_for(|stop| *stop) => {}
    }
    // A request that is being answered is answered; then there is no other.
    served.as_mut().graceful_shutdown();
    let _ = tokio::time::timeout(limits.end_wait, served).await;
}
