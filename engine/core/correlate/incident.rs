//! What a key remembers of one incident.

use serde::{Deserialize, Serialize};
use sightline_schemas::control::Asked;
use sightline_schemas::incident::{RuleRef, Scope, SeverityBasis, StatusChange};
use sightline_schemas::{
    Change, EventTime, Incident, IncidentId, IncidentMessage, Position, Resolution, Severity, Status,
};

use crate::attack::Attack;
use crate::correlate::evidence::{Listed, StepEvidence};
use crate::correlate::moments::Absence;
use crate::correlate::readings::ReadAt;
use crate::key::Normal;
use crate::limits::FORMER_IDS_MAX;
use crate::pattern::{Stamp, TrackHit};
use crate::rule::policy::{Grown, Raise, weight};
use crate::rule::template::{Name, OfStep, filled};
use crate::rule::{Need, Rule, RuleSet, Step, Unit};

/// An incident, active or terminal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct IncidentState {
    /// Its id: it names the first moment.
    pub id: IncidentId,
    /// Ids that it had before an earlier moment came to light, or that other incidents had which it absorbed.
    pub former: Vec<IncidentId>,
    /// Where it stands.
    pub status: Status,
    /// Its first moment.
    pub first: Stamp,
    /// Event time of its last moment.
    pub last: EventTime,
    /// Log time at which a change must be published that was held back, if one was.
    pub due: Option<EventTime>,
    version: u64,
    head: Box<Head>,
    resolution: Option<Resolution>,
    first_event_at: EventTime,
    last_event_at: EventTime,
    opened_at: EventTime,
    published_at: EventTime,
    closed_at: Option<EventTime>,
    event_count: u64,
    moments: u64,
    severity_seen: Severity,
    score: u64,
    attack: Attack,
    steps: Vec<StepEvidence>,
    sources: Listed,
    hosts: Listed,
    users: Listed,
    /// The incident of this key before it.
    pub previous: Option<IncidentId>,
    reopen_count: u32,
}

/// What an incident takes over from its rule and key when it opens.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Head {
    /// The rule that opened it.
    pub rule: RuleRef,
    /// The group of that rule.
    pub group: Option<String>,
    /// Whose incident.
    pub tenant: String,
    /// One line for people.
    pub title: String,
    /// More for people.
    pub description: String,
    /// The rule's severity.
    pub severity: Severity,
    /// Whether evidence decides the severity.
    pub severity_basis: SeverityBasis,
    /// What it is about.
    pub scope: Scope,
    /// The rule's tags.
    pub tags: Vec<String>,
    /// The rule's tactics and techniques.
    pub attack: Attack,
    /// Thresholds at which the severity is raised.
    pub raises: Vec<Raise>,
}

impl IncidentState {
    /// An incident that opens with the moment `first`.
    pub fn open(
        id: IncidentId,
        head: Head,
        first: Stamp,
        previous: Option<IncidentId>,
        log_time: EventTime,
    ) -> Self {
        IncidentState {
            id,
            former: Vec::new(),
            status: Status::Open,
            first,
            last: first.at,
            due: None,
            version: 0,
            head: Box::new(head),
            resolution: None,
            first_event_at: EventTime::MAX,
            last_event_at: EventTime::MIN,
            opened_at: log_time,
            published_at: EventTime::MIN,
            closed_at: None,
            event_count: 0,
            moments: 0,
            severity_seen: Severity::Info,
            score: 0,
            attack: Attack::default(),
            steps: Vec::new(),
            sources: Listed::default(),
            hosts: Listed::default(),
            users: Listed::default(),
            previous,
            reopen_count: 0,
        }
    }

    /// Takes in a moment.
    pub fn add_moment(&mut self, moment: Stamp) {
        self.moments += 1;
        self.first = self.first.min(moment);
        self.last = self.last.max(moment.at);
    }

    /// The place of a step among those that have evidence.
    fn step(&mut self, rule: &Rule, step: &Step) -> usize {
        let at = self.steps.iter().position(|known| known.is_of(&rule.reference.id, &step.name));
        at.unwrap_or_else(|| {
            let counts_values = matches!(step.need, Need::Values(_) | Need::New(_));
            let place = (rule.reference.id.as_str(), step.name.as_str());
            let at = self.steps.partition_point(|known| known.names() < place);
            let listed = rule.policies.listed;
            let new = StepEvidence::new(place.0, place.1, step.need.threshold(), counts_values, listed);
            self.steps.insert(at, new);
            at
        })
    }

    /// Takes in that a step did not follow.
    pub(super) fn add_absence(&mut self, rule: &Rule, absence: Absence) {
        let at = self.step(rule, &rule.steps[usize::from(absence.step)]);
        self.steps[at].add_absence(absence);
    }

    /// Takes in what a step came to at a moment.
    pub(super) fn add_reading(&mut self, rule: &Rule, step: &Step, read: ReadAt) {
        let at = self.step(rule, step);
        self.steps[at].add_reading(step, read);
    }

