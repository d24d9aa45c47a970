//! Everything that one key remembers of one unit of rules.

mod warm;

use std::collections::{BTreeSet, HashSet};
use std::hash::BuildHasherDefault;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sightline_schemas::control::IncidentCommand;
use sightline_schemas::incident::Scope;
use sightline_schemas::{Change, EventId, EventTime, IncidentId, IncidentMessage, Position};
use smallvec::SmallVec;

use crate::correlate::effect::{Completion, Effect, Refusal, Verdict};
use crate::correlate::incident::{Head, IncidentState};
use crate::correlate::moments::{Found, Member, Used};
use crate::hit::Hit;
use crate::key::Key;
use crate::limits::INCIDENTS_PER_KEY_MAX;
use crate::pattern::track::IdHasher;
use crate::pattern::{Stamp, TrackHit};
use crate::rule::{Rule, RuleSet, Unit};

/// The log's own time and place: the only clock there is.
#[derive(Clone, Copy, Debug)]
pub struct Now<'r> {
    /// The rules in force here.
    pub rules: &'r RuleSet,
    /// Log time: when the bus received the message being processed.
    pub log_time: EventTime,
    /// The message being processed.
    pub position: Position,
}

/// Bytes that an incident is taken to have: two dozen pieces of evidence of 160 bytes and what stands around them.
const INCIDENT_BYTES: usize = 4_096;

/// What one key remembers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct KeyState {
    tenant: Arc<str>,
    unit: Box<str>,
    key: Key,
    fingerprint: u64,
    /// The newest event time seen here: the key's own progress.
    newest: EventTime,
    /// Log time of the last hit or command.
    touched: EventTime,
    members: SmallVec<[Member; 1]>,
    /// By first moment.
    incidents: Vec<IncidentState>,
    /// Evidence of incidents that ended: known, so that it never counts again.
    spent: BTreeSet<Stamp>,
    /// Made again when first needed: which events these are.
    #[serde(skip)]
    spent_events: Option<HashSet<EventId, BuildHasherDefault<IdHasher>>>,
}

impl KeyState {
    /// A key that remembers nothing yet.
    pub fn new(tenant: Arc<str>, unit: &Unit, key: Key, rules: &RuleSet) -> Self {
        KeyState {
            tenant,
            unit: unit.id.as_str().into(),
            key,
            fingerprint: unit.fingerprint,
            newest: EventTime::MIN,
            touched: EventTime::MIN,
            members: members(unit, rules),
            incidents: Vec::new(),
            spent: BTreeSet::new(),
            spent_events: None,
        }
    }

    /// The unit of rules whose state this is.
    pub fn unit_id(&self) -> &str {
        &self.unit
    }

    /// Whose events these are.
    pub fn tenant(&self) -> &str {
        &self.tenant
    }

    /// The key.
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// How many hits are remembered.
    pub fn hits(&self) -> usize {
        self.members.iter().flat_map(|member| &member.tracks).map(|track| track.len()).sum()
    }

    /// What is remembered of a rule, by its place in the unit: step and hit, the oldest of each step first.
    pub fn remembered(&self, member: u8) -> impl Iterator<Item = (u8, &TrackHit)> {
        let member = self.members.get(usize::from(member));
        let tracks = member.into_iter().flat_map(|member| member.tracks.iter().enumerate());
        tracks.flat_map(|(step, track)| track.hits().iter().map(move |hit| (step as u8, hit)))
    }

    /// Bytes that the state takes, estimated: its parts by their size, without what allocators add.
    pub fn weight(&self) -> usize {
        let key: usize = self.key.values().iter().map(|value| value.len() + size_of::<Box<str>>()).sum();
        let hits = self.hits() * size_of::<TrackHit>();
        let moments: usize =
            self.members.iter().map(|member| member.moments.len() * size_of::<Stamp>()).sum();
        let spent = self.spent.len() * size_of::<Stamp>();
        size_of::<Self>() + key + hits + moments + spent + self.incidents.len() * INCIDENT_BYTES
    }

    /// The incidents, by first moment.
    pub fn incidents(&self) -> &[IncidentState] {
        &self.incidents
    }

    /// The earliest log time at which something held back must be said.
    pub fn due(&self) -> Option<EventTime> {
        self.incidents.iter().filter_map(|incident| incident.due).min()
    }

