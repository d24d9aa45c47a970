//! `sightline check --cost`: what rules will cost, before any event comes.

use std::io::Write;

use serde_json::{Value, json};
use sightline_core::detect::StepCost;
use sightline_core::rule::RuleSet;
use sightline_core::rule::cost::{RuleCost, costs};

use crate::cli::cell;
use crate::cli::paint::Paint;

/// Characters of a witness in the table.
const WITNESS_CHARS: usize = 72;

/// A row for each step on events.
pub fn table(rules: &RuleSet, paint: Paint) -> std::io::Result<()> {
    let mut table = cell::table(
        &[
            "rule",
            "step",
            "asked of events with",
            "answered",
            "asked",
            "regexes",
            "B/key",
            "B/hit",
            "shared by",
        ],
        paint,
    );
    let mut unindexed = 0;
    for cost in costs(rules) {
        for (at, (name, step)) in cost.steps.iter().enumerate() {
            unindexed += usize::from(step.is_unindexed());
            let once = |text: String| if at == 0 { text } else { String::new() };
            let witness = match step.is_unindexed() {
                true => "unindexed: asked of every event".to_owned(),
                false => cell::shown(&step.witness.join(" | "), WITNESS_CHARS),
            };
            table.add_row([
                once(cost.rule.clone()),
                name.clone(),
                witness,
                step.indexed.to_string(),
                step.asked.to_string(),
                step.regexes.to_string(),
                once(cost.key_bytes_max.to_string()),
                once(cost.hit_bytes_max.to_string()),
                once(if cost.sharing > 1 { format!("{} rules", cost.sharing) } else { String::new() }),
            ]);
        }
    }
    let mut out = std::io::stdout();
    writeln!(out, "{}", table.trim_fmt())?;
    writeln!(
        out,
        "{} distinct comparisons; {unindexed} steps are asked of every event. Bytes are the most that limits allow",
        rules.detector.predicates()
    )
}

/// The same for programs.
pub fn json(rules: &RuleSet) -> Value {
    let step = |(name, cost): &(String, StepCost)| {
        json!({
            "step": name, "unindexed": cost.is_unindexed(), "witness": cost.witness, "answered": cost.indexed,
            "asked": cost.asked, "regexes": cost.regexes,
        })
    };
    let rule = |cost: &RuleCost| {
        json!({
            "rule": cost.rule, "key_bytes_max": cost.key_bytes_max, "hit_bytes_max": cost.hit_bytes_max,
            "shared_by": cost.sharing,
            "steps": cost.steps.iter().map(step).collect::<Vec<_>>(),
        })
    };
    costs(rules).iter().map(rule).collect()
}
