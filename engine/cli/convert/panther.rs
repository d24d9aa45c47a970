//! Panther's correlation rules: sequences and groups of its signals, which come here as events of the source `panther` whose
//! kind is the rule's id.

use serde_json::json;
use sightline_core::rule::tree::{self, Kind, Node};

use super::Converted;
use super::native::{Absence, Rule, Step, id as as_id};

/// The source that Panther's signals are expected from.
const SOURCE: &str = "panther";

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
    let detection = match root.member("Detection").map(|node| &node.kind) {
        Some(Kind::List(items)) => items.first().ok_or("`Detection` is empty")?,
        Some(Kind::Map(_)) => root.member("Detection").ok_or("no `Detection`")?,
        _ => return Err("expected `Detection` with a `Sequence` or a `Group`".to_owned()),
    };
    let rule = Rule {
        id: said("RuleID").map_or_else(|| id.to_owned(), |id| as_id(&id)),
        title: said("DisplayName").unwrap_or_default(),
        description: said("Description").unwrap_or_default(),
        severity: said("Severity").unwrap_or_default().to_lowercase(),
        tags: root.member("Tags").map(texts).unwrap_or_default(),
        ..Rule::default()
    };
    let mut converted = Converted { rule, left_out: Vec::new() };
    if !["info", "low", "medium", "high", "critical"].contains(&converted.rule.severity.as_str()) {
        converted.left_out.push(format!("severity {:?}: it is medium here", converted.rule.severity));
        converted.rule.severity = "medium".to_owned();
    }
    match (detection.member("Sequence"), detection.member("Group")) {
        (Some(steps), _) => {
            converted.rule.ordered = true;
            members(steps, &mut converted);
        }
        (None, Some(steps)) => members(steps, &mut converted),
        (None, None) => return Err("expected a `Sequence` or a `Group` under `Detection`".to_owned()),
    }
    let minutes = detection.member("LookbackWindowMinutes").and_then(Node::scalar_text);
    converted.rule.window = minutes.map_or_else(
        || {
            converted.left_out.push("no `LookbackWindowMinutes`: the window is 1h".to_owned());
            "1h".to_owned()
        },
        |minutes| format!("{minutes}m"),
    );
    if let Some(transitions) = detection.member("Transitions") {
        self::transitions(transitions, &mut converted);
    }
    for name in ["Schedule", "EventEvaluationOrder", "MinMatchCount"] {
        if detection.member(name).is_some() {
            converted.left_out.push(format!("`{name}`"));
        }
    }
    if converted.rule.by.is_empty() {
        converted.left_out.push("no key: one window over everything".to_owned());
    }
    converted.left_out.push(format!(
        "signals of Panther's rules: they are expected as events of the source `{SOURCE}` with the rule's id as kind"
    ));
    Ok(converted)
}

fn texts(node: &Node) -> Vec<String> {
    match &node.kind {
        Kind::List(items) => items.iter().filter_map(Node::scalar_text).collect(),
        _ => node.scalar_text().into_iter().collect(),
    }
}

fn members(steps: &Node, converted: &mut Converted) {
    let Kind::List(steps) = &steps.kind else { return };
    for step in steps {
        let text = |name: &str| step.member(name).and_then(Node::scalar_text);
        let Some(of) = text("RuleID") else { continue };
        let name = text("ID").unwrap_or_else(|| of.clone());
        let is_absent = text("Absence").as_deref() == Some("true");
        if is_absent && !converted.rule.ordered {
            converted
                .left_out
                .push(format!("the absence of {name} from a group: only a sequence can ask for it"));
            continue;
        }
        // Panther's rules speak of what they find and of nothing else.
        let absence = is_absent.then_some(Absence { within: None, reports_nothing_else: true });
        let min_count = text("MinMatchCount").and_then(|count| count.parse().ok()).unwrap_or(1);
        converted.rule.steps.push(Step {
            name: as_id(&name),
            conditions: json!({ "source": SOURCE, "kind": of }),
            min_count,
            absence,
            ..Step::default()
        });
    }
}

/// The step follows the one before within that time, or must not.
fn limit(at: usize, time: String, converted: &mut Converted) {
    let steps = &mut converted.rule.steps;
    let happens = |steps: &[Step]| steps.iter().any(|step| step.absence.is_none());
    let is_between = happens(&steps[..at]) && happens(&steps[at + 1..]);
    let name = steps[at].name.clone();
    match &mut steps[at].absence {
        None => steps[at].max_gap = Some(time),
        Some(absence) if !is_between => absence.within = Some(time),
        Some(_) => {
            let what = format!("that {name} is absent for {time} only: it must be until the next step");
            converted.left_out.push(what);
        }
    }
}

/// From one step to the next: what they share is the key, and how far they may be apart the gap.
fn transitions(transitions: &Node, converted: &mut Converted) {
    let Kind::List(transitions) = &transitions.kind else { return };
    for transition in transitions {
        let text = |name: &str| transition.member(name).and_then(Node::scalar_text);
        let to = text("To").map(|to| as_id(&to)).unwrap_or_default();
        let step = converted.rule.steps.iter().position(|step| step.name == to);
        if let (Some(minutes), Some(at)) = (text("WithinTimeFrameMinutes"), step) {
            limit(at, format!("{minutes}m"), converted);
        }
        let Some(Kind::List(matches)) = transition.member("Match").map(|node| &node.kind) else { continue };
        for shared in matches {
            let text = |name: &str| shared.member(name).and_then(Node::scalar_text);
            let (part, field) = match (text("On"), text("From"), text("To")) {
                (Some(on), _, _) => (on.clone(), on),
                (None, Some(from), Some(to)) => (from, to),
                _ => continue,
            };
            if !converted.rule.by.contains(&part) {
                converted.rule.by.push(part.clone());
            }
            match step {
                Some(at) if part != field => converted.rule.steps[at].by.push((part, field)),
                _ => {}
            }
        }
    }
}