    /// Takes in a piece of evidence. `new_event` says whether its event is not yet evidence of this incident by another
    /// step.
    pub fn add_evidence(&mut self, rule: &Rule, step: &Step, hit: &TrackHit, new_event: bool) {
        let at = self.step(rule, step);
        self.steps[at].add(hit);
        self.first_event_at = self.first_event_at.min(hit.stamp.at);
        self.last_event_at = self.last_event_at.max(hit.stamp.at);
        self.event_count += u64::from(new_event);
        self.severity_seen = self.severity_seen.max(hit.brief.severity);
        self.score += if new_event { weight(hit.brief.severity) } else { 0 };
        if let Some(attack) = &hit.brief.attack {
            self.attack.merge(attack);
        }
        self.sources.add(&hit.brief.source);
        if let Some(host) = &hit.brief.host_id {
            self.hosts.add(host);
        }
        if let Some(user) = hit.brief.user.as_deref().and_then(|user| Normal::User.apply(user)) {
            self.users.add(&user);
        }
    }

    /// The incident goes on under the id that its new first moment gives it. Says what must be said of the old id.
    pub fn rename(&mut self, id: IncidentId, cause: Position, log_time: EventTime) -> IncidentMessage {
        let mut message = self.message(Change::Merged, cause, log_time, None);
        message.incident.merged_into = Some(id);
        self.remember_former(self.id);
        self.id = id;
        // A new id is a new incident to those who listen: it opens at version 1.
        self.version = 0;
        message
    }

    /// The place in its unit of the rule that its first moment is of; `None` where that rule is gone.
    pub fn member(&self, unit: &Unit, rules: &RuleSet) -> Option<u8> {
        let rule = unit
            .rules
            .iter()
            .map(|rule| rules.rule(*rule))
            .find(|rule| rule.reference.id == self.head.rule.id);
        rule.map(|rule| rule.member)
    }

    /// Takes over the head of the rule that its first moment is of.
    pub fn set_head(&mut self, head: Head) {
        *self.head = head;
    }

    /// Takes in a later incident whole. Says what must be said of that one.
    pub fn absorb(
        &mut self,
        mut other: IncidentState,
        cause: Position,
        log_time: EventTime,
    ) -> IncidentMessage {
        let mut message = other.message(Change::Merged, cause, log_time, None);
        message.incident.merged_into = Some(self.id);
        self.remember_former(other.id);
        for id in other.former {
            self.remember_former(id);
        }
        self.moments += other.moments;
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
        self.first_event_at = self.first_event_at.min(other.first_event_at);
        self.last_event_at = self.last_event_at.max(other.last_event_at);
        self.opened_at = self.opened_at.min(other.opened_at);
        self.event_count += other.event_count;
        self.severity_seen = self.severity_seen.max(other.severity_seen);
        self.score += other.score;
        self.attack.merge(&other.attack);
        // Whoever worked on either of them works on both.
        self.status = self.status.max(other.status);
        self.reopen_count += other.reopen_count;
        self.sources.merge(other.sources);
        self.hosts.merge(other.hosts);
        self.users.merge(other.users);
        for evidence in other.steps {
            let names = evidence.names();
            match self.steps.binary_search_by(|known| known.names().cmp(&names)) {
                Ok(at) => self.steps[at].merge(evidence),
                Err(at) => self.steps.insert(at, evidence),
            }
        }
        message
    }

    fn remember_former(&mut self, id: IncidentId) {
        if self.former.len() < FORMER_IDS_MAX {
            self.former.push(id);
        }
    }

    /// Whether this id means the incident, now or formerly.
    pub fn answers_to(&self, id: IncidentId) -> bool {
        self.id == id || self.former.contains(&id)
    }

    /// The moments that opened no incident of their own.
    pub fn suppressed(&self) -> u64 {
        self.moments.saturating_sub(1)
    }

    /// Carries out a status command on an incident that may go where it is asked to. `None` where it is there already.
    pub fn change_status(
        &mut self,
        asked: Asked,
        actor: &str,
        reason: Option<&str>,
        cause: Position,
        log_time: EventTime,
    ) -> Option<IncidentMessage> {
        if self.status == asked.status && (asked.status.is_active() || self.resolution == asked.resolution) {
            return None;
        }
        let reopens = !self.status.is_active() && asked.status.is_active();
        let said = StatusChange {
            actor: actor.to_owned(),
            from: self.status,
            to: asked.status,
            reason: reason.map(str::to_owned),
        };
        self.status = asked.status;
        self.resolution = asked.resolution;
        self.closed_at = (!asked.status.is_active()).then_some(log_time);
        self.reopen_count += u32::from(reopens);
        let change = if reopens { Change::Reopened } else { Change::StatusChanged };
        Some(self.message(change, cause, log_time, Some(said)))
    }

    /// Nothing was said of it: whoever made it, made it silently.
    pub fn unsay(&mut self) {
        self.version = 0;
        self.published_at = EventTime::MIN;
        self.due = None;
    }

    /// A match that leaves the incident closed is told all the same.
    pub(super) fn stay_closed(
        &mut self,
        actor: &str,
        reason: String,
        cause: Position,
        log_time: EventTime,
    ) -> IncidentMessage {
        let (from, to) = (self.status, self.status);
        let said = StatusChange { actor: actor.to_owned(), from, to, reason: Some(reason) };
        self.message(Change::Updated, cause, log_time, Some(said))
    }

