//! What rules detect here.

use std::collections::BTreeSet;
use std::sync::Arc;

use sightline_core::detect::{Memo, event_hits};
use sightline_core::rule::diagnostic::Color;
use sightline_core::rule::{RuleSet, Source, check};
use sightline_schemas::control::EngineSettings;
use sightline_schemas::edge::Draft;
use sightline_schemas::source::SourceProfiles;
use sightline_schemas::subject::EventSubject;
use sightline_schemas::wire::Form;
use sightline_schemas::{EventTime, Position};

use crate::rsigma::Routing;

/// The rules as they are asked with this routing.
pub fn compiled(mut files: Vec<Source>, routing: Routing) -> RuleSet {
    if routing == Routing::None {
        let text = "mapping: everything\nunmapped: any\n".to_owned();
        files.push(Source { name: "mapping.yaml".to_owned(), text });
    }
    let checked = check::check(&files, &EngineSettings::default()).unwrap_or_else(|problems| {
        let said: Vec<String> = problems.iter().map(|problem| problem.render(&files, Color::Plain)).collect();
        panic!("{}", said.join("\n"))
    });
    checked.rules
}

/// Event and rule of each detection: the events are lines of JSON, as the fields of an event here.
pub fn detections(rules: &RuleSet, lines: &[String]) -> BTreeSet<(usize, String)> {
    let tenant: Arc<str> = Arc::from("default");
    let subject = EventSubject { tenant: "default".to_owned(), source: "sensor".to_owned() };
    let profiles = SourceProfiles::default();
    let mut memo = Memo::default();
    let mut found = BTreeSet::new();
    for (at, line) in lines.iter().enumerate() {
        let body = format!("{{\"ts\":\"2026-01-01T00:00:00Z\",\"fields\":{line}}}");
        let draft = Draft::read(body.as_bytes(), Form::Json).expect("an event");
        let received = EventTime::parse("2026-01-01T00:00:00Z").expect("a time");
        let mut event = draft.into_event(&subject, received, &profiles).expect("an event");
        let mut hits = Vec::new();
        let place = Position::new(1, 0);
        event_hits(rules, &mut event, body.as_bytes(), &tenant, place, &mut memo, &mut hits);
        found.extend(hits.into_iter().map(|hit| (at, rules.rule(hit.rule).reference.id.clone())));
    }
    found
}
