//! The four services, as they were recorded and as they misbehave.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::service::{Fault, Service};
use crate::stage::{
    Running, command, count, events, free_port, get, once, printed, recorded, server_with_streams, stored,
    wait, wait_for_events, words,
};

pub fn items(path: &str, name: &str) -> Vec<Value> {
    recorded(path)[name].as_array().expect("a list").clone()
}

/// All four, with pages of a hundred.
pub fn recorded_services() -> Service {
    let service = Service::start();
    service.list("/iocs", "iocs", items("iris/iocs_limit500.json", "iocs"), Some(100));
    let alerts = recorded("iris/alerts.json").as_array().expect("a bare array").clone();
    service.list("/alerts", "alerts", alerts, None);
    service.list("/findings", "findings", items("sentry/findings_limit500.json", "findings"), Some(100));
    service.list("/reports", "reports", items("phishkit/reports_limit500.json", "reports"), Some(100));
    service.list("/anomalies", "anomalies", items("packetwatch/anomalies.json", "anomalies"), Some(100));
    let mut metrics = items("packetwatch/metrics_default_page.json", "metrics");
    // The recording holds the first page; the metric of one anomaly stood on a later one.
    metrics.push(json!({"id": "met_mwpppyj6_d3wo", "source_label": "ACCT01.pandalab.com", "unit": "count", "tags": "[]"}));
    service.list("/metrics", "metrics", metrics, Some(1_000));
    service
}

fn keys(events: &[Value], source: &str) -> BTreeSet<String> {
    let of_source = events.iter().filter(|event| event["source"] == source);
    of_source.map(|event| event["source_event_id"].as_str().expect("a key").to_owned()).collect()
}

