//! Fields that are compared with each other.

use sightline_schemas::Event;

use crate::field::{Field, Scalar};
use crate::predicate::{Case, Where};

/// The value holds the value of another field of the same event, as text.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OtherField {
    place: Where,
    case: Case,
    field: Field,
}

impl OtherField {
    /// The value of `field` at `place`.
    pub fn new(place: Where, case: Case, field: Field) -> Self {
        OtherField { place, case, field }
    }

    /// The other field.
    pub fn field(&self) -> &Field {
        &self.field
    }

    /// Whether it does. An empty value of the other field stands nowhere but in an empty one.
    pub fn holds(&self, value: Scalar<'_>, event: &Event<'_>) -> bool {
        let value = self.spelt(value);
        self.field.any(event, |other| {
            let other = self.spelt(other);
            match self.place {
                Where::Whole => value == other,
                _ if other.is_empty() => false,
                Where::Inside => value.contains(&other),
                Where::Start => value.starts_with(&other),
                Where::End => value.ends_with(&other),
            }
        })
    }

    /// For people: `is what user holds`.
    pub fn expectation(&self) -> String {
        let verb = match self.place {
            Where::Whole => "is",
            Where::Inside => "contains",
            Where::Start => "starts with",
            Where::End => "ends with",
        };
        let case = if self.case == Case::Ignored { " in any case" } else { "" };
        format!("{verb} what {} holds{case}", self.field.name())
    }

    fn spelt(&self, value: Scalar<'_>) -> String {
        match self.case {
            Case::Sensitive => value.text().into_owned(),
            Case::Ignored => value.text().to_lowercase(),
        }
    }
}
