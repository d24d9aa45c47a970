//! Rules and their tests, from disk to results.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sightline_core::rule::case::{self, Case};
use sightline_core::rule::{Diagnostic, RuleSet, Source};
use sightline_schemas::control::EngineSettings;

use super::coverage::Coverage;
use super::judge::{Failure, judge};
use super::run_case::run_case;
use crate::cli::exit::CliError;
use crate::cli::paint::Paint;
use crate::cli::rules::Judged;

/// Rules that can be used, and tests that can be run.
pub struct Suite {
    files: Vec<Source>,
    rules: Arc<RuleSet>,
    cases: Vec<Case>,
}

/// What came of all tests.
pub struct Results {
    /// Each test, in the order of files.
    pub cases: Vec<CaseResult>,
    /// What they show of the rules.
    pub coverage: Coverage,
}

/// What came of a test.
pub struct CaseResult {
    /// The rule it is about.
    pub rule: String,
    /// The fact that it states.
    pub name: String,
    /// Where it stands.
    pub file: String,
    /// Counted from 1.
    pub line: usize,
    /// What is not as expected.
    pub failures: Vec<Failure>,
    /// How long it took.
    pub took: Duration,
}

impl Results {
    /// Whether all is as expected.
    pub fn passed(&self) -> bool {
        self.failed() == 0
    }

    /// How many tests failed.
    pub fn failed(&self) -> usize {
        self.cases.iter().filter(|case| !case.failures.is_empty()).count()
    }
}

impl Suite {
    /// Reads rules and tests.
    ///
    /// # Errors
    /// When files cannot be read, or with everything that is wrong with rules and tests.
    pub fn read(
        paths: &[PathBuf],
        settings: &EngineSettings,
        only: Option<&str>,
        paint: Paint,
    ) -> Result<Self, CliError> {
        let Judged { files, verdict } = Judged::read_with_cases(paths, settings)?;
        let (cases, mut problems) = case::cases(&files);
        let rules = match verdict {
            Ok(checked) => Some(checked.rules),
            Err(wrong) => {
                problems.extend(wrong);
                None
            }
        };
        if let Some(rules) = &rules {
            problems.extend(unknown_names(&cases, rules));
        }
        match rules {
            Some(rules) if problems.is_empty() => {
                let wanted = |case: &Case| {
                    only.is_none_or(|only| case.rule.contains(only) || case.name.contains(only))
                };
                let cases = cases.into_iter().filter(wanted).collect();
                Ok(Suite { files, rules: Arc::new(rules), cases })
            }
            _ => {
                problems.sort_by_key(|problem| (problem.file, problem.span.start));
                let rendered: Vec<String> =
                    problems.iter().map(|problem| problem.render(&files, paint.diagnostics())).collect();
                Err(CliError::Rules(rendered.join("\n\n")))
            }
        }
    }

    /// Runs all tests.
    pub fn run(&self) -> Results {
        let mut coverage = Coverage::of(&self.rules);
        let mut results = Vec::new();
        for case in &self.cases {
            let began = Instant::now();
            let ran = run_case(&self.rules, case);
            coverage.add(&self.rules, case, &ran);
            let failures = judge(&self.rules, case, &ran);
            let line = self.line(case);
            results.push(CaseResult {
                rule: case.rule.clone(),
                name: case.name.clone(),
                file: self.files[case.file].name.clone(),
                line,
                failures,
                took: began.elapsed(),
            });
        }
        Results { cases: results, coverage }
    }

    fn line(&self, case: &Case) -> usize {
        let text = &self.files[case.file].text;
        text[..case.span.start.min(text.len())].matches('\n').count() + 1
    }
}

/// Tests of rules that are not there, and expectations of steps that are not.
pub(crate) fn unknown_names(cases: &[Case], rules: &RuleSet) -> Vec<Diagnostic> {
    let ids = || rules.rules.iter().map(|rule| rule.reference.id.as_str());
    let problem = |case: &Case, message: String, help: Option<String>| Diagnostic {
        level: sightline_core::rule::Level::Error,
        file: case.file,
        span: case.span.clone(),
        message,
        label: "this test".to_owned(),
        help,
    };
    let mut problems = Vec::new();
    for case in cases {
        let named = std::iter::once(&case.rule).chain(case.expected.iter().map(|expected| &expected.rule));
        for id in named.collect::<std::collections::BTreeSet<_>>() {
            if !ids().any(|known| known == id) {
                let near = sightline_core::rule::diagnostic::nearest(id, ids());
                let help = near.map(|near| format!("did you mean `{near}`?"));
                problems.push(problem(case, format!("there is no rule `{id}` among these files"), help));
            }
        }
        for expected in &case.expected {
            let steps = || {
                let unit = rules.rules.iter().filter(|rule| {
                    let group = &rules.units[rule.unit].group;
                    rule.reference.id == expected.rule
                        || (group.is_some() && in_unit(rules, rule.unit, &expected.rule))
                });
                unit.flat_map(|rule| rule.steps.iter().map(|step| step.name.as_str()))
            };
            let named = expected.evidence.iter().map(|(step, _)| step);
            for step in named.chain(expected.values.iter().map(|(step, _)| step)) {
                if !steps().any(|known| known == step) {
                    let near = sightline_core::rule::diagnostic::nearest(step, steps());
                    let help = near.map(|near| format!("did you mean `{near}`?"));
                    let message = format!("rule `{}` has no step `{step}`", expected.rule);
                    problems.push(problem(case, message, help));
                }
            }
        }
    }
    problems
}

fn in_unit(rules: &RuleSet, unit: usize, id: &str) -> bool {
    rules.units[unit].rules.iter().any(|rule| rules.rule(*rule).reference.id == id)
}
