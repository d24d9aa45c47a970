//! A batch of facts through the pure core.
//!
//! Rules on events go first, rules on their completions next: one pass for each stratum, in each pass all partitions side
//! by side. Nothing flows the other way, so the passes come to the same as message after message. Effects carry their
//! place in the input and are put in that order at the end.

use std::sync::Arc;

use rustc_hash::FxHashMap;
use sightline_core::correlate::{Completion, Counted, Effect, Now, Refusal, Regrouped, Verdict};
use sightline_core::detect::completion_hits;
use sightline_core::hit::{Hit, RuleIndex};
use sightline_core::rule::RuleSet;
use sightline_schemas::{EventTime, IncidentMessage, Position};

use crate::state::state_key::{Owner, StateKey, UnitName};
use crate::state::table::StateTable;
use crate::state::{Pace, Sweep};
use crate::worker::partition::{Brought, CommandAt, Order, Owners, Partition, Phase, Routed, stratum_of};
use crate::worker::warm::Warmed;

/// Fewer hits than this are not worth a thread.
const PARALLEL_HITS_MIN: usize = 256;

/// So many states are opened for other rules before there is room made for more.
const REGROUPED_AT_ONCE: usize = 4_096;

/// The facts of a batch, under one set of rules.
#[derive(Debug, Default)]
pub struct Facts {
    /// Log time of every message, in order.
    pub times: Vec<(u64, EventTime)>,
    /// Hits of events, in input order.
    pub hits: Vec<Hit>,
    /// Commands, in input order.
    pub commands: Vec<CommandAt>,
    /// Rules of which an exception held, once for each event.
    pub excepted: Vec<RuleIndex>,
}

/// What follows from a batch.
#[derive(Debug, Default)]
pub struct Followed {
    /// Messages to publish and the positions that brought them about, in order.
    pub messages: Vec<(Position, IncidentMessage)>,
    /// What became of each hit.
    pub verdicts: Vec<(Position, RuleIndex, Verdict)>,
    /// How many hits the rules of a watch remember together, and nothing else came of: by the watch's place.
    pub shared: FxHashMap<usize, u64>,
    /// Of these, how many a rule remembers for itself: their verdicts are among the others.
    pub beside: FxHashMap<RuleIndex, u64>,
    /// What is counted beside, in no order.
    pub counts: Vec<(RuleIndex, Counted)>,
    /// Rules that other rules build on and that were complete, in order.
    pub completions: Vec<Completion>,
    /// What became of each command: `None` where no incident has that id.
    pub commands: Vec<Option<Result<(), Refusal>>>,
}

/// The rules in force, the live states, and the partitions that share them.
#[derive(Debug)]
pub struct Correlator {
    rules: Arc<RuleSet>,
    /// The name of each unit of the rules.
    units: Vec<UnitName>,
    /// The name of each watch of the rules.
    watches: Vec<UnitName>,
    table: Arc<StateTable>,
    partitions: Vec<Partition>,
}

impl Correlator {
    /// Over these states, shared by so many partitions.
    pub fn new(rules: Arc<RuleSet>, table: Arc<StateTable>, partitions: usize) -> Self {
        let partitions = (0..partitions.max(1)).map(|_| Partition::default()).collect();
        let (units, watches) = names(&rules);
        let mut correlator = Correlator { units, watches, rules, table, partitions };
        correlator.adopt_all();
        correlator
    }

    /// The rules in force.
    pub fn rules(&self) -> &Arc<RuleSet> {
        &self.rules
    }

    /// The live states.
    pub fn table(&self) -> &Arc<StateTable> {
        &self.table
    }

    /// Puts other rules in force, at this log time. What keys remember stays where the rules mean the same; where they do
    /// not, they begin with nothing, or with what they came to over the past.
    pub fn set_rules(&mut self, rules: Arc<RuleSet>, log_time: EventTime, warmed: Option<Warmed>) {
        // How long a key is remembered depends on the rules. What the old ones have forgotten must not come back under
        // the new ones only because no checkpoint was taken in between.
        self.forget_idle(log_time);
        (self.units, self.watches) = names(&rules);
        let before = std::mem::replace(&mut self.rules, rules);
        self.regroup(&before, log_time);
        for partition in &mut self.partitions {
            *partition = Partition::default();
        }
        if let Some(warmed) = warmed {
            self.put_warmed(warmed);
        }
        self.adopt_all();
    }

