//! The slow, obvious engine: every answer is worked out anew from all hits of a key, by the definition.
//!
//! * A *moment* is a hit with which a rule is complete within the window that ends there. For a sequence, complete means
//!   that some chain of hits, one for each place, in order of time, ends with it; all chains are tried.
//! * Where a further event could undo a moment, all events of its instant belong to it.
//! * An *incident* is a run of moments of which none is further than the window of its unit from the one before.
//! * When an incident ends, the events that are its evidence are gone for its unit and key.
//!
//! It shares nothing with the engine but the types of the messages.

use std::collections::{BTreeMap, BTreeSet};

use sightline_schemas::incident::StepExplain;
use sightline_schemas::{EventId, EventTime, IncidentId, Severity};

use super::outcome::Summary;

/// Pieces of evidence of a step that an incident lists at either end.
const LISTED_AT_EITHER_END: usize = 12;

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
    pub steps: Vec<Step>,
    /// What ends a sequence that has begun: events of this kind.
    pub until: Option<&'static str>,
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
    Count(Between),
    /// Distinct values of the field `v`.
    Distinct(Between),
    /// A measure of the field `n`, and what it must be.
    Measure(Measure, Compare, f64),
    /// A value of `v` not seen for so many seconds, after so many seconds of learning.
    New {
        learn: i64,
        forget: i64,
    },
}

/// From so many on, up to so many if limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Between {
    pub least: usize,
    pub most: Option<usize>,
}

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
    Lt,
    Eq,
}

impl Between {
    /// So many or more.
    pub fn from(least: usize) -> Self {
        Between { least, most: None }
    }

    fn holds(self, count: usize) -> bool {
        count >= self.least && self.most.is_none_or(|most| count <= most)
    }
}

impl Need {
    /// The field without whose value an event is no candidate.
    fn field(self) -> Option<&'static str> {
        match self {
            Need::Count(_) => None,
            Need::Distinct(_) | Need::New { .. } => Some("v"),
            Need::Measure(..) => Some("n"),
        }
    }

    /// Whether further events can undo it.
    fn can_be_undone(self) -> bool {
        match self {
            Need::Count(between) | Need::Distinct(between) => between.most.is_some(),
            Need::Measure(..) | Need::New { .. } => true,
        }
    }

    fn holds(self, hits: &[&Hit]) -> bool {
        match self {
            Need::Count(between) => between.holds(hits.len()),
            Need::Distinct(between) => {
                between.holds(hits.iter().map(|hit| &hit.fields["v"]).collect::<BTreeSet<_>>().len())
            }
            Need::Measure(measure, compare, than) => {
                let number = |hit: &&Hit| hit.fields["n"].parse().expect("`n` is a number");
                measure.of(hits.iter().map(number).collect()).is_some_and(|found| compare.holds(found, than))
            }
            Need::New { .. } => unreachable!("asked of single hits"),
        }
    }
}

