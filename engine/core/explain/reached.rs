//! How far did a rule come? The best stretch of time, no longer than the window, and what each step has in it.

use sightline_schemas::EventTime;

use crate::explain::inquiry::{Satisfied, StepLog};
use crate::rule::plan::Measure;
use crate::rule::plan::Place;
use crate::rule::{Need, Pattern, Rule};

/// Starts and ends that are tried, the latest first: of a flood the end tells most.
const TRIED_MAX: usize = 2_000;

/// How far it came.
#[derive(Clone, Debug, Default)]
pub(super) struct Reached {
    /// For each step, the indexes of what it has there, in order of time.
    pub(super) steps: Vec<Vec<usize>>,
    /// The stretch of time; `None` where no step was ever satisfied.
    pub(super) span: Option<(EventTime, EventTime)>,
}

/// The hits of every step that are free to count, in order of time.
pub(super) fn in_order(
    steps: &[StepLog],
    is_free: impl Fn(usize, &Satisfied) -> bool,
) -> Vec<Vec<&Satisfied>> {
    steps
        .iter()
        .enumerate()
        .map(|(at, step)| {
            let mut hits: Vec<&Satisfied> = step.satisfied.iter().filter(|hit| is_free(at, hit)).collect();
            hits.sort_by_key(|hit| (hit.at, hit.event));
            hits
        })
        .collect()
}

pub(super) fn reached(rule: &Rule, hits: &[Vec<&Satisfied>]) -> Reached {
    match &rule.pattern {
        Pattern::Sequence { places, .. } => sequence(rule.window, places, hits),
        _ => all_of(rule, hits),
    }
}

