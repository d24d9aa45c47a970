//! When a rule that suppresses says nothing: around incidents that ended.
//!
//! Which moments lie there depends on the incidents as they ended and on the moment alone. What is silent moves no incident,
//! makes no other one and is evidence of none, so the order of arrival does not matter to it either; only the rules that
//! build on this one hear of it.

use sightline_schemas::EventTime;
use smallvec::SmallVec;

use crate::correlate::incident::IncidentState;
use crate::rule::Unit;
use crate::rule::policy::Rematch;

/// The stretches of event time in which a key's moments are silent.
#[derive(Debug, Default)]
pub(super) struct Shadows(SmallVec<[(EventTime, EventTime); 1]>);

impl Shadows {
    /// Those of the incidents that ended.
    pub(super) fn of(unit: &Unit, incidents: &[IncidentState]) -> Self {
        if unit.suppress == 0 || unit.rematch != Rematch::New {
            return Shadows::default();
        }
        let ended = incidents.iter().filter(|incident| !incident.status.is_active());
        let around = |incident: &IncidentState| {
            (incident.first.at.minus(unit.span), incident.last.plus(unit.suppress))
        };
        Shadows(ended.map(around).collect())
    }

    /// Whether a moment at that time is silent.
    pub(super) fn cover(&self, at: EventTime) -> bool {
        self.0.iter().any(|(from, to)| *from <= at && at <= *to)
    }
}
