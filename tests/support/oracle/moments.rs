//! When is a rule complete? By the definition, from all hits of a key.
//!
//! * A *moment* is a hit with which a rule is complete within the window that ends there. For a sequence, complete means
//!   that some chain of hits, one for each place, in order of time, ends with it; all chains are tried.
//! * Where a further event could undo a moment, all events of its instant belong to it.

use std::collections::{BTreeMap, BTreeSet};

use sightline_schemas::{EventId, Severity};

use super::terms::{Need, Rule, Step};

/// An event, or the completion of a rule, satisfies a step for a key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Hit {
    pub(super) at: i64,
    pub(super) event: EventId,
    pub(super) rule: usize,
    pub(super) step: usize,
    pub(super) source: String,
    pub(super) severity: Severity,
    pub(super) fields: BTreeMap<String, String>,
}

pub(super) type Stamp = (i64, EventId);

/// The hits that end a sequence, and those that show that the source of a step is alive, beside those of the steps.
pub(super) const UNTIL: usize = 1_000;
pub(super) const ALIVE: usize = 2_000;

/// A place of a sequence.
#[derive(Clone, Debug)]
struct SeqPlace {
    step: usize,
    least: i64,
    most: Option<i64>,
    unless: Vec<usize>,
}

/// What a moment comes of.
#[derive(Clone, Debug)]
pub(super) struct Complete {
    pub(super) by: Stamp,
    pub(super) evidence: BTreeSet<Hit>,
    /// Steps that did not follow: which, from when to when, and whether nobody knows.
    pub(super) absences: Vec<(usize, i64, i64, bool)>,
}

impl Complete {
    fn of(by: Stamp, evidence: BTreeSet<Hit>) -> Self {
        Complete { by, evidence, absences: Vec::new() }
    }
}

impl Hit {
    pub(super) fn stamp(&self) -> Stamp {
        (self.at, self.event)
    }
}

impl Rule {
    /// The rules whose incidents it shares: its group, or itself.
    pub fn unit(&self) -> &str {
        self.group.as_ref().unwrap_or(&self.id)
    }

    /// Whether a further event can undo a moment: then everything of its instant belongs to it.
    pub fn can_be_undone(&self) -> bool {
        self.until.is_some()
            || self.steps.iter().any(|step| step.absent.is_some() || step.need.can_be_undone())
    }

    /// How far back from a moment its evidence can lie.
    pub(super) fn span(&self) -> i64 {
        let followers = if self.ordered { self.absent(true) } else { Vec::new() };
        self.window + followers.into_iter().map(|(_, within)| within).max().unwrap_or(0)
    }

    /// For each place of a sequence its step, the least and the most seconds since the place before, and the steps that
    /// must not happen since then.
    fn places(&self) -> Vec<SeqPlace> {
        let mut places = Vec::new();
        let mut unless = Vec::new();
        for (at, step) in self.steps.iter().enumerate() {
            if step.absent.is_some() {
                unless.push(at);
                continue;
            }
            let Need::Count(wanted) = step.need else { panic!("a sequence takes events") };
            assert!(!wanted.is_limited(), "a sequence takes so many events or more");
            let least = wanted.least();
            let own = SeqPlace {
                step: at,
                least: step.gap_min,
                most: step.gap,
                unless: std::mem::take(&mut unless),
            };
            let further = SeqPlace { step: at, least: 0, most: None, unless: Vec::new() };
            places.push(own);
            places.extend((1..least).map(|_| further.clone()));
        }
        places[0].unless.clear();
        places
    }

    /// The steps that must not happen before the first place, or after the last, and for how many seconds.
    fn absent(&self, after: bool) -> Vec<(usize, i64)> {
        let place = |step: &Step| step.absent.is_none();
        let edge = match after {
            true => self.steps.iter().rposition(place),
            false => self.steps.iter().position(place),
        };
        let edge = edge.expect("something must happen");
        let outside = |at: usize| if after { at > edge } else { at < edge };
        let steps = self.steps.iter().enumerate().filter(|(at, _)| outside(*at));
        steps.filter_map(|(at, step)| Some((at, step.absent?))).collect()
    }
}

/// Each moment of a rule, with the hits that are evidence at it.
pub(super) fn moments(rule: &Rule, hits: &[&Hit]) -> BTreeMap<Stamp, Complete> {
    if rule.ordered {
        return sequence(rule, hits);
    }
    if let Need::New { learn, forget } = rule.steps[0].need {
        return first_seen(hits, learn, forget);
    }
    let mut moments = BTreeMap::new();
    for moment in hits.iter().map(|hit| hit.stamp()).collect::<BTreeSet<_>>() {
        let before = |hit: &Hit| match rule.can_be_undone() {
            true => hit.at <= moment.0,
            false => hit.stamp() <= moment,
        };
        let within: Vec<&Hit> =
            hits.iter().filter(|hit| hit.at >= moment.0 - rule.window && before(hit)).copied().collect();
        if all_of(rule, &within) {
            moments.insert(moment, Complete::of(moment, within.into_iter().cloned().collect()));
        }
    }
    moments
}

