//! Everything that one key remembers of one unit of rules.

mod warm;
mod watching;

use std::collections::{BTreeSet, HashSet};
use std::hash::BuildHasherDefault;
use std::sync::Arc;

pub use watching::{Regrouped, Watched};

use serde::{Deserialize, Serialize};
use sightline_schemas::{EventId, EventTime, Position};
use smallvec::SmallVec;

use crate::correlate::effect::{Effect, Verdict};
use crate::correlate::incident::IncidentState;
use crate::correlate::moments::{Member, Used};
use crate::correlate::shadow::Shadows;
use crate::hit::Hit;
use crate::key::Key;
use crate::limits::ALLOCATION_BYTES;
use crate::pattern::track::IdHasher;
use crate::pattern::{Stamp, Track, TrackHit};
use crate::rule::policy::Rematch;
use crate::rule::{Rule, RuleSet, Timing, Unit};

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
    pub(super) tenant: Arc<str>,
    pub(super) unit: Box<str>,
    pub(super) key: Key,
    fingerprint: u64,
    /// The newest event time seen here: the key's own progress.
    pub(super) newest: EventTime,
    /// Log time of the last hit or command.
    pub(super) touched: EventTime,
    pub(super) members: SmallVec<[Member; 1]>,
    /// By first moment.
    pub(super) incidents: Vec<IncidentState>,
    /// Evidence of incidents that ended: known, so that it never counts again.
    pub(super) spent: BTreeSet<Stamp>,
    /// Made again when first needed: which events these are.
    #[serde(skip)]
    pub(super) spent_events: Option<HashSet<EventId, BuildHasherDefault<IdHasher>>>,
    /// Of a watch: the numbers of the rules that remember this key for themselves, in order.
    pub(super) apart: Box<[u64]>,
}

/// What a hit will touch of a state.
#[derive(Clone, Copy, Debug)]
pub struct Aim {
    /// The rule's place in its unit.
    pub member: u8,
    /// Its step.
    pub step: u8,
    /// The event.
    pub event: EventId,
}

/// What a rule has still to decide for a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pending {
    /// The rule's place in its unit.
    pub member: u8,
    /// How many log times there are at which it decides, if nothing does so before.
    pub deadlines: u64,
    /// The first of them.
    pub next: EventTime,
}

impl KeyState {
    /// A key that remembers nothing yet.
    pub fn new(tenant: Arc<str>, unit: &Unit, key: Key, rules: &RuleSet) -> Self {
        KeyState {
            fingerprint: unit.fingerprint,
            members: members(unit, rules),
            ..KeyState::empty(tenant, &unit.id, key)
        }
    }

