//! Predicates: what a step asks of one event.
//!
//! A [`Condition`] is a tree of [`Predicate`]s. Each kind of comparison has a file. Equal predicates of different rules are
//! one in the detector, and are asked at most once for an event.

mod cidr;
mod contradiction;
mod numeric;
mod regular;
mod text;

pub use cidr::Networks;
pub use contradiction::{Contradiction, contradiction};
pub use numeric::{Bits, Ordering};
pub use regular::Regular;
pub use text::{Case, Texts, Where};

use sightline_schemas::Event;

use crate::field::{Field, Scalar};

/// One comparison of one field.
#[derive(Clone, Debug, PartialEq)]
pub struct Predicate {
    /// The field.
    pub field: Field,
    /// The comparison. It holds for a list if it holds for one of its members.
    pub test: Test,
}

/// A comparison.
#[derive(Clone, Debug, PartialEq)]
pub enum Test {
    /// Text that equals, contains, starts or ends with one of several.
    Texts(Texts),
    /// Text that a regular expression finds something in.
    Regular(Regular),
    /// An address in one of several networks.
    Networks(Networks),
    /// A bit mask with all these bits set.
    Bits(Bits),
    /// A number compared with a constant.
    Number(Ordering, f64),
    /// Any value at all.
    Exists,
}

impl Predicate {
    /// Whether the event satisfies it.
    pub fn holds(&self, event: &Event<'_>) -> bool {
        self.field.any(event, |value| self.test.holds(value))
    }
}

impl Test {
    /// Whether it holds of one value.
    pub fn holds(&self, value: Scalar<'_>) -> bool {
        match self {
            Test::Texts(texts) => texts.hold(value),
            Test::Regular(regular) => regular.holds(value),
            Test::Networks(networks) => networks.hold(value),
            Test::Bits(bits) => bits.hold(value),
            Test::Number(ordering, than) => {
                value.number().is_some_and(|number| ordering.holds(number, *than))
            }
            Test::Exists => true,
        }
    }
}

impl Predicate {
    /// What it asks of its field, for people: `is "failure"`.
    pub fn expectation(&self) -> String {
        match &self.test {
            Test::Texts(texts) => texts.expectation(),
            Test::Regular(regular) => regular.expectation(),
            Test::Networks(networks) => networks.expectation(),
            Test::Bits(bits) => bits.expectation(),
            Test::Number(ordering, than) => format!("{} {than}", ordering.as_str()),
            Test::Exists => "any value".to_owned(),
        }
    }
}

/// Several alternatives, for people: `"a"`, or `one of "a", "b"`.
pub(crate) fn alternatives(texts: impl ExactSizeIterator<Item = String>) -> String {
    const SAID_MAX: usize = 6;
    let count = texts.len();
    let mut said: Vec<String> = texts.take(SAID_MAX).collect();
    if count > SAID_MAX {
        said.push(format!("… {} more", count - SAID_MAX));
    }
    match count {
        1 => said.concat(),
        _ => format!("one of {}", said.join(", ")),
    }
}

/// What must hold of an event.
#[derive(Clone, Debug, PartialEq)]
pub enum Condition {
    /// This comparison.
    Test(Predicate),
    /// All of these; nothing is asked where there are none.
    All(Vec<Condition>),
    /// At least one of these.
    Any(Vec<Condition>),
    /// Not this.
    Not(Box<Condition>),
}

impl Condition {
    /// The predicates in it, each once for every time it stands there.
    pub fn predicates(&self) -> Vec<&Predicate> {
        match self {
            Condition::Test(predicate) => vec![predicate],
            Condition::All(inner) | Condition::Any(inner) => {
                inner.iter().flat_map(Condition::predicates).collect()
            }
            Condition::Not(inner) => inner.predicates(),
        }
    }

    /// The exact texts of which this field must hold one, if the condition says so.
    pub fn required_texts(&self, field: &str) -> Option<&[String]> {
        match self {
            Condition::Test(Predicate { field: tested, test: Test::Texts(texts) })
                if tested.name() == field =>
            {
                texts.exact()
            }
            Condition::All(inner) => inner.iter().find_map(|condition| condition.required_texts(field)),
            _ => None,
        }
    }

    /// Whether no event can satisfy both, as far as source and kind tell.
    pub fn excludes(&self, other: &Condition) -> bool {
        ["source", "kind"].iter().any(|field| {
            match (self.required_texts(field), other.required_texts(field)) {
                (Some(these), Some(those)) => !these.iter().any(|text| those.contains(text)),
                _ => false,
            }
        })
    }
}
