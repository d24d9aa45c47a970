//! The comparisons of named fields in `match`: `field_contains: {command_line: [-enc, iex]}`.

use crate::field::Field;
use crate::predicate::{
    Bits, Case, Condition, Likes, Look, Networks, Ordering, OtherField, Pattern, Predicate, Ranges, Regular,
    Test, Texts, TimeParts, Where, encoded,
};
use crate::rule::draft::Problems;
use crate::rule::modifiers::{Compared, Sort, compared};
use crate::rule::tree::{Kind, Node};

/// `field_…: {name: value, …}`: all of the named fields must compare so.
pub(crate) fn fields(
    comparison: &str,
    node: &Node,
    how: (Case, Option<Look>),
    problems: &mut Problems<'_>,
) -> Vec<Condition> {
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
        let Some(written) = problems.text(key, comparison) else { continue };
        let sort = sort(comparison);
        let Some(compared) = compared(&written, &key.span, comparison, sort, how, problems) else {
            continue;
        };
        conditions.extend(condition(comparison, compared, value, problems));
    }
    conditions
}

fn sort(comparison: &str) -> Sort {
    match comparison {
        "field_equals" | "field_in" => Sort::Equality,
        "field_contains" | "field_starts_with" | "field_ends_with" | "field_like" => Sort::Text,
        "field_matches" => Sort::Expression,
        "field_cidr" => Sort::Network,
        "field_gt" | "field_gte" | "field_lt" | "field_lte" | "field_between" => Sort::Number,
        _ => Sort::Other,
    }
}

fn condition(comparison: &str, how: Compared, node: &Node, problems: &mut Problems<'_>) -> Option<Condition> {
    let number = |ordering| number(comparison, ordering, &how.field, node);
    match comparison {
        "field_exists" => {
            let there = problems.flag(node, comparison)?;
            let exists = test(&how.field, Test::Exists);
            Some(if there { exists } else { Condition::Not(Box::new(exists)) })
        }
        "field_gt" => number(Ordering::Gt).map_err(|wrong| wrong.say(problems)).ok(),
        "field_gte" => number(Ordering::Gte).map_err(|wrong| wrong.say(problems)).ok(),
        "field_lt" => number(Ordering::Lt).map_err(|wrong| wrong.say(problems)).ok(),
        "field_lte" => number(Ordering::Lte).map_err(|wrong| wrong.say(problems)).ok(),
        "field_between" => {
            let ranges = ranges(node).map_err(|wrong| wrong.say(problems)).ok()?;
            Some(test(&how.field, Test::Ranges(Ranges::new(ranges))))
        }
        _ => with_values(comparison, how, node, problems),
    }
}

/// What is wrong with one value.
struct Wrong<'n> {
    node: &'n Node,
    message: String,
    label: String,
}

impl Wrong<'_> {
    fn say(self, problems: &mut Problems<'_>) {
        problems.error(&self.node.span, self.message, self.label, None);
    }
}

fn number<'n>(
    comparison: &str,
    ordering: Ordering,
    field: &Field,
    node: &'n Node,
) -> Result<Condition, Wrong<'n>> {
    match a_number(node) {
        Some(number) => Ok(test(field, Test::Number(ordering, number))),
        None => Err(Wrong {
            node,
            message: format!("`{comparison}` compares with a number"),
            label: format!("expected a number, found {}", node.kind.describe()),
        }),
    }
}

fn a_number(node: &Node) -> Option<f64> {
    match node.kind {
        Kind::Int(number) => Some(number as f64),
        Kind::Float(number) => Some(number),
        _ => None,
    }
}

/// `[1024, 65535]`, or a list of such.
fn ranges(node: &Node) -> Result<Vec<(f64, f64)>, Wrong<'_>> {
    let wrong = |node, label: &str| Wrong {
        node,
        message: "`field_between` takes the least and the greatest number".to_owned(),
        label: label.to_owned(),
    };
    let Kind::List(items) = &node.kind else { return Err(wrong(node, "expected `[least, greatest]`")) };
    if !items.is_empty() && items.iter().all(|item| matches!(item.kind, Kind::List(_))) {
        let each: Vec<Vec<(f64, f64)>> = items.iter().map(ranges).collect::<Result<_, _>>()?;
        return Ok(each.concat());
    }
    match items.as_slice() {
        [least, most] => match (a_number(least), a_number(most)) {
            (Some(least), Some(most)) if least <= most => Ok(vec![(least, most)]),
            (Some(_), Some(_)) => Err(wrong(node, "the first is greater than the second")),
            (None, _) => Err(wrong(least, "expected a number")),
            (_, None) => Err(wrong(most, "expected a number")),
        },
        _ => Err(wrong(node, "expected two numbers, or a list of pairs of them")),
    }
}

