//! Sequences of which one event could satisfy two steps, and must not stand in two places of a match.
//!
//! Places that one event could take both are filled at one instant, and so are all between them. So a match is a row of
//! *blocks*: places that follow each other, filled at one instant by events of their own, each block later than the one
//! before. Inside a block order says nothing: whether it can be filled is a matching of its places to the events of that
//! instant. This costs what places and hits there are, not how many chains they form.

use std::collections::{BTreeSet, HashMap, HashSet};

use sightline_schemas::{EventId, EventTime};

use crate::pattern::sequence::Sought;

/// The hits that take part in a match: for each place a set of indexes into its track. `None` where there is no match.
pub fn participants(sought: Sought<'_>) -> Option<Vec<Vec<usize>>> {
    let blocks = Blocks::new(sought);
    if !blocks.is_match() {
        return None;
    }
    let places = sought.places.len();
    let mut parts: Vec<BTreeSet<usize>> = vec![BTreeSet::new(); places];
    for time in 0..blocks.times.len() {
        for start in (0..places).filter(|start| blocks.led_to[*start][time]) {
            let far = blocks.far[start][time];
            for end in (start..far).filter(|end| blocks.leads_on[*end][time]) {
                blocks.add_block(start, end, time, &mut parts);
            }
        }
    }
    Some(parts.into_iter().map(|part| part.into_iter().collect()).collect())
}

struct Blocks<'b> {
    sought: Sought<'b>,
    /// The instants at which something happened, in order, the last one that of the sought hit.
    times: Vec<EventTime>,
    /// By place and instant: the first place behind it up to which a block that starts there cannot be filled.
    far: Vec<Vec<usize>>,
    /// By place and instant: whether the places before can be filled before, as near as the gap allows.
    led_to: Vec<Vec<bool>>,
    /// By place and instant: whether the places behind can be filled after, as near as the gap allows.
    leads_on: Vec<Vec<bool>>,
}

impl<'b> Blocks<'b> {
    fn new(sought: Sought<'b>) -> Self {
        let mut times: Vec<EventTime> = (0..sought.places.len())
            .flat_map(|place| {
                let track = sought.track(place);
                track.between(sought.from, sought.until.at).map(|index| track.hit(index).stamp.at)
            })
            .collect();
        times.sort_unstable();
        times.dedup();
        let nowhere = vec![vec![false; times.len()]; sought.places.len()];
        let far = vec![vec![0; times.len()]; sought.places.len()];
        let (led_to, leads_on) = (nowhere.clone(), nowhere);
        let mut blocks = Blocks { sought, times, far, led_to, leads_on };
        blocks.fill_forward();
        blocks.fill_backward();
        blocks
    }

    fn fill_forward(&mut self) {
        let places = self.sought.places.len();
        // By place: the instants so far at which a block can end there, in order.
        let mut ended: Vec<Vec<usize>> = vec![Vec::new(); places];
        for time in 0..self.times.len() {
            let mut ends = vec![false; places];
            for start in 0..places {
                self.led_to[start][time] = match start.checked_sub(1) {
                    None => true,
                    Some(before) => {
                        // The latest one that is early enough: what is between them only gets less.
                        let (oldest, newest) = self.sought.before(start, self.times[time]);
                        let there = ended[before].partition_point(|earlier| self.times[*earlier] <= newest);
                        there.checked_sub(1).is_some_and(|last| self.times[ended[before][last]] >= oldest)
                    }
                };
                self.far[start][time] = start + self.matching(start, self.block_end(start), time).filled;
                if self.led_to[start][time] {
                    ends[start..self.far[start][time]].fill(true);
                }
            }
            for (ended, _) in ended.iter_mut().zip(ends).filter(|(_, ends)| *ends) {
                ended.push(time);
            }
        }
    }

    fn fill_backward(&mut self) {
        let places = self.sought.places.len();
        // By place: the instants so far at which a block can start there, the latest first.
        let mut started: Vec<Vec<usize>> = vec![Vec::new(); places];
        for time in (0..self.times.len()).rev() {
            for end in 0..places {
                let next = end + 1;
                self.leads_on[end][time] = match started.get(next) {
                    None => self.times[time] == self.sought.until.at,
                    Some(later) => {
                        // The earliest one that is late enough.
                        let least = self.times[time].plus(self.sought.places[next].gap_min);
                        let there = later.partition_point(|later| self.times[*later] >= least);
                        there.checked_sub(1).is_some_and(|last| {
                            let (oldest, newest) = self.sought.before(next, self.times[later[last]]);
                            self.times[time] >= oldest && self.times[time] <= newest
                        })
                    }
                };
            }
            for (start, started) in started.iter_mut().enumerate() {
                let ends = start..self.far[start][time];
                if ends.into_iter().any(|end| self.leads_on[end][time]) {
                    started.push(time);
                }
            }
        }
    }

    /// The last place of a block that starts at a place: those of one block happen at one instant.
    fn block_end(&self, start: usize) -> usize {
        let places = self.sought.places;
        let apart = (start + 1..places.len()).find(|place| places[*place].gap_min > 0);
        apart.unwrap_or(places.len()) - 1
    }

    fn is_match(&self) -> bool {
        let Some(end) = self.times.len().checked_sub(1) else { return false };
        let places = self.sought.places.len();
        (0..places).any(|start| self.led_to[start][end] && self.far[start][end] == places)
    }

    /// The indexes of the hits of that instant that can stand at a place.
    fn standing(&self, place: usize, time: usize) -> impl Iterator<Item = usize> + use<'b> {
        let (at, sought) = (self.times[time], self.sought);
        let track = sought.track(place);
        track.between(at, at).filter(move |index| {
            let stamp = track.hit(*index).stamp;
            let ends = place + 1 < sought.places.len() || stamp == sought.until;
            ends && (place > 0 || sought.may_begin(stamp))
        })
    }

    /// The events of that instant that can stand at a place.
    fn options(&self, place: usize, time: usize) -> Vec<EventId> {
        let track = self.sought.track(place);
        self.standing(place, time).map(|index| track.hit(index).stamp.event).collect()
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
        let new = |place: usize, parts: &[BTreeSet<usize>]| -> Vec<usize> {
            self.standing(place, time).filter(|index| !parts[place].contains(index)).collect()
        };
        if (start..=end).all(|place| new(place, parts).is_empty()) {
            return;
        }
        let matching = self.matching(start, end, time);
        for place in start..=end {
            for index in new(place, parts) {
                if matching.allows(place - start, self.sought.track(place).hit(index).stamp.event) {
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
