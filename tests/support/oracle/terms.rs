//! What the oracle knows of rules and events: the words in which random ones are made.

use std::collections::{BTreeMap, BTreeSet};

use sightline_schemas::{EventId, Severity};

use super::moments::Hit;

/// A rule.
#[derive(Clone, Debug)]
pub struct Rule {
    pub id: String,
    pub severity: Severity,
    /// Whether the evidence decides the severity.
    pub severity_max: bool,
    /// In seconds.
    pub window: i64,
    pub ordered: bool,
    pub distinct_events: bool,
    pub group: Option<String>,
    /// Fields that make the key.
    pub by: Vec<&'static str>,
    /// Those of them that may be missing: the key has nothing there then.
    pub optional: Vec<&'static str>,
    /// For how long nothing is said behind an incident that ended, and how far apart moments of one may lie, in seconds.
    pub suppress: i64,
    /// What matches after the end of an incident do.
    pub rematch: Rematch,
    /// Whether there are incidents, or only completions.
    pub generate: bool,
    /// From how many on of what an incident has the severity is raised.
    pub raises: Vec<(Grown, usize, Severity)>,
    /// Least seconds between two updates of an incident, where it is not the setting's.
    pub coalesce: Option<i64>,
    /// How many pieces of evidence of a step are listed, where the rule says so.
    pub listed: Option<usize>,
    /// Events of which one of these holds are nothing to the rule.
    pub exceptions: Vec<Exception>,
    pub steps: Vec<Step>,
    /// What ends a sequence that has begun: events of this kind.
    pub until: Option<&'static str>,
}

/// What matches after the end of an incident do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rematch {
    /// They open another.
    New,
    /// They open it again; one that was resolved without a word stays closed, if that is said.
    Reopen { unless_unspecified: bool },
}

/// What an incident has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grown {
    Events,
    Matches,
    Hosts,
    Users,
    Sources,
    Score,
    /// Distinct values that this step of the rule counts.
    Values(usize),
}

impl Grown {
    /// As a rule calls it.
    pub fn name(self) -> &'static str {
        match self {
            Grown::Events => "events",
            Grown::Matches => "matches",
            Grown::Hosts => "hosts",
            Grown::Users => "users",
            Grown::Sources => "sources",
            Grown::Score => "score",
            Grown::Values(_) => "values",
        }
    }
}

/// Events of which all of this holds are nothing to a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exception {
    pub kind: Option<&'static str>,
    pub tagged: bool,
    /// A value of `b`.
    pub b: Option<&'static str>,
    /// From this second on it holds no longer.
    pub expires: Option<i64>,
}

impl Exception {
    pub(super) fn holds(self, event: &Event) -> bool {
        self.expires.is_none_or(|expires| event.at < expires)
            && self.kind.is_none_or(|kind| event.kind == kind)
            && (!self.tagged || event.tagged)
            && self.b.is_none_or(|value| event.fields.get("b") == Some(&value))
    }
}

/// What an event of that severity weighs.
pub(super) fn weight(severity: Severity) -> usize {
    match severity {
        Severity::Info => 1,
        Severity::Low => 5,
        Severity::Medium => 10,
        Severity::High => 20,
        Severity::Critical => 40,
    }
}

/// Which completions satisfy a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Only {
    /// Those with this value in this part of their key, or those without.
    pub part: &'static str,
    pub value: &'static str,
    pub negated: bool,
}

impl Only {
    pub(super) fn holds(self, fields: &BTreeMap<String, String>) -> bool {
        fields.get(self.part).is_some_and(|value| value == self.value) != self.negated
    }
}

/// A step of a rule.
#[derive(Clone, Debug)]
pub struct Step {
    pub name: String,
    /// Kinds of events that satisfy it, any if there are none.
    pub kinds: Vec<&'static str>,
    /// Whether the event must carry the tag `t`.
    pub tagged: bool,
    /// The rule whose completions satisfy it, instead of events.
    pub of_rule: Option<usize>,
    /// Of these completions, which.
    pub only: Option<Only>,
    pub need: Need,
    /// Least and most seconds since the step before.
    pub gap_min: i64,
    pub gap: Option<i64>,
    /// It must not happen: for so many seconds, where it comes first or last.
    pub absent: Option<i64>,
    /// The kinds of events that show that whoever would report it is alive, and whether silence is said.
    pub alive: Option<(&'static str, bool)>,
    /// The field that makes a part of the key here, where it is not the part's own.
    pub key_from: BTreeMap<&'static str, &'static str>,
}

/// How much a step takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Need {
    Count(Wanted),
    /// Distinct values of the field `v`.
    Distinct(Wanted),
    /// A measure of the field `n`, and what it must be.
    Measure(Measure, Wanted),
    /// A value of `v` not seen for so many seconds, after so many seconds of learning.
    New {
        learn: i64,
        forget: i64,
    },
}

/// What a number must be: all of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Wanted(pub [Option<(Compare, f64)>; 2]);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    Sum,
    Avg,
    Min,
    Max,
    Median,
    Percentile(u32),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compare {
    Gte,
    Gt,
    Lte,
    Lt,
    Eq,
    Neq,
}

