//! Rules that take the same hits: what they remember of a key they remember together, until one of them has something to
//! remember that the others have not.
//!
//! Many correlations look at one detection: five failed logins in a minute, a hundred in an hour, three with a success
//! behind them. As long as none of them is complete for a key, all they know of it are the same hits.

use std::collections::HashMap;

use sightline_schemas::control::EngineSettings;

use crate::hit::RuleIndex;
use crate::rule::least::Least;
use crate::rule::plan::{Input, Rule, Timing, Unit};
use crate::rule::policy::Rematch;

/// Rules that take the same hits.
#[derive(Debug)]
pub struct Watch {
    /// Tells what hits these are from all others, in every set of rules. No unit has an id like this.
    pub id: String,
    /// Its rules, in order. The hits of all of them are those of the first one.
    pub rules: Vec<RuleIndex>,
    /// What each of them wants, in the same order.
    pub wants: Vec<Want>,
    /// The numbers of its rules and their places, in order of number.
    places: Vec<(u64, usize)>,
    /// What none of them can do without.
    pub least: Least,
    /// The shortest reach, and the longest, in microseconds.
    pub reach: (i64, i64),
    /// The longest memory beyond the settings, in microseconds, of those that do not reopen incidents, if there are any.
    memory: Option<i64>,
    /// Whether one of them reopens incidents.
    reopens: bool,
}

/// What a rule of a watch wants.
#[derive(Clone, Debug)]
pub struct Want {
    /// Tells the rule, and what its hits mean, from any other one, in other sets of rules as well.
    pub number: u64,
    /// How far behind the newest event of a key something can still matter, in microseconds.
    pub reach: i64,
    /// What it cannot do without.
    pub least: Least,
}

impl Watch {
    fn new(id: String, members: Vec<RuleIndex>, rules: &[Rule], units: &[Unit]) -> Self {
        let want = |index: &RuleIndex| {
            let rule = &rules[index.get()];
            let unit = &units[rule.unit];
            Want { number: unit.number, reach: unit.reach, least: rule.least.clone() }
        };
        let wants: Vec<Want> = members.iter().map(want).collect();
        let least = wants.iter().fold(wants[0].least.clone(), |least, want| least.or(&want.least));
        let reaches = || wants.iter().map(|want| want.reach);
        let reach = (reaches().min().unwrap_or(0), reaches().max().unwrap_or(0));
        let units = || members.iter().map(|index| &units[rules[index.get()].unit]);
        let (reopening, others): (Vec<&Unit>, Vec<&Unit>) =
            units().partition(|unit| matches!(unit.rematch, Rematch::Reopen { .. }));
        let memory = others.iter().map(|unit| unit.memory).max();
        let mut places: Vec<(u64, usize)> =
            wants.iter().enumerate().map(|(place, want)| (want.number, place)).collect();
        places.sort_unstable();
        Watch { id, wants, places, least, reach, memory, reopens: !reopening.is_empty(), rules: members }
    }

    /// How long, in microseconds of log time, a quiet key is remembered: as long as the rule that remembers longest does.
    pub fn kept_micros(&self, settings: &EngineSettings) -> i64 {
        let others = self.memory.map(|memory| settings.idle_micros.saturating_add(memory));
        others.max(self.reopens.then_some(settings.incident_idle_micros)).unwrap_or(settings.idle_micros)
    }

    /// The place of the rule of that number.
    pub fn place(&self, number: u64) -> Option<usize> {
        let at = self.places.binary_search_by_key(&number, |(known, _)| *known).ok()?;
        Some(self.places[at].1)
    }

    /// Whether a rule of that number is among its rules.
    pub fn has(&self, number: u64) -> bool {
        self.place(number).is_some()
    }

    /// Whether its rules are those of another watch.
    pub fn is_of_the_same(&self, other: &Watch) -> bool {
        self.wants.len() == other.wants.len() && self.wants.iter().all(|want| other.has(want.number))
    }
}

/// Finds the rules that take the same hits, and tells each of them which watch it belongs to.
pub(super) fn watches(rules: &mut [Rule], units: &mut [Unit]) -> Vec<Watch> {
    for unit in units.iter_mut() {
        unit.number = hash(&format!("{:016x}{}", unit.fingerprint, unit.id));
    }
    let units = &*units;
    let mut alike: HashMap<String, Vec<RuleIndex>> = HashMap::new();
    for (at, rule) in rules.iter().enumerate() {
        if may_share(rule, &units[rule.unit]) {
            alike.entry(takes(rule, &units[rule.unit])).or_default().push(crate::detect::index(at));
        }
    }
    // One text has one meaning, but for lists whose names were chosen to look like two.
    for members in alike.values_mut() {
        let first = members[0];
        members.retain(|member| asks_the_same(&rules[first.get()], &rules[member.get()]));
    }
    let mut alike: Vec<(String, Vec<RuleIndex>)> =
        alike.into_iter().filter(|(_, members)| members.len() > 1).collect();
    // In the order of their first rules.
    alike.sort_by_key(|(_, members)| members[0]);
    let watch = |(taken, members): (String, Vec<RuleIndex>)| {
        Watch::new(format!("~{:016x}", hash(&taken)), members, rules, units)
    };
    let watches: Vec<Watch> = alike.into_iter().map(watch).collect();
    for (at, watch) in watches.iter().enumerate() {
        watch.rules.iter().for_each(|rule| rules[rule.get()].watch = Some(at as u32));
    }
    watches
}