    /// Tells the states of watches who shares them now.
    fn regroup(&self, before: &RuleSet, log_time: EventTime) {
        let rules = &*self.rules;
        let changes = Regrouped::all(before, rules);
        if changes.is_empty() {
            return;
        }
        let now = Now { rules: before, log_time, position: Position::default() };
        let keys = self.table.keys_of(|unit| changes.contains_key(unit));
        for (number, key) in keys.into_iter().enumerate() {
            let going = self.table.with_existing(key, |live| {
                let change = changes.get(live.state.unit_id())?;
                live.dirty = true;
                Some(live.state.regroup(change, now, rules))
            });
            for (rule, own) in going.flatten().into_iter().flatten() {
                let key = StateKey::of(own.tenant(), &rules.unit_of(rule).id, own.key());
                self.table.with(key, || own, |live| live.dirty = true);
            }
            if number % REGROUPED_AT_ONCE == 0 {
                self.table.relieve(rules, log_time);
            }
        }
    }

    /// Puts states into the table that changed rules came to over the past.
    fn put_warmed(&mut self, warmed: Warmed) {
        for (key, mut state) in warmed.states {
            let Some(unit) = self.rules.unit_by_id(state.unit_id()) else { continue };
            let there = self.table.with_existing(key, |live| {
                live.state.warm_by(unit, state.clone());
                live.dirty = true;
            });
            if there.is_none() {
                state.go_live();
                self.table.with(key, || state, |live| live.dirty = true);
            }
        }
    }

    fn adopt_all(&mut self) {
        let count = self.partitions.len();
        let (rules, partitions) = (&self.rules, &mut self.partitions);
        self.table.for_each_with_notes(|key, state| {
            partitions[key.partition(count)].adopt(key, state, stratum_of(rules, state))
        });
    }

    /// The earliest log time at which something must be said.
    pub fn next_due(&self) -> Option<EventTime> {
        self.partitions.iter().filter_map(Partition::next_due).min()
    }

    /// Forgets every key that has been still for too long, in log time.
    pub fn forget_idle(&mut self, log_time: EventTime) {
        self.bring_in_order(Sweep::All, log_time);
    }

    /// Makes the states ready to be written down.
    pub fn settle(&mut self, log_time: EventTime) {
        self.bring_in_order(Sweep::Worthwhile, log_time);
    }

    /// Does some of what is due for open states.
    pub fn tidy(&mut self, log_time: EventTime, pace: Pace) {
        let partitions = &mut self.partitions;
        let count = partitions.len();
        self.table.tidy(&self.rules, log_time, pace, &mut |key, state| {
            partitions[key.partition(count)].release(key, state);
        });
    }

    fn bring_in_order(&mut self, sweep: Sweep, log_time: EventTime) {
        let partitions = &mut self.partitions;
        let count = partitions.len();
        self.table.settle(&self.rules, log_time, sweep, &mut |key, state| {
            partitions[key.partition(count)].release(key, state);
        });
    }

    /// Works through the facts of a batch.
    pub fn follow(&mut self, facts: Facts) -> Followed {
        let Facts { times, hits, commands, excepted } = facts;
        let Some((_, log_time)) = times.last().copied() else { return Followed::default() };
        let strata = usize::from(self.rules.strata);
        // Hits of completions, by stratum, and what brought each about.
        let mut derived: Vec<Vec<(Order, Hit)>> = vec![Vec::new(); strata];
        let mut followed = Followed { commands: vec![None; commands.len()], ..Followed::default() };
        followed.counts.extend(excepted.into_iter().map(|rule| (rule, Counted::Excepted)));
        let mut effects: Vec<(Order, IncidentMessage)> = Vec::new();
        for stratum in 0..strata {
            let of_completions = std::mem::take(&mut derived[stratum]);
            let of_events =
                hits.iter().filter(|hit| usize::from(self.rules.rule(hit.rule).stratum) == stratum);
            let mut hits: Vec<(Option<&Order>, &Hit)> = of_events.map(|hit| (None, hit)).collect();
            hits.extend(of_completions.iter().map(|(order, hit)| (Some(order), hit)));
            // What came due before the message goes first, in order of time. Then what lies earlier: a rule that waited
            // completes in the past of the event that ended its waiting. At one time events go before completions, and
            // these in the order of what brought them about.
            hits.sort_by_key(|(origin, hit)| {
                let came_due = came_due(*origin);
                let at = if came_due.is_some() { EventTime::MIN } else { hit.at };
                (hit.position, came_due.is_none(), at, *origin)
            });
            let shares = self.share(hits);
            let mut completions: Vec<(Order, Completion)> = Vec::new();
            for brought in self.pass(stratum as u8, &times, &shares, &commands) {
                followed.verdicts.extend(brought.verdicts);
                for (watch, hits) in brought.shared {
                    *followed.shared.entry(watch).or_default() += hits;
                }
                for (rule, hits) in brought.beside {
                    *followed.beside.entry(rule).or_default() += hits;
                }
                for (index, result) in brought.commands {
                    followed.commands[index] = Some(result);
                }
                for (order, effect) in brought.effects {
                    match effect {
                        Effect::Publish(message) => effects.push((order, *message)),
                        Effect::Complete(completion) => completions.push((order, completion)),
                        Effect::Count(rule, counted) => followed.counts.push((rule, counted)),
                    }
                }
            }
            for (order, completion) in completions {
                let mut hits = Vec::new();
                completion_hits(&self.rules, &completion, &mut hits);
                for hit in hits {
                    derived[usize::from(self.rules.rule(hit.rule).stratum)].push((order, hit));
                }
                followed.completions.push(completion);
            }
        }
        effects.sort_by_key(|(order, _)| *order);
        self.table.relieve(&self.rules, log_time);
        followed.messages = effects.into_iter().map(|(order, message)| (order.position, message)).collect();
        followed
    }

