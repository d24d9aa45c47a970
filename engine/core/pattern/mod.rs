//! Patterns: when are the remembered hits of a rule complete?
//!
//! A *moment* is a hit with which, in event time, the rule is complete: everything it takes lies within the window that
//! ends there. Whether a hit is a moment depends on the set of hits alone, never on the order in which they arrived,
//! and a further hit can make moments but never unmake one. Everything else follows from that: incidents are runs of
//! moments, so every order of arrival ends in the same incidents.
//!
//! One file per pattern: [`all_of`] (with [`count`] and [`distinct`] for what its steps take) and [`sequence`]
//! (with [`overlap`] for what its steps share).

pub mod all_of;
pub mod count;
pub mod distinct;
pub mod first_seen;
pub mod gauge;
pub mod near;
pub mod overlap;
pub mod sequence;
pub mod track;
pub mod vigil;

pub use track::{Stamp, Track, TrackHit};
