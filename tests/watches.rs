//! What a rule says does not depend on who else looks at the same events.
//!
//! Rules that take the same hits remember a key together as long as none of them may be complete. Here one rule runs over a
//! random history alone, and once more with others that take its hits, that come and go: it says the same.
//!
//! `SIGHTLINE_TEST_WATCH_CASES` is how many histories to try (default 1000).

mod support;

use bytes::Bytes;
use sightline::bus::LogMessage;
use sightline::worker::warm::asks;
use sightline_schemas::control::{EngineSettings, IncidentCommand, RuleFile, RulesMessage};
use sightline_schemas::subject::{CONTROL_RULES, incident_command};
use sightline_schemas::{EventTime, IncidentMessage};
use support::histories::{Chance, tick};
use support::outcome::messages;
use support::runs::{Run, batches, batches_without_room, fresh, restarts, warmed};

const CASES: u64 = 1_000;
const SECOND: i64 = 1_000_000;

const STEPS: [&str; 5] = [
    "[{name: s, match: {kind: a}, min_count: $A}]",
    "[{name: s, match: {kind: a}, min_count: $A}, {name: t, match: {kind: b}, min_count: $B}]",
    "[{name: s, match: {kind: a}, distinct: {field: v, at_least: $A}}]",
    "[{name: s, match: {tags_any: [t]}, min_count: $B}, {name: t, match: {kind: b}}]",
    "[{name: s, match: {kind: a}, min_count: $A}, {name: t, match: {kind: [a, b]}, min_count: $B}]",
];

/// The rule that is there all the time, others like it, and settings that forget soon.
struct Rules {
    /// The same rule as people may change it without changing what its hits mean.
    own: [String; 3],
    others: Vec<String>,
    settings: EngineSettings,
}

impl Rules {
    fn new(chance: &mut Chance) -> Self {
        let like = Like::new(chance);
        let settings = EngineSettings {
            lateness_micros: chance.pick(&[0, 3, 20]) * SECOND,
            coalesce_micros: chance.pick(&[0, 5]) * SECOND,
            idle_micros: chance.pick(&[0, 10, 1_000]) * SECOND,
            incident_idle_micros: chance.pick(&[5, 60, 10_000]) * SECOND,
            ..EngineSettings::default()
        };
        let others = (0..1 + chance.below(3)).map(|at| like.rule(chance, &format!("other{at}"))).collect();
        let own = like.rule(chance, "own");
        let shown = own.replace("name: s,", "name: s, show: [v],");
        let excepted =
            own.replace("steps:", "except: [{match: {field_equals: {v: none}}, reason: r}], steps:");
        Rules { own: [own, shown, excepted], others, settings }
    }

    /// The rule as it is written there, if it is there yet, and those of the others that `there` says.
    fn message(&self, own: Option<usize>, edits: usize, there: impl Fn(usize) -> bool) -> RulesMessage {
        let others =
            self.others.iter().enumerate().filter(|(at, _)| there(*at)).map(|(_, rule)| rule.as_str());
        // Some stand before it.
        // What it means goes with its lateness: a meaning that was left does not come back.
        let own =
            own.map(|written| self.own[written].replace("window", &format!("late: {}s, window", 20 + edits)));
        let mut rules: Vec<&str> = others.collect();
        rules.splice(rules.len() / 2..rules.len() / 2, own.as_deref());
        let list =
            if rules.is_empty() { "rules: []\n".to_owned() } else { format!("rules:\n{}", rules.concat()) };
        let files = vec![RuleFile { name: "a.yaml".to_owned(), text: list }];
        RulesMessage { files, settings: self.settings.clone(), ..RulesMessage::default() }
    }
}

/// What all of them have in common.
struct Like {
    ordered: bool,
    steps: &'static str,
}

impl Like {
    fn new(chance: &mut Chance) -> Self {
        let steps = chance.pick(&STEPS);
        Like { ordered: !steps.contains("distinct") && chance.once_in(2), steps }
    }

