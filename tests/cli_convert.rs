//! `sightline convert`: rules of others find the same once they are ours.

mod support;

use std::collections::BTreeSet;

use support::cli::{check, file, folder, run};

/// What a backtest finds: rule, key, and the events that are evidence.
fn found(arguments: &[&str], rules: &str, events: &str) -> BTreeSet<String> {
    let (code, out, err) = run(&[&["backtest", "--rules", rules], arguments, &[events]].concat());
    assert_eq!(code, 0, "{err}");
    let incident = |line: &str| {
        let message: serde_json::Value = serde_json::from_str(line).expect("JSON");
        let incident = &message["incident"];
        let ids: Vec<&str> = incident["events"]
            .as_array()
            .expect("evidence")
            .iter()
            .filter_map(|event| event["id"].as_str())
            .collect();
        format!("{} {} {}", incident["rule"], incident["scope"]["key"], ids.join(" "))
    };
    out.lines().map(incident).collect()
}

/// Converts, and makes sure that `check` has nothing to say.
fn converted(dir: &std::path::Path, arguments: &[&str]) -> (String, String) {
    let (code, out, err) = run(&[&["convert"], arguments].concat());
    assert_eq!(code, 0, "{err}");
    let path = file(dir, "converted.yaml", &out);
    let (code, told, said) = run(&["check", &path]);
    assert_eq!(code, 0, "{told}{said}\n{out}");
    assert_eq!(run(&["fmt", "--check", &path]).0, 0, "{out}");
    (path, err)
}

const SIGMA: &str = "tests/data/sigma";

/// The events that ship beside the rules, an hour apart.
fn sigma_events(dir: &std::path::Path) -> String {
    let lines = std::fs::read_to_string(format!("{SIGMA}/events.ndjson")).expect("it ships");
    let event = |(at, line): (usize, &str)| {
        format!(
            "{{\"source\":\"sensor\",\"kind\":\"k\",\"host_id\":\"h\",\"ts\":\"2026-01-{:02}T{:02}:00:00Z\",\"fields\":{line}}}\n",
            1 + at / 24,
            at % 24
        )
    };
    file(dir, "events.ndjson", &lines.lines().enumerate().map(event).collect::<String>())
}

#[test]
fn rules_of_sigmahq_find_the_same_events_once_they_are_converted() {
    let dir = folder();
    let events = sigma_events(dir.path());
    let (path, err) = converted(dir.path(), &[SIGMA]);
    let (theirs, ours) = (found(&[], SIGMA, &events), found(&[], &path, &events));
    assert_eq!(theirs, ours);
    let rules: BTreeSet<&str> = ours.iter().filter_map(|line| line.split(',').next()).collect();
    assert!(ours.len() > 12 && rules.len() == 9, "{} incidents of {} rules", ours.len(), rules.len());
    for part in
        ["not carried over: Uncommon Userinit Child Process: `date`", "Binary Padding - Linux: `simulation`"]
    {
        assert!(err.contains(part), "{err}");
    }
    let head = std::fs::read_to_string(&path).expect("converted");
    assert!(head.starts_with("# not carried over: ") && head.contains("\n    false_positives:"), "{head}");
    assert_eq!(run(&["convert", "--strict", SIGMA]).0, 1);
}

#[test]
fn a_mapping_is_in_what_is_converted_and_is_needed_no_longer() {
    let dir = folder();
    let rule = &format!("{SIGMA}/proc_creation_win_userinit_uncommon_child_processes.yml");
    let mapping = "rules/mappings/sysmon.yaml";
    let event = |at: u32, channel: &str, image: &str| {
        format!(
            "{{\"source\":\"s\",\"kind\":\"k\",\"host_id\":\"h{at}\",\"ts\":\"2026-01-01T{at:02}:00:00Z\",\"fields\":{{\"EventID\":1,\
             \"Channel\":\"{channel}\",\"Image\":\"{image}\",\"ParentImage\":\"C:\\\\x\\\\userinit.exe\"}}}}\n"
        )
    };
    let sysmon = "Microsoft-Windows-Sysmon/Operational";
    let lines = [
        event(1, sysmon, "C:\\\\evil.exe"),
        event(2, "Application", "C:\\\\evil.exe"),
        event(3, sysmon, "C:\\\\Windows\\\\explorer.exe"),
    ];
    let events = file(dir.path(), "events.ndjson", &lines.concat());
    let (path, _) = converted(dir.path(), &["--mapping", mapping, rule]);
    let set = format!("sigma.mapping=[{mapping}]");
    let (theirs, ours) = (found(&["--set", &set], rule, &events), found(&[], &path, &events));
    assert_eq!(theirs, ours);
    assert!(ours.len() == 1 && ours.iter().all(|line| line.contains("\"h1\"")), "{ours:?}");
    // The settings say it where nobody does.
    let by_settings = run(&["convert", "--set", &set, rule]).1;
    assert_eq!(by_settings, std::fs::read_to_string(&path).expect("converted"));
}

