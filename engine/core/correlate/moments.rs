//! What one rule of a unit remembers for a key: its hits and its moments.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use sightline_schemas::EventTime;
use smallvec::SmallVec;

use crate::correlate::readings::ReadAt;
use crate::correlate::shadow::Shadows;
use crate::correlate::waiting::Waiting;
use crate::hit::Hit;
use crate::pattern::sequence::Sought;
use crate::pattern::{Stamp, Track, all_of, near, overlap, sequence};
use crate::rule::plan::Place;
use crate::rule::{Pattern, Rule, Timing};

/// The hits of each step, and the moments at which they were complete.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Member {
    pub(super) tracks: SmallVec<[Track; 2]>,
    /// Oldest first.
    pub(super) moments: VecDeque<Stamp>,
    /// Where a rule that waits stands; nothing for others.
    pub(super) waiting: Option<Box<Waiting>>,
}

/// A hit that is evidence now: its track and its index there.
pub(super) type Used = (usize, usize);

/// A moment and the evidence that came with it.
pub(super) struct Found {
    pub(super) moment: Stamp,
    /// The hit that it comes of.
    pub(super) by: Stamp,
    /// Whether the moment is new, or was there and a late hit added evidence to it.
    pub(super) is_new: bool,
    pub(super) used: Vec<Used>,
    /// What did not happen.
    pub(super) absences: Vec<Absence>,
    /// What steps came to that measure, or limit what they count.
    pub(super) readings: Vec<(u8, ReadAt)>,
    /// Whether it lies where the rule says nothing: then nothing is evidence of it, and it is not remembered.
    pub(super) is_silent: bool,
}

/// A step that did not follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Absence {
    pub(super) step: u8,
    /// Where it was looked for.
    pub(super) from: EventTime,
    pub(super) to: EventTime,
    /// Whether its source was silent all the time, so that nobody knows.
    pub(super) unknown: bool,
}

impl Found {
    /// A moment that is a hit.
    pub(super) fn by(moment: Stamp, is_new: bool, used: Vec<Used>) -> Self {
        Found {
            moment,
            by: moment,
            is_new,
            used,
            absences: Vec::new(),
            readings: Vec::new(),
            is_silent: false,
        }
    }

    /// A moment of which nothing is said.
    pub(super) fn silent(moment: Stamp, by: Stamp) -> Self {
        Found { by, is_silent: true, ..Found::by(moment, true, Vec::new()) }
    }
}

impl Member {
    pub(super) fn new(rule: &Rule) -> Self {
        let tracks = rule.steps.iter().map(|_| Track::default()).collect();
        let waiting = match rule.timing {
            Timing::AtOnce => None,
            Timing::Settled { .. } => Some(Box::new(Waiting::new(rule))),
        };
        Member { tracks, moments: VecDeque::new(), waiting }
    }

    /// Forgets what lies before `horizon`.
    pub(super) fn trim(&mut self, horizon: EventTime) {
        self.tracks.iter_mut().for_each(|track| track.trim(horizon));
        while self.moments.front().is_some_and(|moment| moment.at < horizon) {
            self.moments.pop_front();
        }
        if let Some(waiting) = &mut self.waiting {
            waiting.vigils.iter_mut().for_each(|vigil| vigil.trim(horizon));
        }
    }

    /// Forgets the evidence and the moments of an incident that ended.
    pub(super) fn consume(&mut self, first_evidence: EventTime, last: EventTime, spent: &mut Vec<Stamp>) {
        for track in &mut self.tracks {
            track.remove(|hit| {
                let consumed = hit.used && hit.stamp.at >= first_evidence && hit.stamp.at <= last;
                if consumed {
                    spent.push(hit.stamp);
                }
                consumed
            });
        }
        self.moments.retain(|moment| moment.at < first_evidence || moment.at > last);
    }

    /// What lies there is evidence of nothing, and no moment.
    pub(super) fn release(&mut self, there: impl Fn(EventTime) -> bool) {
        self.tracks.iter_mut().for_each(|track| track.release(&there));
        self.moments.retain(|moment| !there(moment.at));
    }

    /// Forgets these events, wherever they are.
    pub(super) fn forget(&mut self, spent: &[Stamp]) {
        for track in &mut self.tracks {
            track.remove(|hit| spent.binary_search(&hit.stamp).is_ok());
        }
    }

    /// The moments that the hit at `stamp`, just added to track `step`, makes or adds evidence to, oldest first.
    pub(super) fn found(&mut self, rule: &Rule, hit: &Hit, shadows: &Shadows) -> Vec<Found> {
        let stamp = Stamp { at: hit.at, event: hit.event };
        match &rule.pattern {
            Pattern::AllOf { distinct_events } => {
                self.found_all_of(rule, *distinct_events, (stamp, hit.step), shadows)
            }
            Pattern::Sequence { places, .. } => self.found_sequence(rule, places, stamp, shadows),
        }
    }

    fn found_all_of(
        &mut self,
        rule: &Rule,
        distinct_events: bool,
        (stamp, step): (Stamp, u8),
        shadows: &Shadows,
    ) -> Vec<Found> {
        let mut found = Vec::new();
        for moment in self.candidates(stamp, stamp.at.plus(rule.window)) {
            let is_new = !self.is_moment(moment);
            if is_new && all_of::complete(rule, distinct_events, &mut self.tracks, moment) {
                if shadows.cover(moment.at) {
                    found.push(Found::silent(moment, moment));
                    continue;
                }
                let used = self.evidence_all_of(rule, moment);
                self.add_moment(moment);
                found.push(Found::by(moment, true, used));
            }
        }
        // A late hit also belongs to a moment that was there, if it lies in the window of one.
        let covering = near::from_back(&self.moments, |moment| *moment < stamp);
        let track = usize::from(step);
        if let Some(moment) = self.moments.get(covering).copied()
            && moment.at.since(stamp.at) <= rule.window
            && let Some(index) = self.tracks[track].find(stamp)
            && self.tracks[track].mark_used(index)
        {
            found.push(Found::by(moment, false, vec![(track, index)]));
        }
        found
    }

