//! Cases: what a rule's author says must come of some events. They stand in the rule under `tests`, or beside it in a file
//! `*.test.yaml`, and mean nothing to the rule itself.

use std::ops::Range;

use sightline_schemas::{EventTime, Severity, Status};

use crate::rule::diagnostic::{Diagnostic, Source};
use crate::rule::draft::Problems;
use crate::rule::draft_case;
use crate::rule::tree::{self, Kind};

/// Events in, incidents out.
#[derive(Clone, Debug)]
pub struct Case {
    /// The file it stands in, by its place in the list of files.
    pub file: usize,
    /// Where it stands there, in bytes.
    pub span: Range<usize>,
    /// The fact that it states.
    pub name: String,
    /// The rule that it is about.
    pub rule: String,
    /// The instant from which times count.
    pub base: EventTime,
    /// What is put into the log, in this order.
    pub input: Vec<Entry>,
    /// Log time at which the case ends; without it time goes on until nothing more can come.
    pub end: Option<EventTime>,
    /// The incidents that must be there at the end: all of them, none if empty.
    pub expected: Vec<Expected>,
}

/// One message of a case.
#[derive(Clone, Debug)]
pub enum Entry {
    /// An event.
    Send(Sent),
    /// Time passes, up to here.
    Tick(EventTime),
    /// Somebody sets the status of the newest incident of the rule.
    Status(SetStatus),
}

/// An event as a producer would send it.
#[derive(Clone, Debug)]
pub struct Sent {
    /// The name by which expectations know it.
    pub name: String,
    /// When it happened.
    pub at: EventTime,
    /// When the log received it, where that is not the same.
    pub received: Option<EventTime>,
    /// Whose it is.
    pub tenant: String,
    /// Its members.
    pub members: serde_json::Map<String, serde_json::Value>,
}

/// A status command.
#[derive(Clone, Debug)]
pub struct SetStatus {
    /// When.
    pub at: EventTime,
    /// The new status.
    pub status: String,
    /// How it ended.
    pub resolution: Option<String>,
}

/// An incident as it must be; what is left out is not asked.
#[derive(Clone, Debug, Default)]
pub struct Expected {
    /// The rule that names it.
    pub rule: String,
    /// Its key: values with the names of their parts, or in the order of the parts.
    pub key: Vec<(Option<String>, String)>,
    /// How bad.
    pub severity: Option<Severity>,
    /// How many events are evidence.
    pub count: Option<u64>,
    /// Where it stands.
    pub status: Option<Status>,
    /// Its title.
    pub title: Option<String>,
    /// What each step has: a number of events, or their names.
    pub evidence: Vec<(String, Pieces)>,
    /// The distinct values that a step counted.
    pub values: Vec<(String, Vec<String>)>,
}

/// The evidence of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pieces {
    /// So many events.
    Count(u64),
    /// These, by their names in the case.
    Named(Vec<String>),
}

/// Whether a file holds cases and no rules, by its name.
pub fn is_case_file(name: &str) -> bool {
    name.ends_with(".test.yaml") || name.ends_with(".test.yml")
}

/// The cases of these files: under `tests` in their rules, and whole files of them.
///
/// What is wrong with the rules themselves is [`check`](crate::rule::check)'s to say; here it is passed over.
pub fn cases(files: &[Source]) -> (Vec<Case>, Vec<Diagnostic>) {
    let (mut found, mut all) = (Vec::new(), Vec::new());
    for (file, source) in files.iter().enumerate() {
        let mut problems = Problems { file, all: &mut all };
        match (tree::read(&source.text), is_case_file(&source.name)) {
            (Ok(root), true) => found.extend(draft_case::file(&root, &mut problems)),
            (Ok(root), false) => {
                let rules = root.member("rules").map(|rules| &rules.kind);
                let Some(Kind::List(rules)) = rules else { continue };
                for rule in rules {
                    let id = rule.member("id").and_then(tree::Node::scalar_text);
                    if let (Some(id), Some(tests)) = (id, rule.member("tests")) {
                        found.extend(draft_case::cases(tests, Some(&id), None, &mut problems));
                    }
                }
            }
            // Of a rule file the checker says it.
            (Err(malformed), true) => {
                let message = "this is no YAML that can be used";
                problems.error(&malformed.span, message, malformed.message, None);
            }
            (Err(_), false) => {}
        }
    }
    all.sort_by_key(|problem| (problem.file, problem.span.start));
    (found, all)
}
