//! Correlations against pySigma's SQLite backend: the same alerts, at the same times, for the same groups.
//!
//! An alert here is an instant at which a correlation is complete. It is read through a rule that builds on it, whose
//! incidents are shorter than the time between two events. SQL says an alert for *every* event that finds the condition
//! satisfied; Sightline for those that bring it about (`rules/SIGMA.md`), which are told apart where they differ.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};
use sightline::bus::LogMessage;
use sightline::state::table::StateTable;
use sightline::worker::machine::Machine;
use sightline_core::rule::diagnostic::Color;
use sightline_core::rule::{Source, check};
use sightline_schemas::control::{EngineSettings, RuleFile, RulesMessage};
use sightline_schemas::{Change, EventTime, IncidentMessage};

use crate::random::Random;

/// When everything begins, in milliseconds since 1970.
pub const START: i64 = 1_767_225_600_000;
/// Times of events are multiples of this, in milliseconds.
const STEP: i64 = 10;

/// What kind of correlation a case is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sort {
    EventCount,
    ValueCount,
    ValueSum,
    ValueAvg,
    ValueMedian,
    ValuePercentile,
    Temporal,
    TemporalOrdered,
    Extended,
    Chain,
}

/// How the events of a case lie in time and come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Order {
    /// At instants of their own, in order.
    Sorted,
    /// Many at one instant.
    Ties,
    /// At whole milliseconds, often as far apart as the window is long.
    Edges,
    /// Arriving in any order.
    Shuffled,
}

pub const SORTS: [Sort; 10] = [
    Sort::EventCount,
    Sort::ValueCount,
    Sort::ValueSum,
    Sort::ValueAvg,
    Sort::ValueMedian,
    Sort::ValuePercentile,
    Sort::Temporal,
    Sort::TemporalOrdered,
    Sort::Extended,
    Sort::Chain,
];
pub const ORDERS: [Order; 4] = [Order::Sorted, Order::Ties, Order::Edges, Order::Shuffled];

/// Instant and group of an alert.
pub type Alert = (i64, Vec<String>);

/// A correlation and what happens.
#[derive(Clone, Debug)]
pub struct Case {
    pub sort: Sort,
    pub rules: String,
    /// Sets of events of which each can bring it about, when all of one are there.
    ways: Vec<Vec<&'static str>>,
    /// How long the window is, in milliseconds.
    window: i64,
    pub groups: Vec<&'static str>,
    pub events: Vec<Value>,
    /// The order in which they come in.
    pub arrival: Vec<usize>,
}