    fn rule(&self, chance: &mut Chance, id: &str) -> String {
        let window = chance.pick(&[2, 5, 20, 60]);
        let steps = self.steps.replace("$A", &chance.between(1, 4).to_string());
        let steps = steps.replace("$B", &chance.between(1, 3).to_string());
        let policies = match chance.below(4) {
            0 => format!(", suppress: {{for: {}s}}", chance.pick(&[3, 30, 200])),
            1 => ", on_rematch: reopen".to_owned(),
            _ => String::new(),
        };
        let generate = if id != "own" && chance.once_in(6) { ", generate: false" } else { "" };
        format!(
            "- {{id: {id}, window: {window}s, ordered: {}, distinct_events: {}, by: [host_id]{policies}{generate}, \
             steps: {steps}}}\n",
            self.ordered,
            chance.once_in(2),
        )
    }
}

/// Two logs, message for message the same but for the rules in them.
struct Logs {
    alone: Vec<LogMessage>,
    together: Vec<LogMessage>,
}

/// `own_from` is where the rule comes in, over what was there before; at the beginning where that is 0.
fn logs(chance: &mut Chance, rules: &Rules, own_from: usize) -> Logs {
    let mut logs = Logs { alone: Vec::new(), together: Vec::new() };
    let mut clock = EventTime::from_micros(1_000 * SECOND);
    let mut newest = 1_000;
    let mut machine = fresh(&rules.message(Some(0), 0, |_| false), 1);
    let mut said: Vec<IncidentMessage> = Vec::new();
    let late = chance.pick(&[0, 4, 40]);
    let hosts = 1 + chance.below(2);
    let mut edits = 0;
    for number in 0..8 + chance.below(60) {
        let seq = logs.alone.len() as u64 + 1;
        clock = clock.plus(chance.pick(&[0, 0, 1, 1, 3, 30]) * SECOND);
        // Events may stand still while log time goes on: then keys are forgotten with what they remember.
        newest += chance.pick(&[0, 0, 0, 1, 1, 2, 9]);
        let own = (number >= own_from).then(|| chance.pick(&[0, 0, 0, 1, 2]));
        edits += usize::from(chance.once_in(40));
        let there: Vec<bool> = (0..rules.others.len()).map(|_| chance.once_in(2)).collect();
        let (mut alone, mut together) = match chance.below(14) {
            _ if own_from > 0 && number == own_from => {
                (rules.message(own, edits, |_| false), rules.message(own, edits, |at| there[at]))
            }
            0 => (rules.message(own, edits, |_| false), rules.message(own, edits, |_| false)),
            1 => (rules.message(own, edits, |_| false), rules.message(own, edits, |at| there[at])),
            2 if !said.is_empty() => {
                let message = &said[chance.below(said.len())];
                let command = IncidentCommand {
                    incident: message.incident.merged_into.unwrap_or(message.incident.id),
                    status: chance.pick(&["triaged", "resolved", "dismissed", "open"]).to_owned(),
                    resolution: None,
                    actor: "test".to_owned(),
                    reason: None,
                };
                let body = Bytes::from(serde_json::to_vec(&command).expect("plain data"));
                let subject = incident_command(&message.incident.tenant);
                let message = LogMessage { subject: Some(subject.into()), body, ..tick(seq, clock) };
                said.extend(messages(&machine.apply(std::slice::from_ref(&message)).incidents));
                logs.alone.push(message.clone());
                logs.together.push(message);
                continue;
            }
            _ => {
                let at = newest - chance.between(0, late);
                let message = event(chance, seq, number, at, hosts, clock);
                said.extend(messages(&machine.apply(std::slice::from_ref(&message)).incidents));
                logs.alone.push(message.clone());
                logs.together.push(message);
                continue;
            }
        };
        if chance.once_in(2) {
            let (idle, incident_idle) = (chance.pick(&[0, 10, 1_000]), chance.pick(&[5, 60, 10_000]));
            for rules in [&mut alone, &mut together] {
                rules.settings.idle_micros = idle * SECOND;
                rules.settings.incident_idle_micros = incident_idle * SECOND;
            }
        }
        if chance.once_in(2) || number == own_from {
            (alone.warm_from, together.warm_from) = (Some(1), Some(1));
        }
        let put = |rules: &RulesMessage| LogMessage {
            subject: Some(CONTROL_RULES.into()),
            body: Bytes::from(serde_json::to_vec(rules).expect("plain data")),
            ..tick(seq, clock)
        };
        said.extend(messages(&machine.apply(&[put(&alone)]).incidents));
        logs.alone.push(put(&alone));
        logs.together.push(put(&together));
    }
    let seq = logs.alone.len() as u64 + 1;
    logs.alone.push(tick(seq, clock.plus(60 * SECOND)));
    logs.together.push(tick(seq, clock.plus(60 * SECOND)));
    logs
}

