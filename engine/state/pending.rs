//! What rules that wait have still to decide: kept beside the packed states, so that nobody has to look at all of them.

use std::collections::{BTreeMap, HashMap};

use sightline_core::correlate::KeyState;
use sightline_schemas::EventTime;

/// What the rules of units have still to decide: by unit, and by the rule's place in it.
pub type Pending = HashMap<String, BTreeMap<u8, Deadlines>>;

/// What a rule has still to decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadlines {
    /// Log times at which it decides, of all keys together.
    pub count: u64,
    /// The first of them.
    pub next: EventTime,
}

/// Adds what a state waits for.
pub(super) fn add(pending: &mut Pending, state: &KeyState) {
    for more in state.pending() {
        let fresh = Deadlines { count: 0, next: EventTime::MAX };
        let known = entry(pending, state.unit_id()).entry(more.member).or_insert(fresh);
        known.count += more.deadlines;
        known.next = known.next.min(more.next);
    }
}

fn entry<'u, T: Default>(units: &'u mut HashMap<String, T>, unit: &str) -> &'u mut T {
    if !units.contains_key(unit) {
        units.insert(unit.to_owned(), T::default());
    }
    units.get_mut(unit).expect("it is there now")
}

/// The same of many states, each of which can be taken out again.
#[derive(Debug, Default)]
pub(super) struct Agenda(HashMap<String, BTreeMap<u8, OfRule>>);

#[derive(Debug, Default)]
struct OfRule {
    count: u64,
    /// The next log time of each key, and of how many keys.
    nexts: BTreeMap<EventTime, u32>,
}

impl Agenda {
    /// One more state.
    pub(super) fn put(&mut self, state: &KeyState) {
        for pending in state.pending() {
            let known = entry(&mut self.0, state.unit_id()).entry(pending.member).or_default();
            known.count += pending.deadlines;
            *known.nexts.entry(pending.next).or_default() += 1;
        }
    }

    /// One state less.
    pub(super) fn take(&mut self, state: &KeyState) {
        const KNOWN: &str = "what is taken out was put in before";
        for pending in state.pending() {
            let unit = self.0.get_mut(state.unit_id()).expect(KNOWN);
            let known = unit.get_mut(&pending.member).expect(KNOWN);
            known.count -= pending.deadlines;
            let keys = known.nexts.get_mut(&pending.next).expect(KNOWN);
            *keys -= 1;
            if *keys == 0 {
                known.nexts.remove(&pending.next);
            }
            if known.nexts.is_empty() {
                unit.remove(&pending.member);
            }
            if unit.is_empty() {
                self.0.remove(state.unit_id());
            }
        }
    }

    /// What all of them wait for.
    pub(super) fn told(&self) -> Pending {
        let deadlines = |known: &OfRule| {
            let (next, _) = known.nexts.first_key_value()?;
            Some(Deadlines { count: known.count, next: *next })
        };
        let of_unit = |(unit, rules): (&String, &BTreeMap<u8, OfRule>)| {
            let rules = rules.iter().filter_map(|(member, known)| Some((*member, deadlines(known)?)));
            (unit.clone(), rules.collect())
        };
        self.0.iter().map(of_unit).collect()
    }
}
