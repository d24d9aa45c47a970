//! What matters of all events for one rule and one key: what satisfied a step, what nearly did, what came too late.

use std::borrow::Cow;
use std::sync::Arc;

use sightline_schemas::{Event, EventId, EventTime, Incident, IncidentMessage, Position, TimeSource};

use crate::correlate::Completion;
use crate::detect::{completion_hits, measured};
use crate::explain::unmet::{Unmet, unmet};
use crate::explain::why_not::{WhyNot, answer};
use crate::field::Field;
use crate::hit::{Measured, RuleIndex};
use crate::key::Key;
use crate::limits::NEAR_MISSES_MAX;
use crate::pattern::TrackHit;
use crate::rule::{Input, KeyPart, Need, RuleSet, Step, Unit};

/// An event or a completion that satisfies a step for the key.
#[derive(Clone, Debug)]
pub(super) struct Satisfied {
    pub(super) at: EventTime,
    pub(super) event: EventId,
    pub(super) position: Position,
    pub(super) source: String,
    pub(super) kind: String,
    pub(super) value: Option<String>,
}

/// An event of the key that does not satisfy a step.
#[derive(Clone, Debug)]
pub(super) struct NearMiss {
    pub(super) seen: Satisfied,
    pub(super) unmet: Vec<Unmet>,
    /// Comparisons of the step that fail: none where only what is counted or measured is not there.
    pub(super) fails: usize,
}

/// What there was for one step.
#[derive(Clone, Debug, Default)]
pub(super) struct StepLog {
    pub(super) satisfied: Vec<Satisfied>,
    /// Known already, or in another step's evidence of an incident that ended.
    pub(super) duplicates: u64,
    /// Came when the key had moved on: the hit, and by how many microseconds it was too late.
    pub(super) late: Vec<(Satisfied, i64)>,
    pub(super) near: Vec<NearMiss>,
    /// Satisfied the step, for other keys: how many, and one of those keys.
    pub(super) other_keys: u64,
    pub(super) other_key: Option<String>,
    /// Satisfied the step, and had no value for a part of the key: how many, and which part.
    pub(super) keyless: u64,
    pub(super) keyless_part: Option<String>,
}

/// An inquiry into one rule and key.
#[derive(Debug)]
pub struct Inquiry {
    pub(super) rules: Arc<RuleSet>,
    pub(super) rule: RuleIndex,
    pub(super) key: Key,
    tenant: String,
    pub(super) steps: Vec<StepLog>,
    newest: EventTime,
    pub(super) events: u64,
    pub(super) incidents: Vec<Incident>,
}

impl Inquiry {
    /// Into a rule for a key, whose values are in their one spelling.
    pub fn new(rules: Arc<RuleSet>, rule: RuleIndex, tenant: &str, key: Key) -> Self {
        let steps = rules.rule(rule).steps.iter().map(|_| StepLog::default()).collect();
        let (tenant, newest) = (tenant.to_owned(), EventTime::MIN);
        Inquiry { rules, rule, key, tenant, steps, newest, events: 0, incidents: Vec::new() }
    }

    /// The key that these values name, each brought to the spelling of its part.
    ///
    /// # Errors
    /// When they are too many or too few, or one of them is empty.
    pub fn key_of(unit: &Unit, values: &[(Option<String>, String)]) -> Result<Key, String> {
        let names = || unit.by.iter().map(|part| part.name.as_str()).collect::<Vec<_>>().join(", ");
        if values.len() != unit.by.len() {
            return Err(format!(
                "a key of {} parts, and the rule's has {}: {}",
                values.len(),
                unit.by.len(),
                names()
            ));
        }
        let part = |(at, part): (usize, &KeyPart)| {
            let named = values.iter().find(|(name, _)| name.as_deref() == Some(part.name.as_str()));
            let value = match named {
                Some((_, value)) => value,
                None => match &values[at] {
                    (None, value) => value,
                    (Some(other), _) => return Err(format!("`{other}` is no part of the key: {}", names())),
                },
            };
            match part.normal.apply(value) {
                None if !part.optional => Err(format!("`{}` is empty", part.name)),
                applied => Ok(applied.unwrap_or_default()),
            }
        };
        unit.by.iter().enumerate().map(part).collect::<Result<_, _>>().map(Key::new)
    }

    /// Takes in an event, in the order of the log.
    pub fn see(&mut self, event: &Event<'_>, position: Position) {
        if event.tenant != self.tenant {
            return;
        }
        self.events += 1;
        let rules = Arc::clone(&self.rules);
        let (rule, unit) = (rules.rule(self.rule), rules.unit_of(self.rule));
        let seen = Satisfied {
            at: event.occurred_at,
            event: event.id,
            position,
            source: event.source.to_string(),
            kind: event.kind.to_string(),
            value: None,
        };
        let mut moves = false;
        let (mut serves, mut near) = (false, Vec::new());
        for (at, step) in rule.steps.iter().enumerate() {
            let Input::Events(condition) = &step.input else { continue };
            if rule.pattern.is_witness(at) {
                continue;
            }
            let missing = unmet(condition, event);
            match whose(step, &unit.by, &self.key, event) {
                Whose::Ours if missing.is_empty() => {
                    let mut hit = seen.clone();
                    if let Some((field, normal)) = &step.counted {
                        hit.value = measured(step, field, *normal, event).as_ref().map(said);
                        if hit.value.is_none() {
                            near.push((at, vec![not_counted(step, field, event)], 0));
                            continue;
                        }
                    }
                    serves = true;
                    moves |= self.satisfied(at, hit);
                }
                Whose::Ours => {
                    let fails = missing.len();
                    near.push((at, missing, fails));
                }
                Whose::Other(key) if missing.is_empty() => {
                    self.steps[at].other_keys += 1;
                    self.steps[at].other_key = Some(key);
                }
                Whose::Nobody(part) if missing.is_empty() => {
                    self.steps[at].keyless += 1;
                    self.steps[at].keyless_part = Some(part);
                }
                Whose::Other(_) | Whose::Nobody(_) => {}
            }
        }
        // What serves one step is not what another one misses.
        if !serves {
            near.into_iter().for_each(|(at, unmet, fails)| {
                self.near(at, NearMiss { seen: seen.clone(), unmet, fails });
            });
        }
        if moves && event.time_source != TimeSource::Suspect {
            self.newest = self.newest.max(event.occurred_at);
        }
    }

