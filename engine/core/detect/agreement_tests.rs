//! The index finds what asking every step of every rule finds.

use std::borrow::Cow;
use std::collections::BTreeMap;

use proptest::prelude::*;
use sightline_schemas::edge::Draft;
use sightline_schemas::source::SourceProfiles;
use sightline_schemas::subject::EventSubject;
use sightline_schemas::wire::Form;
use sightline_schemas::{Event, EventTime};

use crate::detect::{Detector, DetectorBuilder, Memo};
use crate::field::Field;
use crate::hit::RuleIndex;
use crate::predicate::{
    Bits, Case, Condition, Likes, Look, Ordering, OtherField, Pattern, Predicate, Regular, Test, Texts, Where,
};

const FIELDS: [&str; 13] = [
    "*",
    "source",
    "kind",
    "tags",
    "user",
    "host_id",
    "a",
    "b",
    "a.b",
    "fields.b",
    "network.src_ip",
    "url|host",
    "severity",
];

/// Texts that meet each other, in other cases, and letters that lower case treats by their place in the word.
const TEXTS: [&str; 16] = [
    "a", "A", "ab", "aB", "b", "1", "10", "true", "edr", "10.0.0.1", "ΣΑΣ", "σας", "\\x.EXE", ".exe", "host",
    "é",
];

fn field() -> impl Strategy<Value = Field> {
    proptest::sample::select(&FIELDS[..]).prop_map(|name| Field::parse(name).expect("a field"))
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        proptest::sample::select(&TEXTS[..]).prop_map(str::to_owned),
        proptest::collection::vec(proptest::sample::select(&TEXTS[..]), 1..4)
            .prop_map(|parts| parts.concat()),
    ]
}

fn test() -> impl Strategy<Value = Test> {
    let place = || prop_oneof![Just(Where::Whole), Just(Where::Inside), Just(Where::Start), Just(Where::End)];
    let case = || prop_oneof![Just(Case::Sensitive), Just(Case::Ignored)];
    let look = || prop_oneof![Just(Look::Texts), Just(Look::Scalars)];
    let texts = proptest::collection::vec(prop_oneof![9 => text(), 1 => Just(String::new())], 1..4);
    let like =
        proptest::collection::vec(prop_oneof![text(), Just("*".to_owned()), Just("?".to_owned())], 1..5);
    prop_oneof![
        6 => (place(), case(), look(), texts)
            .prop_map(|(place, case, look, texts)| Test::Texts(Texts::new(place, case, texts).looking(look))),
        2 => (case(), look(), like)
            .prop_map(|(case, look, parts)| Test::Likes(Likes::new(case, look, &[Pattern::parse(&parts.concat())]))),
        1 => Just(Test::Exists),
        1 => Just(Test::Number(Ordering::Gte, 5.0)),
        1 => Just(Test::Bits(Bits::new(&["2".to_owned()]).expect("a mask"))),
        1 => Just(Test::Regular(
            Regular::new(&["a.?b".to_owned()], Case::Ignored, Look::Scalars).expect("a pattern")
        )),
        1 => (place(), case(), field())
            .prop_map(|(place, case, field)| Test::OtherField(OtherField::new(place, case, field))),
    ]
}

fn condition() -> impl Strategy<Value = Condition> {
    let leaf = (field(), test()).prop_map(|(field, test)| Condition::Test(Predicate { field, test }));
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Condition::All),
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Condition::Any),
            inner.prop_map(|inner| Condition::Not(Box::new(inner))),
        ]
    })
}

/// A condition behind what rules agree to ask first: that a field have one of some values, or be absent.
fn behind_a_gate() -> impl Strategy<Value = Condition> {
    let field = proptest::sample::select(&["source", "kind", "a", "b", "user"][..]);
    let field = field.prop_map(|name| Field::parse(name).expect("a field"));
    let case = prop_oneof![Just(Case::Sensitive), Just(Case::Ignored)];
    let texts = proptest::collection::vec(text(), 1..3);
    (field, case, texts, any::<bool>(), condition()).prop_map(|(field, case, texts, or_absent, condition)| {
        let test = Test::Texts(Texts::new(Where::Whole, case, texts));
        let gate = Condition::Test(Predicate { field: field.clone(), test });
        let exists = Condition::Test(Predicate { field, test: Test::Exists });
        let gate = match or_absent {
            true => Condition::Any(vec![Condition::Not(Box::new(exists)), gate]),
            false => gate,
        };
        Condition::All(vec![gate, condition])
    })
}

fn value() -> impl Strategy<Value = serde_json::Value> {
    let scalar = prop_oneof![
        4 => text().prop_map(serde_json::Value::from),
        1 => (0i64..20).prop_map(serde_json::Value::from),
        1 => Just(serde_json::Value::from(true)),
        1 => Just(serde_json::Value::Null),
        1 => Just(serde_json::json!("http://Host/a")),
    ];
    scalar.prop_recursive(2, 6, 3, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..3).prop_map(serde_json::Value::from),
            proptest::collection::btree_map(proptest::sample::select(&["a", "b", "src_ip"][..]), inner, 0..3)
                .prop_map(|map| serde_json::json!(map)),
        ]
    })
}

