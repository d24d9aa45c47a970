//! `sightline backtest`: the same engine over a file, with no server at all.
//!
//! [`follow()`] is the engine between a file and a [`Listener`]; [`command()`] is what the command line makes of it.

mod command;
mod follow;

pub use command::{Args, command};
pub use follow::{Backtest, Listener, Summary, follow, run};
