//! How the names of Sigma are those of events: fields, log sources, and what incidents of its rules are about.
//!
//! A mapping is a file of its own among the rules (`mapping: name`), so it travels with them through the log. Several are
//! one. Without any, fields keep the names that Sigma gives them, and an event whose `product`, `category` or `service`
//! says otherwise than a rule's log source is not meant by the rule.

use std::collections::HashMap;

use crate::rule::draft::Problems;
use crate::rule::tree::{Kind, Node};
use crate::sigma::native::{Block, list, text};

const KEYS: [&str; 8] =
    ["mapping", "description", "fields", "logsources", "by_field", "unmapped", "by", "window"];
const ROUTE_KEYS: [&str; 5] = ["product", "category", "service", "match", "fields"];
/// What a log source is named by.
pub(crate) const DIMENSIONS: [&str; 3] = ["product", "category", "service"];

/// Names that an event has itself: a field of Sigma that is called so stands in the payload.
const OWN_NAMES: [&str; 19] = [
    "source",
    "kind",
    "class",
    "severity",
    "tags",
    "entities",
    "host_id",
    "user",
    "title",
    "description",
    "source_event_id",
    "actor",
    "subject",
    "object",
    "network",
    "device",
    "attack",
    "refs",
    "producer",
];

/// All mappings together.
#[derive(Debug, Default)]
pub(crate) struct Mapping {
    fields: HashMap<String, Vec<String>>,
    routes: Vec<Route>,
    /// Fields of events that name a dimension of the log source.
    by_field: Vec<(&'static str, String)>,
    /// The key of incidents, and the window of rules that have none.
    by: Option<Node>,
    window: Option<Node>,
    /// Rules of log sources that nothing is said of are asked for every event.
    unmapped: bool,
    is_there: bool,
}

/// What events of a log source have.
#[derive(Debug)]
struct Route {
    dimensions: Vec<(&'static str, String)>,
    condition: Option<Node>,
    fields: HashMap<String, Vec<String>>,
}

/// Whether a document is a mapping.
pub(crate) fn is_mapping(root: &Node) -> bool {
    root.member("mapping").is_some()
}

impl Mapping {
    /// Takes in one document.
    pub(crate) fn read(&mut self, root: &Node, problems: &mut Problems<'_>) {
        self.is_there = true;
        for (key, _, value) in problems.members(root, "a mapping", &KEYS) {
            match key {
                "fields" => {
                    for (name, targets) in fields(value, problems) {
                        self.fields.insert(name, targets);
                    }
                }
                "logsources" => match &value.kind {
                    Kind::List(items) => {
                        self.routes.extend(items.iter().filter_map(|item| route(item, problems)))
                    }
                    _ => problems.expected(value, "logsources", "a list"),
                },
                "by_field" => {
                    for (name, _, field) in problems.members(value, "`by_field`", &DIMENSIONS) {
                        let Some(dimension) = DIMENSIONS.iter().find(|known| **known == name) else {
                            continue;
                        };
                        self.by_field.extend(problems.text(field, name).map(|field| (*dimension, field)));
                    }
                }
                "unmapped" => match problems.text(value, key).as_deref() {
                    Some("any") => self.unmapped = true,
                    Some("refuse") => self.unmapped = false,
                    _ => {
                        let label =
                            "expected `refuse` or `any`: whether rules of other log sources see every event";
                        problems.error(
                            &value.span,
                            "`unmapped` has a value that it cannot have",
                            label,
                            None,
                        );
                    }
                },
                "by" => self.by = Some(value.clone()),
                "window" => self.window = Some(value.clone()),
                _ => {}
            }
        }
    }

    /// The key of the incidents of a rule that does not group, if the mapping says so.
    pub(crate) fn key(&self) -> Option<Node> {
        self.by.clone()
    }

    /// The window of a rule that has none of its own, if the mapping says so.
    pub(crate) fn window(&self) -> Option<Node> {
        self.window.clone()
    }

