//! The answer: how far the rule came for the key, what is missing, and what came nearest to it.

use serde::{Deserialize, Serialize};
use sightline_schemas::incident::Named;
use sightline_schemas::{EventId, EventTime, IncidentId, Position};

use crate::explain::ended::{self, Silent};
use crate::explain::inquiry::{Inquiry, Satisfied, StepLog};
use crate::explain::reached::{self, Reached};
use crate::explain::reading::{Reading, reading};
use crate::explain::unmet::Unmet;
use crate::rule::{Input, Need, Pattern, Rule, Timing};

/// Pieces of evidence listed for a step.
const LISTED_MAX: usize = 5;

/// Why a rule is not complete for a key, or that it is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WhyNot {
    /// The rule.
    pub rule: String,
    /// Its version.
    pub version: String,
    /// The key.
    pub key: Vec<Named>,
    /// Events looked at, of the key's tenant.
    pub events: u64,
    /// The incidents that there are: then there is nothing to ask.
    pub incidents: Vec<IncidentId>,
    /// The stretch of time in which the rule came furthest.
    pub span: Option<(EventTime, EventTime)>,
    /// Each step: what it takes, and what it has there.
    pub steps: Vec<StepReached>,
    /// What is missing.
    pub missing: Vec<Missing>,
    /// Nothing is missing, and the rule waits until nothing can undo it any more: so many microseconds of log time behind the
    /// last event, or of the key's own time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits_micros: Option<i64>,
    /// Nothing is missing, and nothing is said of it all the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silent: Option<Silent>,
}

/// What a step has.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StepReached {
    /// The step.
    pub step: String,
    /// How many events or values it takes.
    pub needed: u32,
    /// How many it has in that stretch of time.
    pub has: u32,
    /// What it measures or limits, and what that comes to there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reading: Option<Reading>,
    /// The first of them.
    pub pieces: Vec<Piece>,
}

/// An event or a completion.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Piece {
    /// When it happened.
    pub at: EventTime,
    /// Which event.
    pub event: EventId,
    /// Where it stands in the log.
    pub position: Position,
    /// Who reports it.
    pub source: String,
    /// What kind of event.
    pub kind: String,
}

/// A step that has too little, and what came nearest.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Missing {
    /// The step.
    pub step: String,
    /// How many events or values it takes.
    pub needed: u32,
    /// How many it has.
    pub has: u32,
    /// What it measures or limits, and what that comes to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reading: Option<Reading>,
    /// What came nearest, the most telling first.
    pub reasons: Vec<Reason>,
}

/// Why something is no evidence.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "reason")]
pub enum Reason {
    /// It satisfies the step, and lies outside of the window.
    OutsideWindow {
        /// What.
        piece: Piece,
        /// By how many microseconds.
        by_micros: i64,
    },
    /// It satisfies the step, and happened before the step before.
    OutOfOrder {
        /// What.
        piece: Piece,
        /// The step before.
        after: String,
        /// By how many microseconds.
        by_micros: i64,
    },
    /// It satisfies the step, and the gap to the step before is too long.
    GapTooLong {
        /// What.
        piece: Piece,
        /// By how many microseconds.
        by_micros: i64,
    },
    /// It satisfies the step, and came when the key had moved on.
    Late {
        /// What.
        piece: Piece,
        /// By how many microseconds too late.
        by_micros: i64,
    },
    /// It satisfies the step, and was evidence of an incident that ended.
    Spent {
        /// What.
        piece: Piece,
        /// That incident.
        incident: IncidentId,
    },
    /// It does not satisfy the step.
    Unmet {
        /// What.
        piece: Piece,
        /// The comparisons that do not hold.
        unmet: Vec<Unmet>,
    },
    /// Events satisfy the step, of other keys.
    OtherKeys {
        /// How many.
        events: u64,
        /// One of those keys.
        such_as: String,
    },
    /// Events satisfy the step, and have no value for a part of the key.
    NoKey {
        /// How many.
        events: u64,
        /// The part.
        part: String,
    },
    /// The same value or event again.
    Repeated {
        /// How many events.
        events: u64,
    },
    /// The rule that the step builds on was not complete for this key.
    NotComplete {
        /// That rule.
        rule: String,
    },
    /// It happened, and the step must not happen there.
    Forbidden {
        /// What.
        piece: Piece,
    },
    /// No value was new to the key, or the key is still learning.
    NotNew,
    /// No event of this key came near.
    Nothing,
}

