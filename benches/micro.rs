//! Single parts under Criterion: reading an event in each form, detection by the number of rules, a hit in each pattern,
//! a checkpoint. `cargo bench -p sightline-benches --bench micro [-- FILTER]`.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use sightline::state::table::StateTable;
use sightline::worker::correlator::{Correlator, Facts};
use sightline::worker::machine::compile;
use sightline_benches::Chance;
use sightline_core::correlate::{KeyState, Now};
use sightline_core::detect::Memo;
use sightline_core::hit::{Brief, Hit, Measured, RuleIndex};
use sightline_core::key::Key;
use sightline_core::rule::RuleSet;
use sightline_schemas::control::{EngineSettings, RuleFile, RulesMessage};
use sightline_schemas::edge::Draft;
use sightline_schemas::source::SourceProfiles;
use sightline_schemas::subject::EventSubject;
use sightline_schemas::wire::{Form, encode};
use sightline_schemas::{EventId, EventTime, Position, Severity};

const EVENT: &str = r#"{"source_event_id":"000000004711","occurred_at":"2026-01-01T00:00:00.123Z","host_id":"ws-000042.corp.example","kind":"process_start","user":"CORP\\user42","severity":"low","fields":{"image":"C:\\Windows\\System32\\svchost.exe","command_line":"C:\\Windows\\System32\\svchost.exe -k netsvcs -p -s Schedule","parent_image":"C:\\Windows\\System32\\services.exe","integrity":"System","pid":4711,"sha256":"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"}}"#;

fn subject() -> EventSubject {
    EventSubject { tenant: "default".to_owned(), source: "edr".to_owned() }
}

fn rules(text: String) -> RuleSet {
    let files = vec![RuleFile { name: "bench.yaml".to_owned(), text }];
    match compile(&RulesMessage { files, settings: EngineSettings::default(), ..RulesMessage::default() }) {
        Ok(rules) => rules,
        Err((_, problems)) => panic!("{}: {}", problems[0].message, problems[0].label),
    }
}

fn decode(criterion: &mut Criterion) {
    let (subject, profiles) = (subject(), SourceProfiles::default());
    let read = |raw: &[u8], form| {
        let draft = Draft::read(raw, form).expect("an event");
        black_box(&draft.into_event(&subject, EventTime::default(), &profiles).expect("an event"));
    };
    let packed = {
        let draft = Draft::read(EVENT.as_bytes(), Form::Json).expect("an event");
        let event = draft.into_event(&subject, EventTime::default(), &profiles).expect("an event");
        encode(&event, Form::MessagePack).expect("plain data")
    };
    let mut group = criterion.benchmark_group("decode");
    group.throughput(Throughput::Bytes(EVENT.len() as u64));
    group.bench_function("json", |bencher| bencher.iter(|| read(black_box(EVENT.as_bytes()), Form::Json)));
    group.throughput(Throughput::Bytes(packed.len() as u64));
    group.bench_function("msgpack", |bencher| bencher.iter(|| read(black_box(&packed), Form::MessagePack)));
    group.finish();
}

fn detect(criterion: &mut Criterion) {
    let (subject, profiles) = (subject(), SourceProfiles::default());
    let draft = Draft::read(EVENT.as_bytes(), Form::Json).expect("an event");
    let event = draft.into_event(&subject, EventTime::default(), &profiles).expect("an event");
    let mut group = criterion.benchmark_group("detect");
    for count in [10, 100, 1_000, 10_000] {
        let mut text = String::from("rules:\n");
        for number in 0..count {
            text.push_str(&format!(
                "  - id: r{number}\n    steps: [{{name: a, match: {{source: edr, kind: process_start, field_contains: {{command_line: 'tool-{number:05}'}}}}}}]\n"
            ));
        }
        let rules = rules(text);
        let mut memo = Memo::default();
        group.bench_function(format!("{count}_rules_of_one_kind"), |bencher| {
            bencher.iter(|| {
                rules.detector.satisfied(black_box(&event), &mut memo, |step| {
                    black_box(step);
                })
            });
        });
    }
    group.finish();
}

/// Hits for one key, one a millisecond, in turn for each of so many steps.
struct Hits {
    chance: Chance,
    number: u64,
    steps: u64,
    brief: Arc<Brief>,
    values: Vec<Measured>,
}

