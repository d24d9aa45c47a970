//! What the publisher remembers of messages that the server has not acknowledged yet, and when each is due again.
//!
//! No IO and no clock: the time comes in, what is to be done comes out.

use std::collections::VecDeque;
use std::fmt;
use std::time::{Duration, Instant};

use crate::message::Message;
use crate::publish_error::PublishError;
use crate::publisher::Stored;

/// Pause before a message that the server could not take is sent again; grows with each attempt up to the maximum.
const PAUSE_STEP: Duration = Duration::from_millis(250);
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// Between half of `pause` and all of it: what was refused together does not come back together.
fn jittered(pause: Duration, seed: u64) -> Duration {
    // The finisher of SplitMix64, <https://doi.org/10.1145/2714064.2660195>: neighbouring seeds give far values.
    let mut mixed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    let thousandths = 500 + (mixed ^ (mixed >> 31)) % 501;
    pause * u32::try_from(thousandths).unwrap_or(1_000) / 1_000
}

/// Bounds of the window.
#[derive(Clone, Debug)]
pub(crate) struct Window {
    /// Most messages from the oldest one without an acknowledgement to the newest one.
    pub messages_max: usize,
    /// A further message is taken while the bodies in flight hold less than this.
    pub bytes_max: usize,
    /// Without an answer for this long, a message is sent again.
    pub ack_wait: Duration,
    /// Without success for this long, a message is given up.
    pub patience: Duration,
}

/// Who is told what became of a message.
pub(crate) struct Done(pub Box<dyn FnOnce(Result<Stored, PublishError>) + Send>);

impl Done {
    pub fn tell(self, result: Result<Stored, PublishError>) {
        (self.0)(result);
    }
}

impl fmt::Debug for Done {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Done")
    }
}

/// One message on its way.
#[derive(Debug)]
pub(crate) struct Flight {
    /// What is sent.
    pub message: Message,
    /// Who waits for it, if anyone.
    pub done: Option<Done>,
    /// What the server said to the last attempt, if it was no acknowledgement.
    pub last_answer: Option<String>,
    accepted_at: Instant,
    due: Instant,
    attempts: u32,
    /// The number of the connection it was last sent on; 0 before the first attempt. An acknowledgement can only come on
    /// the same connection.
    sent_on: u64,
}

/// What is to be done with a message now.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// Send it, or send it again.
    Send(u64),
    /// Too long without success.
    GiveUp(u64),
}

/// The messages on their way, in the order in which they were taken.
#[derive(Debug)]
pub(crate) struct InFlight {
    window: Window,
    /// Differs between publishers.
    seed: u64,
    /// Ticket of the first place. Tickets count up from 1 and name a message in the subject of its answer.
    first: u64,
    /// One place a ticket; empty where the message is done but an older one is not.
    places: VecDeque<Option<Flight>>,
    bytes: usize,
    /// How many were never sent.
    unsent: usize,
}

impl InFlight {
    pub fn new(window: Window, seed: u64) -> Self {
        InFlight { window, seed, first: 1, places: VecDeque::new(), bytes: 0, unsent: 0 }
    }

    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    pub fn has_room(&self) -> bool {
        self.places.len() < self.window.messages_max && self.bytes < self.window.bytes_max
    }

    /// Ticket of the oldest message that is not done; all before it are. The next ticket if there is none.
    pub fn oldest(&self) -> u64 {
        self.first
    }

    /// The ticket that the next message gets.
    pub fn next(&self) -> u64 {
        self.first + self.places.len() as u64
    }

    /// Takes a message and gives it a ticket. It is due at once.
    pub fn take(&mut self, message: Message, done: Option<Done>, now: Instant) -> u64 {
        let ticket = self.next();
        self.bytes += message.body().len();
        self.unsent += 1;
        self.places.push_back(Some(Flight {
            message,
            done,
            last_answer: None,
            accepted_at: now,
            due: now,
            attempts: 0,
            sent_on: 0,
        }));
        ticket
    }

    /// The message of a ticket; `None` once it is done.
    pub fn get_mut(&mut self, ticket: u64) -> Option<&mut Flight> {
        let place = ticket.checked_sub(self.first)?;
        self.places.get_mut(usize::try_from(place).ok()?)?.as_mut()
    }

    /// Notes that a message was handed to connection number `connection`; says whether it was for the first time.
    pub fn sent(&mut self, ticket: u64, connection: u64, now: Instant) -> bool {
        let ack_wait = self.window.ack_wait;
        let Some(flight) = self.get_mut(ticket) else { return false };
        flight.due = now + ack_wait;
        flight.attempts += 1;
        flight.sent_on = connection;
        let first = flight.attempts == 1;
        self.unsent -= usize::from(first);
        first
    }

    /// Whether a message other than the newest one was never sent: it goes before that.
    pub fn is_behind(&self) -> bool {
        self.unsent > 1
    }

