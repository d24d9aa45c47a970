//! One recorded event, wherever it was read, and whether it is asked for.

use sightline_schemas::wire::{self, Form};
use sightline_schemas::{EventTime, Position, Value};

use crate::arguments::Arguments;
use crate::head::{Head, UNKNOWN_SOURCE};

/// An event as it was recorded.
#[derive(Debug, PartialEq, Eq)]
pub struct Recorded {
    /// Whose event it is.
    pub tenant: String,
    /// Who reports it.
    pub source: String,
    /// Its bytes, as they came.
    pub body: Vec<u8>,
    /// How they are written.
    pub form: Form,
    /// When it happened; `None` where it gives no time that can be read.
    pub occurred_at: Option<EventTime>,
    /// Where it stands in the stream that it is read from.
    pub position: Option<Position>,
}

impl Recorded {
    /// A line of a file; says too whether it names a source.
    pub fn line(tenant: &str, line: Vec<u8>) -> (Self, bool) {
        let head = Head::of(&line);
        let named = head.source.is_some();
        let recorded = Recorded {
            tenant: tenant.to_owned(),
            source: head.source.unwrap_or_else(|| UNKNOWN_SOURCE.to_owned()),
            body: line,
            form: Form::Json,
            occurred_at: head.occurred_at,
            position: None,
        };
        (recorded, named)
    }
}

/// Which events are asked for.
#[derive(Debug, Default)]
pub struct Selection {
    since: Option<EventTime>,
    until: Option<EventTime>,
    sources: Vec<String>,
    /// In lower case.
    entities: Vec<String>,
}

impl Selection {
    /// What the options ask for.
    pub fn of(arguments: &Arguments) -> Self {
        Selection {
            since: arguments.since,
            until: arguments.until,
            sources: arguments.source.clone(),
            entities: arguments.entity.iter().map(|entity| entity.to_lowercase()).collect(),
        }
    }

    /// Whether an event is asked for. One without a time that can be read is not, where times are.
    pub fn takes(&self, event: &Recorded) -> bool {
        if self.since.is_some() || self.until.is_some() {
            let Some(at) = event.occurred_at else { return false };
            if self.since.is_some_and(|since| at < since) || self.until.is_some_and(|until| at > until) {
                return false;
            }
        }
        if !self.sources.is_empty() && !self.sources.contains(&event.source) {
            return false;
        }
        self.entities.is_empty()
            || wire::decode(&event.body, event.form).is_ok_and(|value| self.names(&value))
    }

    /// Whether one of the entities stands anywhere in the value, as a whole.
    fn names(&self, value: &Value<'_>) -> bool {
        match value {
            Value::List(items) => items.iter().any(|item| self.names(item)),
            Value::Map(members) => members.iter().any(|(_, value)| self.names(value)),
            Value::Null => false,
            scalar => scalar.as_text().is_some_and(|text| {
                let text = text.trim().to_lowercase();
                self.entities.contains(&text)
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_asked_for_is_taken() {
        let line = br#"{"source":"edr","ts":"2026-05-08T12:00:00Z","host_id":"WS-07",
                       "entities":[{"type":"ip","value":"192.0.2.7"}],"fields":{"pid":4711}}"#;
        let (event, named) = Recorded::line("default", line.to_vec());
        assert!(named);
        let at = |text| Some(EventTime::parse(text).expect("a time"));
        let none = Selection::default;
        let entities = |entity: &str| Selection { entities: vec![entity.to_owned()], ..none() };
        let rows = [
            (none(), true),
            (
                Selection { since: at("2026-05-08T12:00:00Z"), until: at("2026-05-08T12:00:00Z"), ..none() },
                true,
            ),
            (Selection { since: at("2026-05-08T12:00:01Z"), ..none() }, false),
            (Selection { until: at("2026-05-08T11:59:59Z"), ..none() }, false),
            (Selection { sources: vec!["fim".to_owned(), "edr".to_owned()], ..none() }, true),
            (Selection { sources: vec!["fim".to_owned()], ..none() }, false),
            (entities("ws-07"), true),
            (entities("192.0.2.7"), true),
            (entities("4711"), true),
            (entities("192.0.2"), false),
        ];
        for (selection, expected) in rows {
            assert_eq!(selection.takes(&event), expected, "{selection:?}");
        }
        let (unread, _) = Recorded::line("default", b"no JSON".to_vec());
        assert!(none().takes(&unread));
        assert!(!entities("no json").takes(&unread));
        assert!(!Selection { since: Some(EventTime::MIN), ..none() }.takes(&unread));
    }
}
