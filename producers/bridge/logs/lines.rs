//! Lines out of bytes that come in pieces.

use bytes::Bytes;
use sightline_schemas::wire::EVENT_BYTES_MAX;

/// A line without its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// As it came.
    Whole(Bytes),
    /// Its beginning: it is longer than a record may be.
    TooLong(Bytes),
}

/// Takes lines apart; keeps the beginning of a line whose end has not come.
#[derive(Debug, Default)]
pub struct Splitter {
    pending: Vec<u8>,
    /// The rest of a line that was too long is passed over.
    skipping: bool,
    bytes_max: usize,
}

impl Splitter {
    /// For lines of at most `bytes_max`; `skipping` where the last splitter ended in the middle of a longer one.
    pub fn new(bytes_max: usize, skipping: bool) -> Self {
        Splitter { pending: Vec::new(), skipping, bytes_max }
    }

    /// Takes bytes; gives lines, each with the number of bytes that it took. Blank lines are lines.
    pub fn feed(&mut self, mut bytes: &[u8]) -> Vec<(Option<Line>, u64)> {
        let mut lines = Vec::new();
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            let (line, rest) = bytes.split_at(end + 1);
            self.pending.extend_from_slice(line);
            bytes = rest;
            let line = std::mem::take(&mut self.pending);
            let taken = line.len() as u64;
            let skipped = std::mem::take(&mut self.skipping);
            lines.push(((!skipped).then(|| self.whole(line)).flatten(), taken));
        }
        self.pending.extend_from_slice(bytes);
        if self.pending.len() > self.bytes_max {
            let begun = std::mem::take(&mut self.pending);
            let taken = begun.len() as u64;
            let first = !std::mem::replace(&mut self.skipping, true);
            lines.push((first.then(|| Line::TooLong(begun.into())), taken));
        }
        lines
    }

    /// What has no end yet, as a line: none will come.
    pub fn finish(&mut self) -> Option<(Option<Line>, u64)> {
        let line = std::mem::take(&mut self.pending);
        let taken = line.len() as u64;
        let skipped = std::mem::take(&mut self.skipping);
        (taken > 0).then(|| ((!skipped).then(|| self.whole(line)).flatten(), taken))
    }

    /// Whether the middle of a line that is too long was reached.
    pub fn is_skipping(&self) -> bool {
        self.skipping
    }

    fn whole(&self, mut line: Vec<u8>) -> Option<Line> {
        while line.last().is_some_and(|byte| matches!(byte, b'\n' | b'\r')) {
            line.pop();
        }
        let blank = line.iter().all(u8::is_ascii_whitespace);
        match (blank, line.len() > self.bytes_max) {
            (true, _) => None,
            (false, true) => Some(Line::TooLong(line.into())),
            (false, false) => Some(Line::Whole(line.into())),
        }
    }
}

/// Most bytes of a line: of an event, or of a document that holds many.
pub fn bytes_max(holds_many: bool) -> usize {
    if holds_many { 64 * EVENT_BYTES_MAX } else { EVENT_BYTES_MAX }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_whole_however_the_bytes_come() {
        let text = b"one\r\n\ntwo\nthree";
        for piece in 1..=text.len() {
            let mut splitter = Splitter::new(100, false);
            let mut lines: Vec<_> = text.chunks(piece).flat_map(|bytes| splitter.feed(bytes)).collect();
            lines.extend(splitter.finish());
            let whole = |text: &'static str| Some(Line::Whole(Bytes::from_static(text.as_bytes())));
            assert_eq!(
                lines,
                [(whole("one"), 5), (None, 1), (whole("two"), 4), (whole("three"), 5)],
                "{piece}"
            );
        }
    }

    #[test]
    fn a_line_that_is_too_long_is_passed_over_and_the_next_is_whole() {
        let mut splitter = Splitter::new(4, false);
        let mut lines = splitter.feed(b"123456");
        assert_eq!(lines, [(Some(Line::TooLong(Bytes::from_static(b"123456"))), 6)]);
        assert!(splitter.is_skipping());
        lines = splitter.feed(b"789\nab\n");
        assert_eq!(lines, [(None, 4), (Some(Line::Whole(Bytes::from_static(b"ab"))), 3)]);
    }
}
