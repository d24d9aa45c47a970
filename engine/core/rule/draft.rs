//! The shape of one rule, understood by itself: every key known, every value of the right sort. What concerns several
//! rules is for [`check`](crate::rule::check).

use std::ops::Range;

use sightline_schemas::Severity;
use sightline_schemas::incident::SeverityBasis;

use crate::field::Field;
use crate::key::Normal;
use crate::limits::{
    DESCRIPTION_BYTES_MAX, KEY_PARTS_MAX, STEPS_MAX, TAGS_MAX, TITLE_BYTES_MAX, WINDOW_DEFAULT_MICROS,
    WINDOW_MAX_MICROS, WINDOW_MIN_MICROS,
};
use crate::predicate::Condition;
use crate::rule::diagnostic::nearest;
use crate::rule::draft_policy::{NOTE_KEYS, POLICY_KEYS, notes, policies};
use crate::rule::draft_step::{step, until};
use crate::rule::draft_text::check_names;
use crate::rule::plan::{KeyPart, Need};
use crate::rule::policy::{Notes, Policies};
pub use crate::rule::problems::print_duration;
pub(crate) use crate::rule::problems::{At, Problems};
use crate::rule::tree::{Kind, Node, Saying};

/// A rule as its file states it.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    pub(crate) file: usize,
    pub(crate) id: At<String>,
    pub(crate) title: String,
    pub(crate) description: String,
    pub(crate) severity: Severity,
    pub(crate) severity_basis: SeverityBasis,
    pub(crate) window: At<i64>,
    pub(crate) late: Option<i64>,
    pub(crate) tags: Vec<String>,
    pub(crate) policies: Policies,
    pub(crate) notes: Notes,
    pub(crate) ordered: bool,
    pub(crate) distinct_events: Option<bool>,
    pub(crate) group: Option<At<String>>,
    pub(crate) by: At<Vec<KeyPart>>,
    pub(crate) steps: Vec<DraftStep>,
    /// Everything the rule says, and the part of it that decides what its hits mean.
    pub(crate) whole: String,
    pub(crate) meaning: String,
}

/// A step as its rule states it.
#[derive(Clone, Debug)]
pub(crate) struct DraftStep {
    pub(crate) name: At<String>,
    pub(crate) input: DraftInput,
    pub(crate) need: At<Need>,
    pub(crate) counted: Option<(Field, Normal)>,
    pub(crate) gap_min: Option<At<i64>>,
    pub(crate) gap_max: Option<At<i64>>,
    /// What part it plays.
    pub(crate) role: Role,
    /// Of completions of another rule, those of which this holds.
    pub(crate) only: Option<Condition>,
    /// Fields of the key by part name, where they are not the part's own name.
    pub(crate) by: Vec<(At<String>, Vec<Field>)>,
    pub(crate) shown: Vec<Field>,
    /// What it asks of events, as one text that does not depend on layout or comments.
    pub(crate) asks: String,
}

/// What part a step plays.
#[derive(Clone, Debug)]
pub(crate) enum Role {
    /// It must happen.
    Place,
    /// It must not happen at that place of the order.
    Absent(Box<DraftAbsence>),
    /// It ends a sequence that has begun.
    Until,
    /// Anything that shows that whoever reports another step is alive.
    Witness,
}

/// A step that must not happen.
#[derive(Clone, Debug)]
pub(crate) struct DraftAbsence {
    pub(crate) span: Range<usize>,
    pub(crate) within: Option<At<i64>>,
    /// What to do where its source is silent, if it is said.
    pub(crate) if_silent: Option<At<IfSilent>>,
    /// What shows that its source is alive, where it is not its `source`.
    pub(crate) alive: Option<At<Condition>>,
}

/// What to do where whoever would report a step is silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IfSilent {
    /// Say it, marked as unknown.
    Say,
    /// Say nothing, and count it.
    Drop,
    /// Do not ask.
    Ignore,
}