/// A rule that speaks with the hit, of events, shares its incident with nobody, and is not complete with every hit.
fn may_share(rule: &Rule, unit: &Unit) -> bool {
    let of_events = |input: &Input| matches!(input, Input::Events(_));
    unit.group.is_none()
        && rule.timing == Timing::AtOnce
        && rule.policies.exceptions.is_empty()
        && rule.steps.iter().all(|step| of_events(&step.input))
        && rule.steps.iter().map(|step| step.need.threshold()).sum::<u32>() > 1
}

/// What hits a rule takes, as a text: of two rules with the same text one has exactly the hits that the other has.
fn takes(rule: &Rule, unit: &Unit) -> String {
    let by: Vec<_> = unit.by.iter().map(|part| (part.normal, part.optional)).collect();
    let step = |step: &crate::rule::Step| {
        let names = |fields: &[crate::field::Field]| -> Vec<String> {
            fields.iter().map(|field| field.name().to_owned()).collect()
        };
        let keys: Vec<_> = step.keys.iter().map(|fields| names(fields)).collect();
        let counted = step.counted.as_ref().map(|(field, normal)| (field.name(), normal));
        format!("{} {keys:?} {counted:?} {:?}", step.asks, names(&step.shown))
    };
    let steps: Vec<String> = rule.steps.iter().map(step).collect();
    format!("{by:?} {steps:?}")
}

fn asks_the_same(one: &Rule, other: &Rule) -> bool {
    one.steps.iter().zip(&other.steps).all(|steps| match (&steps.0.input, &steps.1.input) {
        (Input::Events(one), Input::Events(other)) => one == other,
        _ => false,
    })
}

fn hash(text: &str) -> u64 {
    u64::from_le_bytes(*blake3::hash(text.as_bytes()).as_bytes().first_chunk().expect("a hash has 32 bytes"))
}

#[cfg(test)]
mod tests {
    use sightline_schemas::control::EngineSettings;

    use crate::rule::{RuleSet, Source, check};

    /// Rules of which each line is one, beside id and title.
    fn rules(lines: &[&str]) -> RuleSet {
        let rule = |(at, line): (usize, &&str)| format!("  - {{id: r{at}, title: t, {line}}}\n");
        let text = format!("rules:\n{}", lines.iter().enumerate().map(rule).collect::<String>());
        let source = Source { name: "watch.yaml".to_owned(), text };
        check(&[source], &EngineSettings::default()).expect("rules that make sense").rules
    }

    /// The rules that share, each group of them by their places.
    fn sharing(lines: &[&str]) -> Vec<Vec<usize>> {
        let rules = rules(lines);
        rules.watches.iter().map(|watch| watch.rules.iter().map(|rule| rule.get()).collect()).collect()
    }

    #[test]
    fn rules_that_take_the_same_hits_share_them() {
        let found = sharing(&[
            "window: 1m, steps: [{name: a, match: {kind: x}, min_count: 5}]",
            "window: 1m, steps: [{name: a, match: {kind: y}, min_count: 5}]",
            "window: 1h, severity: high, steps: [{name: other, match: {kind: x}, min_count: 100}]",
            "steps: [{name: a, match: {kind: x}}, {name: b, match: {kind: y}}]",
            "ordered: true, steps: [{name: a, match: {kind: x}, min_count: 3}, {name: b, match: {kind: y}}]",
            "late: 0s, suppress: {for: 1h}, steps: [{name: a, match: {kind: x}, min_count: 2}]",
        ]);
        assert_eq!(found, [vec![0, 2, 5], vec![3, 4]]);
    }

    #[test]
    fn rules_whose_hits_differ_do_not() {
        let plain = "steps: [{name: a, match: {kind: x}, min_count: 5}]";
        for other in [
            "steps: [{name: a, match: {kind: x, source: edr}, min_count: 5}]",
            "by: user, steps: [{name: a, match: {kind: x}, min_count: 5}]",
            "by: [{name: host_id, optional: true}], steps: [{name: a, match: {kind: x}, min_count: 5}]",
            "steps: [{name: a, match: {kind: x}, by: {host_id: user}, min_count: 5}]",
            "steps: [{name: a, match: {kind: x}, show: [command_line], min_count: 5}]",
            "steps: [{name: a, match: {kind: x}, distinct: {field: user, at_least: 5}}]",
            "steps: [{name: a, match: {kind: x}}, {name: b, match: {kind: y}}]",
            // Each hit completes it.
            "steps: [{name: a, match: {kind: x}}]",
            // It waits.
            "steps: [{name: a, match: {kind: x}, min_count: 2, max_count: 5}]",
            "group: g, steps: [{name: a, match: {kind: x}, min_count: 5}]",
            "except: [{match: {field_equals: {user: ana}}, reason: r}], steps: [{name: a, match: {kind: x}, min_count: 5}]",
            "steps: [{name: a, rule: r0, min_count: 5}]",
        ] {
            assert_eq!(sharing(&[plain, other]), Vec::<Vec<usize>>::new(), "{other}");
        }
        assert_eq!(sharing(&[plain, plain]), [[0, 1]]);
    }

    #[test]
    fn what_is_shared_has_one_name_whoever_shares_it() {
        let plain = "steps: [{name: a, match: {kind: x}, min_count: 5}]";
        let (two, three) =
            (rules(&[plain, plain]), rules(&[plain, "steps: [{name: b, match: {kind: y}}]", plain, plain]));
        assert_eq!(two.watches[0].id, three.watches[0].id);
        assert!(!two.watches[0].is_of_the_same(&three.watches[0]));
        assert!(two.watch_by_id(&three.watches[0].id).is_some());
    }
}
