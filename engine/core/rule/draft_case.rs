//! The shape of a case: events with relative times, and the incidents that must come of them.

use std::collections::HashMap;

use serde_json::{Map, Value};
use sightline_schemas::{EventTime, Severity, Status};

use crate::limits::{CASE_EVENTS_MAX, WINDOW_MAX_MICROS};
use crate::rule::case::{Case, Entry, Expected, Pieces, Sent, SetStatus};
use crate::rule::diagnostic::nearest;
use crate::rule::draft::Problems;
use crate::rule::tree::{Kind, Node};

/// The instant from which times count where a case names none: a Tuesday, at noon.
const BASE: &str = "2026-01-06T12:00:00Z";

/// Understands a file of cases.
pub(crate) fn file(root: &Node, problems: &mut Problems<'_>) -> Vec<Case> {
    if matches!(root.kind, Kind::Null) {
        return Vec::new();
    }
    let known = ["rule", "base", "tests"];
    let members = problems.members(root, "a file of tests", &known);
    let get = |name: &str| members.iter().find(|(key, _, _)| *key == name).map(|(_, _, value)| *value);
    let rule = get("rule").and_then(|node| problems.text(node, "rule"));
    let base = get("base").and_then(|node| base(node, problems));
    match get("tests") {
        Some(tests) => cases(tests, rule.as_deref(), base, problems),
        None => {
            let help = "write `tests:` with a list of cases";
            problems.error(&root.span, "a file of tests without `tests`", "this file", Some(help.into()));
            Vec::new()
        }
    }
}

/// Understands a list of cases of one rule, or of rules that they name themselves.
pub(crate) fn cases(
    node: &Node,
    rule: Option<&str>,
    base: Option<EventTime>,
    problems: &mut Problems<'_>,
) -> Vec<Case> {
    match &node.kind {
        Kind::List(items) => items.iter().filter_map(|item| case(item, rule, base, problems)).collect(),
        Kind::Null => Vec::new(),
        other => {
            let label = format!("expected a list, found {}", other.describe());
            problems.error(&node.span, "`tests` must be a list of cases", label, None);
            Vec::new()
        }
    }
}

pub(crate) const CASE_KEYS: [&str; 7] = ["name", "why", "rule", "base", "events", "end", "expect"];

fn case(
    node: &Node,
    rule: Option<&str>,
    file_base: Option<EventTime>,
    problems: &mut Problems<'_>,
) -> Option<Case> {
    let before = problems.all.len();
    let members = problems.members(node, "a test", &CASE_KEYS);
    let get = |name: &str| members.iter().find(|(key, _, _)| *key == name).map(|(_, _, value)| *value);
    let missing = |name: &str, help: &str, problems: &mut Problems<'_>| {
        let message = format!("a test without `{name}`");
        problems.error(&node.span, message, "this test", Some(help.to_owned()));
    };
    let name = get("name").and_then(|node| problems.text(node, "name"));
    if get("name").is_none() {
        missing("name", "say in a line what it shows", problems);
    }
    let own_rule = get("rule").and_then(|node| problems.text(node, "rule"));
    let rule = own_rule.or_else(|| rule.map(str::to_owned));
    if rule.is_none() {
        missing("rule", "name the rule here, or for all tests at the head of the file", problems);
    }
    let base = match get("base") {
        Some(node) => base(node, problems),
        None => file_base,
    };
    let base = base.unwrap_or_else(|| EventTime::parse(BASE).expect("a time that reads"));
    let input = match get("events") {
        Some(node) => Events { base, named: HashMap::new(), sent: 0 }.list(node, problems),
        None => {
            missing(
                "events",
                "write `events:` with a list of events, each with `at` and its fields",
                problems,
            );
            Vec::new()
        }
    };
    let end = get("end").and_then(|node| time(node, base, "end", problems));
    let rule = rule?;
    let expected = match get("expect") {
        Some(node) => expectations(node, &rule, problems),
        None => {
            missing("expect", "write `expect: none`, or a list of incidents", problems);
            Vec::new()
        }
    };
    let (file, span) = (problems.file, node.span.clone());
    // A case with errors would only mislead.
    (problems.all.len() == before)
        .then(|| Some(Case { file, span, name: name?, rule, base, input, end, expected }))
        .flatten()
}

fn base(node: &Node, problems: &mut Problems<'_>) -> Option<EventTime> {
    let text = problems.text(node, "base")?;
    match EventTime::parse(&text) {
        Ok(time) => Some(time),
        Err(error) => {
            problems.error(&node.span, "`base` must be a time", error.to_string(), None);
            None
        }
    }
}

