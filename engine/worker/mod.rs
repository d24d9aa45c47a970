//! The loop between the two logs.
//!
//! [`reading`] has messages taken in by several threads, [`intake`] makes facts of them, [`correlator`] runs the facts of a batch through the pure core (one [`partition`]
//! for each share of the keys), [`emit`] makes output messages of what follows, [`run`] is the loop itself: read, decide,
//! publish, and at times a [`checkpoint`]; [`start`] finds the place where it begins.
//! [`announce`] puts rules into the log, [`warm`] runs changed ones over the past before they take effect.

pub mod announce;
mod answer;
pub mod checkpoint;
pub mod correlator;
pub mod coverage;
pub mod emit;
pub mod inspect;
pub mod intake;
pub mod machine;
pub mod partition;
pub mod reading;
pub mod report;
pub mod run;
pub mod start;
mod threads;
mod unpack;
pub mod warm;