    /// The hits of all steps from `stamp` to time `last`, each event once, oldest first: what could become a moment.
    fn candidates(&self, stamp: Stamp, last: EventTime) -> SmallVec<[Stamp; 2]> {
        let mut candidates: SmallVec<[Stamp; 2]> = SmallVec::new();
        candidates.push(stamp);
        for track in &self.tracks {
            let from = track.up_to(stamp);
            let later = track.hits().range(from..).take_while(|hit| hit.stamp.at <= last);
            candidates.extend(later.map(|hit| hit.stamp));
        }
        candidates.sort_unstable();
        candidates.dedup();
        candidates
    }

    /// Marks the hits in the window that ends with `moment`.
    pub(super) fn evidence_all_of(&mut self, rule: &Rule, moment: Stamp) -> Vec<Used> {
        let from = Stamp::first_at(moment.at.minus(rule.window));
        let tracks = self.tracks.iter_mut().enumerate();
        tracks
            .flat_map(|(at, track)| {
                track.mark_between(from, moment).into_iter().map(move |index| (at, index))
            })
            .collect()
    }

    /// What the steps come to that measure, or limit what they count, over the window that ends at a time.
    pub(super) fn readings(&mut self, rule: &Rule, at: EventTime) -> Vec<(u8, ReadAt)> {
        let steps = rule.steps.iter().zip(&mut self.tracks).enumerate();
        let read = steps.map(|(place, (step, track))| {
            Some((place as u8, ReadAt::of(step, track, at.minus(rule.window), at)?))
        });
        read.flatten().collect()
    }

    pub(super) fn add_moment(&mut self, moment: Stamp) {
        let at = near::from_back(&self.moments, |earlier| *earlier < moment);
        self.moments.insert(at, moment);
    }

    /// Whether it is a moment already.
    pub(super) fn is_moment(&self, stamp: Stamp) -> bool {
        let before = near::from_back(&self.moments, |moment| *moment < stamp);
        self.moments.get(before) == Some(&stamp)
    }

    fn found_sequence(
        &mut self,
        rule: &Rule,
        places: &[Place],
        stamp: Stamp,
        shadows: &Shadows,
    ) -> Vec<Found> {
        let last_track = usize::from(places[places.len() - 1].step);
        let range = self.tracks[last_track].between(stamp.at, stamp.at.plus(rule.window));
        let ends: SmallVec<[Stamp; 2]> =
            range.map(|index| self.tracks[last_track].hit(index).stamp).collect();
        let mut found = Vec::new();
        for moment in ends {
            if shadows.cover(moment.at) {
                found.extend(self.is_sequence(rule, moment).then(|| Found::silent(moment, moment)));
                continue;
            }
            let known = self.is_moment(moment);
            let Some(used) = self.evidence_of_sequence(rule, moment) else { continue };
            if known && used.is_empty() {
                continue;
            }
            if !known {
                self.add_moment(moment);
            }
            found.push(Found::by(moment, !known, used));
        }
        found
    }

    /// Marks every hit that takes part in a match of a sequence ending with `moment`; `None` where there is no match.
    pub(super) fn evidence_of_sequence(&mut self, rule: &Rule, moment: Stamp) -> Option<Vec<Used>> {
        let Pattern::Sequence { places, overlapping, bounds } = &rule.pattern else { return None };
        let sought = Sought::new(places, bounds, rule.window, &self.tracks, moment);
        let parts = if *overlapping {
            overlap::participants(sought)?
        } else {
            let latest = sequence::latest(sought)?;
            if !sought.is_limited() {
                let earliest = sequence::earliest(sought);
                return Some(self.evidence_between(places, &earliest, &latest));
            }
            sequence::participants(sought)
        };
        let mut used = Vec::new();
        for (place, indexes) in places.iter().zip(parts) {
            let track = usize::from(place.step);
            let new = indexes.into_iter().filter(|index| self.tracks[track].mark_used(*index));
            used.extend(new.map(|index| (track, index)));
        }
        Some(used)
    }

    /// Whether a match of a sequence ends with a hit.
    pub(super) fn is_sequence(&self, rule: &Rule, by: Stamp) -> bool {
        let Pattern::Sequence { places, overlapping, bounds } = &rule.pattern else { return false };
        let sought = Sought::new(places, bounds, rule.window, &self.tracks, by);
        match overlapping {
            true => overlap::participants(sought).is_some(),
            false => sequence::latest(sought).is_some(),
        }
    }

    /// The same without limits and without steps that share events: what takes part in a place lies between the earliest
    /// and the latest hit that can stand there.
    fn evidence_between(&mut self, places: &[Place], earliest: &[Stamp], latest: &[Stamp]) -> Vec<Used> {
        let moment = latest[latest.len() - 1];
        let mut used = Vec::new();
        for (at, place) in places.iter().enumerate() {
            let track = usize::from(place.step);
            let (first, last) = match earliest.get(at) {
                Some(first) => (Stamp::first_at(first.at), Stamp::last_at(latest[at].at)),
                None => (moment, moment),
            };
            used.extend(self.tracks[track].mark_between(first, last).into_iter().map(|index| (track, index)));
        }
        used
    }
}
