//! The remembered hits of one step and key, in event time order.

use std::collections::{BTreeSet, HashSet, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};
use std::ops::Range;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sightline_schemas::{EventId, EventTime, Position};

use crate::hit::{Brief, Hit, Measured};
use crate::limits::ALLOCATION_BYTES;
use crate::pattern::distinct::RecentValues;
use crate::pattern::gauge::Gauge;
use crate::pattern::near;
use crate::rule::Need;

/// When, and which event: the order in which hits are remembered. Ties in time are ordered by event id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Stamp {
    /// Event time.
    pub at: EventTime,
    /// The event.
    pub event: EventId,
}

impl Stamp {
    /// Comes before everything at this time.
    pub const fn first_at(at: EventTime) -> Stamp {
        Stamp { at, event: EventId::from_bytes([0; 16]) }
    }

    /// Comes after everything at this time.
    pub const fn last_at(at: EventTime) -> Stamp {
        Stamp { at, event: EventId::from_bytes([0xff; 16]) }
    }
}

/// A remembered hit.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TrackHit {
    /// When, and which event.
    pub stamp: Stamp,
    /// Whether it is evidence of an incident.
    pub used: bool,
    /// Where it stands in the input log.
    pub position: Position,
    /// What the step counts or measures of it.
    pub value: Option<Measured>,
    /// What people will want to see of it.
    pub brief: Arc<Brief>,
}

/// The hits of one step, oldest first in event time. Small, as most keys have no more than a hit or two: what helps those
/// that have many lies elsewhere.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[expect(clippy::box_collection, reason = "a word each where there is none, which is nearly everywhere")]
pub struct Track {
    hits: VecDeque<TrackHit>,
    /// Made again when first needed: which events are here, once there are many.
    #[serde(skip)]
    events: Option<Box<HashSet<EventId, BuildHasherDefault<IdHasher>>>>,
    /// Made again when first needed: the newest time of each counted value.
    #[serde(skip)]
    recent: Option<Box<RecentValues>>,
    /// Made again when first needed: which hits are not evidence, once there are many.
    #[serde(skip)]
    unused: Option<Box<BTreeSet<Stamp>>>,
    /// Made again when first needed: what the window that was asked for last comes to.
    #[serde(skip)]
    gauge: Option<Box<Gauge>>,
}

/// Up to this many hits are looked through one by one.
const SCAN_MAX: usize = 16;
/// So many hits are weighed, and stand for all of them.
const WEIGHED_MAX: usize = 8;
/// What finding a hit by its event, and by whether it is evidence, takes beside it.
const HELPERS_BYTES: usize = 64;

impl TrackHit {
    /// Bytes that it takes, about.
    fn weight(&self) -> usize {
        let value =
            self.value.as_ref().and_then(Measured::text).map_or(0, |text| text.len() + ALLOCATION_BYTES);
        size_of::<Self>() + value + self.brief.weight()
    }
}

impl Track {
    /// Bytes that its hits take, about: judged by some of them, as a hot key has a million.
    pub fn weight(&self) -> usize {
        let len = self.hits.len();
        let some = (0..len).step_by(len.div_ceil(WEIGHED_MAX).max(1));
        let (weighed, bytes) =
            some.fold((0, 0), |(weighed, bytes), at| (weighed + 1, bytes + self.hits[at].weight()));
        let helpers = if len > SCAN_MAX { len * HELPERS_BYTES } else { 0 };
        ALLOCATION_BYTES + bytes * len / weighed.max(1) + helpers
    }

    /// Adds a hit at its place in event time; `false` where the event is here already.
    pub fn insert(&mut self, hit: &Hit) -> bool {
        if self.contains_event(hit.event) {
            return false;
        }
        let stamp = Stamp { at: hit.at, event: hit.event };
        let remembered = TrackHit {
            stamp,
            used: false,
            position: hit.position,
            value: hit.value.clone(),
            brief: Arc::clone(&hit.brief),
        };
        let place = self.up_to(stamp);
        if let Some(gauge) = &mut self.gauge
            && gauge.covers(hit.at)
        {
            gauge.add(&remembered);
        }
        if self.hits.len() == self.hits.capacity() {
            // One, two, four: most tracks never hold a second one.
            self.hits.reserve_exact(self.hits.len().max(1));
        }
        self.hits.insert(place, remembered);
        if let Some(unused) = &mut self.unused {
            unused.insert(stamp);
        }
        if let Some(events) = &mut self.events {
            events.insert(hit.event);
        }
        if let (Some(recent), Some(Measured::Text(value))) = (&mut self.recent, &hit.value) {
            recent.add(value, hit.at);
        }
        true
    }

