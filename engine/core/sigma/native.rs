//! Pieces of the native language, as trees that point into the file they were made from.

use std::ops::Range;

use crate::rule::tree::{Kind, Node};

/// A text.
pub(crate) fn text(value: impl Into<String>, span: &Range<usize>) -> Node {
    Node { kind: Kind::Text(value.into()), span: span.clone() }
}

/// True or false.
pub(crate) fn flag(value: bool, span: &Range<usize>) -> Node {
    Node { kind: Kind::Bool(value), span: span.clone() }
}

/// A list.
pub(crate) fn list(items: Vec<Node>, span: &Range<usize>) -> Node {
    Node { kind: Kind::List(items), span: span.clone() }
}

/// Named values.
pub(crate) fn map(members: Vec<(&str, Node)>, span: &Range<usize>) -> Node {
    let member = |(name, value): (&str, Node)| (text(name, span), value);
    Node { kind: Kind::Map(members.into_iter().map(member).collect()), span: span.clone() }
}

/// A list of texts, or the one that there is.
pub(crate) fn texts(mut values: Vec<Node>, span: &Range<usize>) -> Node {
    match values.len() {
        1 => values.remove(0),
        _ => list(values, span),
    }
}

/// A block of conditions, as `match` takes it: what is put in must hold.
#[derive(Clone, Debug)]
pub(crate) struct Block {
    span: Range<usize>,
    /// Comparisons with the fields that they compare.
    comparisons: Vec<(String, Vec<(Node, Node)>)>,
    /// Blocks that must hold too, because what they say stands here already.
    all: Vec<Node>,
    any: Vec<Node>,
    not: Vec<Node>,
}

impl Block {
    pub(crate) fn new(span: &Range<usize>) -> Self {
        Block {
            span: span.clone(),
            comparisons: Vec::new(),
            all: Vec::new(),
            any: Vec::new(),
            not: Vec::new(),
        }
    }

    /// A comparison of one field.
    pub(crate) fn compare(mut self, comparison: &str, field: &str, value: Node) -> Self {
        let key = text(field, &value.span);
        self.comparisons.push((comparison.to_owned(), vec![(key, value)]));
        self
    }

    /// All of these hold.
    pub(crate) fn all_of(span: &Range<usize>, blocks: Vec<Block>) -> Self {
        blocks.into_iter().fold(Block::new(span), Block::and)
    }

    /// One of these holds.
    pub(crate) fn any_of(span: &Range<usize>, mut blocks: Vec<Block>) -> Self {
        if blocks.len() == 1 {
            return blocks.remove(0);
        }
        let mut block = Block::new(span);
        block.any = blocks.into_iter().map(Block::node).collect();
        block
    }

    /// It does not hold.
    pub(crate) fn negated(self) -> Self {
        let mut block = Block::new(&self.span);
        block.not.push(self.node());
        block
    }

    /// Both hold. What both compare, or both have alternatives for, goes into a block of its own.
    pub(crate) fn and(mut self, other: Block) -> Self {
        let names = |block: &Block| -> Vec<(String, String)> {
            let fields = block.comparisons.iter().flat_map(|(comparison, fields)| {
                fields.iter().map(|(key, _)| (comparison.clone(), key.scalar_text().unwrap_or_default()))
            });
            fields.collect()
        };
        let (ours, theirs) = (names(&self), names(&other));
        let clash =
            theirs.iter().any(|name| ours.contains(name)) || (!self.any.is_empty() && !other.any.is_empty());
        if clash {
            self.all.push(other.node());
            return self;
        }
        for (comparison, fields) in other.comparisons {
            match self.comparisons.iter_mut().find(|(there, _)| *there == comparison) {
                Some((_, there)) => there.extend(fields),
                None => self.comparisons.push((comparison, fields)),
            }
        }
        self.all.extend(other.all);
        self.any.extend(other.any);
        self.not.extend(other.not);
        self
    }

    /// As `match` takes it. Sigma ignores case and looks into numbers, unless it says otherwise.
    pub(crate) fn node(self) -> Node {
        let span = self.span;
        let mut members = Vec::new();
        let compares = |names: &[&str]| {
            self.comparisons.iter().any(|(comparison, _)| names.iter().any(|name| comparison == name))
        };
        let into_texts =
            ["field_contains", "field_starts_with", "field_ends_with", "field_like", "field_matches"];
        if compares(&into_texts) || compares(&["field_equals"]) {
            members.push(("ignore_case", flag(true, &span)));
        }
        if compares(&into_texts) {
            members.push(("as_text", flag(true, &span)));
        }
        for (comparison, fields) in &self.comparisons {
            members.push((comparison, Node { kind: Kind::Map(fields.clone()), span: span.clone() }));
        }
        for (name, blocks) in [("all", self.all), ("any", self.any), ("not", self.not)] {
            if !blocks.is_empty() {
                members.push((name, texts(blocks, &span)));
            }
        }
        map(members, &span)
    }

    /// A block of the native language, as it is.
    pub(crate) fn of_node(node: Node) -> Self {
        let mut block = Block::new(&node.span);
        block.all.push(node);
        block
    }
}
