//! From what follows to messages for the output logs.

use bytes::Bytes;
use sightline_schemas::deadletter::DeadLetter;
use sightline_schemas::incident::CoverageGap;
use sightline_schemas::subject::{self, HEADER_CONTENT_TYPE};
use sightline_schemas::{IncidentMessage, Position};

use crate::bus::{Output, OutputPlace};

/// Where stretches of the input are reported that the engine never saw.
pub const COVERAGE_GAP_SUBJECT: &str = "incidents._sightline.coverage_gap";

/// Numbers the messages of each position.
#[derive(Debug, Default)]
pub struct Ordinals {
    last: Option<OutputPlace>,
}

impl Ordinals {
    /// The next place at a position; positions never go back.
    pub fn next(&mut self, position: Position) -> OutputPlace {
        let ordinal = match self.last {
            Some(last) if last.position == position => last.ordinal + 1,
            _ => 0,
        };
        let place = OutputPlace { position, ordinal };
        assert!(self.last.is_none_or(|last| last < place), "outputs leave in input order");
        self.last = Some(place);
        place
    }
}

/// Most bytes of an incident message: below the server's usual limit of 1 MiB, with room for headers.
pub const INCIDENT_BYTES_MAX: usize = 768 << 10;

/// The message of an incident. Where it would be too large, it lists less: evidence from the middle goes first, then the
/// counted values. The counts stay.
pub fn incident(place: OutputPlace, message: &IncidentMessage) -> Output {
    let mut body = json(message);
    if body.len() > INCIDENT_BYTES_MAX {
        let mut shorter = message.clone();
        while body.len() > INCIDENT_BYTES_MAX && shorter.incident.events.len() > 1 {
            let kept = shorter.incident.events.len() / 2;
            let middle = kept.div_ceil(2)..shorter.incident.events.len() - kept / 2;
            shorter.incident.events.drain(middle);
            body = json(&shorter);
        }
        if body.len() > INCIDENT_BYTES_MAX {
            shorter.incident.explain.iter_mut().for_each(|step| step.values.clear());
            body = json(&shorter);
        }
    }
    let incident = &message.incident;
    Output {
        place,
        subject: subject::incident(&incident.tenant, incident.severity, &incident.rule.id),
        headers: vec![(HEADER_CONTENT_TYPE, "application/json".to_owned())],
        body,
    }
}

/// Most bytes of the body of a dead letter's message: below the server's usual limit of 1 MiB, with room for headers. What
/// the server takes may be more, but must not decide what is said; and an input as large as the server takes has no room
/// for the reason.
pub const DEAD_LETTER_PART_BYTES_MAX: usize = 768 << 10;

/// The messages of a dead letter: one, or as many as its parts.
pub fn dead_letter(places: &mut Ordinals, letter: DeadLetter, log: &str) -> Vec<Output> {
    let subject = letter.destination();
    // Position and log are headers that the output log writes itself.
    let own = [subject::HEADER_POSITION, subject::HEADER_LOG];
    let mut headers: Vec<_> = letter.headers(log);
    headers.retain(|(name, _)| !own.contains(name));
    let body = Bytes::from(letter.body);
    let parts = body.len().div_ceil(DEAD_LETTER_PART_BYTES_MAX).max(1);
    let mut outputs = Vec::with_capacity(parts);
    for part in 0..parts {
        let from = part * DEAD_LETTER_PART_BYTES_MAX;
        let to = body.len().min(from + DEAD_LETTER_PART_BYTES_MAX);
        let mut headers = headers.clone();
        if parts > 1 {
            headers.push((subject::HEADER_PART, format!("{}/{parts}", part + 1)));
        }
        let place = places.next(letter.position);
        outputs.push(Output { place, subject: subject.clone(), headers, body: body.slice(from..to) });
    }
    outputs
}

/// The message of a gap in the input. It stands at the last missing message, which can bring about nothing itself.
pub fn coverage_gap(first_missing: u64, last_missing: u64) -> Output {
    let reason = "deleted or expired before they were read".to_owned();
    let gap = CoverageGap { v: 1, first_missing, last_missing, reason };
    Output {
        place: OutputPlace { position: Position::new(last_missing, 0), ordinal: 0 },
        subject: COVERAGE_GAP_SUBJECT.to_owned(),
        headers: vec![(HEADER_CONTENT_TYPE, "application/json".to_owned())],
        body: json(&gap),
    }
}

fn json(value: &impl serde::Serialize) -> Bytes {
    Bytes::from(serde_json::to_vec(value).expect("messages are plain data"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The largest message that a rule can bring about: every list full, every value as long as it may be.
    #[test]
    fn no_incident_is_too_large_for_the_server() {
        let text = std::fs::read_to_string("schemas/golden/incident_opened.json");
        let text = text.expect("the golden message of an incident");
        let mut message: IncidentMessage = serde_json::from_str(&text).expect("an incident message");
        let long = "x".repeat(256);
        let mut evidence = message.incident.events[0].clone();
        evidence.why =
            vec![sightline_schemas::incident::Named { name: long.clone(), value: long.clone() }; 16];
        let mut explain = message.incident.explain[0].clone();
        explain.values = vec![long; 64];
        message.incident.events = vec![evidence; 32 * 24];
        message.incident.explain = vec![explain; 32];
        let events = message.incident.events.len();
        let output = incident(OutputPlace::default(), &message);
        assert!(output.body.len() <= INCIDENT_BYTES_MAX);
        let said: IncidentMessage = serde_json::from_slice(&output.body).expect("an incident message");
        assert!(said.incident.events.len() < events);
        assert_eq!(said.incident.event_count, message.incident.event_count);
    }
}
