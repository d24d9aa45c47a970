//! What a step measures or limits comes to, against what the rule takes.

use serde::{Deserialize, Serialize};

use crate::explain::inquiry::Satisfied;
use crate::explain::reached;
use crate::rule::{Measure, Need, Range, Step};

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
    let field = step.counted.as_ref().map(|(field, _)| field.name()).unwrap_or_default();
    let count = f64::from(reached::has(&step.need, hits));
    let (of, comes_to, range) = match &step.need {
        Need::Measure(measure, range) => {
            (format!("{} of {field}", name(*measure)), reached::reading(*measure, hits), range)
        }
        Need::Events(range) if is_limited(range) => ("number of events".to_owned(), Some(count), range),
        Need::Values(range) if is_limited(range) => {
            (format!("number of values of {field}"), Some(count), range)
        }
        Need::Events(_) | Need::Values(_) | Need::New(_) | Need::Nothing => return None,
    };
    let off = comes_to.map_or(0.0, |number| range.distance(number));
    Some(Reading { of, comes_to, takes: range.to_string(), off })
}

/// Whether more than enough can be too much: then "20 of 3" tells nobody anything.
fn is_limited(range: &Range) -> bool {
    !range.is_open_above()
}

fn name(measure: Measure) -> String {
    match measure {
        Measure::Sum => "sum".to_owned(),
        Measure::Average => "average".to_owned(),
        Measure::Min => "smallest".to_owned(),
        Measure::Max => "largest".to_owned(),
        Measure::Median => "median".to_owned(),
        Measure::Percentile(percent) => format!("{percent}th percentile"),
    }
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
