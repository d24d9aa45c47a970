//! Both readers of an event agree: the one that leaves the payload unread, and the one that makes a tree first.

use proptest::prelude::*;
use sightline_schemas::edge::{self, Draft, Reject};
use sightline_schemas::source::SourceProfiles;
use sightline_schemas::subject::EventSubject;
use sightline_schemas::wire::{self, Form};
use sightline_schemas::{Event, EventId, EventTime};

fn subject() -> EventSubject {
    EventSubject { tenant: "acme".to_owned(), source: "edr".to_owned() }
}

fn by_tree<'a>(raw: &'a [u8], subject: &'a EventSubject) -> Result<Event<'a>, Reject> {
    let tree = wire::decode(raw, Form::Json)?;
    edge::to_event(tree, raw, subject, received(), &SourceProfiles::default())
}

fn by_draft<'a>(raw: &'a [u8], subject: &'a EventSubject) -> Result<Event<'a>, Reject> {
    let draft = Draft::read(raw, Form::Json)?;
    let mut event = draft.into_event(subject, received(), &SourceProfiles::default())?;
    event.id = EventId::of(&event, raw);
    Ok(event)
}

fn received() -> EventTime {
    EventTime::parse("2026-05-08T12:00:00Z").expect("a time")
}

#[track_caller]
fn agree(raw: &[u8]) {
    let subject = subject();
    let (tree, draft) = (by_tree(raw, &subject), by_draft(raw, &subject));
    assert_eq!(tree, draft, "{}", String::from_utf8_lossy(raw));
    // Every member is read now; what is written of it must be the same, too.
    if let (Ok(tree), Ok(draft)) = (tree, draft) {
        let text = |event: &Event<'_>| serde_json::to_string(event).expect("events are plain data");
        assert_eq!(text(&tree), text(&draft));
    }
}

/// Names of the event itself, of other systems, and of nobody.
const NAMES: [&str; 30] = [
    "v",
    "id",
    "tenant",
    "source",
    "source_event_id",
    "sourceAlertId",
    "class",
    "kind",
    "category",
    "severity",
    "occurred_at",
    "ts",
    "observed_at",
    "host_id",
    "hostname",
    "user",
    "device",
    "network",
    "entities",
    "title",
    "tags",
    "fields",
    "properties",
    "received_at",
    "phishScore",
    "x",
    "",
    "a b",
    "ü",
    "\\u0061",
];

fn scalar() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        Just("1".to_owned()),
        any::<i64>().prop_map(|number| number.to_string()),
        any::<f64>().prop_map(|number| format!("{number}")),
        any::<u64>().prop_map(|number| number.to_string()),
        "-?[0-9]{1,3}(\\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?",
        Just("\"edr\"".to_owned()),
        Just("\"acme\"".to_owned()),
        Just("\"high\"".to_owned()),
        Just("\"alert\"".to_owned()),
        Just("\"2026-05-08T11:59:00.5Z\"".to_owned()),
        "[ -~]{0,12}".prop_map(|text| format!("{text:?}")),
        "\\PC{0,6}".prop_map(|text| serde_json::to_string(&text).expect("a text")),
        r#"(\\["\\/bfnrt]|\\u00[0-9a-f]{2}|\\u[dD][0-9a-fA-F]{3}|[a-z]){0,20}"#
            .prop_map(|text| format!("\"{text}\"")),
    ]
}

fn value() -> impl Strategy<Value = String> {
    scalar().prop_recursive(3, 24, 5, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4)
                .prop_map(|items| format!("[{}]", items.join(" ,"))),
            object(inner),
        ]
    })
}

fn object(value: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    let member = (proptest::sample::select(&NAMES[..]), value, "[ \n\t\r]{0,2}");
    proptest::collection::vec(member, 0..8).prop_map(|members| {
        let members: Vec<String> = members
            .into_iter()
            .map(|(name, value, blank)| format!("{blank}\"{name}\"{blank}:{blank}{value}"))
            .collect();
        format!("{{{}}}", members.join(","))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn whatever_an_object_holds(raw in object(value())) {
        agree(raw.as_bytes());
    }

    #[test]
    fn also_where_it_is_damaged(
        raw in object(value()),
        at in any::<prop::sample::Index>(),
        byte in prop_oneof![any::<u8>(), proptest::sample::select(&b"\"\\{}[],:0-.eu \x00\x1f\x7f\x80\xff"[..])],
        cut in any::<bool>(),
    ) {
        let mut raw = raw.into_bytes();
        let at = at.index(raw.len());
        if cut { raw.truncate(at) } else { raw[at] = byte }
        agree(&raw);
    }
}

#[test]
fn the_limits_are_the_same() {
    let nested = |depth: usize| format!("{{\"x\":{}1{}}}", "[".repeat(depth), "]".repeat(depth));
    for depth in [30, 31, 32, 33] {
        agree(nested(depth).as_bytes());
    }
    for values in [9_990, 9_998, 9_999, 10_000, 10_001] {
        agree(format!("{{\"x\":[{}]}}", vec!["1"; values].join(",")).as_bytes());
        agree(format!("{{\"fields\":{{\"x\":[{}]}}}}", vec!["1"; values].join(",")).as_bytes());
    }
    for number in
        ["-0", "0", "00", "01", "-", "1.", ".5", "9223372036854775807", "9223372036854775808", "1e400", "1e5"]
    {
        agree(format!("{{\"x\":{number}}}").as_bytes());
    }
}
