//! How much is remembered: counted where states are packed and opened, so that nobody has to look at all of them to know.

use std::collections::HashMap;

use sightline_core::correlate::KeyState;
use sightline_core::rule::{Rule, RuleSet};

use super::pending::Pending;

/// Of one unit of rules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UnitCount {
    /// Keys.
    pub keys: usize,
    /// Hits that they remember.
    pub hits: u64,
    /// Active incidents.
    pub incidents: u64,
}

/// Of some states.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Keys of all units.
    pub keys: usize,
    /// By unit of rules.
    pub units: HashMap<String, UnitCount>,
}

/// Of all states, and where they are.
#[derive(Clone, Debug, Default)]
pub struct Census {
    /// What they remember.
    pub counts: Counts,
    /// What rules that wait have still to decide.
    pub pending: Pending,
    /// States that are worked on.
    pub open: usize,
    /// Bytes of these, estimated.
    pub open_bytes: u64,
    /// States that are packed and not open, in memory or on disk.
    pub packed: usize,
    /// Packed states that are on disk alone.
    pub on_disk: usize,
    /// Bytes of the packed states in memory.
    pub packed_bytes: u64,
    /// Bytes of memory that finding packed states takes.
    pub index_bytes: u64,
    /// What memory is kept within, if anything is.
    pub budget: Option<u64>,
}

impl Census {
    /// What a rule remembers, about: for itself, and with the rules of its watch, whose hits are counted for each of them, also
    /// where it remembers the key for itself.
    pub fn of_rule(&self, rules: &RuleSet, rule: &Rule) -> UnitCount {
        let of = |unit: &str| self.counts.units.get(unit).copied().unwrap_or_default();
        let own = of(&rules.units[rule.unit].id);
        let shared = rule.watch.map(|watch| of(&rules.watches[watch as usize].id)).unwrap_or_default();
        // Nearly every key that the rule remembers for itself, the watch knows as well.
        UnitCount { keys: own.keys.max(shared.keys), hits: own.hits + shared.hits, incidents: own.incidents }
    }

    /// Bytes of memory, as far as they are states.
    pub fn bytes(&self) -> u64 {
        self.open_bytes + self.packed_bytes + self.index_bytes
    }
}

fn weigh(state: &KeyState) -> (u32, u32) {
    let active = state.incidents().iter().filter(|incident| incident.status.is_active()).count();
    (state.hits() as u32, active as u32)
}

impl Counts {
    /// One more state.
    pub(super) fn put(&mut self, state: &KeyState) {
        let (hits, active) = weigh(state);
        self.add(state.unit_id(), hits, active);
    }

    /// One state less.
    pub(super) fn take(&mut self, state: &KeyState) {
        let (hits, active) = weigh(state);
        self.remove(state.unit_id(), hits, active);
    }

    /// One more state of that unit.
    pub(super) fn add(&mut self, unit: &str, hits: u32, active: u32) {
        let count = match self.units.get_mut(unit) {
            Some(count) => count,
            None => self.units.entry(unit.to_owned()).or_default(),
        };
        self.keys += 1;
        count.keys += 1;
        count.hits += u64::from(hits);
        count.incidents += u64::from(active);
    }

    /// One state of that unit less.
    pub(super) fn remove(&mut self, unit: &str, hits: u32, active: u32) {
        let count = self.units.get_mut(unit).expect("what is taken away was counted before");
        self.keys -= 1;
        count.keys -= 1;
        count.hits -= u64::from(hits);
        count.incidents -= u64::from(active);
        if count.keys == 0 {
            self.units.remove(unit);
        }
    }
}
