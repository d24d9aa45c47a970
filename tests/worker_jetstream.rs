//! The whole worker on a real server: the same log gives the same bytes, whatever happens to the worker.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use sightline::bus::jetstream::{InFlight, JetStreamEvents, JetStreamOutputs, Shrink, StreamSettings, setup};
use sightline::state::{Durability, Room, SledStore};
use sightline::telemetry::Readiness;
use sightline::telemetry::metrics::Metrics;
use sightline::worker::inspect::Status;
use sightline::worker::run::{Settings, Turn, Worker};
use sightline_core::rule::case::is_case_file;
use sightline_schemas::IncidentMessage;
use sightline_schemas::control::{EngineSettings, RuleFile, RulesMessage};
use support::bus::Bus;

type RealWorker = Worker<JetStreamEvents, JetStreamOutputs, JetStreamOutputs>;

fn shipped_rules() -> RulesMessage {
    let mut files: Vec<RuleFile> = std::fs::read_dir("rules")
        .expect("the rules folder")
        .map(|entry| entry.expect("a file").path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "yaml"))
        .filter(|path| !is_case_file(&path.to_string_lossy()))
        .map(|path| RuleFile {
            name: path.display().to_string(),
            text: std::fs::read_to_string(&path).expect("a rule file"),
        })
        .collect();
    files.sort_by(|a, b| a.name.cmp(&b.name));
    RulesMessage { files, settings: EngineSettings::default(), ..RulesMessage::default() }
}

async fn worker(bus: &Bus, dir: &Path, partitions: usize, batch: usize, metrics: &Metrics) -> RealWorker {
    let settings = Settings {
        partitions,
        batch_messages: batch,
        batch_wait: Duration::from_millis(20),
        tick_every: Duration::from_millis(100),
        checkpoint_every: Duration::from_millis(50),
        // Every second worker packs every state after every batch, and keeps none of them in memory.
        room: if partitions == 2 { Room::none() } else { Room::unlimited() },
        scratch_dir: Some(dir.with_extension("scratch")),
    };
    let readiness = Readiness::new();
    let begun = Worker::begin(
        JetStreamEvents::new(bus.connection.clone(), "EVENTS"),
        JetStreamOutputs::new(bus.connection.clone(), "INCIDENTS", InFlight::default()),
        JetStreamOutputs::new(bus.connection.clone(), "DEADLETTER", InFlight::default()),
        Box::new(SledStore::at(dir, Durability::Kill)),
        settings,
        metrics.clone(),
        readiness.clone(),
        Status::new(readiness, partitions),
    );
    begun.await.expect("the worker begins")
}

/// Turns until nothing is left to do or to say. The tick that brings out what was held back is in the log then.
async fn finish(worker: &mut RealWorker) {
    let mut idle = 0;
    while idle < 3 {
        idle = match worker.turn().await.expect("the worker goes on") {
            Turn::Idle if !worker.has_something_to_say() => idle + 1,
            _ => 0,
        };
    }
}

/// All messages of a stream: subject, the headers that matter, body.
async fn everything(bus: &Bus, stream: &str) -> Vec<(String, String, String, Bytes)> {
    let mut stream = bus.plain.get_stream(stream).await.expect("the stream");
    let last = stream.info().await.expect("its state").state.last_sequence;
    let mut messages = Vec::new();
    for seq in 1..=last {
        let message = stream.get_raw_message(seq).await.expect("a message");
        let header =
            |name: &str| message.headers.get(name).map(|value| value.as_str().to_owned()).unwrap_or_default();
        let (position, log) = (header("Sightline-Position"), header("Sightline-Log"));
        messages.push((message.subject.to_string(), position, log, message.payload));
    }
    messages
}

async fn publish_demo(bus: &Bus) {
    let text = std::fs::read_to_string("tests/data/demo.ndjson").expect("the demo");
    let mut acks = futures_util::stream::FuturesOrdered::new();
    for line in text.lines() {
        let event: serde_json::Value = serde_json::from_str(line).expect("an event");
        let subject = format!("events.default.{}", event["source"].as_str().expect("a source"));
        acks.push_back(bus.plain.publish(subject, line.to_owned().into()).await.expect("sent").into_future());
        if acks.len() >= 256 {
            acks.next().await.expect("one").expect("stored");
        }
    }
    while let Some(ack) = acks.next().await {
        ack.expect("stored");
    }
}

