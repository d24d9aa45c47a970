//! Do all rules together make sense? If so, and only then, there is a [`RuleSet`].

use std::collections::HashMap;

use sightline_schemas::control::EngineSettings;
use sightline_schemas::incident::{RuleRef, ScopeType};

use crate::detect::Detector;
use crate::field::Field;
use crate::hit::RuleIndex;
use crate::limits::{
    CHAIN_DEPTH_MAX, DISTINCT_EVENTS_MAX, GROUP_RULES_MAX, RULE_FILE_BYTES_MAX, RULES_MAX,
    SEQUENCE_PLACES_MAX,
};
use crate::rule::diagnostic::{Diagnostic, Level, Source, nearest};
use crate::rule::draft::{self, Draft, DraftInput, DraftStep, Problems};
use crate::rule::lint::lint;
use crate::rule::lists::{Lists, is_rule_file};
use crate::rule::plan::{Feed, Input, Need, Pattern, Place, Rule, RuleSet, Step, Unit};
use crate::rule::tree::{self, Kind, Node};

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
pub fn check(files: &[Source], settings: &EngineSettings) -> Result<Checked, Vec<Diagnostic>> {
    let mut problems = Vec::new();
    let mut drafts = Vec::new();
    // All files first: a rule may use a list that another file names.
    let mut lists = Lists::default();
    let mut roots: Vec<(usize, Node)> = Vec::new();
    for (file, source) in files.iter().enumerate().filter(|(_, source)| is_rule_file(&source.name)) {
        let Some(root) = read_file(file, source, &mut problems) else { continue };
        if let Some(node) = root.member("lists") {
            lists.read(node, files, &mut Problems { file, all: &mut problems });
        }
        roots.push((file, root));
    }
    for (file, mut root) in roots {
        let mut problems = Problems { file, all: &mut problems };
        lists.put_in(&mut root, &mut problems);
        read_rules(&root, &mut drafts, &mut problems);
    }
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
    let rules = build(drafts, &ids, &strata, settings);
    problems.extend(lint(&rules, files));
    problems.sort_by_key(|problem| (problem.file, problem.span.start));
    Ok(Checked { rules, warnings: problems })
}

fn read_file(file: usize, source: &Source, all: &mut Vec<Diagnostic>) -> Option<Node> {
    let mut problems = Problems { file, all };
    if source.text.len() > RULE_FILE_BYTES_MAX {
        let message = format!("a rule file of {} bytes", source.text.len());
        problems.error(&(0..1), message, format!("at most {RULE_FILE_BYTES_MAX}"), Some("split it".into()));
        return None;
    }
    match tree::read(&source.text) {
        // A file of comments only holds no rules, which is fine.
        Ok(Node { kind: Kind::Null, .. }) => None,
        Ok(root) => Some(root),
        Err(malformed) => {
            problems.error(&malformed.span, "this is no YAML that can be used", malformed.message, None);
            None
        }
    }
}