impl Measure {
    fn of(self, mut numbers: Vec<f64>) -> Option<f64> {
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
    fn holds(self, number: f64, than: f64) -> bool {
        match self {
            Compare::Gte => number >= than,
            Compare::Lt => number < than,
            Compare::Eq => number == than,
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

/// An event, or the completion of a rule, satisfies a step for a key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Hit {
    at: i64,
    event: EventId,
    rule: usize,
    step: usize,
    source: String,
    severity: Severity,
    fields: BTreeMap<String, String>,
}

type Stamp = (i64, EventId);

/// The hits that end a sequence, and those that show that the source of a step is alive, beside those of the steps.
const UNTIL: usize = 1_000;
const ALIVE: usize = 2_000;

/// A place of a sequence.
#[derive(Clone, Debug)]
struct SeqPlace {
    step: usize,
    least: i64,
    most: Option<i64>,
    unless: Vec<usize>,
}

/// What a moment comes of.
#[derive(Clone, Debug)]
struct Complete {
    by: Stamp,
    evidence: BTreeSet<Hit>,
    /// Steps that did not follow: which, from when to when, and whether nobody knows.
    absences: Vec<(usize, i64, i64, bool)>,
}

impl Complete {
    fn of(by: Stamp, evidence: BTreeSet<Hit>) -> Self {
        Complete { by, evidence, absences: Vec::new() }
    }
}

/// When a rule of a unit is complete, and which one.
type Moment = (Stamp, usize);

impl Hit {
    fn stamp(&self) -> Stamp {
        (self.at, self.event)
    }
}

/// Names the hits that incidents come of: tenant, unit of rules, key.
type PlaceName = (String, String, Vec<String>);

#[derive(Clone, Debug, Default)]
struct Place {
    hits: Vec<Hit>,
    spent: BTreeSet<EventId>,
    ended: Vec<(i64, i64, Summary)>,
}

/// A run of moments.
struct Incident {
    first: i64,
    last: i64,
    summary: Summary,
    evidence: BTreeSet<EventId>,
}

/// What is known after some of a history.
#[derive(Debug)]
pub struct Oracle<'r> {
    rules: &'r [Rule],
    places: BTreeMap<PlaceName, Place>,
}

impl Event {
    /// The id that the event's own key gives it.
    pub fn id(&self) -> EventId {
        EventId::from_source_key(self.tenant, self.source, &self.number.to_string())
    }

    fn values(&self, field: &str) -> Vec<&'static str> {
        if field == "a" { self.a.clone() } else { self.fields.get(field).copied().into_iter().collect() }
    }
}

impl Rule {
    fn unit(&self) -> &str {
        self.group.as_ref().unwrap_or(&self.id)
    }

    /// Whether a further event can undo a moment: then everything of its instant belongs to it.
    pub fn can_be_undone(&self) -> bool {
        self.until.is_some()
            || self.steps.iter().any(|step| step.absent.is_some() || step.need.can_be_undone())
    }

    /// How far back from a moment its evidence can lie.
    fn span(&self) -> i64 {
        let followers = if self.ordered { self.absent(true) } else { Vec::new() };
        self.window + followers.into_iter().map(|(_, within)| within).max().unwrap_or(0)
    }

    /// For each place of a sequence its step, the least and the most seconds since the place before, and the steps that
    /// must not happen since then.
    fn places(&self) -> Vec<SeqPlace> {
        let mut places = Vec::new();
        let mut unless = Vec::new();
        for (at, step) in self.steps.iter().enumerate() {
            if step.absent.is_some() {
                unless.push(at);
                continue;
            }
            let Need::Count(Between { least, most: None }) = step.need else {
                panic!("a sequence takes events")
            };
            let own = SeqPlace {
                step: at,
                least: step.gap_min,
                most: step.gap,
                unless: std::mem::take(&mut unless),
            };
            let further = SeqPlace { step: at, least: 0, most: None, unless: Vec::new() };
            places.push(own);
            places.extend((1..least).map(|_| further.clone()));
        }
        places[0].unless.clear();
        places
    }

    /// The steps that must not happen before the first place, or after the last, and for how many seconds.
    fn absent(&self, after: bool) -> Vec<(usize, i64)> {
        let place = |step: &Step| step.absent.is_none();
        let edge = match after {
            true => self.steps.iter().rposition(place),
            false => self.steps.iter().position(place),
        };
        let edge = edge.expect("something must happen");
        let outside = |at: usize| if after { at > edge } else { at < edge };
        let steps = self.steps.iter().enumerate().filter(|(at, _)| outside(*at));
        steps.filter_map(|(at, step)| Some((at, step.absent?))).collect()
    }
}

impl<'r> Oracle<'r> {
    /// Under these rules; a rule comes after the ones that it builds on.
    pub fn new(rules: &'r [Rule]) -> Self {
        Oracle { rules, places: BTreeMap::new() }
    }

