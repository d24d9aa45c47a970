//! `sightline explain`: why, and why not, over a file, over what the server keeps, and of a running worker.

mod support;

use serde_json::Value;
use support::cli::{check, file, folder, run};
use support::nats::NatsServer;
use support::running::Running;

const RULE: &str = "rules:
  - id: brute_force
    title: Failed logons, then one that succeeds
    severity: high
    window: 10m
    ordered: true
    by: [host_id, user]
    steps:
      - name: failures
        match: {source: edr, kind: logon, field_equals: {outcome: failure}}
        min_count: 2
      - name: success
        match: {source: edr, kind: logon, field_equals: {outcome: success}}
";

fn event(time: &str, user: &str, outcome: &str) -> String {
    format!(
        "{{\"source\":\"edr\",\"kind\":\"logon\",\"ts\":\"2026-05-08T{time}Z\",\"host_id\":\"web-01\",\
         \"user\":\"{user}\",\"fields\":{{\"outcome\":\"{outcome}\"}}}}\n"
    )
}

/// Alice breaks in, Bob nearly does: his success is spelt otherwise. Carol's comes too late. Dan's came before.
fn events() -> String {
    [
        event("12:00:00", "alice", "failure"),
        event("12:00:30", "alice", "failure"),
        event("12:01:00", "alice", "success"),
        event("12:02:00", "bob", "failure"),
        event("12:02:30", "bob", "failure"),
        event("12:03:00", "bob", "Success"),
        event("12:04:00", "carol", "failure"),
        event("12:04:30", "carol", "failure"),
        event("12:14:10", "carol", "success"),
        event("12:20:00", "dan", "success"),
        event("12:20:30", "dan", "failure"),
        event("12:20:40", "dan", "failure"),
    ]
    .concat()
}

struct Stage {
    dir: tempfile::TempDir,
    rules: String,
    events: String,
}

fn stage() -> Stage {
    let dir = folder();
    let rules = file(dir.path(), "rules.yaml", RULE);
    let events = file(dir.path(), "events.ndjson", &events());
    Stage { dir, rules, events }
}

fn why_not(stage: &Stage, more: &[&str], parts: &[&str]) {
    let arguments =
        [&["explain", "--rules", &stage.rules, "--rule", "brute_force"], more, &[&stage.events]].concat();
    let (code, out, err) = run(&arguments);
    assert_eq!(code, 0, "{err}");
    for part in parts {
        assert!(out.contains(part), "{part:?} in:\n{out}");
    }
}

#[test]
fn why_not_names_the_comparison_that_failed() {
    let nearest = "nearest: 2026-05-08T12:03:00Z edr logon (message 6.0): outcome is \"Success\", expected is \"success\"";
    why_not(
        &stage(),
        &["--key", "web-01", "--key", "bob"],
        &["brute_force  host_id=web-01 user=bob", "1 of 2 steps", "missing success: 0 of 1", nearest],
    );
}

#[test]
fn why_not_names_the_time_by_which_the_window_was_missed() {
    let told = "outside of the window by 10s: 2026-05-08T12:14:10Z";
    why_not(&stage(), &["--key", "user=CORP\\Carol", "--key", "host_id=WEB-01"], &[told]);
}

#[test]
fn why_not_names_what_came_in_the_wrong_order() {
    let told = "40s before `failures`: 2026-05-08T12:20:00Z";
    why_not(&stage(), &["--key", "web-01", "--key", "dan"], &[told]);
}

#[test]
fn a_rule_that_fired_says_so_and_one_that_knows_nothing_too() {
    why_not(&stage(), &["--key", "web-01", "--key", "alice"], &["it fired: "]);
    why_not(
        &stage(),
        &["--key", "web-01", "--key", "eve"],
        &["no step was satisfied", "3 of other keys, such as web-01 | "],
    );
}

#[test]
fn an_event_is_told_what_it_is_to_each_step() {
    let steps = [
        "step failures: not satisfied",
        "outcome is \"Success\", expected is \"failure\"",
        "step success: not satisfied",
    ];
    why_not(&stage(), &["--event", "6.0"], &steps);
    why_not(
        &stage(),
        &["--event", "9"],
        &["step success: satisfied, for host_id=web-01 user=carol", "outside of the window"],
    );
}

