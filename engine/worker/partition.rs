//! One share of the keys, worked through in input order.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use rustc_hash::FxHashMap;
use sightline_core::correlate::{Aim, Effect, KeyState, Now, Refusal, Verdict, Watched};
use sightline_core::hit::{Hit, RuleIndex};
use sightline_core::rule::RuleSet;
use sightline_schemas::control::{Asked, IncidentCommand};
use sightline_schemas::{Change, EventTime, IncidentId, Position};

use crate::state::state_key::{StateKey, UnitName};
use crate::state::table::{FETCHED_MAX, StateTable};

/// Where an effect stands among all effects: by input position first, and the same whatever the number of partitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Order {
    /// The input position that brought it about.
    pub position: Position,
    /// What came due by log time goes before what the message itself brings.
    pub phase: Phase,
    /// Rules on events before rules on their completions.
    pub stratum: u8,
    /// Of the hit or command at this position.
    pub item: u32,
    /// Of the effect among those of the same cause.
    pub effect: u32,
}

/// Why an effect came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Log time reached it. Ordered among themselves by time and key.
    Due(EventTime, StateKey),
    /// The message itself.
    Message,
}

/// Of fewer rules apart, the states are not fetched for together.
const FETCHED_MIN: usize = 8;

/// The log time of every message of a batch, in order.
pub type Times = [(u64, EventTime)];

/// A hit, or a command, and its place in the batch.
#[derive(Clone, Copy, Debug)]
pub struct Routed<'h> {
    /// Its ordinal at its position, the same whatever the partitions.
    pub item: u32,
    /// The state it belongs to.
    pub key: StateKey,
    /// The hit.
    pub hit: &'h Hit,
    /// Whether it is the completion of a rule and not an event. Rules complete more than once in an instant, which is
    /// nothing to count.
    pub completion: bool,
    /// The log time at which it came due, where it is the completion of a rule that waited for that.
    pub came_due: Option<EventTime>,
}

/// Whose states there are: the rules, and the names of their units and watches.
#[derive(Clone, Copy, Debug)]
pub struct Owners<'r> {
    /// The rules.
    pub rules: &'r RuleSet,
    /// Of each unit.
    pub units: &'r [UnitName],
    /// Of each watch.
    pub watches: &'r [UnitName],
}

/// A command and its place.
#[derive(Clone, Debug)]
pub struct CommandAt {
    /// Where it stands in the input log.
    pub position: Position,
    /// Whose incident it may concern.
    pub tenant: String,
    /// The command.
    pub command: IncidentCommand,
    /// What it asks for.
    pub asked: Asked,
    /// The message as it came.
    pub body: bytes::Bytes,
}

/// What one pass brought about.
#[derive(Debug, Default)]
pub struct Brought {
    /// Effects and their places, in order.
    pub effects: Vec<(Order, Effect)>,
    /// What became of hits: position and verdict.
    pub verdicts: Vec<(Position, RuleIndex, Verdict)>,
    /// How many hits the rules of a watch remember together, and nothing else came of: by the watch's place.
    pub shared: FxHashMap<usize, u64>,
    /// Of these, how many a rule remembers for itself: their verdicts are among the others.
    pub beside: FxHashMap<RuleIndex, u64>,
    /// What became of commands that concern a key of this partition, by their index.
    pub commands: Vec<(usize, Result<(), Refusal>)>,
}

/// One share of the keys.
#[derive(Debug, Default)]
pub struct Partition {
    /// By stratum: what must be said when log time reaches it.
    due: Vec<BTreeSet<(EventTime, StateKey)>>,
    /// Which key an incident belongs to.
    incidents: HashMap<IncidentId, StateKey>,
}

impl Partition {
    /// Takes in a state that was written down.
    pub fn adopt(&mut self, key: StateKey, state: &KeyState, stratum: u8) {
        for incident in state.incidents() {
            self.incidents.insert(incident.id, key);
            self.incidents.extend(incident.former.iter().map(|id| (*id, key)));
        }
        if let Some(due) = state.due() {
            self.due_of(stratum).insert((due, key));
        }
    }