fn read_rules(root: &Node, drafts: &mut Vec<Draft>, problems: &mut Problems<'_>) {
    let members = problems.members(root, "a rule file", &["rules", "lists"]);
    let Some((_, _, rules)) = members.iter().find(|(key, _, _)| *key == "rules") else {
        if matches!(root.kind, Kind::Map(_)) && members.is_empty() {
            problems.error(
                &root.span,
                "a rule file without `rules`",
                "this file",
                Some("start it with `rules:`".into()),
            );
        }
        return;
    };
    match &rules.kind {
        Kind::List(items) => drafts.extend(items.iter().filter_map(|item| draft::rule(item, problems))),
        Kind::Null => {}
        other => {
            let label = format!("expected a list, found {}", other.describe());
            problems.error(&rules.span, "`rules` must be a list of rules", label, None);
        }
    }
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

fn check_steps(draft: &Draft, problems: &mut Problems<'_>) {
    let parts: Vec<&str> = draft.by.value.iter().map(|part| part.name.as_str()).collect();
    for step in &draft.steps {
        for (name, _) in &step.by {
            if !parts.contains(&name.value.as_str()) {
                let help = match nearest(&name.value, parts.iter().copied()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("the parts of this rule's key: {}", parts.join(", ")),
                };
                let message = format!("`{}` is no part of the key of this rule", name.value);
                problems.error(&name.span, message, "not in the rule's `by`", Some(help));
            }
        }
    }
    match draft.ordered {
        true => check_sequence(draft, problems),
        false => check_all_of(draft, problems),
    }
}

fn check_sequence(draft: &Draft, problems: &mut Problems<'_>) {
    for (at, step) in draft.steps.iter().enumerate() {
        if let Need::Distinct(_) = step.need.value {
            let help = "make it a rule of its own, and a step `rule: …` here";
            let message = "a sequence cannot count distinct values in a step";
            problems.error(&step.need.span, message, "counts distinct values", Some(help.into()));
        }
        if let (0, Some(gap)) = (at, &step.gap_max) {
            problems.error(&gap.span, "`max_gap` in the first step", "nothing comes before it", None);
        }
    }
    let places: u64 = draft.steps.iter().map(|step| u64::from(step.need.value.threshold())).sum();
    if places > SEQUENCE_PLACES_MAX as u64 {
        let help = "count in a rule of its own, and make its completion a step here with `rule: …`";
        let message = format!("a sequence of {places} events");
        problems.error(&draft.id.span, message, format!("at most {SEQUENCE_PLACES_MAX}"), Some(help.into()));
    }
}

fn check_all_of(draft: &Draft, problems: &mut Problems<'_>) {
    for step in &draft.steps {
        if let Some(gap) = &step.gap_max {
            let help = "add `ordered: true` to the rule";
            problems.error(
                &gap.span,
                "`max_gap` without order",
                "only a sequence has gaps",
                Some(help.into()),
            );
        }
    }
    let taken: u64 = draft.steps.iter().map(|step| u64::from(step.need.value.threshold())).sum();
    if draft.distinct_events.unwrap_or(true)
        && overlapping(&draft.steps)
        && taken > u64::from(DISTINCT_EVENTS_MAX)
    {
        let help = "say `distinct_events: false`, or make the steps differ in `source` or `kind`";
        let message = "one event could satisfy two steps, and telling them apart would cost too much";
        let label = format!("takes {taken} events, at most {DISTINCT_EVENTS_MAX}");
        problems.error(&draft.id.span, message, label, Some(help.into()));
    }
}

/// Whether one event could satisfy two of the steps, as far as source and kind tell.
fn overlapping(steps: &[DraftStep]) -> bool {
    steps.iter().enumerate().any(|(at, step)| {
        steps[..at].iter().any(|other| match (&step.input, &other.input) {
            (DraftInput::Events(a), DraftInput::Events(b)) => !a.excludes(b),
            (DraftInput::Completions(a), DraftInput::Completions(b)) => a.value == b.value,
            _ => false,
        })
    })
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
            Some(_) => {}
        }
    }
}

fn build(
    drafts: Vec<Draft>,
    ids: &HashMap<String, usize>,
    depths: &[u8],
    settings: &EngineSettings,
) -> RuleSet {
    let mut detector = Detector::default();
    let mut units: Vec<Unit> = Vec::new();
    let mut rules: Vec<Rule> = Vec::with_capacity(drafts.len());
    // What rules ask of the rules that they build on must be remembered there.
    let mut asked: Vec<Vec<Field>> = vec![Vec::new(); drafts.len()];
    let mut feeds: Vec<Vec<Feed>> = vec![Vec::new(); drafts.len()];
    // From the top down: what a rule is asked for, it asks of the rules below it.
    let mut from_the_top: Vec<usize> = (0..drafts.len()).collect();
    from_the_top.sort_by_key(|at| std::cmp::Reverse(depths[*at]));
    for at in from_the_top {
        let draft = &drafts[at];
        for (step_at, step) in draft.steps.iter().enumerate() {
            if let DraftInput::Completions(target) = &step.input {
                let upstream = ids[&target.value];
                feeds[upstream].push(Feed { rule: crate::detect::index(at), step: step_at as u8 });
                let keys = draft.by.value.iter().flat_map(|part| key_fields(step, &part.name));
                let counted = step.counted.iter().map(|(field, _)| field.clone());
                let passed_on = asked[at].clone();
                asked[upstream]
                    .extend(keys.chain(counted).chain(step.shown.iter().cloned()).chain(passed_on));
            }
        }
    }
    // In the order of the rules, whatever the order in which they were looked at.
    feeds.iter_mut().for_each(|feeds| feeds.sort_by_key(|feed| (feed.rule, feed.step)));
    let strata = depths.iter().copied().max().unwrap_or(0) + 1;
    for (at, draft) in drafts.into_iter().enumerate() {
        let index = crate::detect::index(at);
        let (unit, member) = join_unit(&mut units, &draft, index, settings);
        let pattern = pattern(&draft);
        let scope = draft.by.value.first().map_or(ScopeType::Group, |part| part.normal.scope());
        let parts = draft.by.value;
        let steps: Vec<Step> =
            draft.steps.into_iter().map(|step| build_step(step, &parts, &asked[at], ids)).collect();
        for (step_at, step) in steps.iter().enumerate() {
            if let Input::Events(condition) = &step.input {
                detector.add((index, step_at as u8), condition);
            }
        }
        rules.push(Rule {
            reference: RuleRef { id: draft.id.value, version: hash(&draft.whole) },
            title: draft.title,
            description: draft.description,
            severity: draft.severity,
            severity_basis: draft.severity_basis,
            tags: draft.tags,
            window: draft.window.value,
            pattern,
            steps,
            scope,
            unit,
            member,
            stratum: depths[at],
            feeds: std::mem::take(&mut feeds[at]),
        });
    }
    let unit_places = units.iter().enumerate().map(|(at, unit)| (unit.id.clone(), at)).collect();
    RuleSet { rules, units, unit_places, detector, strata, settings: settings.clone() }
}

