//! What is due for open states: done a little after each batch, so that a checkpoint finds little left to do.

use std::collections::VecDeque;

use super::state_key::StateKey;

/// So many changed states are left to the checkpoint: a few milliseconds. What changes all the time is packed once for each
/// checkpoint and not more often.
pub(super) const DIRTY_LEFT: usize = 1_000;

/// Which states something is due for. Names may stand here for which it is not any more.
#[derive(Debug, Default)]
pub(super) struct Due {
    /// States that changed since they were packed, the first first.
    pub(super) dirtied: VecDeque<StateKey>,
    /// Open states; those that were found in use go to the end.
    pub(super) opened: VecDeque<StateKey>,
    /// So many of these, from the front, were not looked at since the last checkpoint. Which states are still changes with
    /// a checkpoint only, so one look after each is enough.
    unlooked: usize,
}

impl Due {
    /// A checkpoint was taken: all open states are worth a look.
    pub(super) fn look_again(&mut self) {
        self.unlooked = self.opened.len();
    }

    /// The next open state to look at, if one is worth it.
    pub(super) fn next_to_look_at(&mut self) -> Option<StateKey> {
        self.unlooked = self.unlooked.checked_sub(1)?;
        self.opened.pop_front()
    }

    /// Lets go of the names of other states than these.
    pub(super) fn keep(&mut self, is_dirty: impl Fn(StateKey) -> bool, is_open: impl Fn(StateKey) -> bool) {
        self.dirtied.retain(|key| is_dirty(*key));
        self.opened.retain(|key| is_open(*key));
        self.unlooked = self.unlooked.min(self.opened.len());
    }

    /// A flood must not leave its size behind.
    pub(super) fn shrink(&mut self) {
        for names in [&mut self.dirtied, &mut self.opened] {
            if is_wide(names.capacity(), names.len()) {
                names.shrink_to_fit();
            }
        }
    }
}

/// Whether so much room is a waste for what is in it.
pub(super) const fn is_wide(capacity: usize, len: usize) -> bool {
    capacity > 8 * (len + 1_024)
}

/// How much time there is for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// More messages wait: only room is made.
    Behind,
    /// The last message was read.
    Working,
    /// No message came.
    Idle,
}

impl Pace {
    /// States that are packed ahead: about three microseconds each.
    pub(super) const fn packs(self) -> usize {
        match self {
            Pace::Behind => 0,
            Pace::Working => 256,
            Pace::Idle => 2_000,
        }
    }

    /// Open states that are looked at, and closed if nothing touches them: less than a microsecond each.
    pub(super) const fn looks(self) -> usize {
        match self {
            Pace::Behind => 1_000,
            Pace::Working => 512,
            Pace::Idle => 5_000,
        }
    }
}
