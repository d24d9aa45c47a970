//! Plans: rules that are known to make sense. Only [`check`](crate::rule::check) makes a [`RuleSet`].

use std::collections::HashMap;
use std::fmt;

use sightline_schemas::control::EngineSettings;
use sightline_schemas::incident::{ScopeType, SeverityBasis};
use sightline_schemas::{Severity, incident::RuleRef};
use smallvec::SmallVec;

use crate::detect::Detector;
use crate::field::Field;
use crate::hit::RuleIndex;
use crate::key::{Key, Normal};
use crate::predicate::Condition;
use crate::rule::least::Least;
use crate::rule::policy::{Notes, Policies, Rematch};
use crate::rule::range::Range;
use crate::rule::template::{Name, filled};
use crate::rule::watch::Watch;

/// All rules in force together with the settings that can change a result.
#[derive(Debug)]
pub struct RuleSet {
    /// The rules, in the order of their files.
    pub rules: Vec<Rule>,
    /// The rules that share incidents, and those that share with none, each a unit.
    pub units: Vec<Unit>,
    /// The place of each unit by its id.
    pub unit_places: HashMap<String, usize>,
    /// The rules that take the same hits.
    pub watches: Vec<Watch>,
    /// The place of each watch by its id.
    pub watch_places: HashMap<String, usize>,
    /// Which steps an event satisfies.
    pub detector: Detector,
    /// How many rounds a batch takes: rules on events first, rules on their completions next.
    pub strata: u8,
    /// The settings.
    pub settings: EngineSettings,
    /// Whether they run over the past before they take effect: what they find is said to nobody.
    pub are_warming: bool,
}

/// Rules that share one incident for a key: a group, or a rule of its own.
#[derive(Debug)]
pub struct Unit {
    /// The group's name, or the rule's id.
    pub id: String,
    /// The group's name, if it is a group.
    pub group: Option<String>,
    /// Its rules, in order.
    pub rules: Vec<RuleIndex>,
    /// The longest window of its rules, in microseconds.
    pub window: i64,
    /// How far back from a moment its evidence can lie, in microseconds: the window, and how long something must not
    /// follow.
    pub span: i64,
    /// Moments no further apart than so many microseconds belong to one incident.
    pub gap: i64,
    /// No incident is opened for so many microseconds behind the last match of one that ended.
    pub suppress: i64,
    /// Least log time between two updates, in microseconds, where it is not the setting's.
    pub coalesce: Option<i64>,
    /// What a match after the end of an incident does.
    pub rematch: Rematch,
    /// How far behind a key's newest event something can still matter, in microseconds.
    pub reach: i64,
    /// How long a key without hits is remembered beyond the settings, in microseconds.
    pub memory: i64,
    /// Names and spelling of the key, the same for all its rules.
    pub by: Vec<KeyPart>,
    /// A hash of everything that the remembered state depends on.
    pub fingerprint: u64,
    /// Tells it, and what its hits mean, from any other one, in other sets of rules as well.
    pub number: u64,
}

/// One part of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyPart {
    /// Its name.
    pub name: String,
    /// How its values are spelt.
    pub normal: Normal,
    /// Whether an event without a value for it has a key all the same.
    pub optional: bool,
}

/// A rule.
#[derive(Debug)]
pub struct Rule {
    /// Its id and version.
    pub reference: RuleRef,
    /// One line for people.
    pub title: String,
    /// More for people.
    pub description: String,
    /// How bad a match is, at least.
    pub severity: Severity,
    /// Whether evidence can raise the severity.
    pub severity_basis: SeverityBasis,
    /// Labels.
    pub tags: Vec<String>,
    /// What it does about what it finds.
    pub policies: Policies,
    /// What people want to know of it.
    pub notes: Notes,
    /// All evidence of a match lies within this many microseconds.
    pub window: i64,
    /// When the rule is complete.
    pub pattern: Pattern,
    /// When it says so.
    pub timing: Timing,
    /// How late an event may arrive and still count in any order, in microseconds. What it builds on may come later than
    /// events do, which is part of it.
    pub late: i64,
    /// Its steps.
    pub steps: Vec<Step>,
    /// What its incidents are about.
    pub scope: ScopeType,
    /// Its unit.
    pub unit: usize,
    /// Its place in the unit.
    pub member: u8,
    /// 0 for a rule on events, 1 for one on their completions, and so on.
    pub stratum: u8,
    /// The steps of other rules that its completions are hits of.
    pub feeds: Vec<Feed>,
    /// What it cannot do without.
    pub least: Least,
    /// The rules that it shares its hits with, if there are any: the place of their watch.
    pub watch: Option<u32>,
}