/// The hits with a value that no earlier one had, as far back as values are remembered.
fn first_seen(hits: &[&Hit], learn: i64, forget: i64) -> BTreeMap<Stamp, Complete> {
    let learned = hits.iter().map(|hit| hit.at).min().unwrap_or(0) + learn;
    let known = |hit: &Hit| {
        hits.iter().any(|other| {
            other.fields["v"] == hit.fields["v"] && other.stamp() < hit.stamp() && hit.at - other.at <= forget
        })
    };
    let new = hits.iter().filter(|hit| hit.at >= learned && !known(hit));
    new.map(|hit| (hit.stamp(), Complete::of(hit.stamp(), BTreeSet::from([(*hit).clone()])))).collect()
}

/// Whether every step has what it takes; with events of its own, where events count once.
fn all_of(rule: &Rule, within: &[&Hit]) -> bool {
    let of = |step: usize| within.iter().filter(move |hit| hit.step == step);
    let enough =
        rule.steps.iter().enumerate().all(|(at, step)| step.need.holds(&of(at).copied().collect::<Vec<_>>()));
    // Hall: the steps can be served if and only if every choice of them together has events enough.
    let counts: Vec<(usize, usize)> = rule
        .steps
        .iter()
        .enumerate()
        .filter_map(|(at, step)| match step.need {
            Need::Count(wanted) => Some((at, wanted.least())),
            Need::Distinct(_) | Need::Measure(..) | Need::New { .. } => None,
        })
        .collect();
    let served = (0_u32..1 << counts.len()).all(|choice| {
        let chosen: Vec<(usize, usize)> = counts
            .iter()
            .enumerate()
            .filter(|(bit, _)| choice & (1 << bit) != 0)
            .map(|(_, it)| *it)
            .collect();
        let events: BTreeSet<EventId> =
            chosen.iter().flat_map(|(at, _)| of(*at)).map(|hit| hit.event).collect();
        events.len() >= chosen.iter().map(|(_, needed)| needed).sum()
    });
    enough && (served || !rule.distinct_events)
}

/// All chains, one after the other, and what did not follow them.
fn sequence(rule: &Rule, hits: &[&Hit]) -> BTreeMap<Stamp, Complete> {
    let mut chains = BTreeMap::new();
    extend(rule, &rule.places(), hits, &mut Vec::new(), &mut chains);
    let any = |step: usize, from: i64, to: i64, but: EventId| {
        hits.iter().any(|hit| hit.step == step && hit.at >= from && hit.at <= to && hit.event != but)
    };
    let nobody = EventId::from_bytes([0; 16]);
    let mut moments = BTreeMap::new();
    for (by, evidence) in chains {
        let followers = rule.absent(true);
        let end = by.0 + followers.iter().map(|(_, within)| *within).max().unwrap_or(0);
        let followed = followers.iter().any(|(step, within)| any(*step, by.0, by.0 + within, by.1));
        let ended = !followers.is_empty() && rule.until.is_some() && any(UNTIL, by.0, end, nobody);
        if followed || ended {
            continue;
        }
        let absences: Vec<_> = followers
            .iter()
            .map(|(step, within)| {
                let heard =
                    rule.steps[*step].alive.is_none() || any(ALIVE + step, by.0, by.0 + within, nobody);
                (*step, by.0, by.0 + within, !heard)
            })
            .collect();
        let silent = |(step, _, _, unknown): &(usize, i64, i64, bool)| {
            *unknown && !rule.steps[*step].alive.is_some_and(|it| it.1)
        };
        if !absences.iter().any(silent) {
            moments.insert((end, by.1), Complete { by, evidence, absences });
        }
    }
    moments
}

/// Whether a hit can be the next of a chain.
fn follows(rule: &Rule, place: &SeqPlace, hits: &[&Hit], chain: &[&Hit], hit: &Hit) -> bool {
    let between = |step: usize, from: i64, to: i64| {
        hits.iter().any(|other| other.step == step && other.at > from && other.at < to)
    };
    let (Some(first), Some(before)) = (chain.first(), chain.last()) else {
        return rule.absent(false).iter().all(|(step, within)| {
            let there = |other: &&&Hit| {
                other.step == *step
                    && other.at >= hit.at - within
                    && other.at <= hit.at
                    && other.event != hit.event
            };
            !hits.iter().any(|other| there(&other))
        });
    };
    let gap = hit.at - before.at;
    hit.at >= before.at
        && hit.at - first.at <= rule.window
        && gap >= place.least
        && place.most.is_none_or(|most| gap <= most)
        && !chain.iter().any(|used| used.event == hit.event)
        && !place.unless.iter().any(|step| between(*step, before.at, hit.at))
        && !between(UNTIL, first.at, hit.at)
}

fn extend<'h>(
    rule: &Rule,
    places: &[SeqPlace],
    hits: &[&'h Hit],
    chain: &mut Vec<&'h Hit>,
    chains: &mut BTreeMap<Stamp, BTreeSet<Hit>>,
) {
    let Some(place) = places.get(chain.len()) else {
        let last = chain[chain.len() - 1].stamp();
        let evidence = chains.entry(last).or_default();
        evidence.extend(chain.iter().map(|hit| (**hit).clone()));
        return;
    };
    for hit in hits.iter().filter(|hit| hit.step == place.step) {
        if follows(rule, place, hits, chain, hit) {
            chain.push(hit);
            extend(rule, places, hits, chain, chains);
            chain.pop();
        }
    }
}
