//! Correlation rules as their documents state them. [`correlate`](crate::sigma::correlate) makes native rules of them.

use std::ops::Range;

use crate::rule::diagnostic::nearest;
use crate::rule::draft::Problems;
use crate::rule::tree::{Kind, Node};
use crate::sigma::condition::{Expression, parse};
use crate::sigma::native::text;

const KEYS: [&str; 8] =
    ["type", "rules", "group-by", "timespan", "condition", "aliases", "generate", "custom_attributes"];
const COMPARISONS: [&str; 6] = ["gt", "gte", "lt", "lte", "eq", "neq"];

/// What a correlation does with its rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sort {
    Events,
    Values,
    Sum,
    Average,
    Median,
    Percentile,
    Together,
    InOrder,
}

const SORTS: [(&str, Sort); 8] = [
    ("event_count", Sort::Events),
    ("value_count", Sort::Values),
    ("value_sum", Sort::Sum),
    ("value_avg", Sort::Average),
    ("value_median", Sort::Median),
    ("value_percentile", Sort::Percentile),
    ("temporal", Sort::Together),
    ("temporal_ordered", Sort::InOrder),
];

/// A correlation as its document states it.
#[derive(Clone, Debug)]
pub(crate) struct Correlation {
    pub(crate) sort: Sort,
    pub(crate) span: Range<usize>,
    /// The rules by id or name.
    pub(crate) rules: Vec<(String, Range<usize>)>,
    pub(crate) group_by: Vec<(String, Range<usize>)>,
    pub(crate) timespan: Node,
    pub(crate) condition: Option<Condition>,
    /// Field by alias and rule.
    pub(crate) aliases: Vec<(String, Vec<(String, String)>)>,
    pub(crate) generate: bool,
}

#[derive(Clone, Debug)]
pub(crate) enum Condition {
    /// What a number must be, of which field, and which percentile.
    Number {
        bounds: Vec<(&'static str, f64, Node)>,
        field: Option<Node>,
        percentile: Option<Node>,
        span: Range<usize>,
    },
    /// Which rules must be there.
    Rules(Expression, Range<usize>),
}

impl Correlation {
    pub(crate) fn read(node: &Node, root: &Node, problems: &mut Problems<'_>) -> Option<Self> {
        let members = problems.members(node, "a correlation", &KEYS);
        let get = |name: &str| members.iter().find(|(key, _, _)| *key == name).map(|(_, _, value)| *value);
        let missing = |name: &str, example: &str, problems: &mut Problems<'_>| {
            let help = format!("add `{name}: {example}`");
            problems.error(&node.span, format!("a correlation without `{name}`"), "this one", Some(help));
        };
        let sort = match get("type") {
            None => {
                missing("type", "event_count", problems);
                None
            }
            Some(node) => {
                let name = problems.text(node, "type")?;
                let sort = SORTS.iter().find(|(known, _)| *known == name).map(|(_, sort)| *sort);
                if sort.is_none() {
                    let help = nearest(&name, SORTS.map(|(name, _)| name))
                        .map(|near| format!("did you mean `{near}`?"));
                    let label = format!("expected one of {}", SORTS.map(|(name, _)| name).join(", "));
                    problems.error(&node.span, format!("`{name}` is no type of correlation"), label, help);
                }
                sort
            }
        };
        let timespan = match get("timespan") {
            None => {
                missing("timespan", "5m", problems);
                None
            }
            Some(node) => timespan(node, problems),
        };
        let rules = named(get("rules"), "rules", problems);
        if get("rules").is_none() {
            missing("rules", "[some_rule]", problems);
        }
        let group_by = named(get("group-by"), "group-by", problems);
        let aliases = get("aliases").map(|node| aliases(node, problems)).unwrap_or_default();
        // Older files have it beside the correlation.
        let generate = get("generate").or_else(|| root.member("generate"));
        let generate = generate.and_then(|node| problems.flag(node, "generate")).unwrap_or(false);
        let condition = match get("condition") {
            None => None,
            Some(node) => Some(condition(node, problems)?),
        };
        let sort = sort?;
        let counts = !matches!(sort, Sort::Together | Sort::InOrder);
        if counts && condition.is_none() {
            missing("condition", "{gte: 10}", problems);
            return None;
        }
        if let (true, Some(Condition::Rules(_, span))) = (counts, &condition) {
            let help = "a number is compared with `{gte: 10}`";
            problems.error(
                span,
                "this type of correlation takes no condition over rules",
                "not here",
                Some(help.into()),
            );
            return None;
        }
        (!rules.is_empty()).then_some(())?;
        Some(Correlation {
            sort,
            span: node.span.clone(),
            rules,
            group_by,
            timespan: timespan?,
            condition,
            aliases,
            generate,
        })
    }
}