#[test]
fn late_evidence_is_named() {
    let stage = stage();
    let late = file(stage.dir.path(), "late.ndjson", &(events() + &event("11:40:00", "dan", "failure")));
    let arguments =
        ["explain", "--rules", &stage.rules, "--rule", "brute_force", "--key", "web-01", "--key", "dan"];
    let (_, out, _) = run(&[&arguments[..], &["--format", "json", &late]].concat());
    let told: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(told["why_not"]["steps"][0]["has"], 2, "{out}");
    let tight = RULE.replace("window: 10m", "window: 10m\n    late: 0s");
    let rules = file(stage.dir.path(), "tight.yaml", &tight.replace("min_count: 2", "min_count: 3"));
    let (_, out, _) = run(&[
        "explain",
        "--rules",
        &rules,
        "--rule",
        "brute_force",
        "--key",
        "web-01",
        "--key",
        "dan",
        &late,
    ]);
    assert!(out.contains("came too late by 30m 40s: 2026-05-08T11:40:00Z"), "{out}");
}

#[test]
fn a_question_that_makes_no_sense_ends_with_3() {
    let stage = stage();
    let ask = |more: &[&str], words: &[&str]| {
        check(&[&["explain", "--rules", &stage.rules], more, &[&stage.events]].concat(), 3, words);
    };
    ask(&["--rule", "brute_forse", "--key", "x"], &["did you mean brute_force?"]);
    ask(&["--rule", "brute_force", "--key", "x"], &["a key of 1 parts, and the rule's has 2: host_id, user"]);
    ask(&["--rule", "brute_force"], &["required"]);
    ask(&["--incident", "12"], &["expected 32 hexadecimal digits"]);
    ask(&["--rule", "brute_force", "--event", "x"], &["expected 32 hexadecimal digits, or a place"]);
    check(
        &["explain", "--rules", &stage.rules, "--rule", "brute_force", "--key", "a", "--key", "b"],
        3,
        &["name files"],
    );
    let nobody = "00".repeat(16);
    check(
        &["explain", "--rules", &stage.rules, "--incident", &nobody, &stage.events],
        1,
        &["there is no incident"],
    );
}

fn the_incident(stage: &Stage) -> String {
    an_incident_of(stage, "")
}

/// The first incident that a backtest finds, of a rule that is named so, or of any.
fn an_incident_of(stage: &Stage, rule: &str) -> String {
    let (_, out, _) = run(&["backtest", "--rules", &stage.rules, &stage.events]);
    let incident = |line: &str| -> Option<String> {
        let message: Value = serde_json::from_str(line).expect("JSON");
        let incident = &message["incident"];
        let is_of = rule.is_empty() || incident["rule"]["id"] == rule;
        is_of.then(|| incident["id"].as_str().expect("an id").to_owned())
    };
    out.lines().find_map(incident).expect("an incident")
}

#[test]
fn an_incident_is_told_with_its_time_line_gaps_and_rule() {
    let stage = stage();
    let id = the_incident(&stage);
    let (code, out, err) = run(&["explain", "--rules", &stage.rules, "--incident", &id, &stage.events]);
    assert_eq!(code, 0, "{err}");
    for part in [
        " HIGH  brute_force  host_id=web-01 user=alice",
        "failures: 2 events, takes 2",
        "success: 1 event, takes 1",
        "2026-05-08T12:00:30Z edr web-01 failures: logon  message 2.0",
        "+ 30s",
        "outcome=failure",
        "    - id: brute_force",
    ] {
        assert!(out.contains(part), "{part:?} in:\n{out}");
    }
    let changed = file(stage.dir.path(), "changed.yaml", &RULE.replace("severity: high", "severity: low"));
    let arguments = ["explain", "--rules", &changed, "--format", "json", "--incident", &id, &stage.events];
    let told: Value = serde_json::from_str(&run(&arguments).1).expect("JSON");
    assert_eq!(told["time_line"][1]["gap_micros"], 30_000_000);
}

