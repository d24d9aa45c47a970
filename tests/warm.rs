//! Rules that run over the past before they take effect, over a log in memory.

mod support;

use bytes::Bytes;
use sightline::bus::LogMessage;
use sightline_schemas::control::{EngineSettings, RuleFile, RulesMessage};
use sightline_schemas::subject::CONTROL_RULES;
use sightline_schemas::{Change, EventTime};
use support::histories::tick;
use support::outcome::messages;
use support::runs::warmed;

fn rules(list: &str, warm_from: Option<u64>) -> RulesMessage {
    let files = vec![RuleFile { name: "a.yaml".to_owned(), text: format!("rules:{list}\n") }];
    RulesMessage { files, settings: EngineSettings::default(), warm_from }
}

fn at(second: i64) -> EventTime {
    EventTime::from_micros((1_000 + second) * 1_000_000)
}

fn put(seq: u64, rules: &RulesMessage, second: i64) -> LogMessage {
    let body = Bytes::from(serde_json::to_vec(rules).expect("plain data"));
    LogMessage { subject: Some(CONTROL_RULES.into()), body, ..tick(seq, at(second)) }
}

fn event(seq: u64, second: i64) -> LogMessage {
    let body = serde_json::json!({"kind": "a", "host_id": "h", "ts": at(second).to_string()});
    let body = Bytes::from(serde_json::to_vec(&body).expect("plain data"));
    LogMessage { subject: Some("events.default.edr".into()), body, ..tick(seq, at(second)) }
}

#[test]
fn what_came_after_an_incident_that_was_said_is_evidence_of_the_next_one() {
    let rule = " [{id: three, window: 20s, steps: [{name: a, match: {kind: a}, min_count: 3}]}]";
    let (with, without) = (rules(rule, None), rules(" []", None));
    let again = rules(rule, Some(1));
    let log = [
        event(1, 0),
        event(2, 1),
        event(3, 2),
        // While the rule is away, what it would have found goes on, further than its window.
        put(4, &without, 3),
        event(5, 10),
        event(6, 20),
        event(7, 30),
        put(8, &again, 31),
        event(9, 40),
    ];
    let said = messages(&warmed(&with, &log, 1).incidents);
    let told: Vec<_> = said.iter().map(|message| (message.change, message.incident.event_count)).collect();
    // The one that was said ended with the event at 2 as far as anybody knows; the next one has all that its window holds.
    assert_eq!(told, [(Change::Opened, 3), (Change::Opened, 3)], "{said:#?}");
    // With all that its evidence shows, though moments of the past were among it.
    assert_eq!(said[1].incident.sources, ["edr"]);
    assert!(said[1].incident.events.iter().all(|event| event.kind == "a"), "{said:#?}");
}
