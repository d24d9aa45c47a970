//! Expected against found.

use std::sync::Arc;

use sightline_core::key::Normal;
use sightline_core::rule::RuleSet;
use sightline_core::rule::case::{Case, Expected, Pieces};
use sightline_schemas::{EventTime, Incident};

use super::run_case::{Ran, concerns};
use crate::cli::explain::{offset, why_missing};

/// One thing that is not as expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What was expected.
    pub expected: String,
    /// What was found.
    pub found: String,
    /// Where the two differ: what, expected, found.
    pub differs: Vec<(String, String, String)>,
    /// Why what is missing did not come about.
    pub why_not: Vec<String>,
}

/// What of a test is not as expected.
pub fn judge(rules: &Arc<RuleSet>, case: &Case, ran: &Ran) -> Vec<Failure> {
    let refused = ran.refused.iter().map(|why| Failure {
        expected: "every message to be taken".to_owned(),
        found: why.clone(),
        differs: Vec::new(),
        why_not: Vec::new(),
    });
    let mut failures: Vec<Failure> = refused.collect();
    let asked = |id: &str| case.rule == id || case.expected.iter().any(|expected| expected.rule == id);
    let mut found: Vec<&Incident> = ran
        .incidents()
        .into_iter()
        .filter(|message| {
            asked(&message.incident.rule.id)
                || case
                    .expected
                    .iter()
                    .map(|it| &it.rule)
                    .chain([&case.rule])
                    .any(|rule| concerns(message, rule))
        })
        .map(|message| &message.incident)
        .collect();
    // Those that are all right first, then those that have the right key, then what is left in order.
    let mut open: Vec<&Expected> = Vec::new();
    for expected in &case.expected {
        match found.iter().position(|incident| differences(rules, expected, incident, ran).is_empty()) {
            Some(at) => {
                found.remove(at);
            }
            None => open.push(expected),
        }
    }
    for expected in open {
        let same_key =
            |incident: &&&Incident| is_of(expected, incident) && key_fits(rules, expected, incident);
        let near = found.iter().position(|incident| same_key(&incident));
        let near = near.or_else(|| found.iter().position(|incident| is_of(expected, incident)));
        failures.push(match near {
            Some(at) => {
                let incident = found.remove(at);
                Failure {
                    expected: describe_expected(expected),
                    found: describe(incident, case.base),
                    differs: differences(rules, expected, incident, ran),
                    why_not: Vec::new(),
                }
            }
            None => Failure {
                expected: describe_expected(expected),
                found: "no such incident".to_owned(),
                differs: Vec::new(),
                why_not: why_missing(rules, expected, case.base, &ran.log),
            },
        });
    }
    failures.extend(found.into_iter().map(|incident| Failure {
        expected: if case.expected.is_empty() { "none".to_owned() } else { "no further incident".to_owned() },
        found: describe(incident, case.base),
        differs: Vec::new(),
        why_not: Vec::new(),
    }));
    failures
}

fn is_of(expected: &Expected, incident: &Incident) -> bool {
    incident.rule.id == expected.rule || incident.explain.iter().any(|step| step.rule == expected.rule)
}

/// Whether the key is the expected one, each part in its one spelling.
fn key_fits(rules: &RuleSet, expected: &Expected, incident: &Incident) -> bool {
    let unit = rules.unit_by_id(incident.group.as_ref().unwrap_or(&incident.rule.id));
    let normal = |name: &str| {
        let part = unit.and_then(|unit| unit.by.iter().find(|part| part.name == name));
        part.map_or(Normal::Text, |part| part.normal)
    };
    let parts = &incident.scope.parts;
    let fits = |at: usize, name: &Option<String>, value: &str| {
        let part = match name {
            Some(name) => parts.iter().find(|part| part.name == *name),
            None => parts.get(at),
        };
        part.is_some_and(|part| normal(&part.name).apply(value).as_deref() == Some(part.value.as_str()))
    };
    let named = expected.key.iter().any(|(name, _)| name.is_some());
    (named || expected.key.is_empty() || expected.key.len() == parts.len())
        && expected.key.iter().enumerate().all(|(at, (name, value))| fits(at, name, value))
}

