//! How to begin: a pure decision over facts that were read before. No disk, no bus, no clock.
//!
//! State is a function of the log, so every doubt about the checkpoint has one answer: throw it away and rebuild. What
//! can be missing is input: where the log no longer reaches back to what this worker answers for, the hole is a
//! [`Gap`], to be reported, and work goes on behind it.

use std::fmt;

use sightline_schemas::Position;

/// What was read before deciding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// What the store gave.
    pub checkpoint: CheckpointFact,
    /// The version of key states that this program reads and writes.
    pub format: u32,
    /// The input log as it is now.
    pub log: LogFact,
    /// The newest message of the output log, if there is one.
    pub last_output: Option<OutputFact>,
    /// The log of which a checkpoint was refused and cleared away, if one was.
    pub cleared: Option<String>,
}

/// What is known of the checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckpointFact {
    /// There is none.
    None,
    /// There is one that cannot be trusted.
    Damaged(String),
    /// There is one that is whole.
    Found {
        /// The log that it is a function of.
        log_id: String,
        /// Sequence of the last message in it.
        seq: u64,
        /// Version of its key states.
        format: u32,
    },
}

/// What is known of the input log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFact {
    /// Changes when the log is deleted and created again.
    pub id: String,
    /// Oldest message there (last + 1 where there is none).
    pub first_seq: u64,
    /// Newest message there ever was (0 where there never was one).
    pub last_seq: u64,
}

/// What is known of the newest output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputFact {
    /// The log whose message caused it.
    pub log_id: String,
    /// Where in that log, and the how manieth of that position.
    pub at: OutputAt,
}

/// Place of an output: the input position that caused it and its ordinal among the outputs of that position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct OutputAt {
    /// The input position.
    pub position: Position,
    /// Counted from 0 in each position.
    pub ordinal: u32,
}

/// How to begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// With which state, and where in the log.
    pub start: Start,
    /// Input that is gone and that this worker answers for.
    pub gap: Option<Gap>,
    /// Outputs up to and including this one were published before: replay them without publishing.
    pub silent_until: Option<OutputAt>,
    /// What is odd about the output log, to be said aloud.
    pub output_doubt: Option<Doubt>,
    /// Whether somebody was at work on this log before, whose past is answered for.
    pub has_past: bool,
}

/// With which state to begin, and from which message on to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// Empty state, and nothing was lost.
    Fresh {
        /// First sequence to read.
        from_seq: u64,
    },
    /// The state of the checkpoint.
    Resume {
        /// First sequence to read.
        from_seq: u64,
    },
    /// Empty state, because what there was is refused or missing. Clear the store.
    Rebuild {
        /// First sequence to read.
        from_seq: u64,
        /// Why, to be said aloud.
        reason: Doubt,
    },
}

/// Messages `first..=last` of the input log are gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// First missing sequence.
    pub first: u64,
    /// Last missing sequence.
    pub last: u64,
}

/// Why something that was read is not believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// The store could not verify it.
    Damaged(String),
    /// This log was worked on before, and there is no checkpoint.
    Missing,
    /// The checkpoint was written by another version.
    Format {
        /// The version it has.
        found: u32,
        /// The version this program reads.
        expected: u32,
    },
    /// The checkpoint belongs to another log.
    LogReplaced {
        /// The log of the checkpoint.
        was: String,
        /// The log there is.
        is: String,
    },
    /// The checkpoint holds messages that the log no longer has.
    StateAhead {
        /// Last message in the checkpoint.
        seq: u64,
        /// Last message in the log.
        last_seq: u64,
    },
    /// The outputs speak of messages that the log no longer has.
    OutputAhead {
        /// The message that caused the newest output.
        seq: u64,
        /// Last message in the log.
        last_seq: u64,
    },
}

impl Start {
    /// First sequence to read.
    pub fn from_seq(&self) -> u64 {
        match *self {
            Start::Fresh { from_seq } | Start::Resume { from_seq } | Start::Rebuild { from_seq, .. } => {
                from_seq
            }
        }
    }
}

