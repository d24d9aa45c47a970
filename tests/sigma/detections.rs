//! What rules detect here.

use std::collections::BTreeSet;
use std::sync::Arc;

use sightline_core::detect::{Memo, event_hits};
use sightline_core::rule::diagnostic::Color;
use sightline_core::rule::{RuleSet, Source, check};
use sightline_schemas::control::EngineSettings;
use sightline_schemas::source::SourceProfiles;
use sightline_schemas::subject::EventSubject;
use sightline_schemas::wire::Form;
use sightline_schemas::{EventTime, Position, edge, wire};

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
    let tenant = Arc::from("default");
    let subject = EventSubject { tenant: "default".to_owned(), source: "sensor".to_owned() };
    let profiles = SourceProfiles::default();
    let mut memo = Memo::default();
    let mut found = BTreeSet::new();
    for (at, line) in lines.iter().enumerate() {
        let body = format!("{{\"ts\":\"2026-01-01T00:00:00Z\",\"fields\":{line}}}");
        let tree = wire::decode(body.as_bytes(), Form::Json).expect("an event");
        let received = EventTime::parse("2026-01-01T00:00:00Z").expect("a time");
        let event = edge::to_event(tree, body.as_bytes(), &subject, received, &profiles).expect("an event");
        let mut hits = Vec::new();
        event_hits(rules, &event, &tenant, Position::new(1, 0), &mut memo, &mut hits);
        found.extend(hits.into_iter().map(|hit| (at, rules.rule(hit.rule).reference.id.clone())));
    }
    found
}
