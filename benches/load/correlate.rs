//! What a hit costs behind detection: the key's state found, the pattern asked, effects in order.

use std::sync::Arc;

use sightline::state::table::StateTable;
use sightline::worker::correlator::{Correlator, Facts};
use sightline::worker::machine::compile;
use sightline_benches::report::{Report, Target};
use sightline_benches::{Chance, clock};
use sightline_core::hit::{Brief, Hit, Measured, RuleIndex};
use sightline_core::key::Key;
use sightline_core::rule::RuleSet;
use sightline_schemas::control::{EngineSettings, RuleFile, RulesMessage};
use sightline_schemas::{EventId, EventTime, Position, Severity};
use tokio::runtime::Runtime;

use crate::{Asked, median};

const BATCH: usize = 1_000;

/// One measured case.
struct Case {
    steps: u8,
    keys: u64,
    /// Microseconds of event time from hit to hit.
    pace: i64,
    /// Distinct counted values, where values are counted.
    values: u64,
    hits: u64,
}

/// Measures it.
pub fn run(asked: &Asked, report: &mut Report, _: &Runtime) -> Result<(), String> {
    let keys = asked.sized(200_000u64, 1_000_000);
    let many = |steps| Case { steps, keys, pace: 10, values: 1_000_000, hits: keys * 2 };
    // Nothing completes: what is measured is keeping watch, which is what nearly every hit is for.
    let patterns: [(&str, &str, u8); 4] = [
        ("count", "steps: [{name: a, match: {kind: a}, min_count: 1000}]", 1),
        ("all_of", "steps: [{name: a, match: {kind: a}}, {name: b, match: {kind: b}}]", 1),
        (
            "sequence",
            "ordered: true\n    steps: [{name: a, match: {kind: a}}, {name: b, match: {kind: b}}, {name: c, match: {kind: c}}]",
            2,
        ),
        ("distinct", "steps: [{name: a, match: {kind: a}, distinct: {field: value, at_least: 1000}}]", 1),
    ];
    for (name, body, steps) in patterns {
        let rules = rules(&[("10m", body)])?;
        let rate = 1e9 / cost(&rules, &many(steps));
        let unit = format!("hits/s a core, {keys} keys, known before");
        report.line(format!("correlate.{name}"), rate, Target::AtLeast(5e6), &unit);
    }
    windows(asked, report)?;
    fan_out(asked, report)?;
    distinct(asked, report)
}

/// Flat in the window and in what it holds: where nothing is complete, and where every hit is.
fn windows(asked: &Asked, report: &mut Report) -> Result<(), String> {
    const HELD: [u64; 3] = [10, 1_000, 100_000];
    let hits = asked.sized(300_000u64, 1_000_000);
    for name in ["watched", "complete"] {
        let mut costs = Vec::new();
        // One key, a hit a millisecond: a window of so many milliseconds holds so many hits.
        for held in HELD {
            let body = match name {
                "watched" => "steps: [{name: a, match: {kind: a}}, {name: b, match: {kind: b}}]".to_owned(),
                _ => format!("steps: [{{name: a, match: {{kind: a}}, min_count: {}}}]", held / 2),
            };
            let rules = rules(&[(&format!("{held}ms"), &body)])?;
            let cost = cost(&rules, &Case { steps: 1, keys: 1, pace: 1_000, values: 0, hits });
            report.line(format!("correlate.window_{name}_{held}"), cost, Target::Shown, "ns a hit");
            costs.push(cost);
        }
        let unit = "times, 10 to 100,000 hits held";
        report.line(format!("correlate.window_{name}_flat"), costs[2] / costs[0], Target::AtMost(1.1), unit);
    }
    Ok(())
}

/// Many rules on one detection, in windows of their own, with thresholds of their own.
fn fan_out(asked: &Asked, report: &mut Report) -> Result<(), String> {
    let hits = asked.sized(100_000u64, 500_000);
    let watched = |number: u32| {
        let least = 1 + number % 7;
        format!(
            "steps: [{{name: a, match: {{kind: a}}}}, {{name: b, match: {{kind: b}}, min_count: {least}}}]"
        )
    };
    // Three hits make the first moment, and each hit after them is one.
    let complete =
        |number: u32| format!("steps: [{{name: a, match: {{kind: a}}, min_count: {}}}]", 3 + number);
    for (name, body, hits, target) in [
        ("", &watched as &dyn Fn(u32) -> String, hits, Target::AtMost(3.0)),
        ("_complete", &complete, hits / 25, Target::Shown),
    ] {
        let mut costs = Vec::new();
        for count in [1u32, 10, 100] {
            let rule = |number| (format!("{}m", 10 + number % 20), body(number));
            let bodies: Vec<(String, String)> = (0..count).map(rule).collect();
            let bodies: Vec<(&str, &str)> =
                bodies.iter().map(|(window, body)| (window.as_str(), body.as_str())).collect();
            let case = Case { steps: 1, keys: hits / 200, pace: 1_000, values: 0, hits };
            let cost = cost(&rules(&bodies)?, &case);
            report.line(format!("correlate.rules{name}_{count}"), cost, Target::Shown, "ns an event");
            costs.push(cost);
        }
        let unit = match name {
            "" => "times the cost of one rule, 100 of them that keep watch on one detection",
            _ => "times the cost of one rule, 100 of them that are complete with nearly every event",
        };
        report.line(format!("correlate.fan_out{name}"), costs[2] / costs[0], target, unit);
    }
    Ok(())
}

