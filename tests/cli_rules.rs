//! Rules that change under a running worker, and what is said of rules before they do.

mod support;

use std::path::Path;

use serde_json::Value;
use support::cli::{check, file, folder, run};
use support::nats::NatsServer;
use support::running::Running;

/// A rule that takes so many events of a kind, on a host.
fn rule(id: &str, kind: &str, count: u32) -> String {
    format!(
        "  - id: {id}\n    window: 1h\n    steps: [{{name: s, match: {{kind: {kind}}}, min_count: {count}}}]\n"
    )
}

fn rules(dir: &Path, name: &str, of: &[String]) -> String {
    file(dir, name, &format!("rules:\n{}", of.concat()))
}

fn event(kind: &str, second: u32) -> String {
    format!(
        "{{\"source\":\"edr\",\"kind\":\"{kind}\",\"host_id\":\"h\",\"ts\":\"2026-01-01T00:00:{second:02}Z\"}}\n"
    )
}

/// What a worker says of its rules: id, since which message, keys.
fn listed(worker: &Running) -> Vec<(String, u64, u64)> {
    let (code, out, err) = worker.asked(&["rules", "list", "--format", "json"]);
    assert_eq!(code, 0, "{err}");
    let rules: Vec<Value> = serde_json::from_str(&out).expect("JSON");
    let number = |rule: &Value, name: &str| rule[name].as_u64().expect("a number");
    let line = |rule: &Value| {
        (rule["id"].as_str().expect("an id").to_owned(), number(rule, "since_position"), number(rule, "keys"))
    };
    rules.iter().map(line).collect()
}

