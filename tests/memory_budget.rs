//! A flood of keys against a small room in memory: cold keys go to the disk and come back when they are touched, and what
//! comes out is what comes out with all the room there is. And a flood on one key.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use sightline::bus::{LogMessage, Output};
use sightline::state::table::StateTable;
use sightline::state::{Census, Room, Scratch};
use sightline::worker::machine::Machine;
use sightline_core::limits::LISTED_VALUES_MAX;
use sightline_schemas::control::{EngineSettings, RuleFile, RulesMessage};
use sightline_schemas::subject::CONTROL_TICK;
use sightline_schemas::{EventTime, IncidentMessage};

const FLOOD: u64 = 30_000;
/// Failed logins on the victim that the rule asks for.
const GUESSES: u64 = 6;

fn rules() -> RulesMessage {
    let text = format!(
        "rules:\n  - id: guessed\n    title: Guessed\n    severity: high\n    window: 1h\n    ordered: true\n    by: [host_id]\n    \
         steps:\n      - {{name: failed, min_count: {GUESSES}, match: {{kind: auth.login_failed}}}}\n      \
         - {{name: succeeded, match: {{kind: auth.login}}}}\n"
    );
    let file = RuleFile { name: "flood.yaml".to_owned(), text };
    RulesMessage { files: vec![file], settings: EngineSettings::default(), ..RulesMessage::default() }
}

/// Message `seq` of a log that gets twenty in a second: an event of that kind on that host.
fn message(seq: u64, kind: &str, host: &str) -> LogMessage {
    let now = EventTime::parse("2026-05-08T12:00:00Z").expect("a time").plus(seq as i64 * 50_000);
    let body = format!(
        "{{\"source_event_id\":\"{seq}\",\"kind\":\"{kind}\",\"severity\":\"low\",\"ts\":\"{now}\",\"host_id\":\"{host}\",\"user\":\"user-{seq}\"}}"
    );
    LogMessage {
        seq,
        subject: Some("events.default.sentry".into()),
        content_type: None,
        content_encoding: None,
        received_at: Some(now),
        body: Bytes::from(body),
    }
}

/// Failed logins on as many hosts, one each, and among them, seldom, on the victim; then the victim's password is known.
fn log() -> Vec<LogMessage> {
    let mut log = Vec::new();
    let mut push = |kind: &str, host: &str| log.push(message(log.len() as u64 + 1, kind, host));
    for number in 0..FLOOD {
        push("auth.login_failed", &format!("host-{number}"));
        if number % (FLOOD / GUESSES) == 7 {
            push("auth.login_failed", "victim");
        }
    }
    push("auth.login", "victim");
    log
}

/// What comes out of the flood, and how the states were kept in the end.
fn run(room: Room, scratch: &Path) -> (Vec<Output>, Census) {
    let table = Arc::new(StateTable::new(room, Scratch::at(scratch)));
    let mut machine =
        Machine::new("test", rules(), table, 2, 0, EventTime::MIN).expect("rules that make sense");
    let mut said = Vec::new();
    for (round, batch) in log().chunks(500).enumerate() {
        said.extend(machine.apply(batch).incidents);
        assert_eq!(machine.table().fault(), None);
        if round % 10 == 9 {
            machine.settle();
        }
    }
    (said, machine.table().census())
}

/// Every event of a hot host is a moment: what it shows is said, and its stamp is what stays of it. How much time each of a
/// million takes is for `cargo bench --bench state -- hot_key`.
/// With these rules, one partition, and all the room there is.
fn machine(rules: &str) -> Machine {
    let file = RuleFile { name: "hot.yaml".to_owned(), text: rules.to_owned() };
    let rules =
        RulesMessage { files: vec![file], settings: EngineSettings::default(), ..RulesMessage::default() };
    let table = Arc::new(StateTable::default());
    Machine::new("test", rules, table, 1, 0, EventTime::MIN).expect("rules that make sense")
}

