//! Events of one source packed into one message: a frame. Pure: the time comes in, the messages that are ready come out.
//!
//! A frame is closed when it holds so many events or bytes, or when its first event has waited as long as it may. One
//! event alone is sent as it would be without frames, under its own id; a frame is named by its bytes.

use std::io;
use std::time::{Duration, Instant};

use bytes::Bytes;
use sightline_schemas::EventId;
use sightline_schemas::subject::HEADER_CONTENT_ENCODING;
use sightline_schemas::wire::{FRAME_EVENTS_MAX, Form};

use crate::message::{Message, subject};
use crate::trace_context::{HEADER_TRACEPARENT, TraceParent};

/// Frames that are open at once. Sources come from the data, so their number needs a bound; finding one is a short walk.
const OPEN_MAX: usize = 64;

/// When a frame is closed.
#[derive(Clone, Debug)]
pub struct Framing {
    /// Most events of a frame; 1 sends each event as a message of its own. At most 65,536.
    pub events_max: u32,
    /// Most bytes of a frame before it is compressed; a larger event goes alone. Far below what a server takes, so that a
    /// lost message is no long repetition.
    pub bytes_max: usize,
    /// How long the first event of a frame may wait for others.
    pub linger: Duration,
    /// Level of zstd, 1 to 19; uncompressed where there is none. Compressed frames have `Content-Encoding: zstd`.
    pub zstd: Option<i32>,
}

impl Framing {
    /// Every event a message of its own.
    pub fn off() -> Self {
        Framing { events_max: 1, ..Framing::default() }
    }
}

impl Default for Framing {
    fn default() -> Self {
        Framing { events_max: 512, bytes_max: 512 << 10, linger: Duration::from_millis(5), zstd: None }
    }
}

/// An event that may leave.
#[derive(Clone, Copy, Debug)]
pub struct Ready<'a> {
    /// Whose event it is.
    pub tenant: &'a str,
    /// Who reports it.
    pub source: &'a str,
    /// How it is written.
    pub form: Form,
    /// One event; without line breaks, if it is JSON.
    pub body: &'a [u8],
    /// Its id.
    pub id: EventId,
    /// Where it stands in a distributed trace.
    pub trace: Option<TraceParent>,
}

/// A message that may leave, with the ids of its events and those who wait for it.
#[derive(Debug)]
pub struct Frame<W> {
    /// The message.
    pub message: Message,
    /// The ids of its events.
    pub ids: Vec<EventId>,
    /// Those who wait for them.
    pub waiting: Vec<W>,
}

/// The frames that are not full yet.
#[derive(Debug)]
pub struct Framer<W> {
    framing: Framing,
    open: Vec<Open<W>>,
    /// Bytes of the frame that was closed last: the next one will not be far from it.
    bytes_before: usize,
}

#[derive(Debug)]
struct Open<W> {
    tenant: String,
    source: String,
    form: Form,
    body: Vec<u8>,
    ids: Vec<EventId>,
    waiting: Vec<W>,
    /// Of all its events that have one; `None` where they disagree.
    trace: Option<TraceParent>,
    traced: bool,
    opened: Instant,
}

/// MessagePack's marker of an array whose length follows in four bytes.
const ARRAY_32: u8 = 0xdd;
const ARRAY_HEADER_BYTES: usize = 5;

impl<W> Framer<W> {
    /// Without any open frame.
    pub fn new(framing: Framing) -> Self {
        Framer { framing, open: Vec::new(), bytes_before: 0 }
    }

    /// Whether no frame is open.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Adds an event; gives the frames that are full now, oldest first. The time is asked for where a frame begins.
    pub fn add(
        &mut self,
        event: Ready<'_>,
        waiting: Option<W>,
        now: impl FnOnce() -> Instant,
    ) -> Vec<Frame<W>> {
        let mut full = Vec::new();
        let mut at = self.open.iter().position(|open| open.takes(&event));
        if let Some(place) = at
            && self.open[place].body.len() + event.body.len() >= self.framing.bytes_max
        {
            full.push(self.close(place));
            at = None;
        }
        if at.is_none() && self.open.len() >= OPEN_MAX {
            full.push(self.close(0));
        }
        let place = at.unwrap_or_else(|| {
            self.open.push(Open::begin(&event, self.bytes_before, now()));
            self.open.len() - 1
        });
        let open = &mut self.open[place];
        open.add(event, waiting);
        let events_max = self.framing.events_max.clamp(1, FRAME_EVENTS_MAX as u32);
        if open.ids.len() >= events_max as usize || open.body.len() >= self.framing.bytes_max {
            full.push(self.close(place));
        }
        full
    }

    /// When the next frame is due.
    pub fn next_due(&self) -> Option<Instant> {
        self.open.iter().map(|open| open.opened + self.framing.linger).min()
    }

