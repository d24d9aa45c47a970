//! The `event` part of a mapping: which member of the event is filled from where.

use serde_json::Value;
use sightline_schemas::event::Class;
use sightline_schemas::severity::Severity;

use super::convert::Convert;
use super::path::Path;
use super::read::Problems;
use super::template::Template;
use super::tree::{Kind, Node};
use super::{EntitySlot, Keep, Origin, Rule, Slot, Slots};

/// Members of an event that hold one value; `id` is written as `source_event_id`.
const SINGLE: [(&str, &str); 11] = [
    ("source", "source"),
    ("id", "source_event_id"),
    ("kind", "kind"),
    ("class", "class"),
    ("severity", "severity"),
    ("occurred_at", "occurred_at"),
    ("observed_at", "observed_at"),
    ("host_id", "host_id"),
    ("user", "user"),
    ("title", "title"),
    ("description", "description"),
];
const OBJECTS: [&str; 5] = ["actor", "subject", "object", "network", "device"];
const OTHERS: [&str; 4] = ["tags", "entities", "attack", "fields"];

pub(super) fn slots(node: &Node, problems: &mut Problems) -> Slots {
    let known: Vec<&str> = SINGLE.iter().map(|(name, _)| *name).chain(OBJECTS).chain(OTHERS).collect();
    let mut slots = Slots::default();
    for (member, value) in problems.members(node, "an event", &known) {
        if let Some((_, written)) = SINGLE.iter().find(|(name, _)| *name == member) {
            if let Some(slot) = slot(value, problems) {
                check_words(member, &slot, value.line, problems);
                slots.single.push((written, slot));
            }
        } else if let Some(name) = OBJECTS.iter().find(|name| **name == member) {
            slots.objects.push((name, named(value, member, problems)));
        } else {
            match member {
                "tags" => slots.tags = list(value, problems),
                "entities" => slots.entities = entities(value, problems),
                "attack" => {
                    for (name, value) in problems.members(value, "`attack`", &["tactics", "techniques"]) {
                        match name {
                            "tactics" => slots.tactics = list(value, problems),
                            _ => slots.techniques = list(value, problems),
                        }
                    }
                }
                _ => fields(value, &mut slots, problems),
            }
        }
    }
    slots
}

/// Words of closed lists are checked here, and not when the first event is refused.
fn check_words(member: &str, slot: &Slot, line: u64, problems: &mut Problems) {
    let mut words: Vec<String> = Vec::new();
    collect_words(slot, &mut words);
    for word in words {
        let known = match member {
            "severity" => Severity::parse(&word).is_some(),
            "class" => Class::parse(&word).is_some(),
            _ => true,
        };
        if !known {
            let expected = if member == "class" {
                "event, alert, finding, indicator, anomaly, report or note"
            } else {
                "info, low, medium, high or critical"
            };
            problems.add(line, format!("`{member}` cannot be `{word}`: use {expected}"));
        }
    }
}

/// The words that a slot can give without looking at a record.
fn collect_words(slot: &Slot, words: &mut Vec<String>) {
    match slot {
        Slot::Fixed(value) => words.push(value.to_string()),
        Slot::Text(template) => {
            // A template without places gives the same for every record.
            if let Some(Value::String(word)) = template.fill(&Value::Null, &Origin::default()) {
                words.push(word);
            }
        }
        Slot::First(slots) => slots.iter().for_each(|slot| collect_words(slot, words)),
        Slot::Rule(rule) => {
            words.extend(rule.map.iter().filter_map(|(_, to)| to.as_str().map(str::to_owned)));
            if let Some(otherwise) = &rule.otherwise {
                collect_words(otherwise, words);
            }
        }
    }
}

fn slot(node: &Node, problems: &mut Problems) -> Option<Slot> {
    match &node.kind {
        Kind::Scalar(Value::Null) => {
            problems.add(node.line, "nothing stands here: write a value, or leave the name out");
            None
        }
        Kind::Scalar(Value::String(text)) => match Template::parse(text) {
            Ok(template) => {
                own_names(text, node.line, problems);
                Some(Slot::Text(template))
            }
            Err(why) => {
                problems.add(node.line, why);
                None
            }
        },
        Kind::Scalar(value) => Some(Slot::Fixed(value.clone())),
        Kind::List(items) => {
            Some(Slot::First(items.iter().filter_map(|item| slot(item, problems)).collect()))
        }
        Kind::Map(_) => rule(node, problems),
    }
}

/// `$name` is one of a few.
fn own_names(text: &str, line: u64, problems: &mut Problems) {
    for (at, _) in text.match_indices("{$") {
        let name = text[at + 2..].split('}').next().unwrap_or_default();
        if !Origin::NAMES.contains(&name) {
            problems.add(line, format!("there is no `${name}`: {}", one_of(name, &Origin::NAMES)));
        }
    }
}

