//! Predicates: what a step asks of one event.
//!
//! A [`Condition`] is a tree of [`Predicate`]s. Each kind of comparison has a file. Equal predicates of different rules are
//! one in the detector, and are asked at most once for an event.

mod cidr;
mod clock;
mod contradiction;
mod encoded;
mod like;
mod numeric;
mod other_field;
mod regular;
mod required;
mod text;

pub use cidr::Networks;
pub use clock::{Clock, TimePart, TimeParts, parse_hours};
pub use contradiction::{Contradiction, contradiction};
pub use encoded::{Encoding, encoded};
pub use like::{Likes, Pattern};
pub use numeric::{Bits, Ordering, Ranges};
pub use other_field::OtherField;
pub use regular::Regular;
pub use text::{Case, Look, Texts, Where};

use sightline_schemas::Event;

use crate::field::Field;

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
    /// Text that one of several with wildcards stands for.
    Likes(Likes),
    /// Text that a regular expression finds something in.
    Regular(Regular),
    /// An address in one of several networks.
    Networks(Networks),
    /// A bit mask with all these bits set.
    Bits(Bits),
    /// A number compared with a constant.
    Number(Ordering, f64),
    /// A number in one of several ranges.
    Ranges(Ranges),
    /// The time of the event, whatever the field, on a clock.
    Clock(Clock),
    /// A part of the time that the field holds.
    TimeParts(TimeParts),
    /// What another field of the event holds.
    OtherField(OtherField),
    /// Any value at all.
    Exists,
}

/// Texts of which a value must hold one to satisfy a test: what an index may ask first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Witness<'t> {
    /// Where one of them must stand.
    pub place: Where,
    /// Whether case counts; where it does not, the texts are in lower case.
    pub case: Case,
    /// Which values can hold one.
    pub look: Look,
    /// The texts. An empty one stands for a whole value that is empty.
    pub texts: Vec<&'t str>,
}

impl Test {
    /// Texts of which a value must hold one to satisfy this; `None` where nothing is said. That a value holds one is
    /// enough only for [`Test::Texts`].
    pub fn witness(&self) -> Option<Witness<'_>> {
        let witness = match self {
            Test::Texts(texts) => Witness {
                place: texts.place(),
                case: texts.case(),
                look: texts.look(),
                texts: texts.texts().iter().map(String::as_str).collect(),
            },
            Test::Likes(likes) => Witness {
                place: Where::Inside,
                case: likes.case(),
                look: likes.look(),
                texts: likes.required()?,
            },
            Test::Regular(regular) => Witness {
                place: Where::Inside,
                case: Case::Ignored,
                look: regular.look(),
                texts: regular.required()?,
            },
            _ => return None,
        };
        let says_something =
            witness.place == Where::Whole || witness.texts.iter().all(|text| !text.is_empty());
        says_something.then_some(witness)
    }
}

impl Predicate {
    /// Whether the event satisfies it.
    pub fn holds(&self, event: &Event<'_>) -> bool {
        match &self.test {
            Test::Texts(texts) => self.field.any(event, |value| texts.hold(value)),
            Test::Likes(likes) => self.field.any(event, |value| likes.hold(value)),
            Test::Regular(regular) => self.field.any(event, |value| regular.holds(value)),
            Test::Networks(networks) => self.field.any(event, |value| networks.hold(value)),
            Test::Bits(bits) => self.field.any(event, |value| bits.hold(value)),
            Test::Number(ordering, than) => self
                .field
                .any(event, |value| value.number().is_some_and(|number| ordering.holds(number, *than))),
            Test::Ranges(ranges) => self.field.any(event, |value| ranges.hold(value)),
            Test::Clock(clock) => clock.holds(event.occurred_at),
            Test::TimeParts(parts) => self.field.any(event, |value| parts.hold(value)),
            Test::OtherField(other) => self.field.any(event, |value| other.holds(value, event)),
            Test::Exists => self.field.exists(event),
        }
    }
}

impl Predicate {
    /// What it asks of its field, for people: `is "failure"`.
    pub fn expectation(&self) -> String {
        match &self.test {
            Test::Texts(texts) => texts.expectation(),
            Test::Likes(likes) => likes.expectation(),
            Test::Regular(regular) => regular.expectation(),
            Test::Networks(networks) => networks.expectation(),
            Test::Bits(bits) => bits.expectation(),
            Test::Number(ordering, than) => format!("{} {than}", ordering.as_str()),
            Test::Ranges(ranges) => ranges.expectation(),
            Test::Clock(clock) => clock.expectation(),
            Test::TimeParts(parts) => parts.expectation(),
            Test::OtherField(other) => other.expectation(),
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
    /// Whether the event satisfies it. The detector answers the same for many conditions at once.
    pub fn holds(&self, event: &Event<'_>) -> bool {
        match self {
            Condition::Test(predicate) => predicate.holds(event),
            Condition::All(inner) => inner.iter().all(|inner| inner.holds(event)),
            Condition::Any(inner) => inner.iter().any(|inner| inner.holds(event)),
            Condition::Not(inner) => !inner.holds(event),
        }
    }

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
