//! The witness of a step: what an event must have before the step can be satisfied, and need not be asked.
//!
//! A step is evaluated only for events in which its witness was found, so a good witness is rare. How rare a text is in
//! events nobody knows beforehand, but rules tell: what many rules ask for (`\powershell.exe`, a log source) many events
//! have, and a long text is rarer than a short one.

use crate::detect::catalogue::{Catalogue, Tree};
use crate::predicate::{Predicate, Test, Where};

/// What a step costs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StepCost {
    /// What an event must have before the step is evaluated, in words; empty where it is evaluated for every event.
    pub witness: Vec<String>,
    /// Comparisons that the index answers for all rules at once.
    pub indexed: usize,
    /// Comparisons that are made one by one once the step is evaluated.
    pub asked: usize,
    /// Those of them that are regular expressions.
    pub regexes: usize,
}

impl StepCost {
    /// Whether the step is evaluated for every event, whatever it has.
    pub fn is_unindexed(&self) -> bool {
        self.witness.is_empty()
    }
}

/// A sign that wakes a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sign {
    /// This predicate holds, or what it requires was found.
    Holds(u32),
    /// The field of this predicate has a value.
    Present(u32),
}

/// Signs of which one must be there, and how often that is to be expected, on no particular scale.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Signs {
    pub(super) signs: Vec<Sign>,
    cost: f64,
}

/// How often rules ask for each text of each field.
#[derive(Debug)]
pub(super) struct Popularity<'c> {
    catalogue: &'c Catalogue,
    asked: Vec<u32>,
}

/// A field that is there says little.
const PRESENCE_COST: f64 = 1e6;
/// Names of the event itself whose values most events share.
const COMMON_FIELDS: [&str; 5] = ["source", "kind", "class", "severity", "tags"];
const COMMON_COST: f64 = 64.0;
/// Fields that no event is without: that they are there is no sign of anything.
const EVERY_EVENT_HAS: [&str; 4] = ["source", "kind", "class", "severity"];
/// A text of so many bytes is as rare as a whole value.
const RARE_BYTES: f64 = 16.0;

impl<'c> Popularity<'c> {
    /// Nobody asks for anything yet.
    pub(super) fn new(catalogue: &'c Catalogue) -> Self {
        Popularity { catalogue, asked: vec![0; catalogue.texts] }
    }

    /// Counts the texts of the condition of one step.
    pub(super) fn count(&mut self, condition: &Tree) {
        condition.each(&mut |number| {
            for text in &self.catalogue.predicates[number as usize].texts {
                self.asked[*text as usize] += 1;
            }
        });
    }

    fn cost(&self, number: u32) -> f64 {
        let known = &self.catalogue.predicates[number as usize];
        let Some(witness) = known.predicate.test.witness() else { return PRESENCE_COST };
        let cost = |(text, number): (&&str, &u32)| {
            let short = match witness.place {
                Where::Whole => 1.0,
                // Twice as long is much rarer.
                _ => (RARE_BYTES / (text.len() as f64).clamp(1.0, RARE_BYTES)).powi(2),
            };
            f64::from(self.asked[*number as usize]) * short
        };
        let sum: f64 = witness.texts.iter().zip(&known.texts).map(cost).sum();
        if COMMON_FIELDS.contains(&known.predicate.field.name()) { sum * COMMON_COST } else { sum }
    }

    fn sign(&self, number: u32) -> Option<Sign> {
        let known = &self.catalogue.predicates[number as usize];
        match known.answered {
            Answered::Wholly | Answered::ByText => Some(Sign::Holds(number)),
            Answered::ByPresence if EVERY_EVENT_HAS.contains(&known.predicate.field.name()) => None,
            Answered::ByPresence => Some(Sign::Present(number)),
            Answered::Never => None,
        }
    }

    /// The rarest witness of a condition; `None` where there is none.
    pub(super) fn witness(&self, condition: &Tree) -> Option<Signs> {
        match condition {
            Tree::Test(number) => {
                let sign = self.sign(*number)?;
                let cost = match sign {
                    Sign::Holds(_) => self.cost(*number),
                    Sign::Present(_) => PRESENCE_COST,
                };
                Some(Signs { signs: vec![sign], cost })
            }
            Tree::All(inner) => {
                let witnesses = inner.iter().filter_map(|inner| self.witness(inner));
                witnesses.min_by(|a, b| a.cost.total_cmp(&b.cost))
            }
            Tree::Any(inner) => {
                let mut all = Signs { signs: Vec::new(), cost: 0.0 };
                for inner in inner {
                    let one = self.witness(inner)?;
                    all.signs.extend(one.signs);
                    all.cost += one.cost;
                }
                Some(all)
            }
            Tree::Not(_) => None,
        }
    }
}

/// What a sign is, for people.
pub(super) fn told(sign: Sign, catalogue: &Catalogue) -> String {
    let predicate = |number: u32| -> &Predicate { &catalogue.predicates[number as usize].predicate };
    match sign {
        Sign::Holds(number) => {
            format!("{} {}", predicate(number).field.name(), predicate(number).expectation())
        }
        Sign::Present(number) => format!("{} is there", predicate(number).field.name()),
    }
}

/// What the index can tell of a predicate without asking it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answered {
    /// Whether it holds.
    Wholly,
    /// That it does not, where a text that it requires was not found.
    ByText,
    /// That it does not, where the field has no value.
    ByPresence,
    /// Nothing.
    Never,
}

/// How the index sees a comparison. One that also holds where the field has no value is [`Answered::Never`].
pub(super) fn answered(test: &Test) -> Answered {
    match test {
        Test::Exists => Answered::Wholly,
        Test::Texts(_) if test.witness().is_some() => Answered::Wholly,
        _ if test.witness().is_some() => Answered::ByText,
        Test::Texts(_)
        | Test::Likes(_)
        | Test::Regular(_)
        | Test::Networks(_)
        | Test::Bits(_)
        | Test::Number(..)
        | Test::Ranges(_)
        | Test::TimeParts(_)
        | Test::OtherField(_) => Answered::ByPresence,
        Test::Clock(_) => Answered::Never,
    }
}
