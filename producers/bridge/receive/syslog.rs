//! Syslog on UDP and TCP. Each message is kept as it came, and the event that is made of it points to it.
//!
//! Nobody tells a syslog sender that a message was taken. What the operating system has handed over is held here until it is
//! on disk or in the log; when neither takes it, TCP senders wait, and datagrams beyond the queue are counted as lost.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use bytes::Bytes;
use futures_util::future::join_all;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::mpsc;

use crate::Ended;
use crate::arguments::Syslog;
use crate::bridge::Bridge;
use crate::delivery::now;
use crate::evidence::Evidence;
use crate::ledger::Tally;
use crate::mapping::Origin;
use crate::record::{Input, Press};

/// Messages that wait for the bus. With datagrams of 8 KiB, 64 MiB.
const QUEUE_MESSAGES: usize = 8_192;
/// Messages on their way at once.
const BATCH: usize = 500;
/// Longest message (RFC 5425 asks for 8 KiB at least).
const MESSAGE_BYTES_MAX: usize = 64 << 10;
/// Connections at once.
const CONNECTIONS_MAX: usize = 1_024;
/// A connection that says nothing for this long is closed.
const IDLE_MAX: Duration = Duration::from_secs(600);
/// Pause before what could not be kept is tried again.
const PAUSE: Duration = Duration::from_secs(1);

/// One message and who sent it.
type Heard = (Bytes, SocketAddr);

/// Listens until stopped; with `--once`, until nobody sends any more.
pub async fn run(bridge: &mut Bridge, arguments: &Syslog) -> Result<(), Ended> {
    let press = bridge.press("syslog").map_err(Ended::Usage)?;
    let tally = bridge.tally("syslog");
    let (sender, queue) = mpsc::channel(QUEUE_MESSAGES);
    let cannot = |address: SocketAddr, error: std::io::Error| {
        Ended::Usage(anyhow!("cannot listen on {address}: {error}"))
    };
    if let Some(address) = arguments.udp {
        let socket = UdpSocket::bind(address).await.map_err(|error| cannot(address, error))?;
        let address = socket.local_addr().map_err(anyhow::Error::from)?;
        tracing::info!(%address, "listening_udp");
        tokio::spawn(datagrams(socket, sender.clone(), Arc::clone(&tally)));
    }
    if let Some(address) = arguments.tcp {
        let listener = TcpListener::bind(address).await.map_err(|error| cannot(address, error))?;
        let address = listener.local_addr().map_err(anyhow::Error::from)?;
        tracing::info!(%address, "listening_tcp");
        tokio::spawn(connections(listener, sender));
    }
    deliver(bridge, &press, &tally, queue).await
}

async fn deliver(
    bridge: &mut Bridge,
    press: &Press,
    tally: &Tally,
    mut queue: mpsc::Receiver<Heard>,
) -> Result<(), Ended> {
    // Every message is its own event, whatever others say: the start of this process and a count name it.
    let start = now().as_micros();
    let mut end = bridge.end();
    let mut number: u64 = 0;
    let mut batch = Vec::with_capacity(BATCH);
    loop {
        batch.clear();
        tokio::select! {
            _ = queue.recv_many(&mut batch, BATCH) => {}
            _ = end.wait_for(|end| *end) => {
                // What was handed over before is brought home.
                queue.close();
                if queue.recv_many(&mut batch, BATCH).await == 0 {
                    return Ok(());
                }
            }
        }
        let mut left: Vec<(u64, Heard)> = (number..).zip(batch.drain(..)).collect();
        number += left.len() as u64;
        tally.read(left.len());
        while !left.is_empty() {
            let sent =
                join_all(left.iter().map(|(number, heard)| one(bridge, press, start, *number, heard))).await;
            let mut again = Vec::new();
            for (taken, fate) in left.into_iter().zip(sent) {
                match fate {
                    Some(fate) => tally.ended(fate, 1),
                    None => again.push(taken),
                }
            }
            left = again;
            if !left.is_empty() && bridge.pause(PAUSE).await {
                return Err(anyhow!("stopped while the bus is away: {} messages are lost", left.len()).into());
            }
        }
    }
}

