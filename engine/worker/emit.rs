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

/// The message of an incident.
pub fn incident(place: OutputPlace, message: &IncidentMessage) -> Output {
    let incident = &message.incident;
    Output {
        place,
        subject: subject::incident(&incident.tenant, incident.severity, &incident.rule.id),
        headers: vec![(HEADER_CONTENT_TYPE, "application/json".to_owned())],
        body: json(message),
    }
}

/// The message of a dead letter.
pub fn dead_letter(place: OutputPlace, letter: DeadLetter, log: &str) -> Output {
    let subject = letter.destination();
    // Position and log are headers that the output log writes itself.
    let own = [subject::HEADER_POSITION, subject::HEADER_LOG];
    let headers = letter.headers(log).into_iter().filter(|(name, _)| !own.contains(name)).collect();
    Output { place, subject, headers, body: Bytes::from(letter.body) }
}

/// The message of a gap in the input. It stands at the last missing message, which can bring about nothing itself.
pub fn coverage_gap(first_missing: u64, last_missing: u64, reason: &str) -> Output {
    let gap = CoverageGap { v: 1, first_missing, last_missing, reason: reason.to_owned() };
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
