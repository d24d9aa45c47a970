//! Sequence: one step after the other within the window, with limits on the gaps between them where a rule sets any.
//!
//! Events of one instant count as in order: sources stamp whole seconds. One event never takes two places; where steps
//! share events, that is for [`overlap`](crate::pattern::overlap).

use std::collections::HashSet;

use sightline_schemas::EventTime;

use crate::pattern::track::{Stamp, Track};
use crate::rule::plan::Place;

/// The latest hits that lead to `until`, one for each place; `None` where nothing leads there. Only where no event can
/// satisfy two steps.
pub fn latest(places: &[Place], window: i64, tracks: &[Track], until: Stamp) -> Option<Vec<Stamp>> {
    let last = places.len() - 1;
    let index = tracks[usize::from(places[last].step)].find(until)?;
    let mut search = Search {
        places,
        tracks,
        from: until.at.minus(window),
        limited: gap_before(places),
        dead_ends: HashSet::new(),
        until,
        chain: vec![(until, index)],
    };
    search.back(last).then(|| search.chain.into_iter().rev().map(|(stamp, _)| stamp).collect())
}

/// For each place: whether it or one before it limits its gap. Where none does, the latest hit is always the best.
fn gap_before(places: &[Place]) -> Vec<bool> {
    let mut limited = false;
    places
        .iter()
        .map(|place| {
            limited |= place.gap_max.is_some();
            limited
        })
        .collect()
}

struct Search<'s> {
    places: &'s [Place],
    tracks: &'s [Track],
    from: EventTime,
    limited: Vec<bool>,
    /// Hits from which nothing leads further back: by place and index in its track.
    dead_ends: HashSet<(usize, usize)>,
    until: Stamp,
    /// From the last place back: the hit, and its index in its track.
    chain: Vec<(Stamp, usize)>,
}

impl Search<'_> {
    /// Fills the places before `place`, whose hit is the newest of the chain. Answers whether it could.
    fn back(&mut self, place: usize) -> bool {
        let Some(before) = place.checked_sub(1) else { return true };
        let (next, next_index) = self.chain[self.chain.len() - 1];
        let gap_from = self.places[place].gap_max.map_or(EventTime::MIN, |gap| next.at.minus(gap));
        let track = &self.tracks[usize::from(self.places[before].step)];
        let mut range = track.between(self.from.max(gap_from), next.at);
        // The places of one step are filled in the order of its track, or events of one instant would be tried in every
        // order. Only the last place is given, and events of its instant may stand before it on either side.
        let last = self.places.len() - 1;
        if self.places[before].step == self.places[place].step && place != last {
            range.end = range.end.min(next_index);
        }
        let given = track.find(self.until).filter(|_| self.places[before].step == self.places[last].step);
        for index in range.rev() {
            if given == Some(index) || self.dead_ends.contains(&(before, index)) {
                continue;
            }
            self.chain.push((track.hit(index).stamp, index));
            if self.back(before) {
                return true;
            }
            self.chain.pop();
            self.dead_ends.insert((before, index));
            // Without a limit on any gap further back, an earlier hit leads nowhere that a later one does not.
            if !self.limited[before] {
                break;
            }
        }
        false
    }
}

/// The earliest hits that can lead up to a match within the window that ends at `until`, one for each place but the last.
/// Only where nothing limits gaps and something does lead to `until`.
pub fn earliest(places: &[Place], window: i64, tracks: &[Track], until: Stamp) -> Vec<Stamp> {
    let mut from = until.at.minus(window);
    let mut chain: Vec<Stamp> = Vec::with_capacity(places.len() - 1);
    for place in &places[..places.len() - 1] {
        let track = &tracks[usize::from(place.step)];
        let hits = track.between(from, until.at).map(|index| track.hit(index).stamp);
        let Some(first) = hits.into_iter().find(|stamp| !chain.iter().any(|used| used.event == stamp.event))
        else {
            break;
        };
        from = first.at;
        chain.push(first);
    }
    chain
}

/// The hits that take part in a match ending at `until`: for each place a set of indexes into its track.
///
/// A hit takes part if some chain leads through it. Without limits on gaps these are all hits of the place between the
/// earliest and the latest that can stand there; with limits, what can be reached from both ends. Only where no event can
/// satisfy two steps: then places that are not neighbours do not compete for events.
pub fn participants(places: &[Place], window: i64, tracks: &[Track], until: Stamp) -> Vec<Vec<usize>> {
    let from = until.at.minus(window);
    let last = places.len() - 1;
    let track_of = |place: usize| &tracks[usize::from(places[place].step)];
    let within = |place: usize| -> Vec<usize> {
        match place == last {
            true => track_of(place).find(until).into_iter().collect(),
            false => track_of(place).between(from, until.at).collect(),
        }
    };
    let mut forward: Vec<Vec<usize>> = vec![within(0)];
    for place in 1..=last {
        let reached = {
            let before = &forward[place - 1];
            let earlier: Vec<Stamp> =
                before.iter().map(|index| track_of(place - 1).hit(*index).stamp).collect();
            let gap = places[place].gap_max;
            let leads = |stamp: Stamp| {
                let oldest = gap.map_or(EventTime::MIN, |gap| stamp.at.minus(gap));
                any_other_between(&earlier, oldest, stamp.at, stamp)
            };
            within(place).into_iter().filter(|index| leads(track_of(place).hit(*index).stamp)).collect()
        };
        forward.push(reached);
    }
    for place in (0..last).rev() {
        let later: Vec<Stamp> =
            forward[place + 1].iter().map(|index| track_of(place + 1).hit(*index).stamp).collect();
        let gap = places[place + 1].gap_max;
        let kept = forward[place].iter().copied().filter(|index| {
            let stamp = track_of(place).hit(*index).stamp;
            let newest = gap.map_or(EventTime::MAX, |gap| stamp.at.plus(gap));
            any_other_between(&later, stamp.at, newest, stamp)
        });
        forward[place] = kept.collect();
    }
    forward
}

/// Whether `stamps`, in order, hold one between two times, both inclusive, that is not `own`'s event.
fn any_other_between(stamps: &[Stamp], first: EventTime, last: EventTime, own: Stamp) -> bool {
    let from = stamps.partition_point(|stamp| stamp.at < first);
    stamps[from..].iter().take_while(|stamp| stamp.at <= last).any(|stamp| stamp.event != own.event)
}