    /// Lets go of a state that is forgotten.
    pub fn release(&mut self, key: StateKey, state: &KeyState) {
        for incident in state.incidents() {
            for id in incident.former.iter().chain([&incident.id]) {
                self.incidents.remove(id);
            }
        }
        for due in &mut self.due {
            if let Some(at) = state.due() {
                due.remove(&(at, key));
            }
        }
    }

    /// The earliest log time at which something must be said.
    pub fn next_due(&self) -> Option<EventTime> {
        self.due.iter().filter_map(|due| due.first().map(|(at, _)| *at)).min()
    }

    fn due_of(&mut self, stratum: u8) -> &mut BTreeSet<(EventTime, StateKey)> {
        let at = usize::from(stratum);
        if self.due.len() <= at {
            self.due.resize_with(at + 1, BTreeSet::new);
        }
        &mut self.due[at]
    }

    /// Works through the hits and commands of one stratum of a batch.
    ///
    /// `hits` are this partition's, in input order; `commands` are everyone's, in input order.
    pub fn pass(
        &mut self,
        stratum: u8,
        owners: Owners<'_>,
        table: &StateTable,
        times: &Times,
        hits: &[Routed<'_>],
        commands: &[CommandAt],
    ) -> Brought {
        let (rules, brought) = (owners.rules, Brought::default());
        let mut pass = Pass { partition: self, stratum, rules, owners, table, times, given: 0, brought };
        let mut commands = commands.iter().enumerate().peekable();
        let mut at_message = 0;
        for (number, routed) in hits.iter().enumerate() {
            if number % FETCHED_MAX == 0 {
                pass.fetch(&hits[number..]);
            }
            while let Some((index, command)) =
                commands.next_if(|(_, command)| command.position < routed.hit.position)
            {
                at_message = pass.advance(at_message, command.position.seq);
                pass.command(index, command, times[at_message].1);
            }
            at_message = match routed.came_due {
                // What comes due here at that time or later may have waited for it.
                Some(due) => pass.advance_until(at_message, routed.hit.position.seq, Some(due.minus(1))),
                None => pass.advance(at_message, routed.hit.position.seq),
            };
            match rules.rule(routed.hit.rule).watch {
                Some(watch) => pass.watched(routed, watch as usize, times[at_message].1),
                None => pass.hit(routed, times[at_message].1),
            }
        }
        for (index, command) in commands {
            at_message = pass.advance(at_message, command.position.seq);
            pass.command(index, command, times[at_message].1);
        }
        if let Some((last, _)) = times.last() {
            pass.advance(at_message, *last);
        }
        table.grew(pass.given);
        pass.brought
    }
}

struct Pass<'p> {
    partition: &'p mut Partition,
    stratum: u8,
    rules: &'p RuleSet,
    owners: Owners<'p>,
    table: &'p StateTable,
    times: &'p Times,
    /// How many hits were given to states.
    given: usize,
    brought: Brought,
}

