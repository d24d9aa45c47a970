//! The shape of one step.

use crate::field::Field;
use crate::limits::WINDOW_MAX_MICROS;
use crate::rule::draft::{At, DraftInput, DraftStep, Problems};
use crate::rule::draft_match::condition;
use crate::rule::draft_need::{NEED_KEYS, need};
use crate::rule::tree::{Kind, Node};

pub(crate) const STEP_KEYS: [&str; 6] = ["name", "match", "rule", "by", "max_gap", "show"];

/// Understands one step.
pub(crate) fn step(node: &Node, problems: &mut Problems<'_>) -> Option<DraftStep> {
    let known = [STEP_KEYS.as_slice(), &NEED_KEYS].concat();
    let members = problems.members(node, "a step", &known);
    let get =
        |name: &str| members.iter().find(|(key, _, _)| *key == name).map(|(_, key, value)| (*key, *value));
    let name = match get("name") {
        None => {
            problems.error(
                &node.span,
                "a step without `name`",
                "this step",
                Some("evidence names its step: add `name: …`".into()),
            );
            None
        }
        Some((_, node)) => problems.text(node, "name").map(|value| At { value, span: node.span.clone() }),
    };
    let input = match (get("match"), get("rule")) {
        (Some((_, node)), None) => condition(node, problems).map(DraftInput::Events),
        (None, Some((_, node))) => {
            let rule = problems.text(node, "rule").map(|value| At { value, span: node.span.clone() });
            rule.map(DraftInput::Completions)
        }
        (Some(_), Some((key, _))) => {
            problems.error(
                &key.span,
                "a step with both `match` and `rule`",
                "leave one out",
                Some("`match` is for events, `rule` for the completion of another rule".into()),
            );
            None
        }
        (None, None) => {
            problems.error(
                &node.span,
                "a step that nothing can satisfy",
                "neither `match` nor `rule`",
                Some("add `match:` with what an event must have".into()),
            );
            None
        }
    };
    let (need, counted) = need(node, &members, problems)?;
    let gap_max = match get("max_gap") {
        None => None,
        Some((_, node)) => {
            let value = problems.duration(node, "max_gap", WINDOW_MAX_MICROS)?;
            Some(At { value, span: node.span.clone() })
        }
    };
    let by = get("by").map_or(Some(Vec::new()), |(_, node)| step_by(node, problems));
    let shown = get("show").map(|(_, node)| problems.fields(node, "show")).unwrap_or_default();
    Some(DraftStep { name: name?, input: input?, need, counted, gap_max, by: by?, shown })
}

/// `{user: subject_user}`, with a list where any of several fields holds the value.
fn step_by(node: &Node, problems: &mut Problems<'_>) -> Option<Vec<(At<String>, Vec<Field>)>> {
    let Kind::Map(members) = &node.kind else {
        problems.error(
            &node.span,
            "`by` of a step must name parts of the key",
            "expected named values",
            Some("write `by: {user: subject_user}`".into()),
        );
        return None;
    };
    let mut parts = Vec::new();
    for (key, value) in members {
        let name = problems.text(key, "by")?;
        let fields = problems.fields(value, "by");
        if fields.is_empty() {
            return None;
        }
        parts.push((At { value: name, span: key.span.clone() }, fields));
    }
    Some(parts)
}
