//! The slow, obvious engine: every answer is worked out anew from all hits of a key, by the definition.
//!
//! * [`moments`] says when a rule is complete.
//! * An *incident* is a run of moments of which none is further than the window of its unit from the one before; where the
//!   unit suppresses, than that; where incidents are opened again, all moments of the key.
//! * When an incident ends, the events that are its evidence are gone for its unit and key. What comes then makes another
//!   one, unless it lies where a unit that suppresses is silent: from the window before the first moment of one that ended up
//!   to so long behind its last. Where incidents are opened again, it goes on with the same one.
//!
//! It shares nothing with the engine but the types of the messages.

mod moments;
mod shown;
mod terms;

use std::collections::{BTreeMap, BTreeSet};

use sightline_schemas::{EventId, EventTime, IncidentId, Severity};

use super::outcome::Summary;
use moments::{ALIVE, Complete, Hit, Stamp, UNTIL, moments};
use terms::weight;
pub use terms::{Compare, Event, Exception, Grown, Measure, Need, Only, Rematch, Rule, Step, Wanted};

/// When a rule of a unit is complete, and which one.
type Moment = (Stamp, usize);

/// Names the hits that incidents come of: tenant, unit of rules, key.
type PlaceName = (String, String, Vec<String>);

#[derive(Clone, Debug, Default)]
struct Place {
    hits: Vec<Hit>,
    spent: BTreeSet<EventId>,
    ended: Vec<Incident>,
}

type Run = Vec<(Moment, Complete)>;

/// A run of moments.
#[derive(Clone, Debug)]
struct Incident {
    first: i64,
    last: i64,
    /// The rule that names it.
    opener: usize,
    run: Run,
    summary: Summary,
    evidence: BTreeSet<EventId>,
}

/// Rules that share incidents.
struct Unit {
    members: Vec<usize>,
    span: i64,
    suppress: i64,
    reopens: bool,
}

impl Unit {
    /// Whether nothing is said of a moment at that time.
    fn is_silent(&self, place: &Place, at: i64) -> bool {
        let covers = |ended: &Incident| ended.first - self.span <= at && at <= ended.last + self.suppress;
        !self.reopens && self.suppress > 0 && place.ended.iter().any(covers)
    }
}

/// What is known after some of a history.
#[derive(Debug)]
pub struct Oracle<'r> {
    rules: &'r [Rule],
    places: BTreeMap<PlaceName, Place>,
}

impl<'r> Oracle<'r> {
    /// Under these rules; a rule comes after the ones that it builds on.
    pub fn new(rules: &'r [Rule]) -> Self {
        Oracle { rules, places: BTreeMap::new() }
    }

