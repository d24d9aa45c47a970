//! What one rule of a unit remembers for a key: its hits and its moments.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use sightline_schemas::EventTime;
use smallvec::SmallVec;

use crate::hit::Hit;
use crate::pattern::{Stamp, Track, all_of, sequence};
use crate::rule::plan::Place;
use crate::rule::{Pattern, Rule};

/// The hits of each step, and the moments at which they were complete.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Member {
    pub(super) tracks: SmallVec<[Track; 2]>,
    /// Oldest first.
    pub(super) moments: VecDeque<Stamp>,
    /// For each place of a sequence: up to where its hits have been looked through for evidence.
    looked_through: SmallVec<[Option<EventTime>; 0]>,
}

/// A hit that is evidence now: its track and its index there.
pub(super) type Used = (usize, usize);

/// A moment and the evidence that came with it.
pub(super) struct Found {
    pub(super) moment: Stamp,
    /// Whether the moment is new, or was there and a late hit added evidence to it.
    pub(super) is_new: bool,
    pub(super) used: Vec<Used>,
}

impl Member {
    pub(super) fn new(rule: &Rule) -> Self {
        let tracks = rule.steps.iter().map(|_| Track::default()).collect();
        Member { tracks, moments: VecDeque::new(), looked_through: SmallVec::new() }
    }