impl Case {
    pub fn random(sort: Sort, order: Order, random: &mut Random) -> Self {
        let span = random.between(1, 4);
        let groups: Vec<&'static str> = match random.below(4) {
            0 => vec![],
            1 => vec!["grp", "grp2"],
            _ => vec!["grp"],
        };
        let count = random.between(4, 30) as usize;
        let mut at = START;
        let mut events = Vec::new();
        for _ in 0..count {
            at += STEP
                * match order {
                    Order::Sorted | Order::Shuffled => random.between(1, 90),
                    Order::Ties if random.percent(60) => 0,
                    Order::Ties => 100 * random.between(1, 2),
                    Order::Edges => *random.pick(&[50, 100, 100 * span, 100 * span + 1]),
                };
            events.push(event(at, random));
        }
        let mut arrival: Vec<usize> = (0..count).collect();
        if order == Order::Shuffled {
            for place in (1..count).rev() {
                arrival.swap(place, random.below(place as u64 + 1) as usize);
            }
        }
        let (rules, ways) = rules(sort, span, &groups, random);
        Case { sort, rules, ways, window: span * 1_000, groups, events, arrival }
    }

    /// The case as the reference reads it.
    pub fn for_reference(&self) -> String {
        json!({"rules": self.rules, "events": self.events}).to_string()
    }

    /// The alerts of the reference, as far as the event at their instant brings them about.
    pub fn brought_about(&self, alerts: &Value) -> BTreeSet<Alert> {
        let alert = |alert: &Value| {
            let group = self.groups.iter().map(|name| alert[1][name].as_str().expect("a text").to_owned());
            (alert[0].as_i64().expect("milliseconds"), group.collect::<Vec<_>>())
        };
        let all = alerts.as_array().expect("a list").iter().map(alert);
        all.filter(|(at, group)| {
            let mine = |event: &&Value| {
                let mut parts = self.groups.iter().zip(group);
                parts.all(|(name, value)| {
                    text(&event[name]).is_some_and(|text| text.eq_ignore_ascii_case(value))
                })
            };
            let mine: Vec<&Value> = self.events.iter().filter(mine).collect();
            mine.iter().any(|event| event["timestamp"] == *at && self.brings_about(event, *at, &mine))
        })
        .collect()
    }

    fn brings_about(&self, event: &Value, at: i64, group: &[&Value]) -> bool {
        let counts = match self.sort {
            Sort::ValueCount => !event["val"].is_null(),
            Sort::ValueSum | Sort::ValueAvg | Sort::ValueMedian | Sort::ValuePercentile => {
                !event["num"].is_null()
            }
            _ => true,
        };
        let there = |name: &&str| {
            group.iter().any(|event| {
                let time = event["timestamp"].as_i64().expect("milliseconds");
                event["ev"] == **name && (at - self.window..=at).contains(&time)
            })
        };
        let own = |way: &&Vec<&str>| way.iter().any(|name| event["ev"] == *name);
        counts && self.ways.iter().filter(own).any(|way| way.iter().all(&there))
    }

    /// The alerts here.
    pub fn alerts(&self) -> BTreeSet<Alert> {
        let mut files = vec![Source { name: "sigma.yml".to_owned(), text: self.rules.clone() }];
        let settings = EngineSettings {
            lateness_micros: 3_600_000_000,
            coalesce_micros: 0,
            ..EngineSettings::default()
        };
        let checked = check::check(&files, &settings).unwrap_or_else(|problems| {
            let said: Vec<String> =
                problems.iter().map(|problem| problem.render(&files, Color::Plain)).collect();
            panic!("{}\n{}", said.join("\n"), self.rules)
        });
        // One rule on each that the correlation became.
        let parts =
            self.groups.iter().map(|name| format!("{{name: {name}, as: caseless}}")).collect::<Vec<_>>();
        let mut probes = String::from("rules:\n");
        for (at, rule) in
            checked.rules.rules.iter().filter(|rule| rule.reference.id.starts_with("top")).enumerate()
        {
            let id = &rule.reference.id;
            let by = parts.join(", ");
            writeln!(
                probes,
                "  - {{id: probe{at}, window: 1ms, by: [{by}], steps: [{{name: s, rule: {id}}}]}}"
            )
            .expect("a text can be written");
        }
        files.push(Source { name: "probes.yaml".to_owned(), text: probes });
        let files = files.into_iter().map(|file| RuleFile { name: file.name, text: file.text }).collect();
        let message = RulesMessage { files, settings, ..RulesMessage::default() };
        let mut machine =
            Machine::new("test", message, Arc::new(StateTable::default()), 1, 0, EventTime::MIN)
                .unwrap_or_else(|why| panic!("{why}\n{}", self.rules));
        let mut log: Vec<LogMessage> = Vec::new();
        let received = |offset: i64| EventTime::from_micros((START + 60_000 + offset) * 1_000);
        for place in &self.arrival {
            let event = &self.events[*place];
            let at = EventTime::from_micros(event["timestamp"].as_i64().expect("milliseconds") * 1_000);
            let body = json!({"source_event_id": place.to_string(), "ts": at.to_string(), "fields": event});
            log.push(message_of(
                log.len(),
                "events.default.app",
                received(log.len() as i64),
                body.to_string(),
            ));
        }
        // What waits for the lateness to pass is decided when it has.
        log.push(message_of(log.len(), "control.tick", received(36_000_000), String::new()));
        let applied = machine.apply(&log);
        let read =
            |body: &[u8]| -> IncidentMessage { serde_json::from_slice(body).expect("an incident message") };
        let messages = applied.incidents.iter().map(|output| read(&output.body));
        let opened = messages.filter(|message| {
            message.change == Change::Opened && message.incident.rule.id.starts_with("probe")
        });
        let alert = |message: IncidentMessage| {
            let scope = &message.incident.scope;
            let group = self.groups.iter().map(|name| {
                let part = scope.parts.iter().find(|part| part.name == *name);
                part.map(|part| part.value.clone()).unwrap_or_else(|| scope.key.clone())
            });
            (message.incident.first_event_at.as_micros() / 1_000, group.collect())
        };
        opened.map(alert).collect()
    }
}

