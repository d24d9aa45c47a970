//! What the engine says about itself: [`metrics`] in numbers, [`logging`] in lines, [`readiness`] in reasons, and
//! [`inspect`] in full.
//!
//! The worker sets and fills them, the API shows them; neither has to know of the other.

pub mod inspect;
pub mod logging;
pub mod metrics;
pub mod readiness;

pub use inspect::{Inspect, Question};
pub use readiness::{NotReady, Readiness};
