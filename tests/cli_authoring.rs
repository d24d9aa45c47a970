//! The commands around writing a rule: `new`, `fmt`, `schema`.

mod support;

use support::cli::{check, file, folder, run};

/// The patterns that `new` has, as its help lists them.
fn patterns() -> Vec<String> {
    let (code, out, _) = run(&["new", "--help"]);
    assert_eq!(code, 0);
    let listed = out
        .lines()
        .take_while(|line| !line.starts_with("Options"))
        .filter_map(|line| line.trim().strip_prefix("- ")?.split_once(':'));
    listed.map(|(name, _)| name.to_owned()).collect()
}

#[test]
fn every_new_rule_passes_check_and_its_own_tests_and_is_laid_out() {
    let dir = folder();
    let patterns = patterns();
    for needed in [
        "sequence",
        "all-of",
        "count",
        "distinct",
        "sum",
        "percentile",
        "first-seen",
        "absence",
        "join",
        "chain",
        "group",
    ] {
        assert!(patterns.iter().any(|pattern| pattern == needed), "{needed} in {patterns:?}");
    }
    for pattern in &patterns {
        let path = dir.path().join(format!("{pattern}.yaml"));
        let path = path.to_str().expect("UTF-8");
        assert_eq!(run(&["new", pattern, &format!("my_{pattern}"), "--out", path]).0, 0);
        let (code, out, err) = run(&["check", "--strict", path]);
        assert_eq!(code, 0, "{pattern}\n{out}{err}");
        let (code, out, err) = run(&["test", "--require-coverage", path]);
        assert_eq!(code, 0, "{pattern}\n{out}{err}");
        assert_eq!(run(&["fmt", "--check", path]), (0, String::new(), String::new()), "{pattern}");
        check(&["new", pattern, "x", "--out", path], 1, &["cannot write"]);
    }
    check(&["new", "count", "no id"], 3, &["cannot be an id"]);
}

#[test]
fn the_shipped_rules_are_laid_out() {
    let (code, out, err) = run(&["fmt", "--check", "rules"]);
    assert_eq!((code, &*out, &*err), (0, "", ""));
}

#[test]
fn laying_out_changes_the_file_and_not_the_rule() {
    let dir = folder();
    let text = "rules:\n- steps:\n  - match: {kind: x}\n    name: a\n  # why\n  severity: high\n  id: one\n";
    let path = file(dir.path(), "rule.yaml", text);
    let version = || {
        let events = file(
            dir.path(),
            "e.ndjson",
            "{\"source\":\"s\",\"kind\":\"x\",\"host_id\":\"a\",\"ts\":\"2026-01-01T00:00:00Z\"}\n",
        );
        let (_, out, err) = run(&["backtest", "--rules", &path, &events]);
        let message: serde_json::Value = serde_json::from_str(&out).unwrap_or_else(|_| panic!("{err}"));
        message["incident"]["rule"]["version"].clone()
    };
    let before = version();
    assert_eq!(run(&["fmt", "--check", &path]), (1, format!("{path}\n"), String::new()));
    assert_eq!(run(&["fmt", &path]).0, 0);
    let laid_out = std::fs::read_to_string(&path).expect("there");
    let expected = "rules:\n  - id: one\n    # why\n    severity: high\n    steps:\n      - name: a\n        match: {kind: x}\n";
    assert_eq!(laid_out, expected);
    assert_eq!(version(), before);
    assert_eq!(run(&["fmt", "--check", &path]).0, 0);
    let broken = file(dir.path(), "broken.yaml", "rules: [\n");
    check(&["fmt", &broken], 2, &["left as it is:"]);
    assert_eq!(std::fs::read_to_string(&broken).expect("there"), "rules: [\n");
}

fn schema() -> jsonschema::Validator {
    let (code, out, _) = run(&["schema"]);
    assert_eq!(code, 0);
    let shipped = std::fs::read_to_string("rules/schema.json").expect("the schema");
    assert_eq!(out, shipped, "write it again: `sightline schema > rules/schema.json`");
    jsonschema::validator_for(&serde_json::from_str(&out).expect("JSON")).expect("a schema")
}

/// A file as an editor hands it to its validator.
fn in_json(text: &str) -> serde_json::Value {
    let options = serde_saphyr::options! { strict_booleans: true };
    serde_saphyr::from_str_with_options(text, options).expect("YAML")
}

fn rule_files(folder: &std::path::Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        // Mappings for Sigma's names are no rules.
        if path.is_dir() && !path.ends_with("mappings") {
            rule_files(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "yaml") {
            found.push(path);
        }
    }
}

#[test]
fn the_schema_takes_all_shipped_rules_and_refuses_bad_ones() {
    let schema = schema();
    let mut files = Vec::new();
    rule_files(std::path::Path::new("rules"), &mut files);
    assert!(files.len() >= 10, "{files:?}");
    for path in files {
        let text = std::fs::read_to_string(&path).expect("text");
        let errors: Vec<String> = schema
            .iter_errors(&in_json(&text))
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        assert!(errors.is_empty(), "{}: {errors:?}", path.display());
    }
    for bad in [
        "rulez: []",
        "rules: [{steps: [{name: a, match: {kind: x}}]}]",
        "rules: [{id: a}]",
        "rules: [{id: a, steps: []}]",
        "rules: [{id: a, severty: high, steps: [{name: a, match: {kind: x}}]}]",
        "rules: [{id: a, severity: hihg, steps: [{name: a, match: {kind: x}}]}]",
        "rules: [{id: a, window: 5, steps: [{name: a, match: {kind: x}}]}]",
        "rules: [{id: a, steps: [{name: a, match: {sorce: x}}]}]",
        "rules: [{id: a, steps: [{name: a, match: {kind: x, not: {kinds: y}}}]}]",
        "rules: [{id: a, steps: [{name: a, match: {field_exists: {a: maybe}}}]}]",
        "tests: [{name: a, events: []}]",
    ] {
        assert!(!schema.is_valid(&in_json(bad)), "{bad}");
    }
}