    /// Whether it holds so many hits of that time or later.
    pub fn has_since(&self, hits: usize, from: EventTime) -> bool {
        let oldest = self.hits.len().checked_sub(hits);
        hits == 0 || oldest.is_some_and(|oldest| self.hits[oldest].stamp.at >= from)
    }

    /// The hits of that time or later, none of them evidence, as a track of its own.
    pub fn copied_since(&self, from: EventTime) -> Track {
        let first = near::from_back(&self.hits, |hit| hit.stamp.at < from);
        let hits = self.hits.range(first..).map(|hit| TrackHit { used: false, ..hit.clone() }).collect();
        Track { hits, ..Track::default() }
    }

    /// The hit of an event, if it is here.
    pub fn of_event(&mut self, event: EventId) -> Option<&TrackHit> {
        match self.contains_event(event) {
            true => self.hits.iter().rfind(|hit| hit.stamp.event == event),
            false => None,
        }
    }

    /// Looks at what adding the hit of an event will look at, and what the hit will that leaves when so many more were
    /// added; the answer means nothing.
    pub fn glance(&self, event: EventId, ahead: usize) -> u64 {
        let newest = self.hits.back().map_or(0, |hit| hit.stamp.at.as_micros());
        let Some(events) = &self.events else { return newest as u64 };
        let leaves = self.hits.get(ahead).is_some_and(|hit| events.contains(&hit.stamp.event));
        newest as u64 ^ u64::from(events.contains(&event)) ^ u64::from(leaves)
    }

    fn contains_event(&mut self, event: EventId) -> bool {
        if self.hits.len() <= SCAN_MAX {
            self.events = None;
            return self.hits.iter().any(|hit| hit.stamp.event == event);
        }
        let hits = &self.hits;
        let events =
            self.events.get_or_insert_with(|| Box::new(hits.iter().map(|hit| hit.stamp.event).collect()));
        events.contains(&event)
    }

    /// The hits, oldest first.
    pub fn hits(&self) -> &VecDeque<TrackHit> {
        &self.hits
    }

    /// The hit at an index.
    pub fn hit(&self, index: usize) -> &TrackHit {
        &self.hits[index]
    }

    /// Marks the hit at an index as evidence; `false` where it is already.
    pub fn mark_used(&mut self, index: usize) -> bool {
        if let Some(unused) = &mut self.unused {
            unused.remove(&self.hits[index].stamp);
        }
        !std::mem::replace(&mut self.hits[index].used, true)
    }

    /// The hits that lie there are evidence no longer.
    pub fn release(&mut self, there: impl Fn(EventTime) -> bool) {
        self.hits.iter_mut().filter(|hit| there(hit.stamp.at)).for_each(|hit| hit.used = false);
        self.unused = None;
    }

    /// Lets go of what a hit would show, where it is here and evidence: that is said, and kept by the incident.
    pub fn forget_brief(&mut self, stamp: Stamp) {
        if let Some(hit) = self.find(stamp).map(|index| &mut self.hits[index]).filter(|hit| hit.used) {
            hit.brief = Brief::spent();
        }
    }

    /// Marks the hits from `first` to `last`, both inclusive, as evidence. Gives the indexes of those that were not yet,
    /// in time that depends on how many these are, not on how many lie there.
    pub fn mark_between(&mut self, first: Stamp, last: Stamp) -> Vec<usize> {
        if first > last {
            return Vec::new();
        }
        if self.hits.len() <= SCAN_MAX {
            self.unused = None;
            let within = |hit: &TrackHit| !hit.used && hit.stamp >= first && hit.stamp <= last;
            let indexes: Vec<usize> =
                (0..self.hits.len()).filter(|index| within(&self.hits[*index])).collect();
            indexes.iter().for_each(|index| self.hits[*index].used = true);
            return indexes;
        }
        let hits = &self.hits;
        let unused = self.unused.get_or_insert_with(|| {
            Box::new(hits.iter().filter(|hit| !hit.used).map(|hit| hit.stamp).collect())
        });
        let stamps: Vec<Stamp> = unused.range(first..=last).copied().collect();
        stamps
            .into_iter()
            .map(|stamp| {
                let index = self.find(stamp).expect("what is unused is here");
                self.mark_used(index);
                index
            })
            .collect()
    }

    /// How many hits there are.
    pub fn len(&self) -> usize {
        self.hits.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.hits.is_empty()
    }

