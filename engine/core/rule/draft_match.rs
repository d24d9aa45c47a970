//! The shape of `match`: what a step asks of an event.

use crate::field::Field;
use crate::limits::CONDITION_DEPTH_MAX;
use crate::predicate::{Bits, Case, Condition, Networks, Ordering, Predicate, Regular, Test, Texts, Where};
use crate::rule::draft::{At, Problems};
use crate::rule::tree::{Kind, Node};

const MATCH_KEYS: [&str; 22] = [
    "source",
    "kind",
    "tags_any",
    "tags_all",
    "field_equals",
    "field_in",
    "field_contains",
    "field_starts_with",
    "field_ends_with",
    "field_matches",
    "field_cidr",
    "field_bits",
    "field_gt",
    "field_gte",
    "field_lt",
    "field_lte",
    "field_exists",
    "ignore_case",
    "any",
    "all",
    "not",
    "class",
];

/// Understands a block of conditions, all of which must hold.
pub(crate) fn condition(node: &Node, problems: &mut Problems<'_>) -> Option<Condition> {
    block(node, problems, 0)
}

fn block(node: &Node, problems: &mut Problems<'_>, depth: usize) -> Option<Condition> {
    if depth > CONDITION_DEPTH_MAX {
        problems.error(
            &node.span,
            "conditions nested too deep",
            format!("at most {CONDITION_DEPTH_MAX} levels"),
            None,
        );
        return None;
    }
    let before = problems.all.len();
    let members = problems.members(node, "`match`", &MATCH_KEYS);
    let ignore_case = members.iter().find(|(key, _, _)| *key == "ignore_case");
    let ignored = ignore_case.and_then(|(_, _, node)| problems.flag(node, "ignore_case")).unwrap_or(false);
    let case = if ignored { Case::Ignored } else { Case::Sensitive };
    let mut all = Vec::new();
    for (key, _, value) in &members {
        match *key {
            "ignore_case" => {}
            "source" | "kind" | "class" => all.extend(own_field(key, value, problems)),
            "tags_any" => all.extend(tags(value, key, case, problems).map(Condition::Test)),
            "tags_all" => {
                let each = problems.texts(value, key);
                all.extend(each.into_iter().map(|tag| Condition::Test(tag_test(vec![tag.value], case))));
            }
            "any" => all.push(Condition::Any(blocks(value, problems, depth))),
            "all" => all.extend(blocks(value, problems, depth)),
            "not" => all.extend(
                blocks(value, problems, depth).into_iter().map(|inner| Condition::Not(Box::new(inner))),
            ),
            comparison => all.extend(fields(comparison, value, case, problems)),
        }
    }
    // An error inside is said already; the condition would only mislead.
    (problems.all.len() == before).then_some(Condition::All(all))
}

/// One block, or a list of blocks.
fn blocks(node: &Node, problems: &mut Problems<'_>, depth: usize) -> Vec<Condition> {
    let items = match &node.kind {
        Kind::List(items) => items.as_slice(),
        _ => std::slice::from_ref(node),
    };
    items.iter().filter_map(|item| block(item, problems, depth + 1)).collect()
}

/// Source and kind are compared exactly; an empty text means any, as in SentraCore's files.
fn own_field(name: &str, node: &Node, problems: &mut Problems<'_>) -> Option<Condition> {
    let texts: Vec<String> = problems.texts(node, name).into_iter().map(|text| text.value).collect();
    if texts.is_empty() || texts.iter().all(String::is_empty) {
        return None;
    }
    let field = Field::parse(name).expect("a name of the event itself");
    let test = Test::Texts(Texts::new(Where::Whole, Case::Sensitive, texts));
    Some(Condition::Test(Predicate { field, test }))
}

fn tags(node: &Node, name: &str, case: Case, problems: &mut Problems<'_>) -> Option<Predicate> {
    let texts: Vec<String> = problems.texts(node, name).into_iter().map(|text| text.value).collect();
    (!texts.is_empty()).then(|| tag_test(texts, case))
}

fn tag_test(texts: Vec<String>, case: Case) -> Predicate {
    let field = Field::parse("tags").expect("a name of the event itself");
    Predicate { field, test: Test::Texts(Texts::new(Where::Whole, case, texts)) }
}

/// `field_…: {name: value, …}`: all of the named fields must compare so.
fn fields(comparison: &str, node: &Node, case: Case, problems: &mut Problems<'_>) -> Vec<Condition> {
    let Kind::Map(members) = &node.kind else {
        let help = format!("write `{comparison}: {{some_field: value}}`");
        problems.error(
            &node.span,
            format!("`{comparison}` compares named fields"),
            format!("expected named values, found {}", node.kind.describe()),
            Some(help),
        );
        return Vec::new();
    };
    let mut conditions = Vec::new();
    for (key, value) in members {
        let Some(name) = problems.text(key, comparison) else { continue };
        let Some(field) = problems.field(&At { value: name, span: key.span.clone() }) else { continue };
        let Some(test) = test(comparison, value, case, problems) else { continue };
        let condition = Condition::Test(Predicate { field, test });
        let absent = comparison == "field_exists" && matches!(value.kind, Kind::Bool(false));
        conditions.push(if absent { Condition::Not(Box::new(condition)) } else { condition });
    }
    conditions
}

fn test(comparison: &str, node: &Node, case: Case, problems: &mut Problems<'_>) -> Option<Test> {
    if comparison == "field_exists" {
        return problems.flag(node, comparison).map(|_| Test::Exists);
    }
    let number = |ordering| -> Option<Test> {
        match node.kind {
            Kind::Int(number) => Some(Test::Number(ordering, number as f64)),
            Kind::Float(number) => Some(Test::Number(ordering, number)),
            _ => None,
        }
    };
    let compared = match comparison {
        "field_gt" => Some(number(Ordering::Gt)),
        "field_gte" => Some(number(Ordering::Gte)),
        "field_lt" => Some(number(Ordering::Lt)),
        "field_lte" => Some(number(Ordering::Lte)),
        _ => None,
    };
    if let Some(test) = compared {
        if test.is_none() {
            problems.error(
                &node.span,
                format!("`{comparison}` compares with a number"),
                format!("expected a number, found {}", node.kind.describe()),
                None,
            );
        }
        return test;
    }
    let texts = problems.texts(node, comparison);
    let values: Vec<String> = texts.iter().map(|text| text.value.clone()).collect();
    if values.is_empty() {
        return None;
    }
    let place = match comparison {
        "field_contains" => Where::Inside,
        "field_starts_with" => Where::Start,
        "field_ends_with" => Where::End,
        _ => Where::Whole,
    };
    if place != Where::Whole && values.iter().any(String::is_empty) {
        problems.error(
            &node.span,
            format!("`{comparison}` with an empty text"),
            "every text has it",
            Some("use `field_exists: {name: true}`".into()),
        );
        return None;
    }
    let test = match comparison {
        "field_matches" => Regular::new(&values, case).map(Test::Regular),
        "field_cidr" => Networks::new(&values).map(Test::Networks),
        "field_bits" => Bits::new(&values).map(Test::Bits),
        _ => Ok(Test::Texts(Texts::new(place, case, values))),
    };
    match test {
        Ok(test) => Some(test),
        Err(problem) => {
            let line = problem.lines().last().unwrap_or_default().to_owned();
            problems.error(&node.span, format!("`{comparison}` cannot be used"), line, None);
            None
        }
    }
}
