//! Does a moment of a rule that waits come of a hit, now that everything up to it is known?

use sightline_schemas::EventTime;

use crate::correlate::moments::{Absence, Found, Member};
use crate::correlate::shadow::Shadows;
use crate::hit::Measured;
use crate::pattern::{Stamp, all_of};
use crate::rule::plan::{After, Bounds};
use crate::rule::{Need, Novelty, Pattern, Rule};

/// What is decided of a hit.
pub(super) enum Decision {
    /// No moment comes of it.
    Nothing,
    /// Nobody knows, as a source was silent, and the rule does not say such things.
    Unknown,
    /// A moment.
    Found(Found),
}

impl Member {
    /// Whether a moment of a rule that waits can end with a hit of that step.
    pub(super) fn may_end_with(&self, rule: &Rule, step: u8) -> bool {
        match &rule.pattern {
            Pattern::AllOf { .. } => true,
            Pattern::Sequence { places, .. } => places[places.len() - 1].step == step,
        }
    }

    /// The hits that a moment can end with, behind one time and up to another, oldest first.
    pub(super) fn ends_between(&self, rule: &Rule, behind: EventTime, upto: EventTime) -> Vec<Stamp> {
        let tracks = self.tracks.iter().enumerate().filter(|(step, _)| self.may_end_with(rule, *step as u8));
        let mut ends: Vec<Stamp> = tracks
            .flat_map(|(_, track)| track.between(behind.plus(1), upto).map(|index| track.hit(index).stamp))
            .collect();
        ends.sort_unstable();
        ends.dedup();
        ends
    }

    /// The moment that comes of a hit, for a rule that waits, once everything up to it is known.
    pub(super) fn decide(&mut self, rule: &Rule, by: Stamp, shadows: &Shadows) -> Decision {
        let mut readings = Vec::new();
        let (moment, used, absences) = match &rule.pattern {
            _ if self.is_moment(by) => return Decision::Nothing,
            Pattern::AllOf { distinct_events } => match &rule.steps[0].need {
                Need::New(novelty) => match self.new_value(*novelty, by) {
                    Some(_) if shadows.cover(by.at) => return Decision::Found(Found::silent(by, by)),
                    Some(index) => {
                        self.tracks[0].mark_used(index);
                        (by, vec![(0, index)], Vec::new())
                    }
                    None => return Decision::Nothing,
                },
                _ if all_of::settled(rule, *distinct_events, &mut self.tracks, by.at) => {
                    if shadows.cover(by.at) {
                        return Decision::Found(Found::silent(by, by));
                    }
                    readings = self.readings(rule, by.at);
                    (by, self.evidence_all_of(rule, Stamp::last_at(by.at)), Vec::new())
                }
                _ => return Decision::Nothing,
            },
            Pattern::Sequence { bounds, .. } => {
                let Some(absences) = self.absences(bounds, by) else { return Decision::Nothing };
                let moment = Stamp { at: absences.iter().map(|it| it.to).max().unwrap_or(by.at), ..by };
                if self.is_moment(moment) {
                    return Decision::Nothing;
                }
                let silent = |absence: &Absence| absence.unknown && !says_unknown(rule, absence.step);
                if absences.iter().any(silent) {
                    return if self.is_sequence(rule, by) { Decision::Unknown } else { Decision::Nothing };
                }
                if shadows.cover(moment.at) {
                    return match self.is_sequence(rule, by) {
                        true => Decision::Found(Found::silent(moment, by)),
                        false => Decision::Nothing,
                    };
                }
                let Some(used) = self.evidence_of_sequence(rule, by) else { return Decision::Nothing };
                (moment, used, absences)
            }
        };
        self.add_moment(moment);
        Decision::Found(Found { by, absences, readings, ..Found::by(moment, true, used) })
    }

    /// What did not follow a hit; `None` where something did, or the sequence was ended meanwhile.
    fn absences(&self, bounds: &Bounds, by: Stamp) -> Option<Vec<Absence>> {
        let waiting = self.waiting.as_ref().expect("a rule that waits has one");
        let absence = |(at, after): (usize, &After)| {
            let to = by.at.plus(after.within);
            let track = &self.tracks[usize::from(after.step)];
            let followed = track.between(by.at, to).any(|index| track.hit(index).stamp.event != by.event);
            let heard = after.silence.is_none() || waiting.vigils[at].heard_between(by.at, to);
            (!followed).then_some(Absence { step: after.step, from: by.at, to, unknown: !heard })
        };
        let absences: Vec<Absence> = bounds.after.iter().enumerate().map(absence).collect::<Option<_>>()?;
        let end = absences.iter().map(|absence| absence.to).max();
        let ended = match (bounds.until, end) {
            (Some(until), Some(end)) => !self.tracks[usize::from(until)].between(by.at, end).is_empty(),
            _ => false,
        };
        (!ended).then_some(absences)
    }

    /// A source was heard, if that is what the step is for.
    pub(super) fn hear(&mut self, rule: &Rule, step: u8, at: EventTime) -> bool {
        let (Pattern::Sequence { bounds, .. }, Some(waiting)) = (&rule.pattern, &mut self.waiting) else {
            return false;
        };
        let mut is_witness = false;
        for (after, vigil) in bounds.after.iter().zip(&mut waiting.vigils) {
            if after.silence.is_some_and(|silence| silence.witness == step) {
                vigil.heard(at, after.within);
                is_witness = true;
            }
        }
        is_witness
    }

    /// The index of the hit, if its value is new to the key.
    fn new_value(&mut self, novelty: Novelty, by: Stamp) -> Option<usize> {
        let index = self.tracks[0].find(by)?;
        let Some(Measured::Text(value)) = self.tracks[0].hit(index).value.clone() else { return None };
        let waiting = self.waiting.as_mut().expect("a rule that waits has one");
        waiting.seen.sight(&value, by.at, novelty).then_some(index)
    }
}

/// Whether a rule speaks where nobody knows whether a step followed.
fn says_unknown(rule: &Rule, step: u8) -> bool {
    let Pattern::Sequence { bounds, .. } = &rule.pattern else { return true };
    bounds.after.iter().filter(|after| after.step == step).all(|after| after.silence.is_none_or(|it| it.say))
}
