//! What all rules ask, each thing once: predicates, fields and texts by number, and conditions made of numbers.

use rustc_hash::FxHashMap;

use crate::detect::index::StepRef;
use crate::detect::witness::{Answered, answered};
use crate::field::{Field, Standing};
use crate::predicate::{Condition, Predicate, Test};

/// A member of the payload in which no field can stand.
pub(super) const NO_PLACE: u32 = u32::MAX;

/// All of it. What is known by number here is never renumbered.
#[derive(Debug, Default)]
pub(super) struct Catalogue {
    pub(super) predicates: Vec<Known>,
    pub(super) fields: Vec<Field>,
    pub(super) steps: Vec<(StepRef, Tree)>,
    /// Names of members of the payload in which fields can stand.
    places: FxHashMap<Box<str>, u32>,
    /// For each of these: the fields.
    pub(super) standpoints: Vec<Vec<Standpoint>>,
    /// How many texts fields are asked for.
    pub(super) texts: usize,
    /// For each field that some predicate needs a value of: the predicate that it has one.
    present: FxHashMap<u32, u32>,
    /// Predicates that no rule states.
    unstated: usize,
}

/// A predicate.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) predicate: Predicate,
    pub(super) field: u32,
    pub(super) answered: Answered,
    /// The texts that it wants, among all texts of all fields.
    pub(super) texts: Box<[u32]>,
}

/// Where a field can stand.
#[derive(Clone, Copy, Debug)]
pub(super) struct Standpoint {
    pub(super) field: u32,
    /// The member is the field, and not merely where it may be found.
    pub(super) is_whole: bool,
}

/// A condition whose predicates are numbers.
#[derive(Clone, Debug)]
pub(super) enum Tree {
    Test(u32),
    /// Holds where there are none.
    All(Vec<Tree>),
    /// Does not hold where there are none.
    Any(Vec<Tree>),
    Not(Box<Tree>),
}

impl Tree {
    pub(super) const TRUE: Tree = Tree::All(Vec::new());
    pub(super) const FALSE: Tree = Tree::Any(Vec::new());

    pub(super) fn is_true(&self) -> bool {
        matches!(self, Tree::All(inner) if inner.is_empty())
    }

    pub(super) fn is_false(&self) -> bool {
        matches!(self, Tree::Any(inner) if inner.is_empty())
    }

    /// What is left of it once some predicates are known to hold or to fail.
    pub(super) fn knowing(&self, known: &impl Fn(u32) -> Option<bool>) -> Tree {
        match self {
            Tree::Test(number) => match known(*number) {
                None => Tree::Test(*number),
                Some(true) => Tree::TRUE,
                Some(false) => Tree::FALSE,
            },
            Tree::All(inner) => {
                let mut left = Vec::new();
                for inner in inner {
                    match inner.knowing(known) {
                        inner if inner.is_false() => return Tree::FALSE,
                        Tree::All(inner) => left.extend(inner),
                        inner => left.push(inner),
                    }
                }
                if left.len() == 1 { left.remove(0) } else { Tree::All(left) }
            }
            Tree::Any(inner) => {
                let mut left = Vec::new();
                for inner in inner {
                    match inner.knowing(known) {
                        inner if inner.is_true() => return Tree::TRUE,
                        Tree::Any(inner) => left.extend(inner),
                        inner => left.push(inner),
                    }
                }
                if left.len() == 1 { left.remove(0) } else { Tree::Any(left) }
            }
            Tree::Not(inner) => match inner.knowing(known) {
                inner if inner.is_true() => Tree::FALSE,
                inner if inner.is_false() => Tree::TRUE,
                inner => Tree::Not(Box::new(inner)),
            },
        }
    }

    /// Gives every predicate, each once for every time it stands there.
    pub(super) fn each(&self, take: &mut impl FnMut(u32)) {
        match self {
            Tree::Test(number) => take(*number),
            Tree::All(inner) | Tree::Any(inner) => inner.iter().for_each(|inner| inner.each(take)),
            Tree::Not(inner) => inner.each(take),
        }
    }
}

impl Catalogue {
    /// The number of the member of the payload that is called so.
    pub(super) fn place(&self, name: &str) -> u32 {
        self.places.get(name).copied().unwrap_or(NO_PLACE)
    }

