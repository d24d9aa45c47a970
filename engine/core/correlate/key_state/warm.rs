//! States that were made by running changed rules over the past, silently, before they take effect.

use sightline_schemas::EventTime;

use super::KeyState;
use crate::correlate::incident::IncidentState;
use crate::limits::INCIDENTS_PER_KEY_MAX;
use crate::pattern::Stamp;
use crate::rule::Unit;

impl KeyState {
    /// The state goes live: its incidents were said to nobody, so each opens with what happens to it next. Those that ended
    /// meanwhile are not said at all; their evidence stays spent.
    pub fn go_live(&mut self) {
        self.incidents.retain(|incident| incident.status.is_active());
        self.incidents.iter_mut().for_each(|incident| incident.unsay());
    }

    /// Takes over what changed rules remember of the past. Incidents that the rules before have said stay as they are, and
    /// what was evidence of those that ended stays spent.
    pub fn warm_by(&mut self, unit: &Unit, mut warmed: KeyState) {
        warmed.go_live();
        self.members = warmed.members;
        self.fingerprint = warmed.fingerprint;
        self.newest = warmed.newest;
        self.touched = self.touched.max(warmed.touched);
        let spent: Vec<Stamp> = self.spent.iter().copied().collect();
        self.members.iter_mut().for_each(|member| member.forget(&spent));
        self.spent.extend(warmed.spent);
        self.spent_events = None;
        let said: Vec<Stretch> = self.incidents.iter().map(|incident| Stretch::of(incident, unit)).collect();
        for incident in warmed.incidents {
            // Near one that was said; those that were warmed with it are others.
            let near = self.incidents[..said.len()].iter().any(|said| {
                incident.first.at <= said.last.plus(unit.window)
                    && said.first.at <= incident.last.plus(unit.window)
            });
            if near {
                // What lies beyond the ones that were said is evidence of nothing, then: the next match takes it up.
                let own = Stretch::of(&incident, unit);
                let is_left = |at: EventTime| own.holds(at) && !said.iter().any(|said| said.holds(at));
                self.members.iter_mut().for_each(|member| member.release(is_left));
            } else {
                self.incidents.push(incident);
            }
        }
        self.incidents.sort_by_key(|incident| incident.first);
        let surplus = self.incidents.len().saturating_sub(INCIDENTS_PER_KEY_MAX);
        self.incidents.drain(..surplus);
    }
}

/// The event times between which evidence of an incident can lie.
struct Stretch {
    from: EventTime,
    to: EventTime,
}

impl Stretch {
    fn of(incident: &IncidentState, unit: &Unit) -> Self {
        Stretch { from: incident.first.at.minus(unit.span), to: incident.last }
    }

    fn holds(&self, at: EventTime) -> bool {
        self.from <= at && at <= self.to
    }
}