const CORRELATIONS: &str = "title: Failed
name: failed
logsource: {product: app}
detection: {selection: {outcome: failure}, condition: selection}
---
title: Logged on
name: logged_on
logsource: {product: app}
detection: {selection: {outcome: success}, condition: selection}
---
title: Guessing
id: guessing
level: high
correlation: {type: event_count, rules: [failed], group-by: [account], timespan: 5m, condition: {gte: 3}}
---
title: Guessed
id: guessed
level: critical
correlation: {type: temporal_ordered, rules: [failed, logged_on], group-by: [account], timespan: 5m}
---
title: Slow
id: slow
correlation: {type: value_percentile, rules: [logged_on], group-by: [account], timespan: 5m, condition: {field: ms, percentile: 50, gt: 500}}
";

#[test]
fn correlations_of_sigma_find_the_same_once_they_are_converted() {
    let dir = folder();
    let rules = file(dir.path(), "correlations.yml", CORRELATIONS);
    let event = |at: u32, outcome: &str, account: &str, ms: u32| {
        format!(
            "{{\"source\":\"s\",\"kind\":\"k\",\"ts\":\"2026-01-01T00:{:02}:{:02}Z\",\"fields\":{{\"outcome\":\"{outcome}\",\
             \"account\":\"{account}\",\"ms\":{ms}}}}}\n",
            at / 60,
            at % 60
        )
    };
    let lines = [
        event(0, "failure", "ann", 1),
        event(10, "failure", "ann", 1),
        event(20, "success", "bob", 900),
        event(30, "failure", "ann", 1),
        event(40, "success", "ann", 20),
        event(1_900, "success", "eve", 1),
    ];
    let events = file(dir.path(), "events.ndjson", &lines.concat());
    let (path, _) = converted(dir.path(), &[&rules]);
    let (theirs, ours) = (found(&[], &rules, &events), found(&[], &path, &events));
    assert_eq!(theirs, ours);
    for rule in ["guessing", "guessed", "slow"] {
        assert!(ours.iter().any(|line| line.contains(&format!("\"{rule}\""))), "{rule} in {ours:?}");
    }
}

#[test]
fn what_sigma_says_and_we_cannot_is_an_error_in_its_place_and_a_list_is_asked_for() {
    let dir = folder();
    let sigma = |detection: &str| {
        format!(
            "title: x\nid: x\nlogsource: {{product: test, definition: audit}}\ndetection: {{s: {detection}, condition: s}}\n"
        )
    };
    let wrong = file(dir.path(), "wrong.yml", &sigma("{a|re: '(?=x)'}"));
    check(&["convert", &wrong], 2, &["wrong.yml:4:", "look-around"]);
    let listed = file(dir.path(), "listed.yml", &sigma("{a|expand: '%admins%'}"));
    let words = ["not carried over: x: `logsource.definition`", "not carried over: the values of `admins`"];
    check(&["convert", &listed], 0, &words);
    check(&["convert", "--id", "y", &listed], 3, &["leave out --id"]);
    check(&["convert", "--from", "eql", &listed, &wrong], 3, &["only Sigma's rules are converted together"]);
    check(&["convert", "--mapping", "no/such/file", &listed], 3, &["cannot read"]);
}

