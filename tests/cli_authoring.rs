//! The commands around writing a rule: `new`, `fmt`, `schema`, `convert`.

mod support;

use support::cli::{check, file, folder, run};

const PATTERNS: [&str; 8] = ["sequence", "all-of", "count", "distinct", "sum", "first-seen", "join", "chain"];

#[test]
fn every_new_rule_passes_check_and_its_own_tests_and_is_laid_out() {
    let dir = folder();
    for pattern in PATTERNS {
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

const EQL: &str = r#"
sequence by host.id with maxspan=1m
  [process where event.type == "start" and process.name : ("cmd.exe", "power*.exe") and not user.id in ("S-1-5-18", "S-1-5-19")] by process.entity_id
  [network where destination.port >= 1024 and not cidrMatch(destination.ip, "10.0.0.0/8", "192.168.0.0/16")] by process.parent.entity_id
  [file where length(file.name) > 30 or file.extension != null] with runs=2
  until [process where event.type == "end"]
"#;

#[test]
fn an_eql_sequence_becomes_a_rule_that_passes_check() {
    let dir = folder();
    let eql = file(dir.path(), "suspicious_shell.eql", EQL);
    let (code, out, err) = run(&["convert", &eql]);
    assert_eq!(code, 0, "{err}");
    for part in [
        "  - id: suspicious_shell\n",
        "    window: 1m\n    ordered: true\n    by: [host.id, process.entity_id]\n",
        "\"process.name|nocase\": [cmd.exe, \"power*.exe\"]",
        "field_cidr: {destination.ip: [\"10.0.0.0/8\", \"192.168.0.0/16\"]}",
        "by: {process.entity_id: process.parent.entity_id}",
        "min_count: 2",
    ] {
        assert!(out.contains(part), "{part:?} in\n{out}");
    }
    for left_out in ["not carried over: the function length", "not carried over: until"] {
        assert!(err.contains(left_out) && out.contains(&format!("# {left_out}")), "{err}");
    }
    let converted = file(dir.path(), "rule.yaml", &out);
    let (code, _, err) = run(&["check", &converted]);
    assert_eq!(code, 0, "{err}\n{out}");
    assert_eq!(run(&["convert", "--strict", &eql]).0, 1);
    let wrong = file(dir.path(), "wrong.eql", "process were x == 1");
    check(&["convert", &wrong], 3, &["expected `where`"]);
}

#[test]
fn a_converted_query_finds_what_the_query_means() {
    let dir = folder();
    let eql = file(dir.path(), "q.eql", "process where process.name : \"CMD.exe\" and user.name != \"root\"");
    let converted = file(dir.path(), "rule.yaml", &run(&["convert", &eql]).1);
    let event = |name: &str, user: &str, second: u32| {
        format!(
            "{{\"source\":\"s\",\"kind\":\"k\",\"ts\":\"2026-01-01T00:00:{second:02}Z\",\"fields\":{{\"event.category\":\"process\",\
             \"host.id\":\"h{second}\",\"process.name\":\"{name}\"{user}}}}}\n"
        )
    };
    let lines = [
        event("cmd.EXE", ",\"user.name\":\"ann\"", 1),
        event("cmd.exe", ",\"user.name\":\"root\"", 2),
        event("cmd.exe", "", 3),
        event("sh", ",\"user.name\":\"ann\"", 4),
    ];
    let events = file(dir.path(), "e.ndjson", &lines.concat());
    let (_, out, err) = run(&["backtest", "--rules", &converted, &events]);
    assert_eq!(out.lines().count(), 1, "{out}\n{err}");
    assert!(out.contains("\"h1\""), "{out}");
}

const PANTHER: &str = r#"AnalysisType: correlation_rule
RuleID: "Okta.New.Admin.Then.Export"
DisplayName: "A new admin exports"
Severity: High
Detection:
  - Sequence:
      - ID: Promoted
        RuleID: Okta.Admin.Role.Assigned
      - ID: Exported
        RuleID: Okta.Report.Export
        MinMatchCount: 2
      - ID: Reviewed
        RuleID: Okta.Access.Review
        Absence: true
    Transitions:
      - ID: t
        From: Promoted
        To: Exported
        WithinTimeFrameMinutes: 30
        Match:
          - From: target_user
            To: actor_user
    LookbackWindowMinutes: 90
"#;

#[test]
fn a_correlation_rule_of_panther_becomes_a_rule_that_passes_check() {
    let dir = folder();
    let panther = file(dir.path(), "rule.yml", PANTHER);
    let (code, out, err) = run(&["convert", &panther]);
    assert_eq!(code, 0, "{err}");
    for part in [
        "  - id: Okta.New.Admin.Then.Export\n    title: \"A new admin exports\"\n    severity: high\n    window: 90m\n",
        "    by: [target_user]\n",
        "        match: {kind: Okta.Report.Export, source: panther}\n        by: {target_user: actor_user}\n        min_count: 2\n        max_gap: 30m\n",
    ] {
        assert!(out.contains(part), "{part:?} in\n{out}");
    }
    assert!(err.contains("not carried over: the absence of Reviewed"), "{err}");
    let converted = file(dir.path(), "converted.yaml", &out);
    assert_eq!(run(&["check", &converted]).0, 0);
}
