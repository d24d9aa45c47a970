//! What is wrong with rules is said all at once, each with its place and what to write.

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
fn what_a_sigma_rule_needs_and_is_not_there_is_named() {
    let rule = |detection: &str| {
        format!(
            "title: x\nid: x\nlogsource: {{product: test}}\ndetection:\n  s: {detection}\n  condition: s\n"
        )
    };
    expect(&rule("{a|contians: b}"), &[(5, "unknown modifier `|contians`", "did you mean `|contains`?")]);
    expect(&rule("{a|re: '(?=x)'}"), &[(5, "`field_matches` cannot be used", "look-around")]);
    expect(&rule("{a|re|contains: x}"), &[(5, "`a|re|contains` cannot be understood", "do not go together")]);
    expect(&rule("{a|expand: 'x%admins%'}"), &[(5, "cannot be understood", "and nothing beside it")]);
    expect(&rule("{a|expand: '%admins%'}"), &[(5, "there is no list `admins`", "name it in `lists:`")]);
    expect(&rule("{'args[0]': x}"), &[(5, "`args[0]` selects by place", "not supported")]);
    expect(&rule("{a|wide: é}"), &[(5, "`field_equals` cannot be used", "add `base64`")]);
    expect(&rule("{a|gt: many}"), &[(5, "`a|gt` cannot be understood", "expected a number")]);
    expect(
        &rule("{a: b}").replace("condition: s", "condition: s and t"),
        &[(6, "this condition", "no selection `t`")],
    );
    expect(
        &rule("{a: b}").replace("condition: s", "condition: s | count() > 5"),
        &[(6, "this condition", "correlation")],
    );
    expect(
        &rule("{a: b}").replace("condition: s", "condition: 1 of t*"),
        &[(6, "this condition", "is like `t*`")],
    );
    expect(&rule("{a: b}").replace("id: x", "level: hgih"), &[(2, "`hgih` is no level", "informational")]);
    expect(
        "title: x\nlogsource: {product: test}\n",
        &[(1, "a Sigma rule without `detection`", "add `detection:`")],
    );
    expect("title: x\nfilter: {rules: any}\n", &[(2, "Sigma filters are not supported", "native")]);
}

#[test]
fn what_a_correlation_needs_and_is_not_there_is_named() {
    let base = "title: a\nname: a\nlogsource: {product: test}\ndetection: {s: {x: y}, condition: s}\n---\n";
    let rule = |correlation: &str| format!("{base}title: c\nid: c\ncorrelation: {correlation}\n");
    let cases = [
        (
            "{type: event_cuont, rules: a, timespan: 5m, condition: {gte: 1}}",
            "is no type",
            "did you mean `event_count`?",
        ),
        (
            "{type: event_count, rules: aa, timespan: 5m, condition: {gte: 1}}",
            "there is no rule `aa`",
            "not known",
        ),
        (
            "{type: event_count, rules: a, timespan: soon, condition: {gte: 1}}",
            "is no timespan",
            "such as `5m`",
        ),
        ("{type: event_count, rules: a, timespan: 5m}", "a correlation without `condition`", "gte: 10"),
        ("{type: event_count, rules: a, timespan: 5m, condition: {}}", "compares nothing", "gte: 10"),
        (
            "{type: value_count, rules: a, timespan: 5m, condition: {gte: 1}}",
            "counted or measured",
            "no `field`",
        ),
        (
            "{type: value_count, rules: a, timespan: 5m, condition: {gte: 1, field: [b, c]}}",
            "several fields",
            "a field",
        ),
        (
            "{type: temporal, rules: a, timespan: 5m, condition: a and not a}",
            "this condition",
            "must not happen",
        ),
        (
            "{type: temporal, rules: a, timespan: 5m, condition: {lt: 1}}",
            "this condition",
            "counted with `gte`",
        ),
        (
            "{type: temporal, rules: a, timespan: 5m, condition: {gte: 2}}",
            "this condition",
            "can never happen",
        ),
    ];
    for (correlation, message, hint) in cases {
        expect(&rule(correlation), &[(8, message, hint)]);
    }
}

