//! The completion of a rule as an event, for conditions on it.

use std::borrow::Cow;

use sightline_schemas::{Class, Event, Severity, TimeSource, Value};

use crate::correlate::Completion;
use crate::hit::Brief;

/// What a condition sees of a completion: kind `rule:ID`, the rule's severity, the parts of its key and what its evidence
/// shows under `fields`.
pub(super) fn as_event<'c>(completion: &'c Completion, brief: &'c Brief, severity: Severity) -> Event<'c> {
    let fields = brief
        .fields
        .iter()
        .map(|field| (Cow::Borrowed(field.name.as_str()), Value::Str(Cow::Borrowed(field.value.as_str()))));
    Event {
        v: 1,
        id: completion.event,
        tenant: Cow::Borrowed(&completion.tenant),
        source: Cow::Borrowed(&brief.source),
        source_event_id: None,
        class: Class::Event,
        kind: Cow::Borrowed(&brief.kind),
        severity,
        severity_raw: None,
        occurred_at: completion.at,
        observed_at: None,
        received_at: completion.at,
        time_source: if completion.suspect { TimeSource::Suspect } else { TimeSource::Producer },
        host_id: brief.host_id.as_deref().map(Cow::Borrowed),
        user: brief.user.as_deref().map(Cow::Borrowed),
        actor: None,
        subject: None,
        object: None,
        network: None,
        device: None,
        entities: Vec::new(),
        title: brief.title.as_deref().map(Cow::Borrowed),
        description: None,
        tags: Vec::new(),
        fields: fields.collect(),
        attack: None,
        refs: None,
        producer: None,
    }
}
