//! Whether a source was heard in a stretch of time, from times at which it was.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use sightline_schemas::EventTime;

/// Times at which a source was heard, oldest first; as few of them as answer for every stretch of a given length.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Vigil(VecDeque<EventTime>);

impl Vigil {
    /// The source was heard. `stretch` is the length, in microseconds, of the stretches that will be asked for.
    pub fn heard(&mut self, at: EventTime, stretch: i64) {
        let place = self.0.partition_point(|known| *known < at);
        if self.0.get(place) == Some(&at) {
            return;
        }
        self.0.insert(place, at);
        // A stretch that holds a time and neither of its neighbours is shorter than the distance between these.
        for middle in [place + 1, place, place.wrapping_sub(1)] {
            let neighbours = middle.checked_sub(1).and_then(|before| {
                Some((self.0.get(before)?, self.0.get(middle)?, self.0.get(middle.checked_add(1)?)?))
            });
            if neighbours.is_some_and(|(before, _, after)| after.since(*before) <= stretch) {
                self.0.remove(middle);
            }
        }
    }

    /// Whether the source was heard between two times, both included.
    pub fn heard_between(&self, first: EventTime, last: EventTime) -> bool {
        let place = self.0.partition_point(|known| *known < first);
        self.0.get(place).is_some_and(|at| *at <= last)
    }

    /// Forgets what lies before `horizon`.
    pub fn trim(&mut self, horizon: EventTime) {
        while self.0.front().is_some_and(|at| *at < horizon) {
            self.0.pop_front();
        }
    }

    /// How many times are remembered.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_times_answer_for_every_stretch() {
        let at = EventTime::from_micros;
        let mut vigil = Vigil::default();
        let mut heard: Vec<i64> = (0..400_i64).map(|n| (n * 7_919) % 1_000).collect();
        for time in &heard {
            vigil.heard(at(*time), 50);
        }
        heard.sort_unstable();
        assert!(vigil.len() <= 2 * 1_000 / 50 + 2, "{}", vigil.len());
        for first in -60..1_010_i64 {
            let expected = heard.iter().any(|time| (first..=first + 50).contains(time));
            assert_eq!(vigil.heard_between(at(first), at(first + 50)), expected, "{first}");
        }
    }
}
