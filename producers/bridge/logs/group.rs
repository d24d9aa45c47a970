//! Lines that are told together: what happened once, in several lines. They leave as one input, named by the first of them.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::lines::Line;
use crate::format::{Format, auditd};

/// How long the last lines wait for more of their event.
pub const EVENT_WAIT: Duration = Duration::from_secs(2);
/// Lines of an event that leave without waiting for more.
const EVENT_LINES_MAX: usize = 1_000;

/// A line and what names it.
#[derive(Debug)]
pub struct Placed {
    /// The line.
    pub line: Line,
    /// The name of its place; none where its bytes name it.
    pub place: Option<String>,
    /// Where it begins in what is read: bytes of a file, lines of a pipe, messages of a stream.
    pub offset: u64,
}

/// What lines of one event have in common.
type Stamp<'a> = (&'a [u8], &'a [u8]);

/// How the lines of a format belong together.
#[derive(Clone, Copy, Debug)]
pub struct Grouping {
    is_audit: bool,
}

impl Grouping {
    /// Of this format.
    pub fn of(format: &Format) -> Self {
        Grouping { is_audit: matches!(format, Format::Auditd) }
    }

    fn stamp(self, line: &Line) -> Option<Stamp<'_>> {
        match line {
            Line::Whole(bytes) if self.is_audit => auditd::stamp(bytes),
            _ => None,
        }
    }

    /// The first of the last lines that may not be all of their event: more may come behind them.
    pub fn unfinished(self, lines: &[Placed]) -> Option<usize> {
        let last = lines.last()?;
        let stamp = self.stamp(&last.line)?;
        if matches!(&last.line, Line::Whole(bytes) if auditd::is_last(bytes)) {
            return None;
        }
        let before = lines.iter().rposition(|placed| self.stamp(&placed.line) != Some(stamp));
        Some(before.map_or(0, |before| before + 1))
    }

    /// Each event's lines as one, in the place of the first.
    pub fn join(self, lines: Vec<Placed>) -> Vec<Placed> {
        let mut joined: Vec<Placed> = Vec::with_capacity(lines.len());
        // Events follow each other closely: what one line is to be joined to is among the last few.
        const REACH: usize = 16;
        for placed in lines {
            let stamp = self.stamp(&placed.line);
            let recent = joined.iter_mut().rev().take(REACH);
            match recent.into_iter().find(|known| stamp.is_some() && self.stamp(&known.line) == stamp) {
                Some(known) => known.line = both(&known.line, &placed.line),
                None => joined.push(placed),
            }
        }
        joined
    }
}

/// Lines that cannot be read again where they stand, as those of a file can: the last of them wait here for more of their
/// event.
#[derive(Debug)]
pub struct Held {
    grouping: Grouping,
    lines: Vec<Placed>,
    since: Instant,
}

impl Held {
    /// None yet.
    pub fn new(grouping: Grouping) -> Self {
        Held { grouping, lines: Vec::new(), since: Instant::now() }
    }

    /// Adds lines that came, if any did; gives those that are all of their event, or have waited for more as long as they
    /// may. `ended`: no more will come.
    pub fn take(&mut self, more: Vec<Placed>, ended: bool) -> Vec<Placed> {
        if !more.is_empty() {
            self.since = Instant::now();
        }
        let waits = !ended && self.since.elapsed() < EVENT_WAIT;
        let mut lines = std::mem::take(&mut self.lines);
        lines.extend(more);
        if let Some(first) = self.grouping.unfinished(&lines)
            && waits
            && lines.len() - first < EVENT_LINES_MAX
        {
            self.lines = lines.split_off(first);
        }
        self.grouping.join(lines)
    }

    /// Whether any wait.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Where those that wait begin.
    pub fn offsets(&self) -> impl Iterator<Item = u64> {
        self.lines.iter().map(|placed| placed.offset)
    }
}

fn both(first: &Line, second: &Line) -> Line {
    let (Line::Whole(first) | Line::TooLong(first)) = first;
    let (Line::Whole(second) | Line::TooLong(second)) = second;
    Line::Whole(Bytes::from([first, &b"\n"[..], second].concat()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(texts: &[&'static str]) -> Vec<Placed> {
        let placed = |(at, text): (usize, &&'static str)| Placed {
            line: Line::Whole(Bytes::from_static(text.as_bytes())),
            place: Some(at.to_string()),
            offset: at as u64,
        };
        texts.iter().enumerate().map(placed).collect()
    }

    const AUDIT: Grouping = Grouping { is_audit: true };
    const CALL: &str = "type=SYSCALL msg=audit(1.0:7): a=b";
    const FILE: &str = "type=PATH msg=audit(1.0:7): name=x";
    const END: &str = "type=PROCTITLE msg=audit(1.0:7): proctitle=x";
    const OTHER: &str = "type=SYSCALL msg=audit(1.0:8): a=b";
    const LOGIN: &str = "type=USER_LOGIN msg=audit(1.0:9): a=b";

    #[test]
    fn an_event_waits_for_its_last_line() {
        for (texts, expected) in [
            (&[CALL, FILE][..], Some(0)),
            (&[OTHER, CALL, FILE], Some(1)),
            (&[CALL, FILE, END], None),
            (&[CALL, FILE, OTHER], Some(2)),
            (&[CALL, LOGIN], None),
            (&[CALL, "rubbish"], None),
            (&[], None),
        ] {
            assert_eq!(AUDIT.unfinished(&lines(texts)), expected, "{texts:?}");
            assert_eq!(Grouping { is_audit: false }.unfinished(&lines(texts)), None);
        }
    }

    #[test]
    fn what_may_not_be_all_of_an_event_is_held_until_it_is_or_nothing_more_comes() {
        let mut held = Held::new(AUDIT);
        let offsets = |lines: Vec<Placed>| lines.iter().map(|placed| placed.offset).collect::<Vec<_>>();
        assert_eq!(offsets(held.take(lines(&[OTHER, CALL, FILE]), false)), [0]);
        assert_eq!(held.offsets().collect::<Vec<_>>(), [1, 2]);
        assert_eq!(offsets(held.take(Vec::new(), false)), [0_u64; 0]);
        assert_eq!(offsets(held.take(lines(&[END, LOGIN, CALL]), false)), [1, 1]);
        assert_eq!(offsets(held.take(Vec::new(), true)), [2]);
        assert!(held.is_empty());
    }

    #[test]
    fn lines_of_an_event_leave_together_under_the_first_name() {
        let joined = AUDIT.join(lines(&[CALL, OTHER, FILE, "rubbish", END]));
        let told: Vec<(&str, usize)> = joined
            .iter()
            .map(|placed| {
                let (Line::Whole(bytes) | Line::TooLong(bytes)) = &placed.line;
                (placed.place.as_deref().expect("named"), bytes.split(|byte| *byte == b'\n').count())
            })
            .collect();
        assert_eq!(told, [("0", 3), ("1", 1), ("3", 1)]);
    }
}