/// A step of another rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Feed {
    /// The rule.
    pub rule: RuleIndex,
    /// Its step.
    pub step: u8,
}

/// When a rule is complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// Every step has what it needs within the window, in any order.
    AllOf {
        /// Whether one event could satisfy two steps and must not: then every step takes events of its own.
        distinct_events: bool,
    },
    /// One step after the other within the window. Events of one instant count as in order.
    Sequence {
        /// The places to fill; a step that needs three events takes three places.
        places: Vec<Place>,
        /// Whether one event could satisfy two steps.
        overlapping: bool,
        /// What must not happen before, after and all along.
        bounds: Bounds,
    },
}

impl Pattern {
    /// Whether a step is there to show that the source of another one is alive: it is no part of what the rule finds.
    pub fn is_witness(&self, step: usize) -> bool {
        let Pattern::Sequence { bounds, .. } = self else { return false };
        let witnesses = bounds.after.iter().filter_map(|after| after.silence);
        witnesses.map(|silence| usize::from(silence.witness)).any(|witness| witness == step)
    }
}

/// What must not happen around a sequence.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    /// Steps that must not happen for so many microseconds before the first place.
    pub before: Vec<(u8, i64)>,
    /// Steps that must not follow the last place.
    pub after: Vec<After>,
    /// The step that ends a sequence which has begun.
    pub until: Option<u8>,
}

/// A step that must not follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct After {
    /// The step.
    pub step: u8,
    /// For so many microseconds.
    pub within: i64,
    /// How to know that it would have been reported.
    pub silence: Option<Silence>,
}

/// How to judge that whoever would report a step is silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Silence {
    /// The step that anything from there satisfies.
    pub witness: u8,
    /// Whether the rule speaks all the same.
    pub say: bool,
}

/// One place of a sequence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The step whose hits can stand here.
    pub step: u8,
    /// Least microseconds since the place before.
    pub gap_min: i64,
    /// Most microseconds since the place before, if limited.
    pub gap_max: Option<i64>,
    /// Steps that must not happen since the place before.
    pub unless: SmallVec<[u8; 2]>,
}

impl Place {
    /// Of a step, anywhere behind the place before.
    pub fn of(step: u8) -> Self {
        Place { step, gap_min: 0, gap_max: None, unless: SmallVec::new() }
    }

    /// Whether the place before must not be just anywhere before.
    pub fn is_limited(&self) -> bool {
        self.gap_min > 0 || self.gap_max.is_some() || !self.unless.is_empty()
    }
}

/// A step of a rule.
#[derive(Debug)]
pub struct Step {
    /// Its name.
    pub name: String,
    /// What can satisfy it.
    pub input: Input,
    /// Of completions, those of which this holds.
    pub only: Option<Condition>,
    /// How much of that it takes.
    pub need: Need,
    /// For each part of the key, the fields that hold its value; more than one where any of them will do.
    pub keys: Vec<Vec<Field>>,
    /// The field whose distinct values are counted, or whose numbers are measured.
    pub counted: Option<(Field, Normal)>,
    /// The fields that evidence shows.
    pub shown: Vec<Field>,
    /// What it asks of events, as one text.
    pub asks: String,
    /// Steps of the same number make the same keys of an event.
    pub keyed_as: u32,
    /// Steps of the same number show the same of an event.
    pub shown_as: u32,
}

impl Step {
    /// What the number must be that is read of it: of a step that measures, or that limits what it counts. Of any other one
    /// it is enough to know how many events or values there are.
    pub fn read(&self) -> Option<&Range> {
        match &self.need {
            Need::Measure(_, range) => Some(range),
            // More than enough can be too much: then "20 of 3" tells nobody anything.
            Need::Events(range) | Need::Values(range) => Some(range).filter(|range| !range.is_open_above()),
            Need::New(_) | Need::Nothing => None,
        }
    }