    /// Takes in an event.
    pub fn take(&mut self, event: &Event) {
        let is_excepted = |rule: usize| self.rules[rule].exceptions.iter().any(|it| it.holds(event));
        let excepted: Vec<bool> = (0..self.rules.len()).map(is_excepted).collect();
        for (rule, step) in self.steps().into_iter().filter(|(rule, _)| !excepted[*rule]) {
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
        for rule in (0..self.rules.len()).filter(|rule| !excepted[*rule]) {
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
            // One that goes on after its end can end again.
            place.ended.retain(|ended| ended.summary.id != id);
            place.ended.push(incident);
            return true;
        }
        false
    }

    /// All incidents, ended ones too.
    pub fn result(mut self) -> BTreeMap<IncidentId, Summary> {
        self.complete();
        let ended = self.places.values().flat_map(|place| &place.ended).map(|it| it.summary.clone());
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
            let mut values = values(keyed.and_then(|step| step.key_from.get(part)).unwrap_or(part));
            values.retain(|value| !value.is_empty());
            if values.is_empty() && rule.optional.contains(part) {
                values.push(String::new());
            }
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

    /// Leaves out of an incident what is open: which of the events of one instant speaks for a completion, and words.
    pub fn leave_open(rules: &[Rule], summary: &mut Summary) {
        for reading in summary.explain.iter_mut().filter_map(|step| step.reading.as_mut()) {
            reading.of.clear();
            reading.takes.clear();
            // Numbers that were read from JSON may be off by their last bit.
            for read in [&mut reading.first, &mut reading.last] {
                read.value = (read.value * 1e6).round() / 1e6;
            }
        }
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
            let wanted = self.rules[to.0].steps[to.1].only;
            if !wanted.is_none_or(|only| only.holds(&fields)) {
                continue;
            }
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

    fn unit(&self, name: &PlaceName) -> Unit {
        let members: Vec<usize> =
            (0..self.rules.len()).filter(|at| self.rules[*at].unit() == name.1).collect();
        let longest = |of: fn(&Rule) -> i64| members.iter().map(|at| of(&self.rules[*at])).max().unwrap_or(0);
        let (span, suppress) = (longest(Rule::span), longest(|rule| rule.suppress));
        let reopens = self.rules[members[0]].rematch != Rematch::New;
        Unit { members, span, suppress, reopens }
    }

    /// How many moments lie where nothing is said.
    pub fn silent_moments(&self) -> usize {
        let of_place = |(name, place): (&PlaceName, &Place)| {
            let unit = self.unit(name);
            let hits =
                |member: &usize| place.hits.iter().filter(|hit| hit.rule == *member).collect::<Vec<_>>();
            let stamps = unit.members.iter().flat_map(|member| moments(&self.rules[*member], &hits(member)));
            stamps.filter(|(stamp, _)| unit.is_silent(place, stamp.0)).count()
        };
        self.places.iter().map(of_place).sum()
    }

    fn incidents(&self, name: &PlaceName) -> Vec<Incident> {
        let place = &self.places[name];
        let unit = self.unit(name);
        if unit.members.iter().any(|member| !self.rules[*member].generate) {
            return Vec::new();
        }
        let gap = if unit.reopens { i64::MAX } else { unit.span.max(unit.suppress) };
        // Every moment of every rule of the unit, with its evidence.
        let mut all: BTreeMap<Moment, Complete> = BTreeMap::new();
        for member in unit.members.iter().copied() {
            let hits: Vec<&Hit> = place.hits.iter().filter(|hit| hit.rule == member).collect();
            let found = moments(&self.rules[member], &hits).into_iter();
            let found = found.filter(|(stamp, _)| !unit.is_silent(place, stamp.0));
            all.extend(found.map(|(stamp, complete)| ((stamp, member), complete)));
        }
        let mut runs: Vec<Run> = Vec::new();
        for moment in all {
            match runs.last_mut() {
                Some(run) if moment.0.0.0 - run[run.len() - 1].0.0.0 <= gap => run.push(moment),
                _ => runs.push(vec![moment]),
            }
        }
        let goes_on = place.ended.first().filter(|_| unit.reopens);
        runs.into_iter()
            .map(|run| match goes_on {
                Some(ended) => self.go_on(name, ended, run),
                None => self.incident(name, place, run),
            })
            .collect()
    }

    /// An incident of its own.
    fn incident(&self, name: &PlaceName, place: &Place, run: Run) -> Incident {
        let ((first, opener), _) = run[0];
        let over = place.ended.iter().filter(|ended| ended.first <= first.0 && first.0 <= ended.last).count();
        let id = IncidentId::of(&name.0, &name.1, &name.2.join("\u{1f}"), time(first.0), over as u32);
        self.stated(name, id, opener, run)
    }

    /// One that ended, and what came of it since.
    fn go_on(&self, name: &PlaceName, ended: &Incident, run: Run) -> Incident {
        let mut whole = [ended.run.clone(), run].concat();
        whole.sort_by_key(|(moment, _)| *moment);
        self.stated(name, ended.summary.id, ended.opener, whole)
    }

    fn stated(&self, name: &PlaceName, id: IncidentId, opener: usize, run: Run) -> Incident {
        let ((first, _), _) = run[0];
        let ((last, _), _) = run[run.len() - 1];
        let rule = &self.rules[opener];
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
        let (sources, hosts, users) = (
            texts(&|hit| Some(hit.source.clone())),
            texts(&|hit| hit.fields.get("host_id").filter(|host| !host.is_empty()).cloned()),
            texts(&|hit| hit.fields.get("user").cloned()),
        );
        let own = match rule.severity_max {
            true => hits.iter().map(|hit| hit.severity).max().unwrap_or_default(),
            false => rule.severity,
        };
        let weights: BTreeMap<Stamp, usize> =
            hits.iter().map(|hit| (hit.stamp(), weight(hit.severity))).collect();
        let grown = |grown: Grown| match grown {
            Grown::Events => events.len(),
            Grown::Matches => run.len(),
            Grown::Hosts => hosts.len(),
            Grown::Users => users.len(),
            Grown::Sources => sources.len(),
            Grown::Score => weights.values().sum(),
            Grown::Values(step) => {
                let counted = hits.iter().filter(|hit| (hit.rule, hit.step) == (opener, step));
                counted.map(|hit| &hit.fields["v"]).collect::<BTreeSet<_>>().len()
            }
        };
        let raised = rule.raises.iter().filter(|(what, least, _)| grown(*what) >= *least);
        let severity = raised.map(|(_, _, severity)| *severity).chain([own]).max().unwrap_or(own);
        let summary = Summary {
            id,
            tenant: name.0.clone(),
            rule: rule.id.clone(),
            severity,
            first_event_at: time(hits.iter().map(|hit| hit.at).min().unwrap_or(0)),
            last_event_at: time(hits.iter().map(|hit| hit.at).max().unwrap_or(0)),
            event_count: events.len() as u64,
            suppressed_count: run.len() as u64 - 1,
            sources,
            hosts,
            users,
            evidence: self.listed(&by_step),
            explain: self.explained(&by_step, &run),
        };
        let evidence = events.into_iter().map(|(_, event)| event).collect();
        Incident { first: first.0, last: last.0, opener, run, summary, evidence }
    }
}

fn time(seconds: i64) -> EventTime {
    EventTime::from_micros(seconds * 1_000_000)
}
