//! Rules: from text to plans that can be run.
//!
//! [`tree`] reads YAML and remembers where everything stood, [`draft`] understands the shape of one rule, [`check`] sees
//! that all rules together make sense, and only it makes a [`RuleSet`]. What is wrong is a [`diagnostic`], all at once.
//! [`case`] reads the tests that stand in rules and beside them.

pub mod case;
pub mod check;
pub mod diagnostic;
pub mod draft;
mod draft_case;
mod draft_compare;
mod draft_match;
mod draft_step;
pub mod excerpt;
pub mod lint;
pub mod lists;
mod modifiers;
pub mod plan;
pub mod tree;

pub use check::check;
pub use diagnostic::{Diagnostic, Level, Source};
pub use plan::{Input, KeyPart, Need, Pattern, Rule, RuleSet, Step, Unit};