fn differences(
    rules: &RuleSet,
    expected: &Expected,
    incident: &Incident,
    ran: &Ran,
) -> Vec<(String, String, String)> {
    let mut differs = Vec::new();
    let mut same = |what: &str, expected: Option<String>, found: String| {
        if let Some(expected) = expected.filter(|expected| *expected != found) {
            differs.push((what.to_owned(), expected, found));
        }
    };
    if !is_of(expected, incident) {
        same("rule", Some(expected.rule.clone()), incident.rule.id.clone());
    }
    if !key_fits(rules, expected, incident) {
        same("key", Some(key_text(&expected.key)), key_of(incident));
    }
    same(
        "severity",
        expected.severity.map(|it| it.as_str().to_owned()),
        incident.severity.as_str().to_owned(),
    );
    same("count", expected.count.map(|it| it.to_string()), incident.event_count.to_string());
    same("status", expected.status.map(|it| it.as_str().to_owned()), incident.status.as_str().to_owned());
    same("title", expected.title.clone(), incident.title.clone());
    for (step, pieces) in &expected.evidence {
        let of_step =
            |rule: &str, name: &str| name == step && (rule == expected.rule || incident.group.is_some());
        match pieces {
            Pieces::Count(count) => {
                let steps = incident.explain.iter().filter(|it| of_step(&it.rule, &it.step));
                let found: u64 = steps.map(|it| it.events).sum();
                same(&format!("evidence of {step}"), Some(count.to_string()), found.to_string());
            }
            Pieces::Named(names) => {
                let mut names = names.clone();
                names.sort();
                let of = incident.events.iter().filter(|it| of_step(&it.rule, &it.step));
                let name = |id| ran.names.get(&id).cloned().unwrap_or_else(|| id.to_string());
                let mut found: Vec<String> = of.map(|it| name(it.id)).collect();
                found.sort();
                same(&format!("evidence of {step}"), Some(names.join(", ")), found.join(", "));
            }
        }
    }
    for (step, values) in &expected.values {
        let mut values = values.clone();
        values.sort();
        let found = incident.explain.iter().find(|it| it.step == *step);
        let found = found.map(|it| it.values.join(", ")).unwrap_or_default();
        same(&format!("values of {step}"), Some(values.join(", ")), found);
    }
    differs
}

fn key_text(key: &[(Option<String>, String)]) -> String {
    let part = |(name, value): &(Option<String>, String)| match name {
        Some(name) => format!("{name}={value}"),
        None => value.clone(),
    };
    key.iter().map(part).collect::<Vec<_>>().join(" ")
}

fn key_of(incident: &Incident) -> String {
    let parts = incident.scope.parts.iter().map(|part| format!("{}={}", part.name, part.value));
    parts.collect::<Vec<_>>().join(" ")
}

fn describe_expected(expected: &Expected) -> String {
    let mut words = vec!["an incident of".to_owned(), expected.rule.clone()];
    if !expected.key.is_empty() {
        words.push(key_text(&expected.key));
    }
    words.extend(expected.severity.map(|severity| severity.as_str().to_owned()));
    words.extend(expected.count.map(|count| format!("with {count} events")));
    words.join(" ")
}

/// An incident on one line, its times counted from the beginning of the test.
fn describe(incident: &Incident, base: EventTime) -> String {
    let steps: Vec<String> =
        incident.explain.iter().map(|step| format!("{} {}", step.events, step.step)).collect();
    format!(
        "{} incident of {} {}: {}; {} to {}",
        incident.severity.as_str(),
        incident.rule.id,
        key_of(incident),
        steps.join(", "),
        offset(incident.first_event_at, base),
        offset(incident.last_event_at, base),
    )
}
