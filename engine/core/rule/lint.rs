//! What is odd about rules that can be used: they probably do not mean what was meant.

use std::ops::Range;

use crate::predicate::contradiction;
use crate::rule::diagnostic::{Diagnostic, Level, Source};
use crate::rule::tree::{self, Kind, Node};
use crate::rule::{Input, RuleSet};

/// What is odd about these rules.
pub(crate) fn lint(rules: &RuleSet, files: &[Source]) -> Vec<Diagnostic> {
    let mut warnings = Vec::new();
    for rule in &rules.rules {
        for step in &rule.steps {
            let Input::Events(condition) = &step.input else { continue };
            let Some(found) = contradiction(condition) else { continue };
            let message = match found.lists_only {
                false => format!("step `{}` can never match", step.name),
                true => format!("step `{}` can only match where a field holds a list", step.name),
            };
            let help =
                "what stands side by side must all hold; for alternatives write a list of values, or `any`";
            warnings.extend(at_step(
                files,
                &rule.reference.id,
                &step.name,
                message,
                found.why,
                Some(help.into()),
            ));
        }
    }
    warnings
}

/// A warning about a step, at its place in the files; `None` where the files have no such step.
pub fn at_step(
    files: &[Source],
    rule: &str,
    step: &str,
    message: String,
    label: String,
    help: Option<String>,
) -> Option<Diagnostic> {
    let (file, span) = place_of_step(files, rule, step)?;
    Some(Diagnostic { level: Level::Warning, file, span, message, label, help })
}

/// Where the name of a step stands: file, and bytes in it.
fn place_of_step(files: &[Source], rule: &str, step: &str) -> Option<(usize, Range<usize>)> {
    let named = |node: &Node, key: &str, name: &str| {
        node.member(key).and_then(Node::scalar_text).is_some_and(|known| known == name)
    };
    files.iter().enumerate().find_map(|(file, source)| {
        if !source.text.contains(rule) {
            return None;
        }
        let root = tree::read(&source.text).ok()?;
        let Kind::List(rules) = &root.member("rules")?.kind else { return None };
        let rule = rules.iter().find(|node| named(node, "id", rule))?;
        let Kind::List(steps) = &rule.member("steps")?.kind else { return None };
        let step = steps.iter().find(|node| named(node, "name", step))?;
        let name = step.member("name")?;
        Some((file, name.span.clone()))
    })
}
