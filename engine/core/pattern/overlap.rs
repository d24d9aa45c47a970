//! Sequences of which one event could satisfy two steps, and must not stand in two places of a match.
//!
//! Places that one event could take both are filled at one instant, and so are all between them. So a match is a row of
//! *blocks*: places that follow each other, filled at one instant by events of their own, each block later than the one
//! before. Inside a block order says nothing: whether it can be filled is a matching of its places to the events of that
//! instant. This costs what places and hits there are, not how many chains they form.

use std::collections::{BTreeSet, HashMap, HashSet};

use sightline_schemas::{EventId, EventTime};

use crate::pattern::track::{Stamp, Track};
use crate::rule::plan::Place;

/// The hits that take part in a match ending at `until`: for each place a set of indexes into its track. `None` where
/// there is no match.
pub fn participants(
    places: &[Place],
    window: i64,
    tracks: &[Track],
    until: Stamp,
) -> Option<Vec<Vec<usize>>> {
    let blocks = Blocks::new(places, window, tracks, until);
    if !blocks.is_match() {
        return None;
    }
    let mut parts: Vec<BTreeSet<usize>> = vec![BTreeSet::new(); places.len()];
    for time in 0..blocks.times.len() {
        for start in (0..places.len()).filter(|start| blocks.led_to[*start][time]) {
            let far = blocks.far[start][time];
            for end in (start..far).filter(|end| blocks.leads_on[*end][time]) {
                blocks.add_block(start, end, time, &mut parts);
            }
        }
    }
    Some(parts.into_iter().map(|part| part.into_iter().collect()).collect())
}

struct Blocks<'b> {
    places: &'b [Place],
    tracks: &'b [Track],
    until: Stamp,
    /// The instants at which something happened, in order, the last one that of `until`.
    times: Vec<EventTime>,
    /// By place and instant: the first place behind it up to which a block that starts there cannot be filled.
    far: Vec<Vec<usize>>,
    /// By place and instant: whether the places before can be filled before, as near as the gap allows.
    led_to: Vec<Vec<bool>>,
    /// By place and instant: whether the places behind can be filled after, as near as the gap allows.
    leads_on: Vec<Vec<bool>>,
}

impl<'b> Blocks<'b> {
    fn new(places: &'b [Place], window: i64, tracks: &'b [Track], until: Stamp) -> Self {
        let from = until.at.minus(window);
        let mut times: Vec<EventTime> = tracks
            .iter()
            .flat_map(|track| track.between(from, until.at).map(|index| track.hit(index).stamp.at))
            .collect();
        times.sort_unstable();
        times.dedup();
        let nowhere = vec![vec![false; times.len()]; places.len()];
        let far = vec![vec![0; times.len()]; places.len()];
        let (led_to, leads_on) = (nowhere.clone(), nowhere);
        let mut blocks = Blocks { places, tracks, until, times, far, led_to, leads_on };
        blocks.fill_forward();
        blocks.fill_backward();
        blocks
    }

    fn fill_forward(&mut self) {
        // By place: the latest instant so far at which a block can end there.
        let mut latest: Vec<Option<usize>> = vec![None; self.places.len()];
        for time in 0..self.times.len() {
            let mut ended = vec![false; self.places.len()];
            for start in 0..self.places.len() {
                self.led_to[start][time] = match start.checked_sub(1) {
                    None => true,
                    Some(before) => latest[before].is_some_and(|earlier| self.is_near(start, earlier, time)),
                };
                self.far[start][time] = start + self.matching(start, self.places.len() - 1, time).filled;
                if self.led_to[start][time] {
                    ended[start..self.far[start][time]].fill(true);
                }
            }
            for (latest, _) in latest.iter_mut().zip(ended).filter(|(_, ended)| *ended) {
                *latest = Some(time);
            }
        }
    }

