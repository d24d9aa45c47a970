//! How much memory the states may take.

use sightline_core::correlate::KeyState;

/// Bytes that a hit is taken to add to an open state, until it is weighed: itself, what evidence shows of its event, and
/// what allocators add.
pub(super) const HIT_BYTES: u64 = 600;
/// Bytes that an open state takes in the table: its place in the map, which is a half to seven eighths full, its name among
/// what is due, twice, and what stands around the state.
const PLACE_BYTES: u64 = 192;
/// A state that takes so many parts of the room for open states alone stays open while it is touched: to pack it after each
/// batch would cost more than all the rest.
const GIANT_PARTS: u64 = 16;
/// Of a budget, what the program, the bus client and the store need without any state; at most half of it.
const PROGRAM_BYTES: u64 = 64 << 20;
/// The rest is shared out in so many parts.
const PARTS: u64 = 8;

/// Room for states. None of it changes a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    pub(super) budget: Option<u64>,
    pub(super) open_bytes: u64,
    pub(super) packed_bytes: u64,
}

/// Bytes that an open state takes, about.
pub(super) fn weight(state: &KeyState) -> u64 {
    state.weight() as u64 + PLACE_BYTES
}

impl Room {
    /// As much as there is.
    pub const fn unlimited() -> Self {
        Room { budget: None, open_bytes: u64::MAX, packed_bytes: u64::MAX }
    }

    /// So much that the whole process stays within `budget` bytes: beside what the program needs, three of eight parts for
    /// packed states and for finding them, two for open ones; the rest is for batches and messages, and a checkpoint under way.
    pub const fn within(budget: u64) -> Self {
        let program = if budget / 2 < PROGRAM_BYTES { budget / 2 } else { PROGRAM_BYTES };
        let part = (budget - program) / PARTS;
        Room { budget: Some(budget), open_bytes: part * 2, packed_bytes: part * 3 }
    }

    /// What a state must weigh to stay open in any case.
    pub(super) const fn giant_bytes(&self) -> u64 {
        if self.open_bytes == 0 { u64::MAX } else { self.open_bytes / GIANT_PARTS }
    }

    /// None at all: every state is packed after every batch, and lies on the disk. For tests.
    pub const fn none() -> Self {
        Room { budget: Some(0), open_bytes: 0, packed_bytes: 0 }
    }
}
