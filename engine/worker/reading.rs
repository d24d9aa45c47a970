//! A stretch of messages into facts, by several threads where that pays.
//!
//! What an event is and which steps it satisfies depends on nothing but its message, the rules, and log time, which the
//! stamps of the messages before give. So a stretch in which no rules change is cut into pieces, each of which is read by
//! whoever has time, and what the pieces come to is put one behind the other: the same facts, in the same order, however many
//! threads there are.

use rayon::{ThreadPool, ThreadPoolBuilder};
use std::sync::atomic::{AtomicUsize, Ordering};

use sightline_core::rule::RuleSet;
use sightline_schemas::control::RulesMessage;
use sightline_schemas::{Event, EventTime, Position};

use crate::bus::LogMessage;
use crate::worker::correlator::Facts;
use crate::worker::intake::{Intake, Report};

/// About so many bytes of messages make a piece: it takes much longer to read them than to wake who does.
const PIECE_BYTES: usize = 64 << 10;
/// What a message costs beside its body, in bytes of body.
const MESSAGE_BYTES: usize = 128;

/// Looks at every event as the engine sees it, in input order: for whoever explains.
pub trait Observer: std::fmt::Debug + Send {
    /// An event was decoded and is about to be detected.
    fn event(&mut self, event: &Event<'_>, position: Position);
}

/// By what messages are read.
pub struct Readers<'r> {
    /// The rules in force.
    pub rules: &'r RuleSet,
    /// Who looks on.
    pub observer: Option<&'r mut Box<dyn Observer>>,
}

/// What messages came to.
#[derive(Debug, Default)]
pub struct Taken {
    /// What follows for rules.
    pub facts: Facts,
    /// What is counted and buried.
    pub report: Report,
    /// Rules that are in force behind the last message.
    pub rules: Option<Box<RulesMessage>>,
}

/// The threads that read: whichever asks, and helpers from when they are first of use.
#[derive(Debug)]
pub struct Lanes {
    /// One for each thread. The first knows log time.
    intakes: Vec<Intake>,
    /// Kept, as a thread costs more to start than it takes to read a small batch.
    helpers: Option<ThreadPool>,
}

impl Lanes {
    /// For so many threads, with log time as it was at the last message before.
    pub fn new(count: usize, log_time: EventTime) -> Self {
        Lanes { intakes: (0..count.max(1)).map(|_| Intake::new(log_time)).collect(), helpers: None }
    }

    /// Log time at the last message.
    pub fn log_time(&self) -> EventTime {
        self.intakes[0].log_time()
    }

    /// Takes in a stretch of messages: one that changes rules, or some that do not.
    pub fn read(&mut self, messages: &[LogMessage], by: &mut Readers<'_>, into: &mut Taken) {
        let from_bus = messages.iter().all(|message| message.received_at.is_some());
        let pieces = match self.intakes.len() > 1 && by.observer.is_none() && from_bus {
            true => pieces(messages, self.log_time()),
            // Log time follows the events themselves, or somebody wants to see them in order.
            false => Vec::new(),
        };
        let (first, others) = self.intakes.split_first_mut().expect("there is always one");
        if pieces.len() > 1 && self.helpers.is_none() {
            self.helpers = ThreadPoolBuilder::new().num_threads(others.len()).build().ok();
        }
        // Without a helper to be had it takes longer.
        let Some(helpers) = self.helpers.as_ref().filter(|_| pieces.len() > 1) else {
            return take_all(first, messages, by, into);
        };
        let log_time = first.log_time_behind(messages);
        let (rules, next) = (by.rules, AtomicUsize::new(0));
        // A helper may come late on a busy machine: whoever is there takes the next piece.
        let take_pieces = |lane: &mut Intake, taken: &mut Vec<(usize, Taken)>| {
            let mut by = Readers { rules, observer: None };
            loop {
                let at = next.fetch_add(1, Ordering::Relaxed);
                let Some(piece) = pieces.get(at) else { return };
                let mut into = Taken::default();
                lane.set_log_time(piece.log_time);
                take_all(lane, piece.messages, &mut by, &mut into);
                taken.push((at, into));
            }
        };
        let take_pieces = &take_pieces;
        let mut taken: Vec<Vec<(usize, Taken)>> = (0..=others.len()).map(|_| Vec::new()).collect();
        let (own, theirs) = taken.split_first_mut().expect("one for each");
        helpers.in_place_scope(|scope| {
            for (lane, taken) in others.iter_mut().zip(theirs) {
                scope.spawn(move |_| take_pieces(lane, taken));
            }
            take_pieces(first, own);
        });
        let mut taken: Vec<(usize, Taken)> = taken.into_iter().flatten().collect();
        taken.sort_unstable_by_key(|(at, _)| *at);
        taken.into_iter().for_each(|(_, taken)| into.append(taken));
        first.set_log_time(log_time);
    }
}