fn distinct(asked: &Asked, report: &mut Report) -> Result<(), String> {
    let hits = asked.sized(100_000u64, 500_000);
    let body = "steps: [{name: a, match: {kind: a}, distinct: {field: value, at_least: 20000}}]";
    let rules = rules(&[("100s", body)])?;
    let cost = cost(&rules, &Case { steps: 1, keys: 1, pace: 1_000, values: 10_000, hits });
    let unit = "hits/s, one key, 10,000 distinct values in the window";
    report.line("correlate.distinct_10000", 1e9 / cost, Target::AtLeast(1e6), unit);
    Ok(())
}

/// Nanoseconds an event that is a hit of every rule, after each key was seen before.
fn cost(rules: &Arc<RuleSet>, case: &Case) -> f64 {
    let table = Arc::new(StateTable::default());
    let mut correlator = Correlator::new(Arc::clone(rules), table, 1);
    let mut chance = Chance::new(42);
    let tenant: Arc<str> = Arc::from("default");
    let brief = Arc::new(Brief {
        source: "edr".into(),
        kind: "a".into(),
        host_id: Some("ws-000001.corp.example".into()),
        user: None,
        severity: Severity::Low,
        title: None,
        attack: None,
        fields: Vec::new(),
    });
    let keys: Vec<Key> =
        (0..case.keys).map(|number| Key::new(vec![format!("ws-{number:07}.corp.example")])).collect();
    let values: Vec<Measured> =
        (0..case.values).map(|number| Measured::Text(Arc::from(format!("value-{number}")))).collect();
    // Detection asks one rule for all that take the same hits.
    let places = (0..rules.rules.len() as u32).map(RuleIndex);
    let asked: Vec<RuleIndex> = places.filter(|rule| rules.takers(*rule)[0] == *rule).collect();
    let warm_up = case.hits / 2;
    let mut costs = Vec::new();
    let mut seq = 0u64;
    while seq < case.hits {
        let mut facts = Facts::default();
        for _ in 0..BATCH {
            seq += 1;
            // First each key once, then any of them.
            let key = if seq <= case.keys.min(warm_up) { seq % case.keys } else { chance.below(case.keys) };
            let at = EventTime::from_micros(1_700_000_000_000_000 + seq as i64 * case.pace);
            let event =
                EventId::from_bytes((u128::from(chance.draw()) << 64 | u128::from(seq)).to_be_bytes());
            facts.times.push((seq, at));
            for rule in &asked {
                facts.hits.push(Hit {
                    tenant: Arc::clone(&tenant),
                    rule: *rule,
                    step: (seq % u64::from(case.steps)) as u8,
                    key: keys[key as usize].clone(),
                    at,
                    suspect: false,
                    event,
                    position: Position::new(seq, 0),
                    value: values.get(chance.below(case.values.max(1)) as usize).cloned(),
                    brief: Arc::clone(&brief),
                });
            }
        }
        let (followed, spent) = clock::thread(|| correlator.follow(facts));
        std::hint::black_box(followed.messages.len());
        if seq > warm_up {
            costs.push(spent.nanos_each(BATCH as u64));
        }
    }
    median(costs)
}

fn rules(bodies: &[(&str, &str)]) -> Result<Arc<RuleSet>, String> {
    let mut text = String::from("rules:\n");
    for (number, (window, body)) in bodies.iter().enumerate() {
        text.push_str(&format!(
            "  - id: rule_{number}\n    title: Rule {number}\n    window: {window}\n    late: 1ms\n    by: host_id\n    {body}\n"
        ));
    }
    let files = vec![RuleFile { name: "bench.yaml".to_owned(), text }];
    let compiled =
        compile(&RulesMessage { files, settings: EngineSettings::default(), ..RulesMessage::default() });
    compiled.map(Arc::new).map_err(|(_, problems)| format!("{}: {}", problems[0].message, problems[0].label))
}
