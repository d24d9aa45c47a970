//! What a run left behind: the incidents that remain, and what must be true of every run's messages.

use std::collections::BTreeMap;

use sightline::bus::Output;
use sightline_schemas::incident::StepExplain;
use sightline_schemas::{Change, EventId, EventTime, IncidentId, IncidentMessage, Severity};

/// What must not depend on the order of arrival: the part of an incident that two runs are compared by.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    pub id: IncidentId,
    pub tenant: String,
    pub rule: String,
    pub severity: Severity,
    pub first_event_at: EventTime,
    pub last_event_at: EventTime,
    pub event_count: u64,
    pub suppressed_count: u64,
    pub sources: Vec<String>,
    pub hosts: Vec<String>,
    pub users: Vec<String>,
    /// In the order in which the incident lists them.
    pub evidence: Vec<(EventTime, EventId, String, String)>,
    pub explain: Vec<StepExplain>,
}

impl Summary {
    /// That part of what a message states.
    pub fn of(message: &IncidentMessage) -> Self {
        let incident = &message.incident;
        let evidence = incident.events.iter();
        Summary {
            id: incident.id,
            tenant: incident.tenant.clone(),
            rule: incident.rule.id.clone(),
            severity: incident.severity,
            first_event_at: incident.first_event_at,
            last_event_at: incident.last_event_at,
            event_count: incident.event_count,
            suppressed_count: incident.suppressed_count,
            sources: incident.sources.clone(),
            hosts: incident.hosts.clone(),
            users: incident.users.clone(),
            evidence: evidence.map(|it| (it.occurred_at, it.id, it.rule.clone(), it.step.clone())).collect(),
            explain: incident.explain.clone(),
        }
    }
}

/// Reads the bodies that went to the incident log.
pub fn messages(outputs: &[Output]) -> Vec<IncidentMessage> {
    let read = |output: &Output| match serde_json::from_slice(&output.body) {
        Ok(message) => message,
        Err(error) => panic!("{error} in {}", String::from_utf8_lossy(&output.body)),
    };
    outputs.iter().map(read).collect()
}

/// The last message of each incident.
pub fn latest(messages: &[IncidentMessage]) -> BTreeMap<IncidentId, &IncidentMessage> {
    messages.iter().map(|message| (message.incident.id, message)).collect()
}

/// The incidents that remain, by id: the last message of each that did not go on as another one.
pub fn remaining(messages: &[IncidentMessage]) -> BTreeMap<IncidentId, Summary> {
    let latest = latest(messages).into_iter().filter(|(_, message)| message.change != Change::Merged);
    latest.map(|(id, message)| (id, Summary::of(message))).collect()
}

/// What is wrong with a run's messages whatever they are about. Nothing, if all is well.
///
/// Each incident opens at version 1 and counts on without a gap; nothing follows its merging; it explains itself.
pub fn broken_promises(messages: &[IncidentMessage]) -> Vec<String> {
    let mut broken = Vec::new();
    let mut versions: BTreeMap<IncidentId, (u64, Change)> = BTreeMap::new();
    for message in messages {
        let incident = &message.incident;
        let mut complain = |what: &str| {
            broken.push(format!(
                "{what}: {} version {} {}",
                incident.id,
                incident.version,
                message.change.as_str()
            ));
        };
        let before = versions.insert(incident.id, (incident.version, message.change));
        match before {
            None if incident.version != 1 || message.change != Change::Opened => {
                complain("does not open at version 1")
            }
            Some((version, _)) if incident.version != version + 1 => complain("version does not follow"),
            Some((_, Change::Merged)) => complain("said again after it merged"),
            Some(_) if message.change == Change::Opened => complain("opened twice"),
            _ => {}
        }
        if (message.change == Change::Merged) != incident.merged_into.is_some() {
            complain("merged into nothing, or not merged and yet into something");
        }
        if incident.merged_into == Some(incident.id) || incident.previous_incident == Some(incident.id) {
            complain("names itself");
        }
        let explained: u64 = incident.explain.iter().map(|step| step.events).sum();
        if incident.events.is_empty() || incident.rule.version.len() != 16 || explained < incident.event_count
        {
            complain("does not explain itself");
        }
        let times = incident.events.iter().map(|evidence| evidence.occurred_at);
        if times.clone().min() != Some(incident.first_event_at) || times.max() != Some(incident.last_event_at)
        {
            complain("its evidence does not span its times");
        }
        if incident.status.is_active() != incident.closed_at.is_none() {
            complain("closed and active, or neither");
        }
    }
    broken
}
