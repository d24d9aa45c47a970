//! Faults that happen once: two workers on the same work, an end under load, a checkpoint that is not what it was.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;
use sightline::state::{
    Checkpoint, CheckpointStore, ChunkLine, Durability, Loaded, Meta, NewChunk, Restore, SledStore,
};

use crate::outputs::Outputs;
use crate::process::{Life, Process};
use crate::stage::{Stage, assert_sane, publish};
use crate::workload::Workload;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_workers_on_one_log_one_stops_and_nothing_is_doubled() {
    let life = Life { batch_messages: 10, ..Life::quiet() };
    let mut stage = Stage::set_with_rules(&life).await;
    let mut workload = Workload::new(5);
    stage.publish(&workload.burst(200, None)).await;
    let mut workers = [stage.start_in(&life, "first"), stage.start_in(&life, "second")];
    let stopped = loop {
        let incident = stage.newest_incident().await;
        stage.publish(&workload.burst(30, incident.as_deref())).await;
        if let Some(stopped) = workers.iter_mut().position(|worker| worker.ended().is_some()) {
            break stopped;
        }
        assert!(stage.last_seq("EVENTS").await < 100_000, "two workers go on side by side");
    };
    assert_eq!(workers[stopped].wait(), Some(1));
    let said = workers[stopped].said();
    assert!(said.contains("error: another worker owns this output: "), "{said}");
    // The other one may have been refused at the same moment. Whoever comes next goes on where they stopped.
    for worker in &mut workers {
        worker.kill();
        assert_sane(worker);
    }
    stage.end(&life).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_worker_with_the_same_checkpoint_stops_before_it_touches_anything() {
    let life = Life::quiet();
    let mut stage = Stage::set_with_rules(&life).await;
    stage.publish(&Workload::new(6).burst(600, None)).await;
    let mut first = stage.start(&life);
    stage.until_caught_up(&mut first).await;
    let mut second = stage.start(&life);
    assert_eq!(second.wait(), Some(1));
    let said = second.said();
    assert!(said.contains("another worker uses the checkpoint at "), "{said}");
    first.stop();
    stage.end(&life).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_is_asked_to_stop_under_load_leaves_nothing_to_do_again() {
    let life = Life { batch_messages: 10, ..Life::quiet() };
    let mut stage = Stage::set_with_rules(&life).await;
    let mut workload = Workload::new(7);
    let mut reached = 1;
    for _ in 0..5 {
        let (producer, stopped) = (stage.producer.clone(), Arc::new(AtomicBool::new(false)));
        let until = Arc::clone(&stopped);
        let load = tokio::spawn(async move {
            while !until.load(Ordering::Relaxed) {
                publish(&producer, &workload.burst(100, None)).await;
            }
            workload
        });
        let mut process = stage.start(&life);
        process.until("it has begun to work", |process| {
            process.position().filter(|position| *position > reached)
        });
        process.stop();
        stopped.store(true, Ordering::Relaxed);
        assert_sane(&process);
        let lines = process.lines("drained");
        let done = lines.last().and_then(|line| line["seq"].as_u64()).expect("it says where it stopped");
        workload = load.await.expect("published");
        let mut next = stage.start(&life);
        let resumed = next.until("it resumes", |next| next.lines("resuming from the checkpoint").pop());
        assert_eq!(resumed["from_seq"].as_u64(), Some(done + 1), "nothing is read again");
        next.kill();
        reached = done;
    }
    stage.end(&life).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_waits_for_its_server_can_be_stopped() {
    let mut stage = Stage::set("").await;
    stage.bus.server.kill();
    let mut process = stage.start(&Life::quiet());
    process.until("it has looked for the server", |process| process.lines("bus_unreachable").pop());
    process.stop();
}

/// What is done to a checkpoint, and what the next worker must say of it.
type Damage = (&'static str, fn(&Path), &'static str);

const DAMAGES: [Damage; 8] = [
    (
        "directory removed",
        |dir| std::fs::remove_dir_all(dir).expect("removed"),
        "this log was worked on before, but there is no checkpoint",
    ),
    ("everything removed but the note of a commit", only_the_note_is_left, "the checkpoint is damaged: "),
    // Not half-way: an older checkpoint may lie whole in what is left, and is then resumed from with good reason.
    ("truncated", |dir| change_file(dir, |bytes| bytes.truncate(1_024)), "the checkpoint is damaged: "),
    ("bytes flipped", |dir| change_file(dir, |bytes| flip(bytes)), "the checkpoint is damaged: "),
    ("of an older format", |dir| rewrite(dir, |meta| meta.format = 0), "the checkpoint has state format 0"),
    (
        "of a newer format",
        |dir| rewrite(dir, |meta| meta.format = 999),
        "the checkpoint has state format 999, this program reads format ",
    ),
    (
        "of another stream",
        |dir| rewrite(dir, |meta| meta.log_id = "EVENTS@of-another-server".to_owned()),
        "the input log was replaced: the checkpoint is of EVENTS@of-another-server, the log is EVENTS@",
    ),
    ("ahead of the log", |dir| rewrite(dir, |meta| meta.seq += 1_000_000), ": the server lost its tail"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_checkpoint_that_is_not_what_it_was_is_named_and_the_state_rebuilt() {
    let life = Life { batch_messages: 50, ..Life::quiet() };
    let mut stage = Stage::set_with_rules(&life).await;
    let mut workload = Workload::new(8);
    stage.publish(&workload.burst(1_500, None)).await;
    let mut process = stage.start(&life);
    stage.until_caught_up(&mut process).await;
    process.stop();
    for (what, damage, expected) in DAMAGES {
        damage(&stage.state_dir());
        let incident = stage.newest_incident().await;
        stage.publish(&workload.burst(60, incident.as_deref())).await;
        let mut process = stage.start(&life);
        stage.until_caught_up(&mut process).await;
        process.stop();
        assert_sane(&process);
        let said: Vec<Value> = process.lines("rebuilding the state from the log");
        let reason = said.first().and_then(|line| line["reason"].as_str()).unwrap_or_default();
        assert!(reason.contains(expected), "{what}: {}", process.said());
    }
    stage.end(&life).await;
}

fn change_file(dir: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let file = dir.join("db");
    let mut bytes = std::fs::read(&file).expect("sled's file");
    change(&mut bytes);
    std::fs::write(file, bytes).expect("written");
}

/// One byte in every kilobyte that holds anything.
fn flip(bytes: &mut [u8]) {
    for part in bytes.chunks_mut(1_024) {
        if let Some(byte) = part.iter_mut().rev().find(|byte| **byte != 0) {
            *byte ^= 0x40;
        }
    }
}

fn only_the_note_is_left(dir: &Path) {
    std::fs::remove_file(dir.join("db")).expect("removed");
    for entry in std::fs::read_dir(dir).expect("the directory") {
        let path = entry.expect("an entry").path();
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("snap.")) {
            std::fs::remove_file(path).expect("removed");
        }
    }
}

/// The chunks of a checkpoint, as they are.
#[derive(Default)]
struct Chunks(Vec<ChunkLine>, Vec<NewChunk>);

impl Restore for Chunks {
    fn begin(&mut self, _: &Meta) -> Result<(), String> {
        Ok(())
    }

    fn chunk(&mut self, line: &ChunkLine, sealed: &[u8]) -> Result<(), String> {
        self.0.push(line.clone());
        self.1.push(NewChunk::from_sealed(line.number, sealed));
        Ok(())
    }
}

/// Writes the checkpoint anew with another head, whole and verified: only what it says of itself is odd.
fn rewrite(dir: &Path, change: impl FnOnce(&mut Meta)) {
    let mut chunks = Chunks::default();
    let mut store = SledStore::at(dir, Durability::Kill);
    let loaded = store.load(&mut chunks);
    let Ok(Loaded::Found(mut meta)) = loaded else { panic!("a whole checkpoint: {loaded:?}") };
    store.clear(None).expect("cleared");
    change(&mut meta);
    store.commit(&Checkpoint { meta, chunks: chunks.0, new: chunks.1 }).expect("there is room");
}

/// What a power failure does to a server that does not sync always: the newest messages, acknowledged or not, are gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_lost_its_tail_is_noticed_and_what_comes_in_its_place_is_said() {
    let life = Life::quiet();
    let mut stage = Stage::set_with_rules(&life).await;
    let mut workload = Workload::new(9);
    work(&mut stage, &life, &mut workload).await.stop();
    let kept = stage.last_seq("EVENTS").await;
    let log = stage.bus.server.store_dir().join("jetstream/$G/streams/EVENTS");
    let backup = stage.dir.path().join("backup");
    stage.bus.server.kill();
    copy(&log, &backup);
    stage.bus.server.revive();
    work(&mut stage, &life, &mut workload).await.stop();
    let before = Outputs::read(&stage.producer).await;

    stage.bus.server.kill();
    std::fs::remove_dir_all(&log).expect("removed");
    copy(&backup, &log);
    stage.bus.server.revive();
    assert_eq!(stage.last_seq("EVENTS").await, kept, "the rest is gone");
    let mut process = stage.start(&life);
    let said = process.until("it rebuilds", |it| it.lines("rebuilding the state from the log").pop());
    let reason = said["reason"].as_str().unwrap_or_default();
    assert!(reason.ends_with("the server lost its tail"), "{reason}");
    let doubt = process.lines("the incident log is ahead of the input log");
    assert!(!doubt.is_empty(), "the loss is reported: {}", process.said());
    stage.until_caught_up(&mut process).await;
    assert_eq!(Outputs::read(&stage.producer).await, before, "what is known is not said again");

    stage.publish(&workload.burst(800, None)).await;
    stage.until_caught_up(&mut process).await;
    process.stop();
    assert_sane(&process);
    let newer = Outputs::read(&stage.producer).await.newer_than(&before);
    assert!(newer.len_of("INCIDENTS") > 5, "what comes after the loss is looked at");
    newer.assert_same(&stage.undisturbed(&life).await.caused_behind(kept));
}

/// A worker that has worked through some more messages.
async fn work(stage: &mut Stage, life: &Life, workload: &mut Workload) -> Process {
    stage.publish(&workload.burst(800, None)).await;
    let mut process = stage.start(life);
    stage.until_caught_up(&mut process).await;
    process
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a directory");
    for entry in std::fs::read_dir(from).expect("a directory") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("copied");
        }
    }
}