    /// The mapping for rules of a log source: what its events have, and how its fields are called.
    pub(crate) fn for_logsource(&self, node: &Node, problems: &mut Problems<'_>) -> Option<Mapped<'_>> {
        let mut stated = Vec::new();
        for dimension in DIMENSIONS {
            if let Some(value) = node.member(dimension).filter(|value| !matches!(value.kind, Kind::Null)) {
                stated.push((dimension, problems.text(value, dimension)?, value));
            }
        }
        let fits = |route: &&Route| {
            route.dimensions.iter().all(|(name, wanted)| {
                stated.iter().any(|(there, value, _)| there == name && value.eq_ignore_ascii_case(wanted))
            })
        };
        let routes: Vec<&Route> = self.routes.iter().filter(fits).collect();
        let mut block = Block::new(&node.span);
        for route in &routes {
            if let Some(condition) = &route.condition {
                block = block.and(Block::of_node(condition.clone()));
            }
        }
        let by_default = DIMENSIONS.map(|name| (name, name.to_owned()));
        let by_field = if self.is_there { self.by_field.as_slice() } else { by_default.as_slice() };
        let mut unsaid = Vec::new();
        for (dimension, value, span) in &stated {
            if routes.iter().any(|route| route.dimensions.iter().any(|(name, _)| name == dimension)) {
                continue;
            }
            match by_field.iter().find(|(name, _)| name == dimension) {
                Some((_, field)) => {
                    let field = own(field);
                    let absent = Block::new(&span.span).compare(
                        "field_equals",
                        &field,
                        list(
                            vec![Node { kind: Kind::Null, span: span.span.clone() }, text(value, &span.span)],
                            &span.span,
                        ),
                    );
                    block = block.and(absent);
                }
                None => unsaid.push(format!("{dimension}: {value}")),
            }
        }
        if !unsaid.is_empty() && !self.unmapped {
            let help =
                "add an entry to `logsources` of the mapping: `{product: …, category: …, match: {kind: …}}`";
            let message = format!("no mapping says which events are of {}", unsaid.join(", "));
            problems.error(&node.span, message, "this log source", Some(help.into()));
            return None;
        }
        Some(Mapped { mapping: self, routes, block })
    }

    /// The names that events of every log source have for a field.
    pub(crate) fn names(&self, sigma: &str) -> Vec<String> {
        self.fields.get(sigma).cloned().unwrap_or_else(|| vec![own(sigma)])
    }
}

/// The mapping for one log source.
pub(crate) struct Mapped<'m> {
    mapping: &'m Mapping,
    routes: Vec<&'m Route>,
    /// What its events have.
    pub(crate) block: Block,
}

impl Mapped<'_> {
    /// The names that its events have for a field: any of them may hold the value.
    pub(crate) fn names(&self, sigma: &str) -> Vec<String> {
        let here = self.routes.iter().find_map(|route| route.fields.get(sigma));
        here.cloned().unwrap_or_else(|| self.mapping.names(sigma))
    }
}

/// A field of the payload, whatever it is called.
fn own(sigma: &str) -> String {
    let first = sigma.split('.').next().unwrap_or_default();
    if OWN_NAMES.contains(&first) || first == "fields" { format!("fields.{sigma}") } else { sigma.to_owned() }
}

fn fields(node: &Node, problems: &mut Problems<'_>) -> Vec<(String, Vec<String>)> {
    let Kind::Map(members) = &node.kind else {
        problems.expected(node, "fields", "named values");
        return Vec::new();
    };
    let mut found = Vec::new();
    for (key, value) in members {
        let Some(name) = problems.text(key, "fields") else { continue };
        let targets = problems.fields(value, "fields");
        if !targets.is_empty() {
            found.push((name, targets.iter().map(|field| field.name().to_owned()).collect()));
        }
    }
    found
}

fn route(node: &Node, problems: &mut Problems<'_>) -> Option<Route> {
    let members = problems.members(node, "a log source", &ROUTE_KEYS);
    let get = |name: &str| members.iter().find(|(key, _, _)| *key == name).map(|(_, _, value)| *value);
    let mut dimensions = Vec::new();
    for name in DIMENSIONS {
        if let Some(value) = get(name) {
            dimensions.push((name, problems.text(value, name)?));
        }
    }
    if dimensions.is_empty() {
        let help = "name a `product`, a `category`, a `service`, or several of them";
        problems.error(&node.span, "a log source without a name", "this entry", Some(help.into()));
        return None;
    }
    let condition = get("match").cloned();
    if let Some(condition) = &condition {
        // Said here and once, not for every rule of the log source.
        crate::rule::match_block(condition, problems)?;
    }
    let fields = get("fields").map(|node| fields(node, problems)).unwrap_or_default();
    Some(Route { dimensions, condition, fields: fields.into_iter().collect() })
}
