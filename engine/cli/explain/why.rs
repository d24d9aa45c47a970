//! Why an incident is there.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

use anyhow::Context;
use serde_json::{Value, json};
use sightline_core::rule::Source;
use sightline_core::rule::excerpt::excerpt;
use sightline_schemas::incident::{Evidence, Reading, StepExplain};
use sightline_schemas::{EventTime, Incident, IncidentId, IncidentMessage};

use super::{Args, Format, Ruled, ask};
use crate::bus::jetstream::{FeedStart, IncidentFeed};
use crate::cli::cell::shown;
use crate::cli::exit::{CliError, Exit};
use crate::cli::input::Input;
use crate::cli::paint::Paint;
use crate::cli::settings::Global;
use crate::cli::{backtest, bus, timeline};
use crate::config::Config;

/// Longest shown title of a piece of evidence, or value of a field.
const VALUE_CHARS_MAX: usize = 100;
/// How long the incident log may be silent before it counts as read to its end.
const QUIET: Duration = Duration::from_secs(2);

/// An incident, and the rule that it comes from.
struct Found {
    incident: Incident,
    /// The rule's text, as far as it is known.
    rule_text: Option<String>,
    /// The rule's version now, where that is another one.
    rule_now: Option<String>,
}

pub(super) async fn run(
    id: IncidentId,
    args: &Args,
    global: &Global,
    config: &Config,
) -> Result<Exit, CliError> {
    let found = match (&args.worker, args.from_stream) {
        (Some(_), _) => of_worker(id, args, config).await?,
        (None, true) => of_stream(id, args, global, config).await?,
        (None, false) => of_files(id, args, global, config).await?,
    };
    let mut out = std::io::stdout().lock();
    match args.format {
        Format::Json => writeln!(out, "{}", in_json(&found))?,
        Format::Text => writeln!(out, "{}", told(&found, global.colors().stdout))?,
    }
    Ok(Exit::Done)
}

fn not_found(id: IncidentId, wherever: &str) -> CliError {
    anyhow::anyhow!("there is no incident {id} {wherever}").into()
}

async fn of_worker(id: IncidentId, args: &Args, config: &Config) -> Result<Found, CliError> {
    let mut answer = ask::ask(args, config, "/incident", &[("id", &id.to_string())]).await?;
    let incident =
        serde_json::from_value(answer["incident"].take()).context("the worker tells no incident")?;
    let text = |name: &str| answer[name].as_str().map(str::to_owned);
    Ok(Found { incident, rule_text: text("rule_text"), rule_now: text("rule_now") })
}

async fn of_stream(id: IncidentId, args: &Args, global: &Global, config: &Config) -> Result<Found, CliError> {
    let connection = bus::connected(&config.nats).await?;
    let stream = &config.streams.incidents;
    let mut feed = IncidentFeed::open(&connection, stream, "incidents.>", FeedStart::All).await?;
    let mut newest: Option<Incident> = None;
    while let Some(message) = feed.next(QUIET).await? {
        let Ok(said) = serde_json::from_slice::<IncidentMessage>(&message.body) else { continue };
        if said.incident.id == id {
            newest = Some(said.incident);
        }
    }
    connection.close().await;
    let incident = newest.ok_or_else(|| not_found(id, &format!("in the stream {stream}")))?;
    let ruled = Ruled::of(args, global, config).await?;
    Ok(with_rule(incident, &ruled))
}

async fn of_files(id: IncidentId, args: &Args, global: &Global, config: &Config) -> Result<Found, CliError> {
    let ruled = Ruled::of(args, global, config).await?;
    let events = Input::of(&args.files, false, config)?;
    let mut last = Last { id, incident: None };
    let paths = config.rule_paths(&args.rules);
    let backtest = backtest::Backtest {
        rules: paths,
        events,
        settings: config.engine.settings(),
        partitions: 1,
        batch: config.worker.batch_messages,
    };
    backtest::follow(&backtest, &mut last).await?;
    let incident = last.incident.ok_or_else(|| not_found(id, "in what these events come to"))?;
    Ok(with_rule(incident, &ruled))
}

struct Last {
    id: IncidentId,
    incident: Option<Incident>,
}

impl backtest::Listener for Last {
    fn incident(&mut self, output: &crate::bus::Output) -> anyhow::Result<()> {
        let said: IncidentMessage =
            serde_json::from_slice(&output.body).context("cannot read an incident")?;
        if said.incident.id == self.id {
            self.incident = Some(said.incident);
        }
        Ok(())
    }

    fn dead_letter(&mut self, _line: u64, _why: &str) -> anyhow::Result<()> {
        Ok(())
    }
}

fn with_rule(incident: Incident, ruled: &Ruled) -> Found {
    let id = &incident.rule.id;
    let text = |source: &Source| excerpt(source, id);
    let rule_text = ruled.files.iter().find_map(text);
    let now = ruled.rules.rules.iter().find(|rule| rule.reference.id == *id);
    let now = now.map(|rule| rule.reference.version.clone());
    let rule_now = now.filter(|now| *now != incident.rule.version);
    Found { incident, rule_text, rule_now }
}

fn in_order(incident: &Incident) -> Vec<&Evidence> {
    let mut events: Vec<&Evidence> = incident.events.iter().collect();
    events.sort_by_key(|event| (event.occurred_at, event.position));
    events
}

