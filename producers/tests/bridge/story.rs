//! The story that trace tells and could not find: an indicator, a finding, a report and an anomaly on one domain, from four
//! services over HTTP, through four bridges, a server and the engine, to one incident.

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::server::Server;
use crate::service::Service;
use crate::stage::{LONG, Running, once, recorded, stored, words};

const DOMAIN: &str = "dhl-tracking.secure-verify.com";
const URL: &str = "https://dhl-tracking.secure-verify.com/package?id=US1234567890";

/// A recorded item with what the story says put in its place.
fn told(path: &str, list: &str, story: &[(&str, Value)]) -> Value {
    let body = recorded(path);
    let mut item = if list.is_empty() { body[0].clone() } else { body[list][0].clone() };
    for (name, value) in story {
        assert!(item.get(*name).is_some(), "the recorded {path} has {name}");
        item[*name] = value.clone();
    }
    item
}

fn services() -> Service {
    let service = Service::start();
    let indicator = told(
        "iris/iocs_limit500.json",
        "iocs",
        &[
            ("id", json!("ioc_dhl")),
            ("value", json!(DOMAIN)),
            ("type", json!("domain")),
            ("last_seen", json!("2026-05-08T12:00:00.000Z")),
        ],
    );
    let finding = told(
        "sentry/findings_limit500.json",
        "findings",
        &[
            ("ioc_id", json!("ioc_dhl")),
            ("ioc_value", json!("DHL-tracking.secure-verify.com")),
            ("ioc_type", json!("domain")),
            ("rule_severity", json!("high")),
            ("created_at", json!("2026-05-08T12:02:00.000Z")),
        ],
    );
    let report = told(
        "phishkit/reports_limit500.json",
        "reports",
        &[
            ("url", json!(URL)),
            ("domain", json!(DOMAIN)),
            ("phishScore", json!("confirmed_phishing")),
            ("created_at", json!("2026-05-08T12:05:00.000Z")),
            ("completed_at", json!("2026-05-08T12:05:00.000Z")),
        ],
    );
    let anomaly = told(
        "packetwatch/anomalies.json",
        "anomalies",
        &[
            ("metric_id", json!("met_dhl")),
            ("metric_type", json!("dns_queries")),
            ("detected_at", json!("2026-05-08 12:06:00")),
        ],
    );
    // The label is free text: a resolver's metric is labelled with what is resolved.
    let metric = told(
        "packetwatch/metrics_default_page.json",
        "metrics",
        &[
            ("id", json!("met_dhl")),
            ("source_label", json!(format!("{DOMAIN}."))),
            ("metric_type", json!("dns_queries")),
        ],
    );
    service.list("/iocs", "iocs", vec![indicator], Some(500));
    service.list("/alerts", "alerts", Vec::new(), None);
    service.list("/findings", "findings", vec![finding], Some(500));
    service.list("/reports", "reports", vec![report], Some(500));
    service.list("/anomalies", "anomalies", vec![anomaly], Some(500));
    service.list("/metrics", "metrics", vec![metric], Some(1_000));
    service
}

#[tokio::test(flavor = "multi_thread")]
async fn four_services_over_http_become_one_incident_of_four_sources() {
    let engine = Path::new(env!("CARGO_BIN_EXE_sightline-bridge")).with_file_name("sightline");
    assert!(
        engine.exists(),
        "{} is not there: build it first, `cargo build --bin sightline`",
        engine.display()
    );
    let server = Server::start();
    let place = tempfile::tempdir().expect("a temporary directory");
    let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("../rules/trace.yaml");
    let settings = format!(
        "nats: {{url: \"{}\"}}\nrules: {{paths: [\"{}\"]}}\nstate: {{dir: \"{}\"}}\napi: {{listen: \"\"}}\n\
         streams: {{events_max_bytes: 64MiB, incidents_max_bytes: 64MiB, deadletter_max_bytes: 64MiB, evidence_max_bytes: 64MiB}}\n",
        server.url(),
        rules.display(),
        place.path().join("engine").display()
    );
    let config = place.path().join("sightline.yaml");
    std::fs::write(&config, settings).expect("written");
    let sightline = |words: &[&str]| {
        let mut command = Command::new(&engine);
        command.args(words).arg("--config").arg(&config).current_dir(place.path());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    };
    let setup = sightline(&["stream", "setup"]).output().expect("it runs");
    assert!(setup.status.success(), "{}", words(&setup));
    let worker = Running::start(&mut sightline(&["run"]));
    // Rules that are in force before the first event see all of them.
    worker.wait_for("rules");

    let service = services();
    for source in ["packetwatch", "phishkit", "sentry", "iris"] {
        let output = once(&server, &place.path().join(source), source, &["--from", &service.url()]);
        assert!(words(&output).contains("read 1, sent 1, duplicate 0, rejected 0"), "{}", words(&output));
    }

    let incident = tokio::time::timeout(LONG, last_incident(&server)).await;
    let (incident, ids) =
        incident.unwrap_or_else(|_| panic!("no incident of four sources: {}", worker.said()));
    assert_eq!(ids, 1, "{incident:#}");
    assert_eq!(incident["event_count"], 4, "{incident:#}");
    assert_eq!(
        (&incident["first_event_at"], &incident["last_event_at"]),
        (&json!("2026-05-08T12:00:00Z"), &json!("2026-05-08T12:06:00Z"))
    );
    assert!(incident.to_string().contains(DOMAIN), "{incident:#}");
}

/// The newest version that has four sources, and how many incidents there are.
async fn last_incident(server: &Server) -> (Value, usize) {
    loop {
        let messages: Vec<Value> = stored(server, "INCIDENTS")
            .await
            .iter()
            .map(|message| serde_json::from_slice(&message.payload).expect("JSON"))
            .collect();
        let incident = |message: &Value| message.get("incident").unwrap_or(message).clone();
        let incidents: Vec<Value> = messages.iter().map(incident).collect();
        let whole = incidents
            .iter()
            .rev()
            .find(|incident| incident["sources"] == json!(["iris", "packetwatch", "phishkit", "sentry"]));
        if let Some(whole) = whole {
            let active = |incident: &&Value| incident["merged_into"].is_null();
            let ids: std::collections::BTreeSet<String> =
                incidents.iter().filter(active).map(|incident| incident["id"].to_string()).collect();
            return (whole.clone(), ids.len());
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}
