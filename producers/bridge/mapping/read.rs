//! From the text of a mapping file to a checked mapping, or to everything that is wrong with it.

use std::fmt;

use serde_json::Value;

use super::path::Path;
use super::slots::{one_of, slots};
use super::tree::{self, Kind, Node};
use super::{Case, Format, Mapping, Pattern, Slots};

/// Something that is wrong with a mapping, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file.
    pub file: String,
    /// The line, from 1.
    pub line: u64,
    /// What is wrong, and what to write instead.
    pub what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}: {}", self.file, self.line, self.what)
    }
}

/// Collects what is wrong, so that all of it is said at once.
#[derive(Default)]
pub(super) struct Problems(Vec<(u64, String)>);

impl Problems {
    pub(super) fn add(&mut self, line: u64, what: impl Into<String>) {
        self.0.push((line, what.into()));
    }

    /// The members of a map of which each name is one of `known`.
    pub(super) fn members<'n>(
        &mut self,
        node: &'n Node,
        what: &str,
        known: &[&str],
    ) -> Vec<(&'n str, &'n Node)> {
        let Kind::Map(members) = &node.kind else {
            self.add(node.line, format!("{what} must be named values, and is {}", node.describe()));
            return Vec::new();
        };
        let mut taken = Vec::new();
        for (name, value) in members {
            if known.contains(&name.as_str()) {
                taken.push((name.as_str(), value));
            } else {
                self.add(value.line, format!("{what} has no `{name}`: {}", one_of(name, known)));
            }
        }
        taken
    }

    pub(super) fn path(&mut self, node: &Node) -> Option<Path> {
        let Some(text) = node.text() else {
            self.add(
                node.line,
                format!("expected a path such as process.name, and this is {}", node.describe()),
            );
            return None;
        };
        match Path::parse(&text) {
            Ok(path) => Some(path),
            Err(why) => {
                self.add(node.line, why);
                None
            }
        }
    }

    /// One path or a list of them.
    pub(super) fn paths(&mut self, node: &Node) -> Vec<Path> {
        match &node.kind {
            Kind::List(items) => items.iter().filter_map(|item| self.path(item)).collect(),
            _ => self.path(node).into_iter().collect(),
        }
    }

    fn flag(&mut self, node: &Node, name: &str) -> bool {
        if let Kind::Scalar(Value::Bool(flag)) = node.kind {
            return flag;
        }
        self.add(node.line, format!("`{name}` must be true or false"));
        false
    }
}

/// Reads a mapping. `file` is named in what is said; `name` is what the mapping is called.
///
/// # Errors
/// All that is wrong with it.
pub fn read(file: &str, name: &str, text: &str) -> Result<Mapping, Vec<Problem>> {
    let place = |(line, what)| Problem { file: file.to_owned(), line, what };
    let root = tree::read(text).map_err(|wrong| vec![place(wrong)])?;
    let mut problems = Problems::default();
    let mapping = mapping(name, &root, &mut problems);
    if problems.0.is_empty() {
        return Ok(mapping);
    }
    problems.0.sort();
    Err(problems.0.into_iter().map(place).collect())
}

