//! What tests show of rules: which steps were ever satisfied, which rules ever fire and ever stay silent.

use sightline_core::rule::case::Case;
use sightline_core::rule::{Input, RuleSet};

use super::run_case::{Ran, concerns};

/// What tests show.
#[derive(Debug)]
pub struct Coverage {
    /// Each rule, in order.
    pub rules: Vec<RuleCoverage>,
}

/// What tests show of one rule.
#[derive(Debug)]
pub struct RuleCoverage {
    /// Its id.
    pub id: String,
    /// How many tests are about it.
    pub cases: u64,
    /// How many of those had an incident.
    pub fired: u64,
    /// How many had none.
    pub silent: u64,
    /// Each step, and how many times an event or a completion satisfied it, in all tests.
    pub steps: Vec<(String, u64)>,
}

impl RuleCoverage {
    /// The steps that nothing satisfied.
    pub fn unsatisfied(&self) -> impl Iterator<Item = &str> {
        self.steps.iter().filter(|(_, times)| *times == 0).map(|(name, _)| name.as_str())
    }
}

impl Coverage {
    /// Nothing yet of these rules.
    pub fn of(rules: &RuleSet) -> Self {
        let rule = |rule: &sightline_core::rule::Rule| RuleCoverage {
            id: rule.reference.id.clone(),
            cases: 0,
            fired: 0,
            silent: 0,
            steps: rule.steps.iter().map(|step| (step.name.clone(), 0)).collect(),
        };
        Coverage { rules: rules.rules.iter().map(rule).collect() }
    }

    /// What one more test shows.
    pub fn add(&mut self, rules: &RuleSet, case: &Case, ran: &Ran) {
        for ((rule, step), times) in &ran.hits {
            self.rules[*rule].steps[*step].1 += times;
        }
        for (rule, covered) in rules.rules.iter().zip(&mut self.rules) {
            for (step, counted) in rule.steps.iter().zip(&mut covered.steps) {
                if let Input::Completions(upstream) = step.input {
                    counted.1 += u64::from(ran.complete.contains(&rules.rule(upstream).reference.id));
                }
            }
            if covered.id == case.rule {
                let fired = ran.said.iter().any(|message| concerns(message, &case.rule));
                covered.cases += 1;
                covered.fired += u64::from(fired);
                covered.silent += u64::from(!fired);
            }
        }
    }

    /// Whether every rule has a test that fires and one that stays silent, and every step was satisfied.
    pub fn is_whole(&self) -> bool {
        self.never_fire().next().is_none()
            && self.never_silent().next().is_none()
            && self.rules.iter().all(|rule| rule.unsatisfied().next().is_none())
    }

    /// Rules that fire in no test.
    pub fn never_fire(&self) -> impl Iterator<Item = &str> {
        self.rules.iter().filter(|rule| rule.fired == 0).map(|rule| rule.id.as_str())
    }

    /// Rules that stay silent in no test of theirs.
    pub fn never_silent(&self) -> impl Iterator<Item = &str> {
        self.rules.iter().filter(|rule| rule.silent == 0).map(|rule| rule.id.as_str())
    }
}
