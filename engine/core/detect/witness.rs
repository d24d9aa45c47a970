//! The witness of a step: what an event must have before the step can be satisfied, and need not be asked.
//!
//! A step is evaluated only for events in which its witness was found, so a good witness is rare. How rare a text is in
//! events nobody knows beforehand, but rules tell: what many rules ask for (`\powershell.exe`, a log source) many events
//! have, and a long text is rarer than a short one.

use rustc_hash::FxHashMap;

use crate::predicate::{Condition, Predicate, Test, Where};

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
    /// This field has a value.
    Present(u32),
}

/// Signs of which one must be there, and how often that is to be expected, on no particular scale.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Signs {
    pub(super) signs: Vec<Sign>,
    cost: f64,
}

/// How often rules ask for each text of each field.
#[derive(Debug, Default)]
pub(super) struct Popularity {
    asked: FxHashMap<(String, String), u32>,
}

/// A field that is there says little.
const PRESENCE_COST: f64 = 1e6;
/// Names of the event itself whose values most events share.
const COMMON_FIELDS: [&str; 5] = ["source", "kind", "class", "severity", "tags"];
const COMMON_COST: f64 = 64.0;
/// A text of so many bytes is as rare as a whole value.
const RARE_BYTES: f64 = 16.0;

impl Popularity {
    /// Counts the texts of the condition of one step.
    pub(super) fn count(&mut self, condition: &Condition) {
        for predicate in condition.predicates() {
            for text in predicate.test.witness().into_iter().flat_map(|witness| witness.texts) {
                let place = (predicate.field.name().to_owned(), text.to_owned());
                *self.asked.entry(place).or_default() += 1;
            }
        }
    }

    fn cost(&self, predicate: &Predicate) -> f64 {
        let Some(witness) = predicate.test.witness() else { return PRESENCE_COST };
        let name = predicate.field.name();
        let cost = |text: &&str| {
            let asked = self.asked.get(&(name.to_owned(), (*text).to_owned())).copied().unwrap_or(1);
            let short = match witness.place {
                Where::Whole => 1.0,
                // Twice as long is much rarer.
                _ => (RARE_BYTES / (text.len() as f64).clamp(1.0, RARE_BYTES)).powi(2),
            };
            f64::from(asked) * short
        };
        let sum: f64 = witness.texts.iter().map(cost).sum();
        if COMMON_FIELDS.contains(&name) { sum * COMMON_COST } else { sum }
    }

    /// The rarest witness of a condition; `None` where there is none. `sign` says what a predicate is seen by.
    pub(super) fn witness(
        &self,
        condition: &Condition,
        sign: &mut impl FnMut(&Predicate) -> Option<Sign>,
    ) -> Option<Signs> {
        match condition {
            Condition::Test(predicate) => {
                let sign = sign(predicate)?;
                let cost = match sign {
                    Sign::Holds(_) => self.cost(predicate),
                    Sign::Present(_) => PRESENCE_COST,
                };
                Some(Signs { signs: vec![sign], cost })
            }
            Condition::All(inner) => {
                let witnesses = inner.iter().filter_map(|inner| self.witness(inner, sign));
                witnesses.min_by(|a, b| a.cost.total_cmp(&b.cost))
            }
            Condition::Any(inner) => {
                let mut all = Signs { signs: Vec::new(), cost: 0.0 };
                for inner in inner {
                    let one = self.witness(inner, sign)?;
                    all.signs.extend(one.signs);
                    all.cost += one.cost;
                }
                Some(all)
            }
            Condition::Not(_) => None,
        }
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
