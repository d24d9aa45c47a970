//! Keys without end, for the benches of the state: a machine with one rule, and events for as many keys as asked for.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use sightline::bus::LogMessage;
use sightline::state::table::StateTable;
use sightline::state::{
    Checkpoint, CheckpointStore, Committed, Durability, Meta, Pace, Room, Scratch, SledStore,
};
use sightline::worker::machine::{Applied, Machine};
use sightline_schemas::EventTime;
use sightline_schemas::control::{EngineSettings, RuleFile, RulesMessage};

/// Ten failed logins of a user within ten minutes, and then a success.
pub const RULES: &str = r#"rules:
  - id: guessed
    title: Password guessed
    severity: high
    window: 10m
    ordered: true
    by: [host_id]
    steps:
      - {name: failed, min_count: 10, show: [src_ip], match: {kind: auth.login_failed}}
      - {name: succeeded, match: {kind: auth.login}}
  - id: flooded
    title: Many failed logins
    severity: low
    window: 10m
    by: [user]
    steps: [{name: failed, min_count: 1000, match: {kind: auth.login_failed}}]
"#;
/// Messages in a batch.
const BATCH: u64 = 1_000;

/// The rules as they travel.
pub fn rules() -> RulesMessage {
    let file = RuleFile { name: "bench.yaml".to_owned(), text: RULES.to_owned() };
    RulesMessage { files: vec![file], settings: EngineSettings::default(), ..RulesMessage::default() }
}

/// An event on host `host-<number>`. `user` where it has one.
pub fn event(kind: &str, host: &str, user: Option<&str>, number: u64, at: EventTime) -> Vec<u8> {
    let user = user.map(|user| format!("\"user\":\"{user}\",")).unwrap_or_default();
    format!(
        "{{\"source_event_id\":\"{number}\",\"kind\":\"{kind}\",\"severity\":\"medium\",\"ts\":\"{at}\",\
         \"host_id\":\"{host}\",{user}\"fields\":{{\"src_ip\":\"10.{}.{}.{}\"}}}}",
        number >> 16 & 255,
        number >> 8 & 255,
        number & 255,
    )
    .into_bytes()
}

/// The machine, its store, and where in the log it is.
pub struct Population {
    pub machine: Machine,
    pub store: SledStore,
    pub seq: u64,
    pub now: EventTime,
    batch: Vec<LogMessage>,
}

impl Population {
    /// Nobody, in this directory.
    pub fn begin(dir: &Path, room: Room) -> Self {
        let table = Arc::new(StateTable::new(room, Scratch::at(dir.join("scratch"))));
        let now = EventTime::parse("2026-05-08T12:00:00Z").expect("a time");
        let machine = Machine::new("EVENTS@1", rules(), table, 1, 0, now).expect("rules that make sense");
        let mut store = SledStore::at(dir.join("checkpoint"), Durability::Power);
        store.load(&mut ()).expect("a place of our own");
        Population { machine, store, seq: 0, now, batch: Vec::new() }
    }

    /// One more event; it is worked through with its batch.
    pub fn push(&mut self, body: Vec<u8>) -> Option<Applied> {
        self.seq += 1;
        self.batch.push(LogMessage {
            seq: self.seq,
            subject: Some("events.default.sentry".into()),
            content_type: None,
            content_encoding: None,
            received_at: Some(self.now),
            body: Bytes::from(body),
        });
        (self.batch.len() as u64 >= BATCH).then(|| self.work())
    }

    /// Works through what is waiting.
    pub fn work(&mut self) -> Applied {
        let batch = std::mem::take(&mut self.batch);
        let applied = self.machine.apply(&batch);
        // As the worker does between full batches.
        self.machine.tidy(Pace::Behind);
        assert_eq!(self.machine.table().fault(), None);
        applied
    }

    /// A failed login on a host of that number, some microseconds after the one before.
    pub fn failed_login(&mut self, number: u64) -> Option<Applied> {
        self.now = self.now.plus(37);
        let host = format!("host-{number:08}");
        let body = event("auth.login_failed", &host, None, self.seq, self.now);
        self.push(body)
    }

    /// A checkpoint: how long the worker stood still for it, and what it took to write it.
    pub fn checkpoint(&mut self) -> (Duration, Committed) {
        let began = Instant::now();
        self.machine.settle();
        let listing = self.machine.table().listing();
        let meta = Meta {
            log_id: "EVENTS@1".to_owned(),
            seq: self.seq,
            log_time: self.now,
            words: listing.words,
            next_chunk: listing.next_chunk,
            ..Meta::default()
        };
        let checkpoint = Checkpoint { meta, chunks: listing.chunks, new: listing.new };
        let stood_still = began.elapsed();
        let committed = self.store.commit(&checkpoint).expect("there is room");
        let numbers: Vec<u32> = checkpoint.chunks.iter().map(|line| line.number).collect();
        self.machine.table().note_saved(&numbers);
        (stood_still, committed)
    }
}

/// A line that a harness can read: name, what was measured, what it may be at most, how far it stays below, the verdict,
/// and the unit.
pub fn line(name: &str, measured: f64, target: f64, unit: &str) {
    let verdict = if measured <= target { "pass" } else { "short" };
    println!("{name} {measured:.2} {target:.2} {:.2} {verdict} {}", target / measured, unit.trim());
}

/// A line of the kernel's report on this process, in bytes; 0 where there is none.
fn status(line: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let found = status
        .lines()
        .find_map(|text| text.strip_prefix(line)?.split_whitespace().next()?.parse::<f64>().ok());
    found.unwrap_or(0.0) * 1_024.0
}

/// Memory that this process has resident now.
pub fn resident() -> f64 {
    status("VmRSS:")
}

/// The most that it ever had.
pub fn resident_at_most() -> f64 {
    status("VmHWM:")
}

pub const MIB: f64 = 1_048_576.0;

/// Runs this bench again, in a process of its own, with these arguments.
pub fn in_a_process(arguments: &[&str]) {
    let program = std::env::current_exe().expect("this bench");
    let run = std::process::Command::new(program).args(arguments).status();
    assert!(run.is_ok_and(|status| status.success()), "the run with {arguments:?} failed");
}

/// A directory on the disk that holds the build.
pub fn home() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a temporary directory")
}