/// Decides how to begin.
pub fn decide(facts: &Facts) -> Decision {
    let log = &facts.log;
    let ours = facts.last_output.as_ref().filter(|output| output.log_id == log.id);
    let doubt = doubt(facts, ours);
    // A log that was replaced is a new log: what it lost before anybody read it, nobody here answers for.
    let is_new = matches!(
        (&facts.checkpoint, &doubt),
        (CheckpointFact::None, _) | (_, Some(Doubt::LogReplaced { .. }))
    );
    let has_past = !is_new || is_known(facts, ours);
    let (start, gap) = match doubt {
        Some(reason) => {
            let gap = gap_before(log, 1).filter(|_| has_past);
            (Start::Rebuild { from_seq: log.first_seq, reason }, gap)
        }
        None => match facts.checkpoint {
            CheckpointFact::Found { seq, .. } => {
                let from_seq = log.first_seq.max(seq + 1);
                (Start::Resume { from_seq }, gap_before(log, seq + 1))
            }
            // A new worker on an old stream: what was gone before it came, it never had to watch.
            _ => (Start::Fresh { from_seq: log.first_seq }, None),
        },
    };
    let ahead = ours.filter(|output| output.at.position.seq > log.last_seq);
    let silent_until = silent_until(log, facts.last_output.as_ref());
    let output_doubt =
        ahead.map(|output| Doubt::OutputAhead { seq: output.at.position.seq, last_seq: log.last_seq });
    Decision { start, gap, silent_until, output_doubt, has_past }
}

/// Up to where an output log, of which `last` is the newest message, says already what the replay will come to.
pub fn silent_until(log: &LogFact, last: Option<&OutputFact>) -> Option<OutputAt> {
    let ours = last.filter(|output| output.log_id == log.id)?;
    // Messages after the lost tail get its sequences again. They are new, so their outputs must not be swallowed:
    // silence ends with the last message there is, and publishing goes on behind the outputs that nobody can explain.
    let end = OutputAt { position: Position::new(log.last_seq, u32::MAX), ordinal: 0 };
    Some(ours.at.min(end))
}

/// Why the state must be rebuilt, if it must.
fn doubt(facts: &Facts, ours: Option<&OutputFact>) -> Option<Doubt> {
    let log = &facts.log;
    match &facts.checkpoint {
        CheckpointFact::None => is_known(facts, ours).then_some(Doubt::Missing),
        CheckpointFact::Damaged(reason) => Some(Doubt::Damaged(reason.clone())),
        // The log first: state of another log is refused whatever else is true of it.
        CheckpointFact::Found { log_id, .. } if *log_id != log.id => {
            Some(Doubt::LogReplaced { was: log_id.clone(), is: log.id.clone() })
        }
        CheckpointFact::Found { format, .. } if *format != facts.format => {
            Some(Doubt::Format { found: *format, expected: facts.format })
        }
        CheckpointFact::Found { seq, .. } if *seq > log.last_seq => {
            Some(Doubt::StateAhead { seq: *seq, last_seq: log.last_seq })
        }
        CheckpointFact::Found { .. } => None,
    }
}

/// Whether something beside the checkpoint shows that this log was worked on.
fn is_known(facts: &Facts, ours: Option<&OutputFact>) -> bool {
    ours.is_some() || facts.cleared.as_ref() == Some(&facts.log.id)
}

/// What the log lacks of the messages from `wanted` on.
fn gap_before(log: &LogFact, wanted: u64) -> Option<Gap> {
    (wanted < log.first_seq).then(|| Gap { first: wanted, last: log.first_seq - 1 })
}

impl fmt::Display for Doubt {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Doubt::Damaged(reason) => write!(out, "the checkpoint is damaged: {reason}"),
            Doubt::Missing => write!(out, "this log was worked on before, but there is no checkpoint"),
            Doubt::Format { found, expected } => {
                write!(out, "the checkpoint has state format {found}, this program reads format {expected}")
            }
            Doubt::LogReplaced { was, is } => {
                write!(out, "the input log was replaced: the checkpoint is of {was}, the log is {is}")
            }
            Doubt::StateAhead { seq, last_seq } => write!(
                out,
                "the checkpoint holds message {seq}, the input log ends at {last_seq}: the server lost its tail"
            ),
            Doubt::OutputAhead { seq, last_seq } => write!(
                out,
                "there are outputs of message {seq}, the input log ends at {last_seq}: the server lost its tail"
            ),
        }
    }
}

#[cfg(test)]
#[path = "recovery_tests.rs"]
mod tests;
