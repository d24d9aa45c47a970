//! The native rules of a correlation.
//!
//! The rules that a correlation refers to are written into its steps; a correlation of correlations builds on their
//! completions. Where a count of rules, or a condition over their names, leaves several ways open, each way is a rule of
//! one group, and they share their incidents.

use std::ops::Range;

use crate::rule::diagnostic::nearest;
use crate::rule::draft::Problems;
use crate::rule::tree::{Kind, Node, Saying};
use crate::sigma::condition::{Expression, choices};
use crate::sigma::correlation::{Condition, Correlation, Sort};
use crate::sigma::mapping::Mapping;
use crate::sigma::native::{Block, flag, list, map, text};
use crate::sigma::rule::Known;

/// Most ways in which a correlation may come about.
const WAYS_MAX: usize = 64;

/// A step, before it has what it counts.
struct Base {
    members: Vec<(&'static str, Node)>,
}

/// The native rules of a correlation.
pub(crate) fn correlate(
    place: usize,
    correlation: &Correlation,
    known: &Known,
    mapping: &Mapping,
    problems: &mut Problems<'_>,
) -> Vec<Node> {
    let writer = Writer { place, correlation, known, mapping };
    writer.rules(problems).unwrap_or_default()
}

struct Writer<'w> {
    place: usize,
    correlation: &'w Correlation,
    known: &'w Known,
    mapping: &'w Mapping,
}