    /// What is read, for people: `sum of bytes_out`.
    pub fn read_as(&self) -> String {
        let field = self.counted.as_ref().map(|(field, _)| field.name()).unwrap_or_default();
        match &self.need {
            Need::Measure(measure, _) => format!("{measure} of {field}"),
            Need::Values(_) | Need::New(_) => format!("number of values of {field}"),
            Need::Events(_) | Need::Nothing => "number of events".to_owned(),
        }
    }
}

/// What can satisfy a step.
#[derive(Debug)]
pub enum Input {
    /// Events of which this holds.
    Events(Condition),
    /// Completions of another rule.
    Completions(RuleIndex),
}

/// How much a step takes of its events in the window.
#[derive(Clone, Debug, PartialEq)]
pub enum Need {
    /// So many events.
    Events(Range),
    /// So many distinct values of the counted field.
    Values(Range),
    /// This much, measured over the numbers in the counted field.
    Measure(Measure, Range),
    /// A value of the counted field that the key has not had for a while.
    New(Novelty),
    /// Nothing: such an event speaks against the rule, or for its source being alive.
    Nothing,
}

/// What is measured over numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Measure {
    /// Their sum, to six decimal places.
    Sum,
    /// Their average.
    Average,
    /// The smallest.
    Min,
    /// The largest.
    Max,
    /// The middle one; between two, half of their sum.
    Median,
    /// The number so many percent of the way from the smallest to the largest, in order; between two, in proportion.
    Percentile(f64),
}

impl fmt::Display for Measure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Measure::Sum => out.write_str("sum"),
            Measure::Average => out.write_str("average"),
            Measure::Min => out.write_str("smallest"),
            Measure::Max => out.write_str("largest"),
            Measure::Median => out.write_str("median"),
            Measure::Percentile(percent) => write!(out, "{percent}th percentile"),
        }
    }
}

/// When a value counts as new to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Novelty {
    /// Nothing is new until the key has been watched for so many microseconds.
    pub learn: i64,
    /// A value not seen for more than so many microseconds is new again.
    pub forget: i64,
}

impl Need {
    /// So many events or more.
    pub fn events(least: u32) -> Self {
        Need::Events(Range::at_least(least))
    }

    /// So many distinct values or more.
    pub fn values(least: u32) -> Self {
        Need::Values(Range::at_least(least))
    }

    /// The least number of events, or of values, that can do.
    pub fn threshold(&self) -> u32 {
        match self {
            Need::Events(range) | Need::Values(range) => range.least_count(),
            Need::Measure(..) | Need::New(_) => 1,
            Need::Nothing => 0,
        }
    }

    /// Whether a further event can never undo it.
    pub fn only_grows(&self) -> bool {
        match self {
            Need::Events(range) | Need::Values(range) => range.is_open_above(),
            Need::Measure(..) | Need::New(_) | Need::Nothing => false,
        }
    }
}

/// When a rule says what it found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timing {
    /// With the last piece of evidence: no further event can undo it.
    AtOnce,
    /// When nothing can come any more that would undo it.
    Settled {
        /// Microseconds after the moment's last event at which the moment itself lies.
        wait: i64,
    },
}

impl Rule {
    /// Its title, as far as the key alone tells.
    pub fn title_for(&self, key: &Key, by: &[KeyPart]) -> String {
        filled(&self.title, |name| match name {
            Name::Key(part) => {
                let at = by.iter().position(|known| known.name == *part)?;
                key.values().nth(at).map(ToString::to_string)
            }
            _ => None,
        })
    }
}

impl RuleSet {
    /// The rule at that place.
    pub fn rule(&self, index: RuleIndex) -> &Rule {
        &self.rules[index.get()]
    }

    /// The unit of that rule.
    pub fn unit_of(&self, index: RuleIndex) -> &Unit {
        &self.units[self.rule(index).unit]
    }

    /// The unit of that id.
    pub fn unit_by_id(&self, id: &str) -> Option<&Unit> {
        self.unit_places.get(id).map(|at| &self.units[*at])
    }

    /// The watch of that id.
    pub fn watch_by_id(&self, id: &str) -> Option<&Watch> {
        self.watch_places.get(id).map(|at| &self.watches[*at])
    }

    /// The rules that take the hits of a rule: it alone, or all rules of its watch.
    pub fn takers(&self, index: RuleIndex) -> SmallVec<[RuleIndex; 1]> {
        match self.rule(index).watch {
            Some(watch) => SmallVec::from_slice(&self.watches[watch as usize].rules),
            None => SmallVec::from_slice(&[index]),
        }
    }
}