#[test]
fn a_running_worker_and_the_streams_answer_too() {
    let stage = stage();
    std::fs::write(&stage.rules, [RULE, QUIET].concat()).expect("written");
    let server = NatsServer::start();
    let worker = Running::start(&server, stage.dir.path(), &stage.rules);
    let of_bob = ["--rule", "brute_force", "--key", "web-01", "--key", "bob"];
    let until = |more: &[&str], part: &str| worker.until(&[&["explain"], more].concat(), &[part]);
    until(&[&["--worker"], &of_bob[..]].concat(), "no step was satisfied");
    worker.publish(&events());
    let api = format!("http://{}", worker.api);
    let nearly = "1 of 2 steps between 2026-05-08T12:02:00Z and 2026-05-08T12:02:30Z";
    until(&[&["--worker", &api], &of_bob[..]].concat(), nearly);
    let id = an_incident_of(&stage, "brute_force");
    let told = until(&["--worker", "--incident", &id], " HIGH  brute_force  host_id=web-01 user=alice");
    assert!(told.contains("    - id: brute_force"), "{told}");
    let asked = |more: &[&str]| worker.asked(&[&["explain", "--worker"], more].concat()).2;
    assert!(asked(&["--incident", &"00".repeat(16)]).contains("is remembered"));
    assert!(asked(&["--rule", "x", "--key", "y"]).contains("there is no rule x"));

    let told = until(&["--from-stream", "--incident", &id], "time line");
    assert!(told.contains("failures: 2 events, takes 2"), "{told}");
    let told = until(&[&["--from-stream"], &of_bob[..]].concat(), "nearest: ");
    assert!(told.contains("outcome is \"Success\", expected is \"success\""), "{told}");

    let told = until(&["--from-stream", "--format", "json", "--incident", &id], "time_line");
    let told: Value = serde_json::from_str(&told).expect("JSON");
    let first = told["time_line"][0]["event"].as_str().expect("an event's id");
    let event_asked = ["--from-stream", "--rule", "brute_force", "--event", first];
    until(&event_asked, "step failures: satisfied, for host_id=web-01 user=alice");

    // What an incident that ended has used up counts for no other one.
    assert_eq!(worker.asked(&["incident", "set", &id, "resolved"]).0, 0);
    worker.publish(&event("12:05:00", "alice", "success"));
    let of_alice = ["--rule", "brute_force", "--key", "web-01", "--key", "alice"];
    let spent = format!("was evidence of {id}, which ended: 2026-05-08T12:00:");
    until(&[&["--from-stream"], &of_alice[..]].concat(), &spent);
    until(&[&["--worker"], &of_alice[..]].concat(), &spent);

    // And where the rule suppresses, what is complete by itself is not said.
    let quiet = an_incident_of(&stage, "quiet");
    assert_eq!(worker.asked(&["incident", "set", &quiet, "resolved"]).0, 0);
    worker.publish(&(event("12:06:00", "alice", "failure") + &event("12:06:30", "alice", "failure")));
    let silent = format!("nothing is said: {quiet} ended, and the rule is silent until 2026-05-08T13:00:30Z");
    until(&["--from-stream", "--rule", "quiet", "--key", "alice"], &silent);
    until(&["--worker", "--rule", "quiet", "--key", "alice"], &silent);
}

/// Says nothing for an hour after one of its incidents ended.
const QUIET: &str = "  - id: quiet
    by: user
    suppress: {for: 1h}
    steps: [{name: failures, match: {kind: logon, field_equals: {outcome: failure}}, min_count: 2}]
";

const MEASURES: &str = "rules:
  - id: sent
    window: 1h
    late: 1m
    steps: [{name: out, match: {kind: flow}, sum: {field: bytes, gte: 1000000}}]
  - id: slow
    window: 10m
    late: 1m
    steps: [{name: answers, match: {kind: http}, percentile: {field: ms, percent: 90, gt: 500}}]
  - id: average
    window: 10m
    late: 1m
    steps: [{name: answers, match: {kind: http}, avg: {field: ms, lt: 5}}]
  - id: few
    window: 10m
    late: 1m
    steps: [{name: logons, match: {kind: http}, count: {gte: 2, lt: 3}}]
";

fn measured(at: &str, kind: &str, field: &str, value: &str) -> String {
    format!(
        "{{\"source\":\"s\",\"kind\":\"{kind}\",\"ts\":\"2026-05-08T{at}Z\",\"host_id\":\"h\",\"fields\":{{\"{field}\":{value}}}}}\n"
    )
}

#[test]
fn what_is_measured_is_told_with_the_value_that_it_reached_and_the_one_that_it_takes() {
    let dir = folder();
    let rules = file(dir.path(), "rules.yaml", MEASURES);
    let lines = [
        measured("10:00:00", "flow", "bytes", "400000"),
        measured("10:10:00", "flow", "bytes", "350000.5"),
        // One that is alone, hours later, is not what came nearest.
        measured("15:00:00", "flow", "bytes", "10"),
        measured("15:00:01", "flow", "bytes", "\"much\""),
        measured("10:00:00", "http", "ms", "10"),
        measured("10:00:01", "http", "ms", "20"),
        measured("10:00:02", "http", "ms", "120"),
    ];
    let events = file(dir.path(), "events.ndjson", &lines.concat());
    let told = |rule: &str, parts: &[&str]| {
        let (code, out, err) = run(&["explain", "--rules", &rules, "--rule", rule, "--key", "h", &events]);
        assert_eq!(code, 0, "{err}");
        for part in parts {
            assert!(out.contains(part), "{part:?} in:\n{out}");
        }
        out
    };
    let sum = "out: sum of bytes is 750000.5 over 2 events, takes at least 1000000 (249999.5 away)";
    let out = told("sent", &[&format!("missing {sum}"), &format!("step {sum}, 2026-05-08T10:00:00Z, ")]);
    assert!(out.contains("bytes is \"much\", expected a number to measure"), "{out}");
    told(
        "slow",
        &["missing answers: 90th percentile of ms is 100 over 3 events, takes more than 500 (400 away)"],
    );
    told("average", &["missing answers: average of ms is 10 over 1 event, takes less than 5 (5 away)"]);
    told("few", &["step logons: number of events is 2 over 2 events, takes at least 2 and less than 3"]);
}

