//! A state that several rules have in common: the hits that all of them take, as long as nobody has more to remember.
//!
//! A rule that may be complete with a hit *parts*: it gets a state of its own, which is what it would have come to alone, and
//! from then on takes its hits there. So what a rule says does not depend on who else looks at the same events.

use std::collections::HashMap;
use std::sync::Arc;

use sightline_schemas::EventTime;
use smallvec::SmallVec;

use super::{KeyState, Now};
use crate::correlate::effect::Verdict;
use crate::correlate::moments::Member;
use crate::hit::{Hit, RuleIndex};
use crate::key::Key;
use crate::pattern::Track;
use crate::rule::watch::Want;
use crate::rule::{RuleSet, Unit, Watch};

/// What came of a hit for the rules of a watch. Rules are named by their place in it.
#[derive(Debug, Default)]
pub struct Watched {
    /// All that are not apart remember it together, and nothing came of it.
    pub is_shared: bool,
    /// What became of it for each rule that is not apart, where that is something else.
    pub each: Vec<(usize, Verdict)>,
    /// States that rules get now: they stand for what was before the hit.
    pub parting: Vec<(usize, KeyState)>,
    /// The rules that have states of their own and are still to be given the hit, those that part among them.
    pub apart: Vec<usize>,
}

impl KeyState {
    /// What a watch remembers of a key before its first hit.
    pub fn of_watch(tenant: Arc<str>, watch: &Watch, key: Key) -> Self {
        KeyState::empty(tenant, &watch.id, key)
    }

    /// The watch begins with the key, or begins again after all was forgotten: these rules have states of their own.
    pub fn begin_watch(&mut self, watch: &Watch, apart: impl Iterator<Item = usize>, rules: &RuleSet) {
        self.members = SmallVec::from_elem(Member::new(rules.rule(watch.rules[0])), 1);
        (self.newest, self.touched) = (EventTime::MIN, EventTime::MIN);
        self.apart = Box::default();
        self.part(apart.map(|place| watch.wants[place].number));
    }

    /// Takes in a hit for the rules of a watch; `None` where it has to begin first.
    pub fn watch(&mut self, watch: &Watch, hit: &Hit, now: Now<'_>) -> Option<Watched> {
        if self.members.is_empty() || self.is_forgotten(now.rules, now.log_time) {
            return None;
        }
        self.forget_for_some(watch, now);
        self.touched = now.log_time;
        let tracks = &mut self.members[0].tracks;
        let known = tracks[usize::from(hit.step)].of_event(hit.event).map(|known| known.stamp.at);
        let is_old = hit.at < self.newest.minus(watch.reach.0);
        let is_plain = known.is_none() && !is_old && !watch.least.may_be_met(tracks, hit);
        let watched = match is_plain {
            true => {
                let mut apart: Vec<usize> =
                    self.apart.iter().filter_map(|number| watch.place(*number)).collect();
                apart.sort_unstable();
                Watched { is_shared: true, apart, ..Watched::default() }
            }
            false => self.look_closer(watch, hit, known, now.rules),
        };
        if self.apart.len() == watch.rules.len() {
            // Nobody is left who would ask for them.
            self.members[0].tracks.iter_mut().for_each(|track| *track = Track::default());
        } else if known.is_none() && hit.at >= self.newest.minus(watch.reach.1) {
            self.members[0].tracks[usize::from(hit.step)].insert(hit);
        }
        // An event that was here says nothing of how far the key has come.
        if known.is_none() && !hit.suspect && hit.at > self.newest {
            self.newest = hit.at;
            self.trim(self.newest.minus(watch.reach.1));
        }
        Some(watched)
    }

    /// Rules that remember less long than the key was still begin afresh, apart from those that remember it.
    fn forget_for_some(&mut self, watch: &Watch, now: Now<'_>) {
        let still = now.log_time.since(self.touched);
        if self.touched == EventTime::MIN || still <= Self::soonest(now.rules) {
            return;
        }
        let is_forgotten = |(rule, _): &(&RuleIndex, &Want)| {
            still > Self::kept_micros(now.rules, &now.rules.unit_of(**rule).id, false)
        };
        let forgotten = watch.rules.iter().zip(&watch.wants).filter(is_forgotten);
        self.part(forgotten.map(|(_, want)| want.number));
    }

