//! Reading an event, and finding the steps that it satisfies: what that costs, and that it does not grow with rules that
//! have nothing to do with it.

use std::fmt::Write;

use sightline::worker::machine::compile;
use sightline_benches::clock;
use sightline_benches::report::{Report, Target};
use sightline_core::detect::Memo;
use sightline_core::rule::RuleSet;
use sightline_schemas::control::{EngineSettings, RuleFile, RulesMessage};
use sightline_schemas::edge::{Draft, to_event};
use sightline_schemas::source::SourceProfiles;
use sightline_schemas::subject::EventSubject;
use sightline_schemas::wire::{self, Form};
use sightline_schemas::{EventId, EventTime};
use tokio::runtime::Runtime;

use crate::{Asked, events, median};

/// Measures it.
pub fn run(asked: &Asked, report: &mut Report, _: &Runtime) -> Result<(), String> {
    let count = asked.sized(50_000u64, 200_000);
    let began = EventTime::parse("2026-01-01T00:00:00Z").expect("a time");
    let lines: Vec<String> = (0..count).map(|number| events::event(number, 10_000, began)).collect();
    decode(&lines, report);
    growth(asked, &lines, report)
}

fn subject() -> EventSubject {
    EventSubject { tenant: "default".to_owned(), source: "edr".to_owned() }
}

fn decode(lines: &[String], report: &mut Report) {
    let (subject, profiles) = (subject(), SourceProfiles::default());
    let count = lines.len() as u64;
    let rounds = |work: &dyn Fn(&str)| {
        median(
            (0..5)
                .map(|_| clock::thread(|| lines.iter().for_each(|line| work(line))).1.nanos_each(count))
                .collect(),
        )
    };
    let bytes: usize = lines.iter().map(String::len).sum();
    report.line("decode.bytes", bytes as f64 / count as f64, Target::Shown, "bytes an event");
    let lazy = rounds(&|line| {
        let draft = Draft::read(line.as_bytes(), Form::Json).expect("an event");
        let event = draft.into_event(&subject, EventTime::default(), &profiles).expect("an event");
        std::hint::black_box(&event);
    });
    report.line("decode.unread", lazy, Target::Shown, "ns an event, payload left unread");
    let tree = rounds(&|line| {
        let tree = wire::decode(line.as_bytes(), Form::Json).expect("an event");
        let event =
            to_event(tree, line.as_bytes(), &subject, EventTime::default(), &profiles).expect("an event");
        std::hint::black_box(&event);
    });
    report.line("decode.tree", tree, Target::Shown, "ns an event, whole tree, and its id");
    let value = rounds(&|line| {
        std::hint::black_box(serde_json::from_str::<serde_json::Value>(line).expect("JSON"));
    });
    report.line("decode.serde_json_value", value, Target::Shown, "ns an event, for comparison");
    let id = rounds(&|line| {
        std::hint::black_box(EventId::from_raw("default", "edr", line.as_bytes()));
    });
    report.line("decode.id_of_bytes", id, Target::Shown, "ns an event, only for events with hits");
}

/// So many rules that share no event: each asks for a kind and a text of its own.
pub fn disjoint(count: usize) -> Result<RuleSet, String> {
    let mut text = String::from("rules:\n");
    for number in 0..count {
        let _ = writeln!(
            text,
            "  - id: own_{number}\n    title: Rule {number}\n    by: host_id\n    steps:\n      - name: one\n        match: {{source: edr, kind: kind_{number}, field_contains: {{command_line: 'literal-{number:05}'}}}}",
        );
    }
    let files = vec![RuleFile { name: "disjoint.yaml".to_owned(), text }];
    compile(&RulesMessage { files, settings: EngineSettings::default(), ..RulesMessage::default() })
        .map_err(|(_, problems)| format!("{} problems: {}", problems.len(), problems[0].message))
}

fn growth(asked: &Asked, lines: &[String], report: &mut Report) -> Result<(), String> {
    let (subject, profiles) = (subject(), SourceProfiles::default());
    let mut costs = Vec::new();
    for count in [100, 1_000, 10_000] {
        let rules = disjoint(count)?;
        let mut memo = Memo::default();
        let mut found = 0u64;
        let mut round = || {
            let (_, spent) = clock::thread(|| {
                for line in lines {
                    let draft = Draft::read(line.as_bytes(), Form::Json).expect("an event");
                    let event =
                        draft.into_event(&subject, EventTime::default(), &profiles).expect("an event");
                    rules.detector.satisfied(&event, &mut memo, |_| found += 1);
                }
            });
            spent.nanos_each(lines.len() as u64)
        };
        let cost = median((0..asked.sized(3, 7)).map(|_| round()).collect());
        std::hint::black_box(found);
        report.line(
            format!("detect.disjoint_{count}"),
            cost,
            Target::Shown,
            "ns an event, decoding included",
        );
        costs.push(cost);
    }
    report.line(
        "detect.growth_100_to_10000",
        costs[2] / costs[0],
        Target::AtMost(1.5),
        "times the cost an event",
    );
    Ok(())
}
