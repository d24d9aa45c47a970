//! Detection: which steps of which rules does this event satisfy? Stateless.
//!
//! The cost must not grow with rules that cannot match. So it is driven by what the event has, not by what rules ask: each
//! member of the event is looked up among the fields that some rule reads, its value is compared with all texts of all
//! rules at once ([`search`], [`grams`], [`ends`]), unless the same value was compared before ([`recall`]); and what is found there answers predicates and wakes the steps whose [`witness`]
//! it is. Only steps that were woken are evaluated, with the answers that are there already; a predicate that no text
//! answers is asked when somebody needs it, and at most once.

mod completion_event;
mod ends;
mod grams;
mod index;
mod memo;
mod recall;
mod route;
mod search;
mod witness;

pub use index::{Detector, DetectorBuilder};
pub use memo::Memo;
pub use route::{completion_hits, event_hits};
pub use witness::StepCost;

pub(crate) use route::{index, measured};

#[cfg(test)]
mod agreement_tests;