    /// Whether it ended and was opened again.
    pub(super) fn was_reopened(&self) -> bool {
        self.reopen_count > 0
    }

    /// How it ended, if it did.
    pub fn resolution(&self) -> Option<Resolution> {
        self.resolution
    }

    /// Whether nothing was said of it under this id yet.
    pub fn is_unsaid(&self) -> bool {
        self.version == 0
    }

    /// Whether an update may be said now, given the least time between two of them.
    pub fn may_update(&self, log_time: EventTime, coalesce: i64) -> bool {
        self.published_at == EventTime::MIN || log_time >= self.published_at.plus(coalesce)
    }

    /// Holds an update back until it may be said.
    pub fn hold_update(&mut self, coalesce: i64) {
        self.due = Some(self.published_at.plus(coalesce));
    }

    /// Says where the incident stands: the next version.
    pub fn message(
        &mut self,
        change: Change,
        cause: Position,
        log_time: EventTime,
        status_change: Option<StatusChange>,
    ) -> IncidentMessage {
        self.version += 1;
        self.published_at = log_time;
        self.due = None;
        IncidentMessage { v: 1, change, cause, status_change, incident: self.snapshot(log_time) }
    }

    /// The incident as it stands, for whoever asks: nothing is said by it.
    pub fn stated(&self) -> Incident {
        self.snapshot(self.published_at)
    }

    /// How bad it is, and why.
    fn severity(&self) -> (Severity, SeverityBasis) {
        let head = &*self.head;
        let own = match head.severity_basis {
            SeverityBasis::Max => self.severity_seen,
            SeverityBasis::Rule | SeverityBasis::Raised => head.severity,
        };
        let reached = head.raises.iter().filter(|raise| self.grown(&raise.grown) >= raise.least);
        match reached.map(|raise| raise.severity).max() {
            Some(raised) if raised > own => (raised, SeverityBasis::Raised),
            _ => (own, head.severity_basis),
        }
    }

    fn grown(&self, what: &Grown) -> u64 {
        match what {
            Grown::Events => self.event_count,
            Grown::Matches => self.moments,
            Grown::Hosts => self.hosts.len() as u64,
            Grown::Users => self.users.len() as u64,
            Grown::Sources => self.sources.len() as u64,
            Grown::Score => self.score,
            Grown::Values(step) => self.evidence_of(step).map_or(0, |step| step.values().len() as u64),
        }
    }

    /// The evidence of a step of the rule that names the incident.
    fn evidence_of(&self, step: &str) -> Option<&StepEvidence> {
        self.steps.iter().find(|known| known.is_of(&self.head.rule.id, step))
    }

    /// A text of the rule with the values of this incident in it.
    fn filled(&self, text: &str) -> String {
        filled(text, |name| {
            Some(match name {
                Name::Count => self.event_count.to_string(),
                Name::Matches => self.moments.to_string(),
                Name::Hosts => self.hosts.told(),
                Name::Users => self.users.told(),
                Name::Sources => self.sources.told(),
                Name::Key(part) => {
                    self.head.scope.parts.iter().find(|known| known.name == *part)?.value.clone()
                }
                Name::Step(step, what) => {
                    let step = self.evidence_of(step)?;
                    match what {
                        OfStep::Count => step.events().to_string(),
                        OfStep::Values => step.values().told(),
                        OfStep::First => step.times().0.to_string(),
                        OfStep::Last => step.times().1.to_string(),
                        OfStep::Field(field) => step.first_field(field)?.to_owned(),
                    }
                }
            })
        })
    }

    fn snapshot(&self, log_time: EventTime) -> Incident {
        let mut events: Vec<_> = self.steps.iter().flat_map(StepEvidence::shown).collect();
        events.sort_by_key(|(a, _)| *a);
        let head = &*self.head;
        let (severity, severity_basis) = self.severity();
        let mut attack = head.attack.clone();
        attack.merge(&self.attack);
        Incident {
            id: self.id,
            version: self.version,
            tenant: head.tenant.clone(),
            rule: head.rule.clone(),
            group: head.group.clone(),
            title: self.filled(&head.title),
            description: self.filled(&head.description),
            severity,
            severity_basis,
            scope: head.scope.clone(),
            host_id: self.hosts.only(),
            status: self.status,
            resolution: self.resolution,
            first_event_at: self.first_event_at,
            last_event_at: self.last_event_at,
            opened_at: self.opened_at,
            updated_at: log_time,
            closed_at: self.closed_at,
            event_count: self.event_count,
            events: events.into_iter().map(|(_, evidence)| evidence).collect(),
            sources: self.sources.texts(),
            hosts: self.hosts.texts(),
            users: self.users.texts(),
            tags: head.tags.clone(),
            attack: attack.shown(),
            suppressed_count: self.suppressed(),
            previous_incident: self.previous,
            merged_into: None,
            reopen_count: self.reopen_count,
            explain: self.steps.iter().map(StepEvidence::explain).collect(),
        }
    }
}
