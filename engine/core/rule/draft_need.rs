//! The shape of what a step takes: a count, distinct values, a measure of numbers, a value never seen before.

use crate::field::Field;
use crate::key::Normal;
use crate::limits::{
    COUNT_MAX, FIRST_SEEN_FORGET_DEFAULT_MICROS, FIRST_SEEN_LEARN_DEFAULT_MICROS, WINDOW_MAX_MICROS,
};
use crate::rule::draft::{At, Problems};
use crate::rule::plan::{Measure, Need, Novelty};
use crate::rule::range::{Comparison, Range};
use crate::rule::tree::{Kind, Node};

/// The keys of a step that say what it takes.
pub(crate) const NEED_KEYS: [&str; 11] = [
    "min_count",
    "max_count",
    "count",
    "distinct",
    "sum",
    "avg",
    "min",
    "max",
    "median",
    "percentile",
    "first_seen",
];

/// What a step takes, and the field that is counted or measured.
pub(crate) type Taken = (At<Need>, Option<(Field, Normal)>);

/// Understands what a step takes. One event, where it does not say.
pub(crate) fn need(
    step: &Node,
    members: &[(&str, &Node, &Node)],
    problems: &mut Problems<'_>,
) -> Option<Taken> {
    let said: Vec<_> = members.iter().filter(|(name, _, _)| NEED_KEYS.contains(name)).collect();
    let counts = |name: &str| matches!(name, "min_count" | "max_count");
    let others = said.iter().filter(|(name, _, _)| !counts(name)).count();
    if others > 1 || (others == 1 && said.len() > 1) {
        let (_, key, _) = said[1];
        let help =
            "name the same `match` in two steps, and say `distinct_events: false`, where both must hold";
        let message = format!("a step with both `{}` and `{}`", said[0].0, said[1].0);
        problems.error(&key.span, message, "leave one out", Some(help.into()));
        return None;
    }
    let Some((name, key, value)) = said.iter().find(|(name, _, _)| !counts(name)) else {
        return counted(step, &said, problems);
    };
    let at = |need| At { value: need, span: key.span.start..value.span.end };
    match *name {
        "count" => {
            map(value, "count", "{gte: 3, lt: 10}", problems)?;
            let range = range("count", value, &[], problems)?;
            sensible_count(&range, value, problems)?;
            Some((at(Need::Events(range)), None))
        }
        "distinct" => {
            let (field, normal) = field(value, "distinct", "{field: user, at_least: 5}", problems)?;
            let range = range("distinct", value, &["field", "as"], problems)?;
            sensible_count(&range, value, problems)?;
            Some((at(Need::Values(range)), Some((field, normal))))
        }
        "first_seen" => {
            let (counted, novelty) = novelty(value, problems)?;
            Some((at(Need::New(novelty)), Some(counted)))
        }
        measure => {
            let (measure, own): (_, &[&str]) = match measure {
                "sum" => (Measure::Sum, &["field"]),
                "avg" => (Measure::Average, &["field"]),
                "min" => (Measure::Min, &["field"]),
                "max" => (Measure::Max, &["field"]),
                "median" => (Measure::Median, &["field"]),
                _ => (Measure::Percentile(percent(value, problems)?), &["field", "percent"]),
            };
            let example = match measure {
                Measure::Percentile(_) => "{field: bytes, percent: 95, gte: 1000}",
                _ => "{field: bytes, gte: 1000}",
            };
            let (field, _) = field(value, name, example, problems)?;
            let range = range(name, value, own, problems)?;
            if range.is_empty() {
                let message = format!("no number can be what `{name}` asks for");
                problems.error(&value.span, message, "these exclude each other", None);
                return None;
            }
            Some((at(Need::Measure(measure, range)), Some((field, Normal::Text))))
        }
    }
}

/// `min_count` and `max_count`, either of which may be missing.
fn counted(step: &Node, said: &[&(&str, &Node, &Node)], problems: &mut Problems<'_>) -> Option<Taken> {
    let get = |name: &str| said.iter().find(|(there, _, _)| *there == name).map(|(_, _, value)| *value);
    let least = get("min_count").map(|node| (node, problems.number(node, "min_count", 1, COUNT_MAX)));
    let most = get("max_count").map(|node| (node, problems.number(node, "max_count", 1, COUNT_MAX)));
    let mut range = Range::at_least(1);
    let mut span = step.span.clone();
    if let Some((node, least)) = least {
        range = range.and(Comparison::Gte, f64::from(least?));
        span = node.span.clone();
    }
    if let Some((node, most)) = most {
        range = range.and(Comparison::Lte, f64::from(most?));
        span = node.span.clone();
        sensible_count(&range, node, problems)?;
    }
    Some((At { value: Need::Events(range), span }, None))
}

type Members<'n> = &'n [(Node, Node)];