    /// Whether the key has been still for so long, in log time, that it counts as forgotten.
    pub fn is_forgotten(&self, rules: &RuleSet, log_time: EventTime) -> bool {
        // What is held back is said first: it comes due by the same time that makes forget.
        if self.due().is_some() {
            return false;
        }
        let settings = &rules.settings;
        let active = self.incidents.iter().any(|incident| incident.status.is_active());
        let kept = match (active, rules.unit_by_id(&self.unit)) {
            (true, _) => settings.incident_idle_micros,
            (false, Some(unit)) => {
                settings.idle_micros.saturating_add(unit.window).saturating_add(unit.lateness)
            }
            (false, None) => settings.idle_micros,
        };
        self.touched != EventTime::MIN && log_time.since(self.touched) > kept
    }

    /// Makes the state one of the rules in force: forgets what is forgotten, and starts afresh where the rules changed.
    fn refresh(&mut self, unit: &Unit, now: Now<'_>) {
        if self.is_forgotten(now.rules, now.log_time) {
            *self = KeyState::new(Arc::clone(&self.tenant), unit, self.key.clone(), now.rules);
        }
        if self.fingerprint != unit.fingerprint {
            // What incidents say stands by itself; what hits mean depends on the rules.
            self.members = members(unit, now.rules);
            self.fingerprint = unit.fingerprint;
        }
    }

    /// Takes in a hit.
    pub fn hit(&mut self, unit: &Unit, hit: &Hit, now: Now<'_>, effects: &mut Vec<Effect>) -> Verdict {
        self.refresh(unit, now);
        self.touched = now.log_time;
        let kept = unit.window.saturating_add(unit.lateness);
        if hit.at < self.newest.minus(kept) {
            return Verdict::Late;
        }
        let rule = now.rules.rule(hit.rule);
        let member = usize::from(rule.member);
        if self.is_spent(hit.event) || !self.members[member].tracks[usize::from(hit.step)].insert(hit) {
            return Verdict::Duplicate;
        }
        let found = self.members[member].found(rule, hit);
        let mut matches = 0;
        let mut suppressed = 0;
        // What is marked as evidence by now and still to be counted.
        let mut pending: HashSet<Used> = match self.counts_plainly() {
            true => HashSet::new(),
            false => found.iter().flat_map(|found| found.used.iter().copied()).collect(),
        };
        for found in found {
            matches += u32::from(found.is_new);
            if found.is_new && !rule.feeds.is_empty() {
                effects.push(Effect::Complete(self.completion(rule, hit, &found, now)));
            }
            let opened = self.attach(unit, rule, found, &mut pending, now, effects);
            suppressed += u32::from(!opened);
        }
        if !hit.suspect && hit.at > self.newest {
            self.newest = hit.at;
            self.trim(self.newest.minus(kept));
        }
        Verdict::Taken { matches, suppressed: suppressed.min(matches) }
    }

    fn completion(&self, rule: &Rule, hit: &Hit, found: &Found, now: Now<'_>) -> Completion {
        let member = &self.members[usize::from(rule.member)];
        // The event of the moment, which for a late hit is a later one.
        let completing =
            member.tracks.iter().find_map(|track| track.find(found.moment).map(|at| track.hit(at)));
        let brief = completing.map_or(&hit.brief, |completing| &completing.brief);
        Completion {
            tenant: Arc::clone(&self.tenant),
            rule: hit.rule,
            key: self.key.clone(),
            at: found.moment.at,
            // A late hit can complete a window that ends with a suspect one; what is no suspect moved the clock.
            suspect: hit.suspect || found.moment.at > self.newest.max(hit.at),
            event: EventId::of_completion(
                &self.tenant,
                &rule.reference.id,
                &self.key.canonical(),
                found.moment.at,
            ),
            position: now.position,
            brief: Arc::clone(brief),
        }
    }

    fn trim(&mut self, horizon: EventTime) {
        self.members.iter_mut().for_each(|member| member.trim(horizon));
        while let Some(oldest) = self.spent.first().copied().filter(|stamp| stamp.at < horizon) {
            self.spent.pop_first();
            if let Some(events) = &mut self.spent_events {
                events.remove(&oldest.event);
            }
        }
    }

    /// Whether an event is evidence of an incident that ended, whatever time it claims now.
    fn is_spent(&mut self, event: EventId) -> bool {
        if self.spent.is_empty() {
            return false;
        }
        let spent = &self.spent;
        let events = self.spent_events.get_or_insert_with(|| spent.iter().map(|stamp| stamp.event).collect());
        events.contains(&event)
    }