    fn fill_backward(&mut self) {
        // By place: the earliest instant so far at which a block can start there.
        let mut earliest: Vec<Option<usize>> = vec![None; self.places.len()];
        for time in (0..self.times.len()).rev() {
            let mut started = Vec::new();
            for end in 0..self.places.len() {
                let next = end + 1;
                self.leads_on[end][time] = match earliest.get(next) {
                    None => self.times[time] == self.until.at,
                    Some(later) => later.is_some_and(|later| self.is_near(next, time, later)),
                };
            }
            for start in 0..self.places.len() {
                let ends = start..self.far[start][time];
                started.extend(ends.into_iter().any(|end| self.leads_on[end][time]).then_some(start));
            }
            started.into_iter().for_each(|start| earliest[start] = Some(time));
        }
    }

    /// Whether the place can be filled at that instant when the one before was at an earlier one.
    fn is_near(&self, place: usize, earlier: usize, time: usize) -> bool {
        self.places[place].gap_max.is_none_or(|gap| self.times[time].since(self.times[earlier]) <= gap)
    }

    fn is_match(&self) -> bool {
        let Some(end) = self.times.len().checked_sub(1) else { return false };
        let places = self.places.len();
        (0..places).any(|start| self.led_to[start][end] && self.far[start][end] == places)
    }

    fn track(&self, place: usize) -> &'b Track {
        &self.tracks[usize::from(self.places[place].step)]
    }

    /// The events of that instant that can stand at a place.
    fn options(&self, place: usize, time: usize) -> Vec<EventId> {
        let (at, track) = (self.times[time], self.track(place));
        let events = track.between(at, at).map(|index| track.hit(index).stamp.event);
        match place + 1 == self.places.len() {
            true => events.filter(|event| Stamp { at, event: *event } == self.until).collect(),
            false => events.collect(),
        }
    }

    /// Fills the places from `start` to `end` at one instant, as far as they can be.
    fn matching(&self, start: usize, end: usize, time: usize) -> Matching {
        let options = (start..=end).map(|place| self.options(place, time)).collect();
        let mut matching = Matching { options, seats: HashMap::new(), filled: 0 };
        while matching.filled < matching.options.len() && matching.seat(matching.filled, &mut HashSet::new())
        {
            matching.filled += 1;
        }
        matching
    }

    /// Adds the hits that can stand in a block which is part of a match.
    fn add_block(&self, start: usize, end: usize, time: usize, parts: &mut [BTreeSet<usize>]) {
        let at = self.times[time];
        let new = |place: usize, parts: &[BTreeSet<usize>]| -> Vec<usize> {
            let last = place + 1 == self.places.len();
            let track = self.track(place);
            let there = track.between(at, at).filter(|index| !last || track.hit(*index).stamp == self.until);
            there.filter(|index| !parts[place].contains(index)).collect()
        };
        if (start..=end).all(|place| new(place, parts).is_empty()) {
            return;
        }
        let matching = self.matching(start, end, time);
        for place in start..=end {
            for index in new(place, parts) {
                if matching.allows(place - start, self.track(place).hit(index).stamp.event) {
                    parts[place].insert(index);
                }
            }
        }
    }
}

/// Places of a block and the events that they have: a bipartite matching.
#[derive(Clone)]
struct Matching {
    /// By place: the events that it could have.
    options: Vec<Vec<EventId>>,
    /// The place that has each event.
    seats: HashMap<EventId, usize>,
    /// So many places have one, from the first on.
    filled: usize,
}

impl Matching {
    /// Gives an event to a place that has none, moving others where that helps (Kuhn). Events of `tried` are left alone.
    fn seat(&mut self, place: usize, tried: &mut HashSet<EventId>) -> bool {
        for at in 0..self.options[place].len() {
            let event = self.options[place][at];
            if !tried.insert(event) {
                continue;
            }
            let holder = self.seats.get(&event).copied();
            if holder.is_none_or(|holder| self.seat(holder, tried)) {
                self.seats.insert(event, place);
                return true;
            }
        }
        false
    }

    /// Whether all places can be filled with this event at that one.
    fn allows(&self, place: usize, event: EventId) -> bool {
        match self.seats.get(&event) {
            None => true,
            Some(holder) if *holder == place => true,
            Some(holder) => {
                // Its holder must find another event, the one that the place has now being free.
                let mut other = self.clone();
                other.seats.retain(|_, held_by| *held_by != place);
                other.seats.insert(event, place);
                other.seat(*holder, &mut HashSet::from([event]))
            }
        }
    }
}
