//! `sightline backtest --compare`: what a change of rules would have done.

mod support;

use support::cli::{check, file, folder, run};
use support::nats::NatsServer;

const EVENTS: &str = "tests/data/demo.ndjson";

/// The shipped rules with this put in the place of that, in a folder of their own.
fn changed(dir: &std::path::Path, from: &str, to: &str) -> String {
    let text = std::fs::read_to_string("rules/intrusion.yaml").expect("the rules");
    assert!(text.contains(from), "{from}");
    file(dir, "intrusion.yaml", &text.replacen(from, to, 1))
}

#[test]
fn the_same_rules_find_the_same() {
    let rules = "rules/intrusion.yaml";
    let (code, out, _) = run(&["backtest", "--fail-on-change", "--compare", rules, rules, EVENTS]);
    assert_eq!((code, out.lines().last()), (0, Some("0 gained, 0 lost, 0 changed, 23 the same")));
}

#[test]
fn a_higher_threshold_loses_a_higher_severity_changes_and_a_new_rule_gains() {
    let dir = folder();
    let new =
        changed(dir.path(), "distinct: {field: user, at_least: 5}", "distinct: {field: user, at_least: 500}");
    let arguments = ["backtest", "--compare", "rules/intrusion.yaml", &new, EVENTS];
    let (code, out, _) = run(&arguments);
    assert_eq!(code, 0);
    assert!(out.contains("LOST     medium password_spray  host_id="), "{out}");
    assert!(
        out.contains("LOST     critical spray_roast_fan_out  user=pgustavo"),
        "what builds on it goes with it:\n{out}"
    );
    assert!(out.contains("rules changed: password_spray\n"), "{out}");
    check(&[&arguments[..], &["--fail-on-change"]].concat(), 1, &[]);
    let (_, other_way, _) = run(&["backtest", "--compare", &new, "rules/intrusion.yaml", EVENTS]);
    assert_eq!(other_way.matches("GAINED").count(), out.matches("LOST  ").count());

    let new = changed(dir.path(), "severity: high\n    window: 60s", "severity: low\n    window: 60s");
    let (_, out, _) =
        run(&["backtest", "--format", "ndjson", "--compare", "rules/intrusion.yaml", &new, EVENTS]);
    let report: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(report["rules"]["changed"], serde_json::json!(["phish_host_visited"]));
    let changed = report["changed"].as_array().expect("a list");
    assert!(!changed.is_empty());
    for changed in changed {
        let difference = serde_json::json!([{"what": "severity", "old": "high", "new": "low"}]);
        assert_eq!(
            (&changed["incident"]["rule"]["id"], &changed["differences"]),
            (&"phish_host_visited".into(), &difference)
        );
    }
}

#[test]
fn an_incident_that_begins_at_another_moment_is_one_that_changed() {
    let dir = folder();
    let rule = |count: u32| {
        format!("rules:\n  - id: r\n    steps: [{{name: s, match: {{kind: k}}, min_count: {count}}}]\n")
    };
    let (old, new) = (file(dir.path(), "old.yaml", &rule(2)), file(dir.path(), "new.yaml", &rule(3)));
    let event = |second: u32| {
        format!(
            "{{\"source\":\"s\",\"kind\":\"k\",\"host_id\":\"a\",\"ts\":\"2026-01-01T00:00:0{second}Z\"}}\n"
        )
    };
    let events = file(dir.path(), "events.ndjson", &(0..4).map(event).collect::<String>());
    let (_, out, _) = run(&["backtest", "--compare", &old, &new, &events]);
    assert!(
        out.contains("0 gained, 0 lost, 0 changed, 1 the same") || out.contains("1 changed, 0 the same"),
        "{out}"
    );
    assert!(!out.contains("GAINED"), "{out}");
}

#[test]
fn the_retained_stream_is_as_good_as_a_file() {
    let server = NatsServer::start();
    let url = server.url();
    assert_eq!(run(&["--nats-url", &url, "stream", "setup"]).0, 0);
    let lines = std::fs::read_to_string(EVENTS).expect("the events");
    let some: Vec<&str> = lines.lines().take(1_500).collect();
    let dir = folder();
    let part = file(dir.path(), "part.ndjson", &some.join("\n"));
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let bus = async_nats::jetstream::new(async_nats::connect(&url).await.expect("connected"));
        let rules = bus.publish("control.rules", "not read".into()).await.expect("sent");
        rules.await.expect("stored");
        for line in &some {
            let event: serde_json::Value = serde_json::from_str(line).expect("an event");
            let subject = format!("events.default.{}", event["source"].as_str().expect("a source"));
            bus.publish(subject, line.to_string().into()).await.expect("sent").await.expect("stored");
        }
    });
    let count = |out: &str| out.lines().filter(|line| line.contains("\"opened\"")).count();
    let (code, from_file, err) = run(&["backtest", "--rules", "rules", &part]);
    assert_eq!(code, 0, "{err}");
    let (code, from_stream, err) =
        run(&["--nats-url", &url, "backtest", "--rules", "rules", "--from-stream"]);
    assert_eq!(code, 0, "{err}");
    assert!(count(&from_file) > 0);
    assert_eq!(count(&from_stream), count(&from_file));
    let rules = "rules/intrusion.yaml";
    let (code, out, err) = run(&["--nats-url", &url, "backtest", "--compare", rules, rules, "--from-stream"]);
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("0 gained, 0 lost, 0 changed"), "{out}");
    check(&["backtest", "--rules", rules, "--from-stream", EVENTS], 3, &["leave one out"]);
}
