//! A flood of keys against a small room in memory: cold keys go to the disk and come back when they are touched, and what
//! comes out is what comes out with all the room there is.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use sightline::bus::{LogMessage, Output};
use sightline::state::table::StateTable;
use sightline::state::{Census, Room, Scratch};
use sightline::worker::machine::Machine;
use sightline_schemas::EventTime;
use sightline_schemas::control::{EngineSettings, RuleFile, RulesMessage};

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

/// Failed logins on as many hosts, one each, and among them, seldom, on the victim; then the victim's password is known.
fn log() -> Vec<LogMessage> {
    let begin = EventTime::parse("2026-05-08T12:00:00Z").expect("a time");
    let mut log = Vec::new();
    let mut push = |kind: &str, host: &str| {
        let seq = log.len() as u64 + 1;
        let now = begin.plus(seq as i64 * 50_000);
        let body = format!(
            "{{\"source_event_id\":\"{seq}\",\"kind\":\"{kind}\",\"severity\":\"low\",\"ts\":\"{now}\",\"host_id\":\"{host}\"}}"
        );
        log.push(LogMessage {
            seq,
            subject: Some("events.default.sentry".to_owned()),
            content_type: None,
            content_encoding: None,
            received_at: Some(now),
            body: Bytes::from(body),
        });
    };
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
