//! The shape of a rule's policies and notes.

use sightline_schemas::{EventTime, Resolution, Severity};

use crate::limits::{
    EVIDENCE_MAX, EXCEPTIONS_MAX, LISTED_VALUES_MAX, RAISES_MAX, TAGS_MAX, WINDOW_MAX_MICROS,
};
use crate::rule::draft::{At, Problems, severity};
use crate::rule::draft_match::condition;
use crate::rule::policy::{Exception, Grown, Notes, Policies, Raise, Rematch};
use crate::rule::tree::{Kind, Node};

/// The keys of a rule that are policies.
pub(crate) const POLICY_KEYS: [&str; 8] =
    ["severity_at", "coalesce", "suppress", "on_rematch", "keep_closed", "evidence", "generate", "except"];

/// The keys of a rule that are notes for people.
pub(crate) const NOTE_KEYS: [&str; 5] = ["attack", "references", "false_positives", "author", "status"];

type Members<'n> = [(&'n str, &'n Node, &'n Node)];

fn get<'n>(members: &Members<'n>, name: &str) -> Option<&'n Node> {
    members.iter().find(|(key, _, _)| *key == name).map(|(_, _, value)| *value)
}

/// Understands what a rule does about what it finds.
pub(crate) fn policies(members: &Members<'_>, problems: &mut Problems<'_>) -> Option<Policies> {
    let before = problems.all.len();
    let mut policies = Policies::default();
    for item in get(members, "severity_at").map(list).unwrap_or_default() {
        policies.raises.extend(raise(item, problems));
        if policies.raises.len() > RAISES_MAX {
            problems.error(&item.span, "too many thresholds", format!("at most {RAISES_MAX}"), None);
            break;
        }
    }
    if let Some(node) = get(members, "coalesce") {
        policies.coalesce = problems.duration(node, "coalesce", WINDOW_MAX_MICROS);
    }
    if let Some(node) = get(members, "suppress") {
        policies.suppress = suppress(node, problems).unwrap_or(0);
    }
    policies.rematch = rematch(members, problems).unwrap_or(Rematch::New);
    if let Some(node) = get(members, "evidence") {
        let inner = problems.members(node, "`evidence`", &["max"]);
        match get(&inner, "max") {
            Some(most) => {
                let most = problems.number(most, "max", 2, EVIDENCE_MAX).unwrap_or(2) as u8;
                policies.listed = (most.div_ceil(2), most / 2);
            }
            None => {
                let help = "write `evidence: {max: 50}`";
                problems.error(&node.span, "`evidence` without `max`", "this", Some(help.into()));
            }
        }
    }
    if let Some(node) = get(members, "generate") {
        policies.generate = problems.flag(node, "generate").unwrap_or(true);
    }
    for item in get(members, "except").map(list).unwrap_or_default() {
        policies.exceptions.extend(exception(item, problems));
        if policies.exceptions.len() > EXCEPTIONS_MAX {
            let help = "put their values into a named list, and ask for that in one exception";
            problems.error(
                &item.span,
                "too many exceptions",
                format!("at most {EXCEPTIONS_MAX}"),
                Some(help.into()),
            );
            break;
        }
    }
    (problems.all.len() == before).then_some(policies)
}

fn list(node: &Node) -> &[Node] {
    match &node.kind {
        Kind::List(items) => items,
        _ => std::slice::from_ref(node),
    }
}

/// `{events: 100, severity: high}`, `{step: users, values: 10, severity: critical}`.
fn raise(node: &Node, problems: &mut Problems<'_>) -> Option<Raise> {
    const GROWN: [&str; 7] = ["events", "matches", "hosts", "users", "sources", "score", "values"];
    let known = [GROWN.as_slice(), &["step", "severity"]].concat();
    let members = problems.members(node, "`severity_at`", &known);
    let grown: Vec<_> = members.iter().filter(|(name, _, _)| GROWN.contains(name)).collect();
    let ([(name, _, least)], Some(to)) = (grown.as_slice(), get(&members, "severity")) else {
        let help = "write `severity_at: [{events: 100, severity: high}]`";
        let label = "one of events, matches, hosts, users, sources, score, values; and a severity";
        problems.error(&node.span, "a threshold that says too much or too little", label, Some(help.into()));
        return None;
    };
    let listed = LISTED_VALUES_MAX as u32;
    let most = if matches!(*name, "events" | "matches" | "score") { u32::MAX } else { listed };
    let least = u64::from(problems.number(least, name, 1, most)?);
    let severity: Severity = severity(to, problems)?;
    let grown = match (*name, get(&members, "step")) {
        ("values", Some(step)) => Grown::Values(problems.text(step, "step")?),
        ("values", None) => {
            let help = "name the step that counts them: `{step: users, values: 10, severity: high}`";
            problems.error(&node.span, "`values` of which step?", "no `step`", Some(help.into()));
            return None;
        }
        ("events", _) => Grown::Events,
        ("matches", _) => Grown::Matches,
        ("hosts", _) => Grown::Hosts,
        ("users", _) => Grown::Users,
        ("sources", _) => Grown::Sources,
        _ => Grown::Score,
    };
    Some(Raise { grown, least, severity })
}

