//! Do the steps of one rule make sense together?

use crate::limits::{DISTINCT_EVENTS_MAX, SEQUENCE_PLACES_MAX};
use crate::rule::diagnostic::nearest;
use crate::rule::draft::{Draft, DraftAbsence, DraftInput, DraftStep, IfSilent, Problems, Role};
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
    let places: Vec<usize> = (0..draft.steps.len()).filter(|at| draft.steps[*at].is_place()).collect();
    let (Some(first), Some(last)) = (places.first().copied(), places.last().copied()) else {
        let help = "add the step that comes before or after what must not happen";
        problems.error(&draft.id.span, "nothing must happen in this rule", "no step", Some(help.into()));
        return;
    };
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
            Need::Nothing => {}
        }
        check_gaps(draft, step, at == first, problems);
        if let Role::Absent(absence) = &step.role {
            check_absence(step, absence, (at < first, at > last), problems);
        }
    }
    let places: u64 = draft.steps.iter().map(|step| u64::from(step.need.value.threshold())).sum();
    if places > SEQUENCE_PLACES_MAX as u64 {
        let help = "count in a rule of its own, and make its completion a step here with `rule: …`";
        let message = format!("a sequence of {places} events");
        problems.error(&draft.id.span, message, format!("at most {SEQUENCE_PLACES_MAX}"), Some(help.into()));
    }
}

fn check_gaps(draft: &Draft, step: &DraftStep, is_first: bool, problems: &mut Problems<'_>) {
    for (name, gap) in [("min_gap", &step.gap_min), ("max_gap", &step.gap_max)] {
        let Some(gap) = gap else { continue };
        if !step.is_place() {
            let help = "say `within`, or give the limit to the step that follows";
            let message = format!("`{name}` of a step that must not happen");
            problems.error(&gap.span, message, "it has no place", Some(help.into()));
        } else if is_first {
            problems.error(&gap.span, format!("`{name}` in the first step"), "nothing comes before it", None);
        }
    }
    if let Some(least) = &step.gap_min {
        let most = step.gap_max.as_ref().map_or(draft.window.value, |most| most.value);
        if least.value > most.min(draft.window.value) {
            let label = "longer than `max_gap` or the window";
            problems.error(&least.span, "a gap that cannot be", label, None);
        }
    }
}

fn check_absence(
    step: &DraftStep,
    absence: &DraftAbsence,
    (comes_first, comes_last): (bool, bool),
    problems: &mut Problems<'_>,
) {
    if let Some(within) = &absence.within
        && !comes_first
        && !comes_last
    {
        let help = "leave it out: the steps around it say how long";
        problems.error(&within.span, "`within` between two steps", "not here", Some(help.into()));
    }
    let judged = absence.if_silent.as_ref().filter(|silent| silent.value != IfSilent::Ignore);
    let asked = judged.map(|it| &it.span).or(absence.alive.as_ref().map(|it| &it.span));
    if let Some(span) = asked
        && !comes_last
    {
        let help = "only of what must not follow the last step a source can be asked whether it is alive";
        problems.error(span, "whether a source is silent is not asked here", "not here", Some(help.into()));
    } else if let Some(silent) = judged
        && absence.alive.is_none()
        && sources(step).is_none()
    {
        let help =
            "name its `source` in `match`, or say with `alive: {…}` which events show that it is alive";
        let message = "nobody knows who would report this step";
        problems.error(&silent.span, message, "whose silence?", Some(help.into()));
    }
}

/// The sources of which one would report a step, if its conditions say so.
pub(super) fn sources(step: &DraftStep) -> Option<&[String]> {
    match &step.input {
        DraftInput::Events(condition) => condition.required_texts("source"),
        DraftInput::Completions(_) => None,
    }
}

fn check_all_of(draft: &Draft, problems: &mut Problems<'_>) {
    for step in &draft.steps {
        let unordered = match &step.role {
            Role::Absent(absence) => Some((&absence.span, "`absent` without order")),
            Role::Until => Some((&step.need.span, "`until` without order")),
            Role::Place | Role::Witness => None,
        };
        if let Some((span, message)) = unordered {
            let help = "add `ordered: true` to the rule";
            problems.error(span, message, "only a sequence has a before and an after", Some(help.into()));
        }
        if draft.steps.len() > 1 && matches!(step.need.value, Need::New(_)) {
            let help = "make it a rule of its own, and a step `rule: …` here";
            let message = "`first_seen` beside other steps";
            problems.error(&step.need.span, message, "must be the only step", Some(help.into()));
        }
        for (name, gap) in [("min_gap", &step.gap_min), ("max_gap", &step.gap_max)] {
            let Some(gap) = gap else { continue };
            let help = "add `ordered: true` to the rule";
            let message = format!("`{name}` without order");
            problems.error(&gap.span, message, "only a sequence has gaps", Some(help.into()));
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
    let places: Vec<&DraftStep> = steps.iter().filter(|step| step.is_place()).collect();
    places.iter().enumerate().any(|(at, step)| {
        places[..at].iter().any(|other| match (&step.input, &other.input) {
            (DraftInput::Events(a), DraftInput::Events(b)) => !a.excludes(b),
            (DraftInput::Completions(a), DraftInput::Completions(b)) => a.value == b.value,
            _ => false,
        })
    })
}
