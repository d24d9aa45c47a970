//! Why a rule is not complete for a key, and what an event is to a rule.

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};
use sightline_core::explain::event::{EventAnswer, look};
use sightline_core::explain::{Inquiry, WhyNot};
use sightline_core::hit::RuleIndex;
use sightline_core::key::Key;
use sightline_core::rule::RuleSet;
use sightline_core::rule::diagnostic::nearest;
use sightline_schemas::control::RulesMessage;
use sightline_schemas::{Event, EventId, EventTime, Position};

use super::inquire::{Inquest, rule_of};
use super::{Args, Format, Ruled, ask};
use crate::bus::LogMessage;
use crate::cli::cell::shown;
use crate::cli::exit::{CliError, Exit};
use crate::cli::input::Input;
use crate::cli::paint::Paint;
use crate::cli::settings::Global;
use crate::config::Config;
use crate::state::table::StateTable;
use crate::worker::machine::Machine;
use crate::worker::reading::Observer;

/// Messages taken at a time.
const BATCH: usize = 1_000;

pub(super) async fn run(id: &str, args: &Args, global: &Global, config: &Config) -> Result<Exit, CliError> {
    if args.worker.is_some() {
        return of_worker(id, args, global, config).await;
    }
    let ruled = Ruled::of(args, global, config).await?;
    let rules = &ruled.rules;
    let Some((rule, unit)) = rule_of(rules, id) else {
        let near = nearest(id, rules.rules.iter().map(|rule| rule.reference.id.as_str()));
        let help = near.map_or(String::new(), |near| format!("; did you mean {near}?"));
        return Err(CliError::Usage(format!("there is no rule {id}{help}")));
    };
    let events = Input::of(&args.files, args.from_stream, config)?;
    let (event, key) = match &args.event {
        Some(event) => {
            let answer = find_event(rules, rule, event, &events).await?;
            let key = answer.steps.iter().find_map(sightline_core::explain::event::EventStep::reaches);
            (Some(answer), key)
        }
        None => {
            let pairs: Vec<(Option<String>, String)> =
                args.key.iter().map(|text| pair(text, rules, rule)).collect();
            (None, Some(Inquiry::key_of(unit, &pairs).map_err(CliError::Usage)?))
        }
    };
    let why_not = match key {
        Some(key) => Some(inquire(rules, rule, &args.tenant, key, &events).await?),
        None => None,
    };
    let json = why_not.as_ref().map(|why| serde_json::to_value(why).expect("an answer is plain data"));
    say(event.as_ref(), json, why_not.as_ref(), args, global)
}

/// `PART=VALUE` where the rule has such a part, and a value otherwise: values hold signs of equality too.
fn pair(text: &str, rules: &RuleSet, rule: RuleIndex) -> (Option<String>, String) {
    match text.split_once('=') {
        Some((name, value)) if rules.unit_of(rule).by.iter().any(|part| part.name == name) => {
            (Some(name.to_owned()), value.to_owned())
        }
        _ => (None, text.to_owned()),
    }
}

async fn inquire(
    rules: &Arc<RuleSet>,
    rule: RuleIndex,
    tenant: &str,
    key: Key,
    events: &Input,
) -> Result<WhyNot, CliError> {
    let mut inquest = Inquest::new(rules, rule, tenant, key);
    let mut take = |messages: &[LogMessage]| {
        inquest.take(messages);
        Ok(())
    };
    events.read(BATCH, &mut take).await?;
    Ok(inquest.answer())
}

async fn of_worker(id: &str, args: &Args, global: &Global, config: &Config) -> Result<Exit, CliError> {
    if args.event.is_some() {
        let help = "a worker keeps no events: ask for an event with --from-stream";
        return Err(CliError::Usage(help.to_owned()));
    }
    let mut pairs = vec![("rule", id), ("tenant", args.tenant.as_str())];
    pairs.extend(args.key.iter().map(|key| ("key", key.as_str())));
    let answer = ask::ask(args, config, "/why-not", &pairs).await?;
    let why_not: Option<WhyNot> = serde_json::from_value(answer.clone()).ok();
    say(None, Some(answer), why_not.as_ref(), args, global)
}

fn say(
    event: Option<&EventAnswer>,
    json: Option<Value>,
    why_not: Option<&WhyNot>,
    args: &Args,
    global: &Global,
) -> Result<Exit, CliError> {
    let mut out = std::io::stdout().lock();
    if args.format == Format::Json {
        writeln!(out, "{}", json!({ "event": event, "why_not": json }))?;
        return Ok(Exit::Done);
    }
    let paint = global.colors().stdout;
    if let Some(event) = event {
        writeln!(out, "{}", event_told(event, paint))?;
    }
    if let Some(why_not) = why_not {
        writeln!(out, "{}", told(why_not, paint))?;
    }
    Ok(Exit::Done)
}

