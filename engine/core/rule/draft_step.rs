//! The shape of one step.

use crate::field::Field;
use crate::limits::WINDOW_MAX_MICROS;
use crate::predicate::Condition;
use crate::rule::draft::{At, DraftAbsence, DraftInput, DraftStep, IfSilent, Problems, Role};
use crate::rule::draft_match::condition;
use crate::rule::draft_need::{NEED_KEYS, need};
use crate::rule::plan::Need;
use crate::rule::tree::{Kind, Node, Saying};

pub(crate) const STEP_KEYS: [&str; 11] =
    ["name", "match", "rule", "by", "min_gap", "max_gap", "show", "absent", "within", "if_silent", "alive"];

const UNTIL_KEYS: [&str; 4] = ["name", "match", "rule", "by"];

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
    let (input, only) = input(node, &members, problems)?;
    let (need, counted) = need(node, &members, problems)?;
    let length = |problems: &mut Problems<'_>, name: &str| match get(name) {
        None => Some(None),
        Some((_, node)) => {
            let value = problems.duration(node, name, WINDOW_MAX_MICROS)?;
            Some(Some(At { value, span: node.span.clone() }))
        }
    };
    let (gap_min, gap_max) = (length(problems, "min_gap")?, length(problems, "max_gap")?);
    let within = length(problems, "within")?;
    let role = role(&members, within, problems)?;
    let need = match role {
        Role::Absent(_) => {
            for (name, key, _) in members.iter().filter(|(name, _, _)| NEED_KEYS.contains(name)) {
                let message = format!("`{name}` of a step that must not happen");
                let help = "count in a rule of its own, and name its completion here with `rule: …`";
                problems.error(&key.span, message, "one is one too many", Some(help.into()));
            }
            At { value: Need::Nothing, span: need.span }
        }
        _ => need,
    };
    let by = get("by").map_or(Some(Vec::new()), |(_, node)| step_by(node, problems))?;
    let shown = get("show").map(|(_, node)| problems.fields(node, "show")).unwrap_or_default();
    let asks = get("match").map(|(_, node)| node.canonical(Saying::Meaning)).unwrap_or_default();
    Some(DraftStep { name: name?, input, need, counted, gap_min, gap_max, role, only, by, shown, asks })
}

/// Understands what ends a sequence: a step of which nothing is counted.
pub(crate) fn until(node: &Node, problems: &mut Problems<'_>) -> Option<DraftStep> {
    let members = problems.members(node, "`until`", &UNTIL_KEYS);
    let get = |name: &str| members.iter().find(|(key, _, _)| *key == name).map(|(_, _, value)| *value);
    let name = get("name").map_or(Some("until".to_owned()), |node| problems.text(node, "name"))?;
    let (input, only) = input(node, &members, problems)?;
    let by = get("by").map_or(Some(Vec::new()), |node| step_by(node, problems))?;
    let name = At { value: name, span: node.span.clone() };
    let need = At { value: Need::Nothing, span: node.span.clone() };
    Some(DraftStep { need, by, only, role: Role::Until, ..DraftStep::new(name, input) })
}

type Members<'n> = [(&'n str, &'n Node, &'n Node)];

/// `match` for events; `rule` for the completions of another rule, and with `match` beside it for some of them.
fn input(
    step: &Node,
    members: &Members<'_>,
    problems: &mut Problems<'_>,
) -> Option<(DraftInput, Option<Condition>)> {
    let get = |name: &str| members.iter().find(|(key, _, _)| *key == name).map(|(_, _, value)| *value);
    let wanted = match get("match") {
        None => None,
        Some(node) => Some(condition(node, problems)?),
    };
    match (wanted, get("rule")) {
        (Some(wanted), None) => Some((DraftInput::Events(wanted), None)),
        (only, Some(node)) => {
            let value = problems.text(node, "rule")?;
            Some((DraftInput::Completions(At { value, span: node.span.clone() }), only))
        }
        (None, None) => {
            problems.error(
                &step.span,
                "a step that nothing can satisfy",
                "neither `match` nor `rule`",
                Some("add `match:` with what an event must have".into()),
            );
            None
        }
    }
}

/// `absent: true`, and how long it is looked for.
fn role(members: &Members<'_>, within: Option<At<i64>>, problems: &mut Problems<'_>) -> Option<Role> {
    let get =
        |name: &str| members.iter().find(|(key, _, _)| *key == name).map(|(_, key, value)| (*key, *value));
    let absent = match get("absent") {
        None => false,
        Some((_, node)) => problems.flag(node, "absent")?,
    };
    if !absent {
        for name in ["within", "if_silent", "alive"] {
            if let Some((key, _)) = get(name) {
                let help = "add `absent: true`, or leave it out";
                let message = format!("`{name}` of a step that must happen");
                problems.error(&key.span, message, "only for what must not happen", Some(help.into()));
            }
        }
        return Some(Role::Place);
    }
    let (key, _) = get("absent").expect("it was just read");
    let if_silent = match get("if_silent") {
        None => None,
        Some((_, node)) => {
            let value = match problems.text(node, "if_silent")?.as_str() {
                "say" => IfSilent::Say,
                "drop" => IfSilent::Drop,
                "ignore" => IfSilent::Ignore,
                other => {
                    let label = "expected `say` (marked as unknown), `drop` (counted only) or `ignore`";
                    problems.error(&node.span, format!("`if_silent` cannot be `{other}`"), label, None);
                    return None;
                }
            };
            Some(At { value, span: node.span.clone() })
        }
    };
    let alive = match get("alive") {
        None => None,
        Some((_, node)) => Some(At { value: condition(node, problems)?, span: node.span.clone() }),
    };
    Some(Role::Absent(Box::new(DraftAbsence { span: key.span.clone(), within, if_silent, alive })))
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
