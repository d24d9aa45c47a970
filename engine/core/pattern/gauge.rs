//! A measure over a window that slides forward: sum, average, percentile, distinct values.
//!
//! A rule that waits for the lateness decides its moments in order of event time. So each hit enters the window once and
//! leaves it once, whatever the window holds. Sums are kept in whole millionths: they are exact, so that it does not
//! matter in which order hits came and went, or whether the gauge was made anew after a restart.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use sightline_schemas::EventTime;

use crate::hit::Measured;
use crate::pattern::track::{Stamp, TrackHit};
use crate::rule::plan::{Measure, Need};

/// What the hits from one time to another come to, both included.
#[derive(Clone, Debug)]
pub struct Gauge {
    from: EventTime,
    to: EventTime,
    held: Held,
}

#[derive(Clone, Debug)]
enum Held {
    Values(HashMap<Arc<str>, u32>),
    Sum { millionths: i128, numbers: u64 },
    Average { millionths: i128, numbers: u64 },
    Ranked(Ranked),
}

impl Gauge {
    /// For a need, over nothing yet. `None` for what needs no gauge.
    pub fn of(need: &Need) -> Option<Self> {
        let held = match need {
            Need::Events(_) | Need::New(_) | Need::Nothing => return None,
            Need::Values(_) => Held::Values(HashMap::new()),
            Need::Measure(Measure::Sum, _) => Held::Sum { millionths: 0, numbers: 0 },
            Need::Measure(Measure::Average, _) => Held::Average { millionths: 0, numbers: 0 },
            Need::Measure(Measure::Min, _) => Held::Ranked(Ranked::at(0.0)),
            Need::Measure(Measure::Max, _) => Held::Ranked(Ranked::at(100.0)),
            Need::Measure(Measure::Median, _) => Held::Ranked(Ranked::at(50.0)),
            Need::Measure(Measure::Percentile(percent), _) => Held::Ranked(Ranked::at(*percent)),
        };
        Some(Gauge { from: EventTime::MAX, to: EventTime::MIN, held })
    }

    /// First and last time of the window.
    pub fn window(&self) -> (EventTime, EventTime) {
        (self.from, self.to)
    }

    /// The window reaches so far from now on. Whoever moves it adds and removes the hits.
    pub fn set_window(&mut self, from: EventTime, to: EventTime) {
        (self.from, self.to) = (from, to);
    }

    /// Whether a hit of that time is in the window.
    pub fn covers(&self, at: EventTime) -> bool {
        at >= self.from && at <= self.to
    }

    /// Takes in a hit.
    pub fn add(&mut self, hit: &TrackHit) {
        match (&mut self.held, &hit.value) {
            (Held::Values(values), Some(Measured::Text(value))) => {
                *values.entry(Arc::clone(value)).or_default() += 1;
            }
            (
                Held::Sum { millionths, numbers } | Held::Average { millionths, numbers },
                Some(Measured::Number(number)),
            ) => {
                *millionths += in_millionths(*number);
                *numbers += 1;
            }
            (Held::Ranked(ranked), Some(Measured::Number(number))) => ranked.add(*number, hit.stamp),
            _ => {}
        }
    }

    /// Lets go of a hit that was taken in.
    pub fn remove(&mut self, hit: &TrackHit) {
        match (&mut self.held, &hit.value) {
            (Held::Values(values), Some(Measured::Text(value))) => {
                if let Some(count) = values.get_mut(value) {
                    *count -= 1;
                    if *count == 0 {
                        values.remove(value);
                    }
                }
            }
            (
                Held::Sum { millionths, numbers } | Held::Average { millionths, numbers },
                Some(Measured::Number(number)),
            ) => {
                *millionths -= in_millionths(*number);
                *numbers -= 1;
            }
            (Held::Ranked(ranked), Some(Measured::Number(number))) => ranked.remove(*number, hit.stamp),
            _ => {}
        }
    }

    /// What the window comes to; `None` where nothing is in it.
    pub fn reading(&self) -> Option<f64> {
        match &self.held {
            Held::Values(values) => Some(values.len() as f64),
            Held::Sum { numbers: 0, .. } | Held::Average { numbers: 0, .. } => None,
            Held::Sum { millionths, .. } => Some(whole_and_rest(*millionths)),
            Held::Average { millionths, numbers } => Some(whole_and_rest(*millionths) / *numbers as f64),
            Held::Ranked(ranked) => ranked.reading(),
        }
    }
}

const MILLION: i128 = 1_000_000;

/// Six decimal places: beyond that a number is rounded.
fn in_millionths(number: f64) -> i128 {
    // Split, or a large number would lose its last digits. Conversion saturates, far beyond what is measured.
    let whole = number.trunc();
    (whole as i128).saturating_mul(MILLION).saturating_add(((number - whole) * 1e6).round() as i128)
}

