//! Connections that have shown who they are. Whoever is slow to do so holds up nobody else, and there are never more of them
//! than a bound.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::Sleep;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::server::TlsStream;

/// Most connections at a time, those included that have not shown yet who they are. A scraper needs one.
const CONNECTIONS_MAX: usize = 64;
/// How long a client may take to show who it is.
const HANDSHAKE_MAX: Duration = Duration::from_secs(5);
/// How long a connection lives: whoever holds one without asking gives way to others in the end. Scrapers come anew.
const CONNECTION_LIFE: Duration = Duration::from_secs(300);
/// Pause after the system refused a connection, as where there are no more file handles.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// The listener, as the HTTP server takes it. Dropped, it listens no more.
pub(super) struct TlsListener {
    bound: SocketAddr,
    ready: mpsc::Receiver<(Connection, SocketAddr)>,
}

impl TlsListener {
    /// Listens with `tcp`, in a task of its own.
    pub(super) fn start(tcp: TcpListener, bound: SocketAddr, config: Arc<ServerConfig>) -> Self {
        let (admitted, ready) = mpsc::channel(1);
        tokio::spawn(accept(tcp, TlsAcceptor::from(config), admitted));
        TlsListener { bound, ready }
    }
}

impl axum::serve::Listener for TlsListener {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        match self.ready.recv().await {
            Some(connection) => connection,
            // The task ends only after this listener.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.bound)
    }
}

async fn accept(tcp: TcpListener, tls: TlsAcceptor, admitted: mpsc::Sender<(Connection, SocketAddr)>) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let next = async {
            let place = Arc::clone(&room).acquire_owned().await.expect("nobody closes it");
            (tcp.accept().await, place)
        };
        let (accepted, place) = tokio::select! {
            next = next => next,
            () = admitted.closed() => return,
        };
        match accepted {
            Ok((stream, from)) => {
                tokio::spawn(shake_hands(tls.clone(), stream, from, place, admitted.clone()));
            }
            Err(error) => {
                tracing::warn!(%error, "api connection refused by the system");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn shake_hands(
    tls: TlsAcceptor,
    stream: TcpStream,
    from: SocketAddr,
    place: OwnedSemaphorePermit,
    admitted: mpsc::Sender<(Connection, SocketAddr)>,
) {
    match tokio::time::timeout(HANDSHAKE_MAX, tls.accept(stream)).await {
        Ok(Ok(stream)) => {
            let ends = Box::pin(tokio::time::sleep(CONNECTION_LIFE));
            // An error means that nobody listens any more.
            let _ = admitted.send((Connection { stream, ends, _place: place }, from)).await;
        }
        // Not louder: whoever reaches the port could fill the log.
        Ok(Err(error)) => tracing::debug!(%from, %error, "api connection not admitted"),
        Err(_) => tracing::debug!(%from, "api connection not admitted: it says nothing"),
    }
}

/// A connection, and the place that it takes.
pub(super) struct Connection {
    stream: TlsStream<TcpStream>,
    ends: Pin<Box<Sleep>>,
    _place: OwnedSemaphorePermit,
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.ends.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