const EQL: &str = r#"
sequence by host.id with maxspan=1m
  [process where event.type == "start" and process.name : ("cmd.exe", "power*.exe") and not user.id in ("S-1-5-18", "S-1-5-19")] by process.entity_id
  [network where destination.port >= 1024 and not cidrMatch(destination.ip, "10.0.0.0/8", "192.168.0.0/16")] by process.parent.entity_id
  [file where length(file.name) > 30 or file.extension != null] by process.entity_id with runs=2
  until [process where event.type == "end"] by process.pid
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
        "    until: {match: {field_equals: {event.category: process, event.type: end}}, by: {process.entity_id: process.pid}}\n",
    ] {
        assert!(out.contains(part), "{part:?} in\n{out}");
    }
    let left_out = "not carried over: the function length";
    assert!(err.contains(left_out) && out.contains(&format!("# {left_out}")), "{err}");
    assert_eq!(err.lines().count(), 1, "{err}");
    let converted = file(dir.path(), "rule.yaml", &out);
    let (code, _, err) = run(&["check", &converted]);
    assert_eq!(code, 0, "{err}\n{out}");
    assert_eq!(run(&["convert", "--strict", &eql]).0, 1);
    let wrong = file(dir.path(), "wrong.eql", "process were x == 1");
    check(&["convert", &wrong], 3, &["expected `where`"]);
}

