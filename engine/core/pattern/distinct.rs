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

/// The newest time of each value: enough to count distinct values up to now in time that does not depend on how many
/// events brought them.
#[derive(Clone, Debug, Default)]
pub struct RecentValues {
    newest: HashMap<Arc<str>, EventTime>,
    by_time: BTreeSet<(EventTime, Arc<str>)>,
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
            Some(newest) if *newest >= at => {}
            Some(newest) => {
                self.by_time.remove(&(*newest, Arc::clone(value)));
                *newest = at;
                self.by_time.insert((at, Arc::clone(value)));
            }
            None => {
                self.newest.insert(Arc::clone(value), at);
                self.by_time.insert((at, Arc::clone(value)));
            }
        }
    }

    fn at_least(&self, needed: usize, from: EventTime) -> bool {
        // Newest first: the value that decides is the `needed`-th from the end.
        self.by_time.iter().rev().nth(needed - 1).is_some_and(|(at, _)| *at >= from)
    }

    /// Forgets the values not seen since `horizon`.
    pub fn trim(&mut self, horizon: EventTime) {
        while let Some((at, value)) = self.by_time.first()
            && *at < horizon
        {
            self.newest.remove(value);
            self.by_time.pop_first();
        }
    }
}
