//! Killed at any moment: what was read is in the log, all of it, and once.
//!
//! A [`campaign`] is many deaths of one bridge, at the points of `crash_point.rs` and at moments by [`chance`], while the bus
//! comes and goes; [`ends`] compares what is on the streams then with what an undisturbed bridge brings there. Each source
//! has one: [`polled`] services, [`posted`] events whose senders try again, [`files`], [`piped`] lines and records, and
//! [`syslog`], whose senders hear nothing. [`outage`] has what comes while the bus is away, once.
//!
//! `SIGHTLINE_TEST_BRIDGE_KILLS` says how many deaths each bridge dies; 4 where it does not. `SIGHTLINE_TEST_CRASH_SEED`
//! gives other points and moments.

mod campaign;
mod chance;
mod ends;
mod files;
mod outage;
mod piped;
mod polled;
mod posted;
mod syslog;

pub use ends::adds_up;

fn kills() -> u32 {
    let Ok(text) = std::env::var("SIGHTLINE_TEST_BRIDGE_KILLS") else { return 4 };
    text.parse().unwrap_or_else(|_| panic!("SIGHTLINE_TEST_BRIDGE_KILLS={text:?} is no number"))
}
