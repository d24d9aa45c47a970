//! What is wrong with rules is said all at once, each with its place and what to write.

mod policies;
mod sigma;
mod steps;

use sightline_core::limits::CHAIN_DEPTH_MAX;
use sightline_core::rule::case::is_case_file;
use sightline_core::rule::diagnostic::Color;
use sightline_core::rule::{Diagnostic, Source, check};
use sightline_schemas::control::EngineSettings;

fn problems(text: &str) -> (Vec<Source>, Vec<Diagnostic>) {
    let files = vec![Source { name: "rules.yaml".to_owned(), text: text.to_owned() }];
    match check::check(&files, &EngineSettings::default()) {
        Ok(checked) => (files, checked.warnings),
        Err(problems) => (files, problems),
    }
}

/// Each expected problem: line, a part of the message, a part of label or help.
#[track_caller]
fn expect(text: &str, expected: &[(usize, &str, &str)]) {
    let (files, problems) = problems(text);
    let shown: Vec<String> = problems.iter().map(|problem| problem.render(&files, Color::Plain)).collect();
    assert_eq!(problems.len(), expected.len(), "{}", shown.join("\n"));
    for (problem, (line, message, hint)) in problems.iter().zip(expected) {
        let said = format!("{} {}", problem.label, problem.help.as_deref().unwrap_or_default());
        assert_eq!(problem.line_and_column(&files).0, *line, "{}", shown.join("\n"));
        assert!(problem.message.contains(message), "{:?} in {:?}", message, problem.message);
        assert!(said.contains(hint), "{hint:?} in {said:?}");
    }
}

#[test]
fn every_error_of_a_file_is_said_at_once() {
    expect(
        "rules:
  - id: one
    severity: hihg
    windw: 5m
    steps:
      - name: a
        match: {sorce: x}
  - id: one
    steps: []
",
        &[
            (3, "`hihg` is no severity", "did you mean `high`?"),
            (4, "unknown key `windw`", "did you mean `window`?"),
            (7, "unknown key `sorce`", "did you mean `source`?"),
            (9, "a rule without steps", "steps"),
        ],
    );
}

#[test]
fn two_rules_of_one_id_and_two_steps_of_one_name_are_refused() {
    expect(
        "rules:
  - id: one
    steps: [{name: a, match: {kind: x}}, {name: a, match: {kind: y}}]
  - id: two
    steps: [{name: a, match: {kind: x}}]
",
        &[(3, "two steps are named `a`", "a name of its own")],
    );
    expect(
        "rules:
  - id: one
    steps: [{name: a, match: {kind: x}}]
  - id: one
    steps: [{name: a, match: {kind: x}}]
",
        &[(4, "two rules have the id `one`", "an id of its own")],
    );
}

#[test]
fn a_window_must_be_a_length_of_time_that_makes_sense() {
    let rule = |window: &str| {
        format!("rules:\n  - id: one\n    window: {window}\n    steps: [{{name: a, match: {{kind: x}}}}]\n")
    };
    expect(&rule("300"), &[(3, "no length of time", "write `300s` or `300m`")]);
    expect(&rule("5M"), &[(3, "no length of time", "`M` means months")]);
    expect(&rule("0s"), &[(3, "a window in which nothing fits", "at least")]);
    expect(&rule("soon"), &[(3, "no length of time", "write it as")]);
    for window in ["5m", "1h 30m", "1h30m", "500ms", "90days"] {
        expect(&rule(window), &[]);
    }
}

#[test]
fn a_rule_on_rules_must_come_to_an_event() {
    expect(
        "rules:
  - id: one
    steps: [{name: a, rule: two}]
  - id: two
    steps: [{name: a, rule: one}]
  - id: three
    steps: [{name: a, rule: twoo}]
",
        &[
            (2, "rule `one` never comes to an event", "builds on itself"),
            (4, "rule `two` never comes to an event", "builds on itself"),
            (7, "there is no rule `twoo`", "did you mean `two`?"),
        ],
    );
}

#[test]
fn rules_stand_no_higher_above_events_than_the_limit() {
    let tower = |rules: usize| {
        let on = |at: usize| match at {
            0 => "match: {kind: x}".to_owned(),
            _ => format!("rule: r{}", at - 1),
        };
        let rule = |at: usize| format!("  - id: r{at}\n    steps: [{{name: a, {}}}]\n", on(at));
        format!("rules:\n{}", (0..rules).map(rule).collect::<String>())
    };
    let lowest_and = CHAIN_DEPTH_MAX + 1;
    expect(&tower(lowest_and), &[]);
    let line = 2 + 2 * lowest_and;
    expect(&tower(lowest_and + 1), &[(line, "rule `r9` never comes to an event", "on more than 8 rules")]);
}

