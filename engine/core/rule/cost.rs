//! What rules cost, known before any event comes: work for each event, and memory for each key.

use std::ops::Range;

use crate::correlate::KeyState;
use crate::detect::StepCost;
use crate::hit::{Brief, RuleIndex};
use crate::limits::{KEY_VALUE_BYTES_MAX, SHOWN_VALUE_BYTES_MAX, UNINDEXED_WORK_MAX};
use crate::pattern::TrackHit;
use crate::rule::diagnostic::{Diagnostic, Level};
use crate::rule::plan::{Rule, RuleSet};

/// Texts of a brief beside the fields that it shows: source, kind, host, user, title.
const BRIEF_TEXTS: usize = 5;
/// How much more work a regular expression is than another comparison.
const REGEX_WORK: usize = 10;

/// What one rule costs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleCost {
    /// Its id.
    pub rule: String,
    /// Bytes that a key takes at most, beside its hits.
    pub key_bytes_max: usize,
    /// Bytes that a remembered hit takes at most.
    pub hit_bytes_max: usize,
    /// How many rules share the hits of a key as long as none of them may be complete, this one among them.
    pub sharing: usize,
    /// The steps on events, by name.
    pub steps: Vec<(String, StepCost)>,
}

/// What each rule costs, in order.
pub fn costs(rules: &RuleSet) -> Vec<RuleCost> {
    let of_rule = |rule: &Rule| RuleCost {
        rule: rule.reference.id.clone(),
        key_bytes_max: key_bytes_max(rules.units[rule.unit].by.len()),
        hit_bytes_max: rule.steps.iter().map(|step| hit_bytes_max(step.shown.len())).max().unwrap_or(0),
        sharing: rule.watch.map_or(1, |watch| rules.watches[watch as usize].rules.len()),
        steps: Vec::new(),
    };
    let mut costs: Vec<RuleCost> = rules.rules.iter().map(of_rule).collect();
    for ((rule, step), cost) in rules.detector.costs() {
        for taker in rules.takers(rule) {
            let name = rules.rule(taker).steps[usize::from(step)].name.clone();
            costs[taker.get()].steps.push((name, cost.clone()));
        }
    }
    costs
}

fn key_bytes_max(parts: usize) -> usize {
    size_of::<KeyState>() + parts * (size_of::<Box<str>>() + KEY_VALUE_BYTES_MAX)
}

fn hit_bytes_max(shown: usize) -> usize {
    let field = size_of::<sightline_schemas::incident::Named>() + SHOWN_VALUE_BYTES_MAX;
    size_of::<TrackHit>() + size_of::<Brief>() + BRIEF_TEXTS * SHOWN_VALUE_BYTES_MAX + shown * field
}

/// Warns of steps that make every event slow. `spans` are the files and places of the rules, in order.
pub(crate) fn slow_steps(rules: &RuleSet, spans: &[(usize, Range<usize>)]) -> Vec<Diagnostic> {
    let mut warnings = Vec::new();
    for ((rule, step), cost) in rules.detector.costs() {
        let work = cost.asked + (REGEX_WORK - 1) * cost.regexes;
        if !cost.is_unindexed() || work <= UNINDEXED_WORK_MAX {
            continue;
        }
        let warning = |taker: RuleIndex| {
            let (file, span) = &spans[taker.get()];
            let name = &rules.rule(taker).steps[usize::from(step)].name;
            Diagnostic {
                level: Level::Warning,
                file: *file,
                span: span.clone(),
                message: format!("step `{name}` makes every event slow"),
                label: format!(
                    "{} comparisons, {} of them regular expressions, are made for each event of any source",
                    cost.asked, cost.regexes
                ),
                help: Some(
                    "say beside them what the events have: a `source`, a `kind`, or a text of some field"
                        .into(),
                ),
            }
        };
        warnings.extend(rules.takers(rule).into_iter().map(warning));
    }
    warnings
}
