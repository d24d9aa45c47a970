//! What is known to be in the recorded events, against what was found in them.
//!
//! [`expected`] reads the truth file, [`found`] reads firings out of incident messages, [`compare`] puts the two side by
//! side, [`table()`] prints that. All but the reading of the file is pure.

mod compare;
mod expected;
mod found;
mod table;

use std::collections::BTreeMap;

pub use compare::{Report, Row, Verdict};
pub use expected::Truth;
pub use table::table;

/// The rules that the truth file speaks of, by its letters.
const RULES: [(&str, &str); 7] = [
    ("A", "drop_and_run"),
    ("B", "phish_host_visited"),
    ("C", "drop_run_dump"),
    ("D", "shared_c2"),
    ("E", "spray_roast_fan_out"),
    ("G", "shared_dropped_file"),
    ("H", "remote_logon_then_shell"),
];

/// One firing of one rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Firing {
    /// The rule's id.
    pub rule: &'static str,
    /// What tells it from other firings of the rule, in lower case: host names and paths on Windows have no case.
    pub identity: Vec<String>,
    /// What else is known of it, by name.
    pub facts: BTreeMap<&'static str, String>,
}

impl Firing {
    fn new(letter: &str, identity: &[&str], facts: &[(&'static str, String)]) -> Self {
        let rule = RULES.iter().find(|(known, _)| *known == letter);
        let (_, rule) = rule.expect("letters are written in this program and stand in the list");
        Firing {
            rule,
            identity: identity.iter().map(|part| part.to_lowercase()).collect(),
            facts: facts.iter().map(|(name, fact)| (*name, fact.to_lowercase())).collect(),
        }
    }
}

/// Several values as one fact.
fn set(values: impl IntoIterator<Item = impl AsRef<str>>) -> String {
    let values: std::collections::BTreeSet<String> =
        values.into_iter().map(|value| value.as_ref().to_lowercase()).collect();
    values.into_iter().collect::<Vec<_>>().join(" ")
}

/// The first part of a host name: some sensors name a host by it alone.
fn short_host(host: &str) -> &str {
    host.split('.').next().unwrap_or(host)
}
