//! Panther's correlation rules: sequences and groups of its signals, which come here as events of the source `panther` whose
//! kind is the rule's id.

use std::collections::BTreeMap;

use serde_json::json;
use sightline_core::rule::tree::{self, Kind, Node};

use super::native::{Absence, Rule, Step, id as as_id};
use super::{Converted, panther_key, panther_tests};

/// The source that Panther's signals are expected from.
pub(super) const SOURCE: &str = "panther";

/// What is carried over of a rule, and what says nothing that a rule has to carry.
const KNOWN: [&str; 14] = [
    "AnalysisType",
    "RuleID",
    "DisplayName",
    "Description",
    "Severity",
    "Tags",
    "Detection",
    "Reports",
    "Reference",
    "Status",
    "CreateAlert",
    "Enabled",
    "DedupPeriodMinutes",
    "Tests",
];

/// Converts a correlation rule.
///
/// # Errors
/// When it is no YAML, or no correlation rule.
pub(super) fn convert(text: &str, id: &str) -> Result<Converted, String> {
    let root = tree::read(text).map_err(|malformed| malformed.message)?;
    let said = |name: &str| root.member(name).and_then(Node::scalar_text);
    if said("AnalysisType").as_deref() != Some("correlation_rule") {
        return Err("expected `AnalysisType: correlation_rule`".to_owned());
    }
    let mut converted = Converted { rule: Rule::default(), left_out: Vec::new() };
    let detection = match root.member("Detection").map(|node| &node.kind) {
        Some(Kind::List(items)) => {
            if items.len() > 1 {
                converted.left_out.push(format!("{} further detections", items.len() - 1));
            }
            items.first().ok_or("`Detection` is empty")?
        }
        Some(Kind::Map(_)) => root.member("Detection").ok_or("no `Detection`")?,
        _ => return Err("expected `Detection` with a `Sequence` or a `Group`".to_owned()),
    };
    notes(&root, id, &mut converted);
    let known = ["Sequence", "Group", "Transitions", "MatchCriteria", "LookbackWindowMinutes"];
    converted.leave_out(detection, "a detection", &known);
    let minutes = detection.member("LookbackWindowMinutes").and_then(Node::scalar_text);
    converted.rule.window = minutes.map_or_else(
        || {
            converted.left_out.push("no `LookbackWindowMinutes`: the window is 1h".to_owned());
            "1h".to_owned()
        },
        |minutes| format!("{minutes}m"),
    );
    let members = detection.member("Sequence").or(detection.member("Group"));
    let Some(Kind::List(members)) = members.map(|node| &node.kind) else {
        return Err("expected a `Sequence` or a `Group` under `Detection`".to_owned());
    };
    converted.rule.ordered = detection.member("Sequence").is_some();
    let mut kinds = BTreeMap::new();
    for member in members {
        kinds.extend(step(member, &mut converted));
    }
    panther_key::key(detection, &mut converted);
    if !converted.rule.ordered {
        absent_from_group(&mut converted);
    }
    panther_tests::tests(&root, &kinds, &mut converted);
    converted.left_out.push(format!(
        "signals of Panther's rules: they are expected as events of the source `{SOURCE}` with the rule's id as kind"
    ));
    Ok(converted)
}