fn take_all(lane: &mut Intake, messages: &[LogMessage], by: &mut Readers<'_>, into: &mut Taken) {
    into.facts.times.reserve(messages.len());
    for message in messages {
        lane.take(message, by, into);
    }
}

/// Some messages of a stretch.
struct Piece<'m> {
    messages: &'m [LogMessage],
    /// Log time before the first of them.
    log_time: EventTime,
}

/// Messages in pieces of about the same work; all in one where they are few.
fn pieces(messages: &[LogMessage], mut log_time: EventTime) -> Vec<Piece<'_>> {
    let cost = |message: &LogMessage| message.body.len() + MESSAGE_BYTES;
    let total: usize = messages.iter().map(cost).sum();
    let count = (total / PIECE_BYTES).max(1);
    let mut pieces = Vec::with_capacity(count);
    let (mut from, mut seen) = (0, 0);
    for (at, message) in messages.iter().enumerate() {
        seen += cost(message);
        let last = at + 1 == messages.len();
        if last || (seen >= total * (pieces.len() + 1) / count && pieces.len() + 1 < count) {
            let piece = Piece { messages: &messages[from..=at], log_time };
            let received = piece.messages.iter().filter_map(|message| message.received_at);
            log_time = received.max().map_or(log_time, |newest| newest.max(log_time));
            pieces.push(piece);
            from = at + 1;
        }
    }
    pieces
}

impl Taken {
    /// What was read behind it.
    fn append(&mut self, mut later: Taken) {
        self.facts.times.append(&mut later.facts.times);
        self.facts.hits.append(&mut later.facts.hits);
        self.facts.commands.append(&mut later.facts.commands);
        self.facts.excepted.append(&mut later.facts.excepted);
        self.report.append(later.report);
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn pieces_are_all_of_it_in_order_and_of_about_one_size() {
        let message = |seq: u64, bytes: usize| LogMessage {
            seq,
            subject: None,
            received_at: None,
            content_type: None,
            content_encoding: None,
            body: Bytes::from(vec![b' '; bytes]),
        };
        for sizes in [
            vec![],
            vec![10],
            vec![300_000],
            vec![300_000, 10],
            vec![10, 300_000],
            vec![400; 2_000],
            vec![70_000, 70_000, 70_000, 70_000],
        ] {
            let messages: Vec<LogMessage> =
                sizes.iter().enumerate().map(|(at, bytes)| message(at as u64, *bytes)).collect();
            let seqs: Vec<u64> = super::pieces(&messages, EventTime::MIN)
                .iter()
                .flat_map(|piece| piece.messages)
                .map(|one| one.seq)
                .collect();
            assert_eq!(seqs, (0..messages.len() as u64).collect::<Vec<_>>(), "{sizes:?}");
        }
        let even: Vec<LogMessage> = (0..2_000).map(|seq| message(seq, 400)).collect();
        let pieces = super::pieces(&even, EventTime::MIN);
        assert!(pieces.iter().all(|piece| (120..=130).contains(&piece.messages.len())), "{}", pieces.len());
    }
}