    /// Numbers the hits of each position and gives each to the partition that owns its key.
    fn share<'h>(&self, hits: Vec<(Option<&'h Order>, &'h Hit)>) -> Vec<Vec<Routed<'h>>> {
        let count = self.partitions.len();
        let share = || Vec::with_capacity(hits.len() / count);
        let mut shares: Vec<Vec<Routed<'_>>> = std::iter::repeat_with(share).take(count).collect();
        let (mut position, mut item) = (Position::default(), 0);
        // Many rules can want one event for one key.
        let mut last: Option<(&Hit, Owner)> = None;
        for (origin, hit) in hits {
            // Commands take the first place of their position; each rule that takes a hit, one of its own.
            item = if hit.position == position { item } else { 1 };
            position = hit.position;
            let (rule, own) = (self.rules.rule(hit.rule), item);
            let owner = match last {
                Some((last, owner)) if last.key.is_shared_with(&hit.key) && last.tenant == hit.tenant => {
                    owner
                }
                _ => Owner::of(&hit.tenant, &hit.key),
            };
            last = Some((hit, owner));
            let (name, takers) = match rule.watch.map(|watch| watch as usize) {
                Some(watch) => (self.watches[watch], self.rules.watches[watch].rules.len()),
                None => (self.units[rule.unit], 1),
            };
            item += takers as u32;
            let key = owner.state_in(name);
            let came_due = came_due(origin);
            let completion = origin.is_some();
            shares[key.partition(count)].push(Routed { item: own, key, hit, completion, came_due });
        }
        shares
    }

    fn pass(
        &mut self,
        stratum: u8,
        times: &[(u64, EventTime)],
        shares: &[Vec<Routed<'_>>],
        commands: &[CommandAt],
    ) -> Vec<Brought> {
        let owners = Owners { rules: &self.rules, units: &self.units, watches: &self.watches };
        let table = &*self.table;
        let work = self.partitions.iter_mut().zip(shares);
        let parallel = shares.len() > 1 && shares.iter().map(Vec::len).sum::<usize>() >= PARALLEL_HITS_MIN;
        if !parallel {
            return work.map(|(own, hits)| own.pass(stratum, owners, table, times, hits, commands)).collect();
        }
        std::thread::scope(|scope| {
            let threads: Vec<_> = work
                .map(|(own, hits)| {
                    scope.spawn(move || own.pass(stratum, owners, table, times, hits, commands))
                })
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
                .collect()
        })
    }
}

/// The names of units and of watches.
fn names(rules: &RuleSet) -> (Vec<UnitName>, Vec<UnitName>) {
    let units = rules.units.iter().map(|unit| UnitName::of(&unit.id)).collect();
    (units, rules.watches.iter().map(|watch| UnitName::of(&watch.id)).collect())
}

/// The log time that brought something about, where it was no message.
fn came_due(origin: Option<&Order>) -> Option<EventTime> {
    match origin?.phase {
        Phase::Due(due, _) => Some(due),
        Phase::Message => None,
    }
}
