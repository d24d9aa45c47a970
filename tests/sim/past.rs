//! By what a worker knows that it has a past with a log, and answers for what is gone of it.

use std::time::Duration;

use bytes::Bytes;
use sightline::bus::memory::{MemoryLog, MemoryOutputs};
use sightline::state::{MemoryPlace, Room};
use sightline::telemetry::Readiness;
use sightline::telemetry::metrics::Metrics;
use sightline::worker::emit::COVERAGE_GAP_SUBJECT;
use sightline::worker::inspect::Status;
use sightline::worker::run::{Settings, Worker};
use sightline_schemas::EventTime;
use sightline_schemas::incident::CoverageGap;

use crate::world::SimWorker;

#[derive(Default)]
struct Stage {
    log: MemoryLog,
    incidents: MemoryOutputs,
    dead_letters: MemoryOutputs,
    place: MemoryPlace,
}

impl Stage {
    /// Three messages, of which a checkpoint holds everything; nothing is to be said of them.
    async fn with_a_checkpoint_and_no_output() -> Self {
        let stage = Stage::default();
        for second in 0..3 {
            let at = EventTime::from_micros(second * 1_000_000);
            stage.log.push(at, "events.acme.edr", &[], Bytes::from_static(b"{\"kind\": \"noise\"}"));
        }
        let mut worker = stage.begin().await;
        worker.turn().await.expect("nothing happens to it");
        worker.drain().await.expect("nothing happens to it");
        assert!(stage.place.newest().is_some_and(|image| image.meta.seq == 3));
        assert!(stage.incidents.is_empty());
        stage
    }

    async fn begin(&self) -> SimWorker {
        let settings = Settings {
            partitions: 1,
            batch_messages: 10,
            batch_wait: Duration::from_millis(1),
            tick_every: Duration::from_secs(1),
            checkpoint_every: Duration::from_secs(60),
            room: Room::unlimited(),
            scratch_dir: None,
        };
        let readiness = Readiness::new();
        let worker = Worker::begin(
            self.log.clone(),
            self.incidents.clone(),
            self.dead_letters.clone(),
            Box::new(self.place.store()),
            settings,
            Metrics::new(),
            readiness.clone(),
            Status::new(readiness, 1),
        );
        worker.await.expect("nothing happens to it")
    }

    /// First and last message of each gap that is said.
    fn gaps(&self) -> Vec<(u64, u64)> {
        let outputs = self.incidents.outputs();
        let gaps = outputs.iter().filter(|output| output.subject == COVERAGE_GAP_SUBJECT);
        let gaps = gaps.map(|output| serde_json::from_slice::<CoverageGap>(&output.body).expect("a gap"));
        gaps.map(|gap| (gap.first_missing, gap.last_missing)).collect()
    }
}

#[tokio::test]
async fn a_checkpoint_of_no_use_tells_of_a_past_until_there_is_another() {
    let damages: [(&str, fn(&MemoryPlace)); 2] = [
        ("damaged", |place| place.damage("a fault was asked for")),
        ("of another format", |place| place.forge(|meta| meta.format += 1)),
    ];
    for (what, damage) in damages {
        let stage = Stage::with_a_checkpoint_and_no_output().await;
        damage(&stage.place);
        // It refuses the checkpoint, and dies before it wrote one of its own. Meanwhile the log is cut.
        drop(stage.begin().await);
        stage.log.purge_to(3);
        drop(stage.begin().await);
        assert_eq!(stage.gaps(), [(1, 2)], "{what}");
        // One of its own makes the old one go.
        let mut worker = stage.begin().await;
        worker.turn().await.expect("nothing happens to it");
        worker.drain().await.expect("nothing happens to it");
        assert!(stage.place.newest().is_some_and(|image| image.meta.seq == 3), "{what}");
        assert_eq!(stage.gaps(), [(1, 2)], "{what}: once is enough");
    }
}

#[tokio::test]
async fn a_worker_without_a_past_does_not_answer_for_what_was_gone_before() {
    let stage = Stage::with_a_checkpoint_and_no_output().await;
    stage.place.forge(|meta| meta.log_id.push_str("-other"));
    stage.log.purge_to(3);
    drop(stage.begin().await);
    stage.place.wipe();
    drop(stage.begin().await);
    assert_eq!(stage.gaps(), []);
}