/// `5m`, `+5m`, `-30s` from `base`, or a time in full.
fn time(node: &Node, base: EventTime, what: &str, problems: &mut Problems<'_>) -> Option<EventTime> {
    let text = problems.text(node, what)?;
    if let Ok(time) = EventTime::parse(&text) {
        return Some(time);
    }
    if matches!(text.trim(), "0" | "+0" | "-0") {
        return Some(base);
    }
    let (before, length) = match text.trim().strip_prefix('-') {
        Some(length) => (true, length),
        None => (false, text.trim().trim_start_matches('+')),
    };
    let length = Node { kind: length_kind(&node.kind, length), span: node.span.clone() };
    let micros = problems.duration(&length, what, WINDOW_MAX_MICROS)?;
    Some(if before { base.minus(micros) } else { base.plus(micros) })
}

/// A number stays one, so that a unit is asked for.
fn length_kind(written: &Kind, length: &str) -> Kind {
    match written {
        Kind::Int(number) => Kind::Int(number.abs()),
        _ => Kind::Text(length.to_owned()),
    }
}

/// What an entry of `events` says beside the members of the event.
const OWN_KEYS: [&str; 7] = ["at", "received", "as", "like", "times", "every", "tenant"];

struct Events {
    base: EventTime,
    /// The members of each event by its name.
    named: HashMap<String, Map<String, Value>>,
    sent: usize,
}

impl Events {
    fn list(mut self, node: &Node, problems: &mut Problems<'_>) -> Vec<Entry> {
        let Kind::List(items) = &node.kind else {
            let label = format!("expected a list, found {}", node.kind.describe());
            problems.error(&node.span, "`events` must be a list of events", label, None);
            return Vec::new();
        };
        let mut entries = Vec::new();
        for item in items {
            self.entry(item, &mut entries, problems);
            if entries.len() > CASE_EVENTS_MAX {
                let label = format!("at most {CASE_EVENTS_MAX}");
                problems.error(&item.span, "a test of too many events", label, None);
                break;
            }
        }
        entries
    }

    fn entry(&mut self, item: &Node, entries: &mut Vec<Entry>, problems: &mut Problems<'_>) {
        let Kind::Map(members) = &item.kind else {
            let label = format!("expected named values, found {}", item.kind.describe());
            let help = "write `- {at: 0s, source: edr, kind: logon, fields: {outcome: failure}}`";
            problems.error(&item.span, "this is no event", label, Some(help.into()));
            return;
        };
        if let Some(node) = item.member("tick") {
            problems.members(item, "a tick", &["tick"]);
            entries.extend(time(node, self.base, "tick", problems).map(Entry::Tick));
            return;
        }
        let is_event = ["source", "kind", "like"].iter().any(|name| item.member(name).is_some());
        if let (Some(status), false) = (item.member("status"), is_event) {
            entries.extend(self.status(item, status, problems).map(Entry::Status));
            return;
        }
        self.event(item, members, entries, problems);
    }

    fn status(&self, item: &Node, status: &Node, problems: &mut Problems<'_>) -> Option<SetStatus> {
        problems.members(item, "a status", &["status", "at", "resolution"]);
        let at = match item.member("at") {
            Some(node) => time(node, self.base, "at", problems)?,
            None => {
                let help = "say when, from the beginning of the test: `at: 3m`";
                problems.error(&item.span, "a status without `at`", "this one", Some(help.into()));
                return None;
            }
        };
        let word = problems.text(status, "status")?;
        if Status::parse(&word).is_none() {
            let known = Status::ALL.map(Status::as_str);
            let help = nearest(&word, known).map(|near| format!("did you mean `{near}`?"));
            let label = format!("expected one of {}", known.join(", "));
            problems.error(&status.span, format!("`{word}` is no status"), label, help);
            return None;
        }
        let resolution = item.member("resolution").and_then(|node| problems.text(node, "resolution"));
        Some(SetStatus { at, status: word, resolution })
    }