/// Comparisons with values, of which one must hold, or all.
fn with_values(
    comparison: &str,
    how: Compared,
    node: &Node,
    problems: &mut Problems<'_>,
) -> Option<Condition> {
    if how.list && !matches!(node.kind, Kind::Named(_)) {
        // That there is no such list was said when the lists were put in.
        return None;
    }
    let absent = sort(comparison) == Sort::Equality && has_null(node);
    let texts =
        if absent { texts_but_null(node, comparison, problems) } else { problems.texts(node, comparison) };
    let values: Vec<String> = texts.into_iter().map(|text| text.value).collect();
    if values.is_empty() {
        return absent.then(|| Condition::Not(Box::new(test(&how.field, Test::Exists))));
    }
    let place = place(comparison);
    if sort(comparison) == Sort::Text && place != Where::Whole && values.iter().any(String::is_empty) {
        problems.error(
            &node.span,
            format!("`{comparison}` with an empty text"),
            "every text has it",
            Some("use `field_exists: {name: true}`".into()),
        );
        return None;
    }
    let built = match how.all {
        false => any_of(comparison, &how, &values),
        true => {
            let each = values.iter().map(|value| any_of(comparison, &how, std::slice::from_ref(value)));
            each.collect::<Result<Vec<_>, _>>().map(Condition::All)
        }
    };
    match built {
        Ok(condition) if absent => {
            let none = Condition::Not(Box::new(test(&how.field, Test::Exists)));
            Some(Condition::Any(vec![none, condition]))
        }
        Ok(condition) => Some(condition),
        Err(problem) => {
            let line = problem.lines().last().unwrap_or_default().to_owned();
            problems.error(&node.span, format!("`{comparison}` cannot be used"), line, None);
            None
        }
    }
}

fn place(comparison: &str) -> Where {
    match comparison {
        "field_contains" => Where::Inside,
        "field_starts_with" => Where::Start,
        "field_ends_with" => Where::End,
        _ => Where::Whole,
    }
}

fn has_null(node: &Node) -> bool {
    match &node.kind {
        Kind::Null => true,
        Kind::List(items) => items.iter().any(|item| matches!(item.kind, Kind::Null)),
        _ => false,
    }
}

fn texts_but_null(
    node: &Node,
    comparison: &str,
    problems: &mut Problems<'_>,
) -> Vec<crate::rule::draft::At<String>> {
    let Kind::List(items) = &node.kind else { return Vec::new() };
    let others = items.iter().filter(|item| !matches!(item.kind, Kind::Null));
    others.flat_map(|item| problems.texts(item, comparison)).collect()
}

fn test(field: &Field, test: Test) -> Condition {
    Condition::Test(Predicate { field: field.clone(), test })
}

/// The condition that one of the values holds.
fn any_of(comparison: &str, how: &Compared, values: &[String]) -> Result<Condition, String> {
    let look = how.look.unwrap_or(Look::Texts);
    match comparison {
        "field_matches" => {
            Regular::new(values, how.case, look).map(|regular| test(&how.field, Test::Regular(regular)))
        }
        "field_cidr" => Networks::new(values).map(|networks| test(&how.field, Test::Networks(networks))),
        "field_bits" => Bits::new(values).map(|bits| test(&how.field, Test::Bits(bits))),
        _ if how.other_field => {
            let other = |name: &String| -> Result<Condition, String> {
                let other = OtherField::new(place(comparison), how.case, Field::parse(name)?);
                Ok(test(&how.field, Test::OtherField(other)))
            };
            values.iter().map(other).collect::<Result<Vec<_>, _>>().map(one_or_any)
        }
        _ => match how.time_part {
            Some(part) => {
                let number = |text: &String| {
                    text.parse::<i64>()
                        .map_err(|_| format!("{text:?} is no whole number, as parts of a time are"))
                };
                let numbers = values.iter().map(number).collect::<Result<Vec<_>, _>>()?;
                Ok(test(&how.field, Test::TimeParts(TimeParts::new(part, numbers))))
            }
            None => texts(comparison, how, values),
        },
    }
}

/// Texts with wildcards, dashes and encodings, brought to as few comparisons as there are kinds of them.
fn texts(comparison: &str, how: &Compared, values: &[String]) -> Result<Condition, String> {
    let mut patterns = Vec::with_capacity(values.len());
    for value in values {
        let written = match comparison {
            "field_like" => Pattern::parse(value),
            _ => Pattern::literal(value),
        };
        let forms = match how.encodings.is_empty() {
            true => vec![written],
            false => {
                let plain = written
                    .plain()
                    .ok_or_else(|| format!("{value:?} cannot be encoded: it has wildcards"))?;
                encoded(&plain, &how.encodings)?.iter().map(|form| Pattern::literal(form)).collect()
            }
        };
        let loose = |form: Pattern| if how.any_dash { form.with_any_dash() } else { form };
        patterns.extend(forms.into_iter().map(|form| loose(form).placed(place(comparison))));
    }
    Ok(of_patterns(&how.field, how.case, how.look, &patterns))
}

/// The value is like one of the patterns.
fn of_patterns(field: &Field, case: Case, look: Option<Look>, patterns: &[Pattern]) -> Condition {
    let mut conditions = Vec::new();
    for place in [Where::Whole, Where::Start, Where::End, Where::Inside] {
        let here = patterns.iter().filter_map(Pattern::as_text).filter(|(there, _)| *there == place);
        let texts: Vec<String> = here.map(|(_, text)| text.to_owned()).collect();
        if !texts.is_empty() {
            let texts = Texts::new(place, case, texts);
            let texts = match look {
                Some(look) => texts.looking(look),
                None => texts,
            };
            conditions.push(test(field, Test::Texts(texts)));
        }
    }
    let wild: Vec<Pattern> = patterns.iter().filter(|pattern| pattern.as_text().is_none()).cloned().collect();
    if wild.iter().any(Pattern::is_anything) {
        return test(field, Test::Exists);
    }
    if !wild.is_empty() {
        conditions.push(test(field, Test::Likes(Likes::new(case, look.unwrap_or(Look::Texts), &wild))));
    }
    one_or_any(conditions)
}

fn one_or_any(mut conditions: Vec<Condition>) -> Condition {
    match conditions.len() {
        1 => conditions.remove(0),
        _ => Condition::Any(conditions),
    }
}