/// What is told of the only incident of these events.
fn told_of(rules: &str, events: &[String]) -> String {
    let dir = folder();
    let rules = file(dir.path(), "rules.yaml", rules);
    let events = file(dir.path(), "events.ndjson", &events.concat());
    let stage = Stage { rules, events, dir };
    let id = the_incident(&stage);
    let (code, out, err) = run(&["explain", "--rules", &stage.rules, "--incident", &id, &stage.events]);
    assert_eq!(code, 0, "{err}");
    out
}

#[test]
fn an_incident_tells_what_was_measured_over_which_events_and_what_the_rule_takes() {
    let flow = |at: &str, bytes: &str| measured(at, "flow", "bytes", bytes);
    let mut events =
        vec![flow("10:00:00", "400000"), flow("10:10:00", "350000.5"), flow("10:20:00", "300000")];
    let first = "out: sum of bytes is 1050000.5 over 3 events from 2026-05-08T10:00:00Z to 2026-05-08T10:20:00Z, takes at \
                 least 1000000";
    let out = told_of(MEASURES, &events);
    for part in [first, "2026-05-08T10:10:00Z s h out: flow", "bytes=350000.5"] {
        assert!(out.contains(part), "{part:?} in:\n{out}");
    }
    assert!(!out.contains("takes 1\n") && !out.contains("with the last match"), "{out}");
    events.push(flow("11:05:00", "900000"));
    let out = told_of(MEASURES, &events);
    let last =
        "with the last match it is 1550000.5 over 3 events from 2026-05-08T10:10:00Z to 2026-05-08T11:05:00Z";
    assert!(out.contains(first) && out.contains(last), "{out}");

    let answers = ["10", "20", "1200"].map(|ms| measured("10:00:00", "http", "ms", ms));
    let out = told_of(MEASURES, &answers);
    let slow =
        "answers: 90th percentile of ms is 964 over 3 events at 2026-05-08T10:00:00Z, takes more than 500";
    assert!(out.contains(slow), "{out}");
}

#[test]
fn an_incident_tells_from_when_to_when_a_step_did_not_happen() {
    let out = told_of(ABSENT, &[measured("10:00:00", "asked", "x", "1")]);
    let absent = "answered: did not happen between 2026-05-08T10:00:00Z and 2026-05-08T10:04:00Z";
    assert!(out.contains("asked: 1 event, takes 1") && out.contains(absent), "{out}");
}

#[test]
fn a_part_of_the_key_that_may_be_missing_is_asked_for_by_nothing() {
    let dir = folder();
    let rule = "rules: [{id: r, by: [host_id, {name: user, optional: true}], steps: [{name: a, match: {kind: k}, min_count: 2}]}]\n";
    let rules = file(dir.path(), "rules.yaml", rule);
    let events = file(dir.path(), "events.ndjson", &measured("10:00:00", "k", "x", "1"));
    let ask = |user: &str| {
        run(&["explain", "--rules", &rules, "--rule", "r", "--key", "h", "--key", user, &events])
    };
    let (code, out, err) = ask("");
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("missing a: 1 of 2"), "{out}");
    assert!(ask("ann").1.contains("missing a: 0 of 2"), "{out}");
}

const ABSENT: &str = "rules:
  - id: unanswered
    late: 1m
    ordered: true
    steps:
      - {name: asked, match: {source: s, kind: asked}}
      - {name: answered, match: {source: s, kind: answered}, absent: true, within: 4m}
";

#[test]
fn a_rule_that_waits_for_its_deadline_says_so() {
    let dir = folder();
    let rules = file(dir.path(), "rules.yaml", ABSENT);
    let events = file(dir.path(), "events.ndjson", &measured("10:00:00", "asked", "x", "1"));
    let (code, out, err) =
        run(&["explain", "--rules", &rules, "--rule", "unanswered", "--key", "h", &events]);
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("nothing is missing: it waits for 5m behind its last event"), "{out}");
}
