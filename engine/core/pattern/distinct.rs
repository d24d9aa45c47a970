//! A step that takes so many distinct values of one field.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use sightline_schemas::EventTime;

use crate::hit::Measured;
use crate::pattern::track::{Stamp, Track, TrackHit};

/// Whether `needed` distinct values were seen between `from` and `until`, the latter itself included.
pub fn enough(track: &mut Track, needed: u32, from: EventTime, until: Stamp) -> bool {
    let there = track.up_to(until);
    if there == track.len() {
        return track.recent_values().at_least(needed as usize, from);
    }
    // Not the newest hit: something arrived late. Look back from there.
    let mut seen: HashSet<&str> = HashSet::new();
    for hit in track.hits().range(..there).rev().take_while(|hit| hit.stamp.at >= from) {
        if let Some(Measured::Text(value)) = &hit.value {
            seen.insert(value);
            if seen.len() >= needed as usize {
                return true;
            }
        }
    }
    false
}

/// The newest time of each value: enough to count distinct values up to now in time that depends neither on how many
/// events brought them nor on how many there are.
#[derive(Clone, Debug, Default)]
pub struct RecentValues {
    newest: HashMap<Arc<str>, EventTime>,
    by_time: BTreeSet<(EventTime, Arc<str>)>,
    /// Where the window began that was asked for last.
    from: EventTime,
    /// How many values were seen since then. Windows move on, so counting again is the exception.
    inside: usize,
}

impl RecentValues {
    /// Of the hits of a track.
    pub fn of(hits: &VecDeque<TrackHit>) -> Self {
        let mut recent = RecentValues::default();
        for hit in hits {
            if let Some(Measured::Text(value)) = &hit.value {
                recent.add(value, hit.stamp.at);
            }
        }
        recent
    }

    /// Takes in one more sighting of a value.
    pub fn add(&mut self, value: &Arc<str>, at: EventTime) {
        match self.newest.get_mut(value) {
            Some(newest) if *newest >= at => return,
            Some(newest) => {
                self.inside -= usize::from(*newest >= self.from);
                self.by_time.remove(&(*newest, Arc::clone(value)));
                *newest = at;
            }
            None => {
                self.newest.insert(Arc::clone(value), at);
            }
        }
        self.inside += usize::from(at >= self.from);
        self.by_time.insert((at, Arc::clone(value)));
    }

    fn at_least(&mut self, needed: usize, from: EventTime) -> bool {
        let first = |at| (at, Arc::from(""));
        if from >= self.from {
            self.inside -= self.by_time.range(first(self.from)..first(from)).count();
        } else {
            self.inside += self.by_time.range(first(from)..first(self.from)).count();
        }
        self.from = from;
        self.inside >= needed
    }

    /// Forgets the values not seen since `horizon`.
    pub fn trim(&mut self, horizon: EventTime) {
        while let Some((at, value)) = self.by_time.first()
            && *at < horizon
        {
            self.inside -= usize::from(*at >= self.from);
            self.newest.remove(value);
            self.by_time.pop_first();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_is_that_of_the_window_asked_for_whichever_way_it_moves() {
        let values: Vec<Arc<str>> = (0..7).map(|number| Arc::from(format!("v{number}"))).collect();
        let at = EventTime::from_micros;
        let (mut recent, mut plain) = (RecentValues::default(), HashMap::<Arc<str>, i64>::new());
        let mut number = 1_u64;
        let mut draw = |below: u64| {
            number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (number >> 33) % below
        };
        for now in 0..2_000_i64 {
            let (value, when) = (&values[draw(7) as usize], now - draw(20) as i64);
            recent.add(value, at(when));
            let newest = plain.entry(Arc::clone(value)).or_insert(when);
            *newest = (*newest).max(when);
            if draw(5) == 0 {
                recent.trim(at(now - 30));
                plain.retain(|_, newest| *newest >= now - 30);
            }
            let from = now - draw(25) as i64;
            let inside = plain.values().filter(|newest| **newest >= from).count();
            for needed in [1, 2, 3, 5, 7] {
                assert_eq!(recent.at_least(needed, at(from)), inside >= needed, "at {now} from {from}");
            }
        }
    }
}
