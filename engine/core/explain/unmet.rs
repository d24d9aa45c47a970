//! Why does this condition not hold of this event?

use serde::{Deserialize, Serialize};
use sightline_schemas::Event;

use crate::limits::SHOWN_VALUE_BYTES_MAX;
use crate::predicate::{Condition, Predicate};

/// A comparison that a condition needs and an event does not satisfy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unmet {
    /// The field.
    pub field: String,
    /// What was expected of it.
    pub expected: String,
    /// What it holds; `None` where the event does not have it.
    pub found: Option<String>,
}

/// The comparisons that stand between this event and this condition, as few as there can be; empty where it holds.
///
/// Of alternatives only the nearest is said: to satisfy one of them is enough.
pub fn unmet(condition: &Condition, event: &Event<'_>) -> Vec<Unmet> {
    match condition {
        Condition::Test(predicate) if predicate.holds(event) => Vec::new(),
        Condition::Test(predicate) => vec![of(predicate, event, predicate.expectation())],
        Condition::All(inner) => inner.iter().flat_map(|inner| unmet(inner, event)).collect(),
        Condition::Any(inner) => {
            inner.iter().map(|inner| unmet(inner, event)).min_by_key(Vec::len).unwrap_or_default()
        }
        Condition::Not(inner) => {
            if !unmet(inner, event).is_empty() {
                return Vec::new();
            }
            let held = inner.predicates().into_iter().filter(|predicate| predicate.holds(event));
            let refused = |predicate: &Predicate| {
                let expected = format!("not: {}", predicate.expectation());
                of(predicate, event, expected)
            };
            let refused: Vec<Unmet> = held.map(refused).collect();
            // Where nothing holds inside, what holds is that nothing does.
            match refused.is_empty() {
                true => inner.predicates().into_iter().take(1).map(refused_absence(event)).collect(),
                false => refused,
            }
        }
    }
}

fn refused_absence<'e>(event: &'e Event<'_>) -> impl Fn(&Predicate) -> Unmet + 'e {
    move |predicate| of(predicate, event, predicate.expectation())
}

fn of(predicate: &Predicate, event: &Event<'_>, expected: String) -> Unmet {
    let mut values = Vec::new();
    predicate.field.any(event, |value| {
        values.push(value.text().into_owned());
        false
    });
    let found = (!values.is_empty()).then(|| shorten(values.join(", ")));
    Unmet { field: predicate.field.name().to_owned(), expected: shorten(expected), found }
}

fn shorten(mut text: String) -> String {
    if text.len() > SHOWN_VALUE_BYTES_MAX {
        let mut cut = SHOWN_VALUE_BYTES_MAX;
        while !text.is_char_boundary(cut) {
            cut -= 1;
        }
        text.truncate(cut);
        text.push('…');
    }
    text
}

impl Unmet {
    /// For people: `outcome is "success", expected is "failure"`.
    pub fn said(&self) -> String {
        match &self.found {
            Some(found) => format!("{} is {found:?}, expected {}", self.field, self.expected),
            None => format!("{} is missing, expected {}", self.field, self.expected),
        }
    }
}
