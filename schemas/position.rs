//! Where something stands in the input log.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A place in the input log: the stream sequence of a message and the index of an event in its frame.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub struct Position {
    /// Stream sequence, counted from 1.
    pub seq: u64,
    /// Index in the frame, counted from 0.
    pub index: u32,
}

impl Position {
    /// The place of the event at `index` of message `seq`.
    pub const fn new(seq: u64, index: u32) -> Self {
        Position { seq, index }
    }

    /// Reads `seq.index`.
    pub fn parse(text: &str) -> Option<Self> {
        let (seq, index) = text.split_once('.')?;
        Some(Position { seq: seq.parse().ok()?, index: index.parse().ok()? })
    }
}

impl fmt::Display for Position {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}.{}", self.seq, self.index)
    }
}