/// How much of its need a step has among these hits.
pub(super) fn has(need: &Need, hits: &[&Satisfied]) -> u32 {
    let count = match need {
        Need::Values(_) => {
            let values: std::collections::BTreeSet<&str> =
                hits.iter().filter_map(|hit| hit.value.as_deref()).collect();
            values.len()
        }
        _ => hits.len(),
    };
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// Whether the hits are what a step takes. That a value is new is more than these hits can tell.
pub(super) fn meets(need: &Need, hits: &[&Satisfied]) -> bool {
    match need {
        Need::Events(range) | Need::Values(range) => range.holds(f64::from(has(need, hits))),
        Need::Measure(measure, range) => reading(*measure, hits).is_some_and(|number| range.holds(number)),
        Need::New(_) => false,
        Need::Nothing => true,
    }
}

/// How much of what a step takes these hits are, from 0 to 1; 1 for what it takes alone.
fn share(need: &Need, hits: &[&Satisfied]) -> f64 {
    let (range, comes_to) = match need {
        Need::Events(range) | Need::Values(range) => (range, f64::from(has(need, hits))),
        Need::Measure(measure, range) => match reading(*measure, hits) {
            Some(comes_to) => (range, comes_to),
            None => return 0.0,
        },
        Need::New(_) | Need::Nothing => return if hits.is_empty() { 0.0 } else { 1.0 },
    };
    let needed = need.threshold();
    match need {
        // What is not enough yet is counted off, event for event.
        Need::Events(_) | Need::Values(_) if comes_to < f64::from(needed) => comes_to / f64::from(needed),
        _ => range.nearness(comes_to),
    }
}

/// What the hits come to, measured.
pub(super) fn reading(measure: Measure, hits: &[&Satisfied]) -> Option<f64> {
    let mut numbers: Vec<f64> = hits.iter().filter_map(|hit| hit.value.as_deref()?.parse().ok()).collect();
    numbers.sort_by(f64::total_cmp);
    let last = numbers.len().checked_sub(1)?;
    let at = |part: f64| {
        let place = part * last as f64;
        let (below, above) = (numbers[place.floor() as usize], numbers[place.ceil() as usize]);
        below + (above - below) * place.fract()
    };
    Some(match measure {
        // To six places, as sums are.
        Measure::Sum => (numbers.iter().sum::<f64>() * 1e6).round() / 1e6,
        Measure::Average => numbers.iter().sum::<f64>() / numbers.len() as f64,
        Measure::Min => numbers[0],
        Measure::Max => numbers[last],
        Measure::Median => at(0.5),
        Measure::Percentile(percent) => at(percent / 100.0),
    })
}

/// The window, ending with some hit, in which most is there.
fn all_of(rule: &Rule, hits: &[Vec<&Satisfied>]) -> Reached {
    let mut ends: Vec<EventTime> = hits.iter().flatten().map(|hit| hit.at).collect();
    ends.sort_unstable();
    ends.dedup();
    let mut best = (0.0, Reached { steps: vec![Vec::new(); hits.len()], span: None });
    for end in ends.into_iter().rev().take(TRIED_MAX) {
        let start = end.minus(rule.window);
        let mut score = 0.0;
        let mut steps = Vec::new();
        for (step, hits) in rule.steps.iter().zip(hits) {
            let from = hits.partition_point(|hit| hit.at < start);
            let to = hits.partition_point(|hit| hit.at <= end);
            score += share(&step.need, &hits[from..to]);
            steps.push((from..to).collect());
        }
        if score > best.0 {
            let from = first(&steps, hits).unwrap_or(start);
            best = (score, Reached { steps, span: Some((from, end)) });
        }
    }
    best.1
}

fn first(steps: &[Vec<usize>], hits: &[Vec<&Satisfied>]) -> Option<EventTime> {
    steps.iter().zip(hits).filter_map(|(indexes, hits)| indexes.first().map(|at| hits[*at].at)).min()
}

/// The longest beginning of the sequence, from each hit of its first place.
fn sequence(window: i64, places: &[Place], hits: &[Vec<&Satisfied>]) -> Reached {
    let mut best: Vec<(usize, usize)> = Vec::new();
    let starts = places.first().map_or(0, |place| hits[usize::from(place.step)].len());
    for start in (0..starts).rev().take(TRIED_MAX) {
        let chain = longest(window, places, hits, start);
        if chain.len() > best.len() {
            best = chain;
        }
        if best.len() == places.len() {
            break;
        }
    }
    let mut reached = Reached { steps: vec![Vec::new(); hits.len()], span: None };
    for (step, index) in &best {
        reached.steps[*step].push(*index);
    }
    let time = |(step, index): &(usize, usize)| hits[*step][*index].at;
    reached.span = best.first().zip(best.last()).map(|(first, last)| (time(first), time(last)));
    // A sequence that never began: what there is of its later steps is told by the answer.
    reached
}

/// Step and index of each place filled, from one start: each with the earliest hit, and where a later place limits its gap
/// with every hit that leads on.
fn longest(window: i64, places: &[Place], hits: &[Vec<&Satisfied>], start: usize) -> Vec<(usize, usize)> {
    let first = usize::from(places[0].step);
    let until = hits[first][start].at.plus(window);
    // Each layer: hits that can stand there, and the place in the layer before that leads to it.
    let mut layers: Vec<Vec<(usize, usize)>> = vec![vec![(start, 0)]];
    for (at, place) in places.iter().enumerate().skip(1) {
        let (step, before) = (usize::from(place.step), usize::from(places[at - 1].step));
        let layer = &layers[at - 1];
        let mut next = Vec::new();
        for (index, hit) in hits[step].iter().enumerate() {
            let leads = layer.iter().position(|(earlier, _)| {
                let from = hits[before][*earlier];
                let after = from.at < hit.at || from.at == hit.at && !(before == step && *earlier >= index);
                let near = place.gap_max.is_none_or(|gap| hit.at.since(from.at) <= gap);
                after && near && from.event != hit.event
            });
            if let (Some(leads), true) = (leads, hit.at <= until) {
                next.push((index, leads));
            }
        }
        if next.is_empty() {
            break;
        }
        layers.push(next);
    }
    let mut chain = Vec::new();
    let mut at = 0;
    for (place, layer) in layers.iter().enumerate().rev() {
        let (index, leads) = layer[at];
        chain.push((usize::from(places[place].step), index));
        at = leads;
    }
    chain.reverse();
    chain
}
