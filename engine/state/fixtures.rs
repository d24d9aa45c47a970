//! What the tests of this room share: chunks of any bytes for stores, and states of a real rule for the table.

use std::collections::BTreeMap;
use std::sync::Arc;

use sightline_core::correlate::{KeyState, Now};
use sightline_core::hit::{Brief, Hit, RuleIndex};
use sightline_core::key::Key;
use sightline_core::rule::{RuleSet, Source, check};
use sightline_schemas::control::EngineSettings;
use sightline_schemas::incident::Named;
use sightline_schemas::{EventId, EventTime, Position, Severity};

use super::chunk::{Entry, Raw};
use super::state_key::StateKey;
use super::store::{ChunkLine, Meta, NewChunk, Restore};
use super::table::StateTable;

/// A chunk of these states, of which those count that `counts` says.
pub(super) fn chunk(
    number: u32,
    states: impl IntoIterator<Item = Vec<u8>>,
    counts: impl Fn(u32) -> bool,
) -> (ChunkLine, NewChunk) {
    let mut raw = Raw::default();
    let mut current = super::bits::Bits::default();
    for state in states {
        let entry = Entry { has_incidents: false, is_due: false, active: 0, hits: 1, state: &state };
        let number = raw.push(entry);
        if counts(number) {
            current.set(number);
        }
    }
    let line = ChunkLine { number, entries: raw.entries(), current: current.to_bytes() };
    (line, NewChunk::in_memory(number, Arc::new(raw)))
}

/// Takes in every state that counts, as bytes.
#[derive(Debug, Default)]
pub(super) struct Collected(pub(super) BTreeMap<u32, Vec<Vec<u8>>>);

impl Collected {
    pub(super) fn states(&self) -> usize {
        self.0.values().map(Vec::len).sum()
    }
}

impl Restore for Collected {
    fn begin(&mut self, _: &Meta) -> Result<(), String> {
        Ok(())
    }

    fn chunk(&mut self, line: &ChunkLine, sealed: &[u8]) -> Result<(), String> {
        let (_, bytes) = super::chunk::unseal(super::chunk::Kind::Chunk, u64::from(line.number), sealed)?;
        let (raw, current) = (Raw::from_bytes(bytes)?, super::bits::Bits::from_bytes(&line.current));
        let states: Result<Vec<Entry<'_>>, String> = raw.iter().collect();
        let current = (0..).zip(states?).filter(|(number, _)| current.has(*number));
        self.0.insert(line.number, current.map(|(_, entry)| entry.state.to_vec()).collect());
        Ok(())
    }
}

/// Three rules: three failed logins on a host, one of a user, and one on a host that nobody unlocks, which waits.
pub(super) fn rules() -> RuleSet {
    let text = r#"rules:
  - id: guessing
    title: Guessing
    severity: high
    window: 5m
    by: [host_id]
    steps: [{name: failed, min_count: 3, show: [command_line], match: {kind: auth.login_failed}}]
  - id: admin
    title: Admin
    severity: low
    window: 1h
    by: [user]
    steps: [{name: seen, match: {kind: auth.login_failed}}]
  - id: unanswered
    late: 1m
    ordered: true
    steps:
      - {name: failed, match: {kind: auth.login_failed}}
      - {name: unlocked, match: {kind: auth.unlocked}, absent: true, within: 2m}
"#;
    let source = Source { name: "fixtures.yaml".to_owned(), text: text.to_owned() };
    check(&[source], &EngineSettings::default()).expect("rules that make sense").rules
}

/// A hit of the first step of a rule, by its place, for a key of that number, `second` seconds after the beginning.
pub(super) fn hit(rule: u32, number: u64, second: i64) -> Hit {
    let key = format!("host-{number:07}.example.net");
    let at = EventTime::from_micros((1_767_225_600 + second) * 1_000_000);
    let brief = Brief {
        attack: None,
        source: "sentry".into(),
        kind: "auth.login_failed".into(),
        host_id: Some(key.as_str().into()),
        user: Some(format!("user{}", number % 1_000).into()),
        severity: Severity::Medium,
        title: None,
        fields: vec![Named { name: "command_line".to_owned(), value: format!("sshd: {}", number % 97) }],
    };
    Hit {
        tenant: "default".into(),
        rule: RuleIndex(rule),
        step: 0,
        key: Key::new(vec![key]),
        at,
        suspect: false,
        event: EventId::from_raw("default", "sentry", format!("{rule} {number} {second}").as_bytes()),
        position: Position::new(number + second as u64 * 1_000, 0),
        value: None,
        brief: Arc::new(brief),
    }
}

/// Log time at that second.
pub(super) fn log_time(second: i64) -> EventTime {
    EventTime::from_micros((1_767_225_600 + second) * 1_000_000 + 250_321)
}

/// Gives a hit to the state of its key, as a partition does.
pub(super) fn give(table: &StateTable, rules: &RuleSet, hit: &Hit, second: i64) {
    let unit = rules.unit_of(hit.rule);
    let key = StateKey::of(&hit.tenant, &unit.id, &hit.key);
    let fresh = || KeyState::new(Arc::clone(&hit.tenant), unit, hit.key.clone(), rules);
    let now = Now { rules, log_time: log_time(second), position: hit.position };
    table.with(key, fresh, |live| {
        live.state.hit(unit, hit, now, &mut Vec::new());
        live.dirty = true;
    });
    table.grew(1);
}

/// Every state of a table, packed alone.
pub(super) fn states(table: &StateTable) -> BTreeMap<StateKey, Vec<u8>> {
    let mut states = BTreeMap::new();
    table.for_each(|key, state| {
        let twice = states.insert(key, super::packed::pack_alone(state));
        assert!(twice.is_none(), "{key:?} is shown twice");
    });
    assert_eq!(table.fault(), None);
    states
}