    /// Forgets what lies before `horizon`.
    pub(super) fn trim(&mut self, horizon: EventTime) {
        self.tracks.iter_mut().for_each(|track| track.trim(horizon));
        while self.moments.front().is_some_and(|moment| moment.at < horizon) {
            self.moments.pop_front();
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
        self.looked_through.clear();
    }

    /// Forgets these events, wherever they are.
    pub(super) fn forget(&mut self, spent: &[Stamp]) {
        for track in &mut self.tracks {
            track.remove(|hit| spent.binary_search(&hit.stamp).is_ok());
        }
    }

    /// The moments that the hit at `stamp`, just added to track `step`, makes or adds evidence to, oldest first.
    pub(super) fn found(&mut self, rule: &Rule, hit: &Hit) -> Vec<Found> {
        let stamp = Stamp { at: hit.at, event: hit.event };
        match &rule.pattern {
            Pattern::AllOf { distinct_events } => self.found_all_of(rule, *distinct_events, stamp, hit.step),
            Pattern::Sequence { places, overlapping } => {
                self.found_sequence(rule, places, *overlapping, stamp)
            }
        }
    }

    fn found_all_of(&mut self, rule: &Rule, distinct_events: bool, stamp: Stamp, step: u8) -> Vec<Found> {
        let mut found = Vec::new();
        for moment in self.candidates(stamp, stamp.at.plus(rule.window)) {
            let is_new = self.moments.binary_search(&moment).is_err();
            if is_new && all_of::complete(rule, distinct_events, &mut self.tracks, moment) {
                let used = self.evidence_all_of(rule, moment);
                self.add_moment(moment);
                found.push(Found { moment, is_new: true, used });
            }
        }
        // A late hit also belongs to a moment that was there, if it lies in the window of one.
        let covering = self.moments.partition_point(|moment| *moment < stamp);
        let track = usize::from(step);
        if let Some(moment) = self.moments.get(covering).copied()
            && moment.at.since(stamp.at) <= rule.window
            && let Some(index) = self.tracks[track].find(stamp)
            && self.tracks[track].mark_used(index)
        {
            found.push(Found { moment, is_new: false, used: vec![(track, index)] });
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
    ///
    /// Everything up to the moment before was looked through when that was found, and late hits are looked at when they
    /// arrive, so only the hits since then are left.
    fn evidence_all_of(&mut self, rule: &Rule, moment: Stamp) -> Vec<Used> {
        let from = moment.at.minus(rule.window);
        let before = self.moments.partition_point(|earlier| *earlier < moment);
        let done = before.checked_sub(1).map(|at| self.moments[at]);
        let mut used = Vec::new();
        for (at, track) in self.tracks.iter_mut().enumerate() {
            for index in (0..track.up_to(moment)).rev() {
                let stamp = track.hit(index).stamp;
                if stamp.at < from || done.is_some_and(|done| stamp <= done && done.at >= from) {
                    break;
                }
                if track.mark_used(index) {
                    used.push((at, index));
                }
            }
        }
        used
    }

    fn add_moment(&mut self, moment: Stamp) {
        match self.moments.back() {
            Some(last) if *last > moment => {
                let at = self.moments.partition_point(|earlier| *earlier < moment);
                self.moments.insert(at, moment);
            }
            _ => self.moments.push_back(moment),
        }
    }

    fn found_sequence(
        &mut self,
        rule: &Rule,
        places: &[Place],
        overlapping: bool,
        stamp: Stamp,
    ) -> Vec<Found> {
        let last_track = usize::from(places[places.len() - 1].step);
        let range = self.tracks[last_track].between(stamp.at, stamp.at.plus(rule.window));
        let ends: SmallVec<[Stamp; 2]> =
            range.map(|index| self.tracks[last_track].hit(index).stamp).collect();
        let mut found = Vec::new();
        for moment in ends {
            let known = self.moments.binary_search(&moment).is_ok();
            let Some(latest) = sequence::latest(places, rule.window, &self.tracks, moment) else { continue };
            let in_order = !known && self.moments.back().is_none_or(|last| *last < moment);
            let simple = !overlapping && places.iter().all(|place| place.gap_max.is_none());
            let used = match in_order && simple {
                true => self.evidence_since_last(rule, places, &latest),
                false => self.evidence_of_sequence(rule, places, moment),
            };
            if known && used.is_empty() {
                continue;
            }
            if !known {
                self.add_moment(moment);
            }
            found.push(Found { moment, is_new: !known, used });
        }
        found
    }

    /// Marks every hit that takes part in a match ending with `moment`.
    fn evidence_of_sequence(&mut self, rule: &Rule, places: &[Place], moment: Stamp) -> Vec<Used> {
        let parts = sequence::participants(places, rule.window, &self.tracks, moment);
        let mut used = Vec::new();
        for (place, indexes) in places.iter().zip(parts) {
            let track = usize::from(place.step);
            used.extend(
                indexes
                    .into_iter()
                    .filter(|index| self.tracks[track].mark_used(*index))
                    .map(|index| (track, index)),
            );
        }
        used
    }

    /// The same for a moment that is the newest, without limits on gaps: what takes part in each place lies between the
    /// earliest and the latest hit that can stand there, and all up to the latest of the moment before was marked then.
    fn evidence_since_last(&mut self, rule: &Rule, places: &[Place], latest: &[Stamp]) -> Vec<Used> {
        let moment = latest[latest.len() - 1];
        if self.looked_through.len() != places.len() {
            self.looked_through = SmallVec::from_elem(None, places.len());
        }
        let mut used = Vec::new();
        let mut earliest = moment.at.minus(rule.window);
        for (at, place) in places.iter().enumerate() {
            let track = usize::from(place.step);
            let last = at + 1 == places.len();
            let from = match (last, self.looked_through[at]) {
                (true, _) => moment.at,
                (false, Some(done)) => done.max(earliest),
                (false, None) => earliest,
            };
            let range = self.tracks[track].between(from, latest[at].at);
            for index in range {
                if last && self.tracks[track].hit(index).stamp != moment {
                    continue;
                }
                if self.tracks[track].mark_used(index) {
                    used.push((track, index));
                }
            }
            if !last {
                self.looked_through[at] = Some(latest[at].at);
                let first = self.tracks[track].between(earliest, latest[at].at).next();
                earliest = first.map_or(earliest, |index| self.tracks[track].hit(index).stamp.at);
            }
        }
        used
    }
}
