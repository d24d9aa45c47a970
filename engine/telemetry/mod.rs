//! What the engine says about itself: [`metrics`] in numbers, [`logging`] in lines.

pub mod logging;
pub mod metrics;
