//! What the worker must remember, and how it begins again.
//!
//! The state in memory is a function of the input log; the checkpoint on disk only saves the time to compute it anew.
//! So the rooms here share one habit: whatever is in doubt is thrown away with a reason, never repaired.
//!
//! - [`store`]: what worker and store say to each other, the trait [`CheckpointStore`].
//! - `chunk`: sealed blocks; key states packed into them, a few large values instead of many small ones.
//! - `manifest`: which chunks and which of their entries make up the checkpoint.
//! - `rolling`: the index of newest entries, and how old chunks are rolled up so that the disk stays bounded.
//! - `directory`: the place on disk, its lock, and where a damaged one is put.
//! - [`sled_store`]: all of it in sled, the only place that knows of sled.
//! - [`memory_store`]: the same in memory, for tests, with faults on demand.
//! - [`table`]: the live states, in memory.
//! - [`recovery`]: fresh, resume or rebuild, decided from facts.

mod chunk;
mod directory;
#[cfg(feature = "hostile-input")]
pub mod hostile;
mod manifest;
pub mod memory_store;
pub mod recovery;
mod rolling;
pub mod sled_store;
pub mod store;
pub mod table;

pub use memory_store::{MemoryPlace, MemoryStore};
pub use recovery::{Decision, Facts, decide};
pub use sled_store::SledStore;
pub use store::{
    Checkpoint, CheckpointStore, Committed, Durability, EachState, Loaded, Meta, StoreError, StoredKey,
};

#[cfg(test)]
mod damage_tests;
#[cfg(test)]
mod full_disk_tests;
#[cfg(test)]
mod kill_tests;