fn event(
    chance: &mut Chance,
    seq: u64,
    number: usize,
    at: i64,
    hosts: usize,
    received_at: EventTime,
) -> LogMessage {
    // Now and then one that was there already, and may claim another time.
    let number = if chance.once_in(8) { number / 2 } else { number };
    let at = if chance.once_in(40) { at + 100_000 } else { at };
    let body = serde_json::json!({
        "source_event_id": number.to_string(),
        "kind": chance.pick(&["a", "a", "b"]),
        "host_id": format!("h{}", chance.below(hosts)),
        "tags": if chance.once_in(3) { vec!["t"] } else { vec![] },
        "ts": EventTime::from_micros(at * SECOND).to_string(),
        "fields": {"v": chance.below(4).to_string()},
    });
    LogMessage {
        subject: Some("events.default.edr".into()),
        body: Bytes::from(serde_json::to_vec(&body).expect("plain data")),
        ..tick(seq, received_at)
    }
}

/// A log, for people: place, time, and what it is.
fn told(log: &[LogMessage]) -> String {
    let line = |message: &LogMessage| {
        let (time, body) = (message.received_at.unwrap_or_default(), String::from_utf8_lossy(&message.body));
        format!("{} {time} {} {body}\n", message.seq, message.subject.as_deref().unwrap_or_default())
    };
    log.iter().map(line).collect()
}

/// What the rule says that is there all the time.
fn own(run: &Run) -> Vec<String> {
    let said = messages(&run.incidents).into_iter().filter(|message| message.incident.rule.id == "own");
    said.map(|message| serde_json::to_string(&message).expect("plain data")).collect()
}

#[test]
fn a_rule_says_what_it_says_alone() {
    let cases = std::env::var("SIGHTLINE_TEST_WATCH_CASES").ok().and_then(|cases| cases.parse().ok());
    let (mut said, mut late) = (0, 0);
    for seed in 0..cases.unwrap_or(CASES) {
        let mut chance = Chance::new(seed);
        let rules = Rules::new(&mut chance);
        let own_from = if chance.once_in(3) { 1 + chance.below(30) } else { 0 };
        let others = !chance.once_in(4);
        let first = (own_from == 0).then_some(0);
        let (alone, together) = (rules.message(first, 0, |_| false), rules.message(first, 0, |_| others));
        let logs = logs(&mut chance, &rules, own_from);
        let wanted = warmed(&alone, &logs.alone, 1);
        let run = warmed(&together, &logs.together, chance.pick(&[1, 2, 7]));
        let told = || format!("seed {seed}\n{}\n{}", together.files[0].text, told(&logs.together));
        assert!(own(&run) == own(&wanted), "{}\n{:#?}\n{:#?}", told(), own(&run), own(&wanted));
        (said, late) = (said + own(&run).len(), late + run.counts.late);
        if logs.together.iter().any(asks) {
            continue;
        }
        // Whatever the batches, the restarts, and the room, all rules say the same.
        let other = match seed % 3 {
            0 => restarts(&together, &logs.together, 1 + chance.below(4)),
            1 => batches_without_room(&together, &logs.together, 2, 5),
            _ => batches(&together, &logs.together, 1, 1),
        };
        assert_eq!(other.incidents, run.incidents, "{}", told());
        assert_eq!((other.keys, other.counts), (run.keys, run.counts), "{}", told());
    }
    assert!(said as u64 > cases.unwrap_or(CASES) && late > 100, "{said} messages, {late} late events");
}
