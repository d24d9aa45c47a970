//! `sightline backtest`: the same engine over events of the past.
//!
//! [`follow()`] is the engine between events and a [`Listener`]; [`command()`] is what the command line makes of it.
//! [`compared`] runs two sets of rules side by side, and [`compare`] says how what they find differs.

mod command;
mod compare;
mod compared;
mod follow;

pub use command::{Args, command};
pub use follow::{Backtest, Listener, Summary, follow};
