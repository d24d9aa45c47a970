//! Faults of what a worker lives on: its disk, its input, its output, its consumer. Nothing of the worker dies.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_nats::jetstream::stream::DiscardPolicy;
use futures_util::TryStreamExt;
use sightline::bus::jetstream::{Shrink, StreamSettings, setup};
use sightline::worker::emit::COVERAGE_GAP_SUBJECT;
use sightline_schemas::incident::CoverageGap;

use crate::outputs::Outputs;
use crate::process::{Life, Process};
use crate::stage::{Stage, assert_sane, publish};
use crate::workload::Workload;

/// A mounted tmpfs; unmounted when dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: PathBuf, size: &str) -> Option<Self> {
        std::fs::create_dir_all(&at).expect("a directory");
        let options = format!("size={size}");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "none"]).arg(&at).output();
        mounted.is_ok_and(|output| output.status.success()).then_some(SmallDisk(at))
    }

    /// Fills what is left of it.
    fn fill(&self) -> PathBuf {
        let ballast = self.0.join("ballast");
        let mut bytes = 1 << 20;
        while bytes > 0 {
            let file = std::fs::OpenOptions::new().create(true).append(true).open(&ballast);
            let written = file.and_then(|mut file| std::io::Write::write_all(&mut file, &vec![1; bytes]));
            if written.is_err() {
                bytes /= 2;
            }
        }
        ballast
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("-l").arg(&self.0).status();
        assert!(unmounted.is_ok_and(|status| status.success()), "{} stays mounted", self.0.display());
    }
}

/// The value of a metric with these labels.
fn metric(process: &Process, name: &str) -> Option<f64> {
    let metrics = process.ask("/metrics")?;
    let value = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.and_then(|value| value.parse().ok())
}

fn is_not_ready(process: &Process, reason: &str) -> bool {
    process.ask("/readyz").is_some_and(|answer| answer.contains(reason))
}