impl DraftStep {
    /// A step that takes one event, or one completion, and says nothing else.
    pub(crate) fn new(name: At<String>, input: DraftInput) -> Self {
        let need = At { value: Need::events(1), span: name.span.clone() };
        let (counted, gap_min, gap_max, only) = (None, None, None, None);
        let (by, shown, role) = (Vec::new(), Vec::new(), Role::Place);
        let asks = String::new();
        DraftStep { name, input, need, counted, gap_min, gap_max, role, only, by, shown, asks }
    }

    /// Whether it must happen.
    pub(crate) fn is_place(&self) -> bool {
        matches!(self.role, Role::Place)
    }
}

#[derive(Clone, Debug)]
pub(crate) enum DraftInput {
    Events(Condition),
    Completions(At<String>),
}

pub(crate) const RULE_KEYS: [&str; 15] = [
    "id",
    "title",
    "description",
    "severity",
    "severity_mode",
    "window",
    "late",
    "tags",
    "ordered",
    "distinct_events",
    "group",
    "by",
    "steps",
    "until",
    "tests",
];

/// What the engine does not read.
const UNREAD_KEYS: [&str; 1] = ["tests"];

/// What can change without the remembered hits losing their meaning, beside policies and notes.
const PRESENTATION_KEYS: [&str; 7] =
    ["title", "description", "severity", "severity_mode", "tags", "tests", "show"];

/// The rule as one text that does not depend on layout or comments, some of its own and of its steps' members left out.
fn canonical(rule: &Node, skip: &[&str], saying: Saying) -> String {
    let Kind::Map(members) = &rule.kind else { return rule.canonical(saying) };
    let mut out = String::new();
    let skipped = |key: &Node| matches!(&key.kind, Kind::Text(name) if skip.contains(&name.as_str()));
    // In the order of their names: the order of the file is layout.
    let mut members: Vec<_> = members.iter().filter(|(key, _)| !skipped(key)).collect();
    members.sort_by_key(|(key, _)| key.scalar_text());
    for (key, value) in members {
        out.push_str(&key.canonical(saying));
        match &value.kind {
            Kind::List(steps) if matches!(&key.kind, Kind::Text(name) if name == "steps") => {
                steps.iter().for_each(|step| out.push_str(&canonical(step, skip, saying)));
            }
            _ => out.push_str(&value.canonical(saying)),
        }
        out.push(';');
    }
    out
}

