//! The two logs in memory, for tests: with the same conditions as the real ones, and faults on demand.
//!
//! What befalls a call is decided from outside, by a [`Chance`]: refused, stored with the answer lost, slow. What befalls
//! a log (purged, replaced, its tail lost; full, silent) is done to it through its handle.

mod event_log;
mod mishap;
mod output_log;

pub use event_log::MemoryLog;
pub use mishap::{Call, Chance, Mishap};
pub use output_log::MemoryOutputs;

use std::sync::{Mutex, MutexGuard, PoisonError};

fn lock<T: ?Sized>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
