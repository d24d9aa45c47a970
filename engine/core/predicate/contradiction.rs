//! Conditions that nothing can satisfy.

use crate::field::Scalar;
use crate::predicate::{Condition, Predicate, Test};

/// Why a condition holds of no event, or only of one whose field is a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contradiction {
    /// What cannot be, for people.
    pub why: String,
    /// Whether a list could satisfy it, one of its members the one and another the other.
    pub lists_only: bool,
}

/// Fields of an event that always hold one value.
const SINGLE: [&str; 7] = ["source", "kind", "class", "severity", "host_id", "user", "title"];

/// Fields that are lists by nature.
const LISTS: [&str; 2] = ["tags", "entities"];

/// Fields that hold one of a few words.
const WORDS: [(&str, &[&str]); 2] = [
    ("class", &["event", "alert", "finding", "indicator", "anomaly", "report", "note"]),
    ("severity", &["info", "low", "medium", "high", "critical"]),
];

/// The first contradiction in a condition, if there is one.
pub fn contradiction(condition: &Condition) -> Option<Contradiction> {
    match condition {
        Condition::Test(predicate) => unknown_word(predicate),
        Condition::Any(inner) if inner.is_empty() => {
            Some(Contradiction { why: "`any` of nothing".to_owned(), lists_only: false })
        }
        // One alternative is enough.
        Condition::Any(inner) => {
            let all: Option<Vec<Contradiction>> = inner.iter().map(contradiction).collect();
            all.and_then(|all| all.into_iter().next())
        }
        Condition::Not(inner) => always(inner)
            .then(|| Contradiction { why: "`not` of what always holds".to_owned(), lists_only: false }),
        Condition::All(_) => {
            let mut needed = Vec::new();
            let mut refused = Vec::new();
            parts(condition, &mut needed, &mut refused);
            between(&needed, &refused).or_else(|| match condition {
                Condition::All(inner) => inner.iter().find_map(contradiction),
                _ => None,
            })
        }
    }
}

fn always(condition: &Condition) -> bool {
    match condition {
        Condition::All(inner) => inner.iter().all(always),
        Condition::Any(inner) => inner.iter().any(always),
        Condition::Test(_) | Condition::Not(_) => false,
    }
}

/// What must hold of every event that satisfies the condition, and what must not.
fn parts<'c>(condition: &'c Condition, needed: &mut Vec<&'c Predicate>, refused: &mut Vec<&'c Predicate>) {
    match condition {
        Condition::Test(predicate) => needed.push(predicate),
        Condition::All(inner) => inner.iter().for_each(|inner| parts(inner, needed, refused)),
        Condition::Not(inner) => refuse(inner, refused),
        Condition::Any(_) => {}
    }
}

/// What must not hold where this must not: each alternative of it, and a single test.
fn refuse<'c>(condition: &'c Condition, refused: &mut Vec<&'c Predicate>) {
    match condition {
        Condition::Test(predicate) => refused.push(predicate),
        Condition::Any(inner) => inner.iter().for_each(|inner| refuse(inner, refused)),
        Condition::All(inner) if inner.len() == 1 => refuse(&inner[0], refused),
        Condition::All(_) | Condition::Not(_) => {}
    }
}

fn between(needed: &[&Predicate], refused: &[&Predicate]) -> Option<Contradiction> {
    for (at, predicate) in needed.iter().enumerate() {
        if let Some(refused) = refused.iter().find(|refused| refused == &predicate) {
            return Some(refusal(predicate, refused));
        }
        // What has no value satisfies nothing.
        let absent = refused.iter().find(|it| it.field == predicate.field && it.test == Test::Exists);
        if let Some(absent) = absent {
            return Some(refusal(predicate, absent));
        }
        if let Some(other) = needed[at + 1..].iter().find(|other| excludes(predicate, other)) {
            return Some(pair(predicate, other));
        }
        if let Some(other) =
            refused.iter().find(|other| other.field == predicate.field && covers(other, predicate))
        {
            return Some(refusal(predicate, other));
        }
    }
    None
}

/// Whether a test holds of a text; `None` where that depends on more than the text.
fn holds_of(test: &Test, text: &str) -> Option<bool> {
    let value = Scalar::Text(text);
    Some(match test {
        Test::Texts(texts) => texts.hold(value),
        Test::Likes(likes) => likes.hold(value),
        Test::Regular(regular) => regular.holds(value),
        Test::Networks(networks) => networks.hold(value),
        Test::Bits(bits) => bits.hold(value),
        Test::Number(ordering, than) => value.number().is_some_and(|number| ordering.holds(number, *than)),
        Test::Ranges(ranges) => ranges.hold(value),
        Test::TimeParts(parts) => parts.hold(value),
        Test::Exists => true,
        Test::Clock(_) | Test::OtherField(_) => return None,
    })
}

/// Whether no single value satisfies both.
fn excludes(one: &Predicate, other: &Predicate) -> bool {
    if one.field != other.field || LISTS.contains(&one.field.name()) {
        return false;
    }
    let no_text_of = |exact: &Predicate, test: &Test| {
        let texts = match &exact.test {
            Test::Texts(texts) => texts.exact(),
            _ => None,
        };
        texts.is_some_and(|texts| texts.iter().all(|text| holds_of(test, text) == Some(false)))
    };
    no_text_of(one, &other.test) || no_text_of(other, &one.test) || numbers_apart(&one.test, &other.test)
}

/// Whether the refused one holds of every value that the needed one allows.
fn covers(refused: &Predicate, needed: &Predicate) -> bool {
    match &needed.test {
        Test::Texts(texts) => texts
            .exact()
            .is_some_and(|texts| texts.iter().all(|text| holds_of(&refused.test, text) == Some(true))),
        _ => false,
    }
}

fn numbers_apart(one: &Test, other: &Test) -> bool {
    use crate::predicate::Ordering::{Gt, Gte, Lt, Lte};
    let (Test::Number(one, a), Test::Number(other, b)) = (one, other) else { return false };
    match (one, other) {
        (Gte, Lte) => a > b,
        (Lte, Gte) => a < b,
        (Gt | Gte, Lt | Lte) => a >= b,
        (Lt | Lte, Gt | Gte) => a <= b,
        _ => false,
    }
}

fn unknown_word(predicate: &Predicate) -> Option<Contradiction> {
    let (name, words) = WORDS.iter().find(|(name, _)| *name == predicate.field.name())?;
    let known = words.iter().any(|word| holds_of(&predicate.test, word) != Some(false));
    (!known).then(|| Contradiction {
        why: format!("`{name}` {}, and is one of {}", predicate.expectation(), words.join(", ")),
        lists_only: false,
    })
}

fn pair(one: &Predicate, other: &Predicate) -> Contradiction {
    let name = one.field.name();
    let why = format!("`{name}` {}, and {}", one.expectation(), other.expectation());
    Contradiction { why, lists_only: !SINGLE.contains(&name) }
}

fn refusal(needed: &Predicate, refused: &Predicate) -> Contradiction {
    let name = needed.field.name();
    let why = format!("`{name}` {}, and not: {}", needed.expectation(), refused.expectation());
    // Of a list one member would satisfy what none may.
    Contradiction { why, lists_only: false }
}