    /// What a hit is for each rule. `known` is when it happened, where it is here already.
    fn look_closer(
        &mut self,
        watch: &Watch,
        hit: &Hit,
        known: Option<EventTime>,
        rules: &RuleSet,
    ) -> Watched {
        let mut watched = Watched::default();
        for (place, want) in watch.wants.iter().enumerate() {
            if self.apart.binary_search(&want.number).is_ok() {
                watched.apart.push(place);
                continue;
            }
            let horizon = self.newest.minus(want.reach);
            if hit.at < horizon {
                watched.each.push((place, Verdict::Late));
            } else if known.is_some_and(|at| at >= horizon) {
                watched.each.push((place, Verdict::Duplicate));
            } else if known.is_some() || want.least.may_be_met(&self.members[0].tracks, hit) {
                watched.parting.push((place, self.own(rules.unit_of(watch.rules[place]), rules)));
                watched.apart.push(place);
            } else {
                watched.each.push((place, Verdict::TAKEN));
            }
        }
        self.part(watched.parting.iter().map(|(place, _)| watch.wants[*place].number));
        watched
    }

    /// What a rule that is not apart would have come to alone.
    pub fn own(&self, unit: &Unit, rules: &RuleSet) -> KeyState {
        let mut own = KeyState::new(Arc::clone(&self.tenant), unit, self.key.clone(), rules);
        (own.newest, own.touched) = (self.newest, self.touched);
        let horizon = self.newest.minus(unit.reach);
        for (own, common) in own.members[0].tracks.iter_mut().zip(self.common()) {
            *own = common.copied_since(horizon);
        }
        own
    }

    fn common(&self) -> &[Track] {
        self.members.first().map_or(&[], |member| &member.tracks)
    }

    /// Whether a rule of that unit shares what the watch remembers here.
    pub fn is_shared_with(&self, unit: &Unit) -> bool {
        !self.members.is_empty() && self.apart.binary_search(&unit.number).is_err()
    }

    fn part(&mut self, numbers: impl Iterator<Item = u64>) {
        let mut apart = self.apart.to_vec();
        apart.extend(numbers);
        apart.sort_unstable();
        apart.dedup();
        self.apart = apart.into();
    }

    /// Other rules come into force, and the watch has others than before, or is none any more. Who is new begins apart: what
    /// is here was not remembered for it. `now` is under the rules before. Gives the states of those that are in force still,
    /// and go.
    pub fn regroup(
        &mut self,
        change: &Regrouped<'_>,
        now: Now<'_>,
        rules: &RuleSet,
    ) -> Vec<(RuleIndex, KeyState)> {
        if self.members.is_empty() {
            return Vec::new();
        }
        // How long it is remembered by whom must not depend on when it is touched next.
        self.forget_for_some(change.before, now);
        let going = change.going.iter().map(|rule| (*rule, rules.unit_of(*rule)));
        let going = going.filter(|(_, unit)| self.is_shared_with(unit));
        let going = going.map(|(rule, unit)| (rule, self.own(unit, rules))).collect();
        match change.after.filter(|after| change.new.len() < after.wants.len()) {
            Some(after) => {
                self.part(change.new.iter().copied());
                self.apart = self.apart.iter().copied().filter(|number| after.has(*number)).collect();
            }
            None => {
                self.members.clear();
                self.apart = Box::default();
            }
        }
        going
    }
}

/// How a watch changes with the rules.
#[derive(Debug)]
pub struct Regrouped<'r> {
    before: &'r Watch,
    after: Option<&'r Watch>,
    /// The rules that are in force still, and not in it any more.
    going: Vec<RuleIndex>,
    /// The numbers of those that were not in it.
    new: Vec<u64>,
}

impl<'r> Regrouped<'r> {
    /// How each watch of some rules changes with others, by its id; nothing of those that stay what they are.
    pub fn all(before: &'r RuleSet, after: &'r RuleSet) -> HashMap<&'r str, Regrouped<'r>> {
        let kept =
            |rules: &RuleSet, rule: RuleIndex| KeyState::kept_micros(rules, &rules.unit_of(rule).id, false);
        let change = |watch: &'r Watch| {
            let now = after.watch_by_id(&watch.id);
            let new: Vec<u64> = now.map_or(Vec::new(), |now| {
                now.wants.iter().map(|want| want.number).filter(|number| !watch.has(*number)).collect()
            });
            let is_now = |number| now.is_some_and(|now| now.has(number));
            let goes = |unit: &&Unit| watch.has(unit.number) && !is_now(unit.number);
            let going: Vec<RuleIndex> = after.units.iter().filter(goes).map(|unit| unit.rules[0]).collect();
            let remembers_longer = |now: &Watch| {
                now.wants.iter().zip(&now.rules).any(|(want, rule)| {
                    let was = watch.place(want.number).map(|place| kept(before, watch.rules[place]));
                    was.is_some_and(|was| was < kept(after, *rule))
                })
            };
            let stays = now.is_some_and(|now| now.is_of_the_same(watch) && !remembers_longer(now));
            (!stays).then_some((watch.id.as_str(), Regrouped { before: watch, after: now, going, new }))
        };
        before.watches.iter().filter_map(change).collect()
    }
}