#[test]
fn a_hot_key_is_counted_exactly_and_keeps_no_more_of_an_event_than_its_stamp() {
    const EVENTS: u64 = 20_000;
    /// A stamp and what stands around it; what the event shows, among it the host's long name, would be half as much again.
    const EACH_BYTES_MAX: u64 = 400;
    let host = "hot".repeat(70);
    let text = "rules:\n  - id: hammered\n    window: 1h\n    by: [host_id]\n    steps: [{name: failed, match: {kind: auth.login_failed}}]\n";
    let mut machine = machine(text);
    let mut log: Vec<LogMessage> = (1..=EVENTS).map(|seq| message(seq, "auth.login_failed", &host)).collect();
    // Half of them come twice, and time goes on in the end, so that what is held back is said.
    let again = log[..EVENTS as usize / 2].iter().cloned();
    let again: Vec<LogMessage> =
        again.zip(EVENTS + 1..).map(|(event, seq)| LogMessage { seq, ..event }).collect();
    log.extend(again);
    let last = log.len() as u64;
    let now = log[EVENTS as usize - 1].received_at.expect("a time").plus(3_600_000_000);
    let tick = LogMessage {
        subject: Some(CONTROL_TICK.into()),
        received_at: Some(now),
        body: Bytes::new(),
        ..message(last + 1, "", "")
    };
    log.push(tick);
    let mut newest = None;
    for batch in log.chunks(500) {
        newest = machine.apply(batch).incidents.pop().or(newest);
    }
    let newest = newest.expect("the incident is said");
    let said: IncidentMessage = serde_json::from_slice(&newest.body).expect("an incident message");
    assert_eq!(said.incident.event_count, EVENTS);
    assert_eq!(said.incident.users.len(), LISTED_VALUES_MAX, "of {EVENTS} users");
    assert!(newest.body.len() < 64 << 10, "{} bytes are said", newest.body.len());
    let census = machine.table().census();
    assert_eq!((census.counts.keys, census.open), (1, 1));
    assert!(census.open_bytes < EVENTS * EACH_BYTES_MAX, "{} bytes an event", census.open_bytes / EVENTS);
}

#[test]
fn a_key_remembers_no_more_than_can_still_count() {
    let text = "rules:\n  - id: hammered\n    window: 10s\n    late: 0s\n    by: [host_id]\n    steps: [{name: failed, min_count: 3, match: {kind: auth.login_failed}}]\n";
    let mut machine = machine(text);
    let log: Vec<LogMessage> = (1..=4_000).map(|seq| message(seq, "auth.login_failed", "hot")).collect();
    machine.apply(&log);
    // Twenty in a second.
    let hits = machine.table().census().counts.units.values().map(|unit| unit.hits).sum::<u64>();
    assert!((200..=402).contains(&hits), "{hits} of {}", log.len());
}

#[test]
fn a_slow_attack_in_a_flood_of_keys_is_found_whatever_the_room() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let (free, all) = run(Room::unlimited(), &home.path().join("free"));
    assert_eq!((all.counts.keys as u64, all.on_disk), (FLOOD + 1, 0));
    assert_eq!(free.len(), 1, "one incident, of the victim");
    assert!(String::from_utf8_lossy(&free[0].body).contains("\"victim\""));

    let budget = 4 << 20;
    let (tight, kept) = run(Room::within(budget), &home.path().join("tight"));
    assert!(tight == free, "the room decides what comes out");
    assert_eq!(kept.counts, all.counts, "nothing is forgotten for want of room");
    assert!(kept.on_disk as u64 > FLOOD / 3, "{} of {} keys are on the disk", kept.on_disk, kept.packed);
    assert!(kept.bytes() <= budget / 8 * 6, "{} bytes in memory", kept.bytes());
    assert!(all.bytes() > 2 * kept.bytes(), "without a budget it is more: {}", all.bytes());
    let (none, outside) = run(Room::none(), &home.path().join("none"));
    assert!(none == free, "the room decides what comes out");
    assert_eq!((outside.open, outside.on_disk as u64), (0, FLOOD + 1));
}