fn named(node: Option<&Node>, what: &str, problems: &mut Problems<'_>) -> Vec<(String, Range<usize>)> {
    let Some(node) = node.filter(|node| !matches!(&node.kind, Kind::List(items) if items.is_empty())) else {
        return Vec::new();
    };
    problems.texts(node, what).into_iter().map(|text| (text.value, text.span)).collect()
}

/// `15s`, `5m`, `1h`, `7d`, `2w`, `1M` and `1y`: a month and a year are the average ones, as pySigma counts them.
fn timespan(node: &Node, problems: &mut Problems<'_>) -> Option<Node> {
    let written = problems.text(node, "timespan")?;
    let trimmed = written.trim();
    let digits = trimmed.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let seconds = match &trimmed[digits.len()..] {
        "s" => Some(1),
        "m" => Some(60),
        "h" => Some(3_600),
        "d" => Some(86_400),
        "w" => Some(7 * 86_400),
        "M" => Some(2_629_746),
        "y" => Some(31_556_952),
        _ => None,
    };
    let total =
        seconds.zip(digits.trim().parse::<u64>().ok()).and_then(|(unit, count)| count.checked_mul(unit));
    match total {
        Some(total) if total > 0 => {
            // Spelt as people read it, where one unit says it.
            let unit =
                [("d", 86_400), ("h", 3_600), ("m", 60)].into_iter().find(|(_, unit)| total % unit == 0);
            let spelt = unit.map_or(format!("{total}s"), |(name, unit)| format!("{}{name}", total / unit));
            Some(text(spelt, &node.span))
        }
        _ => {
            let label = "expected a number and s, m, h, d, w, M or y, such as `5m`";
            problems.error(&node.span, format!("{written:?} is no timespan"), label, None);
            None
        }
    }
}

/// `{alias: {rule: field}}`.
fn aliases(node: &Node, problems: &mut Problems<'_>) -> Vec<(String, Vec<(String, String)>)> {
    let Kind::Map(members) = &node.kind else {
        problems.expected(node, "aliases", "named values");
        return Vec::new();
    };
    let mut found = Vec::new();
    for (key, value) in members {
        let (Some(alias), Kind::Map(rules)) = (problems.text(key, "aliases"), &value.kind) else {
            problems.expected(value, "aliases", "a field for each rule");
            continue;
        };
        let pair = |(rule, field): &(Node, Node)| Some((rule.scalar_text()?, field.scalar_text()?));
        found.push((alias, rules.iter().filter_map(pair).collect()));
    }
    found
}

fn condition(node: &Node, problems: &mut Problems<'_>) -> Option<Condition> {
    if let Kind::Text(written) = &node.kind {
        return match parse(written) {
            Ok(expression) => Some(Condition::Rules(expression, node.span.clone())),
            Err(why) => {
                problems.error(&node.span, "this condition cannot be understood", why, None);
                None
            }
        };
    }
    let known: Vec<&str> = COMPARISONS.into_iter().chain(["field", "percentile"]).collect();
    let mut bounds = Vec::new();
    let (mut field, mut percentile) = (None, None);
    for (name, _, value) in problems.members(node, "a condition", &known) {
        match name {
            "field" => field = Some(value.clone()),
            "percentile" => percentile = Some(value.clone()),
            _ => {
                let number = match &value.kind {
                    Kind::Int(number) => Some(*number as f64),
                    Kind::Float(number) => Some(*number),
                    _ => None,
                };
                let Some(number) = number else {
                    problems.expected(value, name, "a number");
                    return None;
                };
                let comparison = COMPARISONS.iter().find(|known| **known == name)?;
                bounds.push((*comparison, number, value.clone()));
            }
        }
    }
    if bounds.is_empty() {
        let help = "add `gte: 10`, or another of gt, lt, lte, eq, neq";
        problems.error(&node.span, "a condition that compares nothing", "this one", Some(help.into()));
        return None;
    }
    Some(Condition::Number { bounds, field, percentile, span: node.span.clone() })
}
