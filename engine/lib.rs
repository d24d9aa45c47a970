//! Sightline: streaming correlation of security events on NATS JetStream.
//!
//! The rooms, in the order in which an event meets them: [`bus`] brings it in and takes incidents out, [`worker`] is the
//! loop between, [`state`] keeps what the loop must remember. [`telemetry`], [`api`], [`config`] and [`cli`] are for the
//! people who run it, and [`service`] puts all of them together. What an event *means* is decided in the crate `sightline-core`.

#[macro_use]
pub mod crash_point;

#[cfg(feature = "hostile-input")]
pub mod hostile_input;

pub mod api;
pub mod bus;
pub mod cli;
pub mod config;
pub mod service;
pub mod state;
pub mod telemetry;
pub mod worker;

/// States come and go by the hundred thousand, and what they took goes back to the system (`.cargo/config.toml` says when).
#[cfg(not(fuzzing))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;
