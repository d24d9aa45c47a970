//! The engine over events of the past, with somebody looking on.

use std::sync::{Arc, Mutex, PoisonError};

use sightline_core::explain::{Inquiry, WhyNot};
use sightline_core::hit::RuleIndex;
use sightline_core::key::Key;
use sightline_core::rule::case::Expected;
use sightline_core::rule::{RuleSet, Unit};
use sightline_schemas::control::RulesMessage;
use sightline_schemas::{Event, EventTime, IncidentMessage, Position};

use crate::bus::LogMessage;
use crate::state::table::StateTable;
use crate::worker::machine::Machine;
use crate::worker::reading::Observer;

/// The machine, and the inquiry that looks at its events.
pub(crate) struct Inquest {
    machine: Machine,
    inquiry: Arc<Mutex<Inquiry>>,
    last_seq: u64,
}

#[derive(Debug)]
struct LookingOn(Arc<Mutex<Inquiry>>);

impl Observer for LookingOn {
    fn event(&mut self, event: &Event<'_>, position: Position) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).see(event, position);
    }
}

impl Inquest {
    /// Into a rule and key.
    pub(crate) fn new(rules: &Arc<RuleSet>, rule: RuleIndex, tenant: &str, key: Key) -> Self {
        let inquiry = Arc::new(Mutex::new(Inquiry::new(Arc::clone(rules), rule, tenant, key)));
        let message =
            RulesMessage { files: Vec::new(), settings: rules.settings.clone(), ..RulesMessage::default() };
        let table = Arc::new(StateTable::default());
        let mut machine =
            Machine::with_rules("explain", Arc::clone(rules), message, table, 1, 0, EventTime::MIN);
        machine.observe(Box::new(LookingOn(Arc::clone(&inquiry))));
        Inquest { machine, inquiry, last_seq: 0 }
    }

    /// Takes in messages, in order.
    pub(crate) fn take(&mut self, messages: &[LogMessage]) {
        // One after the other: what a completion brings is seen before the next event.
        for message in messages {
            let applied = self.machine.apply(std::slice::from_ref(message));
            self.last_seq = message.seq;
            let mut inquiry = self.inquiry.lock().unwrap_or_else(PoisonError::into_inner);
            applied.completions.iter().for_each(|completion| inquiry.see_completion(completion));
            for output in &applied.incidents {
                let said: Result<IncidentMessage, _> = serde_json::from_slice(&output.body);
                inquiry.see_incident(&said.expect("an incident message reads back"));
            }
        }
    }

    /// What came of it.
    pub(crate) fn answer(&self) -> WhyNot {
        self.inquiry.lock().unwrap_or_else(PoisonError::into_inner).answer()
    }
}

/// The rule of that id, and its unit.
pub(crate) fn rule_of<'r>(rules: &'r RuleSet, id: &str) -> Option<(RuleIndex, &'r Unit)> {
    let at = rules.rules.iter().position(|rule| rule.reference.id == id)?;
    let index = RuleIndex(u32::try_from(at).ok()?);
    Some((index, rules.unit_of(index)))
}

/// Why an incident that a test expects is not there: a line for each thing to say. Nothing where its key is not given.
pub(crate) fn why_missing(
    rules: &Arc<RuleSet>,
    expected: &Expected,
    base: EventTime,
    log: &[LogMessage],
) -> Vec<String> {
    let Some((rule, unit)) = rule_of(rules, &expected.rule) else { return Vec::new() };
    let key = match Inquiry::key_of(unit, &expected.key) {
        Ok(key) => key,
        Err(_) if expected.key.is_empty() => return Vec::new(),
        Err(why) => return vec![why],
    };
    let mut inquest = Inquest::new(rules, rule, "default", key);
    inquest.take(log);
    inquest.answer().said(&|time| offset(time, base))
}

/// A time as a test writes it.
pub(crate) fn offset(at: EventTime, base: EventTime) -> String {
    let micros = at.since(base);
    let length = std::time::Duration::from_micros(micros.unsigned_abs());
    let sign = if micros < 0 { "-" } else { "+" };
    format!("{sign}{}", humantime::format_duration(length)).replace(' ', "")
}
