//! `sightline test` as people and build servers use it.

mod support;

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use support::cli::{check, file, folder, run, sightline};

const RULE: &str = r#"rules:
  - id: brute_force
    severity: high
    window: 10m
    ordered: true
    by: [host_id, user]
    steps:
      - name: failures
        match: {source: edr, kind: logon, field_equals: {outcome: failure}}
        min_count: 3
      - name: success
        match: {source: edr, kind: logon, field_equals: {outcome: success}}
    tests:
      - name: three failures and a success
        events:
          - {at: 0s, as: f, source: edr, kind: logon, host_id: web-01, user: 'CORP\alice', fields: {outcome: failure}, times: 3, every: 5s}
          - {at: 1m, as: ok, source: edr, kind: logon, host_id: web-01, user: alice, fields: {outcome: success}}
        expect:
          - {key: {host_id: web-01, user: Alice}, count: COUNT, evidence: {failures: 3, success: [ok]}}
"#;
const SILENT: &str = "rule: brute_force
tests:
  - name: two failures
    events:
      - {at: 0s, as: f, source: edr, kind: logon, host_id: web-01, user: alice, fields: {outcome: failure}, times: 2, every: 5s}
      - {like: f, at: 1m, fields: {outcome: success}}
    expect: none
";

#[test]
fn tests_in_a_rule_and_beside_it_pass() {
    let dir = folder();
    file(dir.path(), "rule.yaml", &RULE.replace("COUNT", "4"));
    file(dir.path(), "rule.test.yaml", SILENT);
    let path = dir.path().to_str().expect("UTF-8");
    let (code, out, err) = run(&["test", "--require-coverage", path]);
    assert_eq!((code, &*out, &*err), (0, "2 tests of 1 rule of 1: 2 passed, 0 failed\n", ""));
    let (_, out, _) = run(&["test", "--verbose", "--only", "two", path]);
    assert!(out.starts_with("ok   brute_force: two failures\n"), "{out}");
    // The same folder still is rules to everybody else.
    check(&["check", path], 0, &[]);
}

#[test]
fn a_failure_shows_expected_and_found_and_ends_with_1() {
    let dir = folder();
    let path = file(dir.path(), "rule.yaml", &RULE.replace("COUNT", "5"));
    let (code, out, _) = run(&["test", &path]);
    assert_eq!(code, 1, "{out}");
    let words =
        ["FAIL brute_force: three failures and a success", "rule.yaml:14", "count: expected 5, found 4"];
    for part in words {
        assert!(out.contains(part), "{part:?} in {out}");
    }
    assert!(out.contains("no test that stays silent: brute_force"), "{out}");
}

#[test]
fn what_is_missing_comes_with_the_reason() {
    let dir = folder();
    let rule = RULE
        .replace("COUNT", "4")
        .replace("{outcome: success}}\n        expect", "{outcome: Success}}\n        expect");
    let path = file(dir.path(), "rule.yaml", &rule);
    let (code, out, _) = run(&["test", &path]);
    assert_eq!(code, 1, "{out}");
    for part in [
        "found     no such incident",
        "1 of 2 steps between +0s and +10s",
        "missing success: 0 of 1",
        "nearest: +1m edr logon (message 4.0): outcome is \"Success\", expected is \"success\"",
    ] {
        assert!(out.contains(part), "{part:?} in {out}");
    }
}

#[test]
fn an_incident_that_nobody_expects_fails() {
    let dir = folder();
    file(dir.path(), "rule.yaml", &RULE.replace("COUNT", "4").replace("min_count: 3", "min_count: 2"));
    file(dir.path(), "rule.test.yaml", SILENT);
    let (code, out, _) = run(&["test", "--only", "two", dir.path().to_str().expect("UTF-8")]);
    assert_eq!(code, 1);
    assert!(out.contains("expected  none\n     found     high incident of brute_force"), "{out}");
}

#[test]
fn programs_get_json_and_build_servers_junit() {
    let dir = folder();
    let path = file(dir.path(), "rule.yaml", &RULE.replace("COUNT", "5"));
    let junit = dir.path().join("out.xml");
    let (code, out, _) = run(&["test", "--format", "json", "--junit", junit.to_str().expect("UTF-8"), &path]);
    assert_eq!(code, 1);
    let report: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!((&report["ok"], &report["failed"]), (&false.into(), &1.into()));
    assert_eq!(report["results"][0]["line"], 14);
    assert_eq!(report["results"][0]["failures"][0]["differs"][0]["found"], "4");
    assert_eq!(report["coverage"][0]["steps"][0]["satisfied"], 3);
    let xml = std::fs::read_to_string(junit).expect("written");
    assert!(xml.contains("<testsuite name=\"brute_force\" tests=\"1\" failures=\"1\">"), "{xml}");
    assert!(xml.contains("count: expected 5, found 4"), "{xml}");
}

#[test]
fn all_that_is_wrong_with_tests_is_said_at_once() {
    let dir = folder();
    let tests = "rule: brute_forse
tests:
  - name: one
    evnts: []
    expect: none
  - name: two
    events: [{source: edr}, {at: 5, source: edr}, {at: 0s}]
    expect: [{severity: hihg}]
";
    file(dir.path(), "rule.yaml", &RULE.replace("COUNT", "4"));
    let path = file(dir.path(), "rule.test.yaml", tests);
    check(
        &["test", dir.path().to_str().expect("UTF-8")],
        2,
        &[
            &path,
            "unknown key `evnts`",
            "a test without `events`",
            "an event without `at`",
            "a number without a unit",
            "an event without `source`",
            "did you mean `high`?",
        ],
    );
    let tests =
        "rule: brute_forse\ntests:\n  - {name: one, events: [], expect: [{evidence: {failure: 1}}]}\n";
    file(dir.path(), "rule.test.yaml", tests);
    let words = ["there is no rule `brute_forse`", "did you mean `brute_force`?"];
    check(&["test", dir.path().to_str().expect("UTF-8")], 2, &words);
}

#[test]
fn a_step_that_no_test_satisfies_is_told() {
    let dir = folder();
    let path = file(dir.path(), "rule.yaml", RULE.split("    tests:").next().expect("a rule"));
    let (code, out, _) = run(&["test", &path]);
    assert_eq!(
        (code, &*out),
        (0, "0 tests of 0 rules of 1: 0 passed, 0 failed\nno test at all: brute_force\n")
    );
    assert_eq!(run(&["test", "--require-coverage", &path]).0, 1);
}

#[test]
fn watching_runs_again_when_a_file_changes() {
    let dir = folder();
    let path = file(dir.path(), "rule.yaml", &RULE.replace("COUNT", "5"));
    let mut child = sightline(&["test", "--watch", &path])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("it runs");
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let mut until = |part: &str| {
        let found = lines.by_ref().map(|line| line.expect("text")).find(|line| line.contains(part));
        found.expect("it goes on saying something")
    };
    until("0 passed, 1 failed");
    std::fs::write(&path, RULE.replace("COUNT", "4")).expect("written");
    until("1 passed, 0 failed");
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::INT)
        .expect("our own child");
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
}

#[test]
fn every_shipped_rule_has_tests_that_fire_and_that_stay_silent() {
    let (code, out, err) = run(&["test", "--require-coverage", "rules"]);
    assert_eq!(code, 0, "{out}\n{err}");
}