#[test]
fn published_rules_take_effect_in_a_running_worker_and_are_listed_with_their_place() {
    let dir = folder();
    let server = NatsServer::start();
    let first = rules(dir.path(), "first.yaml", &[rule("keep", "a", 2), rule("change", "b", 3)]);
    let worker = Running::start(&server, dir.path(), &first);
    worker.until(&["rules", "list"], &["keep", "change", "since message"]);
    worker.publish(&(event("a", 1) + &event("b", 1) + &event("b", 2)));
    worker.until(&["rules", "list", "--format", "json"], &["\"keys\":1"]);
    let (keep, change) = match listed(&worker).as_slice() {
        [(_, keep, _), (_, change, _)] => (*keep, *change),
        other => panic!("{other:?}"),
    };
    assert_eq!(keep, change, "both came with the first rules");

    // Wrong rules never get into the log, and change nothing.
    let wrong = rules(dir.path(), "wrong.yaml", &[rule("keep", "a", 0)]);
    let publish = |more: &[&str]| worker.asked(&[&["rules", "publish"], more].concat());
    let (code, out, err) = publish(&[&wrong]);
    assert_eq!((code, &*out), (2, ""), "{err}");
    assert!(err.contains("wrong.yaml:4:"), "{err}");

    // Warm: the two events that are in the log count for what is new, and the rule that stays keeps its place.
    let second = rules(
        dir.path(),
        "second.yaml",
        &[rule("keep", "a", 2), rule("change", "b", 4), rule("new", "b", 3)],
    );
    let (code, out, err) = publish(&["--warm", &second]);
    assert_eq!(code, 0, "{err}");
    let seq: u64 = out
        .strip_prefix("stored as EVENTS ")
        .and_then(|rest| rest.split(',').next())
        .and_then(|seq| seq.parse().ok())
        .unwrap_or_else(|| panic!("{out}"));
    assert!(out.ends_with(&format!("{seq}, to be warmed from 1 on\n")), "{out}");
    assert_eq!(publish(&["--warm", &second]).1, "the log has these rules already\n");
    worker.until(&["rules", "list"], &["new"]);
    let line = |id: &str, since: u64| (id.to_owned(), since, 1);
    assert_eq!(listed(&worker), [line("keep", keep), line("change", seq), line("new", seq)]);
    worker.publish(&event("b", 3));
    worker.until(&["explain", "--worker", "--rule", "new", "--key", "h"], &["it fired: "]);
    worker.until(&["explain", "--worker", "--rule", "change", "--key", "h"], &["missing s: 3 of 4"]);

    // Cold: what changes remembers nothing of the past.
    let third = rules(dir.path(), "third.yaml", &[rule("keep", "a", 2), rule("change", "b", 3)]);
    let (code, out, err) = publish(&[&third]);
    assert_eq!(code, 0, "{err}");
    assert!(out.starts_with("stored as EVENTS ") && !out.contains("warmed"), "{out}");
    let seq: u64 = out.trim_start_matches("stored as EVENTS ").trim().parse().expect("a place");
    for _ in 0..600 {
        if listed(&worker).len() == 2 {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    let places: Vec<(String, u64)> = listed(&worker).into_iter().map(|(id, since, _)| (id, since)).collect();
    assert_eq!(places, [("keep".to_owned(), keep), ("change".to_owned(), seq)]);
    worker.publish(&event("b", 4));
    worker.until(&["explain", "--worker", "--rule", "change", "--key", "h"], &["missing s: 1 of 3"]);
    worker.publish(&event("a", 5));
    worker.until(&["explain", "--worker", "--rule", "keep", "--key", "h"], &["it fired: "]);
}

/// Waits until the first rule is one that came behind that message.
fn until_newer(worker: &Running, since: u64) {
    for _ in 0..600 {
        if listed(worker)[0].1 > since {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    panic!("the rules are those of {since} still");
}

/// A hash that a list has, in a file beside the rules.
const LISTED: &str = "lists: {bad: {file: bad.txt}}
rules: [{id: listed, window: 1h, steps: [{name: s, match: {field_equals: {'sha256|list': bad}}, min_count: 2}]}]
";

#[test]
fn a_worker_that_is_hung_up_on_reads_its_rules_and_lists_again_and_keeps_them_where_they_are_wrong() {
    let dir = folder();
    let server = NatsServer::start();
    file(dir.path(), "bad.txt", "aa\n");
    let rules = file(dir.path(), "rules.yaml", LISTED);
    let worker = Running::start(&server, dir.path(), &rules);
    worker.until(&["rules", "list"], &["listed"]);
    let seen = |hash: &str, second: u32| {
        event("seen", second).replace("\"ts\"", &format!("\"fields\":{{\"sha256\":\"{hash}\"}},\"ts\""))
    };
    worker.publish(&(seen("aa", 1) + &seen("bb", 2)));
    let asked = ["explain", "--worker", "--rule", "listed", "--key", "h"];
    worker.until(&asked, &["missing s: 1 of 2"]);
    let (_, since, _) = listed(&worker).remove(0);

    // A changed list: what was seen under the old one stays.
    file(dir.path(), "bad.txt", "aa\nbb\n");
    worker.hang_up();
    until_newer(&worker, since);
    worker.publish(&seen("bb", 3));
    worker.until(&asked, &["it fired: "]);
    let (_, since, _) = listed(&worker).remove(0);

    // Rules that cannot be used stay out of the log; the next that can are in it.
    file(dir.path(), "rules.yaml", &LISTED.replace("min_count: 2", "min_count: 0"));
    worker.hang_up();
    let (code, _, err) = worker.asked(&["rules", "publish", &rules]);
    assert_eq!((code, listed(&worker)[0].1), (2, since), "{err}");
    file(dir.path(), "rules.yaml", &LISTED.replace("min_count: 2", "min_count: 3"));
    worker.hang_up();
    until_newer(&worker, since);
    worker.until(&asked, &["missing s: "]);
}

const WAITING: &str = "rules:
  - id: unanswered
    late: 1m
    ordered: true
    steps:
      - {name: asked, match: {source: edr, kind: asked}}
      - {name: answered, match: {source: edr, kind: answered}, absent: true, within: 4h}
  - id: at_once
    steps: [{name: asked, match: {source: edr, kind: asked}}]
";

#[test]
fn state_shows_how_many_deadlines_a_rule_has_and_when_the_next_one_is_due() {
    let dir = folder();
    let server = NatsServer::start();
    let worker = Running::start(&server, dir.path(), &file(dir.path(), "rules.yaml", WAITING));
    worker.until(&["state"], &["pending", "next due", "unanswered"]);
    let asked = |host: &str| event("asked", 1).replace("\"h\"", &format!("\"{host}\""));
    worker.publish(&(asked("a") + &asked("b")));
    let out = worker.until(&["state", "--format", "json"], &["\"pending\":2"]);
    let state: Value = serde_json::from_str(&out).expect("JSON");
    let rule = |at: usize| &state["rules"][at];
    assert_eq!((rule(0)["id"].as_str(), rule(1)["pending"].as_u64()), (Some("unanswered"), Some(0)), "{out}");
    assert!(rule(1)["next_due"].is_null(), "{out}");
    let next = rule(0)["next_due"].as_str().expect("a time").to_owned();
    // Four hours and a minute of log time, which is the server's clock.
    let next: jiff::Timestamp = next.parse().expect("RFC 3339");
    let left = next.duration_since(jiff::Timestamp::now()).as_secs();
    assert!((4 * 3_600 - 600..=4 * 3_600 + 60).contains(&left), "{left} s to go");
    let told = worker.until(&["state"], &["unanswered"]);
    let line = told.lines().find(|line| line.contains("unanswered")).expect("the rule");
    assert!(line.contains(" 2 ") && line.contains("Z"), "{told}");
}

/// A rule that reads a field which its events do not have, and one that they have.
const MISSPELT: &str = "rules:
  - id: logons
    by: user
    steps: [{name: failed, match: {source: edr, kind: logon, field_equals: {outcom: failure}}}]
";

#[test]
fn check_holds_rules_against_a_sample_of_events() {
    let dir = folder();
    let path = file(dir.path(), "rules.yaml", MISSPELT);
    let event = "{\"source\":\"edr\",\"kind\":\"logon\",\"ts\":\"2026-01-01T00:00:00Z\",\"user\":\"u\",\"fields\":{\"outcome\":\"failure\"}}\n";
    let sample = file(dir.path(), "events.ndjson", event);
    check(&["check", &path], 0, &[]);
    let words = [
        "rules.yaml:4:",
        "no event of the sample has `outcom`, which step `failed` reads",
        "they have `outcome`",
    ];
    check(&["check", "--sample", &sample, &path], 0, &words);
    // A warning fails nobody who did not ask for that.
    check(&["check", "--strict", "--sample", &sample, &path], 1, &words);
    let (_, out, _) = run(&["check", "--format", "json", "--sample", &sample, &path]);
    let report: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(
        (&report["ok"], report["problems"].as_array().map(Vec::len)),
        (&true.into(), Some(1)),
        "{out}"
    );

    let right = file(dir.path(), "right.yaml", &MISSPELT.replace("outcom:", "outcome:"));
    check(&["check", "--strict", "--sample", &sample, &right], 0, &[]);
    let keyless = file(
        dir.path(),
        "keyless.yaml",
        &MISSPELT.replace("outcom:", "outcome:").replace("by: user", "by: host_id"),
    );
    check(
        &["check", "--strict", "--sample", &sample, &keyless],
        1,
        &["the part `host_id` of the key in step `failed`"],
    );
    let elsewhere = file(dir.path(), "elsewhere.yaml", &MISSPELT.replace("source: edr", "source: edrr"));
    check(
        &["check", "--strict", "--sample", &sample, &elsewhere],
        1,
        &["no event of the sample has the source and kind"],
    );
    check(&["check", "--sample", "no/such/file", &path], 1, &["cannot read events from no/such/file"]);
}

#[test]
fn strict_ends_with_1_where_there_are_warnings_and_with_2_where_there_are_errors() {
    let dir = folder();
    let never = "rules:\n  - id: r\n    steps: [{name: a, match: {kind: x, not: {kind: x}}}]\n";
    let never = file(dir.path(), "never.yaml", never);
    check(&["check", &never], 0, &["never.yaml:3:"]);
    check(&["check", "--strict", &never], 1, &["never.yaml:3:"]);
    let wrong = file(dir.path(), "wrong.yaml", "rules:\n  - id: r\n    steps: []\n");
    check(&["check", "--strict", &wrong], 2, &["wrong.yaml:3:"]);
    check(&["check", "--strict", "rules"], 0, &[]);
}