/// What a rule says of itself.
fn notes(root: &Node, id: &str, converted: &mut Converted) {
    let said = |name: &str| root.member(name).and_then(Node::scalar_text);
    let listed = |name: &str| root.member(name).map(texts).unwrap_or_default();
    converted.rule = Rule {
        id: said("RuleID").map_or_else(|| id.to_owned(), |id| as_id(&id)),
        title: said("DisplayName").unwrap_or_default(),
        description: said("Description").unwrap_or_default().trim_end().to_owned(),
        severity: said("Severity").unwrap_or_default().trim().to_lowercase(),
        tags: listed("Tags"),
        references: listed("Reference"),
        status: said("Status").unwrap_or_default().to_lowercase(),
        is_silent: said("CreateAlert").as_deref() == Some("false"),
        ..Rule::default()
    };
    if !["info", "low", "medium", "high", "critical"].contains(&converted.rule.severity.as_str()) {
        converted.left_out.push(format!("severity {:?}: it is medium here", converted.rule.severity));
        converted.rule.severity = "medium".to_owned();
    }
    if said("Enabled").as_deref() == Some("false") {
        converted.left_out.push("that it is not enabled: rules that are loaded are in force".to_owned());
    }
    if let Some(minutes) = said("DedupPeriodMinutes") {
        let help = format!("`suppress: {{for: {minutes}m}}` counts from the last match, not from the first");
        converted.left_out.push(format!("`DedupPeriodMinutes`: {help}"));
    }
    if let Some(Kind::Map(reports)) = root.member("Reports").map(|node| &node.kind) {
        for (name, ids) in reports {
            match name.scalar_text().as_deref() {
                Some("MITRE ATT&CK") => texts(ids).iter().for_each(|id| attack(id, converted)),
                name => converted.left_out.push(format!("the report {}", name.unwrap_or_default())),
            }
        }
    }
    converted.leave_out(root, "a rule", &KNOWN);
}

/// `TA0010:T1041`, or one of the two.
fn attack(ids: &str, converted: &mut Converted) {
    for id in ids.split(':').map(str::trim) {
        let list = match id {
            id if id.starts_with("TA") => &mut converted.rule.tactics,
            id if id.starts_with('T') => &mut converted.rule.techniques,
            _ => {
                converted.left_out.push(format!("{id}, which is no id of ATT&CK"));
                continue;
            }
        };
        if !list.iter().any(|known| known == id) {
            list.push(id.to_owned());
        }
    }
}

fn texts(node: &Node) -> Vec<String> {
    match &node.kind {
        Kind::List(items) => items.iter().filter_map(Node::scalar_text).collect(),
        _ => node.scalar_text().into_iter().collect(),
    }
}

/// A step, and the kind of its events by its id.
fn step(member: &Node, converted: &mut Converted) -> Option<(String, String)> {
    converted.leave_out(member, "a step", &["ID", "RuleID", "Absence", "MinMatchCount"]);
    let text = |name: &str| member.member(name).and_then(Node::scalar_text);
    let Some(of) = text("RuleID") else {
        converted.left_out.push("a step without `RuleID`".to_owned());
        return None;
    };
    let name = as_id(&text("ID").unwrap_or_else(|| of.clone()));
    // Panther's rules speak of what they find and of nothing else.
    let absence = Absence { within: None, reports_nothing_else: true };
    let min_count = text("MinMatchCount").and_then(|count| count.parse().ok()).unwrap_or(1);
    converted.rule.steps.push(Step {
        name: name.clone(),
        conditions: json!({ "source": SOURCE, "kind": of }),
        min_count,
        absence: (text("Absence").as_deref() == Some("true")).then_some(absence),
        ..Step::default()
    });
    Some((name, of))
}

/// What is absent from a group is so before and after. Around one other member a sequence says that.
fn absent_from_group(converted: &mut Converted) {
    let rule = &mut converted.rule;
    let (absent, present): (Vec<Step>, Vec<Step>) =
        std::mem::take(&mut rule.steps).into_iter().partition(|step| step.absence.is_some());
    let ([_], [_, ..]) = (present.as_slice(), absent.as_slice()) else {
        rule.steps = present;
        for step in absent {
            let what = format!("the absence of {} from a group of several others", step.name);
            converted.left_out.push(what);
        }
        return;
    };
    let before = absent.iter().map(|step| {
        let absence = Some(Absence { within: Some(rule.window.clone()), reports_nothing_else: false });
        Step { name: format!("{}_before", step.name), absence, ..step.clone() }
    });
    let before: Vec<Step> = before.collect();
    rule.ordered = true;
    rule.steps = [before, present, absent].concat();
}
