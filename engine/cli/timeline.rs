//! An incident as people read it: how bad, what, about whom, when, and the evidence in the order in which it happened.

use std::fmt::Write;

use sightline_schemas::incident::Evidence;
use sightline_schemas::{Change, EventTime, Incident, IncidentMessage};

use crate::cli::cell::{short_value, shown};
use crate::cli::paint::Paint;

/// Longest shown value of a field.
const VALUE_CHARS_MAX: usize = 60;
/// Fields shown of one piece of evidence.
const FIELDS_MAX: usize = 3;
/// Like pieces of evidence in a row that are shown one by one: of more, the first and the last.
const RUN_MAX: usize = 3;
/// Distinct values shown of a step that counts them.
const VALUES_MAX: usize = 8;

/// The whole incident, over several lines, without an empty one at the end.
pub fn whole(incident: &Incident, paint: Paint) -> String {
    let mut out = String::new();
    let severity =
        paint.severity(incident.severity, &format!(" {} ", incident.severity.as_str().to_uppercase()));
    let rule = paint.bold(&shown(&incident.rule.id, VALUE_CHARS_MAX));
    let _ = writeln!(out, "{severity} {rule}  {}", key(incident));
    let span = span(incident.first_event_at, incident.last_event_at);
    let sources: Vec<String> = incident.sources.iter().map(|source| shown(source, 20)).collect();
    let events = if incident.event_count == 1 {
        "1 event".to_owned()
    } else {
        format!("{} events", incident.event_count)
    };
    let _ = writeln!(out, "    {}", shown(&incident.title, 100));
    let _ = writeln!(
        out,
        "    {span}, {events} from {}  {}",
        sources.join(", "),
        paint.dim(&incident.id.to_string())
    );
    for line in evidence(incident, paint) {
        let _ = writeln!(out, "      {line}");
    }
    for step in incident.explain.iter().filter(|step| !step.values.is_empty()) {
        let values: Vec<String> =
            step.values.iter().take(VALUES_MAX).map(|value| short_value(value, 30)).collect();
        let more = more(step.values.len().saturating_sub(VALUES_MAX));
        let (count, needed) = (step.values.len(), step.needed);
        let text = format!("{} counted {count} (needs {needed}): {}{more}", step.step, values.join(", "));
        let _ = writeln!(out, "      {}", paint.dim(&text));
    }
    out
}

/// What happened to the incident, on one line.
pub fn line(message: &IncidentMessage, paint: Paint) -> String {
    let incident = &message.incident;
    let severity =
        paint.severity(incident.severity, &format!(" {} ", incident.severity.as_str().to_uppercase()));
    let rule = shown(&incident.rule.id, VALUE_CHARS_MAX);
    let what = match (message.change, &message.status_change) {
        (Change::StatusChanged | Change::Reopened, Some(change)) => {
            let reason =
                change.reason.as_deref().map_or(String::new(), |reason| format!(": {}", shown(reason, 80)));
            let actor = shown(&change.actor, 30);
            format!("{} -> {} by {actor}{reason}", change.from.as_str(), change.to.as_str())
        }
        (Change::Merged, _) => match incident.merged_into {
            Some(other) => format!("merged into {other}"),
            None => "merged".to_owned(),
        },
        (change, _) => {
            let last = incident.last_event_at;
            format!(
                "{}, version {}: {} events, the last at {last}",
                change.as_str(),
                incident.version,
                incident.event_count
            )
        }
    };
    format!("{severity} {rule}  {}  {what}  {}", key(incident), paint.dim(&incident.id.to_string()))
}

/// The parts of the key, each with its name, as one value could be anything.
fn key(incident: &Incident) -> String {
    let parts = incident.scope.parts.iter();
    let parts: Vec<String> = parts
        .map(|part| format!("{}={}", shown(&part.name, 30), short_value(&part.value, VALUE_CHARS_MAX)))
        .collect();
    parts.join(" ")
}

fn span(first: EventTime, last: EventTime) -> String {
    let text = (first.to_string(), last.to_string());
    let micros = u64::try_from(last.since(first)).unwrap_or(0);
    if micros == 0 {
        return text.0;
    }
    let millis = std::time::Duration::from_millis(micros / 1_000);
    // The day once, where it is the same.
    let until = match (text.0.split_once('T'), text.1.split_once('T')) {
        (Some((day, _)), Some((same, clock))) if day == same => clock,
        _ => &text.1,
    };
    format!("{} .. {until} ({})", text.0, humantime::format_duration(millis))
}

fn evidence(incident: &Incident, paint: Paint) -> Vec<String> {
    let mut events: Vec<&Evidence> = incident.events.iter().collect();
    events.sort_by_key(|event| (event.occurred_at, event.position));
    let one_day = clock(incident.first_event_at).0 == clock(incident.last_event_at).0;
    let step_chars = events.iter().map(|event| event.step.chars().count()).max().unwrap_or(0).min(24);
    let mut lines = Vec::new();
    for run in events.chunk_by(|a, b| {
        (&a.step, &a.source, &a.host_id, &a.kind) == (&b.step, &b.source, &b.host_id, &b.kind)
    }) {
        let line = |event: &&Evidence| evidence_line(event, incident, one_day, step_chars, paint);
        match run {
            [first, hidden @ .., last] if run.len() > RUN_MAX => {
                lines.push(line(first));
                lines.push(paint.dim(&format!("… {} more", hidden.len())));
                lines.push(line(last));
            }
            run => lines.extend(run.iter().map(line)),
        }
    }
    let listed = incident.events.len() as u64;
    if incident.event_count > listed {
        lines.push(
            paint.dim(&format!("… {} more that the message does not list", incident.event_count - listed)),
        );
    }
    lines
}

fn evidence_line(
    event: &Evidence,
    incident: &Incident,
    one_day: bool,
    step_chars: usize,
    paint: Paint,
) -> String {
    let (day, clock) = clock(event.occurred_at);
    let time = if one_day { clock } else { format!("{day} {clock}") };
    let host = event.host_id.as_deref().map_or("-".to_owned(), |host| shown(host, 40));
    let step = shown(&event.step, 24);
    let source = shown(&event.source, 12);
    let what = format!("{} {}", shown(&event.kind, 40), fields(event, incident));
    format!("{} {source:<8} {host:<28} {step:<step_chars$}  {}", paint.dim(&time), what.trim_end())
}

/// The fields that tell most: those which the rule's author wants shown come first in `why`; what the key says already
/// is left out.
fn fields(event: &Evidence, incident: &Incident) -> String {
    let in_key = |value: &str| incident.scope.parts.iter().any(|part| part.value.eq_ignore_ascii_case(value));
    let told = event.why.iter().filter(|named| !named.value.is_empty() && !in_key(&named.value));
    let told: Vec<String> = told
        .take(FIELDS_MAX)
        .map(|named| format!("{}={}", shown(&named.name, 30), short_value(&named.value, VALUE_CHARS_MAX)))
        .collect();
    match &event.title {
        Some(title) if told.is_empty() => shown(title, VALUE_CHARS_MAX),
        _ => told.join(" "),
    }
}

/// Day and time of day, to the millisecond so that they stand in columns.
fn clock(time: EventTime) -> (String, String) {
    let text = time.to_string();
    match text.trim_end_matches('Z').split_once('T') {
        Some((day, clock)) => {
            let (whole, fraction) = clock.split_once('.').unwrap_or((clock, "000"));
            (day.to_owned(), format!("{whole}.{fraction:.3}"))
        }
        None => (String::new(), text),
    }
}

fn more(count: usize) -> String {
    if count == 0 { String::new() } else { format!(", … {count} more") }
}