    /// Takes in a completion of another rule, in the order of the log.
    pub fn see_completion(&mut self, completion: &Completion) {
        if *completion.tenant != *self.tenant {
            return;
        }
        let mut hits = Vec::new();
        completion_hits(&self.rules, completion, &mut hits);
        hits.retain(|hit| hit.rule == self.rule);
        for hit in hits {
            let at = usize::from(hit.step);
            if hit.key != self.key {
                self.steps[at].other_keys += 1;
                self.steps[at].other_key = Some(hit.key.display());
                continue;
            }
            let seen = Satisfied {
                at: hit.at,
                event: hit.event,
                position: hit.position,
                source: hit.brief.source.to_string(),
                kind: hit.brief.kind.to_string(),
                value: hit.value.as_ref().map(said),
            };
            if self.satisfied(at, seen) && !hit.suspect {
                self.newest = self.newest.max(hit.at);
            }
        }
    }

    /// Takes in a hit that a key remembers.
    pub fn remember(&mut self, step: u8, hit: &TrackHit) {
        self.steps[usize::from(step)].satisfied.push(Satisfied {
            at: hit.stamp.at,
            event: hit.stamp.event,
            position: hit.position,
            source: hit.brief.source.to_string(),
            kind: hit.brief.kind.to_string(),
            value: hit.value.as_ref().map(said),
        });
        self.newest = self.newest.max(hit.stamp.at);
    }

    /// Takes in an incident of the key.
    pub fn see_stated(&mut self, incident: Incident) {
        self.incidents.retain(|known| known.id != incident.id);
        self.incidents.push(incident);
    }

    /// Takes in what was said of incidents.
    pub fn see_incident(&mut self, message: &IncidentMessage) {
        let incident = &message.incident;
        let ours = incident.tenant == self.tenant
            && (incident.group.as_deref().unwrap_or(&incident.rule.id) == self.rules.unit_of(self.rule).id)
            && incident.scope.key == self.key.display();
        if ours {
            self.see_stated(incident.clone());
        }
    }

    /// Notes what satisfies a step; `false` where it came too late or was known.
    fn satisfied(&mut self, at: usize, hit: Satisfied) -> bool {
        let unit = self.rules.unit_of(self.rule);
        let horizon = self.newest.minus(unit.reach);
        let step = &mut self.steps[at];
        if hit.at < horizon {
            let by = horizon.since(hit.at);
            step.late.push((hit, by));
            return false;
        }
        if step.satisfied.iter().any(|known| known.event == hit.event) {
            step.duplicates += 1;
            return false;
        }
        step.satisfied.push(hit);
        true
    }

    /// Notes what nearly satisfies a step: the nearest are kept, the latest of those that are equally near.
    fn near(&mut self, at: usize, miss: NearMiss) {
        let near = &mut self.steps[at].near;
        near.push(miss);
        if near.len() > 2 * NEAR_MISSES_MAX {
            near.sort_by_key(|near| (near.fails, std::cmp::Reverse(near.seen.at)));
            near.truncate(NEAR_MISSES_MAX);
        }
    }

    /// Why the rule is not complete, or that it is.
    pub fn answer(&self) -> WhyNot {
        answer(self)
    }
}

/// What was counted or measured of a hit, as text.
fn said(value: &Measured) -> String {
    match value {
        Measured::Text(text) => text.to_string(),
        Measured::Number(number) => number.to_string(),
    }
}

/// An event without what the step counts or measures.
fn not_counted(step: &Step, field: &Field, event: &Event<'_>) -> Unmet {
    let what =
        if matches!(step.need, Need::Measure(..)) { "a number to measure" } else { "a value to count" };
    Unmet { field: field.name().to_owned(), expected: what.to_owned(), found: field.first_text(event) }
}

enum Whose {
    Ours,
    /// Of this other key.
    Other(String),
    /// The event has no value for this part.
    Nobody(String),
}

/// Whether an event reaches the key in this step.
fn whose(step: &Step, parts: &[KeyPart], key: &Key, event: &Event<'_>) -> Whose {
    let mut other = Vec::new();
    let mut ours = true;
    for ((fields, part), wanted) in step.keys.iter().zip(parts).zip(key.values()) {
        let mut values = values(fields, part, event);
        if values.is_empty() && part.optional {
            values.push(String::new());
        }
        match values.first() {
            None => return Whose::Nobody(part.name.clone()),
            Some(_) if values.iter().any(|value| **value == *wanted) => other.push(wanted.to_string()),
            Some(first) => {
                ours = false;
                other.push(first.clone());
            }
        }
    }
    if ours { Whose::Ours } else { Whose::Other(Key::new(other).display()) }
}

pub(super) fn values(fields: &[Field], part: &KeyPart, event: &Event<'_>) -> Vec<String> {
    let mut values = Vec::new();
    for field in fields {
        field.any(event, |value| {
            let text: Cow<'_, str> = value.text();
            values.extend(part.normal.apply(&text));
            false
        });
    }
    values
}
