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
use crate::rule::diagnostic::{Diagnostic, Level, nearest};
use crate::rule::draft_step::step;
use crate::rule::plan::{KeyPart, Need};
use crate::rule::tree::{Kind, Node};

/// A value and where it stood.
#[derive(Clone, Debug)]
pub(crate) struct At<T> {
    pub(crate) value: T,
    pub(crate) span: Range<usize>,
}

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
    pub(crate) gap_max: Option<At<i64>>,
    /// Fields of the key by part name, where they are not the part's own name.
    pub(crate) by: Vec<(At<String>, Vec<Field>)>,
    pub(crate) shown: Vec<Field>,
}

#[derive(Clone, Debug)]
pub(crate) enum DraftInput {
    Events(Condition),
    Completions(At<String>),
}

/// Collects what is wrong in one file.
pub(crate) struct Problems<'d> {
    pub(crate) file: usize,
    pub(crate) all: &'d mut Vec<Diagnostic>,
}

impl Problems<'_> {
    pub(crate) fn error(
        &mut self,
        span: &Range<usize>,
        message: impl Into<String>,
        label: impl Into<String>,
        help: Option<String>,
    ) {
        self.all.push(Diagnostic {
            level: Level::Error,
            file: self.file,
            span: span.clone(),
            message: message.into(),
            label: label.into(),
            help,
        });
    }

    pub(crate) fn expected(&mut self, node: &Node, what: &str, expected: &str) {
        let label = format!("expected {expected}, found {}", node.kind.describe());
        self.error(&node.span, format!("`{what}` has a value that it cannot have"), label, None);
    }

    /// The members of a map, each key known and once.
    pub(crate) fn members<'n>(
        &mut self,
        node: &'n Node,
        what: &str,
        known: &[&str],
    ) -> Vec<(&'n str, &'n Node, &'n Node)> {
        let Kind::Map(members) = &node.kind else {
            self.expected(node, what, "named values");
            return Vec::new();
        };
        let mut found: Vec<(&str, &Node, &Node)> = Vec::new();
        for (key, value) in members {
            let Kind::Text(name) = &key.kind else {
                self.expected(key, what, "a name");
                continue;
            };
            if !known.contains(&name.as_str()) {
                let help = match nearest(name, known.iter().copied()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("known here: {}", known.join(", ")),
                };
                self.error(
                    &key.span,
                    format!("unknown key `{name}` in {what}"),
                    "not known here",
                    Some(help),
                );
            } else if found.iter().any(|(there, _, _)| there == name) {
                self.error(
                    &key.span,
                    format!("`{name}` stands twice in {what}"),
                    "the second one",
                    Some("leave one out".into()),
                );
            } else {
                found.push((name, key, value));
            }
        }
        found
    }

    pub(crate) fn text(&mut self, node: &Node, what: &str) -> Option<String> {
        let text = node.scalar_text();
        if text.is_none() {
            self.expected(node, what, "text");
        }
        text
    }

    /// One text or a list of texts.
    pub(crate) fn texts(&mut self, node: &Node, what: &str) -> Vec<At<String>> {
        let items = match &node.kind {
            Kind::List(items) => items.as_slice(),
            Kind::Named(list) => {
                let value = |value: &String| At { value: value.clone(), span: node.span.clone() };
                return list.values.iter().map(value).collect();
            }
            _ => std::slice::from_ref(node),
        };
        if items.is_empty() {
            self.error(
                &node.span,
                format!("`{what}` is an empty list"),
                "nothing can match it",
                Some("leave it out, or list a value".into()),
            );
        }
        let text = |problems: &mut Self, item: &Node| {
            problems.text(item, what).map(|value| At { value, span: item.span.clone() })
        };
        items.iter().filter_map(|item| text(self, item)).collect()
    }

    pub(crate) fn flag(&mut self, node: &Node, what: &str) -> Option<bool> {
        match node.kind {
            Kind::Bool(flag) => Some(flag),
            _ => {
                self.expected(node, what, "true or false");
                None
            }
        }
    }

    pub(crate) fn number(&mut self, node: &Node, what: &str, least: u32, most: u32) -> Option<u32> {
        match node.kind {
            Kind::Int(number) if (i64::from(least)..=i64::from(most)).contains(&number) => {
                u32::try_from(number).ok()
            }
            _ => {
                let label = format!("expected a number from {least} to {most}");
                self.error(&node.span, format!("`{what}` has a value that it cannot have"), label, None);
                None
            }
        }
    }

    /// A length of time in microseconds.
    pub(crate) fn duration(&mut self, node: &Node, what: &str, most: i64) -> Option<i64> {
        let written = node.scalar_text().unwrap_or_default();
        let problem = match (&node.kind, humantime::parse_duration(&written)) {
            (Kind::Int(number), _) => format!("a number without a unit: write `{number}s` or `{number}m`"),
            (Kind::Text(_), Ok(duration)) => match i64::try_from(duration.as_micros()) {
                Ok(micros) if micros <= most => return Some(micros),
                _ => format!(
                    "longer than {}: note that `M` means months and `m` minutes",
                    print_duration(most)
                ),
            },
            (Kind::Text(_), Err(error)) => format!("no length of time: {error}"),
            (other, _) => format!("expected a length of time, found {}", other.describe()),
        };
        self.error(
            &node.span,
            format!("`{what}` is no length of time that can be used"),
            problem,
            Some("write it as `30s`, `5m`, `1h 30m` or `7d`".into()),
        );
        None
    }

    pub(crate) fn field(&mut self, name: &At<String>) -> Option<Field> {
        match Field::parse(&name.value) {
            Ok(field) => Some(field),
            Err(problem) => {
                self.error(
                    &name.span,
                    "this is no field name",
                    problem,
                    Some("write it as `host_id`, `network.src_ip` or `fields.path`".into()),
                );
                None
            }
        }
    }

    pub(crate) fn fields(&mut self, node: &Node, what: &str) -> Vec<Field> {
        let names = self.texts(node, what);
        names.iter().filter_map(|name| self.field(name)).collect()
    }

    pub(crate) fn normal(&mut self, node: &Node) -> Option<Normal> {
        let name = self.text(node, "as")?;
        let known = Normal::NAMES.iter().find(|(known, _)| *known == name);
        if known.is_none() {
            let names: Vec<&str> = Normal::NAMES.iter().map(|(name, _)| *name).collect();
            self.error(
                &node.span,
                format!("`{name}` is no way to spell a key"),
                format!("expected one of {}", names.join(", ")),
                None,
            );
        }
        known.map(|(_, normal)| *normal)
    }
}

