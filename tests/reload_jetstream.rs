//! Rules that change while the log goes on, on a real server: unchanged ones keep what they remember, changed ones begin
//! with nothing or with what they come to over the log, a bad message changes nothing, and all of it replays.

mod support;

use std::path::Path;
use std::time::Duration;

use sightline::bus::jetstream::{InFlight, JetStreamEvents, JetStreamOutputs, Shrink, StreamSettings, setup};
use sightline::state::{Durability, Room, SledStore};
use sightline::telemetry::Readiness;
use sightline::telemetry::metrics::Metrics;
use sightline::worker::inspect::Status;
use sightline::worker::run::{Settings, Turn, Worker};
use sightline_schemas::IncidentMessage;
use sightline_schemas::control::{EngineSettings, RuleFile, RulesMessage};
use support::bus::Bus;

type RealWorker = Worker<JetStreamEvents, JetStreamOutputs, JetStreamOutputs>;

async fn worker(bus: &Bus, dir: &Path, partitions: usize, batch: usize) -> RealWorker {
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
    let status = Status::new(readiness.clone(), partitions);
    Worker::begin(
        JetStreamEvents::new(bus.connection.clone(), "EVENTS"),
        JetStreamOutputs::new(bus.connection.clone(), "INCIDENTS", InFlight::default()),
        JetStreamOutputs::new(bus.connection.clone(), "DEADLETTER", InFlight::default()),
        Box::new(SledStore::at(dir, Durability::Kill)),
        settings,
        Metrics::new(),
        readiness,
        status,
    )
    .await
    .expect("a worker")
}

async fn finish(worker: &mut RealWorker) {
    let mut idle = 0;
    while idle < 3 {
        idle = match worker.turn().await.expect("the worker goes on") {
            Turn::Idle if !worker.has_something_to_say() => idle + 1,
            _ => 0,
        };
    }
}

fn rule(id: &str, kind: &str, count: u32) -> String {
    format!("  - id: {id}\n    steps: [{{name: s, match: {{kind: {kind}}}, min_count: {count}}}]\n")
}

fn rules(of: &[String]) -> RulesMessage {
    let text = format!("rules:\n{}", of.concat());
    let files = vec![RuleFile { name: "rules.yaml".to_owned(), text }];
    RulesMessage { files, settings: EngineSettings::default(), ..RulesMessage::default() }
}

async fn send(bus: &Bus, kind: &str, second: u32) {
    let body = format!(
        "{{\"source\":\"s\",\"kind\":\"{kind}\",\"host_id\":\"a\",\"ts\":\"2026-01-01T00:00:{second:02}Z\"}}"
    );
    bus.plain.publish("events.default.s", body.into()).await.expect("sent").await.expect("stored");
}

/// Bodies of a stream, in order.
async fn bodies(bus: &Bus, stream: &str) -> Vec<Vec<u8>> {
    let mut stream = bus.plain.get_stream(stream).await.expect("the stream");
    let last = stream.info().await.expect("its state").state.last_sequence;
    let mut bodies = Vec::new();
    for seq in 1..=last {
        bodies.push(stream.get_raw_message(seq).await.expect("a message").payload.to_vec());
    }
    bodies
}