impl Writer<'_> {
    fn rules(&self, problems: &mut Problems<'_>) -> Option<Vec<Node>> {
        let it = self.correlation;
        let mut bases = Vec::new();
        for (name, span) in &it.rules {
            bases.push((name.clone(), self.base(name, span, problems)?));
        }
        match it.sort {
            Sort::Together | Sort::InOrder => {
                let ways = self.ways(problems)?;
                let many = ways.len() > 1;
                let rule = |(at, way): (usize, Vec<usize>)| {
                    let steps = way.iter().enumerate().map(|(step, base)| {
                        let (name, base) = &bases[*base];
                        let mut members = vec![("name", text(name, &it.span))];
                        members.extend(base.members.clone());
                        if it.sort == Sort::InOrder && step > 0 {
                            // In order means later: two events of one instant are not.
                            members.push(("min_gap", text("1us", &it.span)));
                        }
                        map(members, &it.span)
                    });
                    let steps = list(steps.collect(), &it.span);
                    self.rule(steps, many.then_some(at), problems)
                };
                Some(ways.into_iter().enumerate().map(rule).collect())
            }
            _ => {
                let step = self.counting(bases, problems)?;
                Some(vec![self.rule(list(vec![step], &it.span), None, problems)])
            }
        }
    }

    /// The rule that the steps belong to; one of a group where there are several ways.
    fn rule(&self, steps: Node, way: Option<usize>, problems: &mut Problems<'_>) -> Node {
        let it = self.correlation;
        let document = &self.known.documents[self.place];
        let mut members = document.described(problems);
        if let Some(way) = way {
            let id = document.id.scalar_text().unwrap_or_default();
            members[0].1 = text(format!("{id}.{}", way + 1), document.span());
            members.push(("group", text(id, document.span())));
        }
        members.push(("window", it.timespan.clone()));
        let part = |(name, span): &(String, Range<usize>)| {
            // As Sigma compares texts: case does not count.
            map(vec![("name", text(self.part(name), span)), ("as", text("caseless", span))], span)
        };
        members.push(("by", list(it.group_by.iter().map(part).collect(), &it.span)));
        if it.sort == Sort::InOrder {
            members.push(("ordered", flag(true, &it.span)));
        } else if it.sort == Sort::Together {
            members.push(("distinct_events", flag(false, &it.span)));
        }
        members.push(("steps", steps));
        map(members, &it.span)
    }

    /// The name of a part of the key.
    fn part(&self, name: &str) -> String {
        let alias = self.correlation.aliases.iter().any(|(alias, _)| alias == name);
        if alias { name.to_owned() } else { self.mapping.names(name).remove(0) }
    }

    /// What a rule that is referred to is in a step, and where it has the parts of the key.
    fn base(&self, name: &str, span: &Range<usize>, problems: &mut Problems<'_>) -> Option<Base> {
        let Some(target) = self.known.find(name) else {
            let help = nearest(name, self.known.names()).map(|near| format!("did you mean `{near}`?"));
            problems.error(span, format!("there is no rule `{name}`"), "not known", help);
            return None;
        };
        let mut members = Vec::new();
        if let Some(detection) = self.known.detections.get(&target) {
            members.push(("match", detection.block.clone().node()));
        } else if self.known.correlations.contains_key(&target) {
            members.push(("rule", self.known.documents[target].id.clone()));
        } else {
            // What is wrong with it is said where it stands.
            return None;
        }
        let mut by = Vec::new();
        for (part, span) in &self.correlation.group_by {
            let names = self.fields(part, target);
            if names != [self.part(part)] {
                let names = names.into_iter().map(|name| text(name, span)).collect();
                by.push((text(self.part(part), span), list(names, span)));
            }
        }
        if !by.is_empty() {
            members.push(("by", Node { kind: Kind::Map(by), span: span.clone() }));
        }
        Some(Base { members })
    }

    /// The fields that hold a part of the key, or a counted value, in events of a rule.
    fn fields(&self, name: &str, target: usize) -> Vec<String> {
        let document = &self.known.documents[target];
        let alias = self.correlation.aliases.iter().find(|(alias, _)| alias == name);
        let own = alias.and_then(|(_, rules)| rules.iter().find(|(rule, _)| document.names.contains(rule)));
        let sigma = own.map_or(name, |(_, field)| field.as_str());
        match self.known.detections.contains_key(&target) {
            true => self.mapping.names(sigma),
            // A correlation hands its own key on.
            false => vec![self.part(sigma)],
        }
    }

    /// The step of a correlation that counts or measures.
    fn counting(&self, bases: Vec<(String, Base)>, problems: &mut Problems<'_>) -> Option<Node> {
        let it = self.correlation;
        let Some(Condition::Number { bounds, field, percentile, span }) = &it.condition else { return None };
        let mut numbers: Vec<(&str, Node)> =
            bounds.iter().map(|(name, _, node)| (*name, node.clone())).collect();
        let key = match it.sort {
            Sort::Events => "count",
            Sort::Values => "distinct",
            Sort::Sum => "sum",
            Sort::Average => "avg",
            Sort::Median => "median",
            _ => "percentile",
        };
        if it.sort != Sort::Events {
            let Some(field) = field else {
                let help = "add `field: …` to the condition";
                problems.error(
                    span,
                    "nothing is said to be counted or measured",
                    "no `field`",
                    Some(help.into()),
                );
                return None;
            };
            let Some(name) = field.scalar_text() else {
                problems.error(
                    &field.span,
                    "several fields cannot be counted as one",
                    "expected a field",
                    None,
                );
                return None;
            };
            let targets: Vec<usize> = it.rules.iter().filter_map(|(rule, _)| self.known.find(rule)).collect();
            let fields: Vec<Vec<String>> = targets.iter().map(|target| self.fields(&name, *target)).collect();
            let Some([one]) =
                fields.first().filter(|first| fields.iter().all(|other| other == *first)).map(Vec::as_slice)
            else {
                let label = "each rule must have it under one name, the same for all";
                problems.error(&field.span, format!("`{name}` is under several names"), label, None);
                return None;
            };
            numbers.insert(0, ("field", text(one, &field.span)));
            if it.sort == Sort::Values {
                numbers.insert(1, ("as", text("caseless", &field.span)));
            }
        }
        if it.sort == Sort::Percentile {
            let Some(percentile) = percentile else {
                let help = "add `percentile: 95` to the condition";
                problems.error(span, "which percentile?", "no `percentile`", Some(help.into()));
                return None;
            };
            numbers.insert(1, ("percent", percentile.clone()));
        }
        let mut step = vec![("name", text("events", &it.span))];
        step.extend(self.one_of(bases, problems)?);
        let at_least = |bounds: &[(&str, f64, Node)]| match bounds {
            [("gte", number, node)] if number.fract() == 0.0 && *number >= 1.0 => Some(node.clone()),
            _ => None,
        };
        match (it.sort, at_least(bounds)) {
            (Sort::Events, Some(number)) => step.push(("min_count", number)),
            _ => step.push((key, map(numbers, span))),
        }
        Some(map(step, &it.span))
    }

    /// The events of several rules, as one step.
    fn one_of(
        &self,
        mut bases: Vec<(String, Base)>,
        problems: &mut Problems<'_>,
    ) -> Option<Vec<(&'static str, Node)>> {
        if bases.len() == 1 {
            return Some(bases.remove(0).1.members);
        }
        let it = self.correlation;
        let get = |base: &Base, wanted: &str| {
            base.members.iter().find(|(name, _)| *name == wanted).map(|(_, node)| node.clone())
        };
        if bases.iter().any(|(_, base)| get(base, "rule").is_some()) {
            let help = "make a correlation of type `event_count` for each, and put those together";
            let message = "correlations and other rules cannot be counted as one";
            problems.error(&it.span, message, "counts several rules", Some(help.into()));
            return None;
        }
        let by: Vec<Option<String>> =
            bases.iter().map(|(_, base)| get(base, "by").map(|node| node.canonical(Saying::Whole))).collect();
        if by.windows(2).any(|pair| pair[0] != pair[1]) {
            let help = "map the fields to one name in the mapping, instead of `aliases`";
            let message = "events of rules with different keys cannot be counted as one";
            problems.error(&it.span, message, "its rules name their keys differently", Some(help.into()));
            return None;
        }
        let blocks: Vec<Block> =
            bases.iter().filter_map(|(_, base)| get(base, "match")).map(Block::of_node).collect();
        let mut members = vec![("match", Block::any_of(&it.span, blocks).node())];
        members.extend(get(&bases[0].1, "by").map(|by| ("by", by)));
        Some(members)
    }

    /// The sets of rules of which each is enough, in the order of the rules.
    fn ways(&self, problems: &mut Problems<'_>) -> Option<Vec<Vec<usize>>> {
        let it = self.correlation;
        let all = it.rules.len();
        let wrong = |span: &Range<usize>, why: String, problems: &mut Problems<'_>| {
            problems.error(span, "this condition cannot be understood", why, None);
        };
        let (ways, span) = match &it.condition {
            None => (Some(vec![(0..all).collect()]), &it.span),
            Some(Condition::Number { bounds, span, .. }) => {
                let number = match bounds.as_slice() {
                    [("gte", number, _)] => Some(number.ceil()),
                    [("gt", number, _)] => Some(number.floor() + 1.0),
                    [("eq", number, _)] if *number == all as f64 => Some(*number),
                    _ => None,
                };
                match number {
                    Some(number) if number >= 1.0 && number <= all as f64 => {
                        (choices(all, number as usize), span)
                    }
                    Some(number) if number > all as f64 => {
                        wrong(span, format!("{number} of {all} rules can never happen"), problems);
                        return None;
                    }
                    _ => {
                        let why = "rules that happen together are counted with `gte` or `gt`, from one";
                        wrong(span, why.to_owned(), problems);
                        return None;
                    }
                }
            }
            Some(Condition::Rules(expression, span)) => match self.ways_of(expression) {
                Ok(ways) => (ways, span),
                Err(why) => {
                    wrong(span, why, problems);
                    return None;
                }
            },
        };
        match ways.filter(|ways| ways.len() <= WAYS_MAX) {
            Some(ways) => Some(ways),
            None => {
                wrong(span, format!("it can come about in more than {WAYS_MAX} ways"), problems);
                None
            }
        }
    }

    /// The same for a condition over the names of rules; `None` where they are too many.
    fn ways_of(&self, expression: &Expression) -> Result<Option<Vec<Vec<usize>>>, String> {
        let names: Vec<&str> = self.correlation.rules.iter().map(|(name, _)| name.as_str()).collect();
        let product = |ways: Vec<Vec<usize>>, others: &[Vec<usize>]| -> Vec<Vec<usize>> {
            let joined = ways.iter().flat_map(|way| {
                others.iter().map(move |other| {
                    let mut both = [way.as_slice(), other].concat();
                    both.sort_unstable();
                    both.dedup();
                    both
                })
            });
            joined.take(WAYS_MAX + 1).collect()
        };
        Ok(match expression {
            Expression::Name(name) => {
                let place = |rule: &str| rule == name || self.known.find(rule) == self.known.find(name);
                let at = names
                    .iter()
                    .position(|rule| *rule == name || (self.known.find(name).is_some() && place(rule)));
                let at = at.ok_or_else(|| format!("`{name}` is none of the rules of this correlation"))?;
                Some(vec![vec![at]])
            }
            Expression::All(parts) => {
                let mut ways = vec![Vec::new()];
                for part in parts {
                    match self.ways_of(part)? {
                        Some(others) => ways = product(ways, &others),
                        None => return Ok(None),
                    }
                }
                Some(ways)
            }
            Expression::Any(parts) => {
                let mut ways: Vec<Vec<usize>> = Vec::new();
                for part in parts {
                    match self.ways_of(part)? {
                        Some(others) => ways
                            .extend(others.into_iter().filter(|way| !ways.contains(way)).collect::<Vec<_>>()),
                        None => return Ok(None),
                    }
                }
                Some(ways)
            }
            Expression::Of(number, which) => {
                let meant: Vec<usize> =
                    names.iter().enumerate().filter(|(_, name)| which.hold(name)).map(|(at, _)| at).collect();
                let number = number.unwrap_or(meant.len());
                if meant.is_empty() || number > meant.len() {
                    return Err(format!("{number} of {} rules can never happen", meant.len()));
                }
                let pick = |chosen: Vec<usize>| chosen.into_iter().map(|at| meant[at]).collect();
                choices(meant.len(), number).map(|ways| ways.into_iter().map(pick).collect())
            }
            Expression::Not(_) => {
                return Err("what must not happen cannot be said of a correlation yet: write a native rule"
                    .to_owned());
            }
        })
    }
}