/// `1h`, or `{for: 1h}`.
fn suppress(node: &Node, problems: &mut Problems<'_>) -> Option<i64> {
    let Kind::Map(_) = node.kind else { return problems.duration(node, "suppress", WINDOW_MAX_MICROS) };
    let members = problems.members(node, "`suppress`", &["for", "by"]);
    if let Some(by) = get(&members, "by") {
        let help = "make this rule one of `generate: false`, and a rule of the other key on its completions, \
                    `steps: [{name: …, rule: …}]`, which has `suppress`";
        problems.error(&by.span, "`suppress` holds for the rule's own key", "another key", Some(help.into()));
    }
    match get(&members, "for") {
        Some(time) => problems.duration(time, "for", WINDOW_MAX_MICROS),
        None => {
            let help = "write `suppress: {for: 1h}`";
            problems.error(&node.span, "`suppress` without `for`", "for how long?", Some(help.into()));
            None
        }
    }
}

fn rematch(members: &Members<'_>, problems: &mut Problems<'_>) -> Option<Rematch> {
    let kept = get(members, "keep_closed");
    let reopens = match get(members, "on_rematch") {
        None => false,
        Some(node) => match problems.text(node, "on_rematch")?.as_str() {
            "new" => false,
            "reopen" => true,
            other => {
                problems.error(
                    &node.span,
                    format!("`on_rematch` cannot be `{other}`"),
                    "expected `new` (a match after the end opens another incident) or `reopen`",
                    None,
                );
                return None;
            }
        },
    };
    if let (false, Some(kept)) = (reopens, kept) {
        let help = "add `on_rematch: reopen`, or leave it out";
        problems.error(
            &kept.span,
            "`keep_closed` where nothing is reopened",
            "not needed",
            Some(help.into()),
        );
        return None;
    }
    if !reopens {
        return Some(Rematch::New);
    }
    let mut unless = Vec::new();
    for word in kept.map(|node| problems.texts(node, "keep_closed")).unwrap_or_default() {
        unless.extend(resolution(&word, problems));
    }
    Some(Rematch::Reopen { unless })
}

fn resolution(word: &At<String>, problems: &mut Problems<'_>) -> Option<Resolution> {
    const KNOWN: [(&str, Resolution); 6] = [
        ("fixed", Resolution::Fixed),
        ("false_positive", Resolution::FalsePositive),
        ("duplicate", Resolution::Duplicate),
        ("accepted", Resolution::Accepted),
        ("benign", Resolution::Benign),
        ("unspecified", Resolution::Unspecified),
    ];
    let known = KNOWN.iter().find(|(name, _)| *name == word.value);
    if known.is_none() {
        let names: Vec<&str> = KNOWN.iter().map(|(name, _)| *name).collect();
        let message = format!("`{}` is no resolution", word.value);
        problems.error(&word.span, message, format!("expected one of {}", names.join(", ")), None);
    }
    known.map(|(_, resolution)| *resolution)
}

/// `{match: {…}, reason: …, expires: 2026-12-31}`.
fn exception(node: &Node, problems: &mut Problems<'_>) -> Option<Exception> {
    let members = problems.members(node, "an exception", &["match", "reason", "expires"]);
    let (Some(wanted), Some(reason)) = (get(&members, "match"), get(&members, "reason")) else {
        let help = "write `except: [{match: {user: backup}, reason: nightly job, expires: 2026-12-31}]`";
        problems.error(&node.span, "an exception needs `match` and `reason`", "this one", Some(help.into()));
        return None;
    };
    let expires = match get(&members, "expires") {
        None => None,
        Some(node) => {
            let text = problems.text(node, "expires")?;
            // A day alone is its beginning, in UTC.
            let full = if text.len() == 10 { format!("{text}T00:00:00Z") } else { text };
            match EventTime::parse(&full) {
                Ok(time) => Some(time),
                Err(_) => {
                    let help = "write a day, `2026-12-31`, or a time with its zone, `2026-12-31T18:00:00Z`";
                    problems.error(&node.span, "`expires` is no time", "not understood", Some(help.into()));
                    return None;
                }
            }
        }
    };
    Some(Exception {
        condition: condition(wanted, problems)?,
        reason: problems.text(reason, "reason")?,
        expires,
    })
}

/// Understands what a rule says to people.
pub(crate) fn notes(members: &Members<'_>, problems: &mut Problems<'_>) -> Notes {
    let mut notes = Notes::default();
    if let Some(node) = get(members, "attack") {
        let inner = problems.members(node, "`attack`", &["tactics", "techniques"]);
        for (name, _, value) in inner {
            for id in problems.texts(value, name) {
                let shape =
                    if name == "tactics" { id.value.starts_with("TA") } else { id.value.starts_with('T') };
                if !shape || (name == "techniques" && id.value.starts_with("TA")) {
                    let label = "a tactic is like `TA0011`, a technique like `T1071` or `T1071.001`";
                    problems.error(&id.span, format!("`{}` is no id of `{name}`", id.value), label, None);
                }
                notes.attack.add(&id.value);
            }
        }
    }
    let mut texts = |name: &str| -> Vec<String> {
        let Some(node) = get(members, name) else { return Vec::new() };
        let texts = problems.texts(node, name);
        if texts.len() > TAGS_MAX {
            problems.error(&node.span, format!("too many `{name}`"), format!("at most {TAGS_MAX}"), None);
        }
        texts.into_iter().map(|text| text.value).collect()
    };
    notes.references = texts("references");
    notes.false_positives = texts("false_positives");
    notes.author = texts("author").into_iter().next();
    notes.status = texts("status").into_iter().next();
    notes
}