fn message_of(before: usize, subject: &str, received: EventTime, body: String) -> LogMessage {
    LogMessage {
        seq: before as u64 + 1,
        subject: Some(subject.into()),
        content_type: Some("application/json".to_owned()),
        content_encoding: None,
        received_at: Some(received),
        body: Bytes::from(body),
    }
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

fn event(at: i64, random: &mut Random) -> Value {
    let mut event = json!({
        "timestamp": at,
        "ev": random.pick(&["a", "b", "c", "d"]),
        "grp": random.pick(&["x", "X", "y"]),
        "grp2": random.pick(&[json!("p"), json!(1)]),
        "val": random.pick(&["u", "v", "V", "w", "z"]),
        // Halves: sums of them are exact.
        "num": random.between(-6, 12) as f64 / 2.0,
        "other": random.pick(&["m", "n"]),
    });
    for name in ["grp", "grp2", "val", "num"] {
        if random.percent(6) {
            event[name] = Value::Null;
        }
    }
    event
}

fn detection(name: &str, selection: &str) -> String {
    format!(
        "title: {name}\nname: {name}\nlogsource: {{product: test}}\ndetection:\n  sel: {selection}\n  condition: sel\n---\n"
    )
}

fn correlation(
    name: &str,
    sort: &str,
    rules: &str,
    groups: &[&str],
    span: i64,
    condition: Option<String>,
) -> String {
    let by = if groups.is_empty() { String::new() } else { format!("  group-by: [{}]\n", groups.join(", ")) };
    let condition = condition.map(|condition| format!("  condition: {condition}\n")).unwrap_or_default();
    format!(
        "title: {name}\nname: {name}\ncorrelation:\n  type: {sort}\n  rules: [{rules}]\n{by}  timespan: {span}s\n{condition}---\n"
    )
}

type Ways = Vec<Vec<&'static str>>;

fn rules(sort: Sort, span: i64, groups: &[&str], random: &mut Random) -> (String, Ways) {
    let bases = [("a", "{ev: a}"), ("b", "{ev: b}"), ("c", "{ev: c}"), ("ab", "{ev: [a, b]}")];
    let mut text: String = bases.iter().map(|(name, selection)| detection(name, selection)).collect();
    let bound = |least: i64, most: i64, random: &mut Random| {
        let number = random.between(least, most);
        match random.below(5) {
            0 => format!("{{gt: {number}}}"),
            1 => format!("{{gte: {number}, lte: {}}}", number + random.between(0, 2)),
            2 => format!("{{eq: {number}}}"),
            _ => format!("{{gte: {number}}}"),
        }
    };
    let measured = |random: &mut Random| {
        let number = random.between(-4, 16) as f64 / 2.0;
        let comparison = random.pick(&["gt", "gte", "lt", "lte"]);
        format!("{comparison}: {number:?}")
    };
    let one_or_two = if random.percent(50) { "a" } else { "a, b" };
    let each = |names: &[&'static str]| -> Ways { names.iter().map(|name| vec![*name]).collect() };
    let mut ways = if one_or_two == "a" { each(&["a"]) } else { each(&["a", "b"]) };
    let top = match sort {
        Sort::EventCount => {
            let condition = bound(1, 5, random);
            correlation("top", "event_count", one_or_two, groups, span, Some(condition))
        }
        Sort::ValueCount => {
            let condition = bound(1, 4, random).replacen('{', "{field: val, ", 1);
            correlation("top", "value_count", one_or_two, groups, span, Some(condition))
        }
        Sort::ValueSum | Sort::ValueAvg | Sort::ValueMedian | Sort::ValuePercentile => {
            let (name, more) = match sort {
                Sort::ValueSum => ("value_sum", String::new()),
                Sort::ValueAvg => ("value_avg", String::new()),
                Sort::ValueMedian => ("value_median", String::new()),
                _ => ("value_percentile", format!(", percentile: {}", random.pick(&[0, 25, 50, 75, 100]))),
            };
            let condition = format!("{{field: num, {}{more}}}", measured(random));
            correlation("top", name, one_or_two, groups, span, Some(condition))
        }
        Sort::Temporal => {
            let condition = random.percent(30).then(|| format!("{{gte: {}}}", random.between(1, 3)));
            let rules = random.pick(&["a, b, c", "a, ab, c"]);
            ways = each(&["a", "b", "c"]);
            correlation("top", "temporal", rules, groups, span, condition)
        }
        Sort::TemporalOrdered => {
            let rules = random.pick(&["a, b, c", "a, c", "b, a, c"]);
            ways = each(&["c"]);
            correlation("top", "temporal_ordered", rules, groups, span, None)
        }
        Sort::Extended => {
            let choices: [(&str, &[&[&'static str]]); 4] = [
                ("a and b and c", &[&["a", "b", "c"]]),
                ("a or (b and c)", &[&["a"], &["b", "c"]]),
                ("(a or b) and c", &[&["a", "c"], &["b", "c"]]),
                ("(a and b) or (a and c) or (b and c)", &[&["a", "b"], &["a", "c"], &["b", "c"]]),
            ];
            let (condition, sets) = *random.pick(&choices);
            ways = sets.iter().map(|set| set.to_vec()).collect();
            let condition = condition.to_owned();
            correlation("top", "temporal", "a, b, c", groups, span, Some(condition))
        }
        Sort::Chain => {
            let below = correlation("below", "event_count", "a", groups, span, Some("{gte: 2}".to_owned()));
            let top = correlation("top", "temporal", "below, c", groups, span + 1, None);
            ways = each(&["a", "c"]);
            below + &top
        }
    };
    text.push_str(&top);
    (text, ways)
}
