//! Sequence: one step after the other within the window, with limits on the gaps between them and steps that must not
//! happen, where a rule sets any.
//!
//! Events of one instant count as in order: sources stamp whole seconds. One event never takes two places; where steps
//! share events, that is for [`overlap`](crate::pattern::overlap). What must not happen between two places lies strictly
//! between them, as events of one instant may have come in the order that fits.

use std::collections::HashSet;

use sightline_schemas::EventTime;

use crate::pattern::track::{Stamp, Track};
use crate::rule::plan::{Bounds, Place};

/// A sequence that is looked for, in what is remembered, up to a hit.
#[derive(Clone, Copy, Debug)]
pub struct Sought<'s> {
    /// The places to fill.
    pub places: &'s [Place],
    /// What must not happen around them.
    pub bounds: &'s Bounds,
    /// The hits of each step.
    pub tracks: &'s [Track],
    /// The hit of the last place.
    pub until: Stamp,
    /// The earliest time of the first place.
    pub from: EventTime,
}

impl<'s> Sought<'s> {
    /// Within a window, in microseconds.
    pub fn new(
        places: &'s [Place],
        bounds: &'s Bounds,
        window: i64,
        tracks: &'s [Track],
        until: Stamp,
    ) -> Self {
        let window_from = until.at.minus(window);
        // Nothing that began before it was ended goes on.
        let ended = bounds.until.and_then(|step| tracks[usize::from(step)].last_before(until.at));
        let from = ended.map_or(window_from, |ended| ended.max(window_from));
        Sought { places, bounds, tracks, until, from }
    }

    /// The hits that can stand at a place.
    pub fn track(&self, place: usize) -> &'s Track {
        &self.tracks[usize::from(self.places[place].step)]
    }

    /// Whether a hit can stand at the first place, as far as what must not happen before it goes.
    pub fn may_begin(&self, first: Stamp) -> bool {
        self.bounds.before.iter().all(|(step, within)| {
            let track = &self.tracks[usize::from(*step)];
            let mut range = track.between(first.at.minus(*within), first.at);
            !range.any(|index| track.hit(index).stamp.event != first.event)
        })
    }

    /// The earliest and the latest time of the place before, where a place is filled at a time.
    pub fn before(&self, place: usize, at: EventTime) -> (EventTime, EventTime) {
        let place = &self.places[place];
        let near = place.gap_max.map_or(EventTime::MIN, |gap| at.minus(gap));
        let times = place.unless.iter().filter_map(|step| self.tracks[usize::from(*step)].last_before(at));
        (times.fold(near, EventTime::max), at.minus(place.gap_min))
    }

    /// The earliest and the latest time of a place, where the one before is filled at a time.
    fn behind(&self, place: usize, at: EventTime) -> (EventTime, EventTime) {
        let place = &self.places[place];
        let near = place.gap_max.map_or(EventTime::MAX, |gap| at.plus(gap));
        let times = place.unless.iter().filter_map(|step| self.tracks[usize::from(*step)].first_behind(at));
        (at.plus(place.gap_min), times.fold(near, EventTime::min))
    }

    /// Whether any place limits where the one before it may be, or any hit can begin.
    pub fn is_limited(&self) -> bool {
        !self.bounds.before.is_empty() || self.places.iter().any(Place::is_limited)
    }
}

/// The latest hits that lead to the sought one, one for each place; `None` where nothing leads there. Only where no event
/// can satisfy two steps.
pub fn latest(sought: Sought<'_>) -> Option<Vec<Stamp>> {
    let last = sought.places.len() - 1;
    let until = sought.until;
    let index = sought.track(last).find(until)?;
    let mut search = Search {
        sought,
        limited: limited_up_to(sought),
        dead_ends: HashSet::new(),
        chain: vec![(until, index)],
    };
    (until.at >= sought.from && search.back(last))
        .then(|| search.chain.into_iter().rev().map(|(stamp, _)| stamp).collect())
}