fn rule(node: &Node, problems: &mut Problems) -> Option<Slot> {
    let (mut value, mut convert, mut map, mut otherwise) = (None, Vec::new(), Vec::new(), None);
    for (member, inner) in
        problems.members(node, "a value with conversions", &["value", "as", "map", "otherwise"])
    {
        match member {
            "value" => value = slot(inner, problems),
            "otherwise" => otherwise = slot(inner, problems),
            "as" => convert = conversions(inner, problems),
            _ => match &inner.kind {
                Kind::Map(members) => {
                    for (from, to) in members {
                        match &to.kind {
                            Kind::Scalar(word) => map.push((from.clone(), word.clone())),
                            _ => problems.add(to.line, format!("`{from}` must become one value")),
                        }
                    }
                }
                _ => problems.add(inner.line, "`map` must be words with what each becomes"),
            },
        }
    }
    let Some(value) = value else {
        problems.add(node.line, "`value` is missing: say where it comes from, such as `value: \"{level}\"`");
        return None;
    };
    Some(Slot::Rule(Box::new(Rule { value, convert, map, otherwise })))
}

fn conversions(node: &Node, problems: &mut Problems) -> Vec<Convert> {
    let items = match &node.kind {
        Kind::List(items) => items.iter().collect(),
        _ => vec![node],
    };
    let mut conversions = Vec::new();
    for item in items {
        let text = item.text().unwrap_or_default();
        match Convert::parse(&text) {
            Some(convert) => conversions.push(convert),
            None => problems
                .add(item.line, format!("no such conversion `{text}`: {}", one_of(&text, &Convert::NAMES))),
        }
    }
    conversions
}

/// One value or a list of them, all of which are taken.
fn list(node: &Node, problems: &mut Problems) -> Vec<Slot> {
    match &node.kind {
        Kind::List(items) => items.iter().filter_map(|item| slot(item, problems)).collect(),
        _ => slot(node, problems).into_iter().collect(),
    }
}

fn named(node: &Node, what: &str, problems: &mut Problems) -> Vec<(String, Slot)> {
    let Kind::Map(members) = &node.kind else {
        problems.add(node.line, format!("`{what}` must be named values"));
        return Vec::new();
    };
    members.iter().filter_map(|(name, value)| Some((name.clone(), slot(value, problems)?))).collect()
}

fn entities(node: &Node, problems: &mut Problems) -> Vec<EntitySlot> {
    let Kind::List(items) = &node.kind else {
        problems
            .add(node.line, "`entities` must be a list of `{type: ip, value: \"{src_ip}\", role: src_ip}`");
        return Vec::new();
    };
    let mut entities = Vec::new();
    for item in items {
        let (mut kind, mut value, mut role) = (None, None, None);
        for (member, inner) in problems.members(item, "an entity", &["type", "value", "role"]) {
            match member {
                "type" => kind = slot(inner, problems),
                "value" => value = slot(inner, problems),
                _ => role = slot(inner, problems),
            }
        }
        match (kind, value) {
            (Some(kind), Some(value)) => entities.push(EntitySlot { kind, value, role }),
            _ => problems.add(item.line, "an entity needs `type` and `value`"),
        }
    }
    entities
}

fn fields(node: &Node, slots: &mut Slots, problems: &mut Problems) {
    for (member, inner) in problems.members(node, "`fields`", &["keep", "drop", "spread", "set"]) {
        match member {
            "drop" => slots.drop = problems.paths(inner),
            "spread" => slots.spread = problems.paths(inner),
            "set" => slots.set = named(inner, "set", problems),
            _ => {
                slots.keep = Some(match inner.text().as_deref() {
                    Some("all") => Keep::All,
                    Some("nothing") => Keep::Nothing,
                    _ => {
                        let paths: Vec<Path> = problems.paths(inner);
                        Keep::Some(paths)
                    }
                });
            }
        }
    }
}

/// The nearest of the known words, then all of them.
pub(super) fn one_of(given: &str, known: &[&str]) -> String {
    let near = known.iter().find(|word| {
        !given.is_empty()
            && (word.starts_with(given) || given.starts_with(**word) || one_letter_off(given, word))
    });
    let all = known.join(", ");
    near.map_or_else(|| format!("use one of {all}"), |near| format!("did you mean `{near}`? There are {all}"))
}

/// Whether two words differ by one letter that is wrong, missing, too much, or in the other's place.
fn one_letter_off(one: &str, other: &str) -> bool {
    let (one, other): (Vec<char>, Vec<char>) = (one.chars().collect(), other.chars().collect());
    let same = one.iter().zip(&other).take_while(|(a, b)| a == b).count();
    let tail = |from: &[char], skip: usize| from.get(same + skip..).unwrap_or_default().to_vec();
    let swapped = same + 1 < one.len()
        && same + 1 < other.len()
        && one[same] == other[same + 1]
        && one[same + 1] == other[same];
    tail(&one, 1) == tail(&other, 1)
        || tail(&one, 0) == tail(&other, 1)
        || tail(&one, 1) == tail(&other, 0)
        || (swapped && tail(&one, 2) == tail(&other, 2))
}
