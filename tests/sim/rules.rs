//! Rule sets of all patterns, and messages that are none.

use bytes::Bytes;
use sightline_schemas::control::{EngineSettings, RuleFile, RulesMessage};
use sightline_schemas::subject::{HEADER_CONTENT_ENCODING, HEADER_CONTENT_TYPE};

use crate::random::Random;

const SECOND: i64 = 1_000_000;

const FAILS: &str = "
  - id: fails
    title: $TITLE
    severity: $SEVERITY
    window: $WINDOW
    steps:
      - {name: fail, match: {kind: login_failed}, min_count: $COUNT}
";
const TAKEOVER: &str = "
  - id: takeover
    title: $TITLE
    severity_mode: max
    window: $WINDOW
    ordered: true
    by: user
    steps:
      - {name: fails, match: {kind: login_failed}, min_count: 2}
      - {name: login, match: {kind: login}, max_gap: $GAP}
";
const SPRAY: &str = "
  - id: spray
    title: $TITLE
    window: $WINDOW
    by: src_ip
    steps:
      - name: users
        match: {kind: [login_failed, login]}
        distinct: {field: user, at_least: $COUNT}
";
const IMPLANT: &str = "
  - id: implant
    title: $TITLE
    severity: high
    window: $WINDOW
    steps:
      - {name: process, match: {kind: process, field_contains: {command: enc}}}
      - {name: beacon, match: {kind: conn}}
";
const SHARED: &str = "
  - id: ioc_conn
    group: shared
    severity: high
    window: $WINDOW
    by: [{name: value, as: value}]
    steps:
      - {name: ioc, match: {kind: ioc}, by: {value: ioc}}
      - {name: seen, match: {kind: conn}, by: {value: dst_ip}}
  - id: ioc_login
    group: shared
    window: $WINDOW
    by: [{name: value, as: value}]
    steps:
      - {name: ioc, match: {kind: ioc}, by: {value: ioc}}
      - {name: login, match: {kind: login}, by: {value: src_ip}}
";
const CAMPAIGN: &str = "
  - id: campaign
    severity: critical
    window: 1h
    steps:
      - {name: brute, rule: fails}
      - {name: implant, rule: implant}
";
const EVERYWHERE: &str = "
  - id: everywhere
    severity: critical
    window: 1h
    by: []
    steps:
      - {name: campaigns, rule: campaign, min_count: 2}
";

/// A set of rules and the settings they run with.
pub fn some_rules(random: &mut Random) -> RulesMessage {
    let mut text = "rules:".to_owned();
    let with_chain = random.percent(40);
    let mut add = |random: &mut Random, percent: u64, rule: &str| {
        if !random.percent(percent) {
            return;
        }
        let filled = rule
            .replace("$TITLE", random.pick::<&str>(&["one", "two", "three"]))
            .replace("$SEVERITY", random.pick::<&str>(&["low", "medium", "high"]))
            .replace("$WINDOW", random.pick::<&str>(&["20s", "60s", "5m", "1h"]))
            .replace("$GAP", random.pick::<&str>(&["10s", "60s"]))
            .replace("$COUNT", random.pick::<&str>(&["2", "3", "4"]));
        text.push_str(&filled);
    };
    let chained = if with_chain { 100 } else { 60 };
    add(random, chained, FAILS);
    add(random, chained, IMPLANT);
    if with_chain {
        add(random, 100, CAMPAIGN);
        add(random, 50, EVERYWHERE);
    }
    add(random, 60, TAKEOVER);
    add(random, 60, SPRAY);
    add(random, 60, SHARED);
    if text == "rules:" {
        text.push_str(" []");
    }
    let settings = EngineSettings {
        lateness_micros: *random.pick(&[0, 30 * SECOND, 600 * SECOND]),
        coalesce_micros: *random.pick(&[0, SECOND, 5 * SECOND, 120 * SECOND]),
        idle_micros: *random.pick(&[20 * SECOND, 120 * SECOND, 86_400 * SECOND]),
        incident_idle_micros: *random.pick(&[60 * SECOND, 3_600 * SECOND, 30 * 86_400 * SECOND]),
        ..EngineSettings::default()
    };
    RulesMessage {
        files: vec![RuleFile { name: "sim.yaml".to_owned(), text }],
        settings,
        ..RulesMessage::default()
    }
}

/// Headers and body of a message that puts `rules` in force, or of one that cannot.
pub fn rules_body(random: &mut Random, rules: &RulesMessage) -> (Vec<(&'static str, String)>, Bytes) {
    let json = |rules: &RulesMessage| Bytes::from(serde_json::to_vec(rules).expect("plain data"));
    let plain = || vec![(HEADER_CONTENT_TYPE, "application/json".to_owned())];
    match random.below(10) {
        0 => (plain(), Bytes::from_static(b"no rules at all")),
        1 => (vec![(HEADER_CONTENT_ENCODING, "zstd".to_owned())], Bytes::from_static(b"no zstd")),
        2 => (vec![(HEADER_CONTENT_ENCODING, "gzip".to_owned())], json(rules)),
        3 => {
            let mut broken = rules.clone();
            broken.files[0].text.push_str("\n  - id: dangling\n    steps: [{name: x, rule: nobody}]\n");
            (plain(), json(&broken))
        }
        4 => {
            let mut broken = rules.clone();
            broken.files[0].text.push_str("\n  - {id: [");
            (plain(), json(&broken))
        }
        _ => (plain(), json(rules)),
    }
}
