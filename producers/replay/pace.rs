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
        /// Longest wait between two events.
        gap_max: Duration,
        /// The latest event time so far.
        latest: Option<EventTime>,
        /// When the event of that time was due.
        due: Duration,
    },
}

impl Pace {
    /// The pace that the options ask for.
    pub fn new(rate: Option<f64>, speed: Option<f64>, gap_max: Duration) -> Self {
        match (rate, speed) {
            (Some(per_second), _) => Pace::Rate { per_second, events: 0 },
            (None, Some(factor)) if factor > 0.0 => {
                Pace::Speed { factor, gap_max, latest: None, due: Duration::ZERO }
            }
            (None, _) => Pace::FlatOut,
        }
    }

    /// How long after the start the next event is due. An event without a time, or out of order, is due at once.
    pub fn due(&mut self, occurred_at: Option<EventTime>) -> Duration {
        match self {
            Pace::FlatOut => Duration::ZERO,
            Pace::Rate { per_second, events } => {
                *events += 1;
                Duration::try_from_secs_f64((*events - 1) as f64 / *per_second).unwrap_or(Duration::MAX)
            }
            Pace::Speed { factor, gap_max, latest, due } => {
                let Some(at) = occurred_at else { return Duration::ZERO };
                let gap = at.since(*latest.get_or_insert(at));
                if gap < 0 {
                    return Duration::ZERO;
                }
                let gap = Duration::try_from_secs_f64(gap as f64 / 1e6 / *factor).unwrap_or(Duration::MAX);
                *due = due.saturating_add(gap.min(*gap_max));
                *latest = Some(at);
                *due
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dues(mut pace: Pace, seconds: &[Option<i64>]) -> Vec<u128> {
        let at = |second: i64| EventTime::from_micros(second * 1_000_000);
        seconds.iter().map(|second| pace.due(second.map(at)).as_millis()).collect()
    }

    #[test]
    fn a_rate_spaces_events_evenly() {
        let pace = Pace::new(Some(4.0), None, Duration::ZERO);
        assert_eq!(dues(pace, &[None, Some(7), None, None]), [0, 250, 500, 750]);
    }

    #[test]
    fn a_speed_follows_event_time_and_never_waits_for_the_past() {
        let pace = Pace::new(None, Some(10.0), Duration::from_secs(3_600));
        let seconds = [None, Some(100), Some(160), Some(90), None, Some(200)];
        assert_eq!(dues(pace, &seconds), [0, 0, 6_000, 0, 0, 10_000]);
    }

    #[test]
    fn a_long_gap_is_cut_and_what_follows_keeps_its_distance() {
        let pace = Pace::new(None, Some(10.0), Duration::from_secs(5));
        let seconds = [Some(0), Some(1), Some(601), Some(602), Some(10_000)];
        assert_eq!(dues(pace, &seconds), [0, 100, 5_100, 5_200, 10_200]);
    }

    #[test]
    fn at_no_speed_nothing_waits() {
        assert_eq!(dues(Pace::new(None, Some(0.0), Duration::ZERO), &[Some(0), Some(600)]), [0, 0]);
    }
}
