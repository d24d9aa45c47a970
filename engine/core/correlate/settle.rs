//! Deciding moments of rules that wait, in order of event time, once nothing can undo them any more.

use std::collections::HashSet;

use sightline_schemas::EventTime;

use crate::correlate::decide::Decision;
use crate::correlate::effect::{Counted, Effect};
use crate::correlate::key_state::{KeyState, Now};
use crate::correlate::moments::Used;
use crate::correlate::shadow::Shadows;
use crate::hit::Hit;
use crate::pattern::Stamp;
use crate::rule::{Rule, Timing, Unit};

impl KeyState {
    /// A hit of a rule that waits: notes when the moments that it may be are settled. Where they are already, it is too
    /// late to wait, and it is decided by what is known.
    pub(super) fn wait_for(
        &mut self,
        unit: &Unit,
        rule: &Rule,
        wait: i64,
        hit: &Hit,
        now: Now<'_>,
        effects: &mut Vec<Effect>,
    ) {
        let member = &mut self.members[usize::from(rule.member)];
        if !member.may_end_with(rule, hit.step) {
            return;
        }
        let event = Stamp { at: hit.at, event: hit.event };
        let at = hit.at.plus(wait);
        // Strictly later: what arrives at the last instant of the lateness still counts.
        let delay = wait.saturating_add(rule.late);
        let due = now.log_time.plus(delay).plus(1);
        let waiting = member.waiting.as_mut().expect("a rule that waits has one");
        if waiting.is_settled(at) || (hit.suspect && delay == 0) {
            self.decide(unit, rule, event, now, effects);
        } else if hit.suspect {
            waiting.expect_suspect(event, due);
        } else if delay > 0 {
            waiting.expect(at, due);
        }
    }

    /// The key's own newest event went on.
    pub(super) fn settle_by_events(&mut self, unit: &Unit, now: Now<'_>, effects: &mut Vec<Effect>) {
        for rule in &unit.rules {
            let rule = now.rules.rule(*rule);
            let Timing::Settled { wait } = rule.timing else { continue };
            // Without any lateness a moment is settled by itself.
            let behind = if wait.saturating_add(rule.late) == 0 { 0 } else { rule.late.saturating_add(1) };
            self.settle(unit, rule, wait, self.newest.minus(behind), now, effects);
        }
    }

    /// Log time went on, up to `until`.
    pub(super) fn settle_by_log_time(
        &mut self,
        unit: &Unit,
        now: Now<'_>,
        until: EventTime,
        effects: &mut Vec<Effect>,
    ) {
        for rule in &unit.rules {
            let rule = now.rules.rule(*rule);
            let Timing::Settled { wait } = rule.timing else { continue };
            let member = usize::from(rule.member);
            let waiting = self.members[member].waiting.as_mut().expect("a rule that waits has one");
            if let Some(upto) = waiting.settled_by(until) {
                self.settle(unit, rule, wait, upto, now, effects);
            }
            while let Some(event) =
                self.members[member].waiting.as_mut().and_then(|waiting| waiting.suspect_by(until))
            {
                self.decide(unit, rule, event, now, effects);
            }
        }
    }

    /// Decides every moment up to a time, in order.
    fn settle(
        &mut self,
        unit: &Unit,
        rule: &Rule,
        wait: i64,
        upto: EventTime,
        now: Now<'_>,
        effects: &mut Vec<Effect>,
    ) {
        let member = &mut self.members[usize::from(rule.member)];
        let waiting = member.waiting.as_mut().expect("a rule that waits has one");
        if waiting.is_settled(upto) {
            return;
        }
        let before = waiting.settle(upto);
        for event in member.ends_between(rule, before.minus(wait), upto.minus(wait)) {
            self.decide(unit, rule, event, now, effects);
        }
    }

    /// Decides whether a moment ends with an event, and says what follows.
    fn decide(&mut self, unit: &Unit, rule: &Rule, event: Stamp, now: Now<'_>, effects: &mut Vec<Effect>) {
        let index = unit.rules[usize::from(rule.member)];
        let shadows = Shadows::of(unit, &self.incidents);
        let found = match self.members[usize::from(rule.member)].decide(rule, event, &shadows) {
            Decision::Nothing => return,
            Decision::Unknown => return effects.push(Effect::Count(index, Counted::Unknown)),
            Decision::Found(found) => found,
        };
        if found.absences.iter().any(|absence| absence.unknown) {
            effects.push(Effect::Count(index, Counted::Unknown));
        }
        if !rule.feeds.is_empty() {
            let suspect = event.at > self.newest;
            effects.push(Effect::Complete(self.completion(rule, index, &found, suspect, now)));
        }
        let mut pending: HashSet<Used> = match self.counts_plainly() {
            true => HashSet::new(),
            false => found.used.iter().copied().collect(),
        };
        let opened = self.attach(unit, rule, found, &mut pending, now, effects);
        effects.push(Effect::Count(index, Counted::Match { opened }));
    }
}
