//! How idle states are forgotten without looking at all of them over and over.
//!
//! Whether a key counts as forgotten is asked when it is touched, so sweeping only frees room, and when it comes by makes
//! no difference. A chunk is looked at when a fourth of its entries are due to be forgotten: so each look finds some, and
//! what it costs is paid by what it frees. A change of rules sweeps everything, for rules say how long a key is remembered.

use sightline_core::correlate::KeyState;
use sightline_core::rule::RuleSet;
use sightline_schemas::EventTime;

use super::index::Address;
use super::packed::{self, Prelude};
use super::shelf::{Shelf, lower_quarter};
use super::state_key::StateKey;

/// Entries that one sweep looks at, about: a checkpoint does not stop work for longer than some hundredths of a second.
const ENTRIES_MAX: u64 = 100_000;

/// How much to sweep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sweep {
    /// Everything, exactly.
    All,
    /// What is worth it now.
    Worthwhile,
}

/// A packed state that was forgotten.
pub(super) struct Forgotten {
    pub(super) key: StateKey,
    pub(super) unit: String,
    pub(super) hits: u32,
    pub(super) active: u32,
    /// The state, if it remembered incidents.
    pub(super) state: Option<KeyState>,
}

impl Shelf {
    /// Forgets packed states that are idle. Those that are open are left alone.
    ///
    /// # Errors
    /// When a chunk cannot be read.
    pub(super) fn sweep(
        &mut self,
        sweep: Sweep,
        rules: &RuleSet,
        log_time: EventTime,
        is_open: &dyn Fn(StateKey) -> bool,
        forgotten: &mut dyn FnMut(Forgotten),
    ) -> Result<(), String> {
        self.cut();
        let is_worth_it = |at: EventTime| sweep == Sweep::All || at < log_time;
        let worth_it = self.chunks().filter(|(_, chunk)| is_worth_it(chunk.sweep_at));
        let slots: Vec<usize> = worth_it.map(|(slot, _)| slot).collect();
        let mut looked_at = 0;
        for slot in slots {
            if sweep == Sweep::Worthwhile && looked_at >= ENTRIES_MAX {
                break;
            }
            looked_at += u64::from(self.chunk(slot).entries);
            self.sweep_chunk(slot, rules, log_time, is_open, forgotten)?;
        }
        Ok(())
    }

    fn sweep_chunk(
        &mut self,
        slot: usize,
        rules: &RuleSet,
        log_time: EventTime,
        is_open: &dyn Fn(StateKey) -> bool,
        forgotten: &mut dyn FnMut(Forgotten),
    ) -> Result<(), String> {
        let raw = self.raw(slot)?;
        let mut left = Vec::new();
        for (number, entry) in (0..).zip(raw.iter()) {
            let entry = entry?;
            if !self.chunk(slot).current.has(number) {
                continue;
            }
            if entry.is_due {
                left.push(EventTime::MAX);
                continue;
            }
            let prelude = Prelude::read(entry.state, &self.words)?;
            let kept = KeyState::kept_micros(rules, prelude.unit(), entry.active > 0);
            if log_time.since(prelude.touched) <= kept {
                left.push(prelude.touched.plus(kept));
                continue;
            }
            let key = prelude.state_key();
            if is_open(key) {
                left.push(EventTime::MAX);
                continue;
            }
            let state = match entry.has_incidents {
                true => Some(packed::unpack(entry.state, &self.words)?),
                false => None,
            };
            self.forget(key, Address::new(slot, number));
            let (hits, active) = (entry.hits, entry.active);
            forgotten(Forgotten { key, unit: prelude.unit().to_owned(), hits, active, state });
        }
        self.chunk(slot).sweep_at = lower_quarter(&mut left);
        Ok(())
    }
}
