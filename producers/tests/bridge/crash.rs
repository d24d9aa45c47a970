//! Killed at any moment: what was read is in the log, all of it, and once.
//!
//! `SIGHTLINE_BRIDGE_KILLS=200` kills more often.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::hash::{BuildHasher, RandomState};
use std::io::Write;
use std::net::{Ipv4Addr, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

use crate::posted::{KEY, receiver};
use crate::service::Service;
use crate::stage::{
    Running, command, events, free_port, get, post, server_with_streams, try_post, wait, wait_for_events,
    wait_for_stored,
};

fn kills() -> u32 {
    std::env::var("SIGHTLINE_BRIDGE_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(6)
}

/// A moment by chance, which is said where it matters: what fails, fails with other moments, too.
fn moment(millis_max: u64) -> Duration {
    Duration::from_millis(RandomState::new().hash_one(0) % millis_max)
}

/// Each number once, as many messages as numbers.
#[track_caller]
fn all_once(events: &[Value], of: &str, count: u64) {
    let mut seen: BTreeMap<u64, u32> = BTreeMap::new();
    for event in events {
        *seen.entry(event.pointer(of).and_then(Value::as_u64).expect("a number")).or_default() += 1;
    }
    let lost: Vec<u64> = (0..count).filter(|number| !seen.contains_key(number)).collect();
    let doubled: Vec<_> = seen.iter().filter(|(_, times)| **times > 1).collect();
    assert!(lost.is_empty() && doubled.is_empty(), "lost {lost:?}, doubled {doubled:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_followed_file_survives_being_killed_at_any_moment() {
    let server = server_with_streams().await;
    let place = tempfile::tempdir().expect("a temporary directory");
    let (state, log) = (place.path().join("state"), place.path().join("app.log"));
    let lines_a_life: u64 = 1_500;
    let mut written: u64 = 0;
    let path = log.to_str().expect("plain path").to_owned();
    let arguments = ["--look-every", "5ms", "native", &path];
    for life in 0..kills() {
        let mut running = Running::start(&mut command(&server.url(), &state, "logs", &arguments));
        if life == 0 {
            // What was put aside before a bridge ever looked is none of its business.
            std::fs::write(&log, "").expect("written");
            crate::stage::wait("a bridge that knows the file", || {
                let known = state.join("cursors").exists() && running.said().contains("following");
                known.then_some(()).ok_or_else(|| running.said())
            });
        }
        for part in 0..3 {
            let mut file = OpenOptions::new().create(true).append(true).open(&log).expect("opened");
            for _ in 0..lines_a_life / 3 {
                writeln!(file, "{{\"source\":\"app\",\"kind\":\"line\",\"number\":{written}}}")
                    .expect("written");
                written += 1;
            }
            // Rotated in the middle of every other life.
            if part == 1 && life % 2 == 1 {
                std::fs::rename(&log, aside(&log, life)).expect("renamed");
            }
            std::thread::sleep(moment(120));
        }
        running.kill();
    }
    let running = Running::start(&mut command(&server.url(), &state, "logs", &arguments));
    let log = wait_for_events(&server, usize::try_from(written).expect("few")).await;
    let (code, said) = running.stop();
    assert_eq!(code, Some(0), "{said}");
    all_once(&log, "/number", written);
    all_once(&events(&server).await, "/number", written);
}

fn aside(log: &std::path::Path, life: u32) -> PathBuf {
    PathBuf::from(format!("{}.{life}", log.display()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poller_survives_being_killed_at_any_moment() {
    let (server, service) = (server_with_streams().await, Service::start());
    let state = tempfile::tempdir().expect("a temporary directory");
    let mut count: u64 = 0;
    let from = service.url();
    let arguments = ["--from", &from, "--every", "10ms"];
    for _ in 0..kills() {
        count += 700;
        // As sentry has them: by score, so that new ones come anywhere, and with other ids every time.
        let finding = |number: u64| {
            json!({"id": format!("{}_{number}", moment(u64::MAX).as_millis()), "rule_id": "r", "ioc_id": format!("i{number}"), "number": number,
                   "rule_name": "R", "rule_severity": "high", "ioc_value": format!("v{number}"),
                   "created_at": "2026-05-08T12:00:00.000Z"})
        };
        service.list("/findings", "findings", (0..count).rev().map(finding).collect(), Some(500));
        let mut running = Running::start(&mut command(&server.url(), state.path(), "sentry", &arguments));
        std::thread::sleep(moment(900));
        running.kill();
    }
    let running = Running::start(&mut command(&server.url(), state.path(), "sentry", &arguments));
    wait_for_events(&server, usize::try_from(count).expect("few")).await;
    let (code, said) = running.stop();
    assert_eq!(code, Some(0), "{said}");
    all_once(&events(&server).await, "/fields/number", count);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_is_killed_while_the_bus_is_away_loses_and_doubles_nothing_that_it_took() {
    let mut server = server_with_streams().await;
    let place = tempfile::tempdir().expect("a temporary directory");
    let mut taken: u64 = 0;
    let mut told_again = 0;
    let (mut running, mut port) = receiver(&server.url(), place.path(), "sentracore", &[]);
    for life in 0..kills() {
        // The bus goes in the middle of the first life and is away while others begin and end.
        if life == 1 {
            server.kill();
        }
        let doom = running.kill_after(moment(400));
        loop {
            let event = json!({"source": "app", "host_id": "h", "kind": "line", "source_event_id": taken.to_string(),
                               "number": taken});
            // Killed while it may be taking this one: the sender does not know, and sends it again to the next.
            match try_post(port, "/api/v1/ingest/events", &[("X-Api-Key", KEY)], event.to_string().as_bytes())
            {
                Some((200, answer)) => {
                    told_again += u64::from(answer["duplicate"] == json!(true));
                    taken += 1;
                }
                Some((status, answer)) => panic!("{status}: {answer}"),
                None => break,
            }
        }
        doom.join().expect("it only waits and kills");
        running.kill();
        (running, port) = receiver(&server.url(), place.path(), "sentracore", &[]);
    }
    assert!(taken > u64::from(kills()), "{taken} taken: killed before it did anything");
    server.restart();
    let log = wait_for_events(&server, usize::try_from(taken).expect("few")).await;
    let (code, said) = running.stop();
    assert_eq!(code, Some(0), "{said}");
    all_once(&log, "/number", taken);
    all_once(&events(&server).await, "/number", taken);
    println!("{taken} events in {} lives, {told_again} of them offered twice", kills());
}

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
