//! A rule in our words, written as YAML.

use std::fmt::Write;

use serde_json::{Value, json};

/// A rule.
#[derive(Clone, Debug, Default)]
pub(super) struct Rule {
    pub(super) id: String,
    pub(super) title: String,
    pub(super) description: String,
    pub(super) severity: String,
    pub(super) tags: Vec<String>,
    /// Tactics and techniques of ATT&CK.
    pub(super) tactics: Vec<String>,
    pub(super) techniques: Vec<String>,
    pub(super) references: Vec<String>,
    pub(super) status: String,
    /// It makes no incidents.
    pub(super) is_silent: bool,
    pub(super) window: String,
    pub(super) ordered: bool,
    pub(super) by: Vec<String>,
    /// Parts of the key that may be missing.
    pub(super) optional: Vec<String>,
    pub(super) steps: Vec<Step>,
    /// What ends a sequence that has begun.
    pub(super) until: Option<Until>,
    pub(super) tests: Vec<Test>,
}

/// A test.
#[derive(Clone, Debug, Default)]
pub(super) struct Test {
    pub(super) name: String,
    pub(super) events: Vec<Value>,
    /// Whether an incident must come of them.
    pub(super) fires: bool,
}

/// What ends a sequence that has begun.
#[derive(Clone, Debug, Default)]
pub(super) struct Until {
    /// The block of conditions.
    pub(super) conditions: Value,
    /// Parts of the key that another field holds here.
    pub(super) by: Vec<(String, String)>,
}

/// A step.
#[derive(Clone, Debug, Default)]
pub(super) struct Step {
    pub(super) name: String,
    /// The block of conditions.
    pub(super) conditions: Value,
    pub(super) min_count: u64,
    /// Parts of the key that another field holds here.
    pub(super) by: Vec<(String, String)>,
    pub(super) max_gap: Option<String>,
    /// It must not happen.
    pub(super) absence: Option<Absence>,
}

/// That something must not happen.
#[derive(Clone, Debug, Default)]
pub(super) struct Absence {
    /// For how long, before the first or behind the last step; the window where it says nothing.
    pub(super) within: Option<String>,
    /// Whoever would report it has nothing else to say, so its silence means nothing.
    pub(super) reports_nothing_else: bool,
}

/// A text as an id: what cannot stand in one becomes `_`.
pub(super) fn id(text: &str) -> String {
    let letter =
        |letter: char| if letter.is_ascii_alphanumeric() || "_-.".contains(letter) { letter } else { '_' };
    text.chars().map(letter).take(100).collect()
}

/// The rule file.
pub(super) fn yaml(rule: &Rule) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "rules:\n  - id: {}", rule.id);
    let mut line = |key: &str, value: String| {
        let _ = writeln!(out, "    {key}: {value}");
    };
    if !rule.title.is_empty() {
        line("title", flow(&rule.title.as_str().into()));
    }
    if !rule.description.is_empty() {
        line("description", flow(&rule.description.as_str().into()));
    }
    line("severity", rule.severity.clone());
    if !rule.tags.is_empty() {
        line("tags", flow(&Value::from(rule.tags.clone())));
    }
    let ids = [("tactics", &rule.tactics), ("techniques", &rule.techniques)];
    let ids: serde_json::Map<_, _> = ids
        .into_iter()
        .filter(|(_, ids)| !ids.is_empty())
        .map(|(name, ids)| (name.to_owned(), Value::from(ids.clone())))
        .collect();
    if !ids.is_empty() {
        line("attack", flow(&ids.into()));
    }
    if !rule.references.is_empty() {
        line("references", flow(&Value::from(rule.references.clone())));
    }
    if !rule.status.is_empty() {
        line("status", flow(&rule.status.as_str().into()));
    }
    if rule.is_silent {
        line("generate", "false".to_owned());
    }
    line("window", rule.window.clone());
    if rule.ordered {
        line("ordered", "true".to_owned());
    }
    let part = |name: &String| match rule.optional.contains(name) {
        true => json!({ "name": name, "optional": true }),
        false => name.as_str().into(),
    };
    line("by", flow(&rule.by.iter().map(part).collect()));
    if let Some(until) = &rule.until {
        let by = match until.by.is_empty() {
            true => String::new(),
            false => format!(", by: {}", flow(&fields(&until.by))),
        };
        let _ = writeln!(out, "    until: {{match: {}{by}}}", flow(&until.conditions));
    }
    let _ = writeln!(out, "    steps:");
    rule.steps.iter().for_each(|step| write_step(step, &mut out));
    if !rule.tests.is_empty() {
        let _ = writeln!(out, "    tests:");
        rule.tests.iter().for_each(|test| write_test(test, &mut out));
    }
    out
}

fn write_test(test: &Test, out: &mut String) {
    let none = if test.events.is_empty() { " []" } else { "" };
    let _ = writeln!(out, "      - name: {}\n        events:{none}", flow(&test.name.as_str().into()));
    for event in &test.events {
        let _ = writeln!(out, "          - {}", flow(event));
    }
    let _ = writeln!(out, "        expect: {}", if test.fires { "[{}]" } else { "none" });
}

fn write_step(step: &Step, out: &mut String) {
    let _ = writeln!(out, "      - name: {}", step.name);
    let mut line = |key: &str, value: String| {
        let _ = writeln!(out, "        {key}: {value}");
    };
    line("match", flow(&step.conditions));
    if !step.by.is_empty() {
        line("by", flow(&fields(&step.by)));
    }
    if step.min_count > 1 {
        line("min_count", step.min_count.to_string());
    }
    if let Some(gap) = &step.max_gap {
        line("max_gap", gap.clone());
    }
    if let Some(absence) = &step.absence {
        line("absent", "true".to_owned());
        if let Some(within) = &absence.within {
            line("within", within.clone());
        }
        if absence.reports_nothing_else {
            line("if_silent", "ignore".to_owned());
        }
    }
}

/// Parts of the key, and the fields that hold them.
fn fields(by: &[(String, String)]) -> Value {
    by.iter()
        .map(|(part, field)| (part.clone(), field.as_str().into()))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

/// A value on one line. Texts are quoted wherever YAML could take them for something else.
fn flow(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::String(text) => scalar(text),
        Value::Array(items) => format!("[{}]", items.iter().map(flow).collect::<Vec<_>>().join(", ")),
        Value::Object(members) => {
            let pairs = members.iter().map(|(name, value)| format!("{}: {}", scalar(name), flow(value)));
            format!("{{{}}}", pairs.collect::<Vec<_>>().join(", "))
        }
    }
}

fn scalar(text: &str) -> String {
    let plain = text.chars().next().is_some_and(|first| first.is_ascii_alphabetic())
        && text.chars().all(|letter| letter.is_ascii_alphanumeric() || "_.-/".contains(letter))
        && !["true", "false", "null", "yes", "no", "on", "off", "y", "n"]
            .contains(&text.to_ascii_lowercase().as_str());
    if plain { text.to_owned() } else { Value::from(text).to_string() }
}