#[test]
fn the_shipped_mappings_are_in_order() {
    let rule = "title: x\nid: x\nlogsource: {product: windows, category: process_creation}\n\
                detection: {s: {Image|endswith: evil.exe}, condition: s}\n";
    for entry in std::fs::read_dir("rules/mappings").expect("the folder of mappings") {
        let path = entry.expect("a file").path();
        let text = std::fs::read_to_string(&path).expect("a mapping");
        let source = |name: &str, text: &str| Source { name: name.to_owned(), text: text.to_owned() };
        let files = [source("mapping.yaml", &text), source("rule.yml", rule)];
        let checked = check::check(&files, &EngineSettings::default());
        let checked = checked.unwrap_or_else(|problems| {
            let said: Vec<String> =
                problems.iter().map(|problem| problem.render(&files, Color::Plain)).collect();
            panic!("{}: {}", path.display(), said.join("\n"))
        });
        assert_eq!(checked.rules.rules.len(), 1);
    }
}

#[test]
fn a_mapping_that_leaves_a_log_source_out_is_told_which() {
    let rule = "---\ntitle: x\nid: x\nlogsource: {product: windows, category: process_creation}\n\
                detection: {s: {x: y}, condition: s}\n";
    let mapping = |more: &str| format!("mapping: m\n{more}\n{rule}");
    let products = "logsources: [{product: windows, match: {source: edr}}]";
    expect(
        &mapping(products),
        &[(6, "which events are of category: process_creation", "`logsources` of the mapping")],
    );
    expect(&mapping("unmapped: any"), &[]);
    expect(&mapping("by_field: {product: p, category: c}"), &[]);
    expect(
        &mapping("feilds: {a: b}\nunmapped: any"),
        &[(2, "unknown key `feilds`", "did you mean `fields`?")],
    );
    let wrong = "logsources: [{product: windows, match: {knid: a}}]\nunmapped: any";
    expect(&mapping(wrong), &[(2, "unknown key `knid`", "did you mean `kind`?")]);
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
fn a_step_that_can_never_match_is_told() {
    let rule = |condition: &str| {
        format!("rules:\n  - id: one\n    steps:\n      - name: a\n        match: {condition}\n")
    };
    let never =
        |condition: &str, why: &str| expect(&rule(condition), &[(4, "step `a` can never match", why)]);
    never("{kind: x, field_equals: {kind: y}}", "`kind` is \"x\", and is \"y\"");
    never("{kind: x, field_starts_with: {kind: y}}", "starts with \"y\"");
    never("{kind: [x, y], not: {kind: [y, x]}}", "and not: is one of");
    never("{field_equals: {severity: hihg}}", "is one of info, low, medium, high, critical");
    never("{kind: x, class: alarm}", "`class` is \"alarm\"");
    never("{kind: x, any: []}", "`any` of nothing");
    never("{kind: x, not: {}}", "`not` of what always holds");
    never("{field_equals: {a: b}, field_exists: {a: false}}", "and not: any value");
    never(
        "{kind: z, any: [{kind: x}, {kind: y}], all: [{field_gt: {a: 1}, not: {field_gt: {a: 1}}}]}",
        "`a` > 1, and not: > 1",
    );
    let lists = |condition: &str, why: &str| {
        expect(&rule(condition), &[(4, "step `a` can only match where a field holds a list", why)]);
    };
    lists("{field_gt: {port: 10}, field_lt: {port: 10}}", "`port` > 10, and < 10");
    lists("{field_equals: {path: 'C:\\a.exe'}, field_ends_with: {path: .dll}}", "ends with \".dll\"");
    for fine in [
        "{kind: x, any: [{kind: y}, {kind: x}]}",
        "{kind: [x, y], field_starts_with: {kind: y}}",
        "{field_gte: {port: 10}, field_lte: {port: 10}}",
        "{tags_all: [a, b], not: {tags_any: [c]}}",
        "{kind: [x, y], not: {kind: x}}",
        "{field_equals: {a: b}, not: {field_equals: {a: b, c: d}}}",
    ] {
        expect(&rule(fine), &[]);
    }
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

#[test]
fn the_shipped_rules_are_in_order() {
    let mut names: Vec<_> = std::fs::read_dir("rules")
        .expect("the rules folder")
        .map(|entry| entry.expect("a file").path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "yaml"))
        .filter(|path| !is_case_file(&path.to_string_lossy()))
        .collect();
    names.sort();
    let files: Vec<Source> = names
        .iter()
        .map(|path| Source {
            name: path.display().to_string(),
            text: std::fs::read_to_string(path).expect("a rule file"),
        })
        .collect();
    let checked = check::check(&files, &EngineSettings::default());
    let checked = checked.unwrap_or_else(|problems| {
        panic!("{}", problems.iter().map(|problem| problem.render(&files, Color::Plain)).collect::<String>())
    });
    assert_eq!(checked.rules.rules.len(), 17);
    assert!(checked.warnings.is_empty());
}

#[test]
fn what_a_step_cannot_take_is_said() {
    let step = |need: &str| {
        format!(
            "rules:\n  - id: one\n    steps:\n      - name: a\n        match: {{kind: x}}\n        {need}\n"
        )
    };
    let cases = [
        ("count: {gte: 5, lt: 5}", "nothing can be counted to that", "absent: true"),
        ("count: 5", "`count` has a value that it cannot have", "write `count: {gte: 3, lt: 10}`"),
        ("count: {}", "`count` without a condition", "gte"),
        ("count: {more: 3}", "unknown key `more` in `count`", "known here"),
        ("distinct: {at_least: 3}", "`distinct` without `field`", "field: user"),
        ("distinct: {field: user}", "`distinct` without a condition", "gte"),
        ("sum: {field: bytes}", "`sum` without a condition", "gte"),
        ("sum: {field: bytes, gte: many}", "`gte` has a value", "expected a number"),
        ("avg: {field: bytes, gt: 5, lt: 5}", "no number can be what `avg` asks for", "exclude each other"),
        ("percentile: {field: bytes, gte: 5}", "`percentile` without `percent`", "percent: 95"),
        ("percentile: {field: bytes, percent: 101, gte: 5}", "`percent` has a value", "from 0 to 100"),
        ("first_seen: {field: user, learn: 14}", "`learn` is no length of time", "write `14s`"),
        ("first_seen: {field: user, forget: 0s}", "`forget` of no time", "every value would be new"),
    ];
    for (need, message, hint) in &cases {
        expect(&step(need), &[(6, message, hint)]);
    }
    let both = step("min_count: 2\n        sum: {field: n, gte: 1}");
    expect(&both, &[(7, "a step with both `min_count` and `sum`", "distinct_events: false")]);
}

#[test]
fn what_waits_or_measures_has_its_place() {
    expect(
        "rules:
  - id: one
    ordered: true
    steps:
      - {name: a, match: {kind: a}, count: {lt: 3}}
      - {name: b, match: {kind: b}, sum: {field: n, gte: 1}}
      - {name: c, match: {kind: c}, first_seen: {field: n}}
  - id: two
    steps:
      - {name: a, match: {kind: a}}
      - {name: b, match: {kind: b}, first_seen: {field: n}}
",
        &[
            (5, "a sequence cannot limit how often", "rule: …"),
            (6, "a sequence cannot measure a step", "rule: …"),
            (7, "a sequence cannot ask what is new", "rule: …"),
            (11, "`first_seen` beside other steps", "rule: …"),
        ],
    );
}

#[test]
fn what_must_not_happen_has_its_place_in_an_order() {
    expect(
        "rules:
  - id: one
    steps:
      - {name: a, match: {kind: a}}
      - {name: b, match: {kind: b}, absent: true}
  - id: two
    until: {match: {kind: c}}
    steps: [{name: a, match: {kind: a}}]
  - id: three
    ordered: true
    steps: [{name: b, match: {kind: b}, absent: true}]
  - id: four
    ordered: true
    steps:
      - {name: a, match: {kind: a}}
      - {name: b, match: {kind: b}, absent: true, within: 5m}
      - {name: c, match: {kind: c}, min_gap: 5m, max_gap: 1m}
  - id: five
    ordered: true
    steps:
      - {name: a, match: {kind: a}}
      - {name: b, match: {kind: b}, absent: true, min_count: 3}
      - {name: c, match: {kind: c}, within: 5m}
  - id: six
    ordered: true
    steps:
      - {name: a, match: {kind: a}}
      - {name: b, match: {kind: b}, absent: true, if_silent: drop}
  - id: seven
    ordered: true
    steps:
      - {name: a, match: {kind: a}}
      - {name: b, match: {source: s, kind: b}, absent: true, if_silent: shout}
",
        &[
            (5, "`absent` without order", "ordered: true"),
            (7, "`until` without order", "ordered: true"),
            (9, "nothing must happen in this rule", "add the step"),
            (16, "`within` between two steps", "leave it out"),
            (17, "a gap that cannot be", "longer than `max_gap`"),
            (22, "`min_count` of a step that must not happen", "rule: …"),
            (23, "`within` of a step that must happen", "absent: true"),
            (28, "nobody knows who would report this step", "alive"),
            (33, "`if_silent` cannot be `shout`", "expected `say`"),
        ],
    );
}

#[test]
fn a_step_that_makes_every_event_slow_is_warned_of() {
    expect(
        "rules:
  - id: slow
    by: source
    steps:
      - name: a
        match: {not: {field_matches: {command_line: '(a|b)+c'}}}
  - id: gated
    by: source
    steps:
      - name: a
        match: {kind: x, not: {field_matches: {command_line: '(a|b)+c'}}}
  - id: indexed
    by: source
    steps:
      - name: a
        match: {field_matches: {command_line: '(a|b)+c'}}
",
        &[(2, "step `a` makes every event slow", "a `source`, a `kind`")],
    );
}

#[test]
fn policies_say_what_they_cannot_be() {
    let rule = |policy: &str| {
        format!("rules:\n  - id: one\n    {policy}\n    steps: [{{name: a, match: {{kind: x}}}}]\n")
    };
    let cases = [
        ("severity_at: [{severity: high}]", "a threshold that says too much or too little", "events: 100"),
        ("severity_at: [{events: 3, severity: hihg}]", "`hihg` is no severity", "did you mean `high`?"),
        ("severity_at: [{values: 3, severity: high}]", "`values` of which step?", "step: users"),
        ("coalesce: 5", "`coalesce` is no length of time", "`5s`"),
        ("suppress: {by: user, for: 1h}", "`suppress` holds for the rule's own key", "generate: false"),
        ("suppress: {}", "`suppress` without `for`", "for: 1h"),
        ("on_rematch: again", "`on_rematch` cannot be `again`", "reopen"),
        ("keep_closed: [fixed]", "`keep_closed` where nothing is reopened", "on_rematch: reopen"),
        ("evidence: {max: 1000}", "`max` has a value", "from 2 to 200"),
        ("generate: maybe", "`generate` has a value", "true or false"),
        ("except: [{match: {user: x}, reason: y}]", "unknown key `user` in `match`", "known here"),
        ("except: [{match: {kind: x}}]", "an exception needs `match` and `reason`", "reason: nightly job"),
        ("except: [{match: {kind: x}, reason: y, expires: soon}]", "`expires` is no time", "2026-12-31"),
        ("attack: {tactics: [T1071]}", "`T1071` is no id of `tactics`", "TA0011"),
        ("attack: {techniques: [TA0011]}", "`TA0011` is no id of `techniques`", "T1071"),
        ("title: '{{key.user}}'", "`key.user` names nothing of this rule", "host_id"),
        ("title: '{{step.b.count}}'", "`step.b.count` names nothing of this rule", "there is a"),
        ("title: '{{step.a.values}}'", "`step.a.values` names nothing of this rule", ".count"),
        ("description: '{{what}}'", "`what` names nothing of this rule", "key.PART"),
        ("title: '{{count'", "a name that is not closed", "{{count}}"),
    ];
    for (policy, message, hint) in &cases {
        let (files, problems) = problems(&rule(policy));
        let said = problems.iter().any(|problem| {
            let help = format!("{} {}", problem.label, problem.help.as_deref().unwrap_or_default());
            problem.message.contains(message) && help.contains(hint) && problem.line_and_column(&files).0 == 3
        });
        assert!(said, "{policy}: {problems:?}");
    }
    let fine = rule(
        "on_rematch: reopen\n    keep_closed: [fixed]\n    except: [{match: {kind: y}, reason: z, expires: 2026-12-31}]",
    );
    expect(&fine, &[]);
}
