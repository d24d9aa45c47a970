//! What the engine never saw, and has said that it never saw.
//!
//! Each missing message is reported once, however often a worker begins anew before a checkpoint lies behind the gap: the
//! reports stand in the incident log and are read there. A gap can open behind what was published already, where a
//! checkpoint is older than the newest output and the log was cut in between. Its report waits until the replay is
//! through with what was published, and stands behind that.

use bytes::Bytes;
use sightline_schemas::Position;
use sightline_schemas::incident::CoverageGap;

use crate::bus::{Output, OutputPlace};
use crate::worker::emit;

/// Missing messages of the input log.
#[derive(Debug, Default)]
pub struct Coverage {
    /// `first..=last` of each report.
    reported: Vec<(u64, u64)>,
    /// Reports whose place is not reached yet.
    held: Vec<Output>,
}

impl Coverage {
    /// With the reports of input log `log` among those that were published.
    pub fn new(log: &str, published: Vec<(String, Bytes)>) -> Self {
        let ours = published.into_iter().filter(|(of, _)| of == log);
        let gaps = ours.filter_map(|(_, body)| serde_json::from_slice::<CoverageGap>(&body).ok());
        Coverage {
            reported: gaps.map(|gap| (gap.first_missing, gap.last_missing)).collect(),
            held: Vec::new(),
        }
    }

    /// Messages `first..=last` are missing, and everything up to `silent` is published. Answers how many of them were not
    /// reported yet.
    pub fn miss(&mut self, first: u64, last: u64, silent: Option<OutputPlace>) -> u64 {
        let mut missing = 0;
        let mut from = first;
        while from <= last {
            let to = match self.reported.iter().filter(|(_, to)| *to >= from).min() {
                Some((known, to)) if *known <= from => {
                    from = to + 1;
                    continue;
                }
                Some((known, _)) => last.min(known - 1),
                None => last,
            };
            missing += to - from + 1;
            self.reported.push((from, to));
            self.hold(emit::coverage_gap(from, to), silent);
            from = to + 1;
        }
        missing
    }

    fn hold(&mut self, mut report: Output, silent: Option<OutputPlace>) {
        let taken = silent.into_iter().chain(self.held.iter().map(|held| held.place)).max();
        if let Some(taken) = taken.filter(|taken| *taken >= report.place) {
            // Behind everything of that message, and before the next one.
            let position = Position::new(taken.position.seq, u32::MAX);
            let ordinal = if taken.position == position { taken.ordinal + 1 } else { 0 };
            report.place = OutputPlace { position, ordinal };
        }
        self.held.push(report);
    }

    /// The reports whose place is reached with message `seq`, in order.
    pub fn due(&mut self, seq: u64) -> Vec<Output> {
        let due = self.held.partition_point(|report| report.place.position.seq <= seq);
        self.held.drain(..due).collect()
    }

    /// Whether a report is still to come. A checkpoint before it would make it forgotten.
    pub fn is_holding(&self) -> bool {
        !self.held.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(seq: u64, index: u32, ordinal: u32) -> OutputPlace {
        OutputPlace { position: Position::new(seq, index), ordinal }
    }

    /// What is newly missing of `first..=last`, where `reported` is known, and where its reports stand.
    #[track_caller]
    fn check(
        reported: &[(u64, u64)],
        (first, last): (u64, u64),
        silent: Option<OutputPlace>,
        expected: &[(u64, u64, OutputPlace)],
    ) {
        let published =
            reported.iter().map(|(first, last)| ("log".to_owned(), emit::coverage_gap(*first, *last).body));
        let other = ("other".to_owned(), emit::coverage_gap(1, u64::MAX).body);
        let mut coverage = Coverage::new("log", published.chain([other]).collect());
        let missing = coverage.miss(first, last, silent);
        assert_eq!(missing, expected.iter().map(|(first, last, _)| last - first + 1).sum::<u64>());
        assert_eq!(coverage.is_holding(), !expected.is_empty());
        let due = coverage.due(u64::MAX).into_iter().map(|report| {
            let gap: CoverageGap = serde_json::from_slice(&report.body).expect("a report");
            (gap.first_missing, gap.last_missing, report.place)
        });
        assert_eq!(due.collect::<Vec<_>>(), expected);
        assert_eq!(coverage.miss(first, last, silent), 0, "once is enough");
    }

    #[test]
    fn a_missing_message_is_reported_once() {
        check(&[], (5, 9), None, &[(5, 9, place(9, 0, 0))]);
        check(&[(5, 9)], (5, 9), None, &[]);
        check(&[(1, 20)], (5, 9), None, &[]);
        check(&[(5, 9)], (5, 12), None, &[(10, 12, place(12, 0, 0))]);
        check(
            &[(7, 8), (5, 5)],
            (1, 9),
            None,
            &[(1, 4, place(4, 0, 0)), (6, 6, place(6, 0, 0)), (9, 9, place(9, 0, 0))],
        );
    }

    #[test]
    fn a_report_stands_behind_what_was_published() {
        check(&[], (5, 9), Some(place(8, 3, 1)), &[(5, 9, place(9, 0, 0))]);
        check(&[], (5, 9), Some(place(9, 0, 0)), &[(5, 9, place(9, u32::MAX, 0))]);
        check(&[], (5, 9), Some(place(30, 2, 0)), &[(5, 9, place(30, u32::MAX, 0))]);
        check(
            &[(3, 4)],
            (1, 9),
            Some(place(30, u32::MAX, 0)),
            &[(1, 2, place(30, u32::MAX, 1)), (5, 9, place(30, u32::MAX, 2))],
        );
    }
}
