//! Warming: rules that are new or changed run over the log as it is, silently, before they take effect.
//!
//! The rules message names the sequence from which on (`warm_from`), so every worker that comes to it, now or in a replay,
//! reads the same messages and comes to the same states: a function of the log like everything else. The log reads; this
//! module decides.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use sightline_core::correlate::KeyState;
use sightline_core::rule::{Unit, Watch};
use sightline_schemas::EventTime;
use sightline_schemas::subject::CONTROL_RULES;

use crate::bus::LogMessage;
use crate::state::state_key::StateKey;
use crate::state::table::StateTable;
use crate::worker::intake;
use crate::worker::machine::{Machine, compile};

/// Changed rules on their way through the past.
pub struct Warming {
    machine: Machine,
    units: Vec<String>,
    /// The first message to take in.
    pub from: u64,
    /// The rules message itself: everything before it is taken in.
    pub until: u64,
}

/// What they came to.
#[derive(Debug)]
pub struct Warmed {
    /// The rules message.
    pub seq: u64,
    /// The states of the units that changed.
    pub states: BTreeMap<StateKey, KeyState>,
}

/// Whether a message puts rules in force that are to be warmed.
pub fn asks(message: &LogMessage) -> bool {
    message.subject.as_deref() == Some(CONTROL_RULES)
        && intake::read_rules(message)
            .is_ok_and(|rules| rules.warm_from.is_some_and(|from| from < message.seq))
}

impl Warming {
    /// Begins, if `message` asks for it and changes anything: `live` is the machine that has taken in all before it.
    pub fn begin(live: &Machine, message: &LogMessage, partitions: usize) -> Option<Self> {
        let rules = intake::read_rules(message).ok()?;
        let from = rules.warm_from.filter(|from| *from < message.seq)?;
        let mut compiled = compile(&rules).ok()?;
        compiled.are_warming = true;
        let changed = |unit: &&Unit| {
            live.rules().unit_by_id(&unit.id).is_none_or(|known| known.fingerprint != unit.fingerprint)
        };
        let units: Vec<String> = compiled.units.iter().filter(changed).map(|unit| unit.id.clone()).collect();
        if units.is_empty() {
            return None;
        }
        let table = Arc::new(StateTable::default());
        let position = from.saturating_sub(1);
        let machine = Machine::with_rules(
            live.log_id(),
            Arc::new(compiled),
            rules,
            table,
            partitions,
            position,
            EventTime::MIN,
        );
        Some(Warming { machine, units, from, until: message.seq })
    }

    /// The rules that are new or changed, by the units they belong to.
    pub fn units(&self) -> &[String] {
        &self.units
    }

    /// Takes in messages of the past, in order. What they would have said is said to nobody. Other rules among them are
    /// passed over: these are the ones that are to hold.
    pub fn take(&mut self, batch: &[LogMessage]) {
        let wanted = |message: &&LogMessage| {
            message.seq < self.until && message.subject.as_deref() != Some(CONTROL_RULES)
        };
        let batch: Vec<LogMessage> = batch.iter().filter(wanted).cloned().collect();
        self.machine.apply(&batch);
    }

    /// What they came to.
    pub fn end(self) -> Warmed {
        let (mut states, mut shared) = (BTreeMap::new(), BTreeMap::new());
        let rules = self.machine.rules();
        let changed: Vec<&Unit> = self.units.iter().filter_map(|id| rules.unit_by_id(id)).collect();
        let in_watch = |watch: &Watch| {
            let changed = changed.iter().copied().filter(|unit| watch.has(unit.number));
            (watch.id.clone(), changed.collect::<Vec<&Unit>>())
        };
        let in_watches: HashMap<String, Vec<&Unit>> = rules.watches.iter().map(in_watch).collect();
        self.machine.table().for_each(|key, state| {
            if self.units.iter().any(|unit| unit == state.unit_id()) {
                states.insert(key, state.clone());
            }
            // What they share with rules that were there before, they take along: these have their own past.
            let Some(units) = in_watches.get(state.unit_id()) else { return };
            for unit in units.iter().filter(|unit| state.is_shared_with(unit)) {
                let key = StateKey::of(state.tenant(), &unit.id, state.key());
                shared.insert(key, state.own(unit, rules));
            }
        });
        // A rule that shares has forgotten what it once had for itself.
        states.extend(shared);
        Warmed { seq: self.until, states }
    }
}
