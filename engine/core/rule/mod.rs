//! Rules: from text to plans that can be run.
//!
//! [`tree`] reads YAML and remembers where everything stood, [`draft`] understands the shape of one rule, [`check`] sees
//! that all rules together make sense, and only it makes a [`RuleSet`]. What is wrong is a [`diagnostic`], all at once.
//! [`case`] reads the tests that stand in rules and beside them, [`cost`] says what rules cost before any event comes.

mod build;
pub mod case;
pub mod check;
mod check_steps;
pub mod cost;
pub mod diagnostic;
pub mod draft;
mod draft_case;
mod draft_compare;
mod draft_match;
mod draft_need;
pub(crate) mod draft_policy;
mod draft_step;
mod draft_text;
pub mod excerpt;
mod files;
pub mod format;
pub mod keys;
pub mod least;
pub mod lint;
pub mod lists;
mod modifiers;
pub mod plan;
pub mod policy;
mod problems;
pub mod range;
pub mod schema;
pub mod template;
pub mod tree;
pub mod watch;

pub use check::check;
pub use diagnostic::{Diagnostic, Level, Source};
pub use plan::{Input, KeyPart, Measure, Need, Novelty, Pattern, Rule, RuleSet, Step, Timing, Unit};
pub use range::{Comparison, Range};
pub use watch::Watch;

pub(crate) use draft_match::condition as match_block;
