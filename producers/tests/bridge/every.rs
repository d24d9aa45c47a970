//! What every bridge can: say what it would send, end by itself, be looked at while it runs, stop when it is told to, and
//! account for all that it read.

use std::io::Write;
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::crash::adds_up;
use crate::polled::items;
use crate::posted::KEY;
use crate::server::Server;
use crate::service::Service;
use crate::stage::{
    Running, command, count, free_port, get, post, recorded, server_with_streams, wait, wait_for_events,
};

/// How a source is given its one record.
enum Given {
    /// It is there to be read.
    There,
    Posted(&'static str, Value),
    Syslog,
    Piped,
}

struct Case {
    /// The bridge, and what the counts call its source.
    source: &'static str,
    counted_as: &'static str,
    arguments: Vec<String>,
    given: Given,
}

const LINE: &str = "{\"source\":\"app\",\"kind\":\"line\"}\n";

fn case(source: &'static str, arguments: &[&str], given: Given) -> Case {
    let arguments = arguments.iter().map(|word| (*word).to_owned()).collect();
    Case { source, counted_as: source, arguments, given }
}

/// All of them. Their ports are given when they are started.
fn cases(service: &Service, place: &Path) -> Vec<Case> {
    let from = service.url();
    let (keys, personal, log) = (place.join("keys"), place.join("personal"), place.join("app.log"));
    std::fs::write(&keys, format!("{KEY}\n")).expect("written");
    std::fs::write(&personal, "07".repeat(32)).expect("written");
    std::fs::write(&log, LINE).expect("written");
    let text = |path: &PathBuf| path.to_str().expect("plain path").to_owned();
    let (keys, personal, log) = (text(&keys), text(&personal), text(&log));
    let mut cases: Vec<Case> = ["iris", "sentry", "phishkit", "packetwatch"]
        .map(|source| case(source, &["--from", &from], Given::There))
        .into();
    let at = "2026-05-08T12:00:00Z";
    for (source, path, event) in [
        ("sentracore", "/api/v1/ingest/events", json!({"source": "s", "host_id": "h", "kind": "k"})),
        (
            "openctem",
            "/api/v1/telemetry-events",
            json!({"events": [{"event_type": "other", "observed_at": at, "endpoint_asset_id": "a"}]}),
        ),
        ("streamtrace", "/v1/ingest/events", json!({"event_type": "a", "occurred_at": at})),
        ("shieldai", "/api/v1/alerts/darkwatch", json!({"id": "1", "userId": "u", "detectedAt": at})),
    ] {
        let arguments = ["--api-keys", &keys, "--personal-key-file", &personal];
        cases.push(case(source, &arguments, Given::Posted(path, event)));
    }
    cases.push(case("syslog", &[], Given::Syslog));
    for (arguments, given) in [
        (["native", &log], Given::There),
        (["native", "-"], Given::Piped),
        (["native", "--subject=raw.app"], Given::There),
    ] {
        cases.push(Case { counted_as: "native", ..case("logs", &arguments, given) });
    }
    cases
}

fn service() -> Service {
    let service = Service::start();
    let first = |path: &str, name: &str| vec![items(path, name)[0].clone()];
    service.list("/iocs", "iocs", first("iris/iocs_limit500.json", "iocs"), Some(100));
    service.list("/alerts", "alerts", Vec::new(), None);
    service.list("/findings", "findings", first("sentry/findings_limit500.json", "findings"), Some(100));
    service.list("/reports", "reports", first("phishkit/reports_limit500.json", "reports"), Some(100));
    let mut anomaly = first("packetwatch/anomalies.json", "anomalies");
    let metric = recorded("packetwatch/metrics_default_page.json")["metrics"][0].clone();
    anomaly[0]["metric_id"] = metric["id"].clone();
    service.list("/anomalies", "anomalies", anomaly, Some(100));
    service.list("/metrics", "metrics", vec![metric], Some(100));
    service
}

/// Starts a bridge and gives it its record.
fn begin(case: &Case, url: &str, state: &Path, more: &[&str]) -> Running {
    let port = free_port();
    let address = format!("127.0.0.1:{port}");
    let mut arguments: Vec<&str> = case.arguments.iter().map(String::as_str).collect();
    match case.given {
        Given::Posted(..) => arguments.extend(["--bind", &address]),
        Given::Syslog => arguments.extend(["--tcp", &address]),
        Given::There | Given::Piped => {}
    }
    arguments.extend(more);
    let mut command = command(url, state, case.source, &arguments);
    if matches!(case.given, Given::Piped) {
        command.stdin(std::process::Stdio::piped());
    }
    let mut running = Running::start(&mut command);
    match &case.given {
        Given::There => {}
        Given::Piped => running.write(vec![LINE.to_owned()], std::time::Duration::ZERO),
        Given::Posted(path, event) => {
            running.wait_for("listening");
            let (status, answer) = post(port, path, &[("X-Api-Key", KEY)], event.to_string().as_bytes());
            assert!(status == 200 || status == 202, "{}: {status} {answer}", case.source);
        }
        Given::Syslog => {
            running.wait_for("listening_tcp");
            let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("connected");
            writeln!(stream, "<34>1 2026-04-09T12:00:00Z web01 app 1 - - text").expect("written");
        }
    }
    running
}

async fn with_raw(server: &Server) {
    let config = async_nats::jetstream::stream::Config {
        name: "RAW".to_owned(),
        subjects: vec!["raw.>".to_owned()],
        ..Default::default()
    };
    let context = server.jetstream().await;
    context.create_stream(config).await.expect("stream created");
    context.publish("raw.app", LINE.into()).await.expect("sent").await.expect("stored");
}

/// What a bridge says at its end: one record read and one sent.
#[track_caller]
fn accounts(case: &Case, (code, said): (Option<i32>, String)) {
    assert_eq!(code, Some(0), "{}: {said}", case.source);
    assert!(adds_up(&said), "{said}");
    let closing = format!("{}: read 1, sent 1, duplicate 0, rejected 0", case.counted_as);
    assert!(said.contains(&closing), "{}: {said}", case.source);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_bridge_says_what_it_would_send_and_sends_and_remembers_nothing() {
    let (server, service, place) =
        (server_with_streams().await, service(), tempfile::tempdir().expect("a directory"));
    with_raw(&server).await;
    let cases = cases(&service, place.path());
    let running: Vec<Running> = cases
        .iter()
        .enumerate()
        .map(|(at, case)| {
            begin(case, &server.url(), &place.path().join(format!("state-{at}")), &["--dry-run"])
        })
        .collect();
    for ((at, case), running) in cases.iter().enumerate().zip(running) {
        let line =
            wait("a line of JSON", || running.printed().first().cloned().ok_or_else(|| running.said()));
        let line: Value = serde_json::from_str(&line).expect("JSON");
        assert!(
            line["subject"].as_str().is_some_and(|subject| subject.starts_with("events.default.")),
            "{line}"
        );
        assert!(line["event"].is_object() && line["id"].is_string(), "{line}");
        // A pipe is at its end.
        let ends_by_itself = matches!(case.given, Given::Piped);
        accounts(case, if ends_by_itself { running.ended() } else { running.stop() });
        assert!(
            !place.path().join(format!("state-{at}")).exists(),
            "{}: something is remembered",
            case.source
        );
    }
    for stream in ["EVENTS", "DEADLETTER", "EVIDENCE"] {
        assert_eq!(count(&server, stream).await, 0, "{stream}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_bridge_ends_by_itself_when_there_is_nothing_more_to_give() {
    let (server, service, place) =
        (server_with_streams().await, service(), tempfile::tempdir().expect("a directory"));
    with_raw(&server).await;
    let cases = cases(&service, place.path());
    let running: Vec<Running> = cases
        .iter()
        .enumerate()
        .map(|(at, case)| begin(case, &server.url(), &place.path().join(format!("state-{at}")), &["--once"]))
        .collect();
    for (case, running) in cases.iter().zip(running) {
        accounts(case, running.ended());
    }
    assert_eq!(wait_for_events(&server, cases.len()).await.len(), cases.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_bridge_can_be_looked_at_and_stopped() {
    let (server, service, place) =
        (server_with_streams().await, service(), tempfile::tempdir().expect("a directory"));
    with_raw(&server).await;
    // A pipe ends by itself.
    let cases: Vec<Case> = cases(&service, place.path())
        .into_iter()
        .filter(|case| !matches!(case.given, Given::Piped))
        .collect();
    let begun = |(at, case): (usize, &Case)| {
        let listen = free_port();
        let address = format!("127.0.0.1:{listen}");
        let state = place.path().join(format!("state-{at}"));
        (listen, begin(case, &server.url(), &state, &["--listen", &address]))
    };
    let running: Vec<(u16, Running)> = cases.iter().enumerate().map(begun).collect();
    for (case, (listen, running)) in cases.iter().zip(running) {
        let sent = format!("sightline_bridge_sent_total{{source=\"{}\"}} 1\n", case.counted_as);
        let metrics = wait("its one event", || {
            let (_, metrics) = get(listen, "/metrics").ok_or_else(|| running.said())?;
            if metrics.contains(&sent) { Ok(metrics) } else { Err(metrics) }
        });
        for name in ["read", "duplicate", "rejected", "skipped", "handed_back", "gaps", "source_failures"] {
            assert!(metrics.contains(&format!("sightline_bridge_{name}_total{{")), "{name}: {metrics}");
        }
        let (status, health) = get(listen, "/healthz").expect("it answers");
        assert_eq!(status, 200, "{}: {health}", case.source);
        accounts(case, running.stop());
    }
    assert_eq!(wait_for_events(&server, cases.len()).await.len(), cases.len());
}