/// For each place: whether it or one before it is limited. Where none is, the latest hit is always the best.
fn limited_up_to(sought: Sought<'_>) -> Vec<bool> {
    let mut limited = !sought.bounds.before.is_empty();
    sought
        .places
        .iter()
        .map(|place| {
            limited |= place.is_limited();
            limited
        })
        .collect()
}

struct Search<'s> {
    sought: Sought<'s>,
    limited: Vec<bool>,
    /// Hits from which nothing leads further back: by place and index in its track.
    dead_ends: HashSet<(usize, usize)>,
    /// From the last place back: the hit, and its index in its track.
    chain: Vec<(Stamp, usize)>,
}

impl Search<'_> {
    /// Fills the places before `place`, whose hit is the newest of the chain. Answers whether it could.
    fn back(&mut self, place: usize) -> bool {
        let sought = self.sought;
        let (next, next_index) = self.chain[self.chain.len() - 1];
        let Some(before) = place.checked_sub(1) else { return sought.may_begin(next) };
        let (earliest, newest) = sought.before(place, next.at);
        let track = sought.track(before);
        let mut range = track.between(sought.from.max(earliest), newest);
        // The places of one step are filled in the order of its track, or events of one instant would be tried in every
        // order. Only the last place is given, and events of its instant may stand before it on either side.
        let last = sought.places.len() - 1;
        if sought.places[before].step == sought.places[place].step && place != last {
            range.end = range.end.min(next_index);
        }
        let given =
            track.find(sought.until).filter(|_| sought.places[before].step == sought.places[last].step);
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

/// The earliest hits that can lead up to a match, one for each place but the last. Only where nothing is limited and
/// something does lead to the sought hit.
pub fn earliest(sought: Sought<'_>) -> Vec<Stamp> {
    let mut from = sought.from;
    let mut chain: Vec<Stamp> = Vec::with_capacity(sought.places.len() - 1);
    for place in 0..sought.places.len() - 1 {
        let track = sought.track(place);
        let hits = track.between(from, sought.until.at).map(|index| track.hit(index).stamp);
        let Some(first) = hits.into_iter().find(|stamp| !chain.iter().any(|used| used.event == stamp.event))
        else {
            break;
        };
        from = first.at;
        chain.push(first);
    }
    chain
}

/// The hits that take part in a match: for each place a set of indexes into its track.
///
/// A hit takes part if some chain leads through it. Without limits on gaps these are all hits of the place between the
/// earliest and the latest that can stand there; with limits, what can be reached from both ends. Only where no event can
/// satisfy two steps: then places that are not neighbours do not compete for events.
pub fn participants(sought: Sought<'_>) -> Vec<Vec<usize>> {
    let last = sought.places.len() - 1;
    let stamp = |place: usize, index: usize| sought.track(place).hit(index).stamp;
    let within = |place: usize| -> Vec<usize> {
        match place == last {
            true => sought.track(place).find(sought.until).into_iter().collect(),
            false => sought.track(place).between(sought.from, sought.until.at).collect(),
        }
    };
    let begins = within(0).into_iter().filter(|index| sought.may_begin(stamp(0, *index)));
    let mut forward: Vec<Vec<usize>> = vec![begins.collect()];
    for place in 1..=last {
        let reached = {
            let before = &forward[place - 1];
            let earlier: Vec<Stamp> = before.iter().map(|index| stamp(place - 1, *index)).collect();
            let leads = |own: Stamp| {
                let (oldest, newest) = sought.before(place, own.at);
                any_other_between(&earlier, oldest, newest, own)
            };
            within(place).into_iter().filter(|index| leads(stamp(place, *index))).collect()
        };
        forward.push(reached);
    }
    for place in (0..last).rev() {
        let later: Vec<Stamp> = forward[place + 1].iter().map(|index| stamp(place + 1, *index)).collect();
        let kept = forward[place].iter().copied().filter(|index| {
            let own = stamp(place, *index);
            let (oldest, newest) = sought.behind(place + 1, own.at);
            any_other_between(&later, oldest, newest, own)
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