fn in_json(found: &Found) -> Value {
    let mut before: Option<EventTime> = None;
    let line = |event: &Evidence| {
        let gap = before.map(|before| event.occurred_at.since(before));
        before = Some(event.occurred_at);
        json!({ "at": event.occurred_at, "gap_micros": gap, "step": event.step, "rule": event.rule, "event": event.id,
                "position": event.position, "source": event.source, "kind": event.kind, "why": event.why })
    };
    let time_line: Vec<Value> = in_order(&found.incident).into_iter().map(line).collect();
    json!({
        "incident": found.incident,
        "time_line": time_line,
        "rule_text": found.rule_text,
        "rule_now": found.rule_now,
    })
}

/// Head, steps, time line with gaps, rule.
fn told(found: &Found, paint: Paint) -> String {
    let incident = &found.incident;
    let head: Vec<String> = timeline::whole(incident, paint).lines().take(3).map(str::to_owned).collect();
    let mut lines = head;
    lines.push(format!(
        "    {}, version {}; opened {}, last changed {}",
        incident.status.as_str(),
        incident.version,
        incident.opened_at,
        incident.updated_at
    ));
    lines.push(String::new());
    lines.push(paint.bold("why: each step has what it takes"));
    let shared = incident.explain.iter().any(|step| step.rule != incident.rule.id);
    for step in &incident.explain {
        let name = if shared { format!("{}/{}", step.rule, step.step) } else { step.step.clone() };
        let mut said = has(step).into_iter();
        lines.extend(said.next().map(|first| format!("    {name}: {first}")));
        lines.extend(said.map(|more| format!("        {more}")));
    }
    lines.push(String::new());
    lines.push(paint.bold("time line"));
    lines.extend(time_line(incident, paint));
    lines.push(String::new());
    lines.push(paint.bold(&format!("rule {} version {}", incident.rule.id, incident.rule.version)));
    match &found.rule_text {
        Some(text) => lines.extend(text.lines().map(|line| format!("    {}", shown(line, 200)))),
        None => lines.push("    its text is not among these rules".to_owned()),
    }
    if let Some(now) = &found.rule_now {
        let text = format!("the rule has changed since: this is its text at version {now}");
        lines.push(paint.bad(&text));
    }
    lines.join("\n")
}

/// What a step has and what it takes, the most telling first.
fn has(step: &StepExplain) -> Vec<String> {
    let mut said = Vec::new();
    if let Some(reading) = &step.reading {
        let (first, last) = (&reading.first, &reading.last);
        said.push(format!("{} is {}, takes {}", reading.of, read(first), reading.takes));
        if last != first {
            said.push(format!("with the last match it is {}", read(last)));
        }
    }
    if step.absent + step.unknown > 0 {
        let times = format!("between {} and {}", step.first_at, step.last_at);
        if step.absent > 0 {
            said.push(format!("did not happen {times}{}", how_often(step.absent)));
        }
        if step.unknown > 0 {
            let silent = "its source was silent, so nobody knows whether it happened";
            said.push(format!("{silent}, {times}{}", how_often(step.unknown)));
        }
    }
    let values: Vec<String> = step.values.iter().map(|value| shown(value, 40)).collect();
    let values_said = shown(&values.join(", "), VALUE_CHARS_MAX);
    match (said.is_empty(), values.len() as u64) {
        (true, 0) => said.push(format!("{}, takes {}", counted(step.events, "event"), step.needed)),
        (true, n) => said.push(format!("{}, takes {}: {values_said}", counted(n, "value"), step.needed)),
        (false, 0) => {}
        (false, _) => said.push(format!("values: {values_said}")),
    }
    said
}

/// The number, and the events that it was read over.
fn read(reading: &Reading) -> String {
    let number = (reading.value * 1e6).round() / 1e6;
    let events = counted(reading.events, "event");
    match reading.first_at == reading.last_at {
        true => format!("{number} over {events} at {}", reading.first_at),
        false => format!("{number} over {events} from {} to {}", reading.first_at, reading.last_at),
    }
}

fn how_often(times: u64) -> String {
    if times == 1 { String::new() } else { format!(", {times} times") }
}

fn counted(number: u64, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

fn time_line(incident: &Incident, paint: Paint) -> Vec<String> {
    let mut lines = Vec::new();
    let mut before: Option<EventTime> = None;
    let listed: BTreeMap<&str, u64> = incident.events.iter().fold(BTreeMap::new(), |mut counts, event| {
        *counts.entry(event.step.as_str()).or_default() += 1;
        counts
    });
    for event in in_order(incident) {
        if let Some(gap) = before.map(|before| event.occurred_at.since(before)).filter(|gap| *gap > 0) {
            let gap = humantime::format_duration(Duration::from_micros(gap.unsigned_abs()));
            lines.push(paint.dim(&format!("      + {gap}")));
        }
        before = Some(event.occurred_at);
        let host = event.host_id.as_deref().map_or(String::new(), |host| format!(" {}", shown(host, 40)));
        let why: Vec<String> = event
            .why
            .iter()
            .map(|named| format!("{}={}", shown(&named.name, 30), shown(&named.value, 60)))
            .collect();
        lines.push(format!(
            "    {} {}{host} {}: {}  {}",
            event.occurred_at,
            shown(&event.source, 20),
            shown(&event.step, 30),
            shown(&event.kind, 40),
            paint.dim(&format!("message {}", event.position)),
        ));
        if !why.is_empty() {
            lines.push(format!("        {}", shown(&why.join(" "), 2 * VALUE_CHARS_MAX)));
        }
    }
    for step in &incident.explain {
        let shown = listed.get(step.step.as_str()).copied().unwrap_or(0);
        if step.events > shown {
            lines.push(paint.dim(&format!(
                "    … {} more of {} that are not listed",
                step.events - shown,
                step.step
            )));
        }
    }
    lines
}
