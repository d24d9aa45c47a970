//! What a running worker tells of itself on `/state`.

use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};
use sightline_core::rule::{RuleSet, Source};
use sightline_schemas::EventTime;

use crate::state::table::StateTable;
use crate::state::{Committed, UnitCount};
use crate::telemetry::{Inspect, Question, Readiness};
use crate::worker::answer;
use crate::worker::machine::{Machine, sources};

/// Shared between the loop, which writes it, and the API, which reads.
#[derive(Clone)]
pub struct Status {
    inner: Arc<Mutex<Inner>>,
    readiness: Readiness,
    partitions: usize,
}

#[derive(Default)]
struct Inner {
    table: Option<Arc<StateTable>>,
    log_id: String,
    position: u64,
    last_seq: u64,
    log_time: Option<EventTime>,
    rules: Vec<RuleLine>,
    rule_set: Option<Arc<RuleSet>>,
    files: Arc<[Source]>,
    checkpoint: Option<Value>,
}

struct RuleLine {
    id: String,
    version: String,
    unit: String,
    member: u8,
    since_position: u64,
}

impl Status {
    /// Nothing is known yet.
    pub fn new(readiness: Readiness, partitions: usize) -> Self {
        Status { inner: Arc::default(), readiness, partitions }
    }

    fn write(&self, change: impl FnOnce(&mut Inner)) {
        change(&mut self.inner.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Rules are in force.
    pub fn rules(&self, machine: &Machine) {
        let rules = machine.rules();
        let files: Arc<[Source]> = sources(&machine.rules_message().files).into();
        self.write(|inner| {
            let line = |rule: &sightline_core::rule::Rule| {
                let (id, version) = (rule.reference.id.clone(), rule.reference.version.clone());
                let since_position = machine.since().get(&id).map_or(machine.position(), |(_, since)| *since);
                let unit = rules.units[rule.unit].id.clone();
                RuleLine { id, version, unit, member: rule.member, since_position }
            };
            inner.rules = rules.rules.iter().map(line).collect();
            inner.rule_set = Some(Arc::clone(rules));
            inner.files = files;
            inner.table = Some(Arc::clone(machine.table()));
            inner.log_id = machine.log_id().to_owned();
        });
    }

    /// The place in the input log.
    pub fn progress(&self, position: u64, last_seq: u64, log_time: EventTime) {
        self.write(|inner| {
            inner.position = position;
            inner.last_seq = last_seq;
            inner.log_time = (log_time != EventTime::MIN).then_some(log_time);
        });
    }

    /// A checkpoint was written.
    pub fn checkpoint(&self, seq: u64, committed: &Committed) {
        self.write(|inner| {
            inner.checkpoint = Some(json!({
                "seq": seq,
                "time": inner.log_time,
                "bytes": committed.bytes,
                "keys": committed.keys,
                "chunks": committed.chunks,
                "seconds": committed.duration.as_secs_f64(),
            }));
        });
    }
}

/// The states, the rules in force, and their files.
type Known = (Arc<StateTable>, Arc<RuleSet>, Arc<[Source]>);

impl Status {
    /// What is in force and what is remembered, taken out of the lock: the loop must not wait for a curious reader.
    fn now(&self) -> Option<Known> {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        Some((inner.table.clone()?, inner.rule_set.clone()?, Arc::clone(&inner.files)))
    }
}

impl Inspect for Status {
    fn why_not(&self, question: &Question) -> Result<Value, String> {
        let (table, rules, _) = self.now().ok_or("the worker has not begun yet")?;
        answer::why_not(&table, &rules, question)
    }

    fn incident(&self, id: &str) -> Option<Value> {
        let (table, rules, files) = self.now()?;
        answer::incident(&table, &rules, &files, id)
    }

    fn state(&self) -> Value {
        let table = self.inner.lock().unwrap_or_else(PoisonError::into_inner).table.clone();
        // Counted without the lock: the loop must not wait for a curious reader.
        let census = table.map(|table| table.census()).unwrap_or_default();
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let rules: Vec<Value> = inner.rules.iter().enumerate().map(|(at, line)| {
            let rules = inner.rule_set.as_deref();
            let rule = rules.and_then(|rules| Some((rules, rules.rules.get(at)?)));
            let count = rule.map_or_else(UnitCount::default, |(rules, rule)| census.of_rule(rules, rule));
            let pending = census.pending.get(&line.unit).and_then(|unit| unit.get(&line.member));
            json!({
                "id": line.id, "version": line.version, "unit": line.unit, "keys": count.keys, "hits": count.hits,
                "incidents_active": count.incidents, "since_position": line.since_position,
                "pending": pending.map_or(0, |pending| pending.count), "next_due": pending.map(|pending| pending.next),
            })
        }).collect();
        let reasons: Vec<&str> = self.readiness.reasons().iter().map(|reason| reason.as_str()).collect();
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "log": {
                "id": inner.log_id, "position": inner.position, "last_seq": inner.last_seq, "log_time": inner.log_time,
            },
            "ready": { "ready": reasons.is_empty(), "reasons": reasons },
            "rules": rules,
            "keys": census.counts.keys,
            "hits": census.counts.units.values().map(|count| count.hits).sum::<u64>(),
            "bytes_estimate": census.bytes(),
            "memory": {
                "budget": census.budget,
                "open": { "keys": census.open, "bytes": census.open_bytes },
                "packed": { "keys": census.packed - census.on_disk, "bytes": census.packed_bytes },
                "on_disk": { "keys": census.on_disk },
                "index_bytes": census.index_bytes,
            },
            "partitions": self.partitions,
            "checkpoint": inner.checkpoint,
        })
    }
}
