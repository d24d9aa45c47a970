//! Conditions one behind the other in one piece of memory, each part with the place where it ends.

use crate::detect::catalogue::Tree;

/// One part of a condition. Its inner parts follow it, up to its end.
#[derive(Clone, Copy, Debug)]
struct Part {
    kind: Kind,
    /// The predicate, where it is one.
    predicate: u32,
    end: u32,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Test,
    All,
    Any,
    Not,
}

/// Conditions, each known by the place where it begins.
#[derive(Debug, Default)]
pub(super) struct Program {
    parts: Vec<Part>,
}

impl Program {
    /// Adds a condition. `effort` says what a predicate costs: what costs less is asked first. `number` says by what number
    /// it is asked.
    pub(super) fn add(
        &mut self,
        tree: &Tree,
        effort: &impl Fn(u32) -> u32,
        number: &mut impl FnMut(u32) -> u32,
    ) -> u32 {
        let begin = self.parts.len();
        let (kind, predicate) = match tree {
            Tree::Test(predicate) => (Kind::Test, number(*predicate)),
            Tree::All(_) => (Kind::All, 0),
            Tree::Any(_) => (Kind::Any, 0),
            Tree::Not(_) => (Kind::Not, 0),
        };
        self.parts.push(Part { kind, predicate, end: 0 });
        match tree {
            Tree::Test(_) => {}
            Tree::All(inner) | Tree::Any(inner) => {
                let mut inner: Vec<&Tree> = inner.iter().collect();
                inner.sort_by_cached_key(|inner| efforts(inner, effort));
                for inner in inner {
                    self.add(inner, effort, number);
                }
            }
            Tree::Not(inner) => {
                self.add(inner, effort, number);
            }
        }
        self.parts[begin].end = self.parts.len() as u32;
        begin as u32
    }

    /// Whether the condition that begins there holds.
    pub(super) fn holds(&self, begin: u32, ask: &mut impl FnMut(u32) -> bool) -> bool {
        let part = self.parts[begin as usize];
        let mut at = begin + 1;
        match part.kind {
            Kind::Test => ask(part.predicate),
            Kind::Not => !self.holds(at, ask),
            Kind::All => {
                while at < part.end {
                    if !self.holds(at, ask) {
                        return false;
                    }
                    at = self.parts[at as usize].end;
                }
                true
            }
            Kind::Any => {
                while at < part.end {
                    if self.holds(at, ask) {
                        return true;
                    }
                    at = self.parts[at as usize].end;
                }
                false
            }
        }
    }
}

fn efforts(tree: &Tree, effort: &impl Fn(u32) -> u32) -> u32 {
    match tree {
        Tree::Test(number) => effort(*number),
        Tree::All(inner) | Tree::Any(inner) => {
            1 + inner.iter().map(|inner| efforts(inner, effort)).sum::<u32>()
        }
        Tree::Not(inner) => efforts(inner, effort),
    }
}
