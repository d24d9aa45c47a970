//! What an incident shows of its evidence: by the definition.

use std::collections::{BTreeMap, BTreeSet};

use sightline_schemas::incident::{Reading, StepExplain, StepReading};
use sightline_schemas::{EventId, EventTime};

use super::moments::{Complete, Hit};
use super::terms::{Need, Step};
use super::{Moment, Oracle, time};

/// Pieces of evidence of a step that an incident lists, where the rule says nothing else.
const LISTED: usize = 24;

impl Oracle<'_> {
    pub(super) fn explained(
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
                        reading: None,
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
        for ((_, rule), complete) in run {
            for (step, reading) in self.readings(*rule, complete) {
                let (id, name) = (&self.rules[*rule].id, &self.rules[*rule].steps[step].name);
                let it = explained.iter_mut().find(|it| it.rule == *id && it.step == *name);
                let it = it.expect("what is read is evidence");
                // Moments come in order.
                let first = it.reading.as_ref().map_or(reading, |reading| reading.first);
                let (of, takes) = (String::new(), String::new());
                it.reading = Some(StepReading { of, takes, first, last: reading });
            }
        }
        explained.sort_by(|a, b| (&a.rule, &a.step).cmp(&(&b.rule, &b.step)));
        explained
    }

    /// What the steps of a rule came to at a moment: those that measure, or limit what they count.
    fn readings(&self, rule: usize, complete: &Complete) -> Vec<(usize, Reading)> {
        let steps = self.rules[rule].steps.iter().enumerate();
        let reading = |(at, step): (usize, &Step)| {
            let hits: Vec<&Hit> = complete.evidence.iter().filter(|hit| hit.step == at).collect();
            let value = step.need.read(&hits)?;
            let (first_at, last_at) = (time(hits[0].at), time(hits[hits.len() - 1].at));
            Some((at, Reading { value, events: hits.len() as u64, first_at, last_at }))
        };
        steps.filter_map(reading).collect()
    }

    /// The evidence that an incident lists: the first and the last of each step, all of it in order of time.
    pub(super) fn listed(
        &self,
        by_step: &BTreeMap<(String, String), Vec<&Hit>>,
    ) -> Vec<(EventTime, EventId, String, String)> {
        let mut listed = Vec::new();
        for ((rule, step), hits) in by_step {
            let most = self.rules[hits[0].rule].listed.unwrap_or(LISTED);
            // Of an odd number the beginning has one more.
            let (first, last) = (most - most / 2, most / 2);
            let shown = |at: usize| at < first || at + last >= hits.len();
            let hits = hits.iter().enumerate().filter(|(at, _)| shown(*at));
            listed.extend(hits.map(|(_, hit)| (time(hit.at), hit.event, rule.clone(), step.clone())));
        }
        listed.sort();
        listed
    }

    fn explain(&self, (rule, step): &(String, String), hits: &[&Hit]) -> StepExplain {
        let need = self.rules[hits[0].rule].steps[hits[0].step].need;
        let values: BTreeSet<String> = hits.iter().filter_map(|hit| hit.fields.get("v").cloned()).collect();
        let (needed, values) = match need {
            Need::Count(wanted) => (wanted.least(), Vec::new()),
            Need::Distinct(wanted) => (wanted.least(), values.into_iter().collect()),
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
            reading: None,
        }
    }
}