/// What was said, in order: `change rule events`.
async fn said(bus: &Bus) -> Vec<String> {
    let told = |body: &Vec<u8>| {
        let message: IncidentMessage = serde_json::from_slice(body).expect("an incident");
        let incident = &message.incident;
        format!("{} {} {}", message.change.as_str(), incident.rule.id, incident.event_count)
    };
    bodies(bus, "INCIDENTS").await.iter().map(told).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changed_rules_begin_cold_or_warm_and_every_replay_says_the_same() {
    let bus = Bus::start().await;
    let dir = tempfile::tempdir().expect("a directory");
    let mut live = worker(&bus, &dir.path().join("live"), 1, 100).await;
    let keep = rule("keep", "a", 3);
    live.announce(&rules(&[keep.clone(), rule("change", "b", 3)]), false).await.expect("announced");
    send(&bus, "a", 1).await;
    send(&bus, "b", 1).await;
    finish(&mut live).await;

    // Cold: of three, the one before the change does not count. What is unchanged remembers its first.
    live.announce(&rules(&[keep.clone(), rule("change", "b", 2)]), false).await.expect("announced");
    send(&bus, "a", 2).await;
    send(&bus, "b", 2).await;
    finish(&mut live).await;
    assert_eq!(said(&bus).await, Vec::<String>::new());
    send(&bus, "a", 3).await;
    finish(&mut live).await;
    assert_eq!(said(&bus).await, ["opened keep 3"]);

    // Warm: both that are in the log count, and the third completes it.
    let warm = rules(&[keep.clone(), rule("change", "b", 4), rule("past", "a", 2)]);
    assert!(live.announce(&warm, true).await.expect("announced"));
    assert!(!live.announce(&warm, true).await.expect("announced"), "the log has them already");
    finish(&mut live).await;
    // What `past` would have found in the past is said to nobody.
    assert_eq!(said(&bus).await, ["opened keep 3"]);
    send(&bus, "b", 3).await;
    send(&bus, "b", 4).await;
    finish(&mut live).await;
    assert_eq!(said(&bus).await, ["opened keep 3", "opened change 4"]);
    // With the next evidence it is said, with all that belongs to it.
    send(&bus, "a", 5).await;
    finish(&mut live).await;
    // Updates wait until a second has passed since the message before: which of the two comes first is the clock's to say.
    let mut last = said(&bus).await.split_off(2);
    last.sort();
    assert_eq!(last, ["opened past 4", "updated keep 4"]);
    live.drain().await.expect("drained");
    drop(live);

    let (incidents, dead) = (bodies(&bus, "INCIDENTS").await, bodies(&bus, "DEADLETTER").await);
    assert!(dead.is_empty());
    for (partitions, batch, turns_before_restart) in [(3, 1, 2), (2, 5, 1), (1, 100, 50)] {
        for stream in ["INCIDENTS", "DEADLETTER"] {
            bus.plain.delete_stream(stream).await.expect("deleted");
        }
        setup(&bus.connection, &StreamSettings::default(), Shrink::Refuse).await.expect("streams");
        let dir = dir.path().join(format!("run-{partitions}-{batch}"));
        for _ in 0..12 {
            let mut again = worker(&bus, &dir, partitions, batch).await;
            for _ in 0..turns_before_restart {
                again.turn().await.expect("the worker goes on");
            }
            again.drain().await.expect("drained");
        }
        finish(&mut worker(&bus, &dir, partitions, batch).await).await;
        assert_eq!(bodies(&bus, "INCIDENTS").await, incidents, "{partitions} partitions, batches of {batch}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_rules_message_changes_nothing_and_says_why() {
    let bus = Bus::start().await;
    let dir = tempfile::tempdir().expect("a directory");
    let mut worker = worker(&bus, dir.path(), 1, 100).await;
    worker.announce(&rules(&[rule("keep", "a", 2)]), false).await.expect("announced");
    send(&bus, "a", 1).await;
    finish(&mut worker).await;
    let mut bad = rules(&[rule("keep", "a", 0)]);
    bad.warm_from = Some(1);
    let body = serde_json::to_vec(&bad).expect("plain data");
    bus.plain.publish("control.rules", body.into()).await.expect("sent").await.expect("stored");
    bus.plain.publish("control.rules", "no rules".into()).await.expect("sent").await.expect("stored");
    send(&bus, "a", 2).await;
    finish(&mut worker).await;
    assert_eq!(said(&bus).await, ["opened keep 2"], "the old rules go on, with what they remember");
    let mut stream = bus.plain.get_stream("DEADLETTER").await.expect("the stream");
    assert_eq!(stream.info().await.expect("its state").state.messages, 2);
    let told = stream.get_raw_message(1).await.expect("a dead letter");
    let why = told.headers.get("Sightline-Detail").expect("why").as_str().to_owned();
    assert!(why.contains("rules.yaml:3:") && why.contains("`min_count`"), "{why}");
}
