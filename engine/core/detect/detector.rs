//! All steps of all rules, ready to be found.

use std::sync::Arc;

use rustc_hash::FxHashSet;
use sightline_schemas::Event;

use crate::detect::catalogue::{Catalogue, Cataloguing, Tree};
use crate::detect::gate::Gate;
use crate::detect::index::{Index, StepRef};
use crate::detect::memo::Memo;
use crate::detect::witness::{Answered, StepCost, told};
use crate::predicate::{Condition, Test};

/// Finds the steps that an event satisfies.
#[derive(Debug)]
pub struct Detector {
    catalogue: Catalogue,
    gate: Gate,
    /// Of all steps, whatever the gate lets pass.
    index: Index,
    costs: Vec<StepCost>,
    /// Tells it from every other one.
    identity: Arc<()>,
}

/// Takes in steps, one after the other.
#[derive(Default)]
pub struct DetectorBuilder(Cataloguing);

impl DetectorBuilder {
    /// Adds the condition of a step. Steps come in the order of their rules.
    pub fn add(&mut self, step: StepRef, condition: &Condition) {
        self.0.add(step, condition);
    }

    /// The detector of these steps.
    pub fn build(self) -> Detector {
        let catalogue = self.0.finish();
        let gate = Gate::new(&catalogue);
        let mut costs: Vec<StepCost> =
            catalogue.steps.iter().map(|(_, tree)| cost(tree, &catalogue)).collect();
        let mut at = 0;
        let steps = catalogue.steps.iter().map(|(step, tree)| (*step, tree));
        let index = Index::new(0, &catalogue, steps, |signs| {
            if let Some(signs) = signs {
                costs[at].witness = signs.iter().map(|sign| told(*sign, &catalogue)).collect();
                // Nothing can satisfy it: an empty choice.
                if signs.is_empty() {
                    costs[at].witness.push("nothing: no event can satisfy it".to_owned());
                }
            }
            at += 1;
        });
        Detector { catalogue, gate, index, costs, identity: Arc::default() }
    }
}

impl Default for Detector {
    fn default() -> Self {
        DetectorBuilder::default().build()
    }
}

fn cost(tree: &Tree, catalogue: &Catalogue) -> StepCost {
    let mut cost = StepCost::default();
    let mut counted = FxHashSet::default();
    tree.each(&mut |number| {
        if counted.insert(number) {
            let known = &catalogue.predicates[number as usize];
            match known.answered {
                Answered::Wholly => cost.indexed += 1,
                _ => cost.asked += 1,
            }
            cost.regexes += usize::from(matches!(known.predicate.test, Test::Regular(_)));
        }
    });
    cost
}

impl Detector {
    /// How many distinct predicates there are.
    pub fn predicates(&self) -> usize {
        self.catalogue.stated()
    }

    /// What each step costs, in the order of the rules.
    pub fn costs(&self) -> impl Iterator<Item = (StepRef, &StepCost)> {
        self.catalogue.steps.iter().zip(&self.costs).map(|((step, _), cost)| (*step, cost))
    }

    /// Gives every step that the event satisfies to `take`, in the order of the rules.
    pub fn satisfied(&self, event: &Event<'_>, memo: &mut Memo, take: impl FnMut(StepRef)) {
        memo.belong_to(&self.identity);
        memo.next_event(self.catalogue.places());
        match self.gate.pass(&self.catalogue, event, memo) {
            Some(index) => {
                index.satisfied(&self.catalogue, event, memo, take);
                memo.passed.give_back(index);
            }
            None => self.index.satisfied(&self.catalogue, event, memo, take),
        }
    }
}
