//! Sigma documents, all of them together: each becomes native rules.

use std::collections::HashMap;

use crate::rule::Diagnostic;
use crate::rule::draft::Problems;
use crate::rule::tree::{Kind, Node};
use crate::sigma::condition::{parse, resolve};
use crate::sigma::correlate::correlate;
use crate::sigma::correlation::Correlation;
use crate::sigma::document::Document;
use crate::sigma::mapping::{Mapped, Mapping};
use crate::sigma::native::{Block, list, map, text};
use crate::sigma::selection::{as_list, selection};

/// A native rule, and the file that it comes from.
pub(crate) type Translated = (usize, Node);

/// A detection, understood.
#[derive(Clone, Debug)]
pub(crate) struct Detection {
    /// Which events it means.
    pub(crate) block: Block,
    /// The fields that people want to see, by their native names.
    pub(crate) shown: Vec<Node>,
}

/// Everything that documents can refer to.
pub(crate) struct Known {
    pub(crate) documents: Vec<Document>,
    pub(crate) detections: HashMap<usize, Detection>,
    pub(crate) correlations: HashMap<usize, Correlation>,
    names: HashMap<String, usize>,
}

impl Known {
    /// The document of that id or name.
    pub(crate) fn find(&self, name: &str) -> Option<usize> {
        self.names.get(name).copied()
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.names.keys().map(String::as_str)
    }
}

/// The native rules that say the same as these documents.
pub(crate) fn translate(
    roots: Vec<(usize, Node)>,
    mapping: &Mapping,
    all: &mut Vec<Diagnostic>,
) -> Vec<Translated> {
    let mut known = Known {
        documents: Vec::new(),
        detections: HashMap::new(),
        correlations: HashMap::new(),
        names: HashMap::new(),
    };
    for (file, root) in roots {
        let mut problems = Problems { file, all };
        let Some(document) = Document::read(file, root, &mut problems) else { continue };
        let place = known.documents.len();
        for name in &document.names {
            known.names.entry(name.clone()).or_insert(place);
        }
        if let Some(node) = document.root.member("correlation") {
            if let Some(correlation) = Correlation::read(node, &document.root, &mut problems) {
                known.correlations.insert(place, correlation);
            }
        } else if let Some(node) = document.root.member("filter") {
            let help = "put the exception into the rule, or into `except` of a native one";
            problems.error(&node.span, "Sigma filters are not supported", "this filter", Some(help.into()));
        } else if let Some(detection) = detection(&document.root, mapping, &mut problems) {
            known.detections.insert(place, detection);
        }
        known.documents.push(document);
    }
    let mut rules: Vec<(usize, Translated)> = Vec::new();
    for place in 0..known.documents.len() {
        let file = known.documents[place].file;
        let mut problems = Problems { file, all };
        if let Some(correlation) = known.correlations.get(&place) {
            let native = correlate(place, correlation, &known, mapping, &mut problems);
            rules.extend(native.into_iter().map(|node| (place, (file, node))));
        } else if known.detections.contains_key(&place) && !silent(place, &known) {
            let node = detection_rule(place, &known, mapping, &mut problems);
            rules.push((place, (file, node)));
        }
    }
    rules.into_iter().map(|(_, rule)| rule).collect()
}

/// Whether a rule is there for correlations alone: one that refers to it keeps it silent, unless it says `generate`.
pub(crate) fn silent(place: usize, known: &Known) -> bool {
    let refers = |correlation: &&Correlation| {
        correlation.rules.iter().any(|(name, _)| known.find(name) == Some(place))
    };
    let mut referring = known.correlations.values().filter(refers).peekable();
    referring.peek().is_some() && referring.all(|correlation| !correlation.generate)
}

fn detection_rule(place: usize, known: &Known, mapping: &Mapping, problems: &mut Problems<'_>) -> Node {
    let document = &known.documents[place];
    let detection = &known.detections[&place];
    let span = document.span();
    let mut members = document.described(problems);
    members.extend(mapping.window().map(|window| ("window", window)));
    members.push(("by", mapping.key().unwrap_or_else(|| list(Vec::new(), span))));
    let mut step = vec![("name", text("detection", span)), ("match", detection.block.clone().node())];
    if !detection.shown.is_empty() {
        step.push(("show", list(detection.shown.clone(), span)));
    }
    members.push(("steps", list(vec![map(step, span)], span)));
    map(members, span)
}

/// `logsource` and `detection` of a rule.
fn detection(root: &Node, mapping: &Mapping, problems: &mut Problems<'_>) -> Option<Detection> {
    let missing = |name: &str, problems: &mut Problems<'_>| {
        let help = format!("add `{name}:`");
        problems.error(&root.span, format!("a Sigma rule without `{name}`"), "this rule", Some(help));
    };
    let Some(logsource) = root.member("logsource") else {
        missing("logsource", problems);
        return None;
    };
    let Some(node) = root.member("detection") else {
        missing("detection", problems);
        return None;
    };
    let Kind::Map(members) = &node.kind else {
        problems.expected(node, "detection", "named values");
        return None;
    };
    let mapped = mapping.for_logsource(logsource, problems)?;
    let mut selections: Vec<(String, Block)> = Vec::new();
    let mut whole = true;
    for (key, value) in members {
        let name = problems.text(key, "detection")?;
        match name.as_str() {
            "condition" => {}
            "timeframe" => {
                let help = "write a correlation rule, with `timespan`";
                problems.error(
                    &key.span,
                    "`timeframe` was for counting, which Sigma gave up",
                    "not known",
                    Some(help.into()),
                );
                whole = false;
            }
            _ => match selection(value, &mapped, problems) {
                Some(block) => selections.push((name, block)),
                None => whole = false,
            },
        }
    }
    let Some(condition) = node.member("condition") else {
        let help = "add `condition: selection`";
        problems.error(&node.span, "a detection without `condition`", "this one", Some(help.into()));
        return None;
    };
    if !whole {
        return None;
    }
    let as_list = as_list(condition);
    let Kind::List(conditions) = &as_list.kind else { return None };
    let mut any = Vec::new();
    for condition in conditions {
        let written = problems.text(condition, "condition")?;
        match parse(&written).and_then(|parsed| resolve(&parsed, &selections, &condition.span)) {
            Ok(block) => any.push(block),
            Err(why) => {
                problems.error(&condition.span, "this condition cannot be understood", why, None);
                return None;
            }
        }
    }
    let block = mapped.block.clone().and(Block::any_of(&condition.span, any));
    Some(Detection { block, shown: shown(root, &mapped) })
}

/// `fields`, which a person wants to see.
fn shown(root: &Node, mapped: &Mapped<'_>) -> Vec<Node> {
    let Some(Node { kind: Kind::List(items), .. }) = root.member("fields") else { return Vec::new() };
    let names = items.iter().filter_map(|item| Some((item.scalar_text()?, &item.span)));
    names
        .flat_map(|(name, span)| {
            mapped.names(&name).into_iter().map(|name| text(name, span)).collect::<Vec<_>>()
        })
        .collect()
}