    fn event(
        &mut self,
        item: &Node,
        written: &[(Node, Node)],
        entries: &mut Vec<Entry>,
        problems: &mut Problems<'_>,
    ) {
        let Some(at) = item.member("at") else {
            let help = "say when it happens, from the beginning of the test: `at: 30s`";
            problems.error(&item.span, "an event without `at`", "this event", Some(help.into()));
            return;
        };
        let Some(at) = time(at, self.base, "at", problems) else { return };
        let received = match item.member("received") {
            Some(node) => match time(node, self.base, "received", problems) {
                Some(time) => Some(time),
                None => return,
            },
            None => None,
        };
        let mut members = Map::new();
        if let Some(like) = item.member("like") {
            let Some(name) = problems.text(like, "like") else { return };
            let Some(template) = self.named.get(&name) else {
                let known = self.named.keys().map(String::as_str);
                let help = nearest(&name, known).map_or_else(
                    || "name an event before it with `as: …`".to_owned(),
                    |near| format!("did you mean `{near}`?"),
                );
                let message = format!("no event before this one is called `{name}`");
                problems.error(&like.span, message, "not known", Some(help));
                return;
            };
            members = template.clone();
        }
        for (key, value) in written {
            let Some(name) = problems.text(key, "an event") else { return };
            if !OWN_KEYS.contains(&name.as_str()) {
                put(&mut members, name, json(value));
            }
        }
        if !members.contains_key("source") {
            let help = "say who reports it: `source: edr`";
            problems.error(&item.span, "an event without `source`", "this event", Some(help.into()));
            return;
        }
        self.sent += 1;
        let name = item.member("as").and_then(|node| problems.text(node, "as"));
        let name = name.unwrap_or_else(|| format!("event {}", self.sent));
        let tenant = item.member("tenant").and_then(|node| problems.text(node, "tenant"));
        let tenant = tenant.unwrap_or_else(|| "default".to_owned());
        self.named.insert(name.clone(), members.clone());
        let sent = Sent { name, at, received, tenant, members };
        self.repeat(item, sent, entries, problems);
    }

    /// As often as `times` says, `every` so much later, `{n}` in its texts being the number from 1.
    fn repeat(&self, item: &Node, sent: Sent, entries: &mut Vec<Entry>, problems: &mut Problems<'_>) {
        let every = match item.member("every") {
            Some(node) => match problems.duration(node, "every", WINDOW_MAX_MICROS) {
                Some(micros) => micros,
                None => return,
            },
            None => 0,
        };
        let Some(times) = item.member("times") else {
            if let Some(every) = item.member("every") {
                let help = "say how often with `times: 5`";
                problems.error(&every.span, "`every` without `times`", "of what?", Some(help.into()));
            }
            entries.push(Entry::Send(sent));
            return;
        };
        let most = u32::try_from(CASE_EVENTS_MAX).unwrap_or(u32::MAX);
        let Some(times) = problems.number(times, "times", 1, most) else { return };
        for n in 0..times {
            let later = every * i64::from(n);
            let mut one = sent.clone();
            one.name = format!("{}#{}", sent.name, n + 1);
            one.at = sent.at.plus(later);
            one.received = sent.received.map(|received| received.plus(later));
            one.members.values_mut().for_each(|value| number(value, n + 1));
            entries.push(Entry::Send(one));
        }
    }
}

/// Puts a member over what was there: null takes it away, and named values are put into named values.
fn put(members: &mut Map<String, Value>, name: String, value: Value) {
    match (members.get_mut(&name), value) {
        (_, Value::Null) => {
            members.remove(&name);
        }
        (Some(Value::Object(there)), Value::Object(new)) => {
            for (name, value) in new {
                put(there, name, value);
            }
        }
        (_, value) => {
            members.insert(name, value);
        }
    }
}

fn number(value: &mut Value, n: u32) {
    match value {
        Value::String(text) if text.contains("{n}") => *text = text.replace("{n}", &n.to_string()),
        Value::Array(items) => items.iter_mut().for_each(|item| number(item, n)),
        Value::Object(members) => members.values_mut().for_each(|member| number(member, n)),
        _ => {}
    }
}

/// A value as a producer would send it.
fn json(node: &Node) -> Value {
    match &node.kind {
        Kind::Null => Value::Null,
        Kind::Bool(flag) => Value::Bool(*flag),
        Kind::Int(number) => Value::from(*number),
        Kind::Float(number) => Value::from(*number),
        Kind::Text(text) => Value::from(text.as_str()),
        Kind::List(items) => items.iter().map(json).collect(),
        Kind::Named(list) => list.values.iter().map(String::as_str).collect(),
        Kind::Map(members) => {
            let pairs = members.iter().filter_map(|(key, value)| Some((key.scalar_text()?, json(value))));
            Value::Object(pairs.collect())
        }
    }
}

pub(crate) const EXPECTED_KEYS: [&str; 8] =
    ["rule", "key", "severity", "count", "status", "title", "evidence", "values"];

