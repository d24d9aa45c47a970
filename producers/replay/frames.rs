//! Lines of one source packed into one message.

use std::collections::BTreeMap;

use sightline_producers::Message;
use sightline_schemas::wire::Form;

/// A frame is sent before it grows beyond this, whatever it may hold by number. Far below what a server takes, so that
/// one lost message is no long repetition.
const FRAME_BYTES_MAX: usize = 512 << 10;
/// Sources with an open frame. Sources come from the data, so their number needs a bound.
const OPEN_FRAMES_MAX: usize = 1_024;

/// The frames that are not full yet.
pub struct Frames {
    tenant: String,
    events_max: u32,
    open: BTreeMap<String, (Vec<u8>, u32)>,
}

impl Frames {
    /// Frames of at most `events_max` lines; with 1, each line is a message of its own.
    pub fn new(tenant: &str, events_max: u32) -> Self {
        Frames { tenant: tenant.to_owned(), events_max, open: BTreeMap::new() }
    }

    /// Adds a line; gives the messages that are ready now.
    pub fn add(&mut self, source: &str, line: Vec<u8>) -> Vec<Message> {
        if self.events_max == 1 {
            return vec![Message::raw(&self.tenant, source, line, Form::Json)];
        }
        let mut ready = Vec::new();
        if self.open.len() >= OPEN_FRAMES_MAX && !self.open.contains_key(source) {
            ready = self.finish();
        }
        // A line that would make it too large begins the next frame.
        if self.open.get(source).is_some_and(|(body, _)| body.len() + line.len() >= FRAME_BYTES_MAX) {
            ready.extend(self.close(source));
        }
        let (body, events) = self.open.entry(source.to_owned()).or_default();
        if *events > 0 {
            body.push(b'\n');
        }
        body.extend(line);
        *events += 1;
        if *events >= self.events_max {
            ready.extend(self.close(source));
        }
        ready
    }

    /// The rest, full or not.
    pub fn finish(&mut self) -> Vec<Message> {
        let open = std::mem::take(&mut self.open);
        open.into_iter().map(|(source, (body, events))| self.message(&source, body, events)).collect()
    }

    fn close(&mut self, source: &str) -> Option<Message> {
        let (body, events) = self.open.remove(source)?;
        Some(self.message(source, body, events))
    }

    fn message(&self, source: &str, body: Vec<u8>, events: u32) -> Message {
        Message::frame(&self.tenant, source, body, Form::Ndjson, events)
    }
}

#[cfg(test)]
mod tests {
    use sightline_schemas::wire;

    use super::*;

    fn sizes(messages: &[Message]) -> Vec<(&str, u32)> {
        messages.iter().map(|message| (message.subject(), message.events())).collect()
    }

    #[test]
    fn each_source_fills_its_own_frame_and_the_rest_comes_at_the_end() {
        let mut frames = Frames::new("default", 2);
        assert!(frames.add("b", b"1".to_vec()).is_empty());
        assert!(frames.add("a", b"2".to_vec()).is_empty());
        let full = frames.add("b", b"3".to_vec());
        assert_eq!(sizes(&full), [("events.default.b", 2)]);
        assert_eq!(wire::split(full[0].body(), Form::Ndjson), Ok(vec![&b"1"[..], b"3"]));
        assert_eq!(sizes(&frames.finish()), [("events.default.a", 1)]);
        assert!(frames.finish().is_empty());
    }

    #[test]
    fn long_lines_and_many_sources_close_frames_early() {
        let mut frames = Frames::new("default", 100);
        assert!(frames.add("a", vec![b'x'; FRAME_BYTES_MAX]).is_empty());
        assert_eq!(sizes(&frames.add("a", b"y".to_vec())), [("events.default.a", 1)]);
        for source in 1..OPEN_FRAMES_MAX {
            assert!(frames.add(&format!("s{source}"), b"z".to_vec()).is_empty());
        }
        assert_eq!(frames.add("one-more", b"z".to_vec()).len(), OPEN_FRAMES_MAX);
    }
}