pub(super) fn answer(inquiry: &Inquiry) -> WhyNot {
    let rule = inquiry.rules.rule(inquiry.rule);
    let unit = inquiry.rules.unit_of(inquiry.rule);
    // What an incident that ended has used up makes no other one.
    let is_free = |at: usize, hit: &Satisfied| !ended::has_spent(inquiry, &rule.steps[at], hit);
    let hits = reached::in_order(&inquiry.steps, is_free);
    let reached = reached::reached(rule, &hits);
    let mut steps = Vec::new();
    let mut missing = Vec::new();
    for (at, step) in rule.steps.iter().enumerate() {
        if rule.pattern.is_witness(at) {
            continue;
        }
        if !is_wanted(rule, at) {
            missing.extend(forbidden(rule, at, &hits, &reached));
            continue;
        }
        let mine: Vec<&Satisfied> = reached.steps[at].iter().map(|index| hits[at][*index]).collect();
        let (needed, has) = (step.need.threshold(), reached::has(&step.need, &mine));
        let pieces = mine.iter().take(LISTED_MAX).map(|hit| piece(hit)).collect();
        let reading = reading(step, &mine);
        steps.push(StepReached { step: step.name.clone(), needed, has, reading: reading.clone(), pieces });
        // Where the rule fired, what is no question of these hits alone was answered.
        let told = matches!(step.need, Need::New(_)) && !inquiry.incidents.is_empty();
        if !told && !reached::meets(&step.need, &mine) {
            let reasons = reasons(inquiry, rule, at, &hits, &reached);
            missing.push(Missing { step: step.name.clone(), needed, has, reading, reasons });
        }
    }
    let complete = reached.span.filter(|_| missing.is_empty());
    let silent = complete.and_then(|(_, at)| ended::silent(inquiry, at));
    let waits_micros = match rule.timing {
        Timing::Settled { wait } if missing.is_empty() && inquiry.incidents.is_empty() => {
            Some(wait.saturating_add(rule.late))
        }
        _ => None,
    };
    WhyNot {
        rule: rule.reference.id.clone(),
        version: rule.reference.version.clone(),
        key: inquiry.key.named(&unit.by),
        events: inquiry.events,
        incidents: inquiry.incidents.iter().map(|incident| incident.id).collect(),
        span: reached.span,
        steps,
        missing,
        waits_micros,
        silent,
    }
}

/// Whether a step must happen: some must not, and some only end a sequence.
fn is_wanted(rule: &Rule, at: usize) -> bool {
    match &rule.pattern {
        Pattern::Sequence { places, .. } => places.iter().any(|place| usize::from(place.step) == at),
        Pattern::AllOf { .. } => true,
    }
}

/// What happened, and must not have.
fn forbidden(rule: &Rule, at: usize, hits: &[Vec<&Satisfied>], reached: &Reached) -> Option<Missing> {
    let (from, to) = reached.span?;
    let near = |hit: &&&Satisfied| hit.at >= from.minus(rule.window) && hit.at <= to.plus(rule.window);
    let hit = hits[at].iter().find(near)?;
    let (needed, has) = (0, u32::try_from(hits[at].len()).unwrap_or(u32::MAX));
    let reasons = vec![Reason::Forbidden { piece: piece(hit) }];
    Some(Missing { step: rule.steps[at].name.clone(), needed, has, reading: None, reasons })
}

fn piece(hit: &Satisfied) -> Piece {
    Piece {
        at: hit.at,
        event: hit.event,
        position: hit.position,
        source: hit.source.clone(),
        kind: hit.kind.clone(),
    }
}