/// Understands one rule; `None` where so much is wrong that nothing can be said of it together with others.
pub(crate) fn rule(node: &Node, problems: &mut Problems<'_>) -> Option<Draft> {
    let known = [RULE_KEYS.as_slice(), &POLICY_KEYS, &NOTE_KEYS].concat();
    let members = problems.members(node, "a rule", &known);
    let get = |name: &str| members.iter().find(|(key, _, _)| *key == name).map(|(_, _, value)| *value);
    let id = get("id").and_then(|node| id(node, problems));
    if id.is_none() && get("id").is_none() {
        problems.error(&node.span, "a rule without `id`", "this rule", Some("add `id: some_name`".into()));
    }
    let text = |problems: &mut Problems<'_>, name| get(name).and_then(|node| problems.text(node, name));
    let title = text(problems, "title");
    let description = text(problems, "description").unwrap_or_default();
    let severity = get("severity").map_or(Some(Severity::Low), |node| severity(node, problems));
    let severity_basis =
        get("severity_mode").map_or(Some(SeverityBasis::Rule), |node| severity_mode(node, problems));
    let window = match get("window") {
        None => Some(At { value: WINDOW_DEFAULT_MICROS, span: node.span.clone() }),
        Some(window) => problems
            .duration(window, "window", WINDOW_MAX_MICROS)
            .map(|value| At { value, span: window.span.clone() }),
    };
    if let Some(window) = window.as_ref().filter(|window| window.value < WINDOW_MIN_MICROS) {
        problems.error(
            &window.span,
            "a window in which nothing fits",
            format!("at least {}", print_duration(WINDOW_MIN_MICROS)),
            None,
        );
    }
    let late = get("late").map(|node| problems.duration(node, "late", WINDOW_MAX_MICROS));
    let flag = |problems: &mut Problems<'_>, name| get(name).map(|node| problems.flag(node, name));
    let ordered = flag(problems, "ordered").unwrap_or(Some(false));
    let distinct_events = flag(problems, "distinct_events");
    let policies = policies(&members, problems);
    let notes = notes(&members, problems);
    let group = get("group")
        .and_then(|node| problems.text(node, "group").map(|value| At { value, span: node.span.clone() }));
    let by = match get("by") {
        None => Some(At { value: vec![part("host_id")], span: node.span.clone() }),
        Some(by) => key_parts(by, problems).map(|value| At { value, span: by.span.clone() }),
    };
    bounded(get("title"), title.as_deref(), TITLE_BYTES_MAX, problems);
    bounded(get("description"), Some(&description), DESCRIPTION_BYTES_MAX, problems);
    let tags = get("tags").map(|node| problems.texts(node, "tags")).unwrap_or_default();
    if tags.len() > TAGS_MAX {
        problems.error(&node.span, format!("{} tags", tags.len()), format!("at most {TAGS_MAX}"), None);
    }
    let mut steps = steps(get("steps"), node, problems);
    if let Some(until) = get("until").and_then(|node| until(node, problems))
        && let Some(steps) = &mut steps
    {
        steps.push(until);
    }
    if let (Some(by), Some(steps)) = (&by, &steps) {
        for (name, text) in [("title", title.as_deref()), ("description", Some(description.as_str()))] {
            if let (Some(node), Some(text)) = (get(name), text) {
                check_names(node, text, &by.value, steps, problems);
            }
        }
    }
    let id = id?;
    Some(Draft {
        file: problems.file,
        title: title.unwrap_or_else(|| id.value.clone()),
        id,
        description,
        severity: severity?,
        severity_basis: severity_basis?,
        window: window?,
        late: late.flatten(),
        tags: tags.into_iter().map(|tag| tag.value).collect(),
        policies: policies?,
        notes,
        ordered: ordered?,
        distinct_events: distinct_events.flatten(),
        group,
        by: by?,
        steps: steps?,
        whole: canonical(node, &UNREAD_KEYS, Saying::Whole),
        meaning: canonical(
            node,
            &[PRESENTATION_KEYS.as_slice(), &POLICY_KEYS, &NOTE_KEYS].concat(),
            Saying::Meaning,
        ),
    })
}

/// What goes with every message must not be too long.
fn bounded(node: Option<&Node>, text: Option<&str>, most: usize, problems: &mut Problems<'_>) {
    if let (Some(node), Some(text)) = (node, text)
        && text.len() > most
    {
        let message = format!("a text of {} bytes", text.len());
        problems.error(&node.span, message, format!("at most {most}: it goes with every message"), None);
    }
}

fn id(node: &Node, problems: &mut Problems<'_>) -> Option<At<String>> {
    let value = problems.text(node, "id")?;
    let fine = !value.is_empty()
        && value.len() <= 100
        && value.chars().all(|letter| letter.is_ascii_alphanumeric() || "_-.".contains(letter));
    if !fine {
        problems.error(
            &node.span,
            format!("{value:?} cannot be an id"),
            "letters, digits, `_`, `-` and `.`, at most 100 of them",
            None,
        );
        return None;
    }
    Some(At { value, span: node.span.clone() })
}

pub(crate) fn severity(node: &Node, problems: &mut Problems<'_>) -> Option<Severity> {
    let word = problems.text(node, "severity")?;
    let known = Severity::ALL.into_iter().find(|severity| severity.as_str() == word);
    let known = known.or((word == "informational").then_some(Severity::Info));
    if known.is_none() {
        let names = Severity::ALL.map(Severity::as_str);
        let help = nearest(&word, names).map(|near| format!("did you mean `{near}`?"));
        problems.error(
            &node.span,
            format!("`{word}` is no severity"),
            format!("expected one of {}", names.join(", ")),
            help,
        );
    }
    known
}