    /// The frames that have waited long enough.
    pub fn due(&mut self, now: Instant) -> Vec<Frame<W>> {
        let mut due = Vec::new();
        // Frames are in the order in which they were opened.
        while self.open.first().is_some_and(|open| open.opened + self.framing.linger <= now) {
            due.push(self.close(0));
        }
        due
    }

    /// The rest, full or not.
    pub fn finish(&mut self) -> Vec<Frame<W>> {
        (0..self.open.len()).map(|_| self.close(0)).collect()
    }

    fn close(&mut self, place: usize) -> Frame<W> {
        let open = self.open.remove(place);
        self.bytes_before = open.body.len();
        open.close(self.framing.zstd)
    }
}

impl<W> Open<W> {
    fn begin(event: &Ready<'_>, bytes: usize, now: Instant) -> Self {
        let mut body = Vec::with_capacity(bytes + event.body.len());
        if event.form == Form::MessagePack {
            body.extend([ARRAY_32, 0, 0, 0, 0]);
        }
        Open {
            tenant: event.tenant.to_owned(),
            source: event.source.to_owned(),
            form: event.form,
            body,
            ids: Vec::new(),
            waiting: Vec::new(),
            trace: None,
            traced: false,
            opened: now,
        }
    }

    fn takes(&self, event: &Ready<'_>) -> bool {
        self.source == event.source && self.tenant == event.tenant && self.form == event.form
    }

    fn add(&mut self, event: Ready<'_>, waiting: Option<W>) {
        if self.form != Form::MessagePack && !self.ids.is_empty() {
            self.body.push(b'\n');
        }
        self.body.extend(event.body);
        if let Some(trace) = event.trace {
            self.trace = if self.traced { self.trace.filter(|known| *known == trace) } else { Some(trace) };
            self.traced = true;
        }
        self.ids.push(event.id);
        self.waiting.extend(waiting);
    }

    fn close(mut self, zstd: Option<i32>) -> Frame<W> {
        let events = u32::try_from(self.ids.len()).expect("a frame has at most 65,536 events");
        let message = if let [id] = self.ids[..] {
            let start = if self.form == Form::MessagePack { ARRAY_HEADER_BYTES } else { 0 };
            let form = if self.form == Form::Ndjson { Form::Json } else { self.form };
            let body = Bytes::from(self.body).slice(start..);
            Message::on(subject(&self.tenant, &self.source), body, form.content_type(), id, 1)
        } else {
            let form = if self.form == Form::Json { Form::Ndjson } else { self.form };
            if form == Form::MessagePack {
                self.body[1..ARRAY_HEADER_BYTES].copy_from_slice(&events.to_be_bytes());
            }
            Message::frame(&self.tenant, &self.source, self.body, form, events)
        };
        let mut message = compressed(message, zstd);
        if let Some(trace) = self.trace {
            message = message.with_header(HEADER_TRACEPARENT, trace.to_string());
        }
        Frame { message, ids: self.ids, waiting: self.waiting }
    }
}

/// The message compressed, where that makes it smaller.
fn compressed(message: Message, zstd: Option<i32>) -> Message {
    let Some(level) = zstd else { return message };
    let smaller = |body: io::Result<Vec<u8>>| body.ok().filter(|body| body.len() < message.body().len());
    match smaller(zstd::bulk::compress(message.body(), level)) {
        Some(body) => message.with_body(body).with_header(HEADER_CONTENT_ENCODING, "zstd"),
        None => message,
    }
}

#[cfg(test)]
mod tests {
    use sightline_schemas::wire;

    use super::*;

    const NOW: fn() -> Instant = Instant::now;

    fn framer(events_max: u32) -> Framer<u32> {
        Framer::new(Framing { events_max, bytes_max: 1_000, linger: Duration::from_millis(5), zstd: None })
    }

    fn event<'a>(source: &'a str, body: &'a [u8]) -> Ready<'a> {
        let id = EventId::from_raw("default", source, body);
        Ready { tenant: "default", source, form: Form::Json, body, id, trace: None }
    }

    fn sizes(frames: &[Frame<u32>]) -> Vec<(&str, u32)> {
        frames.iter().map(|frame| (frame.message.subject(), frame.message.events())).collect()
    }

