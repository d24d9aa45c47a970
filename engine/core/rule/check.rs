//! Do all rules together make sense? If so, and only then, there is a [`RuleSet`].

use std::collections::HashMap;

use sightline_schemas::control::EngineSettings;

use crate::limits::{CHAIN_DEPTH_MAX, GROUP_RULES_MAX, RULES_MAX};
use crate::rule::build::build;
use crate::rule::check_steps::check_steps;
use crate::rule::cost::slow_steps;
use crate::rule::diagnostic::{Diagnostic, Level, Source, nearest};
use crate::rule::draft::{Draft, DraftInput, Problems};
use crate::rule::files;
use crate::rule::lint::lint;
use crate::rule::plan::RuleSet;

/// Rules that make sense, and what is odd about them all the same.
#[derive(Debug)]
pub struct Checked {
    /// The rules.
    pub rules: RuleSet,
    /// What is odd.
    pub warnings: Vec<Diagnostic>,
}

/// Reads and checks rule files.
///
/// # Errors
/// With everything that is wrong in all of them, in the order of the files.
pub fn check(sources: &[Source], settings: &EngineSettings) -> Result<Checked, Vec<Diagnostic>> {
    let mut problems = Vec::new();
    let drafts = files::drafts(sources, &mut problems);
    let ids = unique_ids(&drafts, &mut problems);
    let strata = strata(&drafts, &ids, &mut problems);
    for draft in &drafts {
        check_steps(draft, &mut Problems { file: draft.file, all: &mut problems });
    }
    check_groups(&drafts, &mut problems);
    if drafts.len() > RULES_MAX {
        let last = &drafts[drafts.len() - 1];
        let mut problems = Problems { file: last.file, all: &mut problems };
        problems.error(
            &last.id.span,
            format!("{} rules", drafts.len()),
            format!("at most {RULES_MAX}"),
            None,
        );
    }
    problems.sort_by_key(|problem| (problem.file, problem.span.start));
    if problems.iter().any(|problem| problem.level == Level::Error) {
        return Err(problems);
    }
    let spans: Vec<_> = drafts.iter().map(|draft| (draft.file, draft.id.span.clone())).collect();
    let rules = build(drafts, &ids, &strata, settings);
    problems.extend(slow_steps(&rules, &spans));
    problems.extend(lint(&rules, sources));
    problems.sort_by_key(|problem| (problem.file, problem.span.start));
    Ok(Checked { rules, warnings: problems })
}

fn unique_ids(drafts: &[Draft], all: &mut Vec<Diagnostic>) -> HashMap<String, usize> {
    let mut ids = HashMap::new();
    for (at, draft) in drafts.iter().enumerate() {
        if ids.contains_key(&draft.id.value) {
            let mut problems = Problems { file: draft.file, all };
            let message = format!("two rules have the id `{}`", draft.id.value);
            problems.error(
                &draft.id.span,
                message,
                "the second one",
                Some("give each rule an id of its own".into()),
            );
        } else {
            ids.insert(draft.id.value.clone(), at);
        }
    }
    ids
}

/// For each rule how many rules stand between it and events; rules of a group stand together. Cycles and unknown rules
/// are said here.
fn strata(drafts: &[Draft], ids: &HashMap<String, usize>, all: &mut Vec<Diagnostic>) -> Vec<u8> {
    let unit = |draft: &Draft| -> String {
        draft.group.as_ref().map_or_else(|| draft.id.value.clone(), |group| group.value.clone())
    };
    let mut builds_on: HashMap<String, Vec<String>> = HashMap::new();
    for draft in drafts {
        let targets = builds_on.entry(unit(draft)).or_default();
        for step in &draft.steps {
            let DraftInput::Completions(target) = &step.input else { continue };
            match ids.get(&target.value) {
                Some(at) => targets.push(unit(&drafts[*at])),
                None => {
                    let help = nearest(&target.value, ids.keys().map(String::as_str));
                    let help = help.map(|near| format!("did you mean `{near}`?"));
                    let mut problems = Problems { file: draft.file, all };
                    problems.error(
                        &target.span,
                        format!("there is no rule `{}`", target.value),
                        "not known",
                        help,
                    );
                }
            }
        }
    }
    // They settle from the events upwards; what never settles is a cycle, or stands on one.
    let mut settled: HashMap<String, u8> = HashMap::new();
    for depth in 0..=CHAIN_DEPTH_MAX as u8 {
        let now: Vec<String> = builds_on
            .iter()
            .filter(|(unit, below)| {
                !settled.contains_key(*unit) && below.iter().all(|target| settled.contains_key(target))
            })
            .map(|(unit, _)| unit.clone())
            .collect();
        settled.extend(now.into_iter().map(|unit| (unit, depth)));
    }
    for draft in drafts.iter().filter(|draft| !settled.contains_key(&unit(draft))) {
        let mut problems = Problems { file: draft.file, all };
        let label =
            format!("it builds on itself, or on more than {CHAIN_DEPTH_MAX} rules one above the other");
        problems.error(
            &draft.id.span,
            format!("rule `{}` never comes to an event", draft.id.value),
            label,
            None,
        );
    }
    drafts.iter().map(|draft| settled.get(&unit(draft)).copied().unwrap_or(0)).collect()
}

fn check_groups(drafts: &[Draft], all: &mut Vec<Diagnostic>) {
    let mut first: HashMap<&str, &Draft> = HashMap::new();
    for draft in drafts {
        let Some(group) = &draft.group else { continue };
        let mut problems = Problems { file: draft.file, all };
        if drafts.iter().any(|other| other.id.value == group.value) {
            let message = format!("`{}` is a group and a rule", group.value);
            problems.error(
                &group.span,
                message,
                "the group",
                Some("give the group a name of its own".into()),
            );
        }
        let rules =
            drafts.iter().filter(|other| other.group.as_ref().map(|it| &it.value) == Some(&group.value));
        if rules.count() > GROUP_RULES_MAX {
            let label = format!("at most {GROUP_RULES_MAX}");
            problems.error(
                &group.span,
                format!("too many rules in the group `{}`", group.value),
                label,
                None,
            );
        }
        if !draft.policies.generate {
            let help = "leave `group` out: it would have nothing to say there";
            let message = "a rule without incidents in a group that shares them";
            problems.error(&group.span, message, "`generate: false`", Some(help.into()));
        }
        match first.get(group.value.as_str()) {
            None => {
                first.insert(&group.value, draft);
            }
            Some(other) if other.by.value != draft.by.value => {
                let message = format!("rules of the group `{}` have different keys", group.value);
                let help =
                    format!("rule `{}` of the group has another `by`; they must be the same", other.id.value);
                problems.error(&draft.by.span, message, "this key", Some(help));
            }
            Some(other) if other.policies.rematch != draft.policies.rematch => {
                let message = format!("rules of the group `{}` disagree on `on_rematch`", group.value);
                let help = format!("rule `{}` of the group says something else", other.id.value);
                problems.error(&group.span, message, "they share one incident", Some(help));
            }
            Some(_) => {}
        }
    }
}
