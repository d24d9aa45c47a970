//! Which incident a moment belongs to, and what must be said of it.

use std::collections::HashSet;
use std::sync::Arc;

use sightline_schemas::control::Asked;
use sightline_schemas::incident::Scope;
use sightline_schemas::{Change, EventId, EventTime, IncidentId, IncidentMessage, Status};

use crate::correlate::effect::{Completion, Effect};
use crate::correlate::incident::{Head, IncidentState};
use crate::correlate::key_state::{KeyState, Now};
use crate::correlate::moments::{Found, Used};
use crate::hit::RuleIndex;
use crate::key::Key;
use crate::limits::INCIDENTS_PER_KEY_MAX;
use crate::pattern::Stamp;
use crate::rule::policy::Rematch;
use crate::rule::{Rule, Unit};

impl KeyState {
    /// The completion of a rule that a moment is.
    pub(super) fn completion(
        &self,
        rule: &Rule,
        index: RuleIndex,
        found: &Found,
        suspect: bool,
        now: Now<'_>,
    ) -> Completion {
        let tracks = &self.members[usize::from(rule.member)].tracks;
        let completing = tracks.iter().find_map(|track| track.find(found.by).map(|at| track.hit(at)));
        let completing = completing.expect("a moment comes of a hit that is here");
        Completion {
            tenant: Arc::clone(&self.tenant),
            rule: index,
            key: self.key.clone(),
            at: found.moment.at,
            suspect,
            event: EventId::of_completion(
                &self.tenant,
                &rule.reference.id,
                self.key.canonical(),
                found.moment.at,
            ),
            position: now.position,
            brief: Arc::clone(&completing.brief),
        }
    }

    /// Gives a moment and its evidence to the incident that they belong to. Answers whether they opened it.
    pub(super) fn attach(
        &mut self,
        unit: &Unit,
        rule: &Rule,
        found: Found,
        pending: &mut HashSet<Used>,
        now: Now<'_>,
        effects: &mut Vec<Effect>,
    ) -> bool {
        if !rule.policies.generate {
            // Only the rules that build on it hear of it.
            return true;
        }
        if found.is_silent {
            return false;
        }
        let mut near = self.incidents.iter().enumerate().filter(|(_, incident)| {
            incident.status.is_active()
                && found.moment.at >= incident.first.at.minus(unit.gap)
                && found.moment.at <= incident.last.plus(unit.gap)
        });
        let earlier = near.next().map(|(at, _)| at);
        let later = near.next().map(|(at, _)| at);
        let Some(mut at) = earlier else {
            return match self.reopened_by_matches(unit) {
                Some(at) => {
                    self.match_closed(at, unit, rule, &found, pending, now, effects);
                    false
                }
                // Evidence for a moment whose incident is no longer remembered: said and gone.
                None if !found.is_new => false,
                None => {
                    self.open(unit, rule, found, pending, now, effects);
                    true
                }
            };
        };
        let mut urgent = false;
        if found.is_new {
            let first = self.incidents[at].first;
            // One that was opened again keeps the name under which people closed it.
            let moves = !self.incidents[at].was_reopened();
            if moves && found.moment.at < first.at {
                let id = self.incident_id(unit, found.moment);
                let message = self.incidents[at].rename(id, now.position, now.log_time);
                effects.push(Effect::Publish(Box::new(message)));
                urgent = true;
            }
            // Of several rules of a group that one event completes, the first in order names the incident.
            let earlier = found.moment < first
                || (found.moment == first
                    && self.incidents[at].member(unit, now.rules).is_none_or(|member| rule.member < member));
            if moves && earlier {
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
        self.say_update(unit, at, urgent, now, effects);
        false
    }

    /// The incident that ended and that matches open again, where the rule says so.
    fn reopened_by_matches(&self, unit: &Unit) -> Option<usize> {
        match unit.rematch {
            Rematch::Reopen { .. } => {
                self.incidents.iter().rposition(|incident| !incident.status.is_active())
            }
            Rematch::New => None,
        }
    }

    /// A moment of an incident that ended: it is reopened, or stays closed and says why.
    #[expect(clippy::too_many_arguments, reason = "the facts of one moment, as where it is attached")]
    fn match_closed(
        &mut self,
        at: usize,
        unit: &Unit,
        rule: &Rule,
        found: &Found,
        pending: &mut HashSet<Used>,
        now: Now<'_>,
        effects: &mut Vec<Effect>,
    ) {
        if found.is_new {
            self.incidents[at].add_moment(found.moment);
        }
        self.add_evidence(at, rule, found, pending);
        let at = self.reorder(at);
        let Rematch::Reopen { unless } = &unit.rematch else { return };
        let actor = format!("rule:{}", rule.reference.id);
        let parts = self.key.named(&unit.by);
        let key: Vec<String> = parts.iter().map(|part| format!("{} {}", part.name, part.value)).collect();
        let matched = format!("{} matched again for {}", rule.reference.id, key.join(", "));
        let incident = &mut self.incidents[at];
        let stays = incident.resolution().filter(|resolution| unless.contains(resolution));
        let message = match stays {
            // What was found already opened it, and people have ended it since.
            None if !found.is_new => None,
            None => {
                let asked = Asked { status: Status::Open, resolution: None };
                incident.change_status(asked, &actor, Some(&matched), now.position, now.log_time)
            }
            Some(resolution) => {
                let coalesce = unit.coalesce.unwrap_or(now.rules.settings.coalesce_micros);
                if !incident.may_update(now.log_time, coalesce) {
                    return incident.hold_update(coalesce);
                }
                let reason = format!("{matched}; it stays closed, as it was {}", resolution.as_str());
                Some(incident.stay_closed(&actor, reason, now.position, now.log_time))
            }
        };
        effects.extend(message.map(|message| Effect::Publish(Box::new(message))));
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
        let id = |generation| IncidentId::of(&self.tenant, &unit.id, key, moment.at, generation);
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
        for absence in &found.absences {
            self.incidents[at].add_absence(rule, *absence);
        }
        for (step, read) in &found.readings {
            self.incidents[at].add_reading(rule, &rule.steps[usize::from(*step)], *read);
        }
    }

    /// Whether each hit is an event of its own, as there is one step only.
    pub(super) fn counts_plainly(&self) -> bool {
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

    fn say_update(&mut self, unit: &Unit, at: usize, urgent: bool, now: Now<'_>, effects: &mut Vec<Effect>) {
        let coalesce = unit.coalesce.unwrap_or(now.rules.settings.coalesce_micros);
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

    /// Says what was held back and is due by `until`.
    pub(super) fn say_due(&mut self, now: Now<'_>, until: EventTime, effects: &mut Vec<Effect>) {
        for at in 0..self.incidents.len() {
            if self.incidents[at].due.is_some_and(|due| due <= until) {
                let message = self.message(at, Change::Updated, now);
                effects.push(Effect::Publish(Box::new(message)));
            }
        }
    }
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
        attack: rule.notes.attack.clone(),
        raises: rule.policies.raises.clone(),
    }
}