fn join_unit(
    units: &mut Vec<Unit>,
    draft: &Draft,
    index: RuleIndex,
    settings: &EngineSettings,
) -> (usize, u8) {
    let id = draft.group.as_ref().map_or(&draft.id.value, |group| &group.value);
    let lateness = draft.late.unwrap_or(settings.lateness_micros);
    let meaning = format!("{}|{lateness}", draft.meaning);
    let fingerprint = u64::from_str_radix(&hash(&meaning), 16).expect("a hash is hexadecimal");
    match units.iter().position(|unit| draft.group.is_some() && unit.id == *id) {
        Some(at) => {
            let unit = &mut units[at];
            unit.rules.push(index);
            unit.window = unit.window.max(draft.window.value);
            unit.lateness = unit.lateness.max(lateness);
            unit.fingerprint = unit.fingerprint.rotate_left(7) ^ fingerprint;
            (at, u8::try_from(unit.rules.len() - 1).unwrap_or(u8::MAX))
        }
        None => {
            units.push(Unit {
                id: id.clone(),
                group: draft.group.as_ref().map(|group| group.value.clone()),
                rules: vec![index],
                window: draft.window.value,
                lateness,
                by: draft.by.value.clone(),
                fingerprint,
            });
            (units.len() - 1, 0)
        }
    }
}

fn pattern(draft: &Draft) -> Pattern {
    let overlapping = overlapping(&draft.steps);
    if !draft.ordered {
        return Pattern::AllOf { distinct_events: overlapping && draft.distinct_events.unwrap_or(true) };
    }
    let mut places = Vec::new();
    for (at, step) in draft.steps.iter().enumerate() {
        let gap_max = step.gap_max.as_ref().map(|gap| gap.value);
        places.push(Place { step: at as u8, gap_max });
        // The further events of the same step follow without a limit of their own.
        places.extend((1..step.need.value.threshold()).map(|_| Place { step: at as u8, gap_max: None }));
    }
    Pattern::Sequence { places, overlapping }
}

fn key_fields(step: &DraftStep, part: &str) -> Vec<Field> {
    match step.by.iter().find(|(name, _)| name.value == part) {
        Some((_, fields)) => fields.clone(),
        None => Field::parse(part).into_iter().collect(),
    }
}

fn build_step(
    step: DraftStep,
    parts: &[crate::rule::KeyPart],
    asked: &[Field],
    ids: &HashMap<String, usize>,
) -> Step {
    let keys: Vec<Vec<Field>> = parts.iter().map(|part| key_fields(&step, &part.name)).collect();
    let mut shown = step.shown;
    // Shown in any case: what the key was made of, what was counted, what was compared, what other rules build on.
    let counted = step.counted.iter().map(|(field, _)| field.clone());
    shown.extend(asked.iter().cloned().chain(counted).chain(keys.iter().flatten().cloned()));
    if let DraftInput::Events(condition) = &step.input {
        shown.extend(condition.predicates().into_iter().map(|predicate| predicate.field.clone()));
    }
    let mut seen = Vec::new();
    shown.retain(|field| {
        let own = ["source", "kind", "host_id", "user", "severity", "title"].contains(&field.name());
        let new = !own && !seen.contains(field);
        seen.push(field.clone());
        new
    });
    shown.truncate(crate::limits::SHOWN_FIELDS_MAX);
    Step {
        name: step.name.value,
        input: match step.input {
            DraftInput::Events(condition) => Input::Events(condition),
            DraftInput::Completions(target) => Input::Completions(crate::detect::index(ids[&target.value])),
        },
        need: step.need.value,
        keys,
        counted: step.counted,
        shown,
    }
}

fn hash(text: &str) -> String {
    blake3::hash(text.as_bytes()).to_hex().as_str()[..16].to_owned()
}
