//! What the worker must remember, and how it begins again.
//!
//! The state in memory is a function of the input log; the checkpoint on disk only saves the time to compute it anew.
//! So the rooms here share one habit: whatever is in doubt is thrown away with a reason, never repaired.
//!
//! - [`state_key`]: the name of a state.
//! - [`table`]: the states: open ones that are worked on, and the way to the packed ones; `closing` packs and closes them.
//! - [`packed`]: a state in some dozens of bytes.
//! - [`shelf`]: packed states in chunks, with an `index` of eight bytes a key; `rolling` bounds their waste, [`sweeping`]
//!   forgets the idle ones, [`room`] says how much memory there is for all of them, and [`scratch`] is where chunks lie
//!   for which there is none. [`census`] counts, [`pending`] what rules have still to decide.
//! - [`store`]: what worker and store say to each other, the trait [`CheckpointStore`].
//! - [`chunk`]: sealed blocks, and the entries packed into the ones that are chunks.
//! - `manifest`: which chunks and which of their entries make up the checkpoint.
//! - `directory`: the place on disk, its lock, and where a damaged one is put.
//! - [`sled_store`]: all of it in sled, the only place that knows of sled.
//! - [`memory_store`]: the same in memory, for tests, with faults on demand.
//! - [`recovery`]: fresh, resume or rebuild, decided from facts.

mod bits;
pub mod census;
pub mod chunk;
mod closing;
mod directory;
pub mod due;
#[cfg(feature = "hostile-input")]
pub mod hostile;
mod index;
mod manifest;
pub mod memory_store;
pub mod packed;
pub mod pending;
pub mod recovery;
mod rolling;
pub mod room;
pub mod scratch;
pub mod shelf;
pub mod sled_store;
pub mod state_key;
pub mod store;
pub mod sweeping;
pub mod table;

pub use census::{Census, UnitCount};
pub use due::Pace;
pub use memory_store::{MemoryPlace, MemoryStore};
pub use recovery::{Decision, Facts, decide};
pub use room::Room;
pub use scratch::Scratch;
pub use sled_store::SledStore;
pub use store::{
    Checkpoint, CheckpointStore, ChunkLine, Committed, Durability, Loaded, Meta, NewChunk, Restore,
    StoreError,
};
pub use sweeping::Sweep;

#[cfg(test)]
mod damage_tests;
#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod full_disk_tests;
#[cfg(test)]
mod kill_tests;
