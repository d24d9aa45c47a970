//! What is wrong with steps, and with what they take.

use crate::expect;

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
