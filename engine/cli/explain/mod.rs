//! `sightline explain`: why did a rule fire, and why did it not?
//!
//! [`inquire`] runs events through the engine and looks on. [`why`] tells an incident, [`why_not`] what was missing. The
//! answers themselves are the core's.

mod inquire;

pub(crate) use inquire::{offset, why_missing};
