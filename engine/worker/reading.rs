//! A stretch of messages into facts, by several threads where that pays.
//!
//! What an event is and which steps it satisfies depends on nothing but its message, the rules, and log time, which the
//! stamps of the messages before give. So a stretch in which no rules change is cut into one piece a thread, and what the
//! pieces come to is put one behind the other: the same facts, in the same order, however many threads there are.

use sightline_core::rule::RuleSet;
use sightline_schemas::control::RulesMessage;
use sightline_schemas::{Event, Position};

use crate::bus::LogMessage;
use crate::worker::correlator::Facts;
use crate::worker::intake::{Intake, Report};

/// Fewer bytes of messages than this are not worth a thread: it costs as much to start as it takes to read them.
const PARALLEL_BYTES_MIN: usize = 64 << 10;
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

/// Takes in a stretch of messages: one that changes rules, or some that do not. The first of `lanes` leads: its log time is that of the last
/// message.
pub fn read(lanes: &mut [Intake], messages: &[LogMessage], by: &mut Readers<'_>, into: &mut Taken) {
    let from_bus = messages.iter().all(|message| message.received_at.is_some());
    let pieces = match lanes.len() > 1 && by.observer.is_none() && from_bus {
        true => pieces(messages, lanes.len()),
        // Log time follows the events themselves, or somebody wants to see them in order.
        false => vec![messages],
    };
    let (first, others) = lanes.split_first_mut().expect("there is always one");
    let (head, tail) = pieces.split_first().map_or((messages, &[][..]), |(head, tail)| (*head, tail));
    if tail.is_empty() {
        return take_all(first, head, by, into);
    }
    let rules = by.rules;
    let mut log_time = first.log_time_behind(head);
    std::thread::scope(|scope| {
        let mut threads = Vec::with_capacity(tail.len());
        for (lane, piece) in others.iter_mut().zip(tail) {
            lane.set_log_time(log_time);
            log_time = lane.log_time_behind(piece);
            threads.push(scope.spawn(move || {
                let mut taken = Taken::default();
                take_all(lane, piece, &mut Readers { rules, observer: None }, &mut taken);
                taken
            }));
        }
        take_all(first, head, by, into);
        for thread in threads {
            into.append(thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
    });
    first.set_log_time(log_time);
}

fn take_all(lane: &mut Intake, messages: &[LogMessage], by: &mut Readers<'_>, into: &mut Taken) {
    for message in messages {
        lane.take(message, by, into);
    }
}

/// Messages in at most so many pieces of about the same work.
fn pieces(messages: &[LogMessage], most: usize) -> Vec<&[LogMessage]> {
    let cost = |message: &LogMessage| message.body.len() + MESSAGE_BYTES;
    let total: usize = messages.iter().map(cost).sum();
    let count = most.min(total / PARALLEL_BYTES_MIN).max(1);
    let mut pieces = Vec::with_capacity(count);
    let (mut from, mut seen) = (0, 0);
    for (at, message) in messages.iter().enumerate() {
        seen += cost(message);
        if seen >= total * (pieces.len() + 1) / count && at + 1 < messages.len() && pieces.len() + 1 < count {
            pieces.push(&messages[from..=at]);
            from = at + 1;
        }
    }
    pieces.push(&messages[from..]);
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
            for most in 1..5 {
                let pieces = pieces(&messages, most);
                let seqs: Vec<u64> =
                    pieces.iter().flat_map(|piece| piece.iter().map(|one| one.seq)).collect();
                assert_eq!(seqs, (0..messages.len() as u64).collect::<Vec<_>>(), "{sizes:?} in {most}");
                assert!(pieces.len() <= most);
            }
        }
        let even: Vec<LogMessage> = (0..2_000).map(|seq| message(seq, 400)).collect();
        assert_eq!(pieces(&even, 2).iter().map(|piece| piece.len()).collect::<Vec<_>>(), [1_000, 1_000]);
    }
}
