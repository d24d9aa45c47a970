//! What is wrong with rules of Sigma, and with mappings for them.

use sightline_core::rule::diagnostic::Color;
use sightline_core::rule::{Source, check};
use sightline_schemas::control::EngineSettings;

use crate::expect;

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
