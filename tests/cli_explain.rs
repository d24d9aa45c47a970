//! `sightline explain`: why, and why not, over a file, over what the server keeps, and of a running worker.

mod support;

use std::net::TcpListener;
use std::process::{Child, Stdio};
use std::time::Duration;

use serde_json::Value;
use support::cli::{check, file, folder, run, sightline};
use support::nats::NatsServer;

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
    let (_, out, _) = run(&["backtest", "--rules", &stage.rules, &stage.events]);
    let message: Value = serde_json::from_str(out.lines().next().expect("an incident")).expect("JSON");
    message["incident"]["id"].as_str().expect("an id").to_owned()
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
        "success: 1 events, takes 1",
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

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_running_worker_and_the_streams_answer_too() {
    let stage = stage();
    let server = NatsServer::start();
    let url = server.url();
    assert_eq!(run(&["--nats-url", &url, "stream", "setup"]).0, 0);
    let port = TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr()).expect("a free port").port();
    let api = format!("127.0.0.1:{port}");
    let state = format!("state.dir={}", stage.dir.path().join("state").display());
    let rules = format!("rules.paths=[{}]", stage.rules);
    let listen = format!("api.listen={api}");
    let arguments = ["run", "--nats-url", &url, "--set", &state, "--set", &rules, "--set", &listen];
    let _worker =
        Running(sightline(&arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it runs"));
    let asked = |more: &[&str]| run(&[&["explain", "--nats-url", &url, "--set", &listen], more].concat());
    let until = |more: &[&str], part: &str| {
        for _ in 0..300 {
            let (code, out, _) = asked(more);
            if code == 0 && out.contains(part) {
                return out;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("{more:?} never says {part:?}: {:?}", asked(more));
    };
    until(&["--worker", "--rule", "brute_force", "--key", "web-01", "--key", "bob"], "no step was satisfied");
    publish(&url);
    let nearly =
        ["--worker", &format!("http://{api}"), "--rule", "brute_force", "--key", "web-01", "--key", "bob"];
    until(&nearly, "1 of 2 steps between 2026-05-08T12:02:00Z and 2026-05-08T12:02:30Z");
    let id = the_incident(&stage);
    let told = until(&["--worker", "--incident", &id], " HIGH  brute_force  host_id=web-01 user=alice");
    assert!(told.contains("    - id: brute_force"), "{told}");
    assert!(asked(&["--worker", "--incident", &"00".repeat(16)]).2.contains("is remembered"));
    assert!(asked(&["--worker", "--rule", "x", "--key", "y"]).2.contains("there is no rule x"));

    let told = until(&["--from-stream", "--incident", &id], "time line");
    assert!(told.contains("failures: 2 events, takes 2"), "{told}");
    let told =
        until(&["--from-stream", "--rule", "brute_force", "--key", "web-01", "--key", "bob"], "nearest: ");
    assert!(told.contains("outcome is \"Success\", expected is \"success\""), "{told}");
}

fn publish(url: &str) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let bus = async_nats::jetstream::new(async_nats::connect(url).await.expect("connected"));
        for line in events().lines() {
            let sent = bus.publish("events.default.edr", line.to_owned().into()).await.expect("sent");
            sent.await.expect("stored");
        }
    });
}