fn severity_mode(node: &Node, problems: &mut Problems<'_>) -> Option<SeverityBasis> {
    match problems.text(node, "severity_mode")?.as_str() {
        "rule" => Some(SeverityBasis::Rule),
        "max" => Some(SeverityBasis::Max),
        other => {
            problems.error(
                &node.span,
                format!("`{other}` is no severity mode"),
                "expected `rule` (as the rule says) or `max` (the highest of its evidence)",
                None,
            );
            None
        }
    }
}

fn part(name: &str) -> KeyPart {
    KeyPart { name: name.to_owned(), normal: Normal::by_name(name), optional: false }
}

/// `host_id`, `[host_id, user]`, or parts written out as `{name: site, as: value}`.
fn key_parts(node: &Node, problems: &mut Problems<'_>) -> Option<Vec<KeyPart>> {
    let items = match &node.kind {
        Kind::List(items) => items.as_slice(),
        _ => std::slice::from_ref(node),
    };
    if items.len() > KEY_PARTS_MAX {
        problems.error(&node.span, "a key of too many parts", format!("at most {KEY_PARTS_MAX}"), None);
        return None;
    }
    let mut parts: Vec<KeyPart> = Vec::new();
    for item in items {
        let new = match &item.kind {
            Kind::Map(_) => {
                let members = problems.members(item, "a part of the key", &["name", "as", "optional"]);
                let get =
                    |name: &str| members.iter().find(|(key, _, _)| *key == name).map(|(_, _, value)| *value);
                let Some(name) = get("name") else {
                    problems.error(&item.span, "a part of the key without `name`", "this part", None);
                    return None;
                };
                let name = problems.text(name, "name")?;
                let normal = get("as").map_or(Some(Normal::by_name(&name)), |node| problems.normal(node))?;
                let optional = match get("optional") {
                    None => false,
                    Some(node) => problems.flag(node, "optional")?,
                };
                KeyPart { name, normal, optional }
            }
            _ => part(&problems.text(item, "by")?),
        };
        if parts.iter().any(|there| there.name == new.name) {
            problems.error(
                &item.span,
                format!("`{}` is part of the key twice", new.name),
                "the second one",
                None,
            );
            return None;
        }
        parts.push(new);
    }
    Some(parts)
}

fn steps(node: Option<&Node>, rule: &Node, problems: &mut Problems<'_>) -> Option<Vec<DraftStep>> {
    let help = "write `steps:` with one entry `- name: …` and `match: …` for each thing that must happen";
    let Some(node) = node else {
        problems.error(&rule.span, "a rule without `steps`", "this rule", Some(help.into()));
        return None;
    };
    let Kind::List(items) = &node.kind else {
        problems.expected(node, "steps", "a list");
        return None;
    };
    if items.is_empty() {
        problems.error(&node.span, "a rule without steps", "this list is empty", Some(help.into()));
        return None;
    }
    if items.len() > STEPS_MAX {
        problems.error(
            &node.span,
            format!("a rule of {} steps", items.len()),
            format!("at most {STEPS_MAX}"),
            None,
        );
        return None;
    }
    let steps: Vec<Option<DraftStep>> = items.iter().map(|item| step(item, problems)).collect();
    for (at, step) in steps.iter().enumerate() {
        let Some(step) = step else { continue };
        if steps[..at].iter().flatten().any(|earlier| earlier.name.value == step.name.value) {
            problems.error(
                &step.name.span,
                format!("two steps are named `{}`", step.name.value),
                "the second one",
                Some("evidence names its step: give each a name of its own".into()),
            );
        }
    }
    steps.into_iter().collect()
}
