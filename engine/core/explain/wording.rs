//! The answer in words, line by line.

use sightline_schemas::EventTime;

use crate::explain::reading::Reading;
use crate::explain::unmet::Unmet;
use crate::explain::why_not::{Piece, Reason, WhyNot};
use crate::rule::draft::print_duration;

impl WhyNot {
    /// For people, line by line; `time` writes a time as they know it.
    pub fn said(&self, time: &dyn Fn(EventTime) -> String) -> Vec<String> {
        let mut lines = Vec::new();
        let all = self.steps.len();
        let done = all - self.missing.iter().filter(|missing| missing.needed > 0).count();
        match self.span {
            None => {
                lines.push(format!("no step was satisfied for this key ({} events looked at)", self.events))
            }
            Some((from, to)) if from == to => lines.push(format!("{done} of {all} steps at {}", time(from))),
            Some((from, to)) => {
                lines.push(format!("{done} of {all} steps between {} and {}", time(from), time(to)))
            }
        }
        for step in &self.steps {
            if step.has == 0 {
                continue;
            }
            let pieces: Vec<String> = step.pieces.iter().map(|piece| time(piece.at)).collect();
            let more = if step.has as usize > pieces.len() { ", …" } else { "" };
            let has = reached(step.reading.as_ref(), step.has, step.needed);
            lines.push(format!("step {}: {has}, {}{more}", step.step, pieces.join(", ")));
        }
        for missing in &self.missing {
            lines.push(match missing.needed {
                0 => format!("in the way {}: {}", missing.step, missing.has),
                needed => {
                    let has = reached(missing.reading.as_ref(), missing.has, needed);
                    format!("missing {}: {has}", missing.step)
                }
            });
            lines.extend(missing.reasons.iter().map(|reason| format!("  {}", reason.said(time))));
        }
        if let Some(silent) = &self.silent {
            lines.push(format!(
                "nothing is missing, and nothing is said: {} ended, and the rule is silent until {}",
                silent.incident,
                time(silent.until)
            ));
        }
        if let Some(waits) = self.waits_micros.filter(|_| self.span.is_some()) {
            let waits = print_duration(waits);
            lines.push(format!(
                "nothing is missing: it waits for {waits} behind its last event, as one that comes until then could undo it"
            ));
        }
        lines
    }
}

/// What a step has, of what it takes.
fn reached(reading: Option<&Reading>, has: u32, needed: u32) -> String {
    match reading {
        Some(reading) => reading.said(has),
        None => format!("{has} of {needed}"),
    }
}

impl Piece {
    fn said(&self, time: &dyn Fn(EventTime) -> String) -> String {
        format!("{} {} {} (message {})", time(self.at), self.source, self.kind, self.position)
    }
}

impl Reason {
    /// For people, on one line.
    pub fn said(&self, time: &dyn Fn(EventTime) -> String) -> String {
        match self {
            Reason::OutsideWindow { piece, by_micros } => {
                format!("outside of the window by {}: {}", print_duration(*by_micros), piece.said(time))
            }
            Reason::OutOfOrder { piece, after, by_micros } => {
                format!("{} before `{after}`: {}", print_duration(*by_micros), piece.said(time))
            }
            Reason::GapTooLong { piece, by_micros } => {
                format!("the gap is too long by {}: {}", print_duration(*by_micros), piece.said(time))
            }
            Reason::Late { piece, by_micros } => {
                format!("came too late by {}: {}", print_duration(*by_micros), piece.said(time))
            }
            Reason::Spent { piece, incident } => {
                format!("was evidence of {incident}, which ended: {}", piece.said(time))
            }
            Reason::Unmet { piece, unmet } => {
                let unmet: Vec<String> = unmet.iter().map(Unmet::said).collect();
                format!("nearest: {}: {}", piece.said(time), unmet.join("; "))
            }
            Reason::OtherKeys { events, such_as } => {
                format!("{events} of other keys, such as {such_as}")
            }
            Reason::NoKey { events, part } => format!("{events} without a value for `{part}`"),
            Reason::Repeated { events } => format!("{events} that were known already"),
            Reason::NotComplete { rule } => {
                format!("rule `{rule}` was not complete for this key: ask why with --rule {rule}")
            }
            Reason::Forbidden { piece } => format!("it happened, and may not: {}", piece.said(time)),
            Reason::NotNew => "no value was new to the key, or the key is still learning".to_owned(),
            Reason::Nothing => "no event of this key came near".to_owned(),
        }
    }
}
