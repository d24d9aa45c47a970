//! The tests of a Panther rule: which of its signals there are, when and with which values, and whether an alert comes.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};
use sightline_core::rule::tree::{Kind, Node};
use sightline_schemas::EventTime;

use super::Converted;
use super::native::{Test, id as as_id};
use super::panther::SOURCE;

const MICROS: i64 = 1_000_000;

/// A signal: when, and which step's; with the values of each field.
type Signals = BTreeMap<(i64, String), BTreeMap<String, BTreeSet<String>>>;

/// Carries over the tests; `kinds` are the kinds of events by the ids of the steps.
pub(super) fn tests(root: &Node, kinds: &BTreeMap<String, String>, converted: &mut Converted) {
    let Some(Kind::List(tests)) = root.member("Tests").map(|node| &node.kind) else { return };
    if converted.rule.is_silent {
        return converted.left_out.push("the tests of a rule that makes no alerts".to_owned());
    }
    for test in tests {
        let text = |name: &str| test.member(name).and_then(Node::scalar_text);
        let name = text("Name").unwrap_or_else(|| "unnamed".to_owned());
        match events(test, kinds) {
            Some(events) => {
                let fires = text("ExpectedResult").as_deref() == Some("true");
                converted.rule.tests.push(Test { name, events, fires });
            }
            None => converted.left_out.push(format!("the test {name:?}, whose signals are not understood")),
        }
    }
}

fn events(test: &Node, kinds: &BTreeMap<String, String>) -> Option<Vec<Value>> {
    let mut signals = Signals::new();
    if let Some(Kind::List(outputs)) = test.member("RuleOutputs").map(|node| &node.kind) {
        for output in outputs {
            take(output, kinds, &mut signals)?;
        }
    }
    let begin = signals.keys().map(|(at, _)| *at).min().unwrap_or(0);
    let mut events = Vec::new();
    for ((at, kind), fields) in signals {
        for fields in one_each(&fields) {
            let at = format!("{}s", (at - begin) / MICROS);
            events.push(json!({ "at": at, "source": SOURCE, "kind": kind, "fields": fields }));
        }
    }
    Some(events)
}

/// The signals of one step.
fn take(output: &Node, kinds: &BTreeMap<String, String>, signals: &mut Signals) -> Option<()> {
    let kind = kinds.get(&as_id(&output.member("ID")?.scalar_text()?))?;
    let Kind::Map(fields) = &output.member("Matches")?.kind else { return None };
    for (field, values) in fields {
        let Kind::Map(values) = &values.kind else { return None };
        for (value, times) in values {
            let Kind::List(times) = &times.kind else { return None };
            for at in times {
                let signal = signals.entry((time(&at.scalar_text()?)?, kind.clone())).or_default();
                signal.entry(field.scalar_text()?).or_default().insert(value.scalar_text()?);
            }
        }
    }
    Some(())
}

/// Minutes from whenever, or a time.
fn time(text: &str) -> Option<i64> {
    match text.parse::<i64>() {
        Ok(minutes) => minutes.checked_mul(60 * MICROS),
        Err(_) => EventTime::parse(text).ok().map(EventTime::as_micros),
    }
}

/// Of fields that have several values, each with each.
fn one_each(fields: &BTreeMap<String, BTreeSet<String>>) -> Vec<Map<String, Value>> {
    let mut all = vec![Map::new()];
    for (field, values) in fields {
        let with = |known: &Map<String, Value>| {
            let with = |value: &String| {
                let mut more = known.clone();
                more.insert(field.clone(), value.as_str().into());
                more
            };
            values.iter().map(with).collect::<Vec<_>>()
        };
        all = all.iter().flat_map(with).collect();
    }
    all
}
