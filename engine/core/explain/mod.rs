//! Explanations: why an event does not satisfy a step, and why a rule is not complete for a key.
//!
//! [`unmet`] looks at one event and one condition, [`event`] at one event and one rule. [`inquiry`] looks at every event that
//! came, in the order of the log, and keeps what matters for one rule and one key; [`ended`] knows what incidents that ended
//! leave of that, [`reached`] finds how far the rule came, [`reading`] what is measured there, and [`why_not`] is the answer,
//! which [`wording`] puts into words.
//! None of this is asked while events are worked through: it is for people, and may look twice.

mod ended;
pub mod event;
pub mod inquiry;
mod reached;
mod reading;
pub mod unmet;
pub mod why_not;
mod wording;

pub use ended::Silent;
pub use inquiry::Inquiry;
pub use reading::Reading;
pub use unmet::{Unmet, unmet};
pub use why_not::{Missing, Piece, Reason, WhyNot};