fn reasons(
    inquiry: &Inquiry,
    rule: &Rule,
    at: usize,
    hits: &[Vec<&Satisfied>],
    reached: &Reached,
) -> Vec<Reason> {
    let log = &inquiry.steps[at];
    let mut reasons = Vec::new();
    let mine: Vec<&Satisfied> = reached.steps[at].iter().map(|index| hits[at][*index]).collect();
    if matches!(rule.steps[at].need, Need::New(_)) && !mine.is_empty() {
        reasons.push(Reason::NotNew);
    }
    reasons.extend(misplaced(rule, at, hits, reached));
    if let Some((hit, by)) = log.late.iter().min_by_key(|(_, by)| *by) {
        reasons.push(Reason::Late { piece: piece(hit), by_micros: *by });
    }
    reasons.extend(ended::spent(inquiry, &rule.steps[at]));
    reasons.extend(nearest_miss(log, reached));
    if let Input::Completions(upstream) = rule.steps[at].input
        && log.satisfied.is_empty()
    {
        reasons.push(Reason::NotComplete { rule: inquiry.rules.rule(upstream).reference.id.clone() });
    }
    if log.other_keys > 0 {
        let such_as = log.other_key.clone().unwrap_or_default();
        reasons.push(Reason::OtherKeys { events: log.other_keys, such_as });
    }
    if log.keyless > 0 {
        let part = log.keyless_part.clone().unwrap_or_default();
        reasons.push(Reason::NoKey { events: log.keyless, part });
    }
    if log.duplicates > 0 {
        reasons.push(Reason::Repeated { events: log.duplicates });
    }
    // Of what is measured the reading tells, as long as there is one.
    let is_told = matches!(rule.steps[at].need, Need::Measure(..)) && !mine.is_empty();
    if reasons.is_empty() && !is_told {
        reasons.push(Reason::Nothing);
    }
    reasons
}

/// What satisfies the step and stands at the wrong time: the nearest of it.
fn misplaced(rule: &Rule, at: usize, hits: &[Vec<&Satisfied>], reached: &Reached) -> Option<Reason> {
    let (from, to) = reached.span?;
    let outside = |hit: &Satisfied| -> Option<Reason> {
        let piece = piece(hit);
        if let Pattern::Sequence { places, .. } = &rule.pattern {
            // The step before that is there, or nothing of the sequence is.
            let own = places.iter().position(|place| usize::from(place.step) == at)?;
            let before = usize::from(places.get(own.checked_sub(1)?)?.step);
            let before_at = reached.steps[before].last().map(|index| hits[before][*index].at)?;
            if hit.at < before_at {
                let (after, by_micros) = (rule.steps[before].name.clone(), before_at.since(hit.at));
                return Some(Reason::OutOfOrder { piece, after, by_micros });
            }
            let latest = from.plus(rule.window);
            if hit.at > latest {
                return Some(Reason::OutsideWindow { piece, by_micros: hit.at.since(latest) });
            }
            let gap = places[own].gap_max?;
            return Some(Reason::GapTooLong {
                piece,
                by_micros: hit.at.since(before_at).saturating_sub(gap),
            });
        }
        let (earliest, latest) = (to.minus(rule.window), from.plus(rule.window));
        let by_micros = hit.at.since(latest).max(earliest.since(hit.at));
        (by_micros > 0).then_some(Reason::OutsideWindow { piece, by_micros })
    };
    let distance = |hit: &&Satisfied| (hit.at.since(to).abs()).min(hit.at.since(from).abs());
    let taken = |index: &usize| reached.steps[at].contains(index);
    let free = hits[at].iter().enumerate().filter(|(index, _)| !taken(index)).map(|(_, hit)| *hit);
    free.min_by_key(distance).and_then(outside)
}

/// Of the events that fail the fewest comparisons the one nearest in time.
fn nearest_miss(log: &StepLog, reached: &Reached) -> Option<Reason> {
    let distance = |at: EventTime| match reached.span {
        Some((from, _)) if at < from => from.since(at),
        Some((_, to)) if at > to => at.since(to),
        _ => 0,
    };
    let nearest = log.near.iter().min_by_key(|near| (near.fails, distance(near.seen.at)))?;
    Some(Reason::Unmet { piece: piece(&nearest.seen), unmet: nearest.unmet.clone() })
}