/// A duration in microseconds, as people write it.
pub fn print_duration(micros: i64) -> String {
    humantime::format_duration(std::time::Duration::from_micros(micros.unsigned_abs())).to_string()
}

const RULE_KEYS: [&str; 15] = [
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
    "on_rematch",
    "group",
    "by",
    "steps",
    "tests",
];

/// What can change without the remembered hits losing their meaning.
const PRESENTATION_KEYS: [&str; 6] = ["title", "description", "severity", "severity_mode", "tags", "show"];

/// Understands one rule; `None` where so much is wrong that nothing can be said of it together with others.
pub(crate) fn rule(node: &Node, problems: &mut Problems<'_>) -> Option<Draft> {
    let members = problems.members(node, "a rule", &RULE_KEYS);
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
    if let Some(rematch) = get("on_rematch")
        && rematch.scalar_text().as_deref() != Some("new")
    {
        problems.error(
            &rematch.span,
            "`on_rematch` has a value that it cannot have",
            "only `new` is known: a match after the end opens a new incident",
            None,
        );
    }
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
    let steps = steps(get("steps"), node, problems);
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
        ordered: ordered?,
        distinct_events: distinct_events.flatten(),
        group,
        by: by?,
        steps: steps?,
        whole: node.without("tests").canonical(&[]),
        meaning: node.without("tests").canonical(&PRESENTATION_KEYS),
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

fn severity(node: &Node, problems: &mut Problems<'_>) -> Option<Severity> {
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
    KeyPart { name: name.to_owned(), normal: Normal::by_name(name) }
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
                let members = problems.members(item, "a part of the key", &["name", "as"]);
                let get =
                    |name: &str| members.iter().find(|(key, _, _)| *key == name).map(|(_, _, value)| *value);
                let Some(name) = get("name") else {
                    problems.error(&item.span, "a part of the key without `name`", "this part", None);
                    return None;
                };
                let name = problems.text(name, "name")?;
                let normal = get("as").map_or(Some(Normal::by_name(&name)), |node| problems.normal(node))?;
                KeyPart { name, normal }
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
