//! Correlation: `(what a key remembers, a hit, log time) → what follows`.
//!
//! [`key_state`] is everything that one key remembers of one unit of rules, [`incident`] is what it remembers of one
//! incident, [`evidence`] the bounded lists that an incident shows, [`effect`] what comes out. Moments of a rule that a
//! further event cannot undo are decided with the hit; those of other rules in `settle`, when they are settled.
//!
//! An incident is a run of moments (see [`pattern`](crate::pattern)) of which none is further than the window from the
//! one before. Its id names the instant of its first moment. Where a late event makes an earlier one, the incident goes on under
//! the id of that one; where it closes the distance between two incidents, the later goes on as the earlier. Both are
//! said by a `merged` message. So whatever the order of arrival, the incidents that remain are the same.

mod attach;
mod command;
mod decide;
pub mod effect;
pub mod evidence;
pub mod incident;
pub mod key_state;
mod moments;
mod readings;
mod settle;
mod shadow;
mod waiting;

pub use effect::{Completion, Counted, Effect, Refusal, Verdict};
pub use incident::IncidentState;
pub use key_state::{Aim, KeyState, Now, Pending, Regrouped, Watched};
