//! Whether the engine does its work, and if not, why.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

/// Why the engine is not ready: a closed list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotReady {
    /// It replays the log and has not caught up yet.
    Recovering,
    /// It is stopping.
    Draining,
    /// The bus does not answer.
    BusAway,
    /// The last checkpoint could not be written.
    CheckpointFailing,
    /// The output log takes nothing.
    OutputBlocked,
}

impl NotReady {
    /// All reasons.
    pub const ALL: [NotReady; 5] = [
        NotReady::Recovering,
        NotReady::Draining,
        NotReady::BusAway,
        NotReady::CheckpointFailing,
        NotReady::OutputBlocked,
    ];

    /// The reason as it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            NotReady::Recovering => "recovering",
            NotReady::Draining => "draining",
            NotReady::BusAway => "bus_away",
            NotReady::CheckpointFailing => "checkpoint_failing",
            NotReady::OutputBlocked => "output_blocked",
        }
    }

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// The reasons why the engine is not ready; ready where there is none. Clones share them.
#[derive(Clone, Debug)]
pub struct Readiness(Arc<AtomicU8>);

impl Default for Readiness {
    fn default() -> Self {
        Readiness::new()
    }
}

impl Readiness {
    /// An engine that has just started: [`NotReady::Recovering`] until somebody clears it.
    pub fn new() -> Self {
        Readiness(Arc::new(AtomicU8::new(NotReady::Recovering.bit())))
    }

    /// Sets a reason.
    pub fn set(&self, reason: NotReady) {
        self.0.fetch_or(reason.bit(), Ordering::Relaxed);
    }

    /// Clears a reason.
    pub fn clear(&self, reason: NotReady) {
        self.0.fetch_and(!reason.bit(), Ordering::Relaxed);
    }

    /// The reasons; empty when the engine is ready.
    pub fn reasons(&self) -> Vec<NotReady> {
        let bits = self.0.load(Ordering::Relaxed);
        NotReady::ALL.into_iter().filter(|reason| bits & reason.bit() != 0).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_once_every_reason_is_cleared() {
        let readiness = Readiness::new();
        let worker = readiness.clone();
        assert_eq!(readiness.reasons(), [NotReady::Recovering]);
        for reason in NotReady::ALL {
            worker.set(reason);
            worker.set(reason);
        }
        assert_eq!(readiness.reasons(), NotReady::ALL);
        for reason in NotReady::ALL {
            worker.clear(reason);
        }
        assert_eq!(readiness.reasons(), []);
    }
}
