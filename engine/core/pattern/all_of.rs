//! All of: every step has what it takes within the window, in whatever order.

use sightline_schemas::EventTime;

use crate::pattern::track::{Stamp, Track};
use crate::pattern::{count, distinct};
use crate::rule::{Need, Rule};

/// Whether the rule is complete with the hit at `until`. Only for rules that a further event cannot undo.
pub fn complete(rule: &Rule, distinct_events: bool, tracks: &mut [Track], until: Stamp) -> bool {
    let from = until.at.minus(rule.window);
    let satisfied = rule.steps.iter().zip(tracks.iter_mut()).all(|(step, track)| match &step.need {
        Need::Events(range) => count::enough(track, range.least_count(), from, until),
        Need::Values(range) => distinct::enough(track, range.least_count(), from, until),
        Need::Measure(..) | Need::New(_) | Need::Nothing => {
            unreachable!("a rule with such a step waits until it is settled")
        }
    });
    satisfied && (!distinct_events || assignable(rule, tracks, until))
}

/// Whether the rule is complete at the end of an instant, when everything up to then is known.
///
/// All events of the instant belong to it: there is no order among them in which only some were there.
pub fn settled(rule: &Rule, distinct_events: bool, tracks: &mut [Track], at: EventTime) -> bool {
    let from = at.minus(rule.window);
    let satisfied = rule.steps.iter().zip(tracks.iter_mut()).all(|(step, track)| match &step.need {
        need @ (Need::Events(range) | Need::Values(range) | Need::Measure(_, range)) => {
            track.measure(need, from, at).is_some_and(|reading| range.holds(reading))
        }
        Need::New(_) | Need::Nothing => unreachable!("these are asked of single events"),
    });
    satisfied && (!distinct_events || assignable(rule, tracks, Stamp::last_at(at)))
}

/// The events that a step could take, newest first, as far as they can matter.
fn candidates(track: &Track, rule: &Rule, until: Stamp, most: usize) -> Vec<sightline_schemas::EventId> {
    let from = until.at.minus(rule.window);
    let there = track.up_to(until);
    let hits = track.hits().range(..there).rev();
    hits.take(most).take_while(|hit| hit.stamp.at >= from).map(|hit| hit.stamp.event).collect()
}

/// Whether every step can have events of its own: a matching of places to events.
///
/// Each place needs at most as many candidates as there are places, so the newest ones decide exactly.
fn assignable(rule: &Rule, tracks: &[Track], until: Stamp) -> bool {
    let counts = rule.steps.iter().map(|step| match &step.need {
        Need::Events(range) => range.least_count() as usize,
        Need::Values(_) | Need::Measure(..) | Need::New(_) | Need::Nothing => 0,
    });
    let counts: Vec<usize> = counts.collect();
    let places: usize = counts.iter().sum();
    let options: Vec<Vec<_>> = tracks.iter().map(|track| candidates(track, rule, until, places)).collect();
    let mut taken: Vec<(sightline_schemas::EventId, usize)> = Vec::with_capacity(places);
    let steps: Vec<usize> =
        counts.iter().enumerate().flat_map(|(step, count)| std::iter::repeat_n(step, *count)).collect();
    (0..places).all(|place| {
        let mut tried = Vec::new();
        seat(place, &steps, &options, &mut taken, &mut tried)
    })
}

/// Finds an event for one place, moving others where that helps: one round of Kuhn's matching.
fn seat(
    place: usize,
    steps: &[usize],
    options: &[Vec<sightline_schemas::EventId>],
    taken: &mut Vec<(sightline_schemas::EventId, usize)>,
    tried: &mut Vec<sightline_schemas::EventId>,
) -> bool {
    for event in &options[steps[place]] {
        if tried.contains(event) {
            continue;
        }
        tried.push(*event);
        let holder = taken.iter().position(|(held, _)| held == event);
        match holder {
            None => {
                taken.push((*event, place));
                return true;
            }
            Some(at) => {
                let other = taken[at].1;
                if seat(other, steps, options, taken, tried) {
                    // The other place sits elsewhere now; its old seat is still listed under this event.
                    if let Some(entry) =
                        taken.iter_mut().find(|(held, holder)| held == event && *holder == other)
                    {
                        entry.1 = place;
                    }
                    return true;
                }
            }
        }
    }
    false
}