impl Wanted {
    /// So many or more.
    pub fn from(least: usize) -> Self {
        Wanted([Some((Compare::Gte, least as f64)), None])
    }

    /// The conditions, one by one.
    pub fn all(self) -> impl Iterator<Item = (Compare, f64)> {
        self.0.into_iter().flatten()
    }

    fn holds(self, number: f64) -> bool {
        self.all().all(|(compare, than)| compare.holds(number, than))
    }

    /// Of what is counted there must be something.
    fn counts(self, count: usize) -> bool {
        count > 0 && self.holds(count as f64)
    }

    /// The least number, from 1 on, that is not too small.
    pub(super) fn least(self) -> usize {
        let least = |(compare, than): (Compare, f64)| match compare {
            Compare::Gte | Compare::Eq => than as usize,
            Compare::Gt => than as usize + 1,
            Compare::Lte | Compare::Lt | Compare::Neq => 1,
        };
        self.all().map(least).max().unwrap_or(1).max(1)
    }

    /// Whether enough can be too much.
    pub fn is_limited(self) -> bool {
        self.all().any(|(compare, _)| !matches!(compare, Compare::Gte | Compare::Gt))
    }
}

impl Need {
    /// The field without whose value an event is no candidate.
    pub(super) fn field(self) -> Option<&'static str> {
        match self {
            Need::Count(_) => None,
            Need::Distinct(_) | Need::New { .. } => Some("v"),
            Need::Measure(..) => Some("n"),
        }
    }

    /// Whether further events can undo it.
    pub(super) fn can_be_undone(self) -> bool {
        match self {
            Need::Count(wanted) | Need::Distinct(wanted) => wanted.is_limited(),
            Need::Measure(..) | Need::New { .. } => true,
        }
    }

    pub(super) fn holds(self, hits: &[&Hit]) -> bool {
        match self {
            Need::Count(wanted) => wanted.counts(hits.len()),
            Need::Distinct(wanted) => wanted.counts(values(hits)),
            Need::Measure(measure, wanted) => measure.of(hits).is_some_and(|found| wanted.holds(found)),
            Need::New { .. } => unreachable!("asked of single hits"),
        }
    }

    /// What the hits come to, where it takes more than enough of them to tell.
    pub(super) fn read(self, hits: &[&Hit]) -> Option<f64> {
        match self {
            Need::Count(wanted) => wanted.is_limited().then_some(hits.len() as f64),
            Need::Distinct(wanted) => wanted.is_limited().then_some(values(hits) as f64),
            Need::Measure(measure, _) => measure.of(hits),
            Need::New { .. } => None,
        }
    }
}

/// How many distinct values of `v` they have.
fn values(hits: &[&Hit]) -> usize {
    hits.iter().map(|hit| &hit.fields["v"]).collect::<BTreeSet<_>>().len()
}

impl Measure {
    fn of(self, hits: &[&Hit]) -> Option<f64> {
        let number = |hit: &&Hit| hit.fields["n"].parse().expect("`n` is a number");
        let mut numbers: Vec<f64> = hits.iter().map(number).collect();
        numbers.sort_by(f64::total_cmp);
        let (first, last) = (*numbers.first()?, *numbers.last()?);
        let along = |share: f64| {
            let place = share * (numbers.len() - 1) as f64 / 100.0;
            let (below, above) = (numbers[place.floor() as usize], numbers[place.ceil() as usize]);
            below + (above - below) * place.fract()
        };
        Some(match self {
            Measure::Sum => numbers.iter().sum(),
            Measure::Avg => numbers.iter().sum::<f64>() / numbers.len() as f64,
            Measure::Min => first,
            Measure::Max => last,
            Measure::Median => along(50.0),
            Measure::Percentile(percent) => along(f64::from(percent)),
        })
    }
}

impl Compare {
    /// As a rule calls it.
    pub fn name(self) -> &'static str {
        match self {
            Compare::Gte => "gte",
            Compare::Gt => "gt",
            Compare::Lte => "lte",
            Compare::Lt => "lt",
            Compare::Eq => "eq",
            Compare::Neq => "neq",
        }
    }

    fn holds(self, number: f64, than: f64) -> bool {
        match self {
            Compare::Gte => number >= than,
            Compare::Gt => number > than,
            Compare::Lte => number <= than,
            Compare::Lt => number < than,
            Compare::Eq => number == than,
            Compare::Neq => number != than,
        }
    }
}

/// An event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub tenant: &'static str,
    pub source: &'static str,
    pub number: u32,
    pub kind: &'static str,
    pub tagged: bool,
    pub severity: Severity,
    /// In seconds.
    pub at: i64,
    /// `a`, of which an event can have several, and `b`, `v`, `host_id`, `user`.
    pub a: Vec<&'static str>,
    pub fields: BTreeMap<&'static str, &'static str>,
}

impl Event {
    /// The id that the event's own key gives it.
    pub fn id(&self) -> EventId {
        EventId::from_source_key(self.tenant, self.source, &self.number.to_string())
    }

    pub(super) fn values(&self, field: &str) -> Vec<&'static str> {
        if field == "a" { self.a.clone() } else { self.fields.get(field).copied().into_iter().collect() }
    }
}