    /// Gives a moment and its evidence to the incident that they belong to. Answers whether they opened it.
    fn attach(
        &mut self,
        unit: &Unit,
        rule: &Rule,
        found: Found,
        pending: &mut HashSet<Used>,
        now: Now<'_>,
        effects: &mut Vec<Effect>,
    ) -> bool {
        let mut near = self.incidents.iter().enumerate().filter(|(_, incident)| {
            incident.status.is_active()
                && found.moment.at >= incident.first.at.minus(unit.window)
                && found.moment.at <= incident.last.plus(unit.window)
        });
        let earlier = near.next().map(|(at, _)| at);
        let later = near.next().map(|(at, _)| at);
        let Some(mut at) = earlier else {
            // Evidence for a moment whose incident is no longer remembered: said and gone.
            let is_new = found.is_new;
            if is_new {
                self.open(unit, rule, found, pending, now, effects);
            }
            return is_new;
        };
        let mut urgent = false;
        if found.is_new {
            let first = self.incidents[at].first;
            if found.moment.at < first.at {
                let id = self.incident_id(unit, found.moment);
                let message = self.incidents[at].rename(id, now.position, now.log_time);
                effects.push(Effect::Publish(Box::new(message)));
                urgent = true;
            }
            // Of several rules of a group that one event completes, the first in order names the incident.
            let earlier = found.moment < first
                || (found.moment == first
                    && self.incidents[at].member(unit, now.rules).is_none_or(|member| rule.member < member));
            if earlier {
                self.incidents[at].set_head(head(unit, rule, &self.tenant, &self.key));
            }
            self.incidents[at].add_moment(found.moment);
            if let Some(later) = later {
                let absorbed = self.incidents.remove(later);
                let message = self.incidents[at].absorb(absorbed, now.position, now.log_time);
                effects.push(Effect::Publish(Box::new(message)));
                urgent = true;
            }
        }
        self.add_evidence(at, rule, &found, pending);
        at = self.reorder(at);
        self.say_update(at, urgent, now, effects);
        false
    }

    /// Names the incident that opens with a moment.
    ///
    /// An id is given once. The ids that an incident had lie within its time, so the incidents that cover this instant
    /// (they ended, or the moment would be one of theirs) say how many were given for it, in every order of arrival.
    /// Only where reopened ones were merged is that too few, and what is remembered decides.
    fn incident_id(&self, unit: &Unit, moment: Stamp) -> IncidentId {
        let covers = |incident: &&IncidentState| incident.first.at <= moment.at && incident.last >= moment.at;
        let least = self.incidents.iter().filter(covers).count() as u32;
        let key = self.key.canonical();
        let id = |generation| IncidentId::of(&self.tenant, &unit.id, &key, moment.at, generation);
        let given = |id: &IncidentId| self.incidents.iter().any(|incident| incident.answers_to(*id));
        (least..u32::MAX).map(id).find(|id| !given(id)).expect("fewer incidents than numbers")
    }

    fn open(
        &mut self,
        unit: &Unit,
        rule: &Rule,
        found: Found,
        pending: &mut HashSet<Used>,
        now: Now<'_>,
        effects: &mut Vec<Effect>,
    ) {
        let id = self.incident_id(unit, found.moment);
        let head = head(unit, rule, &self.tenant, &self.key);
        let before = self.incidents.partition_point(|incident| incident.first < found.moment);
        let mut incident = IncidentState::open(id, head, found.moment, None, now.log_time);
        incident.add_moment(found.moment);
        self.incidents.insert(before, incident);
        self.add_evidence(before, rule, &found, pending);
        let message = self.message(before, Change::Opened, now);
        effects.push(Effect::Publish(Box::new(message)));
        if self.incidents.len() > INCIDENTS_PER_KEY_MAX {
            self.incidents.remove(0);
        }
    }

    fn message(&mut self, at: usize, change: Change, now: Now<'_>) -> IncidentMessage {
        if let Some(previous) = at.checked_sub(1) {
            self.incidents[at].previous = Some(self.incidents[previous].id);
        }
        self.incidents[at].message(change, now.position, now.log_time, None)
    }

    /// An incident whose first moment moved keeps its place in the order.
    fn reorder(&mut self, at: usize) -> usize {
        let incident = self.incidents.remove(at);
        let place = self.incidents.partition_point(|other| other.first < incident.first);
        self.incidents.insert(place, incident);
        place
    }

    fn add_evidence(&mut self, at: usize, rule: &Rule, found: &Found, pending: &mut HashSet<Used>) {
        let own = usize::from(rule.member);
        let plain = self.counts_plainly();
        for (track, index) in &found.used {
            let stamp = self.members[own].tracks[*track].hit(*index).stamp;
            // One event can satisfy several steps, here or in another rule of the group, and counts once.
            let new_event = plain || !self.is_counted(stamp, own, pending);
            pending.remove(&(*track, *index));
            let hit = self.members[own].tracks[*track].hit(*index);
            self.incidents[at].add_evidence(rule, &rule.steps[*track], hit, new_event);
        }
    }

