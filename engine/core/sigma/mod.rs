//! Sigma: its rules and correlation rules, translated into the native language.
//!
//! A Sigma rule becomes the native rule that says the same: the same steps, plans and state then do the work, and what
//! the translation is can be printed ([`convert`]). What the native language cannot say is an error that names it, at its place in
//! the Sigma file. [`mapping`] says how the names of a rule are those of events, [`condition`] and [`selection`] read a
//! detection, [`correlation`] a correlation, [`rule`] puts them together. `rules/SIGMA.md` is the same for people.

mod condition;
pub mod convert;
mod correlate;
mod correlation;
mod document;
mod mapping;
mod native;
mod print;
mod rule;
mod selection;

pub(crate) use document::is_sigma;
pub(crate) use mapping::{Mapping, is_mapping};
pub(crate) use rule::translate;
