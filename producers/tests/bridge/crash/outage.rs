//! What came while the bus was away survives a kill, evidence and events.

use std::io::Write;
use std::net::{Ipv4Addr, TcpStream, UdpSocket};

use serde_json::json;

use crate::posted::{KEY, receiver};
use crate::stage::{
    Running, command, free_port, get, post, server_with_streams, wait, wait_for_events, wait_for_stored,
};

#[tokio::test(flavor = "multi_thread")]
async fn evidence_that_came_while_the_bus_was_away_is_kept_with_its_events() {
    let mut server = server_with_streams().await;
    let place = tempfile::tempdir().expect("a temporary directory");
    let (mut running, port) = receiver(&server.url(), place.path(), "streamtrace", &[]);
    server.kill();
    running.wait_for("bus_away");
    let body =
        json!({"event_type": "auth.login", "occurred_at": "2026-04-09T12:00:00Z", "number": 0}).to_string();
    let bearer = format!("Bearer {KEY}");
    let headers = [("Authorization", bearer.as_str()), ("X-Source-Id", "portal")];
    let (status, answer) = post(port, "/v1/ingest/events", &headers, body.as_bytes());
    assert_eq!((status, &answer["accepted"]), (202, &json!(1)), "{answer}");
    running.kill();
    server.restart();
    let (running, _) = receiver(&server.url(), place.path(), "streamtrace", &[]);
    let log = wait_for_events(&server, 1).await;
    let kept = wait_for_stored(&server, "EVIDENCE", 1).await;
    assert_eq!(kept[0].payload.as_slice(), body.as_bytes());
    let reference = &log[0]["refs"]["raw"];
    assert_eq!(Some(reference["blake3"].as_str()), Some(answer["raw_event_id"].as_str()), "{reference}");
    assert_eq!((reference.get("seq"), &reference["stream"]), (None, &json!("EVIDENCE")));
    let (code, said) = running.stop();
    assert_eq!(code, Some(0), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn syslog_that_came_while_the_bus_was_away_survives_a_kill() {
    let mut server = server_with_streams().await;
    let place = tempfile::tempdir().expect("a temporary directory");
    let (udp, tcp, listen) = (free_port(), free_port(), free_port());
    let at = |port: u16| format!("127.0.0.1:{port}");
    let (udp_at, tcp_at, listen_at) = (at(udp), at(tcp), at(listen));
    let arguments = ["--udp", &udp_at, "--tcp", &tcp_at, "--listen", &listen_at];
    let url = server.url();
    let start = || Running::start(&mut command(&url, &place.path().join("state"), "syslog", &arguments));
    let mut running = start();
    running.wait_for("listening_tcp");
    server.kill();
    running.wait_for("bus_away");
    let line = |number: u32| format!("<34>1 2026-04-09T12:00:00Z web01 app 1 - - number {number}");
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("bound");
    for number in 0..20 {
        socket.send_to(line(number).as_bytes(), (Ipv4Addr::LOCALHOST, udp)).expect("sent");
    }
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, tcp)).expect("connected");
    for number in 20..40 {
        writeln!(stream, "{}", line(number)).expect("written");
    }
    // The evidence of each, and its event.
    wait("all of them on disk", || {
        let (_, health) = get(listen, "/healthz").ok_or_else(|| running.said())?;
        if health.contains("\"waiting_on_disk\":80") { Ok(()) } else { Err(health) }
    });
    running.kill();
    server.restart();
    let running = start();
    let log = wait_for_events(&server, 40).await;
    let kept = wait_for_stored(&server, "EVIDENCE", 40).await;
    let (code, said) = running.stop();
    assert_eq!(code, Some(0), "{said}");
    let mut titles: Vec<u32> = log
        .iter()
        .filter_map(|event| event["title"].as_str()?.strip_prefix("number ")?.parse().ok())
        .collect();
    titles.sort_unstable();
    assert_eq!((titles, kept.len()), ((0..40).collect(), 40));
}