#[test]
fn comparisons_that_cannot_be_meant_are_refused() {
    expect(
        "rules:
  - id: one
    steps:
      - name: a
        match:
          field_matches: {path: '('}
          field_cidr: {ip: 10.0.0.0/99}
          field_bits: {access: '0x0'}
          field_gt: {port: many}
          field_contains: {path: ''}
          field_equals: path
",
        &[
            (6, "`field_matches` cannot be used", "unclosed group"),
            (7, "`field_cidr` cannot be used", "no network"),
            (8, "`field_bits` cannot be used", "no bit set"),
            (9, "`field_gt` compares with a number", "found text"),
            (10, "`field_contains` with an empty text", "field_exists"),
            (11, "`field_equals` compares named fields", "field_equals: {some_field: value}"),
        ],
    );
}

#[test]
fn modifiers_that_are_none_or_do_not_fit_are_refused() {
    expect(
        "rules:
  - id: one
    steps:
      - name: a
        match:
          field_contains: {'path|windahs': x}
          field_gt: {'port|windash': 1}
          field_equals: {'a|field|base64': b}
          field_like: {'a|base64': 'x*'}
          field_between: {port: [9, 1]}
          field_in: {'at|hour': [noon]}
",
        &[
            (6, "unknown modifier `|windahs`", "did you mean `|windash`?"),
            (7, "`|windash` does not go with `field_gt`", "cannot be modified so"),
            (8, "do not go together", "nothing is encoded"),
            (9, "`field_like` cannot be used", "it has wildcards"),
            (10, "`field_between` takes", "greater than the second"),
            (11, "`field_in` cannot be used", "no whole number"),
        ],
    );
}

#[test]
fn a_clock_that_there_is_not_is_refused() {
    let rule = |at: &str| format!("rules:\n  - id: one\n    steps: [{{name: a, match: {{at: {at}}}}}]\n");
    expect(&rule("{zone: UTC}"), &[(3, "`at` names no time", "neither `time` nor `days`")]);
    expect(&rule("{time: \"8-17\"}"), &[(3, "no time of the day", "22:00-06:00")]);
    expect(&rule("{days: [funday]}"), &[(3, "`funday` is no day of the week", "mon, tue")]);
    expect(
        &rule("{days: [sun], zone: Europe/Berlni}"),
        &[(3, "no time zone", "did you mean `Europe/Berlin`?")],
    );
}

#[test]
fn a_list_that_there_is_not_is_refused_and_a_file_must_lie_beside_the_rules() {
    let rule = "rules:\n  - id: one\n    steps: [{name: a, match: {field_equals: {'h|list': hahses}}}]\n";
    expect(
        &format!("lists: {{hashes: [x]}}\n{rule}"),
        &[(4, "there is no list `hahses`", "did you mean `hashes`?")],
    );
    expect(rule, &[(3, "there is no list `hahses`", "name it in `lists:`")]);
    expect("lists: {a: {file: gone.txt}}\n", &[(1, "there is no file `gone.txt`", "one a line")]);
    expect("lists: {a: {file: ../x.txt}}\n", &[(1, "lies beside the rules", "without `..`")]);
    expect(
        "lists: {a: 3}\n",
        &[(1, "`a list` has a value", "expected named values"), (1, "a list without values", "file")],
    );
}

#[test]
fn the_file_of_a_list_is_one_of_the_files() {
    let files = [
        (
            "rules/a.yaml",
            "lists: {bad: {file: bad.txt}}\nrules: [{id: one, steps: [{name: a, match: {field_equals: {'h|list': bad}}}]}]\n",
        ),
        ("rules/bad.txt", "# indicators\n\n  aa \nbb\n"),
    ];
    let source = |(name, text): (&str, &str)| Source { name: name.to_owned(), text: text.to_owned() };
    let files = files.map(source);
    let checked = check::check(&files, &EngineSettings::default()).expect("rules that can be used");
    let version = |files: &[Source]| {
        let checked = check::check(files, &EngineSettings::default()).expect("rules that can be used");
        (checked.rules.rules[0].reference.version.clone(), checked.rules.units[0].fingerprint)
    };
    assert_eq!(checked.rules.rules.len(), 1);
    let mut changed = files.clone();
    changed[1].text.push_str("cc\n");
    assert_ne!(version(&files).0, version(&changed).0, "the incident says which list it was");
    assert_eq!(version(&files).1, version(&changed).1, "and what was remembered stays");
}

