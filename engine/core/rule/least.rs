//! What a rule cannot do without: asked before it looks itself, as most hits complete nothing.

use smallvec::SmallVec;

use crate::hit::Hit;
use crate::pattern::Track;
use crate::rule::plan::Step;

/// So many hits of each step in the window.
#[derive(Clone, Debug)]
pub struct Least {
    /// All of it lies within so many microseconds.
    pub window: i64,
    /// How many of each step.
    pub hits: SmallVec<[u32; 2]>,
}

impl Least {
    /// Of a rule with these steps.
    pub fn of(window: i64, steps: &[Step]) -> Self {
        Least { window, hits: steps.iter().map(|step| step.need.threshold()).collect() }
    }

    /// What neither can do without.
    pub fn or(mut self, other: &Least) -> Self {
        self.window = self.window.max(other.window);
        self.hits.iter_mut().zip(&other.hits).for_each(|(own, other)| *own = (*own).min(*other));
        self
    }

    /// Whether it could be there with this hit beside those that are. Where it is not, the rule is not complete with the hit,
    /// nor with a later one by it; where it is, the rule has to look itself.
    pub fn may_be_met(&self, tracks: &[Track], hit: &Hit) -> bool {
        let from = hit.at.minus(self.window);
        self.hits.iter().zip(tracks).enumerate().all(|(step, (wanted, track))| {
            let others = (*wanted as usize).saturating_sub(usize::from(step == usize::from(hit.step)));
            track.has_since(others, from)
        })
    }
}
