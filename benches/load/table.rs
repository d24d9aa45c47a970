//! How the work scales: events a second against rules, keys, what the window holds, and partitions. The whole machine, from
//! message bodies to outputs, without the bus.

use std::sync::Arc;

use bytes::Bytes;
use sightline::bus::LogMessage;
use sightline::state::table::StateTable;
use sightline::worker::machine::Machine;
use sightline_benches::clock;
use sightline_benches::report::{Report, Target};
use sightline_schemas::EventTime;
use sightline_schemas::control::{EngineSettings, RuleFile, RulesMessage};
use tokio::runtime::Runtime;

use crate::plot::{self, Curve};
use crate::{Asked, events, median};

const BATCH: usize = 1_000;

/// Measures it, and draws the plot where one is asked for.
pub fn run(asked: &Asked, report: &mut Report, _: &Runtime) -> Result<(), String> {
    let count = asked.sized(60_000u64, 400_000);
    let mut curves = Vec::new();
    let mut curve =
        |name: &str, points: Vec<(f64, f64)>| curves.push(Curve { name: name.to_owned(), points });

    let mut points = Vec::new();
    for rules in [10usize, 100, 1_000, 10_000] {
        let rate = rate(&events::rules(rules), 1, count, &|number| events::event(number, 10_000, began()))?;
        report.line(format!("table.rules_{rules}"), rate, Target::Shown, "events/s of one core");
        points.push((rules as f64, rate));
    }
    curve("rules", points);

    let mut points = Vec::new();
    let sizes: &[u64] =
        asked.sized::<&[u64]>(&[1_000, 10_000, 100_000], &[1_000, 10_000, 100_000, 1_000_000, 10_000_000]);
    for keys in sizes {
        let events = count.max(*keys);
        let rate = rate(&watched("1h", 1_000), 1, events, &|number| keyed(number, *keys))?;
        report.line(
            format!("table.keys_{keys}"),
            rate,
            Target::Shown,
            "events/s of one core, every event a hit",
        );
        points.push((*keys as f64, rate));
    }
    curve("keys", points);

    let mut points = Vec::new();
    for held in [10u64, 100, 1_000, 10_000, 100_000] {
        let rules = watched(&format!("{held}ms"), 100_000);
        let rate = rate(&rules, 1, count.max(2 * held), &|number| keyed(number, 1))?;
        report.line(
            format!("table.window_holds_{held}"),
            rate,
            Target::Shown,
            "events/s of one core, one key",
        );
        points.push((held as f64, rate));
    }
    curve("hits in the window", points);

    for rules in [1u32, 10, 100] {
        let rate = rate(&watched_by(rules, "10m", 1_000), 1, count, &|number| keyed(number, 1_000))?;
        let unit = "events/s of one core, every event a hit of so many rules";
        report.line(format!("table.rules_on_one_event_{rules}"), rate, Target::Shown, unit);
    }

    for partitions in [1, 2] {
        let rate = rate_of(
            &watched("1h", 1_000),
            partitions,
            count,
            &|number| keyed(number, 100_000),
            |spent, count| spent.wall_rate(count),
        )?;
        report.line(format!("table.partitions_{partitions}"), rate, Target::Shown, "events/s, wall time");
    }
    if let Some(path) = &asked.plot {
        std::fs::write(path, plot::svg(&curves)).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(())
}

fn began() -> EventTime {
    EventTime::parse("2026-01-01T00:00:00Z").expect("a time")
}

/// An event that is a hit for key `number % keys`, a millisecond after the one before.
fn keyed(number: u64, keys: u64) -> String {
    let (at, host) = (began().plus(number as i64 * 1_000), number.wrapping_mul(0x9e37_79b9) % keys);
    format!(
        r#"{{"source_event_id":"{number:x}","kind":"watched","occurred_at":"{at}","host_id":"ws-{host:07}.corp.example","fields":{{"a":1}}}}"#
    )
}

/// One rule that counts and is not complete.
fn watched(window: &str, needed: u32) -> RulesMessage {
    watched_by(1, window, needed)
}

/// So many of them that want the same events.
fn watched_by(rules: u32, window: &str, needed: u32) -> RulesMessage {
    let mut text = String::from("rules:\n");
    for rule in 0..rules {
        text.push_str(&format!(
            "  - id: watched_{rule}\n    title: Watched\n    window: {window}\n    late: 1ms\n    by: host_id\n    steps: [{{name: a, match: {{kind: watched}}, min_count: {}}}]\n",
            needed + rule
        ));
    }
    RulesMessage {
        files: vec![RuleFile { name: "watched.yaml".to_owned(), text }],
        settings: EngineSettings::default(),
        ..RulesMessage::default()
    }
}

fn rate(
    rules: &RulesMessage,
    partitions: usize,
    count: u64,
    event: &dyn Fn(u64) -> String,
) -> Result<f64, String> {
    rate_of(rules, partitions, count, event, |spent, count| spent.rate(count))
}

/// Events a second in the second half of `count` events.
fn rate_of(
    rules: &RulesMessage,
    partitions: usize,
    count: u64,
    event: &dyn Fn(u64) -> String,
    rate: fn(&clock::Spent, u64) -> f64,
) -> Result<f64, String> {
    let table = Arc::new(StateTable::default());
    let mut machine = Machine::new("bench@1", rules.clone(), table, partitions, 0, EventTime::MIN)?;
    let mut rates = Vec::new();
    let mut number = 0;
    while number < count {
        let batch: Vec<LogMessage> = (number..number + BATCH as u64)
            .map(|number| LogMessage {
                seq: number + 1,
                subject: Some(events::SUBJECT.into()),
                content_type: None,
                content_encoding: None,
                received_at: Some(began().plus(number as i64 * 1_000)),
                body: Bytes::from(event(number)),
            })
            .collect();
        number += BATCH as u64;
        let (applied, spent) = match partitions {
            1 => clock::thread(|| machine.apply(&batch)),
            _ => clock::process(|| machine.apply(&batch)),
        };
        std::hint::black_box(applied.incidents.len());
        if number > count / 2 {
            rates.push(rate(&spent, BATCH as u64));
        }
    }
    Ok(median(rates))
}