    /// How many hits stand at or before `stamp`.
    pub fn up_to(&self, stamp: Stamp) -> usize {
        // In order, which is the rule, the question is about the newest hit or a newer one.
        near::from_back(&self.hits, |hit| hit.stamp <= stamp)
    }

    /// The indexes of the hits from time `first` to time `last`, both inclusive.
    pub fn between(&self, first: EventTime, last: EventTime) -> Range<usize> {
        let before = |hit: &TrackHit| hit.stamp.at < first;
        let (Some(oldest), Some(newest)) = (self.hits.front(), self.hits.back()) else { return 0..0 };
        let from = match first.since(oldest.stamp.at) < newest.stamp.at.since(first) {
            true => near::from_front(&self.hits, before),
            false => near::from_back(&self.hits, before),
        };
        from..near::from_back(&self.hits, |hit| hit.stamp.at <= last).max(from)
    }

    /// The time of the newest hit before `at`.
    pub fn last_before(&self, at: EventTime) -> Option<EventTime> {
        let before = near::from_back(&self.hits, |hit| hit.stamp.at < at);
        before.checked_sub(1).map(|index| self.hits[index].stamp.at)
    }

    /// The time of the oldest hit after `at`.
    pub fn first_behind(&self, at: EventTime) -> Option<EventTime> {
        let behind = near::from_back(&self.hits, |hit| hit.stamp.at <= at);
        self.hits.get(behind).map(|hit| hit.stamp.at)
    }

    /// The index of exactly this hit, if it is here.
    pub fn find(&self, stamp: Stamp) -> Option<usize> {
        let before = near::from_back(&self.hits, |hit| hit.stamp < stamp);
        self.hits.get(before).is_some_and(|hit| hit.stamp == stamp).then_some(before)
    }

    /// The newest times of the values counted here.
    pub fn recent_values(&mut self) -> &mut RecentValues {
        let hits = &self.hits;
        self.recent.get_or_insert_with(|| Box::new(RecentValues::of(hits)))
    }

    /// What the hits between two times, both inclusive, come to. Moving on costs what the window gains and loses; moving
    /// back, what it holds.
    pub fn measure(&mut self, need: &Need, from: EventTime, to: EventTime) -> Option<f64> {
        if let Need::Events(_) = need {
            return Some(self.between(from, to).len() as f64);
        }
        let goes_on = |gauge: &Gauge| {
            let (old_from, old_to) = gauge.window();
            from >= old_from && to >= old_to && from <= old_to
        };
        let mut gauge = match self.gauge.take() {
            Some(gauge) if goes_on(&gauge) => {
                let mut gauge = gauge;
                let (old_from, old_to) = gauge.window();
                let (gone, new) = (self.between(old_from, from.minus(1)), self.between(old_to.plus(1), to));
                gone.for_each(|index| gauge.remove(&self.hits[index]));
                new.for_each(|index| gauge.add(&self.hits[index]));
                gauge
            }
            _ => {
                let mut gauge = Box::new(Gauge::of(need)?);
                self.between(from, to).for_each(|index| gauge.add(&self.hits[index]));
                gauge
            }
        };
        gauge.set_window(from, to);
        let reading = gauge.reading();
        self.gauge = Some(gauge);
        reading
    }

    /// Forgets the hits before `horizon`.
    pub fn trim(&mut self, horizon: EventTime) {
        while let Some(oldest) = self.hits.front()
            && oldest.stamp.at < horizon
        {
            if let Some(events) = &mut self.events {
                events.remove(&oldest.stamp.event);
            }
            if let Some(unused) = &mut self.unused {
                unused.remove(&oldest.stamp);
            }
            if let Some(gauge) = &mut self.gauge
                && gauge.covers(oldest.stamp.at)
            {
                gauge.remove(oldest);
            }
            self.hits.pop_front();
        }
        if let Some(recent) = &mut self.recent {
            recent.trim(horizon);
        }
    }

    /// Forgets the hits of which `gone` is true.
    pub fn remove(&mut self, mut gone: impl FnMut(&TrackHit) -> bool) {
        self.hits.retain(|hit| !gone(hit));
        self.events = None;
        self.recent = None;
        self.unused = None;
        self.gauge = None;
    }
}

/// Event ids are hashes already: any eight bytes of one will do.
#[derive(Default)]
pub struct IdHasher(u64);

impl Hasher for IdHasher {
    fn write(&mut self, id: &[u8]) {
        self.0 = u64::from_le_bytes(*id.first_chunk().expect("an id has sixteen bytes"));
    }

    fn write_usize(&mut self, _length: usize) {}

    fn finish(&self) -> u64 {
        self.0
    }
}