fn told(why_not: &WhyNot, paint: Paint) -> String {
    let key = why_not.key.iter().map(|part| format!("{}={}", part.name, shown(&part.value, 60)));
    let key = key.collect::<Vec<_>>().join(" ");
    let mut lines = vec![format!("{}  {key}", paint.bold(&why_not.rule))];
    if why_not.missing.is_empty() && why_not.silent.is_none() && !why_not.incidents.is_empty() {
        let ids: Vec<String> = why_not.incidents.iter().map(|id| id.to_string()).collect();
        lines.push(format!("it fired: {}; ask why with --incident", ids.join(", ")));
    } else if !why_not.incidents.is_empty() {
        lines.push(format!("incidents there are, or were: {}", why_not.incidents.len()));
    }
    let said = why_not.said(&|time: EventTime| time.to_string());
    lines.extend(said.iter().map(|line| format!("  {}", shown(line, 240))));
    lines.join("\n")
}

fn event_told(event: &EventAnswer, paint: Paint) -> String {
    let (source, kind) = (shown(&event.source, 30), shown(&event.kind, 40));
    let mut lines = vec![format!(
        "{} {source} {kind}  message {}  {}",
        event.at,
        event.position,
        paint.dim(&event.event.to_string())
    )];
    for step in &event.steps {
        let name = &step.step;
        if let Some(rule) = &step.builds_on {
            lines.push(format!("  step {name}: takes completions of rule {rule}, and no events"));
            continue;
        }
        let missing: Vec<&str> =
            step.key.iter().filter(|(_, values)| values.is_empty()).map(|(part, _)| part.as_str()).collect();
        let key: Vec<String> = step
            .key
            .iter()
            .map(|(part, values)| format!("{part}={}", shown(&values.join(","), 60)))
            .collect();
        match (step.unmet.is_empty(), missing.is_empty()) {
            (true, true) => {
                lines.push(paint.good(&format!("  step {name}: satisfied, for {}", key.join(" "))))
            }
            (true, false) => {
                let text =
                    format!("  step {name}: satisfied, but without a value for {}", missing.join(", "));
                lines.push(paint.bad(&text));
            }
            (false, _) => {
                lines.push(format!("  step {name}: not satisfied"));
                lines.extend(step.unmet.iter().map(|unmet| format!("    {}", shown(&unmet.said(), 240))));
            }
        }
    }
    lines.join("\n")
}

/// Looks for one event as it goes by.
#[derive(Debug)]
struct LookingFor {
    rules: Arc<RuleSet>,
    rule: RuleIndex,
    id: Option<EventId>,
    position: Option<Position>,
    found: Arc<Mutex<Option<EventAnswer>>>,
}

impl Observer for LookingFor {
    fn event(&mut self, event: &Event<'_>, position: Position) {
        if self.id == Some(event.id) || self.position == Some(position) {
            let answer = look(&self.rules, self.rules.rule(self.rule), event, position);
            self.found.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(answer);
        }
    }
}

async fn find_event(
    rules: &Arc<RuleSet>,
    rule: RuleIndex,
    event: &str,
    events: &Input,
) -> Result<EventAnswer, CliError> {
    let id = EventId::parse(event);
    let position = Position::parse(event)
        .or_else(|| Some(Position::new(event.parse().ok()?, 0)).filter(|_| id.is_none()));
    if id.is_none() && position.is_none() {
        let help = "expected 32 hexadecimal digits, or a place such as 12.0";
        return Err(CliError::Usage(format!("event {event:?}: {help}")));
    }
    let found = Arc::new(Mutex::new(None));
    let message =
        RulesMessage { files: Vec::new(), settings: rules.settings.clone(), ..RulesMessage::default() };
    let table = Arc::new(StateTable::default());
    let mut machine = Machine::with_rules("explain", Arc::clone(rules), message, table, 1, 0, EventTime::MIN);
    let looking = LookingFor { rules: Arc::clone(rules), rule, id, position, found: Arc::clone(&found) };
    machine.observe(Box::new(looking));
    let mut take = |messages: &[LogMessage]| {
        machine.apply(messages);
        Ok(())
    };
    events.read(BATCH, &mut take).await?;
    let found = found.lock().unwrap_or_else(PoisonError::into_inner).take();
    found.ok_or_else(|| anyhow::anyhow!("there is no event {event} among these").into())
}
