//! The worker over logs in memory, where what it relies on fails it: its own packed states, and what it said before.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use sightline::bus::OutputLog;
use sightline::bus::memory::{MemoryLog, MemoryOutputs};
use sightline::state::{MemoryPlace, Room};
use sightline::telemetry::Readiness;
use sightline::telemetry::metrics::Metrics;
use sightline::worker::emit::COVERAGE_GAP_SUBJECT;
use sightline::worker::inspect::Status;
use sightline::worker::run::{Settings, Turn, Worker};
use sightline::worker::start::WorkerError;
use sightline_schemas::EventTime;
use sightline_schemas::control::{EngineSettings, RuleFile, RulesMessage};

type MemoryWorker = Worker<MemoryLog, MemoryOutputs, MemoryOutputs>;

fn rules() -> RulesMessage {
    let text = "rules:\n  - id: pair\n    window: 5m\n    by: [host_id]\n    steps: [{name: a, match: {kind: a}}, {name: b, match: {kind: b}}]\n";
    let file = RuleFile { name: "pair.yaml".to_owned(), text: text.to_owned() };
    RulesMessage { files: vec![file], settings: EngineSettings::default(), ..RulesMessage::default() }
}

/// An event of that kind on the one host.
fn push(log: &MemoryLog, kind: &str, second: i64) {
    let at = EventTime::parse("2026-05-08T12:00:00Z").expect("a time").plus(second * 1_000_000);
    let body =
        format!("{{\"source_event_id\":\"{second}\",\"kind\":\"{kind}\",\"host_id\":\"h\",\"ts\":\"{at}\"}}");
    log.push(at, "events.default.app", &[], Bytes::from(body));
}

/// A worker that packs every state after every batch and puts it into `scratch`. It takes no checkpoint before its end.
async fn worker(
    log: &MemoryLog,
    incidents: &MemoryOutputs,
    place: &MemoryPlace,
    scratch: &Path,
    metrics: &Metrics,
) -> MemoryWorker {
    let settings = Settings {
        partitions: 1,
        batch_messages: 100,
        batch_wait: Duration::from_millis(1),
        tick_every: Duration::from_secs(3_600),
        checkpoint_every: Duration::from_secs(3_600),
        room: Room::none(),
        scratch_dir: Some(scratch.to_owned()),
    };
    let readiness = Readiness::new();
    let status = Status::new(readiness.clone(), 1);
    let (events, dead_letters) = (log.clone(), MemoryOutputs::default());
    let store = Box::new(place.store());
    let begun = Worker::begin(
        events,
        incidents.clone(),
        dead_letters,
        store,
        settings,
        metrics.clone(),
        readiness,
        status,
    );
    begun.await.expect("the worker begins")
}

async fn work(worker: &mut MemoryWorker) {
    while worker.turn().await.expect("the worker goes on") == Turn::Worked {}
}

#[tokio::test]
async fn a_state_that_cannot_be_read_stops_the_worker_before_anything_is_said() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let scratch = home.path().join("scratch");
    let (log, incidents) = (MemoryLog::default(), MemoryOutputs::default());
    let mut worker = worker(&log, &incidents, &MemoryPlace::default(), &scratch, &Metrics::new()).await;
    worker.announce(&rules(), false).await.expect("taken");
    push(&log, "a", 1);
    work(&mut worker).await;
    for entry in std::fs::read_dir(&scratch).expect("the state lies there") {
        std::fs::write(entry.expect("an entry").path(), b"something else").expect("writable");
    }
    push(&log, "b", 2);
    let stopped = worker.turn().await.expect_err("what came before is not known any more");
    assert!(matches!(stopped, WorkerError::States(_)), "{stopped}");
    assert!(incidents.is_empty());
}

/// Nothing was said yet, so the outputs tell nothing of a past, and the checkpoint that did is cleared away.
#[tokio::test]
async fn a_worker_whose_checkpoint_was_refused_still_answers_for_what_is_cut_behind_it() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let scratch = home.path().join("scratch");
    let (log, incidents, place) = (MemoryLog::default(), MemoryOutputs::default(), MemoryPlace::default());
    let mut first = worker(&log, &incidents, &place, &scratch, &Metrics::new()).await;
    first.announce(&rules(), false).await.expect("taken");
    (1..=10).for_each(|second| push(&log, "a", second));
    work(&mut first).await;
    first.drain().await.expect("a last checkpoint");
    drop(first);
    place.owner_died();
    place.damage("bytes flipped");
    // It refuses the checkpoint, and dies before it has one of its own.
    drop(worker(&log, &incidents, &place, &scratch, &Metrics::new()).await);
    place.owner_died();
    log.purge_to(9);
    let metrics = Metrics::new();
    let mut last = worker(&log, &incidents, &place, &scratch, &metrics).await;
    work(&mut last).await;
    let said: Vec<String> = incidents.outputs().into_iter().map(|output| output.subject).collect();
    assert_eq!(said, [COVERAGE_GAP_SUBJECT]);
    assert!(metrics.render().contains("sightline_missing_messages_total 8\n"), "{}", metrics.render());
}

#[tokio::test]
async fn a_replay_that_comes_to_something_else_is_counted() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let (log, incidents) = (MemoryLog::default(), MemoryOutputs::default());
    let mut first =
        worker(&log, &incidents, &MemoryPlace::default(), &home.path().join("first"), &Metrics::new()).await;
    first.announce(&rules(), false).await.expect("taken");
    push(&log, "a", 1);
    push(&log, "b", 2);
    work(&mut first).await;
    let said = incidents.outputs();
    assert_eq!(said.len(), 1, "one pair");

    for (body, mismatches) in [(said[0].body.clone(), 0), (Bytes::from_static(b"{}"), 1)] {
        let mut published = MemoryOutputs::default();
        published.open(&log.id()).await.expect("opened");
        let mut output = said[0].clone();
        output.body = body;
        published.publish(vec![output]).await.expect("sent");
        published.flush().await.expect("stored");
        let metrics = Metrics::new();
        let mut next = worker(
            &log,
            &published,
            &MemoryPlace::default(),
            &home.path().join(mismatches.to_string()),
            &metrics,
        )
        .await;
        work(&mut next).await;
        assert_eq!(published.len(), 1, "what was published is not said again");
        let counted = format!("sightline_replay_mismatch_total {mismatches}\n");
        assert!(metrics.render().contains(&counted), "{}", metrics.render());
    }
}
