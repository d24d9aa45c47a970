//! First seen: a value that a key has not had for a while, after a time of learning.
//!
//! Sightings are taken in order of event time, each when no earlier one can come any more. So whether a value is new
//! depends on the set of sightings alone.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use sightline_schemas::EventTime;

use crate::limits::FIRST_SEEN_VALUES_MAX;
use crate::rule::Novelty;

/// The values that a key has had, by a hash of each, with the time of the last sighting.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Seen {
    /// The first sighting of all: learning began there.
    since: Option<EventTime>,
    last: BTreeMap<u64, EventTime>,
    /// Made again when first needed: the same by time.
    #[serde(skip)]
    by_time: Option<BTreeSet<(EventTime, u64)>>,
}

impl Seen {
    /// Takes in a sighting. Answers whether the value is new there.
    ///
    /// Where there are too many values to remember, the one not seen for the longest time is forgotten: it may count as
    /// new once more than it should, and no new value is missed.
    pub fn sight(&mut self, value: &str, at: EventTime, novelty: Novelty) -> bool {
        let since = self.since.map_or(at, |since| since.min(at));
        self.since = Some(since);
        let mut by_time = self
            .by_time
            .take()
            .unwrap_or_else(|| self.last.iter().map(|(value, at)| (*at, *value)).collect());
        let hash = hash(value);
        let before = self.last.get(&hash).copied();
        let known = before.is_some_and(|before| at.since(before) <= novelty.forget);
        let last = before.map_or(at, |before| before.max(at));
        if let Some(before) = before {
            by_time.remove(&(before, hash));
        }
        self.last.insert(hash, last);
        by_time.insert((last, hash));
        let horizon = at.minus(novelty.forget);
        while let Some((oldest, hash)) = by_time.first().copied()
            && (oldest < horizon || by_time.len() > FIRST_SEEN_VALUES_MAX)
        {
            by_time.pop_first();
            self.last.remove(&hash);
        }
        self.by_time = Some(by_time);
        !known && at.since(since) >= novelty.learn
    }

    /// How many values are remembered.
    pub fn len(&self) -> usize {
        self.last.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.last.is_empty()
    }
}

fn hash(value: &str) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&blake3::hash(value.as_bytes()).as_bytes()[..8]);
    u64::from_le_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> EventTime {
        EventTime::from_micros(second * 1_000_000)
    }

    #[test]
    fn nothing_is_new_while_learning_and_what_is_forgotten_is_new_again() {
        let novelty = Novelty { learn: 10_000_000, forget: 20_000_000 };
        let mut seen = Seen::default();
        let new: Vec<bool> = [("a", 0), ("b", 9), ("c", 10), ("a", 12), ("a", 32), ("a", 53)]
            .into_iter()
            .map(|(value, second)| seen.sight(value, at(second), novelty))
            .collect();
        assert_eq!(new, [false, false, true, false, false, true]);
    }

    #[test]
    fn the_values_remembered_are_bounded() {
        let novelty = Novelty { learn: 0, forget: i64::MAX };
        let mut seen = Seen::default();
        for value in 0..FIRST_SEEN_VALUES_MAX + 10 {
            assert!(seen.sight(&value.to_string(), at(value as i64), novelty));
        }
        assert_eq!(seen.len(), FIRST_SEEN_VALUES_MAX);
        // The first one is forgotten, the last one is not.
        assert!(!seen.sight(&(FIRST_SEEN_VALUES_MAX + 9).to_string(), at(1 << 20), novelty));
        assert!(seen.sight("0", at(1 << 20), novelty));
    }
}
