//! Rules held against events as they really come.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use sightline_core::field::Field;
use sightline_core::predicate::{Condition, Predicate, Test};
use sightline_core::rule::diagnostic::nearest;
use sightline_core::rule::lint::at_step;
use sightline_core::rule::{Diagnostic, Input as StepInput, RuleSet, Source};
use sightline_schemas::control::RulesMessage;
use sightline_schemas::{Event, EventTime, Position};

use crate::bus::LogMessage;
use crate::cli::exit::CliError;
use crate::cli::input::Input;
use crate::state::table::StateTable;
use crate::worker::machine::Machine;
use crate::worker::reading::Observer;

/// Messages taken at a time.
const BATCH: usize = 1_000;
/// Names of fields remembered for a step: those that a misspelt one could have meant.
const NAMES_MAX: usize = 512;

/// What the sample has for one step.
#[derive(Debug, Default)]
struct StepSample {
    rule: usize,
    step: usize,
    /// Events of the source and kind that the step asks for.
    candidates: u64,
    /// Fields that the step reads and no candidate had so far: the part of the key that they are of, or none.
    unseen: Vec<(Vec<Field>, Option<String>)>,
    names: BTreeSet<String>,
}

#[derive(Debug)]
struct Sampling {
    rules: Arc<RuleSet>,
    steps: Arc<Mutex<Vec<StepSample>>>,
}

impl Observer for Sampling {
    fn event(&mut self, event: &Event<'_>, _position: Position) {
        for sample in self.steps.lock().unwrap_or_else(PoisonError::into_inner).iter_mut() {
            let step = &self.rules.rules[sample.rule].steps[sample.step];
            let StepInput::Events(condition) = &step.input else { continue };
            if !is_candidate(condition, event) {
                continue;
            }
            sample.candidates += 1;
            sample.unseen.retain(|(fields, _)| !fields.iter().any(|field| field.exists(event)));
            if sample.names.len() < NAMES_MAX {
                sample.names.extend(event.fields.members().iter().map(|member| member.name().to_owned()));
            }
        }
    }
}

/// Whether the event has the source and the kind that the condition asks for, as far as it asks for any.
fn is_candidate(condition: &Condition, event: &Event<'_>) -> bool {
    let fits = |name: &str, value: &str| {
        condition.required_texts(name).is_none_or(|texts| texts.iter().any(|text| text == value))
    };
    fits("source", &event.source) && fits("kind", &event.kind)
}

/// Warnings about what the rules read and no event of the sample has.
pub(super) async fn warnings(
    rules: RuleSet,
    files: &[Source],
    events: &Input,
) -> Result<(RuleSet, Vec<Diagnostic>), CliError> {
    let rules = Arc::new(rules);
    let steps = Arc::new(Mutex::new(steps(&rules)));
    {
        let message =
            RulesMessage { files: Vec::new(), settings: rules.settings.clone(), ..RulesMessage::default() };
        let table = Arc::new(StateTable::default());
        let mut machine =
            Machine::with_rules("check", Arc::clone(&rules), message, table, 1, 0, EventTime::MIN);
        let sampling = Sampling { rules: Arc::clone(&rules), steps: Arc::clone(&steps) };
        machine.observe(Box::new(sampling));
        let mut take = |messages: &[LogMessage]| {
            machine.apply(messages);
            Ok(())
        };
        events.read(BATCH, &mut take).await?;
    }
    let steps = std::mem::take(&mut *steps.lock().unwrap_or_else(PoisonError::into_inner));
    let found = steps.iter().flat_map(|sample| told(sample, &rules, files)).collect();
    let rules = Arc::try_unwrap(rules).expect("the machine that shared them is gone");
    Ok((rules, found))
}

fn steps(rules: &RuleSet) -> Vec<StepSample> {
    let mut samples = Vec::new();
    for (rule_at, rule) in rules.rules.iter().enumerate() {
        let parts = &rules.units[rule.unit].by;
        for (step_at, step) in rule.steps.iter().enumerate() {
            let StepInput::Events(condition) = &step.input else { continue };
            let keys =
                step.keys.iter().zip(parts).map(|(fields, part)| (fields.clone(), Some(part.name.clone())));
            let mut unseen: Vec<(Vec<Field>, Option<String>)> = keys.collect();
            unseen.extend(step.counted.iter().map(|(field, _)| (vec![field.clone()], None)));
            let mut asked = Vec::new();
            compared(condition, &mut asked);
            asked.sort();
            asked.dedup();
            unseen.extend(asked.into_iter().map(|field| (vec![field], None)));
            samples.push(StepSample { rule: rule_at, step: step_at, unseen, ..StepSample::default() });
        }
    }
    samples
}

/// The fields that must have a value for the condition to hold, by one alternative or another.
fn compared(condition: &Condition, asked: &mut Vec<Field>) {
    match condition {
        Condition::Test(Predicate { test: Test::Exists, .. }) | Condition::Not(_) => {}
        Condition::Test(predicate) => asked.push(predicate.field.clone()),
        Condition::All(inner) | Condition::Any(inner) => {
            inner.iter().for_each(|inner| compared(inner, asked))
        }
    }
}

fn told(sample: &StepSample, rules: &RuleSet, files: &[Source]) -> Vec<Diagnostic> {
    let rule = &rules.rules[sample.rule];
    let step = &rule.steps[sample.step].name;
    let warn = |message: String, label: String, help: Option<String>| {
        at_step(files, &rule.reference.id, step, message, label, help)
    };
    if sample.candidates == 0 {
        let message = format!("no event of the sample has the source and kind of step `{step}`");
        return warn(message, "nothing to compare with".to_owned(), None).into_iter().collect();
    }
    let one = |(fields, part): &(Vec<Field>, Option<String>)| {
        let names: Vec<&str> = fields.iter().map(Field::name).collect();
        let message = match part {
            Some(part) => format!("no event of the sample has the part `{part}` of the key in step `{step}`"),
            None => format!("no event of the sample has `{}`, which step `{step}` reads", names.join("`, `")),
        };
        let label = format!("{} such events, none with `{}`", sample.candidates, names.join("` or `"));
        let known = sample.names.iter().map(String::as_str);
        let near = names.first().and_then(|name| nearest(name.trim_start_matches("fields."), known));
        warn(message, label, near.map(|near| format!("they have `{near}`")))
    };
    sample.unseen.iter().filter_map(one).collect()
}