    fn empty(tenant: Arc<str>, unit: &str, key: Key) -> Self {
        KeyState {
            tenant,
            unit: unit.into(),
            key,
            fingerprint: 0,
            newest: EventTime::MIN,
            touched: EventTime::MIN,
            members: SmallVec::new(),
            incidents: Vec::new(),
            spent: BTreeSet::new(),
            spent_events: None,
            apart: Box::default(),
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

    /// The hits of the step that a hit is for. Looks at all that lies on the way there.
    pub fn track_of(&self, aim: Aim) -> Option<&Track> {
        let near = (self.fingerprint, self.newest, self.touched, self.incidents.len(), self.spent.len());
        std::hint::black_box(near);
        self.members.get(usize::from(aim.member))?.tracks.get(usize::from(aim.step))
    }

    /// Bytes that the state takes, about.
    pub fn weight(&self) -> usize {
        let names = self.key.canonical().len() + self.unit.len() + 3 * ALLOCATION_BYTES;
        let hits: usize = self.members.iter().flat_map(|member| &member.tracks).map(Track::weight).sum();
        let beside: usize = self.members.iter().skip(1).map(|_| size_of::<Member>()).sum();
        let moments: usize =
            self.members.iter().map(|member| member.moments.len() * size_of::<Stamp>()).sum();
        let spent = self.spent.len() * size_of::<Stamp>();
        let apart = size_of_val(&*self.apart);
        size_of::<Self>()
            + apart
            + names
            + hits
            + beside
            + moments
            + spent
            + self.incidents.len() * INCIDENT_BYTES
    }

    /// The incidents, by first moment.
    pub fn incidents(&self) -> &[IncidentState] {
        &self.incidents
    }

    /// The earliest log time at which something held back must be said, or something that waits is settled.
    pub fn due(&self) -> Option<EventTime> {
        let incidents = self.incidents.iter().filter_map(|incident| incident.due);
        incidents.chain(self.waiting_due()).min()
    }

    /// What rules that wait have still to decide for this key.
    pub fn pending(&self) -> impl Iterator<Item = Pending> {
        self.members.iter().enumerate().filter_map(|(member, rule)| {
            let waiting = rule.waiting.as_ref()?;
            Some(Pending { member: member as u8, deadlines: waiting.pending() as u64, next: waiting.due()? })
        })
    }

    /// The earliest log time at which something that waits is settled.
    fn waiting_due(&self) -> Option<EventTime> {
        self.members.iter().filter_map(|member| member.waiting.as_ref()?.due()).min()
    }

    /// Whether the key has been still for so long, in log time, that it counts as forgotten.
    pub fn is_forgotten(&self, rules: &RuleSet, log_time: EventTime) -> bool {
        let still = log_time.since(self.touched);
        if self.touched == EventTime::MIN || still <= Self::soonest(rules) {
            return false;
        }
        // What is held back is said first: it comes due by the same time that makes forget.
        if self.due().is_some() {
            return false;
        }
        still > Self::kept_micros(rules, &self.unit, self.has_active())
    }

    /// Nothing is forgotten sooner, in microseconds of log time, and nearly every hit comes sooner.
    fn soonest(rules: &RuleSet) -> i64 {
        rules.settings.idle_micros.min(rules.settings.incident_idle_micros)
    }

    /// The last log time at which the key is remembered, if nothing touches it again.
    pub fn forget_at(&self, rules: &RuleSet) -> EventTime {
        match self.due() {
            Some(_) => EventTime::MAX,
            None => self.touched.plus(Self::kept_micros(rules, &self.unit, self.has_active())),
        }
    }

    fn has_active(&self) -> bool {
        self.incidents.iter().any(|incident| incident.status.is_active())
    }

    /// How long, in microseconds of log time, a quiet key of a unit is remembered.
    pub fn kept_micros(rules: &RuleSet, unit: &str, has_active_incident: bool) -> i64 {
        let settings = &rules.settings;
        match (has_active_incident, rules.unit_by_id(unit)) {
            (true, _) => settings.incident_idle_micros,
            // An incident that a match reopens must still be known.
            (false, Some(Unit { rematch: Rematch::Reopen { .. }, .. })) => settings.incident_idle_micros,
            (false, Some(unit)) => settings.idle_micros.saturating_add(unit.memory),
            (false, None) => {
                rules.watch_by_id(unit).map_or(settings.idle_micros, |watch| watch.kept_micros(settings))
            }
        }
    }

    /// Makes the state one of the rules in force: forgets what is forgotten, and starts afresh where the rules changed.
    pub(super) fn refresh(&mut self, unit: &Unit, now: Now<'_>) {
        if self.is_forgotten(now.rules, now.log_time) {
            *self = KeyState::new(Arc::clone(&self.tenant), unit, self.key.clone(), now.rules);
        }
        if self.fingerprint != unit.fingerprint {
            // What incidents say stands by itself; what hits mean, and how far they have come, depends on the rules.
            self.members = members(unit, now.rules);
            self.fingerprint = unit.fingerprint;
            self.newest = EventTime::MIN;
        }
    }

    /// Takes in a hit.
    pub fn hit(&mut self, unit: &Unit, hit: &Hit, now: Now<'_>, effects: &mut Vec<Effect>) -> Verdict {
        self.refresh(unit, now);
        self.touched = now.log_time;
        if hit.at < self.newest.minus(unit.reach) {
            return Verdict::Late;
        }
        let rule = now.rules.rule(hit.rule);
        let member = usize::from(rule.member);
        if self.members[member].hear(rule, hit.step, hit.at) {
            self.go_on(unit, hit, now, effects);
            return Verdict::TAKEN;
        }
        // Without what the rule cannot do without, and without a moment that the hit could join, nothing comes of it.
        let may_matter = !self.members[member].moments.is_empty()
            || rule.least.may_be_met(&self.members[member].tracks, hit);
        if self.is_spent(hit.event) || !self.members[member].tracks[usize::from(hit.step)].insert(hit) {
            return Verdict::Duplicate;
        }
        let verdict = match rule.timing {
            Timing::AtOnce if !may_matter => Verdict::TAKEN,
            Timing::AtOnce => self.found_at_once(unit, rule, hit, now, effects),
            Timing::Settled { wait } => {
                self.wait_for(unit, rule, wait, hit, now, effects);
                Verdict::TAKEN
            }
        };
        self.go_on(unit, hit, now, effects);
        verdict
    }

    /// The key's own time goes on, if the hit is newer than all before.
    fn go_on(&mut self, unit: &Unit, hit: &Hit, now: Now<'_>, effects: &mut Vec<Effect>) {
        if !hit.suspect && hit.at > self.newest {
            self.newest = hit.at;
            self.settle_by_events(unit, now, effects);
            self.trim(self.newest.minus(unit.reach));
        }
    }

    fn found_at_once(
        &mut self,
        unit: &Unit,
        rule: &Rule,
        hit: &Hit,
        now: Now<'_>,
        effects: &mut Vec<Effect>,
    ) -> Verdict {
        let shadows = Shadows::of(unit, &self.incidents);
        let found = self.members[usize::from(rule.member)].found(rule, hit, &shadows);
        let mut matches = 0;
        let mut suppressed = 0;
        // What is marked as evidence by now and still to be counted.
        let mut pending: HashSet<Used> = match self.counts_plainly() {
            true => HashSet::new(),
            false => found.iter().flat_map(|found| found.used.iter().copied()).collect(),
        };
        let mut said: SmallVec<[Stamp; 1]> = SmallVec::new();
        for found in found {
            matches += u32::from(found.is_new);
            said.extend((found.is_new && !found.is_silent).then_some(found.moment));
            if found.is_new && !rule.feeds.is_empty() {
                // A late hit can complete a window that ends with a suspect one; what is no suspect moved the clock.
                let suspect = hit.suspect || found.moment.at > self.newest.max(hit.at);
                effects.push(Effect::Complete(self.completion(rule, hit.rule, &found, suspect, now)));
            }
            let opened = self.attach(unit, rule, found, &mut pending, now, effects);
            suppressed += u32::from(!opened);
        }
        let tracks = &mut self.members[usize::from(rule.member)].tracks;
        for moment in said {
            if now.rules.are_warming {
                // Nothing of it was said: whoever says it later shows it.
                break;
            }
            // What a moment shows is in its incident now, and no later event asks for it: a flood leaves stamps only.
            tracks.iter_mut().for_each(|track| track.forget_brief(moment));
        }
        Verdict::Taken { matches, suppressed: suppressed.min(matches) }
    }

    /// Log time goes on, up to `until`: settles what waits no longer, and says what was held back and is due. The message
    /// at hand may be much later; what other rules find out in between must be here before what is later than that settles.
    pub fn pass_time(&mut self, now: Now<'_>, until: EventTime, effects: &mut Vec<Effect>) {
        if self.waiting_due().is_some_and(|due| due <= until) {
            match now.rules.unit_by_id(&self.unit) {
                Some(unit) => {
                    self.refresh(unit, now);
                    self.settle_by_log_time(unit, now, until, effects);
                }
                None => self.leave_rules(),
            }
        }
        self.say_due(now, until, effects);
    }

    /// The rules are gone: nothing waits any more, and should they come back, they start afresh.
    fn leave_rules(&mut self) {
        self.members.clear();
        self.fingerprint = !self.fingerprint;
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
}

fn members(unit: &Unit, rules: &RuleSet) -> SmallVec<[Member; 1]> {
    unit.rules.iter().map(|rule| Member::new(rules.rule(*rule))).collect()
}