fn checkpoints(process: &Process, result: &str) -> f64 {
    metric(process, &format!("sightline_checkpoints_total{{result=\"{result}\"}}")).unwrap_or(0.0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_away_for_long_is_said_all_the_while_and_costs_nothing() {
    let life = Life::quiet();
    let mut stage = Stage::set_with_rules(&life).await;
    let mut workload = Workload::new(37);
    stage.publish(&workload.burst(400, None)).await;
    let mut process = stage.start(&life);
    stage.until_caught_up(&mut process).await;
    stage.bus.server.kill();
    process.until("it knows that it is alone", |it| is_not_ready(it, "bus_away").then_some(()));
    // A minute in the long run.
    let looks = if crate::kills(100) >= 1_000 { 120 } else { 16 };
    for _ in 0..looks {
        assert!(is_not_ready(&process, "bus_away"), "{:?}", process.ask("/readyz"));
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    // Told when it begins, and now and then; not with every attempt.
    assert!(process.lines("bus_event").len() < 20, "{}", process.said());
    stage.bus.server.revive();
    process.until("it is ready again", |it| (!is_not_ready(it, "bus_away")).then_some(()));
    process.until("the new connection is counted", |it| {
        (metric(it, "sightline_reconnects_total") == Some(1.0)).then_some(())
    });
    stage.publish(&workload.burst(400, None)).await;
    stage.until_caught_up(&mut process).await;
    process.stop();
    assert_sane(&process);
    stage.end(&life).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_is_full_costs_checkpoints_and_nothing_else() {
    let life = Life { batch_messages: 50, ..Life::quiet() };
    let mut stage = Stage::set_with_rules(&life).await;
    let Some(disk) = SmallDisk::mount(stage.dir.path().join("small"), "64m") else {
        println!("skipped: mounting a small disk is not allowed here");
        return;
    };
    let mut workload = Workload::new(31);
    stage.publish(&workload.burst(600, None)).await;
    let mut process = stage.start_in(&life, "small/state");
    stage.until_caught_up(&mut process).await;
    process.until("a checkpoint is written", |it| (checkpoints(it, "ok") > 0.0).then_some(()));
    let ballast = disk.fill();
    while checkpoints(&process, "failed") == 0.0 {
        let incident = stage.newest_incident().await;
        stage.publish(&workload.burst(400, incident.as_deref())).await;
        stage.until_caught_up(&mut process).await;
        assert!(stage.last_seq("EVENTS").await < 100_000, "the disk never became full");
    }
    assert!(is_not_ready(&process, "checkpoint_failing"), "{:?}", process.ask("/readyz"));
    let said = stage.last_seq("INCIDENTS").await;
    stage.publish(&workload.burst(600, None)).await;
    stage.until_caught_up(&mut process).await;
    assert!(stage.last_seq("INCIDENTS").await > said, "incidents leave all the same");
    std::fs::remove_file(ballast).expect("ours");
    let before = checkpoints(&process, "ok");
    stage.publish(&workload.burst(100, None)).await;
    process.until("a checkpoint is written again", |it| (checkpoints(it, "ok") > before).then_some(()));
    process.until("it is ready again", |it| (!is_not_ready(it, "checkpoint_failing")).then_some(()));
    process.stop();
    assert_sane(&process);
    let mut next = stage.start_in(&life, "small/state");
    next.until("it resumes", |next| next.lines("resuming from the checkpoint").pop());
    next.stop();
    drop(disk);
    stage.end(&life).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn input_that_is_purged_behind_the_checkpoint_is_reported_and_work_goes_on() {
    let life = Life::quiet();
    let mut stage = Stage::set_with_rules(&life).await;
    let mut workload = Workload::new(32);
    stage.publish(&workload.burst(600, None)).await;
    let mut process = stage.start(&life);
    stage.until_caught_up(&mut process).await;
    process.stop();
    let seen = stage.last_seq("EVENTS").await;
    stage.publish(&workload.burst(300, None)).await;
    let kept = stage.last_seq("EVENTS").await - 50;
    stage.bus.stream("EVENTS").await.purge().sequence(kept).await.expect("purged");

    let mut process = stage.start(&life);
    stage.until_caught_up(&mut process).await;
    assert_eq!(metric(&process, "sightline_missing_messages_total"), Some((kept - seen - 1) as f64));
    let incidents = stage.bus.stream("INCIDENTS").await;
    let report = incidents.get_last_raw_message_by_subject(COVERAGE_GAP_SUBJECT).await.expect("a report");
    let gap: CoverageGap = serde_json::from_slice(&report.payload).expect("a gap");
    assert_eq!((gap.first_missing, gap.last_missing), (seen + 1, kept - 1));
    let said = stage.last_seq("INCIDENTS").await;
    stage.publish(&workload.burst(900, None)).await;
    stage.until_caught_up(&mut process).await;
    assert!(stage.last_seq("INCIDENTS").await > said, "work goes on behind the gap");
    process.stop();
    assert_sane(&process);
    // Who comes next knows of it, and reports it no more.
    let mut next = stage.start(&life);
    stage.until_caught_up(&mut next).await;
    next.stop();
    let newest = incidents.get_last_raw_message_by_subject(COVERAGE_GAP_SUBJECT).await.expect("a report");
    assert_eq!(newest.sequence, report.sequence);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_input_stream_that_is_created_anew_under_a_worker_is_begun_anew() {
    let life = Life::quiet();
    let mut stage = Stage::set_with_rules(&life).await;
    stage.publish(&Workload::new(33).burst(900, None)).await;
    let mut process = stage.start(&life);
    stage.until_caught_up(&mut process).await;
    let before = Outputs::read(&stage.producer).await;
    stage.producer.delete_stream("EVENTS").await.expect("deleted");
    setup(&stage.bus.connection, &StreamSettings::default(), Shrink::Refuse).await.expect("streams");
    process.until("it notices", |it| {
        it.lines("the input log was deleted and created again: beginning anew").pop()
    });
    let reason = process.until("it rebuilds", |it| it.lines("rebuilding the state from the log").pop());
    let reason = reason["reason"].as_str().unwrap_or_default();
    assert!(reason.contains("the input log was replaced"), "{reason}");
    process.until("its rules are in force", |it| it.lines("rules in force").pop());
    stage.publish(&Workload::new(34).burst(900, None)).await;
    stage.until_caught_up(&mut process).await;
    process.stop();
    assert_sane(&process);
    let newer = stage.finish(&life).await.newer_than(&before);
    assert!(newer.len_of("INCIDENTS") > 5, "what comes in the new log is looked at");
    newer.assert_same(&stage.undisturbed(&life).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_output_stream_that_is_full_stops_the_reading_and_loses_nothing() {
    let life = Life { batch_messages: 50, ..Life::quiet() };
    let mut stage = Stage::set_with_rules(&life).await;
    let mut workload = Workload::new(35);
    stage.publish(&workload.burst(600, None)).await;
    let mut process = stage.start(&life);
    stage.until_caught_up(&mut process).await;
    let bytes = stage.bus.stream("INCIDENTS").await.info().await.expect("its state").state.bytes;
    let limit = i64::try_from(bytes).expect("small") + 2_000;
    stage
        .bus
        .configure("INCIDENTS", |config| {
            config.max_bytes = limit;
            config.discard = DiscardPolicy::New;
        })
        .await;
    stage.publish(&workload.burst(1_500, None)).await;
    process.until("it says so", |it| is_not_ready(it, "output_blocked").then_some(()));
    let (stuck_at, said) = (process.position(), stage.last_seq("INCIDENTS").await);
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!((process.position(), stage.last_seq("INCIDENTS").await), (stuck_at, said), "it waits");
    assert!(stuck_at < Some(stage.last_seq("EVENTS").await), "and reads no further");
    stage.bus.configure("INCIDENTS", |config| config.max_bytes = 1 << 30).await;
    stage.until_caught_up(&mut process).await;
    process.until("it is ready again", |it| (!is_not_ready(it, "output_blocked")).then_some(()));
    process.stop();
    assert_sane(&process);
    stage.end(&life).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn consumers_that_are_deleted_under_load_cost_no_message() {
    let life = Life { batch_messages: 20, ..Life::quiet() };
    let mut stage = Stage::set_with_rules(&life).await;
    let mut process = stage.start(&life);
    let (producer, stopped) = (stage.producer.clone(), Arc::new(AtomicBool::new(false)));
    let until = Arc::clone(&stopped);
    let load = tokio::spawn(async move {
        let mut workload = Workload::new(36);
        // As long as it takes, and no longer than the log can bear to be worked through again.
        for _ in 0..60 {
            publish(&producer, &workload.burst(50, None)).await;
            if until.load(Ordering::Relaxed) {
                break;
            }
        }
    });
    let mut deleted = 0;
    while deleted < 6 {
        let stream = stage.bus.stream("EVENTS").await;
        let names: Vec<String> = stream.consumer_names().try_collect().await.expect("names");
        for name in names {
            // It may be gone by itself.
            deleted += usize::from(stream.delete_consumer(&name).await.is_ok());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    stopped.store(true, Ordering::Relaxed);
    load.await.expect("published");
    stage.until_caught_up(&mut process).await;
    process.stop();
    assert_sane(&process);
    stage.end(&life).await;
}

/// What is no use of a path: the state of a worker lies in a directory that is its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_state_directory_that_cannot_be_one_stops_the_worker_with_a_reason() {
    let life = Life::quiet();
    let mut stage = Stage::set("").await;
    std::fs::write(stage.dir.path().join("file"), b"").expect("written");
    let mut process = stage.start_in(&life, "file/state");
    assert_eq!(process.wait(), Some(1));
    let said = process.said();
    assert!(said.contains("cannot load the checkpoint at ") && said.contains("file/state"), "{said}");
    assert!(!Path::new(&stage.dir.path().join("file/state")).exists());
}