    /// How many members there are in which fields can stand.
    pub(super) fn places(&self) -> usize {
        self.standpoints.len()
    }

    /// How many distinct predicates rules state.
    pub(super) fn stated(&self) -> usize {
        self.predicates.len() - self.unstated
    }

    /// The predicate that a field has any value.
    pub(super) fn present(&self, field: u32) -> u32 {
        self.present[&field]
    }
}

/// A catalogue as it grows.
#[derive(Default)]
pub(super) struct Cataloguing {
    catalogue: Catalogue,
    field_numbers: FxHashMap<Field, u32>,
    text_numbers: FxHashMap<(u32, String), u32>,
    /// Predicates that could be equal, by what is cheap to compare.
    alike: FxHashMap<(u32, String), Vec<u32>>,
}

impl Cataloguing {
    /// Takes in the condition of a step. Steps come in the order of their rules.
    pub(super) fn add(&mut self, step: StepRef, condition: &Condition) {
        let tree = self.tree(condition);
        self.catalogue.steps.push((step, tree));
    }

    /// All of it. A predicate that no rule states stands behind those that one states.
    pub(super) fn finish(mut self) -> Catalogue {
        let stated = self.catalogue.predicates.len();
        let known = self.catalogue.predicates.iter();
        let needing = known.filter(|known| known.answered == Answered::ByPresence).map(|known| known.field);
        let needing: Vec<u32> = needing.collect();
        for number in needing {
            if !self.catalogue.present.contains_key(&number) {
                let field = self.catalogue.fields[number as usize].clone();
                let exists = self.predicate(&Predicate { field, test: Test::Exists });
                self.catalogue.present.insert(number, exists);
            }
        }
        self.catalogue.unstated = self.catalogue.predicates.len() - stated;
        self.catalogue
    }

    fn tree(&mut self, condition: &Condition) -> Tree {
        match condition {
            Condition::Test(predicate) => Tree::Test(self.predicate(predicate)),
            Condition::All(inner) => Tree::All(inner.iter().map(|inner| self.tree(inner)).collect()),
            Condition::Any(inner) => Tree::Any(inner.iter().map(|inner| self.tree(inner)).collect()),
            Condition::Not(inner) => Tree::Not(Box::new(self.tree(inner))),
        }
    }

    /// The number of a predicate. Equal ones have the same.
    fn predicate(&mut self, predicate: &Predicate) -> u32 {
        let field = self.field(&predicate.field);
        let texts = predicate.test.witness().map(|witness| witness.texts).unwrap_or_default();
        let first_text = texts.first().copied().unwrap_or_default().to_owned();
        let alike = self.alike.entry((field, first_text)).or_default();
        let known = &mut self.catalogue.predicates;
        if let Some(same) = alike.iter().find(|number| known[**number as usize].predicate == *predicate) {
            return *same;
        }
        let number = known.len() as u32;
        alike.push(number);
        let text_numbers = &mut self.text_numbers;
        let number_of = |text: &&str| {
            let next = text_numbers.len() as u32;
            *text_numbers.entry((field, (*text).to_owned())).or_insert(next)
        };
        let texts = texts.iter().map(number_of).collect();
        let answered = answered(&predicate.test);
        known.push(Known { predicate: predicate.clone(), field, answered, texts });
        self.catalogue.texts = text_numbers.len();
        number
    }

    fn field(&mut self, field: &Field) -> u32 {
        if let Some(number) = self.field_numbers.get(field) {
            return *number;
        }
        let catalogue = &mut self.catalogue;
        let number = catalogue.fields.len() as u32;
        let mut stands = |name: &str, is_whole| {
            let next = catalogue.standpoints.len() as u32;
            let place = *catalogue.places.entry(name.into()).or_insert(next);
            if place == next {
                catalogue.standpoints.push(Vec::new());
            }
            catalogue.standpoints[place as usize].push(Standpoint { field: number, is_whole });
        };
        match field.standing() {
            Standing::Own | Standing::Anywhere => {}
            Standing::Member(name) => stands(name, true),
            Standing::Inside(written, first) | Standing::Beside(_, written, first) => {
                stands(written, false);
                stands(first, false);
            }
        }
        self.field_numbers.insert(field.clone(), number);
        catalogue.fields.push(field.clone());
        number
    }
}
