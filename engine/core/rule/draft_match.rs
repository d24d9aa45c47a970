//! The shape of `match`: what a step asks of an event.

use sightline_schemas::Zone;

use crate::field::Field;
use crate::limits::CONDITION_DEPTH_MAX;
use crate::predicate::{Case, Clock, Condition, Look, Predicate, Test, Texts, Where, parse_hours};
use crate::rule::diagnostic::nearest;
use crate::rule::draft::Problems;
use crate::rule::draft_compare::fields;
use crate::rule::tree::{Kind, Node};

pub(crate) const MATCH_KEYS: [&str; 26] = [
    "source",
    "kind",
    "tags_any",
    "tags_all",
    "field_equals",
    "field_in",
    "field_contains",
    "field_starts_with",
    "field_ends_with",
    "field_like",
    "field_matches",
    "field_cidr",
    "field_bits",
    "field_gt",
    "field_gte",
    "field_lt",
    "field_lte",
    "field_between",
    "field_exists",
    "at",
    "ignore_case",
    "as_text",
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
    let mut flag = |name: &str| {
        let there = members.iter().find(|(key, _, _)| *key == name);
        there.and_then(|(_, _, node)| problems.flag(node, name)).unwrap_or(false)
    };
    let case = if flag("ignore_case") { Case::Ignored } else { Case::Sensitive };
    let look = flag("as_text").then_some(Look::Scalars);
    let mut all = Vec::new();
    for (key, _, value) in &members {
        match *key {
            "ignore_case" | "as_text" => {}
            "source" | "kind" | "class" => all.extend(own_field(key, value, problems)),
            "at" => all.extend(clock(value, problems)),
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
            comparison => all.extend(fields(comparison, value, (case, look), problems)),
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

/// `at: {time: 22:00-06:00, days: [sat, sun], zone: Europe/Berlin}`: when the event happened, on a clock.
fn clock(node: &Node, problems: &mut Problems<'_>) -> Option<Condition> {
    let members = problems.members(node, "`at`", &["time", "days", "zone"]);
    let get = |name: &str| members.iter().find(|(key, _, _)| *key == name).map(|(_, _, value)| *value);
    if get("time").is_none() && get("days").is_none() {
        let help = "write `at: {time: \"22:00-06:00\", zone: Europe/Berlin}`, `days: [sat, sun]`, or both";
        problems.error(&node.span, "`at` names no time", "neither `time` nor `days`", Some(help.into()));
        return None;
    }
    let mut hours = Vec::new();
    for text in get("time").map(|node| problems.texts(node, "time")).unwrap_or_default() {
        match parse_hours(&text.value) {
            Ok(range) => hours.push(range),
            Err(why) => problems.error(&text.span, "this is no time of the day", why, None),
        }
    }
    let mut days = Vec::new();
    for text in get("days").map(|node| problems.texts(node, "days")).unwrap_or_default() {
        match Clock::DAYS.iter().position(|day| *day == text.value) {
            Some(day) => days.push(day),
            None => {
                let label = format!("expected one of {}", Clock::DAYS.join(", "));
                problems.error(&text.span, format!("`{}` is no day of the week", text.value), label, None);
            }
        }
    }
    let zone = match get("zone") {
        None => Zone::utc(),
        Some(node) => {
            let name = problems.text(node, "zone")?;
            let Some(zone) = Zone::named(&name) else {
                let help = nearest(
                    &name,
                    ["Europe/Berlin", "Europe/London", "America/New_York", "Asia/Tokyo", "UTC"],
                );
                let help = help.map(|near| format!("did you mean `{near}`?"));
                let label = "expected a name of the IANA database, such as `Europe/Berlin` or `UTC`";
                problems.error(&node.span, format!("`{name}` is no time zone"), label, help);
                return None;
            };
            zone
        }
    };
    let field = Field::parse("occurred_at").expect("a field name");
    Some(Condition::Test(Predicate { field, test: Test::Clock(Clock::new(zone, &days, hours)) }))
}