#[test]
fn what_need_not_be_there_in_a_key_of_eql_is_an_optional_part() {
    let dir = folder();
    let rule = |query: &str| converted(dir.path(), &[&file(dir.path(), "q.eql", query)]);
    let (path, err) =
        rule("sequence by ?host.id with maxspan=1m [a where true] by ?`x y` [b where `c d` == 1] by ?z");
    let text = std::fs::read_to_string(&path).expect("it was written");
    let by = "    by: [{name: host.id, optional: true}, {name: \"x y\", optional: true}]\n";
    assert!(text.contains(by) && text.contains("by: {\"x y\": z}") && err.is_empty(), "{text}{err}");
    let (_, err) = rule("sequence with maxspan=1m [a where true] by ?x [b where true] by z");
    assert!(err.contains("not carried over: `?` before x in some steps only"), "{err}");
    let fails = |query: &str, why: &str| check(&["convert", &file(dir.path(), "q.eql", query)], 3, &[why]);
    fails("sequence [a where true] by x, y [b where true] by z", "share as many fields each behind `by`");
    fails(
        "sample by host.id [a where true] [b where true]",
        "`sample`: only queries of events and sequences",
    );
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

/// Each event is `kind@second`, on host `h`; what comes last is an hour later and on another host, so that all is settled.
fn fires(dir: &std::path::Path, rules: &str, events: &[&str]) -> bool {
    let event = |text: &&str| {
        let (kind, second) = text.split_once('@').expect("kind@second");
        let second: u32 = second.parse().expect("a number");
        format!(
            "{{\"source\":\"panther\",\"kind\":\"{kind}\",\"ts\":\"2026-01-01T00:{:02}:{:02}Z\",\"fields\":{{\"event.category\":\"{kind}\",\
             \"host.id\":\"h\",\"user\":\"u\"}}}}\n",
            second / 60,
            second % 60
        )
    };
    let last = "{\"source\":\"s\",\"kind\":\"k\",\"ts\":\"2026-01-01T08:00:00Z\"}\n".to_owned();
    let lines: String = events.iter().map(event).chain([last]).collect();
    let events = file(dir, "fires.ndjson", &lines);
    let (code, out, err) = run(&["backtest", "--rules", rules, &events]);
    assert_eq!(code, 0, "{err}");
    !out.is_empty()
}

#[test]
fn until_and_missing_events_of_eql_mean_the_same_here() {
    let dir = folder();
    let rule = |query: &str| {
        let eql = file(dir.path(), "q.eql", query);
        let (path, err) = converted(dir.path(), &["--strict", &eql]);
        assert_eq!(err, "");
        path
    };
    let until =
        rule("sequence by host.id with maxspan=1m [a where true] [b where true] until [c where true]");
    assert!(fires(dir.path(), &until, &["a@0", "b@30"]));
    assert!(fires(dir.path(), &until, &["a@0", "b@30", "c@31"]));
    assert!(!fires(dir.path(), &until, &["a@0", "c@10", "b@30"]));
    let between = rule("sequence by host.id with maxspan=1m [a where true] ![c where true] [b where true]");
    assert!(fires(dir.path(), &between, &["a@0", "b@30", "c@31"]));
    assert!(!fires(dir.path(), &between, &["a@0", "c@10", "b@30"]));
    let behind = rule("sequence by host.id with maxspan=1m [a where true] ![c where true]");
    assert!(fires(dir.path(), &behind, &["a@0", "c@61"]));
    assert!(!fires(dir.path(), &behind, &["a@0", "c@60"]));
    let before = rule("sequence by host.id with maxspan=1m ![c where true] [a where true]");
    assert!(fires(dir.path(), &before, &["c@0", "a@61"]));
    assert!(!fires(dir.path(), &before, &["c@0", "a@60"]));

    let long = "sequence by host.id with maxspan=1m [a where true] [b where true] ![c where true]";
    check(
        &["convert", &file(dir.path(), "long.eql", long)],
        0,
        &["not carried over: `maxspan` over a missing event"],
    );
    let nothing = file(dir.path(), "nothing.eql", "sequence by host.id with maxspan=1m ![c where true]");
    check(&["convert", &nothing], 3, &["expected an event that must happen"]);
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
      - ID: u
        From: Exported
        To: Reviewed
        WithinTimeFrameMinutes: 60
        Match:
          - From: actor_user
            To: reviewed_user
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
    let absent = "        match: {kind: Okta.Access.Review, source: panther}\n        by: {target_user: reviewed_user}\n        \
                  absent: true\n        within: 60m\n        if_silent: ignore\n";
    assert!(out.contains(absent), "{out}");
    assert_eq!(err.lines().count(), 1, "{err}");
    converted(dir.path(), &[&panther]);
}

#[test]
fn the_absence_of_a_signal_in_a_sequence_of_panther_means_the_same_here() {
    let dir = folder();
    let panther = |detection: &str| {
        let text = format!(
            "AnalysisType: correlation_rule\nRuleID: r\nSeverity: Low\nDetection:\n  - {detection}\n"
        );
        file(dir.path(), "absence.yml", &text)
    };
    let sequence = panther(
        "{Sequence: [{ID: a, RuleID: a}, {ID: b, RuleID: b, Absence: true}], LookbackWindowMinutes: 10, Transitions: \
         [{ID: t, From: a, To: b, WithinTimeFrameMinutes: 1, Match: [{On: user}]}]}",
    );
    let (rules, _) = converted(dir.path(), &[&sequence]);
    assert!(fires(dir.path(), &rules, &["a@0", "b@61"]));
    assert!(!fires(dir.path(), &rules, &["a@0", "b@60"]));
    let group = panther(
        "{Group: [{ID: a, RuleID: a}, {ID: b, RuleID: b, Absence: true}], LookbackWindowMinutes: 10, MatchCriteria: \
         {user: [{GroupID: a, Match: user}, {GroupID: b, Match: user}]}}",
    );
    let (rules, _) = converted(dir.path(), &[&group]);
    assert!(fires(dir.path(), &rules, &["a@601"]));
    assert!(!fires(dir.path(), &rules, &["b@1", "a@601"]));
    assert!(!fires(dir.path(), &rules, &["a@1", "b@601"]));
    let group = panther(
        "{Group: [{ID: a, RuleID: a}, {ID: c, RuleID: c}, {ID: b, RuleID: b, Absence: true}], LookbackWindowMinutes: 10}",
    );
    check(&["convert", &group], 0, &["not carried over: the absence of b from a group of several others"]);
}

const PANTHER_GROUP: &str = r#"AnalysisType: correlation_rule
RuleID: Cloud.Brute.Force
DisplayName: Failures, and a success
Enabled: false
Severity: High
Status: Experimental
Reference: https://example.test/why
Runbook: call somebody
DedupPeriodMinutes: 60
Reports:
  MITRE ATT&CK: [TA0001:T1110, TA0006:T1110.001]
  CIS: ["1.2"]
Detection:
  - Group:
      - {ID: Many Failures, RuleID: Cloud.Login.Failed, MinMatchCount: 5}
      - {ID: Success, RuleID: Cloud.Login.Success}
    MatchCriteria:
      field_name:
        - {GroupID: Many Failures, Match: p_any_emails}
        - {GroupID: Success, Match: actor.email}
    EventEvaluationOrder: Chronological
    Schedule: {RateMinutes: 20, TimeoutMinutes: 5}
    LookbackWindowMinutes: 30
Tests:
  - Name: five and a success
    ExpectedResult: true
    RuleOutputs:
      - {ID: Many Failures, Matches: {p_any_emails: {a@example.test: [0, 2, 4, 6, 8]}}}
      - {ID: Success, Matches: {actor.email: {a@example.test: [10], b@example.test: [11]}}}
  - Name: of others
    ExpectedResult: false
    RuleOutputs:
      - {ID: Many Failures, Matches: {p_any_emails: {a@example.test: [0, 2, 4, 6, 8]}}}
      - {ID: Success, Matches: {actor.email: {b@example.test: ["1970-01-01T00:10:00Z"]}}}
  - Name: too late
    ExpectedResult: false
    RuleOutputs:
      - {ID: Many Failures, Matches: {p_any_emails: {a@example.test: [0, 2, 4, 6, 8]}}}
      - {ID: Success, Matches: {actor.email: {a@example.test: [45]}}}
"#;

#[test]
fn a_group_of_panther_keeps_its_key_notes_and_tests() {
    let dir = folder();
    let panther = file(dir.path(), "group.yml", PANTHER_GROUP);
    let (rules, err) = converted(dir.path(), &[&panther]);
    let text = std::fs::read_to_string(&rules).expect("it was written");
    for part in [
        "    by: [p_any_emails]\n",
        "        by: {p_any_emails: actor.email}\n",
        "    attack: {tactics: [TA0001, TA0006], techniques: [T1110, T1110.001]}\n",
        "    references: [\"https://example.test/why\"]\n",
        "    status: experimental\n",
    ] {
        assert!(text.contains(part), "{part:?} in\n{text}");
    }
    let left_out = [
        "that it is not enabled",
        "`DedupPeriodMinutes`",
        "the report CIS",
        "`Runbook` of a rule",
        "`EventEvaluationOrder` of a detection",
        "`Schedule` of a detection",
        "signals of Panther's rules",
    ];
    for what in left_out {
        assert!(err.contains(&format!("not carried over: {what}")), "{what} in\n{err}");
    }
    assert_eq!(err.lines().count(), left_out.len(), "{err}");
    let (code, out, err) = run(&["test", "--require-coverage", &rules]);
    assert_eq!(code, 0, "{out}{err}");
    assert!(out.contains("3 tests of 1 rule of 1: 3 passed"), "{out}");
}

#[test]
fn what_steps_of_panther_share_in_pairs_is_one_key_only_where_it_is_the_same() {
    let dir = folder();
    let rule = |matches: [&str; 2]| {
        let text = format!(
            "AnalysisType: correlation_rule\nRuleID: r\nSeverity: Low\nDetection:\n  - Sequence: [{{ID: a, RuleID: a}}, {{ID: b, \
             RuleID: b}}, {{ID: c, RuleID: c}}]\n    LookbackWindowMinutes: 10\n    Transitions:\n      - {{ID: t, From: a, To: b, \
             Match: [{}]}}\n      - {{ID: u, From: b, To: c, Match: [{}]}}\n",
            matches[0], matches[1]
        );
        let (path, err) = converted(dir.path(), &[&file(dir.path(), "chain.yml", &text)]);
        (std::fs::read_to_string(path).expect("it was written"), err)
    };
    let (text, err) = rule(["{From: user, To: owner}", "{From: owner, To: actor}"]);
    assert!(text.contains("by: [user]") && text.contains("by: {user: owner}"), "{text}");
    assert!(text.contains("by: {user: actor}"), "{text}");
    assert_eq!(err.lines().count(), 1, "{err}");
    let (text, err) = rule(["{From: user, To: owner}", "{From: bucket, To: name}"]);
    assert!(text.contains("by: []"), "{text}");
    for told in ["that user of a = owner of b: ", "that bucket of b = name of c: ", "no key: "] {
        assert!(err.contains(told), "{told:?} in\n{err}");
    }
}
