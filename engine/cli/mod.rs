//! The command line: one file per command.

pub mod backtest;
pub mod rules;