    /// Takes in an event.
    pub fn take(&mut self, event: &Event) {
        for (rule, step) in self.steps() {
            let asked = &self.rules[rule].steps[step];
            let satisfied = asked.of_rule.is_none()
                && (asked.kinds.is_empty() || asked.kinds.contains(&event.kind))
                && (!asked.tagged || event.tagged);
            if !satisfied {
                continue;
            }
            let mut fields: BTreeMap<String, String> =
                event.fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            fields.extend(event.a.first().map(|first| ("a".to_owned(), (*first).to_owned())));
            let hit = Hit {
                at: event.at,
                event: event.id(),
                rule,
                step,
                source: event.source.to_owned(),
                severity: event.severity,
                fields,
            };
            let values = |field: &str| event.values(field).into_iter().map(str::to_owned).collect();
            self.give(event.tenant, hit, values);
        }
        for rule in 0..self.rules.len() {
            let asked = &self.rules[rule];
            let alive =
                asked.steps.iter().enumerate().filter_map(|(at, step)| Some((ALIVE + at, step.alive?.0)));
            let kinds = alive.chain(asked.until.map(|kind| (UNTIL, kind)));
            for (step, _) in kinds.filter(|(_, kind)| *kind == event.kind).collect::<Vec<_>>() {
                let hit = Hit {
                    at: event.at,
                    event: event.id(),
                    rule,
                    step,
                    source: String::new(),
                    severity: Severity::Info,
                    fields: BTreeMap::new(),
                };
                let values = |field: &str| event.values(field).into_iter().map(str::to_owned).collect();
                self.give(event.tenant, hit, values);
            }
        }
    }

    /// The id of an incident means that it ends. Answers whether there is such a one.
    pub fn end(&mut self, id: IncidentId) -> bool {
        self.complete();
        for name in self.places.keys().cloned().collect::<Vec<_>>() {
            let Some(incident) = self.incidents(&name).into_iter().find(|it| it.summary.id == id) else {
                continue;
            };
            let place = self.places.get_mut(&name).expect("it was just seen");
            place.hits.retain(|hit| !incident.evidence.contains(&hit.event));
            place.spent.extend(&incident.evidence);
            place.ended.push((incident.first, incident.last, incident.summary));
            return true;
        }
        false
    }

    /// All incidents, ended ones too.
    pub fn result(mut self) -> BTreeMap<IncidentId, Summary> {
        self.complete();
        let ended =
            self.places.values().flat_map(|place| &place.ended).map(|(_, _, summary)| summary.clone());
        let open = self.places.keys().flat_map(|name| self.incidents(name)).map(|incident| incident.summary);
        ended.chain(open).map(|summary| (summary.id, summary)).collect()
    }

    fn steps(&self) -> Vec<(usize, usize)> {
        let steps = |(at, rule): (usize, &Rule)| {
            (0..rule.steps.len()).map(move |step| (at, step)).collect::<Vec<_>>()
        };
        self.rules.iter().enumerate().flat_map(steps).collect()
    }

    /// Gives a hit to every key that it names.
    fn give(&mut self, tenant: &str, hit: Hit, values: impl Fn(&str) -> Vec<String>) {
        let rule = &self.rules[hit.rule];
        let step = rule.steps.get(hit.step);
        // Whoever would report a step is looked for under the step's key.
        let keyed = step.or_else(|| rule.steps.get(hit.step.checked_sub(ALIVE)?));
        if step.and_then(|step| step.need.field()).is_some_and(|field| !hit.fields.contains_key(field)) {
            return;
        }
        let mut keys: Vec<Vec<String>> = vec![Vec::new()];
        for part in &rule.by {
            let values = values(keyed.and_then(|step| step.key_from.get(part)).unwrap_or(part));
            let with = |key: &Vec<String>| {
                let key = key.clone();
                values
                    .clone()
                    .into_iter()
                    .map(move |value| [key.clone(), vec![value]].concat())
                    .collect::<Vec<_>>()
            };
            keys = keys.iter().flat_map(with).collect();
        }
        for key in keys.into_iter().collect::<BTreeSet<_>>() {
            let name = (tenant.to_owned(), rule.unit().to_owned(), key);
            let place = self.places.entry(name).or_default();
            let known = |it: &Hit| (it.event, it.rule, it.step) == (hit.event, hit.rule, hit.step);
            if !place.spent.contains(&hit.event) && !place.hits.iter().any(known) {
                place.hits.push(hit.clone());
            }
        }
    }

