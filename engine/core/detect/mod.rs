//! Detection: which steps of which rules does this event satisfy? Stateless.
//!
//! The cost must not grow with rules that cannot match. So it is driven by what the event has, not by what rules ask. Each
//! member of the event is looked up among those in which some rule reads a field ([`catalogue`]). What the event has in the
//! few fields that most rules ask first, its source, kind or log source, decides which steps are left and what is left of
//! their conditions ([`gate`]). Then each value is compared with all texts of all steps that are left, at once ([`search`],
//! [`grams`], [`ends`]), unless it came before as it is written now ([`recall`]); and what is found there answers predicates and wakes the
//! steps whose [`witness`] it is. Only steps that were woken are evaluated ([`program`]), with the answers that are there
//! already; a predicate that no text answers is asked when somebody needs it, and at most once.

mod catalogue;
mod completion_event;
mod detector;
mod ends;
mod gate;
mod grams;
mod index;
mod memo;
mod program;
mod recall;
mod route;
mod search;
mod witness;

pub use detector::{Detector, DetectorBuilder};
pub use memo::Memo;
pub use route::{completion_hits, event_hits};
pub use witness::StepCost;

pub(crate) use route::{index, measured};

#[cfg(test)]
mod agreement_tests;
