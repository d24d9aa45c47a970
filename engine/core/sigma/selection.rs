//! The selections of a detection: `CommandLine|contains|all: [a, b]`.

use std::ops::Range;

use crate::predicate::{Encoding, Pattern, TimePart, Where};
use crate::rule::diagnostic::nearest;
use crate::rule::draft::Problems;
use crate::rule::tree::{Kind, Node};
use crate::sigma::mapping::Mapped;
use crate::sigma::native::{Block, flag, list, text, texts};

/// Modifiers beside encodings and parts of a time.
const MODIFIERS: [&str; 19] = [
    "contains",
    "startswith",
    "endswith",
    "all",
    "cased",
    "re",
    "i",
    "m",
    "s",
    "cidr",
    "exists",
    "fieldref",
    "gt",
    "gte",
    "lt",
    "lte",
    "neq",
    "expand",
    "windash",
];

/// Understands a selection.
pub(crate) fn selection(node: &Node, mapped: &Mapped<'_>, problems: &mut Problems<'_>) -> Option<Block> {
    match &node.kind {
        Kind::Map(members) => {
            if members.is_empty() {
                problems.error(&node.span, "a selection without a field", "everything has it", None);
                return None;
            }
            let items: Vec<Option<Block>> =
                members.iter().map(|(key, value)| item(key, value, mapped, problems)).collect();
            Some(Block::all_of(&node.span, items.into_iter().collect::<Option<Vec<_>>>()?))
        }
        Kind::List(items) if items.is_empty() => {
            problems.error(&node.span, "a selection without a value", "nothing has it", None);
            None
        }
        Kind::List(items) if items.iter().any(|item| matches!(item.kind, Kind::Map(_) | Kind::List(_))) => {
            let any: Vec<Option<Block>> =
                items.iter().map(|item| selection(item, mapped, problems)).collect();
            Some(Block::any_of(&node.span, any.into_iter().collect::<Option<Vec<_>>>()?))
        }
        // Values without a field: they may stand anywhere in the event.
        _ => item(&text("", &node.span), node, mapped, problems),
    }
}

/// The field that stands for every value of the event.
const ANYWHERE: &str = "*";

/// One field and its values.
fn item(key: &Node, value: &Node, mapped: &Mapped<'_>, problems: &mut Problems<'_>) -> Option<Block> {
    let written = problems.text(key, "a selection")?;
    let mut parts = written.split('|');
    let field = parts.next().unwrap_or_default();
    let modifiers: Vec<&str> = parts.collect();
    for modifier in &modifiers {
        if !is_modifier(modifier) {
            let known = MODIFIERS.into_iter().chain(Encoding::NAMES.iter().map(|(name, _)| *name));
            let help = nearest(modifier, known).map(|near| format!("did you mean `|{near}`?"));
            problems.error(&key.span, format!("unknown modifier `|{modifier}`"), "not known", help);
            return None;
        }
    }
    if field.contains('[') {
        let label = "picks members of a list, which is not supported";
        problems.error(&key.span, format!("`{field}` selects by place or by number"), label, None);
        return None;
    }
    let values: &[Node] = match &value.kind {
        Kind::List(items) => items,
        _ => std::slice::from_ref(value),
    };
    if let Some(odd) = values.iter().find(|value| matches!(value.kind, Kind::Map(_) | Kind::List(_))) {
        problems.expected(odd, &written, "a value");
        return None;
    }
    if values.is_empty() {
        problems.error(&value.span, format!("`{written}` has no value"), "nothing has it", None);
        return None;
    }
    let names = if field.is_empty() { vec![ANYWHERE.to_owned()] } else { mapped.names(field) };
    let item = Item { span: &key.span, modifiers, values };
    let each = names.iter().map(|name| item.block(name, mapped));
    match each.collect::<Result<Vec<Block>, String>>() {
        // A field that is absent under each of its names is absent.
        Ok(blocks) if item.wants_nothing() => Some(Block::all_of(&key.span, blocks)),
        Ok(blocks) => {
            let block = Block::any_of(&key.span, blocks);
            Some(if item.has("neq") { block.negated() } else { block })
        }
        Err(why) => {
            problems.error(&key.span, format!("`{written}` cannot be understood"), why, None);
            None
        }
    }
}

fn is_modifier(name: &str) -> bool {
    MODIFIERS.contains(&name)
        || Encoding::NAMES.iter().any(|(known, _)| *known == name)
        || TimePart::NAMES.iter().any(|(known, _)| *known == name)
}

struct Item<'i> {
    span: &'i Range<usize>,
    modifiers: Vec<&'i str>,
    values: &'i [Node],
}

