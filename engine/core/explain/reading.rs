//! What a step measures or limits comes to, against what the rule takes.

use serde::{Deserialize, Serialize};

use crate::explain::inquiry::Satisfied;
use crate::explain::reached;
use crate::rule::{Need, Step};

/// What something comes to, and what it should.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reading {
    /// What is read: `sum of bytes_out`.
    pub of: String,
    /// What it comes to; `None` where there is nothing to read.
    pub comes_to: Option<f64>,
    /// What the rule takes: `at least 1000000`.
    pub takes: String,
    /// How far it is from that; 0 where only single numbers are excluded.
    pub off: f64,
}

/// The reading of a step that measures, or that limits what it counts, over these hits.
pub(super) fn reading(step: &Step, hits: &[&Satisfied]) -> Option<Reading> {
    let range = step.read()?;
    let comes_to = match &step.need {
        Need::Measure(measure, _) => reached::reading(*measure, hits),
        _ => Some(f64::from(reached::has(&step.need, hits))),
    };
    let off = comes_to.map_or(0.0, |number| range.distance(number));
    Some(Reading { of: step.read_as(), comes_to, takes: range.to_string(), off })
}

impl Reading {
    /// For people: `sum of bytes_out is 750000 over 3 events, takes at least 1000000 (250000 away)`.
    pub(super) fn said(&self, events: u32) -> String {
        let Some(comes_to) = self.comes_to else {
            return format!("{} takes {}, and there is nothing to read", self.of, self.takes);
        };
        let plural = if events == 1 { "" } else { "s" };
        let away = if self.off > 0.0 { format!(" ({} away)", rounded(self.off)) } else { String::new() };
        format!(
            "{} is {} over {events} event{plural}, takes {}{away}",
            self.of,
            rounded(comes_to),
            self.takes
        )
    }
}

/// A number to six places.
fn rounded(number: f64) -> f64 {
    (number * 1e6).round() / 1e6
}
