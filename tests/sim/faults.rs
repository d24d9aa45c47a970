//! What goes wrong in a run, and how often. Each run has a mixture of its own: some faults show themselves only where
//! others are absent.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sightline::bus::memory::{Call, Chance, MemoryOutputs, Mishap};
use sightline::state::MemoryPlace;
use sightline::state::memory_store::Misfortune;

use crate::random::Random;

/// What is done to the input log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disaster {
    /// Nothing.
    None,
    /// It is deleted and created again.
    Replaced,
    /// The server loses the newest messages.
    TailLost,
    /// Messages are deleted, from the beginning or in the middle.
    Purged,
}

/// How often what goes wrong.
#[derive(Clone, Debug)]
pub struct Plan {
    pub disaster: Disaster,
    pub steps: u64,
    /// In a thousand calls.
    pub refused: u64,
    pub answer_lost: u64,
    pub slow: u64,
    /// In a hundred commits.
    pub commit_fails: u64,
    pub commit_damages: u64,
    /// In a thousand steps.
    pub killed_inside: u64,
    pub killed_between: u64,
    pub drained: u64,
    pub output_silent: u64,
    pub output_full: u64,
    pub second_worker: u64,
    pub other_rules: u64,
    pub struck: u64,
    /// In a hundred deaths.
    pub checkpoint_lost: u64,
    pub checkpoint_every: Duration,
    /// Messages for each step.
    pub messages: u64,
}

impl Plan {
    pub fn new(random: &mut Random) -> Self {
        let disaster = match random.below(100) {
            0..65 => Disaster::None,
            65..75 => Disaster::Replaced,
            75..85 => Disaster::TailLost,
            _ => Disaster::Purged,
        };
        let mut of = |rates: &[u64]| if random.percent(50) { *random.pick(rates) } else { 0 };
        Plan {
            disaster,
            refused: of(&[5, 20, 100]),
            answer_lost: of(&[5, 20, 100]),
            // What arrives after the loss would have to be told apart from what arrived before.
            slow: if disaster == Disaster::TailLost { 0 } else { of(&[5, 50, 200]) },
            commit_fails: of(&[5, 30, 80]),
            commit_damages: of(&[2, 10]),
            killed_inside: of(&[20, 100, 300]),
            killed_between: of(&[10, 50, 200]),
            drained: of(&[10, 50]),
            output_silent: of(&[5, 30]),
            output_full: of(&[5, 30]),
            second_worker: of(&[5, 20]),
            other_rules: of(&[5, 30]),
            checkpoint_lost: of(&[10, 50, 100]),
            struck: *random.pick(&[10, 30, 60]),
            steps: *random.pick(&[30, 80, 150]),
            checkpoint_every: Duration::from_millis(*random.pick(&[0, 0, 50, 500])),
            messages: *random.pick(&[1, 2, 5, 20]),
        }
    }
}

/// Whether things go wrong at present.
#[derive(Clone, Debug, Default)]
pub struct Calm(Arc<AtomicBool>);

impl Calm {
    pub fn set(&self, calm: bool) {
        self.0.store(calm, Ordering::SeqCst);
    }

    pub fn is(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// What befalls the calls of a worker.
pub fn chance(plan: &Plan, mut random: Random, calm: &Calm) -> Chance {
    let (plan, calm) = (plan.clone(), calm.clone());
    Chance::new(move |call| {
        if calm.is() {
            return Mishap::None;
        }
        // A message is on its way for longer than its sender waits, at times.
        let slow = Duration::from_millis(if call == Call::Store { 400 } else { 50 });
        match random.below(1_000) {
            roll if roll < plan.refused => Mishap::Refused,
            roll if roll < plan.refused + plan.answer_lost => Mishap::AnswerLost,
            roll if roll < plan.refused + plan.answer_lost + plan.slow => {
                Mishap::Slow(slow.mul_f64(random.below(100) as f64 / 50.0))
            }
            _ => Mishap::None,
        }
    })
}

/// What was stored when a checkpoint was written.
#[derive(Clone, Debug)]
pub struct Commit {
    pub log: String,
    pub seq: u64,
    pub incidents: usize,
    pub dead_letters: usize,
}

/// All commits that were tried.
#[derive(Clone, Debug, Default)]
pub struct Commits(Arc<Mutex<Vec<Commit>>>);

impl Commits {
    pub fn all(&self) -> Vec<Commit> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Watches the commits at a place, and lets some fail.
    pub fn watch(
        &self,
        place: &MemoryPlace,
        outputs: (&MemoryOutputs, &MemoryOutputs),
        plan: &Plan,
        mut random: Random,
        calm: &Calm,
    ) {
        let (seen, plan, calm) = (Arc::clone(&self.0), plan.clone(), calm.clone());
        let (incidents, dead_letters) = (outputs.0.clone(), outputs.1.clone());
        place.on_commit(move |checkpoint| {
            let meta = &checkpoint.meta;
            seen.lock().unwrap_or_else(PoisonError::into_inner).push(Commit {
                log: meta.log_id.clone(),
                seq: meta.seq,
                incidents: incidents.count_of(&meta.log_id),
                dead_letters: dead_letters.count_of(&meta.log_id),
            });
            if calm.is() {
                return Misfortune::None;
            }
            if random.percent(plan.commit_damages) {
                return Misfortune::Damaged;
            }
            match random.percent(plan.commit_fails) {
                true => *random.pick(&[Misfortune::Full, Misfortune::Failed, Misfortune::FailedAfterwards]),
                false => Misfortune::None,
            }
        });
    }
}