fn whole_and_rest(millionths: i128) -> f64 {
    (millionths / MILLION) as f64 + (millionths % MILLION) as f64 / 1e6
}

/// Numbers in two halves that meet at one rank. With the rank at P percent of the way from the smallest to the largest,
/// the answer lies at the seam; where it falls between two numbers, it lies as far between them.
#[derive(Clone, Debug)]
struct Ranked {
    percent: f64,
    low: BTreeSet<(Ordered, Stamp)>,
    high: BTreeSet<(Ordered, Stamp)>,
}

impl Ranked {
    fn at(percent: f64) -> Self {
        Ranked { percent, low: BTreeSet::new(), high: BTreeSet::new() }
    }

    /// How far along the sorted numbers, counted from 0, the rank lies.
    fn rank(&self) -> f64 {
        let numbers = self.low.len() + self.high.len();
        self.percent * numbers.saturating_sub(1) as f64 / 100.0
    }

    fn add(&mut self, number: f64, stamp: Stamp) {
        let new = (Ordered::of(number), stamp);
        match self.low.last() {
            Some(seam) if new > *seam => self.high.insert(new),
            _ => self.low.insert(new),
        };
        self.level();
    }

    fn remove(&mut self, number: f64, stamp: Stamp) {
        let old = (Ordered::of(number), stamp);
        if !self.low.remove(&old) {
            self.high.remove(&old);
        }
        self.level();
    }

    /// Moves numbers over the seam until the lower half ends at the rank.
    fn level(&mut self) {
        let numbers = self.low.len() + self.high.len();
        let wanted = if numbers == 0 { 0 } else { self.rank().floor() as usize + 1 };
        while self.low.len() > wanted
            && let Some(moved) = self.low.pop_last()
        {
            self.high.insert(moved);
        }
        while self.low.len() < wanted
            && let Some(moved) = self.high.pop_first()
        {
            self.low.insert(moved);
        }
    }

    fn reading(&self) -> Option<f64> {
        let below = self.low.last()?.0.number();
        let between = self.rank().fract();
        match self.high.first() {
            Some((above, _)) if between > 0.0 => Some(below + (above.number() - below) * between),
            _ => Some(below),
        }
    }
}

/// A finite number in its order among others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Ordered(u64);

const SIGN: u64 = 1 << 63;

impl Ordered {
    fn of(number: f64) -> Self {
        // The bits of floats are in order once those of negative ones are turned round; zero has one form only.
        let bits = (number + 0.0).to_bits();
        Ordered(if bits & SIGN == 0 { bits | SIGN } else { !bits })
    }

    fn number(self) -> f64 {
        f64::from_bits(if self.0 & SIGN == 0 { !self.0 } else { self.0 & !SIGN })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sightline_schemas::EventId;

    fn stamp(at: u8) -> Stamp {
        Stamp { at: EventTime::from_micros(i64::from(at)), event: EventId::from_bytes([at; 16]) }
    }

    #[test]
    fn sums_are_exact() {
        assert_eq!(whole_and_rest(in_millionths(0.1) + in_millionths(0.2)), 0.3);
        assert_eq!(whole_and_rest(in_millionths(9_007_199_254_740_991.0)), 9_007_199_254_740_991.0);
        assert_eq!(whole_and_rest(in_millionths(-2.5)), -2.5);
    }

    #[test]
    fn order_of_floats_is_kept() {
        let numbers = [-1e300, -2.5, -0.0, 0.0, 1e-9, 3.0, 1e300];
        assert!(numbers.windows(2).all(|pair| Ordered::of(pair[0]) <= Ordered::of(pair[1])));
        assert!(numbers.iter().all(|number| Ordered::of(*number).number() == *number));
    }

    #[test]
    fn ranks_stay_right_as_numbers_come_and_go() {
        for percent in [0.0, 25.0, 50.0, 90.0, 100.0] {
            let mut ranked = Ranked::at(percent);
            let numbers: Vec<f64> = (0..40_u8).map(|at| f64::from(at.wrapping_mul(37) % 23)).collect();
            for (at, number) in numbers.iter().enumerate() {
                ranked.add(*number, stamp(at as u8));
                if at >= 7 {
                    ranked.remove(numbers[at - 7], stamp(at as u8 - 7));
                }
                let mut there = numbers[at.saturating_sub(6)..=at].to_vec();
                there.sort_by(f64::total_cmp);
                let rank = percent * (there.len() - 1) as f64 / 100.0;
                let (below, above) = (there[rank.floor() as usize], there[rank.ceil() as usize]);
                assert_eq!(ranked.reading(), Some(below + (above - below) * rank.fract()));
            }
        }
    }
}
