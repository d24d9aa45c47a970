//! What the threads of a spool know together: which records are written, which are in the log, which segments there are.
//! Pure; behind one lock.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;

/// A file of the spool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    /// The number of its first record, by which it is named.
    pub first: u64,
    pub path: PathBuf,
    pub bytes: u64,
}

/// The state of a spool.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// Oldest first; the last one is being written. Never empty once the spool is open.
    pub segments: VecDeque<Segment>,
    /// The number that the next record gets.
    pub next: u64,
    /// All records before this one are done: in the log, or refused for good.
    pub cursor: u64,
    /// Done behind the cursor.
    done: BTreeMap<u64, ()>,
    /// Events on disk that are not in the log.
    pub waiting_events: u64,
    /// Nobody hands over anything any more.
    pub closing: bool,
}

impl Ledger {
    /// Notes that a record is on disk.
    pub fn written(&mut self, bytes: u64, events: u32) {
        self.next += 1;
        self.waiting_events += u64::from(events);
        if let Some(segment) = self.segments.back_mut() {
            segment.bytes += bytes;
        }
    }

    /// Notes that a record is done with.
    pub fn finish(&mut self, number: u64, events: u32) {
        if number < self.cursor || self.done.insert(number, ()).is_some() {
            return;
        }
        self.waiting_events = self.waiting_events.saturating_sub(events.into());
        while self.done.remove(&self.cursor).is_some() {
            self.cursor += 1;
        }
    }

    /// Notes that records up to and without `number` cannot be read any more.
    pub fn skip_to(&mut self, number: u64) {
        self.done = self.done.split_off(&number);
        self.cursor = self.cursor.max(number);
        while self.done.remove(&self.cursor).is_some() {
            self.cursor += 1;
        }
    }

    /// Bytes on disk.
    pub fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }

    /// The segments that may go: all their records are done. The newest of those stays while there is room for it: its
    /// ids tell after a restart what was sent before.
    pub fn removable(&mut self, room_is_needed: bool) -> Vec<Segment> {
        let firsts: Vec<u64> = self.segments.iter().map(|segment| segment.first).collect();
        let done = firsts.iter().skip(1).take_while(|first| **first <= self.cursor).count();
        let kept = usize::from(!room_is_needed);
        self.segments.drain(..done.saturating_sub(kept)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger(firsts: &[u64]) -> Ledger {
        let segments = firsts.iter().map(|first| Segment { first: *first, path: PathBuf::new(), bytes: 0 });
        Ledger { segments: segments.collect(), next: 1, cursor: 1, ..Ledger::default() }
    }

    #[test]
    fn the_cursor_waits_for_the_oldest() {
        let mut ledger = ledger(&[1]);
        (0..4).for_each(|_| ledger.written(100, 10));
        assert_eq!((ledger.next, ledger.waiting_events, ledger.bytes()), (5, 40, 400));
        for (number, cursor, waiting) in
            [(2, 1, 30), (2, 1, 30), (4, 1, 20), (1, 3, 10), (3, 5, 0), (3, 5, 0)]
        {
            ledger.finish(number, 10);
            assert_eq!((ledger.cursor, ledger.waiting_events), (cursor, waiting), "after {number}");
        }
    }

    #[test]
    fn what_cannot_be_read_holds_nothing_up() {
        let mut ledger = ledger(&[1]);
        (0..5).for_each(|_| ledger.written(1, 1));
        ledger.finish(4, 1);
        ledger.skip_to(4);
        assert_eq!(ledger.cursor, 5);
    }

    #[test]
    fn the_newest_segment_that_is_done_stays_until_room_is_needed() {
        let firsts = |segments: Vec<Segment>| segments.iter().map(|one| one.first).collect::<Vec<_>>();
        let mut ledger = ledger(&[1, 10, 20, 30]);
        ledger.cursor = 25;
        assert_eq!(firsts(ledger.removable(false)), [1]);
        assert_eq!(firsts(ledger.removable(false)), [0_u64; 0]);
        assert_eq!(firsts(ledger.removable(true)), [10]);
        assert_eq!(
            firsts(ledger.removable(true)),
            [0_u64; 0],
            "the one that is read, and the one that is written"
        );
    }
}