    /// Whether each hit is an event of its own, as there is one step only.
    fn counts_plainly(&self) -> bool {
        self.members.len() == 1 && self.members[0].tracks.len() == 1
    }

    /// Whether an event is evidence already by some step, the pending hits of the rule `own` left aside.
    fn is_counted(&self, stamp: Stamp, own: usize, pending: &HashSet<Used>) -> bool {
        self.members.iter().enumerate().any(|(member, rule)| {
            rule.tracks.iter().enumerate().any(|(track, hits)| {
                hits.find(stamp).is_some_and(|index| {
                    hits.hit(index).used && !(member == own && pending.contains(&(track, index)))
                })
            })
        })
    }

    fn say_update(&mut self, at: usize, urgent: bool, now: Now<'_>, effects: &mut Vec<Effect>) {
        let coalesce = now.rules.settings.coalesce_micros;
        let incident = &self.incidents[at];
        // Renamed incidents open under their new id at once.
        let change = if incident.is_unsaid() { Change::Opened } else { Change::Updated };
        if urgent || incident.may_update(now.log_time, coalesce) {
            let message = self.message(at, change, now);
            effects.push(Effect::Publish(Box::new(message)));
        } else {
            self.incidents[at].hold_update(coalesce);
        }
    }

    /// Says what was held back and is due.
    pub fn say_due(&mut self, now: Now<'_>, effects: &mut Vec<Effect>) {
        for at in 0..self.incidents.len() {
            if self.incidents[at].due.is_some_and(|due| due <= now.log_time) {
                let message = self.message(at, Change::Updated, now);
                effects.push(Effect::Publish(Box::new(message)));
            }
        }
    }

    /// Carries out a status command.
    ///
    /// # Errors
    /// When the incident is not here, or cannot go there. Nothing changed then.
    pub fn command(
        &mut self,
        command: &IncidentCommand,
        asked: sightline_schemas::control::Asked,
        now: Now<'_>,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Refusal> {
        let id = command.incident;
        if self.is_forgotten(now.rules, now.log_time) {
            return Err(Refusal::NotFound(id));
        }
        let at = self
            .incidents
            .iter()
            .position(|incident| incident.answers_to(id))
            .ok_or(Refusal::NotFound(id))?;
        let from = self.incidents[at].status;
        if !from.is_active() && asked.status != from && asked.status != sightline_schemas::Status::Open {
            return Err(Refusal::Terminal { id, from: from.as_str() });
        }
        let incident = &mut self.incidents[at];
        let reason = command.reason.as_deref();
        let said = incident.change_status(asked, &command.actor, reason, now.position, now.log_time);
        if let Some(message) = said {
            effects.push(Effect::Publish(Box::new(message)));
            self.touched = now.log_time;
            if from.is_active() && !asked.status.is_active() {
                self.consume(at, now);
            }
        }
        Ok(())
    }

    /// The evidence of an incident that ended opens no other one.
    fn consume(&mut self, at: usize, now: Now<'_>) {
        let window = now.rules.unit_by_id(&self.unit).map_or(0, |unit| unit.window);
        let (first, last) = (self.incidents[at].first.at.minus(window), self.incidents[at].last);
        let mut spent = Vec::new();
        self.members.iter_mut().for_each(|member| member.consume(first, last, &mut spent));
        spent.sort_unstable();
        // Also where the same event satisfied a step without being evidence of it.
        self.members.iter_mut().for_each(|member| member.forget(&spent));
        self.spent.extend(spent);
        self.spent_events = None;
    }
}

fn members(unit: &Unit, rules: &RuleSet) -> SmallVec<[Member; 1]> {
    unit.rules.iter().map(|rule| Member::new(rules.rule(*rule))).collect()
}

fn head(unit: &Unit, rule: &Rule, tenant: &str, key: &Key) -> Head {
    Head {
        rule: rule.reference.clone(),
        group: unit.group.clone(),
        tenant: tenant.to_owned(),
        title: rule.title.clone(),
        description: rule.description.clone(),
        severity: rule.severity,
        severity_basis: rule.severity_basis,
        scope: Scope { kind: rule.scope, key: key.display(), parts: key.named(&unit.by) },
        tags: rule.tags.clone(),
    }
}