    #[test]
    fn each_source_fills_its_own_frame_and_the_rest_comes_at_the_end() {
        let (mut framer, now) = (framer(2), NOW());
        assert!(framer.add(event("b", b"1"), Some(1), || now).is_empty());
        assert!(framer.add(event("a", b"2"), None, || now).is_empty());
        let full = framer.add(event("b", b"3"), Some(3), || now);
        assert_eq!(sizes(&full), [("events.default.b", 2)]);
        assert_eq!(
            (&full[0].message.body()[..], full[0].message.content_type()),
            (&b"1\n3"[..], "application/x-ndjson")
        );
        assert_eq!(full[0].waiting, [1, 3]);
        assert_eq!(full[0].message.id(), EventId::from_raw("default", "b", b"1\n3"));
        assert_eq!(sizes(&framer.finish()), [("events.default.a", 1)]);
        assert!(framer.finish().is_empty() && framer.is_empty());
    }

    #[test]
    fn one_event_alone_is_what_it_is_without_frames() {
        for form in [Form::Json, Form::MessagePack, Form::Ndjson] {
            let (mut framer, now) = (framer(2), NOW());
            let event = Ready { form, ..event("a", &[0x80]) };
            assert!(framer.add(event, None, || now).is_empty());
            let alone = &framer.finish()[0].message;
            let sent = if form == Form::Ndjson { Form::Json } else { form };
            assert_eq!(*alone, Message::raw("default", "a", &[0x80][..], sent));
        }
    }

    #[test]
    fn message_pack_becomes_an_array() {
        let (mut framer, now) = (framer(3), NOW());
        let map = [0x81, 0xa1, b'a', 1];
        let add = |framer: &mut Framer<u32>| {
            framer.add(Ready { form: Form::MessagePack, ..event("a", &map) }, None, || now)
        };
        assert!(add(&mut framer).is_empty() && add(&mut framer).is_empty());
        let full = add(&mut framer);
        let split = wire::split(full[0].message.body(), Form::MessagePack).expect("a frame");
        assert_eq!(split[..], [&map[..]; 3]);
    }

    #[test]
    fn a_frame_waits_no_longer_than_its_first_event_may() {
        let (mut framer, now) = (framer(100), NOW());
        let later = now + Duration::from_millis(3);
        assert_eq!(framer.next_due(), None);
        framer.add(event("a", b"1"), None, || now);
        framer.add(event("b", b"2"), None, || later);
        framer.add(event("a", b"3"), None, || later);
        assert_eq!(framer.next_due(), Some(now + Duration::from_millis(5)));
        assert!(framer.due(now + Duration::from_millis(4)).is_empty());
        assert_eq!(sizes(&framer.due(now + Duration::from_millis(5))), [("events.default.a", 2)]);
        assert_eq!(sizes(&framer.due(later + Duration::from_millis(5))), [("events.default.b", 1)]);
    }

    #[test]
    fn long_events_and_many_sources_close_frames_early() {
        let (mut framer, now) = (framer(100), NOW());
        framer.add(event("a", b"y"), None, || now);
        assert_eq!(
            sizes(&framer.add(event("a", &[b'x'; 1_000]), None, || now)),
            [("events.default.a", 1), ("events.default.a", 1)]
        );
        for source in 0..OPEN_MAX {
            assert!(framer.add(event(&format!("s{source}"), b"z"), None, || now).is_empty());
        }
        assert_eq!(sizes(&framer.add(event("one-more", b"z"), None, || now)), [("events.default.s0", 1)]);
    }

    #[test]
    fn what_gets_smaller_is_compressed_and_keeps_its_id() {
        let mut framer = Framer::<u32>::new(Framing { events_max: 2, zstd: Some(1), ..Framing::default() });
        let body = [b'x'; 300];
        framer.add(event("a", &body), None, NOW);
        let full = framer.add(event("a", &body), None, NOW);
        let message = &full[0].message;
        assert_eq!(message.headers().collect::<Vec<_>>(), [("Content-Encoding", "zstd")]);
        let plain = zstd::decode_all(&message.body()[..]).expect("zstd");
        assert_eq!(plain, [&body[..], &body].join(&b'\n'));
        assert_eq!(message.id(), EventId::from_raw("default", "a", &plain));
        framer.add(event("a", b"1"), None, NOW);
        assert_eq!(framer.finish()[0].message.headers().count(), 0);
    }

    #[test]
    fn a_frame_says_its_trace_where_its_events_agree() {
        let trace = |span: u8| TraceParent::new([1; 16], [span; 8], true);
        for (traces, expected) in [
            ([None, None], None),
            ([trace(1), None], trace(1)),
            ([trace(1), trace(1)], trace(1)),
            ([trace(1), trace(2)], None),
        ] {
            let mut framer = framer(2);
            let mut full = Vec::new();
            for trace in traces {
                full = framer.add(Ready { trace, ..event("a", b"{}") }, None, NOW);
            }
            let said: Vec<String> = full[0].message.headers().map(|(_, value)| value.to_owned()).collect();
            assert_eq!(said, expected.iter().map(ToString::to_string).collect::<Vec<_>>());
        }
    }
}
