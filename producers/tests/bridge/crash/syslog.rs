//! Syslog over UDP and TCP, whose senders are told nothing: what was kept before a bridge died is there once; of what was
//! on its way to it then, some may be lost, and nothing comes twice.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::net::{Ipv4Addr, TcpStream, UdpSocket};
use std::time::Duration;

use serde_json::Value;
use sightline_producers::crash_point::{CrashPoint, ENV};

use super::chance::Chance;
use super::ends::adds_up;
use super::kills;
use crate::stage::{Running, command, events, free_port, get, server_with_streams, stored, wait};

/// Messages that are waited for, and messages in whose midst it dies: half of them datagrams.
const SURE: u32 = 40;
const PERHAPS: u32 = 200;
const POINTS: [CrashPoint; 6] = [
    CrashPoint::AfterEvidence,
    CrashPoint::AfterHandOver,
    CrashPoint::HalfRecord,
    CrashPoint::AfterRecord,
    CrashPoint::AfterSend,
    CrashPoint::AfterAcknowledgement,
];

struct Senders {
    udp: u16,
    tcp: u16,
    socket: UdpSocket,
}

impl Senders {
    /// Sends numbered messages, as far as somebody listens.
    fn send(&self, numbers: std::ops::Range<u32>) {
        let line = |number: u32| format!("<34>1 2026-04-09T12:00:00Z web01 app 1 - - number {number}");
        let Ok(mut stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, self.tcp)) else { return };
        for number in numbers {
            if number % 2 == 0 {
                // Nobody may be listening any more, and a datagram does not say so.
                let _ = self.socket.send_to(line(number).as_bytes(), (Ipv4Addr::LOCALHOST, self.udp));
            } else if writeln!(stream, "{}", line(number)).is_err() {
                return;
            }
        }
    }
}

fn numbers(events: &[Value]) -> BTreeMap<u32, u32> {
    let mut numbers = BTreeMap::new();
    for event in events {
        let title = event["title"].as_str().expect("a title");
        let number = title.strip_prefix("number ").expect("a number").parse().expect("a number");
        *numbers.entry(number).or_default() += 1;
    }
    numbers
}

#[tokio::test(flavor = "multi_thread")]
async fn syslog_that_was_kept_before_a_bridge_died_is_there_once_and_the_rest_not_twice() {
    let mut server = server_with_streams().await;
    let place = tempfile::tempdir().expect("a temporary directory");
    let mut chance = Chance::of("syslog");
    let [udp, tcp, listen] = [free_port(), free_port(), free_port()];
    let at = |port: u16| format!("127.0.0.1:{port}");
    let (udp_at, tcp_at, listen_at) = (at(udp), at(tcp), at(listen));
    let arguments = ["--udp", &udp_at, "--tcp", &tcp_at, "--listen", &listen_at];
    let url = server.url();
    let start = |point: Option<CrashPoint>, pass: u64| {
        let mut command = command(&url, &place.path().join("state"), "syslog", &arguments);
        if let Some(point) = point {
            command.env(ENV, format!("{}:{pass}", point.name()));
        }
        let running = Running::start(&mut command);
        running.wait_for("listening_tcp");
        running
    };
    let senders = Senders { udp, tcp, socket: UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("bound") };
    let (mut next, mut sure) = (0, BTreeSet::new());
    for life in 0..kills() {
        let bus_is_there = life % 4 != 2;
        if life % 4 == 1 {
            server.restart();
        }
        if !bus_is_there {
            server.kill();
        }
        // Not before those that are waited for; where the bus is away, nothing is sent.
        let points = if bus_is_there { &POINTS[..] } else { &POINTS[..4] };
        let point = (life % 2 == 0).then(|| *chance.one_of(points));
        let mut running = start(point, u64::from(SURE) * 2 + 1 + chance.below(u64::from(PERHAPS) / 4));
        senders.send(next..next + SURE);
        wait("all of them kept", || {
            let (_, metrics) = get(listen, "/metrics").ok_or_else(|| running.said())?;
            let kept = format!("sightline_bridge_sent_total{{source=\"syslog\"}} {SURE}\n");
            if metrics.contains(&kept) { Ok(()) } else { Err(metrics) }
        });
        sure.extend(next..next + SURE);
        next += SURE;
        senders.send(next..next + PERHAPS);
        next += PERHAPS;
        if point.is_none() {
            std::thread::sleep(chance.moment(60));
        } else {
            std::thread::sleep(Duration::from_millis(300));
        }
        running.kill();
        if !bus_is_there {
            server.restart();
        }
    }
    let running = start(None, 1);
    senders.send(next..next + SURE);
    sure.extend(next..next + SURE);
    let there = wait_for_all(&server, &sure).await;
    let (code, said) = running.stop();
    assert_eq!(code, Some(0), "{said}");
    assert!(adds_up(&said), "{said}");
    let twice: Vec<_> = numbers(&there).into_iter().filter(|(_, times)| *times > 1).collect();
    assert!(twice.is_empty(), "twice: {twice:?}");
    let kept: BTreeSet<String> = stored(&server, "EVIDENCE")
        .await
        .iter()
        .map(|message| blake3::hash(&message.payload).to_hex().to_string())
        .collect();
    let missing = there
        .iter()
        .filter(|event| !kept.contains(event["refs"]["raw"]["blake3"].as_str().unwrap_or_default()));
    assert_eq!(missing.count(), 0, "events without their evidence");
    println!(
        "syslog: {} of {} messages, {} of them sure, in {} lives",
        there.len(),
        next + SURE,
        sure.len(),
        kills() + 1
    );
}

/// The events of the log, as soon as all those are there that were kept.
async fn wait_for_all(server: &crate::server::Server, sure: &BTreeSet<u32>) -> Vec<Value> {
    let until = std::time::Instant::now() + crate::stage::LONG;
    loop {
        let there = events(server).await;
        let numbers = numbers(&there);
        let lost: Vec<_> = sure.iter().filter(|number| !numbers.contains_key(number)).collect();
        if lost.is_empty() {
            return there;
        }
        assert!(std::time::Instant::now() < until, "lost: {lost:?}");
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
}