impl Pass<'_> {
    /// Moves log time on to message `seq`, saying what comes due on the way. Gives the message's index.
    ///
    /// What is due is said by the first message at or after that time, wherever batches begin and end.
    fn advance(&mut self, from: usize, seq: u64) -> usize {
        self.advance_until(from, seq, None)
    }

    /// The same, but not beyond a log time.
    fn advance_until(&mut self, from: usize, seq: u64, latest: Option<EventTime>) -> usize {
        let mut to = from;
        while self.times[to].0 < seq {
            to += 1;
        }
        let until = latest.unwrap_or(self.times[to].1);
        while let Some((due, key)) =
            self.partition.due_of(self.stratum).first().copied().filter(|(at, _)| *at <= until)
        {
            self.partition.due_of(self.stratum).remove(&(due, key));
            let message = from + self.times[from..=to].partition_point(|(_, time)| *time < due);
            let (seq, log_time) = self.times[message];
            let position = Position::new(seq, 0);
            let now = Now { rules: self.rules, log_time, position };
            let mut effects = Vec::new();
            let next_due = self.table.with_existing(key, |live| {
                live.state.pass_time(now, due, &mut effects);
                live.dirty = true;
                live.state.due()
            });
            self.settle(key, None, next_due.flatten(), position, Phase::Due(due, key), 0, effects);
        }
        to
    }

    /// Has what the next hits will find at hand.
    fn fetch(&self, hits: &[Routed<'_>]) {
        let aim = |routed: &Routed<'_>| {
            let hit = routed.hit;
            let rule = self.rules.rule(hit.rule);
            let member = if rule.watch.is_some() { 0 } else { rule.member };
            (routed.key, Aim { member, step: hit.step, event: hit.event })
        };
        self.table.fetch(hits.iter().take(FETCHED_MAX).map(aim));
    }

    fn hit(&mut self, routed: &Routed<'_>, log_time: EventTime) {
        self.given += 1;
        let hit = routed.hit;
        let unit = self.rules.unit_of(hit.rule);
        let now = Now { rules: self.rules, log_time, position: hit.position };
        let mut effects = Vec::new();
        let fresh = || KeyState::new(Arc::clone(&hit.tenant), unit, hit.key.clone(), self.rules);
        let (verdict, due_before, due_after) = self.table.with(routed.key, fresh, |live| {
            let before = live.state.due();
            let verdict = live.state.hit(unit, hit, now, &mut effects);
            live.dirty = true;
            (verdict, before, live.state.due())
        });
        if !routed.completion || matches!(verdict, Verdict::Taken { .. }) {
            self.brought.verdicts.push((hit.position, hit.rule, verdict));
        }
        let phase = routed.came_due.map_or(Phase::Message, |due| Phase::Due(due, routed.key));
        self.settle(routed.key, due_before, due_after, hit.position, phase, routed.item, effects);
    }

    /// A hit that several rules take.
    fn watched(&mut self, routed: &Routed<'_>, place: usize, log_time: EventTime) {
        self.given += 1;
        let (hit, watch) = (routed.hit, &self.rules.watches[place]);
        let now = Now { rules: self.rules, log_time, position: hit.position };
        let fresh = || KeyState::of_watch(Arc::clone(&hit.tenant), watch, hit.key.clone());
        let watched = self.table.with(routed.key, fresh, |live| {
            live.dirty = true;
            live.state.watch(watch, hit, now)
        });
        let watched = watched.or_else(|| {
            let apart: Vec<usize> = self.apart(routed.key, place, log_time);
            self.table.with(routed.key, fresh, |live| {
                live.state.begin_watch(watch, apart.into_iter(), self.rules);
                live.dirty = true;
                live.state.watch(watch, hit, now)
            })
        });
        let Watched { is_shared, each, parting, apart } = watched.expect("it has begun");
        if is_shared {
            *self.brought.shared.entry(place).or_default() += 1;
            for at in &apart {
                *self.brought.beside.entry(watch.rules[*at]).or_default() += 1;
            }
        }
        if apart.is_empty() && each.is_empty() {
            return;
        }
        let verdicts = each.into_iter().map(|(at, verdict)| (hit.position, watch.rules[at], verdict));
        self.brought.verdicts.extend(verdicts);
        for (at, own) in parting {
            self.put(self.own_key(routed.key, place, at), own);
        }
        let mut hit = hit.clone();
        for some in apart.chunks(FETCHED_MAX) {
            let aim = Aim { member: 0, step: hit.step, event: hit.event };
            // Asking all shards costs more than waiting for a few states.
            if some.len() >= FETCHED_MIN {
                self.table.fetch(some.iter().map(|at| (self.own_key(routed.key, place, *at), aim)));
            }
            for at in some {
                hit.rule = watch.rules[*at];
                let key = self.own_key(routed.key, place, *at);
                self.hit(&Routed { key, hit: &hit, item: routed.item + *at as u32, ..*routed }, log_time);
            }
        }
    }

    /// The name of the state that a rule of a watch has for itself.
    fn own_key(&self, key: StateKey, watch: usize, at: usize) -> StateKey {
        let rule = self.rules.watches[watch].rules[at];
        key.beside(self.owners.watches[watch], self.owners.units[self.rules.rule(rule).unit])
    }

    /// The rules of a watch that remember a key for themselves.
    fn apart(&self, key: StateKey, watch: usize, log_time: EventTime) -> Vec<usize> {
        let remembers = |at: &usize| {
            let own = self.own_key(key, watch, *at);
            self.table.with_existing(own, |live| !live.state.is_forgotten(self.rules, log_time)) == Some(true)
        };
        (0..self.rules.watches[watch].rules.len()).filter(remembers).collect()
    }

    /// Puts a state in the place of one that is forgotten, if there is one.
    fn put(&mut self, key: StateKey, state: KeyState) {
        let mut state = Some(state);
        let forgotten = self.table.with_existing(key, |live| {
            live.dirty = true;
            state.take().map(|state| std::mem::replace(&mut live.state, state))
        });
        match (forgotten.flatten(), state) {
            (Some(forgotten), _) => self.partition.release(key, &forgotten),
            (None, Some(state)) => self.table.with(key, || state, |live| live.dirty = true),
            (None, None) => {}
        }
    }

    fn command(&mut self, index: usize, at: &CommandAt, log_time: EventTime) {
        let Some(key) = self.partition.incidents.get(&at.command.incident).copied() else { return };
        let now = Now { rules: self.rules, log_time, position: at.position };
        let mut effects = Vec::new();
        let stratum = self.stratum;
        let done = self.table.with_existing(key, |live| {
            // Somebody else's incident is as good as none, and one of another stratum is for another pass.
            if live.state.tenant() != at.tenant {
                return None;
            }
            if stratum_of(self.rules, &live.state) != stratum {
                return None;
            }
            let before = live.state.due();
            let result = live.state.command(&at.command, at.asked, now, &mut effects);
            live.dirty = true;
            Some((result, before, live.state.due()))
        });
        if let Some((result, before, after)) = done.flatten() {
            self.brought.commands.push((index, result));
            self.settle(key, before, after, at.position, Phase::Message, 0, effects);
        }
    }

    /// Keeps the index of incidents and the list of what comes due in step with a state, and notes its effects.
    #[expect(clippy::too_many_arguments, reason = "the facts of one change, used in one place each")]
    fn settle(
        &mut self,
        key: StateKey,
        due_before: Option<EventTime>,
        due_after: Option<EventTime>,
        position: Position,
        phase: Phase,
        item: u32,
        effects: Vec<Effect>,
    ) {
        if due_before != due_after {
            let due = self.partition.due_of(self.stratum);
            due_before.map(|at| due.remove(&(at, key)));
            due_after.map(|at| due.insert((at, key)));
        }
        for (number, effect) in effects.into_iter().enumerate() {
            if let Effect::Publish(message) = &effect
                && message.change == Change::Opened
            {
                self.partition.incidents.insert(message.incident.id, key);
            }
            let order = Order { position, phase, stratum: self.stratum, item, effect: number as u32 };
            self.brought.effects.push((order, effect));
        }
    }
}

/// The stratum of the rules that a state belongs to; 0 where they are gone.
pub fn stratum_of(rules: &RuleSet, state: &KeyState) -> u8 {
    let unit = rules.unit_by_id(state.unit_id());
    unit.and_then(|unit| unit.rules.first()).map_or(0, |rule| rules.rule(*rule).stratum)
}
