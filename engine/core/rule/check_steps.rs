//! Do the steps of one rule make sense together?

use crate::limits::{DISTINCT_EVENTS_MAX, SEQUENCE_PLACES_MAX};
use crate::rule::diagnostic::nearest;
use crate::rule::draft::{Draft, DraftInput, DraftStep, Problems};
use crate::rule::plan::Need;

/// Says what the steps of a rule cannot mean together.
pub(super) fn check_steps(draft: &Draft, problems: &mut Problems<'_>) {
    let parts: Vec<&str> = draft.by.value.iter().map(|part| part.name.as_str()).collect();
    for step in &draft.steps {
        for (name, _) in &step.by {
            if !parts.contains(&name.value.as_str()) {
                let help = match nearest(&name.value, parts.iter().copied()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("the parts of this rule's key: {}", parts.join(", ")),
                };
                let message = format!("`{}` is no part of the key of this rule", name.value);
                problems.error(&name.span, message, "not in the rule's `by`", Some(help));
            }
        }
    }
    match draft.ordered {
        true => check_sequence(draft, problems),
        false => check_all_of(draft, problems),
    }
}

fn check_sequence(draft: &Draft, problems: &mut Problems<'_>) {
    for (at, step) in draft.steps.iter().enumerate() {
        let help = "make it a rule of its own, and a step `rule: …` here";
        let mut refuse = |message: &str, label: &str| {
            problems.error(&step.need.span, message, label, Some(help.into()));
        };
        match &step.need.value {
            Need::Events(range) if range.is_open_above() => {}
            Need::Events(_) => refuse("a sequence cannot limit how often a step happens", "an upper limit"),
            Need::Values(_) => {
                refuse("a sequence cannot count distinct values in a step", "counts distinct values");
            }
            Need::Measure(..) => refuse("a sequence cannot measure a step", "measures numbers"),
            Need::New(_) => refuse("a sequence cannot ask what is new", "asks what is new"),
        }
        if let (0, Some(gap)) = (at, &step.gap_max) {
            problems.error(&gap.span, "`max_gap` in the first step", "nothing comes before it", None);
        }
    }
    let places: u64 = draft.steps.iter().map(|step| u64::from(step.need.value.threshold())).sum();
    if places > SEQUENCE_PLACES_MAX as u64 {
        let help = "count in a rule of its own, and make its completion a step here with `rule: …`";
        let message = format!("a sequence of {places} events");
        problems.error(&draft.id.span, message, format!("at most {SEQUENCE_PLACES_MAX}"), Some(help.into()));
    }
}

fn check_all_of(draft: &Draft, problems: &mut Problems<'_>) {
    for step in &draft.steps {
        if draft.steps.len() > 1 && matches!(step.need.value, Need::New(_)) {
            let help = "make it a rule of its own, and a step `rule: …` here";
            let message = "`first_seen` beside other steps";
            problems.error(&step.need.span, message, "must be the only step", Some(help.into()));
        }
        if let Some(gap) = &step.gap_max {
            let help = "add `ordered: true` to the rule";
            problems.error(
                &gap.span,
                "`max_gap` without order",
                "only a sequence has gaps",
                Some(help.into()),
            );
        }
    }
    let taken: u64 = draft.steps.iter().map(|step| u64::from(step.need.value.threshold())).sum();
    if draft.distinct_events.unwrap_or(true)
        && overlapping(&draft.steps)
        && taken > u64::from(DISTINCT_EVENTS_MAX)
    {
        let help = "say `distinct_events: false`, or make the steps differ in `source` or `kind`";
        let message = "one event could satisfy two steps, and telling them apart would cost too much";
        let label = format!("takes {taken} events, at most {DISTINCT_EVENTS_MAX}");
        problems.error(&draft.id.span, message, label, Some(help.into()));
    }
}

/// Whether one event could satisfy two of the steps, as far as source and kind tell.
pub(super) fn overlapping(steps: &[DraftStep]) -> bool {
    steps.iter().enumerate().any(|(at, step)| {
        steps[..at].iter().any(|other| match (&step.input, &other.input) {
            (DraftInput::Events(a), DraftInput::Events(b)) => !a.excludes(b),
            (DraftInput::Completions(a), DraftInput::Completions(b)) => a.value == b.value,
            _ => false,
        })
    })
}