/// Keeps a message and sends its event; none where it has to be tried again.
async fn one(
    bridge: &Bridge,
    press: &Press,
    start: i64,
    number: u64,
    heard: &Heard,
) -> Option<crate::ledger::Fate> {
    let (bytes, peer) = heard;
    let evidence = Evidence {
        source: press.name().to_owned(),
        bytes: bytes.clone(),
        content_type: "text/plain".to_owned(),
    };
    let kept = bridge.delivery.keep_evidence(&evidence).await.ok()?;
    let origin = Origin { peer: Some(peer.ip().to_string()), ..Origin::default() };
    let place = Some(format!("syslog:{start}:{number}"));
    let input = Input { bytes: bytes.clone(), content_type: "text/plain", place, origin };
    let outcomes = bridge.delivery.deliver_patiently(press.make(&input, now()), &kept).await;
    let outcome = outcomes.into_iter().next()?;
    match outcome {
        crate::delivery::Outcome::Failed { .. } => None,
        ended => Some(ended.fate()),
    }
}

async fn datagrams(socket: UdpSocket, queue: mpsc::Sender<Heard>, tally: Arc<Tally>) {
    let mut buffer = vec![0; MESSAGE_BYTES_MAX];
    loop {
        match socket.recv_from(&mut buffer).await {
            Ok((got, peer)) => match queue.try_send((Bytes::copy_from_slice(&buffer[..got]), peer)) {
                Ok(()) => {}
                Err(mpsc::error::TrySendError::Full(_)) => tally.gap(),
                Err(mpsc::error::TrySendError::Closed(_)) => return,
            },
            Err(error) => {
                tracing::warn!(%error, "datagram_failed");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn connections(listener: TcpListener, queue: mpsc::Sender<Heard>) {
    let room = Arc::new(tokio::sync::Semaphore::new(CONNECTIONS_MAX));
    loop {
        // Never closed: an error cannot come.
        let Ok(place) = Arc::clone(&room).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, peer)) => {
                let queue = queue.clone();
                tokio::spawn(async move {
                    if let Err(error) = connection(stream, peer, &queue).await {
                        tracing::debug!(%error, %peer, "connection_ended");
                    }
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "connection_failed");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        if queue.is_closed() {
            return;
        }
    }
}

/// Messages of one connection: `LENGTH MESSAGE` (octet counting) or a line each, told by the first byte of each.
async fn connection(stream: TcpStream, peer: SocketAddr, queue: &mpsc::Sender<Heard>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let broken = |why: &str| std::io::Error::new(std::io::ErrorKind::InvalidData, why.to_owned());
    loop {
        let filled = tokio::time::timeout(IDLE_MAX, reader.fill_buf()).await??;
        let Some(first) = filled.first() else { return Ok(()) };
        let mut message = Vec::new();
        if first.is_ascii_digit() && *first != b'0' {
            let mut digits = Vec::new();
            (&mut reader).take(8).read_until(b' ', &mut digits).await?;
            let length = std::str::from_utf8(&digits).ok().and_then(|text| text.trim().parse::<usize>().ok());
            let length =
                length.filter(|length| *length <= MESSAGE_BYTES_MAX).ok_or_else(|| broken("no length"))?;
            message.resize(length, 0);
            tokio::time::timeout(IDLE_MAX, reader.read_exact(&mut message)).await??;
        } else {
            let mut limited = (&mut reader).take(MESSAGE_BYTES_MAX as u64);
            tokio::time::timeout(IDLE_MAX, limited.read_until(b'\n', &mut message)).await??;
            while message.last().is_some_and(|byte| matches!(byte, b'\n' | b'\r')) {
                message.pop();
            }
        }
        if message.is_empty() {
            continue;
        }
        // A full queue holds the sender up, and its own buffer keeps what it has to say.
        if queue.send((Bytes::from(message), peer)).await.is_err() {
            return Ok(());
        }
    }
}