impl Item<'_> {
    fn has(&self, modifier: &str) -> bool {
        self.modifiers.contains(&modifier)
    }

    /// Whether it asks that the field be absent.
    fn wants_nothing(&self) -> bool {
        let null = self.values.iter().all(|value| matches!(value.kind, Kind::Null));
        let absent = self.has("exists") && matches!(self.flag(), Ok(false));
        (null || absent) && !self.has("neq")
    }

    fn flag(&self) -> Result<bool, String> {
        match self.values {
            [Node { kind: Kind::Bool(flag), .. }] => Ok(*flag),
            [one] => match one.scalar_text().as_deref() {
                Some("true" | "yes") => Ok(true),
                Some("false" | "no") => Ok(false),
                _ => Err("expected true or false".to_owned()),
            },
            _ => Err("expected true or false".to_owned()),
        }
    }

    /// Which of these exclude each other stands at most once.
    fn one_of<'m>(&self, modifiers: &[&'m str]) -> Result<Option<&'m str>, String> {
        let there: Vec<&str> = modifiers.iter().copied().filter(|modifier| self.has(modifier)).collect();
        match there.as_slice() {
            [] => Ok(None),
            [one] => Ok(Some(one)),
            many => Err(format!("|{} do not go together", many.join(", |"))),
        }
    }

    fn block(&self, field: &str, mapped: &Mapped<'_>) -> Result<Block, String> {
        let sort = self.one_of(&["re", "cidr", "exists", "fieldref", "gt", "gte", "lt", "lte", "expand"])?;
        let time_parts: Vec<&str> = TimePart::NAMES.iter().map(|(name, _)| *name).collect();
        let time_part = self.one_of(&time_parts)?;
        let flags: Vec<&str> = ["i", "m", "s"].into_iter().filter(|flag| self.has(flag)).collect();
        if sort != Some("re") && !flags.is_empty() {
            return Err(format!("|{} is for |re", flags.join(", |")));
        }
        let place = self.one_of(&["contains", "startswith", "endswith"])?;
        if let (Some(sort), Some(place)) = (sort, place)
            && sort != "fieldref"
            && sort != "expand"
        {
            return Err(format!("|{sort} and |{place} do not go together"));
        }
        let block = |comparison: &str, modifiers: &[&str], value: Node| {
            Block::new(self.span).compare(comparison, &self.key(field, modifiers), value)
        };
        match sort {
            Some("re") => {
                let prefix: String = flags.iter().filter(|flag| **flag != "i").copied().collect();
                let patterns = self.each_text(|pattern| match prefix.as_str() {
                    "" => pattern,
                    flags => format!("(?{flags}){pattern}"),
                })?;
                let cased: &[&str] = if self.has("i") { &[] } else { &["cased"] };
                Ok(block("field_matches", cased, texts(patterns, self.span)))
            }
            Some("cidr") => Ok(block("field_cidr", &[], texts(self.each_text(|text| text)?, self.span))),
            Some("exists") => Ok(block("field_exists", &[], flag(self.flag()?, self.span))),
            Some("fieldref") => self.other_field(field, place, mapped),
            Some("expand") => {
                let names = self.each_text(|text| text)?;
                let list_of = |node: &Node| -> Option<Node> {
                    let name = node.scalar_text()?;
                    let name = name.strip_prefix('%')?.strip_suffix('%')?;
                    (!name.contains('%')).then(|| text(name, &node.span))
                };
                let lists = names.iter().map(list_of).collect::<Option<Vec<_>>>();
                let lists = lists.ok_or("`|expand` takes `%name%` of a named list, and nothing beside it")?;
                Ok(block(comparison(place_of(place)), &["list"], texts(lists, self.span)))
            }
            Some(ordering) => {
                let numbers: Vec<Node> = self.values.iter().map(number).collect::<Result<_, _>>()?;
                let comparison = format!("field_{ordering}");
                Ok(Block::any_of(
                    self.span,
                    numbers.into_iter().map(|number| block(&comparison, &[], number)).collect(),
                ))
            }
            None => match time_part {
                Some(part) => Ok(block("field_equals", &[part], texts(self.values.to_vec(), self.span))),
                None => self.texts(field, place),
            },
        }
    }

    fn key(&self, field: &str, modifiers: &[&str]) -> String {
        let all: &[&str] = if self.has("all") && self.values.len() > 1 { &["all"] } else { &[] };
        let parts = std::iter::once(field).chain(modifiers.iter().copied()).chain(all.iter().copied());
        parts.collect::<Vec<_>>().join("|")
    }

    fn each_text(&self, with: impl Fn(String) -> String) -> Result<Vec<Node>, String> {
        let one = |node: &Node| match node.scalar_text() {
            Some(value) => Ok(text(with(value), &node.span)),
            None => Err("a value that is no text".to_owned()),
        };
        self.values.iter().map(one).collect()
    }

    fn other_field(&self, field: &str, place: Option<&str>, mapped: &Mapped<'_>) -> Result<Block, String> {
        let mut blocks = Vec::new();
        let cased: &[&str] = if self.has("cased") { &["cased", "field"] } else { &["field"] };
        for value in self.values {
            let other = value.scalar_text().ok_or("expected the name of a field")?;
            let names = mapped.names(&other).into_iter().map(|name| text(name, &value.span)).collect();
            let key = [&[field], cased].concat().join("|");
            blocks.push(Block::new(self.span).compare(
                comparison(place_of(place)),
                &key,
                texts(names, self.span),
            ));
        }
        Ok(match self.has("all") {
            true => Block::all_of(self.span, blocks),
            false => Block::any_of(self.span, blocks),
        })
    }

    /// Texts, with wildcards, encodings and dashes.
    fn texts(&self, field: &str, place: Option<&str>) -> Result<Block, String> {
        let encodings: Vec<&str> = self
            .modifiers
            .iter()
            .copied()
            .filter(|name| Encoding::NAMES.iter().any(|(known, _)| known == name))
            .collect();
        let anywhere = field == ANYWHERE;
        // The form inside of a longer text is never the whole value.
        let place = match place {
            None if anywhere || self.has("base64offset") => Where::Inside,
            place => place_of(place),
        };
        let mut modifiers = encodings.clone();
        modifiers.extend(["cased", "windash"].into_iter().filter(|modifier| self.has(modifier)));
        let nulls = self.values.iter().filter(|value| matches!(value.kind, Kind::Null)).count();
        if nulls > 0 && (anywhere || self.has("all") || place != Where::Whole || !encodings.is_empty()) {
            return Err("nothing (`null`) is compared alone".to_owned());
        }
        let patterns = self.values.iter().filter_map(|value| value.scalar_text().map(|text| (value, text)));
        let patterns: Vec<(&Node, Pattern)> = patterns
            .map(|(value, written)| match value.kind {
                Kind::Text(_) => (value, Pattern::parse(&written)),
                _ => (value, Pattern::literal(&written)),
            })
            .collect();
        if !encodings.is_empty() {
            let plain = |(node, pattern): &(&Node, Pattern)| match pattern.plain() {
                Some(plain) => Ok(text(plain, &node.span)),
                None => Err("a text with wildcards cannot be encoded".to_owned()),
            };
            let plain = patterns.iter().map(plain).collect::<Result<Vec<_>, _>>()?;
            return Ok(self.compare(comparison(place), field, &modifiers, plain));
        }
        let placed: Vec<(&Node, Pattern)> =
            patterns.into_iter().map(|(node, pattern)| (node, pattern.placed(place))).collect();
        if placed.iter().any(|(_, pattern)| pattern.is_anything()) && !self.has("all") {
            return Ok(Block::new(self.span).compare("field_exists", field, flag(true, self.span)));
        }
        let shapes: Option<Vec<(Where, &str)>> =
            placed.iter().map(|(_, pattern)| pattern.as_text()).collect();
        let common = shapes.as_ref().and_then(|shapes| {
            let first = shapes.first().map_or(Where::Whole, |(place, _)| *place);
            shapes.iter().all(|(place, _)| *place == first).then_some(first)
        });
        let (name, mut values) = match (common, shapes) {
            (Some(place), Some(shapes)) => {
                let values = placed.iter().zip(shapes).map(|((node, _), (_, value))| text(value, &node.span));
                (comparison(place), values.collect::<Vec<_>>())
            }
            _ => {
                let values = placed.iter().map(|(node, pattern)| text(pattern.written(), &node.span));
                ("field_like", values.collect())
            }
        };
        if nulls > 0 {
            // Only whole values are compared with nothing; texts with wildcards stand beside it.
            let null = Node { kind: Kind::Null, span: self.span.clone() };
            if name == "field_equals" {
                values.push(null);
            } else {
                let nothing = Block::new(self.span).compare("field_equals", field, null);
                return Ok(Block::any_of(
                    self.span,
                    vec![nothing, self.compare(name, field, &modifiers, values)],
                ));
            }
        }
        Ok(self.compare(name, field, &modifiers, values))
    }

    fn compare(&self, comparison: &str, field: &str, modifiers: &[&str], values: Vec<Node>) -> Block {
        Block::new(self.span).compare(comparison, &self.key(field, modifiers), texts(values, self.span))
    }
}

fn place_of(modifier: Option<&str>) -> Where {
    match modifier {
        Some("contains") => Where::Inside,
        Some("startswith") => Where::Start,
        Some("endswith") => Where::End,
        _ => Where::Whole,
    }
}

fn comparison(place: Where) -> &'static str {
    match place {
        Where::Whole => "field_equals",
        Where::Inside => "field_contains",
        Where::Start => "field_starts_with",
        Where::End => "field_ends_with",
    }
}

fn number(node: &Node) -> Result<Node, String> {
    let number = match &node.kind {
        Kind::Int(_) | Kind::Float(_) => return Ok(node.clone()),
        Kind::Text(text) => text.trim().parse::<f64>().ok(),
        _ => None,
    };
    let number = number.ok_or_else(|| format!("expected a number, found {}", node.kind.describe()))?;
    Ok(Node { kind: Kind::Float(number), span: node.span.clone() })
}

/// A list of what stands there, for those who need one.
pub(crate) fn as_list(node: &Node) -> Node {
    match node.kind {
        Kind::List(_) => node.clone(),
        _ => list(vec![node.clone()], &node.span),
    }
}