impl Hits {
    fn new(steps: u64) -> Self {
        let brief = Brief {
            source: "edr".into(),
            kind: "a".into(),
            host_id: Some("ws-000042".into()),
            user: None,
            severity: Severity::Low,
            title: None,
            attack: None,
            fields: Vec::new(),
        };
        let values = (0..1_000).map(|number| Measured::Text(Arc::from(format!("value-{number}")))).collect();
        Hits { chance: Chance::new(1), number: 0, steps, brief: Arc::new(brief), values }
    }

    fn next(&mut self, key: &Key) -> Hit {
        self.number += 1;
        let event = u128::from(self.chance.draw()) << 64 | u128::from(self.number);
        Hit {
            tenant: Arc::from("default"),
            rule: RuleIndex(0),
            step: (self.number % self.steps) as u8,
            key: key.clone(),
            at: EventTime::from_micros(1_700_000_000_000_000 + self.number as i64 * 1_000),
            suspect: false,
            event: EventId::from_bytes(event.to_be_bytes()),
            position: Position::new(self.number, 0),
            value: self.values.get((self.chance.draw() % 1_000) as usize).cloned(),
            brief: Arc::clone(&self.brief),
        }
    }
}

/// A hit that completes nothing, in a window that holds a thousand.
fn patterns(criterion: &mut Criterion) {
    let cases = [
        ("count", 1, "steps: [{name: a, match: {kind: a}, min_count: 100000}]"),
        ("distinct", 1, "steps: [{name: a, match: {kind: a}, distinct: {field: value, at_least: 2000}}]"),
        ("all_of", 1, "steps: [{name: a, match: {kind: a}}, {name: b, match: {kind: b}}]"),
        (
            "sequence",
            2,
            "ordered: true\n    steps: [{name: a, match: {kind: a}}, {name: b, match: {kind: b}}, {name: c, match: {kind: c}}]",
        ),
        (
            "sequence_with_gaps",
            2,
            "ordered: true\n    steps: [{name: a, match: {kind: a}}, {name: b, match: {kind: b}, max_gap: 1s}, {name: c, match: {kind: c}, max_gap: 1s}]",
        ),
    ];
    let mut group = criterion.benchmark_group("hit");
    for (name, steps, body) in cases {
        let rules =
            rules(format!("rules:\n  - id: r\n    window: 1s\n    late: 1ms\n    by: host_id\n    {body}\n"));
        let key = Key::new(vec!["ws-000042".to_owned()]);
        let unit = &rules.units[0];
        let mut state = KeyState::new(Arc::from("default"), unit, key.clone(), &rules);
        let mut hits = Hits::new(steps);
        let mut effects = Vec::new();
        group.bench_function(name, |bencher| {
            bencher.iter_batched(
                || hits.next(&key),
                |hit| {
                    let now = Now { rules: &rules, log_time: hit.at, position: hit.position };
                    black_box(state.hit(unit, &hit, now, &mut effects));
                    effects.clear();
                },
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

/// A batch of a thousand hits over as many keys: key to state, pattern, effects in order.
fn correlate(criterion: &mut Criterion) {
    let body = "steps: [{name: a, match: {kind: a}}, {name: b, match: {kind: b}}]";
    let rules =
        rules(format!("rules:\n  - id: r\n    window: 1m\n    late: 1ms\n    by: host_id\n    {body}\n"));
    let mut correlator = Correlator::new(Arc::new(rules), Arc::new(StateTable::default()), 1);
    let keys: Vec<Key> = (0..100_000).map(|number| Key::new(vec![format!("ws-{number:06}")])).collect();
    let mut hits = Hits::new(1);
    let mut group = criterion.benchmark_group("correlate");
    group.throughput(Throughput::Elements(1_000));
    group.bench_function("batch_of_1000_hits_over_100000_keys", |bencher| {
        bencher.iter_batched(
            || {
                let mut facts = Facts::default();
                for _ in 0..1_000 {
                    let key = &keys[hits.chance.below(100_000) as usize];
                    let hit = hits.next(key);
                    facts.times.push((hit.position.seq, hit.at));
                    facts.hits.push(hit);
                }
                facts
            },
            |facts| black_box(correlator.follow(facts)),
            BatchSize::LargeInput,
        );
    });
    group.finish();
}

criterion_group!(parts, decode, detect, patterns, correlate);
criterion_main!(parts);
