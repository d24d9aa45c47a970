//! A rule in our words, written as YAML.

use std::fmt::Write;

use serde_json::Value;

/// A rule.
#[derive(Clone, Debug, Default)]
pub(super) struct Rule {
    pub(super) id: String,
    pub(super) title: String,
    pub(super) description: String,
    pub(super) severity: String,
    pub(super) tags: Vec<String>,
    pub(super) window: String,
    pub(super) ordered: bool,
    pub(super) by: Vec<String>,
    pub(super) steps: Vec<Step>,
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
}

/// A text as an id: what cannot stand in one becomes `_`.
pub(super) fn id(text: &str) -> String {
    let letter =
        |letter: char| if letter.is_ascii_alphanumeric() || "_-.".contains(letter) { letter } else { '_' };
    text.chars().map(letter).take(100).collect()
}

/// The rule file.
pub(super) fn yaml(rule: &Rule, left_out: &[String]) -> String {
    let mut out = String::new();
    for what in left_out {
        let _ = writeln!(out, "# not carried over: {}", what.replace('\n', " "));
    }
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
    line("window", rule.window.clone());
    if rule.ordered {
        line("ordered", "true".to_owned());
    }
    line("by", flow(&Value::from(rule.by.clone())));
    let _ = writeln!(out, "    steps:");
    for step in &rule.steps {
        let _ = writeln!(out, "      - name: {}", step.name);
        let _ = writeln!(out, "        match: {}", flow(&step.conditions));
        if !step.by.is_empty() {
            let by: serde_json::Map<String, Value> =
                step.by.iter().map(|(part, field)| (part.clone(), field.as_str().into())).collect();
            let _ = writeln!(out, "        by: {}", flow(&by.into()));
        }
        if step.min_count > 1 {
            let _ = writeln!(out, "        min_count: {}", step.min_count);
        }
        if let Some(gap) = &step.max_gap {
            let _ = writeln!(out, "        max_gap: {gap}");
        }
    }
    out
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