    /// Notes that the server could not take a message for now; it is due again after a pause.
    pub fn postpone(&mut self, ticket: u64, answer: String, now: Instant) {
        let seed = self.seed;
        let Some(flight) = self.get_mut(ticket) else { return };
        let pause = PAUSE_MAX.min(PAUSE_STEP * flight.attempts.clamp(1, 100));
        flight.due = now + jittered(pause, seed ^ ticket ^ u64::from(flight.attempts));
        flight.last_answer = Some(answer);
    }

    /// Takes a message out: it is done, one way or the other. `None` if it already was.
    pub fn finish(&mut self, ticket: u64) -> Option<Flight> {
        let place = usize::try_from(ticket.checked_sub(self.first)?).ok()?;
        let flight = self.places.get_mut(place)?.take()?;
        self.bytes -= flight.message.body().len();
        self.unsent -= usize::from(flight.attempts == 0);
        while let Some(None) = self.places.front() {
            self.places.pop_front();
            self.first += 1;
        }
        Some(flight)
    }

    /// What is due now. `connection` is the number of the live connection, `None` while there is none: then nothing is
    /// sent, but patience still ends.
    pub fn due(&self, connection: Option<u64>, now: Instant) -> Vec<Due> {
        let mut due = Vec::new();
        for (ticket, place) in (self.first..).zip(&self.places) {
            let Some(flight) = place else { continue };
            if now.duration_since(flight.accepted_at) >= self.window.patience {
                due.push(Due::GiveUp(ticket));
            } else if let Some(connection) = connection
                && (flight.due <= now || (flight.sent_on != 0 && flight.sent_on != connection))
            {
                due.push(Due::Send(ticket));
            }
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use sightline_schemas::wire::Form;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn window() -> InFlight {
        InFlight::new(
            Window { messages_max: 3, bytes_max: 100, ack_wait: 5 * SECOND, patience: 60 * SECOND },
            7,
        )
    }

    fn message(bytes: usize) -> Message {
        Message::raw("default", "test", vec![b'x'; bytes], Form::Json)
    }

    #[test]
    fn the_window_stays_shut_until_the_oldest_is_done() {
        let (mut table, now) = (window(), Instant::now());
        let tickets: Vec<u64> = (0..3).map(|_| table.take(message(1), None, now)).collect();
        assert!(!table.has_room());
        table.finish(tickets[1]);
        assert!(!table.has_room() && table.oldest() == tickets[0]);
        table.finish(tickets[0]);
        assert!(table.has_room() && table.oldest() == tickets[2]);
        assert!(table.finish(tickets[0]).is_none(), "a late second answer changes nothing");
        table.finish(tickets[2]);
        assert!(table.is_empty() && table.oldest() == table.next());
    }

    #[test]
    fn large_bodies_fill_the_window_sooner() {
        let (mut table, now) = (window(), Instant::now());
        let ticket = table.take(message(100), None, now);
        assert!(!table.has_room());
        table.finish(ticket);
        assert!(table.has_room());
    }

    #[test]
    fn a_message_is_sent_again_after_silence_after_a_new_connection_and_after_a_refusal() {
        let (mut table, start) = (window(), Instant::now());
        let ticket = table.take(message(1), None, start);
        assert_eq!(table.due(Some(1), start), [Due::Send(ticket)]);
        assert!(table.sent(ticket, 1, start));
        assert_eq!(table.due(Some(1), start + SECOND), []);
        assert_eq!(table.due(Some(1), start + 5 * SECOND), [Due::Send(ticket)]);
        assert_eq!(
            table.due(Some(2), start + SECOND),
            [Due::Send(ticket)],
            "the old connection cannot answer"
        );
        assert_eq!(table.due(None, start + 5 * SECOND), [], "there is nowhere to send it");
        assert!(!table.sent(ticket, 2, start + SECOND));
        table.postpone(ticket, "disk full".to_owned(), start + SECOND);
        assert_eq!(table.due(Some(2), start + SECOND), []);
        assert_eq!(table.due(Some(2), start + 2 * SECOND), [Due::Send(ticket)]);
    }

    #[test]
    fn pauses_are_spread_over_the_second_half() {
        let pauses: Vec<u128> = (0..1_000).map(|seed| jittered(SECOND, seed).as_millis()).collect();
        assert!(pauses.iter().all(|pause| (500..=1_000).contains(pause)));
        assert!((0..5).all(|tenth| pauses.iter().any(|pause| (pause - 500) / 100 == tenth)), "{pauses:?}");
    }

    #[test]
    fn patience_ends_with_and_without_a_connection() {
        let (mut table, start) = (window(), Instant::now());
        let ticket = table.take(message(1), None, start);
        for connection in [None, Some(7)] {
            assert_eq!(table.due(connection, start + 60 * SECOND), [Due::GiveUp(ticket)]);
        }
    }
}
