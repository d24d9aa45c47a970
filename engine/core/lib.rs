//! The pure core: what a rule means, which events it wants, and what follows from them.
//!
//! Nothing here reads a clock, a file or chance, and nothing waits: in goes a state, a fact and the log's own time, out
//! comes a list of effects. The same input gives the same output, byte for byte.
//!
//! Read in this order: [`rule`] turns text into checked plans, [`detect`] asks which steps of which rules an event
//! satisfies, [`hit`] is the narrow waist that carries the answer, [`correlate`] keeps what one key remembers of a rule
//! and decides, [`pattern`] says when a rule is complete. [`explain`] tells people why something did not happen.

pub mod attack;
pub mod correlate;
pub mod detect;
pub mod explain;
pub mod field;
pub mod hit;
pub mod key;
pub mod limits;
pub mod pattern;
pub mod predicate;
pub mod rule;
pub mod sigma;
