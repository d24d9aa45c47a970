//! What incidents that ended leave behind: evidence that counts no more, and silence.

use serde::{Deserialize, Serialize};
use sightline_schemas::{EventTime, Incident, IncidentId};

use crate::explain::inquiry::{Inquiry, Satisfied};
use crate::explain::why_not::{Piece, Reason};
use crate::rule::Step;
use crate::rule::policy::Rematch;

/// Why nothing is said of what is complete.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Silent {
    /// The incident that ended.
    pub incident: IncidentId,
    /// The last time at which its rule is silent.
    pub until: EventTime,
}

fn ended(inquiry: &Inquiry) -> impl Iterator<Item = &Incident> {
    inquiry.incidents.iter().filter(|incident| !incident.status.is_active())
}

/// Whether the hit of a step was evidence of an incident that ended.
pub(super) fn has_spent(inquiry: &Inquiry, step: &Step, hit: &Satisfied) -> bool {
    ended(inquiry).any(|incident| {
        incident.events.iter().any(|evidence| evidence.id == hit.event)
            || is_between_listed(inquiry, incident, step, hit.at)
    })
}

/// Not all evidence is listed: what is not lies between the first and the last of its step.
fn is_between_listed(inquiry: &Inquiry, incident: &Incident, step: &Step, at: EventTime) -> bool {
    let rule = &inquiry.rules.rule(inquiry.rule).reference.id;
    let listed = incident.events.iter().filter(|it| it.rule == *rule && it.step == step.name).count();
    let explained = incident.explain.iter().find(|it| it.rule == *rule && it.step == step.name);
    explained.is_some_and(|it| it.events > listed as u64 && it.first_at <= at && at <= it.last_at)
}

/// The newest evidence that an incident which ended has of a step.
pub(super) fn spent(inquiry: &Inquiry, step: &Step) -> Option<Reason> {
    let rule = &inquiry.rules.rule(inquiry.rule).reference.id;
    let evidence = ended(inquiry).flat_map(|incident| {
        let of_step = incident.events.iter().filter(|it| it.rule == *rule && it.step == step.name);
        of_step.map(|evidence| (evidence, incident.id))
    });
    let (evidence, incident) = evidence.max_by_key(|(evidence, _)| evidence.occurred_at)?;
    let piece = Piece {
        at: evidence.occurred_at,
        event: evidence.id,
        position: evidence.position,
        source: evidence.source.clone(),
        kind: evidence.kind.clone(),
    };
    Some(Reason::Spent { piece, incident })
}

/// Why nothing is said of a match at that time, if an incident that ended is the reason.
pub(super) fn silent(inquiry: &Inquiry, at: EventTime) -> Option<Silent> {
    let unit = inquiry.rules.unit_of(inquiry.rule);
    if unit.suppress == 0 || unit.rematch != Rematch::New {
        return None;
    }
    let silent = ended(inquiry)
        .filter(|incident| incident.first_event_at.minus(unit.span) <= at)
        .map(|incident| Silent { incident: incident.id, until: incident.last_event_at.plus(unit.suppress) });
    silent.filter(|silent| at <= silent.until).max_by_key(|silent| silent.until)
}