fn event() -> impl Strategy<Value = String> {
    const NAMES: [&str; 10] =
        ["user", "hostname", "a", "b", "a.b", "network.src_ip", "url", "x", "src_ip", "network"];
    let fields = || proptest::collection::btree_map(proptest::sample::select(&NAMES[..]), value(), 0..6);
    let tags = proptest::collection::vec(text(), 0..3);
    (text(), tags, fields(), fields(), any::<bool>()).prop_map(|(kind, tags, fields, own, network)| {
        let mut event: BTreeMap<&str, serde_json::Value> =
            own.into_iter().filter(|(name, _)| *name != "network").collect();
        event.insert("kind", kind.into());
        event.insert("tags", tags.into());
        event.insert("fields", serde_json::json!(fields));
        if network {
            event.insert("network", serde_json::json!({"src_ip": "10.0.0.1"}));
        }
        serde_json::to_string(&event).expect("plain data")
    })
}

/// Asks everything, as the definition says.
fn holds(condition: &Condition, event: &Event<'_>) -> bool {
    match condition {
        Condition::Test(predicate) => predicate.holds(event),
        Condition::All(inner) => inner.iter().all(|inner| holds(inner, event)),
        Condition::Any(inner) => inner.iter().any(|inner| holds(inner, event)),
        Condition::Not(inner) => !holds(inner, event),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_500))]

    #[test]
    fn the_index_finds_what_asking_everyone_finds(
        conditions in proptest::collection::vec(prop_oneof![condition(), behind_a_gate()], 1..12),
        events in proptest::collection::vec(event(), 1..6),
    ) {
        // After four rounds of the same events, by when they have an index of their own and their values are known, other
        // rules come into force.
        let others: Vec<Condition> = conditions.iter().rev().cloned().collect();
        let rounds = [&conditions, &conditions, &conditions, &conditions, &others, &others, &others, &others];
        let detectors = [detector(&conditions), detector(&others)];
        let subject = EventSubject { tenant: "t".to_owned(), source: "edr".to_owned() };
        let mut memo = Memo::default();
        for (round, raw) in (0..rounds.len()).flat_map(|round| events.iter().map(move |raw| (round, raw))) {
            let (conditions, detector) = (rounds[round], &detectors[round / 4]);
            let draft = Draft::read(raw.as_bytes(), Form::Json).expect("it is JSON");
            let Ok(event) = draft.into_event(&subject, EventTime::default(), &SourceProfiles::default()) else {
                continue;
            };
            let mut found = Vec::new();
            detector.satisfied(&event, &mut memo, |(rule, _)| found.push(rule.get()));
            let asked: Vec<usize> =
                (0..conditions.len()).filter(|at| holds(&conditions[*at], &event)).collect();
            prop_assert_eq!(found, asked, "{}", raw);
        }
    }
}

fn detector(conditions: &[Condition]) -> Detector {
    let mut builder = DetectorBuilder::default();
    for (at, condition) in conditions.iter().enumerate() {
        builder.add((RuleIndex(at as u32), 0), condition);
    }
    builder.build()
}

fn texts(place: Where, texts: &[&str]) -> Condition {
    let test =
        Test::Texts(Texts::new(place, Case::Ignored, texts.iter().map(|text| (*text).to_owned()).collect()));
    Condition::Test(Predicate { field: Field::parse("command_line").expect("a field"), test })
}

fn witnesses(conditions: &[Condition]) -> Vec<Vec<Cow<'static, str>>> {
    let detector = detector(conditions);
    let owned = |text: &String| Cow::Owned(text.clone());
    detector.costs().map(|(_, cost)| cost.witness.iter().map(owned).collect()).collect()
}

#[test]
fn the_witness_is_what_few_rules_ask_for() {
    let popular = || texts(Where::End, &["\\powershell.exe"]);
    let rare = texts(Where::Inside, &["-encodedcommand"]);
    let found = witnesses(&[
        Condition::All(vec![popular(), rare]),
        Condition::All(vec![popular()]),
        Condition::All(vec![popular(), Condition::Not(Box::new(texts(Where::Inside, &["x"])))]),
        Condition::Not(Box::new(texts(Where::Inside, &["x"]))),
        Condition::Any(vec![texts(Where::Inside, &["one"]), texts(Where::Inside, &["two"])]),
    ]);
    let powershell = "command_line ends with \"\\\\powershell.exe\" in any case";
    assert_eq!(found[0], ["command_line contains \"-encodedcommand\" in any case"]);
    assert_eq!(found[1], [powershell]);
    assert_eq!(found[2], [powershell]);
    assert!(found[3].is_empty(), "a step that asks only for what is not there is unindexed");
    assert_eq!(found[4].len(), 2);
}
