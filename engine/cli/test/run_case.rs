//! One test through the engine: its events become messages of a log, and the machine says what it says.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use sightline_core::detect::{Memo, event_hits};
use sightline_core::rule::RuleSet;
use sightline_core::rule::case::{Case, Entry, Sent, SetStatus};
use sightline_schemas::control::{IncidentCommand, RulesMessage};
use sightline_schemas::edge::to_event;
use sightline_schemas::subject::{CONTROL_TICK, EventSubject, HEADER_DETAIL, incident_command};
use sightline_schemas::wire::{self, Form};
use sightline_schemas::{Change, EventId, EventTime, IncidentId, IncidentMessage, Position};

use crate::bus::LogMessage;
use crate::state::table::StateTable;
use crate::worker::machine::{Applied, Machine};

/// Most deadlines that are waited for at the end: rules that build on each other's deadlines come to rest far sooner.
const DEADLINES_MAX: usize = 10_000;

/// What came of a test.
#[derive(Debug, Default)]
pub struct Ran {
    /// Every incident message, in order.
    pub said: Vec<IncidentMessage>,
    /// The names of events by their ids.
    pub names: HashMap<EventId, String>,
    /// What could not be taken, and why.
    pub refused: Vec<String>,
    /// How many hits each step of each rule had, by the rule's place and the step's.
    pub hits: BTreeMap<(usize, usize), u64>,
    /// Rules that were complete, by their ids.
    pub complete: BTreeSet<String>,
    /// The messages, as the log had them.
    pub log: Vec<LogMessage>,
}

impl Ran {
    /// The last message of each incident that did not go on as another one, in order of their first evidence.
    pub fn incidents(&self) -> Vec<&IncidentMessage> {
        let latest: BTreeMap<IncidentId, &IncidentMessage> =
            self.said.iter().map(|message| (message.incident.id, message)).collect();
        let mut incidents: Vec<&IncidentMessage> =
            latest.into_values().filter(|message| message.change != Change::Merged).collect();
        incidents.sort_by_key(|message| (message.incident.first_event_at, message.incident.id));
        incidents
    }
}

/// Runs a test through rules.
pub fn run_case(rules: &Arc<RuleSet>, case: &Case) -> Ran {
    let message =
        RulesMessage { files: Vec::new(), settings: rules.settings.clone(), ..RulesMessage::default() };
    let table = Arc::new(StateTable::default());
    let machine = Machine::with_rules("test", Arc::clone(rules), message, table, 1, 0, EventTime::MIN);
    let mut running =
        Running { rules, case, machine, clock: case.base, memo: Memo::default(), ran: Ran::default() };
    for entry in &case.input {
        match entry {
            Entry::Send(sent) => running.send(sent),
            Entry::Tick(at) => running.tick(*at),
            Entry::Status(status) => running.status(status),
        }
    }
    running.end();
    running.ran
}

struct Running<'r> {
    rules: &'r Arc<RuleSet>,
    case: &'r Case,
    machine: Machine,
    clock: EventTime,
    memo: Memo,
    ran: Ran,
}

impl Running<'_> {
    fn send(&mut self, sent: &Sent) {
        let mut members = sent.members.clone();
        members.insert("ts".to_owned(), sent.at.to_string().into());
        // Two events of the same content are two events; two of the same name are one that was sent twice.
        if !["id", "source_event_id"].iter().any(|name| members.contains_key(*name)) {
            members.insert("source_event_id".to_owned(), sent.name.as_str().into());
        }
        let source = members.get("source").and_then(|source| source.as_str()).unwrap_or_default().to_owned();
        let subject = EventSubject { tenant: sent.tenant.clone(), source };
        let body = serde_json::to_vec(&members).expect("an event is plain data");
        self.clock = self.clock.max(sent.received.unwrap_or(sent.at));
        self.note(&sent.name, &subject, &body);
        self.put(subject.subject(), body);
    }

    /// Notes which event this is and what it satisfies.
    fn note(&mut self, name: &str, subject: &EventSubject, body: &[u8]) {
        let event = wire::decode(body, Form::Json)
            .and_then(|tree| to_event(tree, body, subject, self.clock, &self.rules.settings.sources));
        let mut event = match event {
            Ok(event) => event,
            Err(reject) => return self.ran.refused.push(format!("`{name}` is no event: {}", reject.detail)),
        };
        self.ran.names.insert(event.id, name.to_owned());
        let (tenant, mut hits) = (Arc::from(subject.tenant.as_str()), Vec::new());
        event_hits(self.rules, &mut event, body, &tenant, Position::default(), &mut self.memo, &mut hits);
        for hit in hits {
            for rule in self.rules.takers(hit.rule) {
                *self.ran.hits.entry((rule.get(), usize::from(hit.step))).or_default() += 1;
            }
        }
    }

    fn tick(&mut self, at: EventTime) {
        self.clock = self.clock.max(at);
        self.put(CONTROL_TICK.to_owned(), Vec::new());
    }

    fn status(&mut self, status: &SetStatus) {
        let newest = self.ran.said.iter().rfind(|message| concerns(message, &self.case.rule));
        let Some(newest) = newest else {
            let why = format!("there is no incident yet whose status could become `{}`", status.status);
            return self.ran.refused.push(why);
        };
        let resolution = status.resolution.as_ref();
        let command = IncidentCommand {
            incident: newest.incident.merged_into.unwrap_or(newest.incident.id),
            status: status.status.clone(),
            resolution: resolution.and_then(|word| serde_json::from_value(word.as_str().into()).ok()),
            actor: "test".to_owned(),
            reason: None,
        };
        let subject = incident_command(&newest.incident.tenant);
        let body = serde_json::to_vec(&command).expect("a command is plain data");
        self.clock = self.clock.max(status.at);
        self.put(subject, body);
    }

    /// Time goes on until the case ends, or until nothing more can come.
    fn end(&mut self) {
        if let Some(end) = self.case.end {
            return self.tick(end);
        }
        for _ in 0..DEADLINES_MAX {
            match self.machine.next_due() {
                Some(due) => self.tick(due),
                None => break,
            }
        }
    }

    fn put(&mut self, subject: String, body: Vec<u8>) {
        let message = LogMessage {
            seq: self.ran.log.len() as u64 + 1,
            subject: Some(subject.into()),
            content_type: None,
            content_encoding: None,
            received_at: Some(self.clock),
            body: Bytes::from(body),
        };
        let applied = self.machine.apply(std::slice::from_ref(&message));
        self.ran.log.push(message);
        self.take(&applied);
    }

    fn take(&mut self, applied: &Applied) {
        for output in &applied.incidents {
            let message = serde_json::from_slice(&output.body).expect("an incident message reads back");
            self.ran.said.push(message);
        }
        for (rule, tally) in &applied.rules {
            if tally.matches > 0 {
                self.ran.complete.insert(rule.clone());
            }
        }
        for letter in &applied.dead_letters {
            let why = letter.headers.iter().find(|(name, _)| *name == HEADER_DETAIL);
            let why = why.map_or("no event", |(_, detail)| detail.as_str()).to_owned();
            // What is no event was said by its name already.
            if !self.ran.refused.iter().any(|said| said.ends_with(&why)) {
                self.ran.refused.push(why);
            }
        }
    }
}

/// Whether an incident is one of a rule: named by it, or with evidence of its steps, as rules of a group share theirs.
pub(super) fn concerns(message: &IncidentMessage, rule: &str) -> bool {
    let incident = &message.incident;
    incident.rule.id == rule || incident.explain.iter().any(|step| step.rule == rule)
}