fn mapping(name: &str, root: &Node, problems: &mut Problems) -> Mapping {
    let mut mapping = Mapping {
        name: name.to_owned(),
        about: String::new(),
        format: Format::Json,
        records: None,
        pass: false,
        personal: false,
        base: Slots::default(),
        cases: Vec::new(),
    };
    const KNOWN: [&str; 8] = ["about", "format", "columns", "records", "pass", "personal", "event", "cases"];
    let mut columns = None;
    for (member, node) in problems.members(root, "a mapping", &KNOWN) {
        match member {
            "about" => mapping.about = node.text().unwrap_or_default(),
            "format" => mapping.format = format(node, problems),
            "columns" => columns = Some((node.line, problems.paths(node))),
            "records" => mapping.records = problems.path(node),
            "pass" => mapping.pass = problems.flag(node, "pass"),
            "personal" => mapping.personal = problems.flag(node, "personal"),
            "event" => mapping.base = slots(node, problems),
            _ => mapping.cases = cases(node, problems),
        }
    }
    if let Some((line, names)) = columns {
        match &mut mapping.format {
            Format::Csv(columns) => columns.extend(names.iter().map(|name| name.as_str().to_owned())),
            _ => problems.add(line, "`columns` belong to `format: csv`"),
        }
    }
    if mapping.about.is_empty() {
        problems.add(root.line, "`about` is missing: say in a line whose records these are");
    }
    let names_source = |slots: &Slots| slots.single.iter().any(|(slot, _)| *slot == "source");
    if !names_source(&mapping.base)
        && (mapping.cases.is_empty()
            || !mapping.cases.iter().all(|case| case.skip.is_some() || names_source(&case.slots)))
    {
        problems.add(root.line, "`event.source` is missing: it names the subject that the events go to");
    }
    let has = |slot: &str| {
        let in_slots = |slots: &Slots| slots.single.iter().any(|(name, _)| *name == slot);
        in_slots(&mapping.base) || mapping.cases.iter().any(|case| in_slots(&case.slots))
    };
    if has("observed_at") && !has("occurred_at") {
        problems.add(
            root.line,
            "`observed_at` without `occurred_at`: it would be taken for the time at which it happened. Say which \
             field holds that, or leave both out",
        );
    }
    mapping
}

fn format(node: &Node, problems: &mut Problems) -> Format {
    const KNOWN: [&str; 5] = ["json", "auditd", "syslog", "csv", "text"];
    match node.text().as_deref() {
        Some("json") => Format::Json,
        Some("auditd") => Format::Auditd,
        Some("syslog") => Format::Syslog,
        Some("csv") => Format::Csv(Vec::new()),
        Some("text") => Format::Text,
        other => {
            let given = other.unwrap_or_default();
            problems.add(node.line, format!("no such format `{given}`: {}", one_of(given, &KNOWN)));
            Format::Json
        }
    }
}

fn cases(node: &Node, problems: &mut Problems) -> Vec<Case> {
    let Kind::List(items) = &node.kind else {
        problems.add(node.line, "`cases` must be a list; the first whose `when` holds is taken");
        return Vec::new();
    };
    let mut cases: Vec<Case> = Vec::new();
    for item in items {
        let mut case = Case { when: Vec::new(), skip: None, slots: Slots::default() };
        for (member, node) in problems.members(item, "a case", &["when", "skip", "event"]) {
            match member {
                "when" => case.when = when(node, problems),
                "skip" => case.skip = Some(node.text().unwrap_or_default()),
                _ => case.slots = slots(node, problems),
            }
        }
        if case.skip.as_ref().is_some_and(String::is_empty) {
            problems.add(item.line, "`skip` says in words why such records are left out");
        }
        if cases.last().is_some_and(|before| before.when.is_empty()) {
            problems.add(
                item.line,
                "this case is never taken: the one before it has no `when` and takes everything",
            );
        }
        cases.push(case);
    }
    cases
}

fn when(node: &Node, problems: &mut Problems) -> Vec<(Path, Vec<Pattern>)> {
    let Kind::Map(members) = &node.kind else {
        problems.add(node.line, "`when` must be paths with what each must be, such as `event_type: alert`");
        return Vec::new();
    };
    let pattern = |node: &Node| match &node.kind {
        Kind::Scalar(Value::Null) => Some(Pattern::Absent),
        Kind::Scalar(_) => node.text().map(Pattern::Glob),
        Kind::List(_) | Kind::Map(_) => None,
    };
    let mut tests = Vec::new();
    for (name, value) in members {
        let path = match Path::parse(name) {
            Ok(path) => path,
            Err(why) => {
                problems.add(value.line, why);
                continue;
            }
        };
        let patterns: Option<Vec<Pattern>> = match &value.kind {
            Kind::List(items) => items.iter().map(pattern).collect(),
            _ => pattern(value).map(|pattern| vec![pattern]),
        };
        match patterns {
            Some(patterns) if !patterns.is_empty() => tests.push((path, patterns)),
            _ => problems.add(
                value.line,
                format!("`{name}` must be a value, a list of values, `\"*\"` for any, or null for none"),
            ),
        }
    }
    tests
}