fn text<'v>(item: &'v Value, name: &str) -> &'v str {
    item[name].as_str().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_recorded_item_is_an_event_once_and_a_second_round_sends_nothing() {
    let (server, service) = (server_with_streams().await, recorded_services());
    let state = tempfile::tempdir().expect("a temporary directory");
    let mut said = String::new();
    for source in ["iris", "sentry", "phishkit", "packetwatch"] {
        let output = once(&server, state.path(), source, &["--from", &service.url()]);
        assert_eq!(output.status.code(), Some(0), "{}", words(&output));
        said += &words(&output);
    }
    // 419 indicators and 14 rows of 7 alerts; the rows that repeat others are duplicates.
    assert!(said.contains("iris: read 433, sent 426, duplicate 7, rejected 0"), "{said}");
    assert!(said.contains("sentry: read 361, sent 361, duplicate 0, rejected 0"), "{said}");
    assert!(said.contains("phishkit: read 179, sent 179, duplicate 0, rejected 0"), "{said}");
    assert!(said.contains("packetwatch: read 6, sent 6, duplicate 0, rejected 0"), "{said}");

    let log = events(&server).await;
    assert_eq!(log.len(), 426 + 361 + 179 + 6);
    let indicators = items("iris/iocs_limit500.json", "iocs");
    let alerts = recorded("iris/alerts.json");
    let mut expected: BTreeSet<String> =
        indicators.iter().map(|ioc| format!("{}@{}", text(ioc, "id"), text(ioc, "last_seen"))).collect();
    let alerts = alerts.as_array().expect("an array");
    expected.extend(alerts.iter().map(|alert| format!("{}+{}", text(alert, "ioc_id"), text(alert, "rule"))));
    assert_eq!(keys(&log, "iris"), expected);
    let findings = items("sentry/findings_limit500.json", "findings");
    let expected =
        findings.iter().map(|one| format!("{}+{}", text(one, "rule_id"), text(one, "ioc_id"))).collect();
    assert_eq!(keys(&log, "sentry"), expected);
    let reports = items("phishkit/reports_limit500.json", "reports");
    assert_eq!(keys(&log, "phishkit"), reports.iter().map(|one| text(one, "id").to_owned()).collect());

    // An alert carries its indicator's value, an anomaly its metric's host, and each its severity.
    let find = |key: &str| log.iter().find(|event| event["source_event_id"] == key).expect("sent").clone();
    let alert = find("hash_otrf0+high_confidence_ioc");
    assert_eq!(alert["fields"]["value"], "e9196b871670af6307902fc4ca09f7cf3c309ae54b28e10d052ed8741090f928");
    assert_eq!((&alert["severity"], &alert["class"]), (&json!("critical"), &json!("alert")));
    assert_eq!(alert["occurred_at"], "2026-11-21 01:11:39");
    let hosts: BTreeSet<&str> = log
        .iter()
        .filter(|event| event["source"] == "packetwatch")
        .map(|event| text(event, "host_id"))
        .collect();
    assert_eq!(hosts, BTreeSet::from(["ACCT01.pandalab.com", "MKT01.pandalab.com"]));
    let report = find("phish_mwpppxs6_48g4");
    assert_eq!((&report["severity"], &report["fields"]["domain"]), (&json!("high"), &json!("10.0.5.13")));
    assert!(report["fields"].get("urlAnalysis").is_none());

    // The same findings under new ids, as a second match run makes them, are the same findings.
    let mut again = findings.clone();
    again.iter_mut().enumerate().for_each(|(at, finding)| finding["id"] = format!("again_{at}").into());
    service.list("/findings", "findings", again, Some(100));
    let output = once(&server, state.path(), "sentry", &["--from", &service.url()]);
    assert!(words(&output).contains("sentry: read 361, sent 0, duplicate 361"), "{}", words(&output));
    // Without what it remembers, the server's ids hold the same: what is polled leaves alone, under its own id.
    let forgetful = tempfile::tempdir().expect("a temporary directory");
    let output = once(&server, forgetful.path(), "iris", &["--from", &service.url()]);
    assert!(words(&output).contains("iris: read 433, sent 426, duplicate 7"), "{}", words(&output));
    assert_eq!(count(&server, "EVENTS").await, log.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_misbehaves_loses_nothing_and_is_named() {
    let (server, service) = (server_with_streams().await, recorded_services());
    let state = tempfile::tempdir().expect("a temporary directory");
    service.misbehave(&[Fault::Down, Fault::Error, Fault::Rubbish, Fault::HalfBody, Fault::Silent]);
    let listen = free_port();
    let address = format!("127.0.0.1:{listen}");
    let from = service.url();
    let arguments = ["--from", &from, "--every", "200ms", "--timeout", "1s", "--listen", &address];
    let running = Running::start(&mut command(&server.url(), state.path(), "sentry", &arguments));
    let (status, body) = wait("a failing source", || {
        get(listen, "/healthz").filter(|(status, _)| *status == 503).ok_or_else(|| running.said())
    });
    assert!(status == 503 && body.contains("\"sentry\""), "{body}");
    wait_for_events(&server, 361).await;
    let (_, metrics) = wait("a source that is back", || {
        get(listen, "/metrics")
            .filter(|(_, text)| text.contains("sightline_bridge_source_up{source=\"sentry\"} 1"))
            .ok_or_else(|| running.said())
    });
    assert!(metrics.contains("sightline_bridge_sent_total{source=\"sentry\"} 361"), "{metrics}");
    assert!(metrics.contains("sightline_bridge_source_failures_total{source=\"sentry\"} 5"), "{metrics}");
    assert_eq!(get(listen, "/healthz").map(|(status, _)| status), Some(200));
    assert_eq!(service.faults_left(), 0);
    let (code, said) = running.stop();
    assert_eq!(code, Some(0), "{said}");
    for part in ["answered 500", "the answer is no JSON", "source_back"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert_eq!(keys(&events(&server).await, "sentry").len(), 361);
    assert_eq!(count(&server, "EVENTS").await, 361);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_anomaly_waits_for_its_metric_rather_than_go_without_its_host() {
    let (server, service) = (server_with_streams().await, recorded_services());
    let state = tempfile::tempdir().expect("a temporary directory");
    // Anomalies are there, metrics are not.
    let broken = Service::start();
    broken.list("/anomalies", "anomalies", items("packetwatch/anomalies.json", "anomalies"), Some(100));
    let output = once(&server, state.path(), "packetwatch", &["--from", &broken.url()]);
    assert_eq!(output.status.code(), Some(1), "{}", words(&output));
    assert_eq!(count(&server, "EVENTS").await, 0);
    let output = once(&server, state.path(), "packetwatch", &["--from", &service.url()]);
    assert!(words(&output).contains("read 6, sent 6"), "{}", words(&output));
    let since = service
        .asked()
        .into_iter()
        .any(|path| path.starts_with("/metrics") && path.contains("since=2026-11-20+01"));
    assert!(since, "{:?}", service.asked());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_sighting_is_an_event_and_more_alerts_than_iris_keeps_are_a_gap() {
    let (server, service) = (server_with_streams().await, Service::start());
    let state = tempfile::tempdir().expect("a temporary directory");
    let seen = |at: &str| {
        vec![
            json!({"id": "ip_1", "type": "ip", "value": "192.0.2.1", "severity": "high", "last_seen": at, "tags": "[\"a\"]"}),
        ]
    };
    let alerts = |from: u64| {
        let alert = |id| json!({"id": id, "ioc_id": "ip_2", "rule": format!("r{id}"), "severity": "low", "message": "m", "created_at": "2026-05-08 12:00:00", "acknowledged": 0});
        (from..from + 50).map(alert).collect::<Vec<_>>()
    };
    service.list("/iocs", "iocs", seen("2026-05-08T12:00:00.000Z"), Some(500));
    // An indicator that the list no longer holds is asked for by its id.
    service.thing("/iocs/ip_2", json!({"id": "ip_2", "type": "ip", "value": "192.0.2.2", "tags": "[\"a\"]"}));
    service.list("/alerts", "alerts", alerts(1), None);
    let first = once(&server, state.path(), "iris", &["--from", &service.url()]);
    assert!(words(&first).contains("read 51, sent 51, duplicate 0, rejected 0\n"), "{}", words(&first));
    service.list("/iocs", "iocs", seen("2026-05-08T13:00:00.000Z"), Some(500));
    service.list("/alerts", "alerts", alerts(60), None);
    let second = once(&server, state.path(), "iris", &["--from", &service.url()]);
    assert!(
        words(&second).contains("read 51, sent 51, duplicate 0, rejected 0, gaps 1"),
        "{}",
        words(&second)
    );
    let tags: Vec<Value> = events(&server).await.iter().map(|event| event["tags"].clone()).collect();
    assert!(tags.iter().all(|tags| *tags == json!(["a"])), "{tags:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_event_is_kept_with_its_reason_and_not_sent_again() {
    let (server, service) = (server_with_streams().await, Service::start());
    let state = tempfile::tempdir().expect("a temporary directory");
    let finding =
        json!({"id": "f", "rule_id": "r", "ioc_id": "i", "rule_severity": "high", "created_at": "yesterday"});
    service.list("/findings", "findings", vec![finding.clone(), json!(7)], Some(500));
    let output = once(&server, state.path(), "sentry", &["--from", &service.url()]);
    assert_eq!(output.status.code(), Some(0), "{}", words(&output));
    assert!(words(&output).contains("sentry: read 2, sent 0, duplicate 0, rejected 2"), "{}", words(&output));
    let letters = stored(&server, "DEADLETTER").await;
    assert_eq!(letters.len(), 2);
    assert_eq!(letters[0].subject.as_str(), "deadletter.default.sentry");
    assert_eq!(serde_json::from_slice::<Value>(&letters[0].payload).expect("as it came"), finding);
    let header = |name: &str| letters[0].headers.get(name).map(ToString::to_string).unwrap_or_default();
    assert_eq!(header("Sightline-Reason"), "bad_time");
    assert!(header("Sightline-Detail").contains("yesterday"), "{}", header("Sightline-Detail"));
    let output = once(&server, state.path(), "sentry", &["--from", &service.url()]);
    assert!(words(&output).contains("read 2, sent 0, duplicate 2, rejected 0"), "{}", words(&output));
}

#[test]
fn a_dry_run_prints_what_would_be_sent_and_remembers_nothing() {
    let service = recorded_services();
    let state = tempfile::tempdir().expect("a temporary directory");
    let nobody = "nats://127.0.0.1:1";
    for _ in 0..2 {
        let mut command =
            command(nobody, state.path(), "packetwatch", &["--from", &service.url(), "--once", "--dry-run"]);
        let output = command.output().expect("the bridge runs");
        assert_eq!(output.status.code(), Some(0), "{}", words(&output));
        let lines = printed(&output);
        assert_eq!(lines.len(), 6);
        assert_eq!(lines[0]["subject"], "events.default.packetwatch");
        assert_eq!(lines[0]["event"]["host_id"], "MKT01.pandalab.com");
    }
    assert_eq!(std::fs::read_dir(state.path()).expect("there").count(), 0);
}