    /// Leaves out of an incident what is open: which of the events of one instant speaks for a completion.
    pub fn leave_open(rules: &[Rule], summary: &mut Summary) {
        let rule = rules.iter().find(|rule| rule.id == summary.rule);
        if rule.is_some_and(|rule| rule.steps.iter().any(|step| step.of_rule.is_some())) {
            summary.sources.clear();
            summary.hosts.clear();
            summary.users.clear();
        }
    }

    /// Gives the completions of rules to the rules that build on them.
    fn complete(&mut self) {
        for upstream in 0..self.rules.len() {
            let feeds: Vec<(usize, usize)> = self.steps();
            let feeds = feeds
                .into_iter()
                .filter(|(rule, step)| self.rules[*rule].steps[*step].of_rule == Some(upstream));
            for (rule, step) in feeds {
                for (name, place) in self.places.clone() {
                    if name.1 == self.rules[upstream].unit() {
                        self.complete_for(upstream, (rule, step), &name, &place);
                    }
                }
            }
        }
    }

    fn complete_for(&mut self, upstream: usize, to: (usize, usize), name: &PlaceName, place: &Place) {
        let rule = &self.rules[upstream];
        let hits: Vec<&Hit> = place.hits.iter().filter(|hit| hit.rule == upstream).collect();
        for (moment, complete) in moments(rule, &hits) {
            let last = hits.iter().find(|hit| hit.stamp() == complete.by).expect("a moment comes of a hit");
            let mut fields = last.fields.clone();
            fields
                .extend(rule.by.iter().zip(&name.2).map(|(part, value)| ((*part).to_owned(), value.clone())));
            let hit = Hit {
                at: moment.0,
                event: EventId::of_completion(&name.0, &rule.id, &name.2.join("\u{1f}"), time(moment.0)),
                rule: to.0,
                step: to.1,
                source: last.source.clone(),
                severity: rule.severity,
                fields: fields.clone(),
            };
            self.give(&name.0, hit, |field| fields.get(field).cloned().into_iter().collect());
        }
    }

    fn incidents(&self, name: &PlaceName) -> Vec<Incident> {
        let place = &self.places[name];
        let members: Vec<usize> =
            (0..self.rules.len()).filter(|at| self.rules[*at].unit() == name.1).collect();
        let window = members.iter().map(|at| self.rules[*at].span()).max().unwrap_or(0);
        // Every moment of every rule of the unit, with its evidence.
        let mut all: BTreeMap<Moment, Complete> = BTreeMap::new();
        for member in members {
            let hits: Vec<&Hit> = place.hits.iter().filter(|hit| hit.rule == member).collect();
            let found = moments(&self.rules[member], &hits).into_iter();
            all.extend(found.map(|(stamp, complete)| ((stamp, member), complete)));
        }
        let mut runs: Vec<Vec<(Moment, Complete)>> = Vec::new();
        for moment in all {
            match runs.last_mut() {
                Some(run) if moment.0.0.0 - run[run.len() - 1].0.0.0 <= window => run.push(moment),
                _ => runs.push(vec![moment]),
            }
        }
        runs.into_iter().map(|run| self.incident(name, place, &run)).collect()
    }

