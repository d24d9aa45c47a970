//! When the next event is due. Pure: the time since the start comes in, the time to wait comes out.

use std::time::Duration;

use sightline_schemas::EventTime;

/// How fast events are published.
pub enum Pace {
    /// As fast as the server takes them.
    FlatOut,
    /// So many a second.
    Rate {
        /// Events a second.
        per_second: f64,
        /// Events so far.
        events: u64,
    },
    /// At the pace at which they happened.
    Speed {
        /// So many times as fast.
        factor: f64,
        /// The time of the first event that has one.
        first: Option<EventTime>,
    },
}

impl Pace {
    /// The pace that the options ask for.
    pub fn new(rate: Option<f64>, speed: Option<f64>) -> Self {
        match (rate, speed) {
            (Some(per_second), _) => Pace::Rate { per_second, events: 0 },
            (None, Some(factor)) => Pace::Speed { factor, first: None },
            (None, None) => Pace::FlatOut,
        }
    }

    /// How long after the start the next event is due. An event without a time, or out of order, is due at once.
    pub fn due(&mut self, occurred_at: Option<EventTime>) -> Duration {
        let seconds = match self {
            Pace::FlatOut => 0.0,
            Pace::Rate { per_second, events } => {
                *events += 1;
                (*events - 1) as f64 / *per_second
            }
            Pace::Speed { factor, first } => match occurred_at {
                None => 0.0,
                Some(at) => at.since(*first.get_or_insert(at)) as f64 / 1e6 / *factor,
            },
        };
        Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_spaces_events_evenly() {
        let mut pace = Pace::new(Some(4.0), None);
        let due: Vec<u128> = (0..4).map(|_| pace.due(None).as_millis()).collect();
        assert_eq!(due, [0, 250, 500, 750]);
    }

    #[test]
    fn a_speed_follows_event_time_and_never_waits_for_the_past() {
        let mut pace = Pace::new(None, Some(10.0));
        let due = [None, Some(100), Some(160), Some(90), None, Some(200)].map(|second| {
            pace.due(second.map(|second| EventTime::from_micros(second * 1_000_000))).as_secs()
        });
        assert_eq!(due, [0, 0, 6, 0, 0, 10]);
    }
}