/// `none`, or incidents.
fn expectations(node: &Node, rule: &str, problems: &mut Problems<'_>) -> Vec<Expected> {
    match &node.kind {
        Kind::Text(word) if word == "none" => Vec::new(),
        Kind::List(items) => items.iter().filter_map(|item| expected(item, rule, problems)).collect(),
        Kind::Map(_) => expected(node, rule, problems).into_iter().collect(),
        other => {
            let label = format!("expected `none` or a list, found {}", other.describe());
            let help = "write `expect: none`, or `expect:` with one entry `- key: …` for each incident";
            problems.error(&node.span, "`expect` must name incidents", label, Some(help.into()));
            Vec::new()
        }
    }
}

fn expected(node: &Node, rule: &str, problems: &mut Problems<'_>) -> Option<Expected> {
    let members = problems.members(node, "an expected incident", &EXPECTED_KEYS);
    let mut expected = Expected { rule: rule.to_owned(), ..Expected::default() };
    for (name, _, value) in members {
        match name {
            "rule" => expected.rule = problems.text(value, name)?,
            "key" => expected.key = key(value, problems)?,
            "severity" => expected.severity = Some(severity(value, problems)?),
            "count" => expected.count = Some(problems.number(value, name, 0, u32::MAX)?.into()),
            "status" => {
                let word = problems.text(value, name)?;
                let Some((status, _)) = Status::parse(&word) else {
                    let label = format!("expected one of {}", Status::ALL.map(Status::as_str).join(", "));
                    problems.error(&value.span, format!("`{word}` is no status"), label, None);
                    return None;
                };
                expected.status = Some(status);
            }
            "title" => expected.title = Some(problems.text(value, name)?),
            "evidence" => expected.evidence = by_step(value, name, problems, pieces)?,
            _ => {
                let texts = |node: &Node, problems: &mut Problems<'_>| {
                    Some(problems.texts(node, "values").into_iter().map(|text| text.value).collect())
                };
                expected.values = by_step(value, name, problems, texts)?;
            }
        }
    }
    Some(expected)
}

/// `web-01`, `[web-01, alice]` or `{host_id: web-01, user: alice}`.
fn key(node: &Node, problems: &mut Problems<'_>) -> Option<Vec<(Option<String>, String)>> {
    match &node.kind {
        Kind::Map(members) => {
            let part = |(name, value): &(Node, Node), problems: &mut Problems<'_>| {
                Some((Some(problems.text(name, "key")?), problems.text(value, "key")?))
            };
            members.iter().map(|member| part(member, problems)).collect()
        }
        Kind::List(items) => items.iter().map(|item| Some((None, problems.text(item, "key")?))).collect(),
        _ => Some(vec![(None, problems.text(node, "key")?)]),
    }
}

fn severity(node: &Node, problems: &mut Problems<'_>) -> Option<Severity> {
    let word = problems.text(node, "severity")?;
    let known = Severity::ALL.into_iter().find(|severity| severity.as_str() == word);
    if known.is_none() {
        let names = Severity::ALL.map(Severity::as_str);
        let help = nearest(&word, names).map(|near| format!("did you mean `{near}`?"));
        let label = format!("expected one of {}", names.join(", "));
        problems.error(&node.span, format!("`{word}` is no severity"), label, help);
    }
    known
}

/// A number of events, or names of them.
fn pieces(node: &Node, problems: &mut Problems<'_>) -> Option<Pieces> {
    match &node.kind {
        Kind::Int(_) => Some(Pieces::Count(problems.number(node, "evidence", 0, u32::MAX)?.into())),
        _ => {
            let names = problems.texts(node, "evidence");
            Some(Pieces::Named(names.into_iter().map(|name| name.value).collect()))
        }
    }
}

/// Values by the names of steps.
fn by_step<T>(
    node: &Node,
    what: &str,
    problems: &mut Problems<'_>,
    value: impl Fn(&Node, &mut Problems<'_>) -> Option<T>,
) -> Option<Vec<(String, T)>> {
    let Kind::Map(members) = &node.kind else {
        let label = format!("expected steps by name, found {}", node.kind.describe());
        let help = format!("write `{what}: {{some_step: …}}`");
        problems.error(&node.span, format!("`{what}` speaks of steps"), label, Some(help));
        return None;
    };
    let mut found = Vec::new();
    for (name, of) in members {
        found.push((problems.text(name, what)?, value(of, problems)?));
    }
    Some(found)
}