    fn incident(&self, name: &PlaceName, place: &Place, run: &[(Moment, Complete)]) -> Incident {
        let ((first, opener), _) = run[0];
        let ((last, _), _) = run[run.len() - 1];
        let opener = &self.rules[opener];
        let over = place.ended.iter().filter(|(from, to, _)| *from <= first.0 && first.0 <= *to).count();
        let id = IncidentId::of(&name.0, &name.1, &name.2.join("\u{1f}"), time(first.0), over as u32);
        let hits: BTreeSet<&Hit> = run.iter().flat_map(|(_, complete)| &complete.evidence).collect();
        let events: BTreeSet<Stamp> = hits.iter().map(|hit| hit.stamp()).collect();
        let texts = |of: &dyn Fn(&Hit) -> Option<String>| -> Vec<String> {
            hits.iter().filter_map(|hit| of(hit)).collect::<BTreeSet<_>>().into_iter().collect()
        };
        let mut by_step: BTreeMap<(String, String), Vec<&Hit>> = BTreeMap::new();
        for hit in &hits {
            let rule = &self.rules[hit.rule];
            by_step.entry((rule.id.clone(), rule.steps[hit.step].name.clone())).or_default().push(hit);
        }
        let summary = Summary {
            id,
            tenant: name.0.clone(),
            rule: opener.id.clone(),
            severity: match opener.severity_max {
                true => hits.iter().map(|hit| hit.severity).max().unwrap_or_default(),
                false => opener.severity,
            },
            first_event_at: time(hits.iter().map(|hit| hit.at).min().unwrap_or(0)),
            last_event_at: time(hits.iter().map(|hit| hit.at).max().unwrap_or(0)),
            event_count: events.len() as u64,
            suppressed_count: run.len() as u64 - 1,
            sources: texts(&|hit| Some(hit.source.clone())),
            hosts: texts(&|hit| hit.fields.get("host_id").cloned()),
            users: texts(&|hit| hit.fields.get("user").cloned()),
            evidence: listed(&by_step),
            explain: self.explained(&by_step, run),
        };
        let evidence = events.into_iter().map(|(_, event)| event).collect();
        Incident { first: first.0, last: last.0, summary, evidence }
    }

    fn explained(
        &self,
        by_step: &BTreeMap<(String, String), Vec<&Hit>>,
        run: &[(Moment, Complete)],
    ) -> Vec<StepExplain> {
        let mut explained: Vec<StepExplain> =
            by_step.iter().map(|(names, hits)| self.explain(names, hits)).collect();
        for ((_, rule), complete) in run {
            for (step, from, to, unknown) in &complete.absences {
                let (id, name) = (&self.rules[*rule].id, &self.rules[*rule].steps[*step].name);
                let known = explained.iter().position(|it| it.rule == *id && it.step == *name);
                let at = known.unwrap_or_else(|| {
                    explained.push(StepExplain {
                        rule: id.clone(),
                        step: name.clone(),
                        needed: 0,
                        events: 0,
                        first_at: EventTime::MAX,
                        last_at: EventTime::MIN,
                        values: Vec::new(),
                        absent: 0,
                        unknown: 0,
                    });
                    explained.len() - 1
                });
                let it = &mut explained[at];
                it.first_at = it.first_at.min(time(*from));
                it.last_at = it.last_at.max(time(*to));
                it.absent += u64::from(!unknown);
                it.unknown += u64::from(*unknown);
            }
        }
        explained.sort_by(|a, b| (&a.rule, &a.step).cmp(&(&b.rule, &b.step)));
        explained
    }

