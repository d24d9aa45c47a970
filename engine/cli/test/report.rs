//! Results for programs: one JSON object, without times, so that the same rules give the same text.

use serde_json::{Value, json};

use super::judge::Failure;
use super::suite::{CaseResult, Results};

/// The results.
pub fn json(results: &Results) -> Value {
    let coverage = results.coverage.rules.iter().map(|rule| {
        let steps = rule.steps.iter().map(|(name, times)| json!({ "step": name, "satisfied": times }));
        json!({
            "rule": rule.id,
            "tests": rule.cases,
            "fired": rule.fired,
            "silent": rule.silent,
            "steps": steps.collect::<Vec<_>>(),
        })
    });
    json!({
        "ok": results.passed(),
        "covered": results.coverage.is_whole(),
        "tests": results.cases.len(),
        "failed": results.failed(),
        "results": results.cases.iter().map(case).collect::<Vec<_>>(),
        "coverage": coverage.collect::<Vec<_>>(),
    })
}

fn case(case: &CaseResult) -> Value {
    json!({
        "rule": case.rule,
        "name": case.name,
        "file": case.file,
        "line": case.line,
        "passed": case.failures.is_empty(),
        "failures": case.failures.iter().map(failure).collect::<Vec<_>>(),
    })
}

fn failure(failure: &Failure) -> Value {
    let differs = failure
        .differs
        .iter()
        .map(|(what, expected, found)| json!({ "what": what, "expected": expected, "found": found }));
    json!({
        "expected": failure.expected,
        "found": failure.found,
        "differs": differs.collect::<Vec<_>>(),
        "why_not": failure.why_not,
    })
}