fn map<'n>(node: &'n Node, what: &str, example: &str, problems: &mut Problems<'_>) -> Option<Members<'n>> {
    match &node.kind {
        Kind::Map(members) => Some(members),
        other => {
            let label = format!("expected named values, found {}", other.describe());
            let help = format!("write `{what}: {example}`");
            problems.error(
                &node.span,
                format!("`{what}` has a value that it cannot have"),
                label,
                Some(help),
            );
            None
        }
    }
}

/// The conditions on a number, all of which must hold.
fn range(what: &str, node: &Node, own: &[&str], problems: &mut Problems<'_>) -> Option<Range> {
    let known: Vec<&str> =
        own.iter().copied().chain(Comparison::NAMES.iter().map(|(name, _)| *name)).collect();
    let before = problems.all.len();
    let found = problems.members(node, &format!("`{what}`"), &known);
    let counts = matches!(what, "count" | "distinct");
    let mut range = if counts { Range::at_least(1) } else { Range::default() };
    let mut conditions = 0;
    for (name, _, value) in found {
        let Some((_, comparison)) = Comparison::NAMES.iter().find(|(known, _)| *known == name) else {
            continue;
        };
        let than = problems.float(value, name)?;
        if counts && (than < 0.0 || than > f64::from(COUNT_MAX)) {
            problems.error(
                &value.span,
                format!("`{name}` has a value that it cannot have"),
                format!("expected a number from 0 to {COUNT_MAX}"),
                None,
            );
            return None;
        }
        range = range.and(*comparison, than);
        conditions += 1;
    }
    if problems.all.len() > before {
        return None;
    }
    if conditions == 0 {
        let help = "add `gte: …`, `gt`, `lte`, `lt`, `eq` or `neq`; several of them must all hold";
        let message = format!("`{what}` without a condition");
        problems.error(&node.span, message, "compared with nothing", Some(help.into()));
        return None;
    }
    Some(range)
}

fn sensible_count(range: &Range, node: &Node, problems: &mut Problems<'_>) -> Option<()> {
    if range.has_no_count() {
        let label = "no whole number from 1 is so";
        let help = "a rule that is to fire when nothing comes needs a step with `absent: true`";
        problems.error(&node.span, "nothing can be counted to that", label, Some(help.into()));
        return None;
    }
    Some(())
}

/// The field that is counted or measured, and how its values are spelt.
fn field(node: &Node, what: &str, example: &str, problems: &mut Problems<'_>) -> Option<(Field, Normal)> {
    let members = map(node, what, example, problems)?;
    let get = |name: &str| {
        members.iter().find(|(key, _)| key.scalar_text().as_deref() == Some(name)).map(|(_, value)| value)
    };
    let Some(named) = get("field") else {
        let help = format!("write `{what}: {example}`");
        problems.error(&node.span, format!("`{what}` without `field`"), "this", Some(help));
        return None;
    };
    let name = problems.text(named, "field")?;
    let normal = get("as").map_or(Some(Normal::by_name(&name)), |node| problems.normal(node))?;
    let field = problems.field(&At { value: name, span: named.span.clone() })?;
    Some((field, normal))
}

fn percent(node: &Node, problems: &mut Problems<'_>) -> Option<f64> {
    let members = map(node, "percentile", "{field: bytes, percent: 95, gte: 1000}", problems)?;
    let percent = members.iter().find(|(key, _)| key.scalar_text().as_deref() == Some("percent"));
    let Some((_, percent)) = percent else {
        let help = "write `percentile: {field: bytes, percent: 95, gte: 1000}`";
        problems.error(&node.span, "`percentile` without `percent`", "which one?", Some(help.into()));
        return None;
    };
    let number = problems.float(percent, "percent")?;
    if !(0.0..=100.0).contains(&number) {
        problems.error(
            &percent.span,
            "`percent` has a value that it cannot have",
            "expected a number from 0 to 100",
            None,
        );
        return None;
    }
    Some(number)
}

/// `{field: process, learn: 14d, forget: 30d}`.
fn novelty(node: &Node, problems: &mut Problems<'_>) -> Option<((Field, Normal), Novelty)> {
    let example = "{field: process, learn: 14d, forget: 30d}";
    let counted = field(node, "first_seen", example, problems)?;
    let before = problems.all.len();
    let members = problems.members(node, "`first_seen`", &["field", "as", "learn", "forget"]);
    let mut span = |name: &str, default: i64| {
        let given = members.iter().find(|(key, _, _)| *key == name);
        given.map_or(Some(default), |(_, _, value)| problems.duration(value, name, WINDOW_MAX_MICROS))
    };
    let learn = span("learn", FIRST_SEEN_LEARN_DEFAULT_MICROS);
    let forget = span("forget", FIRST_SEEN_FORGET_DEFAULT_MICROS);
    if problems.all.len() > before {
        return None;
    }
    let novelty = Novelty { learn: learn?, forget: forget? };
    if novelty.forget == 0 {
        problems.error(&node.span, "`forget` of no time", "every value would be new", None);
        return None;
    }
    Some((counted, novelty))
}