    fn explain(&self, (rule, step): &(String, String), hits: &[&Hit]) -> StepExplain {
        let need = self.rules[hits[0].rule].steps[hits[0].step].need;
        let values: BTreeSet<String> = hits.iter().filter_map(|hit| hit.fields.get("v").cloned()).collect();
        let (needed, values) = match need {
            Need::Count(needed) => (needed.least, Vec::new()),
            Need::Distinct(needed) => (needed.least, values.into_iter().collect()),
            Need::Measure(..) => (1, Vec::new()),
            Need::New { .. } => (1, values.into_iter().collect()),
        };
        StepExplain {
            rule: rule.clone(),
            step: step.clone(),
            needed: needed as u32,
            events: hits.len() as u64,
            first_at: time(hits[0].at),
            last_at: time(hits[hits.len() - 1].at),
            values,
            absent: 0,
            unknown: 0,
        }
    }
}

fn time(seconds: i64) -> EventTime {
    EventTime::from_micros(seconds * 1_000_000)
}

/// The evidence that an incident lists: the first and the last of each step, all of it in order of time.
fn listed(by_step: &BTreeMap<(String, String), Vec<&Hit>>) -> Vec<(EventTime, EventId, String, String)> {
    let mut listed = Vec::new();
    for ((rule, step), hits) in by_step {
        let shown = |at: usize| at < LISTED_AT_EITHER_END || at + LISTED_AT_EITHER_END >= hits.len();
        let hits = hits.iter().enumerate().filter(|(at, _)| shown(*at));
        listed.extend(hits.map(|(_, hit)| (time(hit.at), hit.event, rule.clone(), step.clone())));
    }
    listed.sort();
    listed
}

/// Each moment of a rule, with the hits that are evidence at it.
fn moments(rule: &Rule, hits: &[&Hit]) -> BTreeMap<Stamp, Complete> {
    if rule.ordered {
        return sequence(rule, hits);
    }
    if let Need::New { learn, forget } = rule.steps[0].need {
        return first_seen(hits, learn, forget);
    }
    let mut moments = BTreeMap::new();
    for moment in hits.iter().map(|hit| hit.stamp()).collect::<BTreeSet<_>>() {
        let before = |hit: &Hit| match rule.can_be_undone() {
            true => hit.at <= moment.0,
            false => hit.stamp() <= moment,
        };
        let within: Vec<&Hit> =
            hits.iter().filter(|hit| hit.at >= moment.0 - rule.window && before(hit)).copied().collect();
        if all_of(rule, &within) {
            moments.insert(moment, Complete::of(moment, within.into_iter().cloned().collect()));
        }
    }
    moments
}

/// The hits with a value that no earlier one had, as far back as values are remembered.
fn first_seen(hits: &[&Hit], learn: i64, forget: i64) -> BTreeMap<Stamp, Complete> {
    let learned = hits.iter().map(|hit| hit.at).min().unwrap_or(0) + learn;
    let known = |hit: &Hit| {
        hits.iter().any(|other| {
            other.fields["v"] == hit.fields["v"] && other.stamp() < hit.stamp() && hit.at - other.at <= forget
        })
    };
    let new = hits.iter().filter(|hit| hit.at >= learned && !known(hit));
    new.map(|hit| (hit.stamp(), Complete::of(hit.stamp(), BTreeSet::from([(*hit).clone()])))).collect()
}

/// Whether every step has what it takes; with events of its own, where events count once.
fn all_of(rule: &Rule, within: &[&Hit]) -> bool {
    let of = |step: usize| within.iter().filter(move |hit| hit.step == step);
    let enough =
        rule.steps.iter().enumerate().all(|(at, step)| step.need.holds(&of(at).copied().collect::<Vec<_>>()));
    // Hall: the steps can be served if and only if every choice of them together has events enough.
    let counts: Vec<(usize, usize)> = rule
        .steps
        .iter()
        .enumerate()
        .filter_map(|(at, step)| match step.need {
            Need::Count(needed) => Some((at, needed.least)),
            Need::Distinct(_) | Need::Measure(..) | Need::New { .. } => None,
        })
        .collect();
    let served = (0_u32..1 << counts.len()).all(|choice| {
        let chosen: Vec<(usize, usize)> = counts
            .iter()
            .enumerate()
            .filter(|(bit, _)| choice & (1 << bit) != 0)
            .map(|(_, it)| *it)
            .collect();
        let events: BTreeSet<EventId> =
            chosen.iter().flat_map(|(at, _)| of(*at)).map(|hit| hit.event).collect();
        events.len() >= chosen.iter().map(|(_, needed)| needed).sum()
    });
    enough && (served || !rule.distinct_events)
}

/// All chains, one after the other, and what did not follow them.
fn sequence(rule: &Rule, hits: &[&Hit]) -> BTreeMap<Stamp, Complete> {
    let mut chains = BTreeMap::new();
    extend(rule, &rule.places(), hits, &mut Vec::new(), &mut chains);
    let any = |step: usize, from: i64, to: i64, but: EventId| {
        hits.iter().any(|hit| hit.step == step && hit.at >= from && hit.at <= to && hit.event != but)
    };
    let nobody = EventId::from_bytes([0; 16]);
    let mut moments = BTreeMap::new();
    for (by, evidence) in chains {
        let followers = rule.absent(true);
        let end = by.0 + followers.iter().map(|(_, within)| *within).max().unwrap_or(0);
        let followed = followers.iter().any(|(step, within)| any(*step, by.0, by.0 + within, by.1));
        let ended = !followers.is_empty() && rule.until.is_some() && any(UNTIL, by.0, end, nobody);
        if followed || ended {
            continue;
        }
        let absences: Vec<_> = followers
            .iter()
            .map(|(step, within)| {
                let heard =
                    rule.steps[*step].alive.is_none() || any(ALIVE + step, by.0, by.0 + within, nobody);
                (*step, by.0, by.0 + within, !heard)
            })
            .collect();
        let silent = |(step, _, _, unknown): &(usize, i64, i64, bool)| {
            *unknown && !rule.steps[*step].alive.is_some_and(|it| it.1)
        };
        if !absences.iter().any(silent) {
            moments.insert((end, by.1), Complete { by, evidence, absences });
        }
    }
    moments
}

/// Whether a hit can be the next of a chain.
fn follows(rule: &Rule, place: &SeqPlace, hits: &[&Hit], chain: &[&Hit], hit: &Hit) -> bool {
    let between = |step: usize, from: i64, to: i64| {
        hits.iter().any(|other| other.step == step && other.at > from && other.at < to)
    };
    let (Some(first), Some(before)) = (chain.first(), chain.last()) else {
        return rule.absent(false).iter().all(|(step, within)| {
            let there = |other: &&&Hit| {
                other.step == *step
                    && other.at >= hit.at - within
                    && other.at <= hit.at
                    && other.event != hit.event
            };
            !hits.iter().any(|other| there(&other))
        });
    };
    let gap = hit.at - before.at;
    hit.at >= before.at
        && hit.at - first.at <= rule.window
        && gap >= place.least
        && place.most.is_none_or(|most| gap <= most)
        && !chain.iter().any(|used| used.event == hit.event)
        && !place.unless.iter().any(|step| between(*step, before.at, hit.at))
        && !between(UNTIL, first.at, hit.at)
}

fn extend<'h>(
    rule: &Rule,
    places: &[SeqPlace],
    hits: &[&'h Hit],
    chain: &mut Vec<&'h Hit>,
    chains: &mut BTreeMap<Stamp, BTreeSet<Hit>>,
) {
    let Some(place) = places.get(chain.len()) else {
        let last = chain[chain.len() - 1].stamp();
        let evidence = chains.entry(last).or_default();
        evidence.extend(chain.iter().map(|hit| (**hit).clone()));
        return;
    };
    for hit in hits.iter().filter(|hit| hit.step == place.step) {
        if follows(rule, place, hits, chain, hit) {
            chain.push(hit);
            extend(rule, places, hits, chain, chains);
            chain.pop();
        }
    }
}
