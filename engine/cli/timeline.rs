//! An incident as people read it: how bad, what, about whom, when, and the evidence in the order in which it happened.

use std::fmt::Write;

use sightline_schemas::incident::Evidence;
use sightline_schemas::{Change, EventTime, Incident, IncidentMessage, Resolution};

use crate::cli::cell::{short_value, shown};
use crate::cli::paint::Paint;

/// Longest shown value of a field.
const VALUE_CHARS_MAX: usize = 60;
/// How long the fields of one piece of evidence may be together; the first is always shown.
const FIELDS_CHARS_MAX: usize = 110;
/// Longest shown name of a step.
const STEP_CHARS_MAX: usize = 24;
/// Lines in a row about the same step, source and host that are all shown: of more, the first and the last.
const ROW_MAX: usize = 3;
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
            let how =
                incident.resolution.map_or(String::new(), |resolution| format!(" ({})", word(resolution)));
            format!("{} -> {}{how} by {actor}{reason}", change.from.as_str(), change.to.as_str())
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

/// The evidence, line by line. Like pieces in a row are one line, and of long rows the middle is left out.
fn evidence(incident: &Incident, paint: Paint) -> Vec<String> {
    let mut events: Vec<&Evidence> = incident.events.iter().collect();
    events.sort_by_key(|event| (event.occurred_at, event.position));
    let one_day = clock(incident.first_event_at).0 == clock(incident.last_event_at).0;
    let step_chars =
        events.iter().map(|event| event.step.chars().count()).max().unwrap_or(0).min(STEP_CHARS_MAX);
    let time = |event: &Evidence| {
        let (day, clock) = clock(event.occurred_at);
        if one_day { clock } else { format!("{day} {clock}") }
    };
    let told: Vec<(&Evidence, String)> =
        events.into_iter().map(|event| (event, what_happened(event, incident, step_chars))).collect();
    let mut lines = Vec::new();
    for row in
        told.chunk_by(|(a, _), (b, _)| (&a.step, &a.source, &a.host_id) == (&b.step, &b.source, &b.host_id))
    {
        let mut row_lines = Vec::new();
        for same in row.chunk_by(|(_, a), (_, b)| a == b) {
            let ((first, text), last) = (&same[0], time(same[same.len() - 1].0));
            let times = match same.len() {
                1 => String::new(),
                count if time(first) == last => format!("  ({count} times)"),
                count => format!("  ({count} times until {last})"),
            };
            row_lines.push((same.len(), format!("{} {text}{}", paint.dim(&time(first)), paint.dim(&times))));
        }
        match &row_lines[..] {
            [first, hidden @ .., last] if row_lines.len() > ROW_MAX => {
                let hidden: usize = hidden.iter().map(|(count, _)| count).sum();
                lines.push(first.1.clone());
                lines.push(paint.dim(&format!("… {hidden} more")));
                lines.push(last.1.clone());
            }
            _ => lines.extend(row_lines.into_iter().map(|(_, line)| line)),
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

/// One piece of evidence without its time.
fn what_happened(event: &Evidence, incident: &Incident, step_chars: usize) -> String {
    let host = event.host_id.as_deref().map_or("-".to_owned(), |host| shown(host, 40));
    let (source, step) = (shown(&event.source, 12), shown(&event.step, STEP_CHARS_MAX));
    let what = format!("{} {}", shown(&event.kind, 40), fields(event, incident));
    format!("{source:<8} {host:<28} {step:<step_chars$}  {}", what.trim_end())
}

/// The fields that tell most: those which the rule's author wants shown come first in `why`. What the key says already is
/// left out unless it is all there is, and so is what another field says too.
fn fields(event: &Evidence, incident: &Incident) -> String {
    let in_key = |value: &str| incident.scope.parts.iter().any(|part| part.value.eq_ignore_ascii_case(value));
    let mut told: Vec<(&str, &str)> = Vec::new();
    for named in &event.why {
        let value = named.value.trim().trim_matches('"');
        let repeated = told.iter().any(|(_, other)| other.eq_ignore_ascii_case(value));
        if !value.is_empty() && !repeated && !in_key(value) {
            told.push((&named.name, value));
        }
    }
    if told.is_empty() {
        match &event.title {
            Some(title) => return shown(title, VALUE_CHARS_MAX),
            None => told.extend(event.why.first().map(|named| (named.name.as_str(), named.value.as_str()))),
        }
    }
    let mut line = String::new();
    for (name, value) in told {
        let field = format!("{}={}", shown(name, 30), short_value(value, VALUE_CHARS_MAX));
        if !line.is_empty() && line.chars().count() + field.chars().count() > FIELDS_CHARS_MAX {
            break;
        }
        let gap = if line.is_empty() { "" } else { " " };
        let _ = write!(line, "{gap}{field}");
    }
    line
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

/// A resolution as messages write it.
fn word(resolution: Resolution) -> String {
    serde_json::to_value(resolution)
        .ok()
        .and_then(|value| Some(value.as_str()?.to_owned()))
        .unwrap_or_default()
}

fn more(count: usize) -> String {
    if count == 0 { String::new() } else { format!(", … {count} more") }
}

#[cfg(test)]
mod tests {
    use sightline_schemas::incident::{Named, Scope};
    use sightline_schemas::{EventId, Position, Severity};

    use super::*;

    fn event(seconds: i64, step: &str, path: &str) -> Evidence {
        Evidence {
            id: EventId::from_raw("t", "fim", path.as_bytes()),
            rule: "r".to_owned(),
            step: step.to_owned(),
            occurred_at: EventTime::from_micros(seconds * 1_000_000),
            position: Position::new(1, 0),
            source: "fim".to_owned(),
            kind: "file_change".to_owned(),
            host_id: Some("web-01".to_owned()),
            user: None,
            severity: Severity::Info,
            title: None,
            why: vec![Named { name: "path".to_owned(), value: path.to_owned() }],
        }
    }

    fn incident(events: Vec<Evidence>) -> Incident {
        serde_json::from_value(serde_json::json!({
            "id": "00".repeat(16), "version": 1, "tenant": "t", "rule": {"id": "r", "version": "1"},
            "title": "T", "description": "", "severity": "high", "severity_basis": "rule",
            "scope": Scope::default(), "status": "open", "first_event_at": events[0].occurred_at,
            "last_event_at": events[events.len() - 1].occurred_at, "opened_at": events[0].occurred_at,
            "updated_at": events[0].occurred_at, "event_count": events.len(), "events": events,
            "sources": ["fim"], "hosts": ["web-01"], "users": [], "tags": [], "suppressed_count": 0,
            "reopen_count": 0, "explain": [],
        }))
        .expect("an incident")
    }

    fn check(events: Vec<Evidence>, lines: &[&str]) {
        let told = whole(&incident(events), Paint(false));
        let evidence: Vec<&str> = told.lines().skip(3).map(|line| line.trim_start().trim_end()).collect();
        assert_eq!(evidence, lines, "{told}");
    }

    #[test]
    fn evidence_stands_in_time_order_and_what_is_alike_on_one_line() {
        check(
            vec![event(5, "b", "/z"), event(1, "a", "/x"), event(2, "a", "/x")],
            &[
                "00:00:01.000 fim      web-01                       a  file_change path=/x  (2 times until 00:00:02.000)",
                "00:00:05.000 fim      web-01                       b  file_change path=/z",
            ],
        );
    }

    #[test]
    fn of_a_long_row_the_middle_is_left_out() {
        let row = (0..9).map(|at| event(at, "a", &format!("/{at}"))).collect();
        check(
            row,
            &[
                "00:00:00.000 fim      web-01                       a  file_change path=/0",
                "… 7 more",
                "00:00:08.000 fim      web-01                       a  file_change path=/8",
            ],
        );
    }

    #[test]
    fn an_event_cannot_write_to_the_terminal() {
        let told = whole(&incident(vec![event(0, "a", "/\x1b[2J\nok: nothing to see")]), Paint(false));
        assert!(!told.contains('\x1b') && !told.contains("\nok:"), "{told}");
    }
}