#[test]
fn a_regular_expression_that_would_grow_too_large_is_refused() {
    expect(
        "rules:
  - id: one
    steps: [{name: a, match: {field_matches: {path: '(((a{1,100}){1,100}){1,100}){1,100}'}}}]
",
        &[(3, "`field_matches` cannot be used", "size limit")],
    );
}

#[test]
fn what_is_no_yaml_is_said_with_its_place() {
    let (files, problems) = problems("rules:\n  - id: one\n    steps: [\n");
    assert_eq!(problems.len(), 1);
    assert!(problems[0].message.contains("no YAML"));
    assert!(problems[0].line_and_column(&files).0 >= 3);
}

#[test]
fn a_file_that_expands_beyond_all_measure_is_refused() {
    let mut text = "a: &a [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 0..12 {
        let (this, last) = (char::from(b'b' + level), char::from(b'a' + level));
        text.push_str(&format!("{this}: &{this} [{}]\n", vec![format!("*{last}"); 10].join(", ")));
    }
    let (_, problems) = problems(&text);
    assert!(problems.iter().any(|problem| problem.message.contains("no YAML")));
}

#[test]
fn parts_of_keys_must_be_known_and_groups_must_agree() {
    expect(
        "rules:
  - id: one
    by: [host_id]
    group: g
    steps: [{name: a, match: {kind: x}, by: {hostid: host}}]
  - id: two
    by: [user]
    group: g
    steps: [{name: a, match: {kind: x}}]
",
        &[
            (5, "`hostid` is no part of the key", "did you mean `host_id`?"),
            (7, "rules of the group `g` have different keys", "rule `one`"),
        ],
    );
}

#[test]
fn the_excerpt_points_at_the_place() {
    let (files, problems) =
        problems("rules:\n  - id: one\n    severty: high\n    steps: [{name: a, match: {kind: x}}]\n");
    let shown = problems[0].render(&files, Color::Plain);
    let expected = "error: unknown key `severty` in a rule
 --> rules.yaml:3:5
  |
3 |     severty: high
  |     ^^^^^^^ not known here
  |
  = help: did you mean `severity`?";
    assert_eq!(shown.trim_end(), expected);
}

/// The rule files of a folder, without those of tests.
fn shipped(folder: &str) -> Vec<Source> {
    let mut names: Vec<_> = std::fs::read_dir(folder)
        .expect("a folder of rules")
        .map(|entry| entry.expect("a file").path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "yaml"))
        .filter(|path| !is_case_file(&path.to_string_lossy()))
        .collect();
    names.sort();
    let source = |path: &std::path::PathBuf| {
        let text = std::fs::read_to_string(path).expect("a rule file");
        Source { name: path.display().to_string(), text }
    };
    names.iter().map(source).collect()
}

fn checked(files: &[Source]) -> check::Checked {
    check::check(files, &EngineSettings::default()).unwrap_or_else(|problems| {
        panic!("{}", problems.iter().map(|problem| problem.render(files, Color::Plain)).collect::<String>())
    })
}

#[test]
fn the_shipped_rules_are_in_order() {
    let checked = checked(&shipped("rules"));
    assert_eq!(checked.rules.rules.len(), 17);
    assert!(checked.warnings.is_empty());
}

#[test]
fn every_rule_of_the_library_has_known_ids_of_attack_and_a_reason() {
    let rules = checked(&shipped("rules/library")).rules.rules;
    for rule in &rules {
        let ids = rule.notes.attack.shown().unwrap_or_default();
        let id = &rule.reference.id;
        assert!(!ids.tactics.is_empty() && !ids.techniques.is_empty(), "{id}: {ids:?}");
        assert!(ids.unknown.is_empty(), "{id}: {ids:?}");
        assert!(rule.description.len() > 40, "{id} does not say why");
    }
    let of_several_stages = rules.iter().filter(|rule| rule.steps.len() > 1).count();
    assert!(of_several_stages >= 20, "{of_several_stages} of {}", rules.len());
}