async fn new_outputs(bus: &Bus) {
    for stream in ["INCIDENTS", "DEADLETTER"] {
        bus.plain.delete_stream(stream).await.expect("deleted");
    }
    setup(&bus.connection, &StreamSettings::default(), Shrink::Refuse).await.expect("streams");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_log_gives_the_same_bytes_whatever_partitions_batches_and_restarts() {
    let bus = Bus::start().await;
    let dir = tempfile::tempdir().expect("a directory");
    let metrics = Metrics::new();
    let mut first = worker(&bus, &dir.path().join("first"), 1, 1_000, &metrics).await;
    assert!(first.announce(&shipped_rules(), false).await.expect("announced"));
    publish_demo(&bus).await;
    bus.plain.publish("events.default.edr", "no json".into()).await.expect("sent").await.expect("stored");
    finish(&mut first).await;
    // Also where no checkpoint is being written.
    first.drain().await.expect("drained");
    first.drain().await.expect("drained");
    drop(first);
    let incidents = everything(&bus, "INCIDENTS").await;
    let dead = everything(&bus, "DEADLETTER").await;
    assert!(incidents.len() > 30, "the demo opens incidents: {}", incidents.len());
    assert_eq!(dead.len(), 1);

    for (partitions, batch, turns_before_restart) in [(4, 7, 200), (2, 250, 9), (3, 1_000, 2), (1, 100, 1)] {
        new_outputs(&bus).await;
        let dir = dir.path().join(format!("run-{partitions}-{batch}"));
        let mut turns = 0;
        loop {
            let metrics = Metrics::new();
            let mut again = worker(&bus, &dir, partitions, batch, &metrics).await;
            // The rules are in the log already.
            assert!(!again.announce(&shipped_rules(), false).await.expect("announced"));
            let before = turns;
            while turns < before + turns_before_restart && turns < 6 * turns_before_restart {
                again.turn().await.expect("goes on");
                turns += 1;
            }
            if turns >= 6 * turns_before_restart {
                finish(&mut again).await;
                assert!(metrics.render().contains("sightline_replay_mismatch_total 0"));
                break;
            }
            // Dropped as it stands, but for the checkpoint that a thread of this process may still be writing: a process
            // that dies lets go of its directory, a thread does not (tests/crash kills processes).
            again.finish_checkpoint().await;
        }
        assert_eq!(
            everything(&bus, "INCIDENTS").await,
            incidents,
            "{partitions} partitions, batches of {batch}"
        );
        assert_eq!(everything(&bus, "DEADLETTER").await, dead);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_lost_its_checkpoint_rebuilds_and_says_nothing_twice() {
    let bus = Bus::start().await;
    let dir = tempfile::tempdir().expect("a directory");
    let metrics = Metrics::new();
    let mut first = worker(&bus, &dir.path().join("a"), 2, 500, &metrics).await;
    first.announce(&shipped_rules(), false).await.expect("announced");
    publish_demo(&bus).await;
    finish(&mut first).await;
    drop(first);
    let incidents = everything(&bus, "INCIDENTS").await;

    let metrics = Metrics::new();
    let mut second = worker(&bus, &dir.path().join("b"), 2, 500, &metrics).await;
    finish(&mut second).await;
    assert_eq!(everything(&bus, "INCIDENTS").await, incidents);
    assert!(metrics.render().contains("sightline_replay_mismatch_total 0"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_worker_on_the_same_work_is_refused() {
    let bus = Bus::start().await;
    let dir = tempfile::tempdir().expect("a directory");
    let metrics = Metrics::new();
    let mut first = worker(&bus, &dir.path().join("a"), 1, 500, &metrics).await;
    first.announce(&shipped_rules(), false).await.expect("announced");
    finish(&mut first).await;
    let mut second = worker(&bus, &dir.path().join("b"), 1, 500, &metrics).await;
    finish(&mut second).await;
    publish_demo(&bus).await;
    finish(&mut first).await;
    let incidents = everything(&bus, "INCIDENTS").await;
    let mut refused = None;
    for _ in 0..200 {
        if let Err(error) = second.turn().await {
            refused = Some(error.to_string());
            break;
        }
    }
    let refused = refused.expect("the second worker stops");
    assert!(refused.contains("another worker"), "{refused}");
    assert_eq!(everything(&bus, "INCIDENTS").await, incidents);
}

/// Three failed logins and one that succeeds, each in another envelope.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cloud_events_in_each_of_their_modes_reach_the_rules() {
    let bus = Bus::start().await;
    let dir = tempfile::tempdir().expect("a directory");
    let mut worker = worker(&bus, dir.path(), 1, 100, &Metrics::new()).await;
    worker.announce(&shipped_rules(), false).await.expect("announced");
    let data = |actor: &str| format!(r#"{{"actor":{{"id":"{actor}"}}}}"#);
    let envelope = |id: u32, kind: &str, second: u32| {
        format!(
            r#"{{"specversion":"1.0","id":"{id}","source":"/shop","type":"{kind}","time":"2026-05-08T12:00:{second:02}Z","data":{}}}"#,
            data("mallory")
        )
    };
    let failed = "auth.login_failed";
    let batch = format!("[{},{}]", envelope(2, failed, 2), envelope(3, failed, 3));
    let binary = [
        ("ce-specversion", "1.0"),
        ("ce-id", "4"),
        ("ce-source", "/shop"),
        ("ce-type", "auth.login"),
        ("ce-time", "2026-05-08T12:00:04Z"),
        ("Content-Type", "application/json"),
    ];
    let messages: [(&[(&str, &str)], String); 3] = [
        (&[("Content-Type", "application/cloudevents+json; charset=utf-8")], envelope(1, failed, 1)),
        (&[("Content-Type", "application/cloudevents-batch+json")], batch),
        (&binary, data("mallory")),
    ];
    for (headers, body) in messages {
        let mut map = async_nats::HeaderMap::new();
        headers.iter().for_each(|(name, value)| map.insert(*name, *value));
        let sent = bus.plain.publish_with_headers("events.default.shop", map, body.into()).await;
        sent.expect("sent").await.expect("stored");
    }
    finish(&mut worker).await;
    let said = everything(&bus, "INCIDENTS").await;
    let rules: Vec<&str> = said.iter().filter_map(|(subject, ..)| subject.rsplit('.').next()).collect();
    assert_eq!(rules, ["brute_force_success"], "{said:?}");
    assert!(everything(&bus, "DEADLETTER").await.is_empty());
}

/// What the incidents of a bus come to: by id, the rule, the severity and the evidence.
async fn incidents(bus: &Bus) -> BTreeMap<String, (String, String, BTreeSet<String>)> {
    let mut incidents = BTreeMap::new();
    for (.., body) in everything(bus, "INCIDENTS").await {
        let message: IncidentMessage = serde_json::from_slice(&body).expect("an incident message");
        let incident = message.incident;
        let evidence = incident.events.iter().map(|event| event.id.to_string()).collect();
        let severity = incident.severity.as_str().to_owned();
        incidents.insert(incident.id.to_string(), (incident.rule.id, severity, evidence));
    }
    incidents
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recorded_stream_that_is_replayed_to_a_fresh_engine_gives_the_same_incidents() {
    let replayer = assert_cmd::cargo::cargo_bin!("sightline").with_file_name("sightline-replay");
    if !replayer.is_file() {
        eprintln!("left out: sightline-replay is not built; `cargo build --workspace` builds it");
        return;
    }
    let (recorded, fresh) = (Bus::start().await, Bus::start().await);
    let dir = tempfile::tempdir().expect("a directory");
    let mut first = worker(&recorded, &dir.path().join("a"), 1, 500, &Metrics::new()).await;
    first.announce(&shipped_rules(), false).await.expect("announced");
    publish_demo(&recorded).await;
    finish(&mut first).await;
    let mut second = worker(&fresh, &dir.path().join("b"), 1, 500, &Metrics::new()).await;
    second.announce(&shipped_rules(), false).await.expect("announced");
    let (from, to) = (recorded.server.url(), fresh.server.url());
    let replay = tokio::task::spawn_blocking(move || {
        let arguments = ["--stream", "EVENTS", "--stream-url", &from, "--to", "events", "--url", &to];
        std::process::Command::new(replayer).args(arguments).output()
    });
    let output = replay.await.expect("no panic").expect("it starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    finish(&mut second).await;
    let (before, after) = (incidents(&recorded).await, incidents(&fresh).await);
    assert!(before.len() > 10, "{}", before.len());
    assert_eq!(before, after);
}
