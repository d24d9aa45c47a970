//! Results for people.

use std::fmt::Write;

use super::judge::Failure;
use super::suite::{CaseResult, Results};
use crate::cli::cell::shown;
use crate::cli::paint::Paint;

/// Longest shown line of what was found.
const LINE_CHARS_MAX: usize = 200;

/// Failures with expected and found, then the counts and what no test shows; no line end.
pub fn text(results: &Results, verbose: bool, coverage_required: bool, paint: Paint) -> String {
    let mut out = String::new();
    for case in &results.cases {
        match case.failures.is_empty() {
            false => failed(case, &mut out, paint),
            true if verbose => {
                let _ = writeln!(
                    out,
                    "{} {}: {}",
                    paint.good("ok  "),
                    case.rule,
                    shown(&case.name, LINE_CHARS_MAX)
                );
            }
            true => {}
        }
    }
    if !out.is_empty() {
        out.push('\n');
    }
    let (failed, all) = (results.failed(), results.cases.len());
    let rules = results.coverage.rules.iter().filter(|rule| rule.cases > 0).count();
    let line = format!(
        "{} of {} of {}: {} passed, {failed} failed",
        many(all, "test"),
        many(rules, "rule"),
        results.coverage.rules.len(),
        all - failed
    );
    out.push_str(&if failed == 0 { paint.good(&line) } else { paint.bad(&line) });
    coverage(results, coverage_required, paint, &mut out);
    out
}

fn failed(case: &CaseResult, out: &mut String, paint: Paint) {
    let (file, line) = (&case.file, case.line);
    let name = shown(&case.name, LINE_CHARS_MAX);
    let _ = writeln!(
        out,
        "{} {}: {name}  {}",
        paint.bad("FAIL"),
        case.rule,
        paint.dim(&format!("{file}:{line}"))
    );
    for failure in &case.failures {
        self::failure(failure, out, paint);
    }
}

fn failure(failure: &Failure, out: &mut String, paint: Paint) {
    let line = |text: &str| shown(text, LINE_CHARS_MAX);
    let _ = writeln!(out, "     expected  {}", line(&failure.expected));
    let _ = writeln!(out, "     found     {}", line(&failure.found));
    for (what, expected, found) in &failure.differs {
        let found = if found.is_empty() { "nothing" } else { found };
        let text = format!("{what}: expected {expected}, found {found}");
        let _ = writeln!(out, "       {}", paint.bad(&line(&text)));
    }
    for why in &failure.why_not {
        let _ = writeln!(out, "       {}", line(why));
    }
}

fn coverage(results: &Results, required: bool, paint: Paint, out: &mut String) {
    let coverage = &results.coverage;
    let untested: Vec<&str> =
        coverage.rules.iter().filter(|rule| rule.cases == 0).map(|rule| rule.id.as_str()).collect();
    let tested = |id: &&str| !untested.contains(id);
    let mut lines = Vec::new();
    let mut list = |what: &str, ids: Vec<&str>| {
        if !ids.is_empty() {
            lines.push(format!("{what}: {}", ids.join(", ")));
        }
    };
    list("no test at all", untested.clone());
    list("no test that fires", coverage.never_fire().filter(tested).collect());
    list("no test that stays silent", coverage.never_silent().filter(tested).collect());
    let steps: Vec<String> = coverage
        .rules
        .iter()
        .filter(|rule| rule.cases > 0)
        .flat_map(|rule| rule.unsatisfied().map(move |step| format!("{}/{step}", rule.id)))
        .collect();
    list("steps that no test satisfies", steps.iter().map(String::as_str).collect());
    for line in lines {
        let _ = write!(out, "\n{}", if required { paint.bad(&line) } else { paint.dim(&line) });
    }
}

fn many(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}
