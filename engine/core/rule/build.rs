//! From drafts that make sense together to plans that can be run.

use std::collections::HashMap;

use sightline_schemas::control::EngineSettings;
use sightline_schemas::incident::{RuleRef, ScopeType};
use smallvec::SmallVec;

use crate::detect::DetectorBuilder;
use crate::field::Field;
use crate::hit::RuleIndex;
use crate::predicate::{Case, Condition, Predicate, Test, Texts, Where};
use crate::rule::check_steps::{overlapping, sources};
use crate::rule::draft::{At, Draft, DraftAbsence, DraftInput, DraftStep, IfSilent, Role};
use crate::rule::least::Least;
use crate::rule::plan::{
    After, Bounds, Feed, Input, Need, Pattern, Place, Rule, RuleSet, Silence, Step, Timing, Unit,
};
use crate::rule::policy::Rematch;
use crate::rule::template::{Name, OfStep, names};
use crate::rule::watch::watches;

/// Builds the plans of rules that were checked.
pub(super) fn build(
    mut drafts: Vec<Draft>,
    ids: &HashMap<String, usize>,
    depths: &[u8],
    settings: &EngineSettings,
) -> RuleSet {
    drafts.iter_mut().for_each(add_witnesses);
    let mut units: Vec<Unit> = Vec::new();
    let mut rules: Vec<Rule> = Vec::with_capacity(drafts.len());
    // What rules ask of the rules that they build on must be remembered there.
    let mut asked: Vec<Vec<Field>> = vec![Vec::new(); drafts.len()];
    let mut feeds: Vec<Vec<Feed>> = vec![Vec::new(); drafts.len()];
    // From the top down: what a rule is asked for, it asks of the rules below it.
    let mut from_the_top: Vec<usize> = (0..drafts.len()).collect();
    from_the_top.sort_by_key(|at| std::cmp::Reverse(depths[*at]));
    for at in from_the_top {
        let draft = &drafts[at];
        for (step_at, step) in draft.steps.iter().enumerate() {
            if let DraftInput::Completions(target) = &step.input {
                let upstream = ids[&target.value];
                feeds[upstream].push(Feed { rule: crate::detect::index(at), step: step_at as u8 });
                let keys = draft.by.value.iter().flat_map(|part| key_fields(step, &part.name));
                let counted = step.counted.iter().map(|(field, _)| field.clone());
                let passed_on = asked[at].clone();
                let only = step.only.iter().flat_map(Condition::predicates);
                let compared = only.map(|predicate| predicate.field.clone());
                let shown = step.shown.iter().cloned();
                asked[upstream].extend(keys.chain(counted).chain(shown).chain(compared).chain(passed_on));
            }
        }
    }
    // In the order of the rules, whatever the order in which they were looked at.
    feeds.iter_mut().for_each(|feeds| feeds.sort_by_key(|feed| (feed.rule, feed.step)));
    let strata = depths.iter().copied().max().unwrap_or(0) + 1;
    let lates = latenesses(&drafts, ids, depths, settings);
    for (at, mut draft) in drafts.into_iter().enumerate() {
        show_what_is_said(&mut draft);
        let index = crate::detect::index(at);
        let (timing, late) = (timing(&draft), lates[at]);
        let (unit, member) = join_unit(&mut units, &draft, index, timing, late);
        let pattern = pattern(&draft);
        let scope = draft.by.value.first().map_or(ScopeType::Group, |part| part.normal.scope());
        let parts = draft.by.value;
        let steps: Vec<Step> =
            draft.steps.into_iter().map(|step| build_step(step, &parts, &asked[at], ids)).collect();
        rules.push(Rule {
            reference: RuleRef { id: draft.id.value, version: hash(&draft.whole) },
            title: draft.title,
            description: draft.description,
            severity: draft.severity,
            severity_basis: draft.severity_basis,
            tags: draft.tags,
            policies: draft.policies,
            notes: draft.notes,
            window: draft.window.value,
            pattern,
            timing,
            late,
            least: Least::of(draft.window.value, &steps),
            steps,
            scope,
            unit,
            member,
            stratum: depths[at],
            feeds: std::mem::take(&mut feeds[at]),
            watch: None,
        });
    }
    number_alike(&mut rules, &units);
    let watches = watches(&mut rules, &mut units);
    let mut detector = DetectorBuilder::default();
    for (at, rule) in rules.iter().enumerate() {
        // The first one of a watch is asked for all of them.
        if rule.watch.is_some_and(|watch| watches[watch as usize].rules[0].get() != at) {
            continue;
        }
        for (step_at, step) in rule.steps.iter().enumerate() {
            if let Input::Events(condition) = &step.input {
                detector.add((crate::detect::index(at), step_at as u8), condition);
            }
        }
    }
    let detector = detector.build();
    let unit_places = units.iter().enumerate().map(|(at, unit)| (unit.id.clone(), at)).collect();
    let watch_places = watches.iter().enumerate().map(|(at, watch)| (watch.id.clone(), at)).collect();
    let settings = settings.clone();
    RuleSet {
        rules,
        units,
        unit_places,
        watches,
        watch_places,
        detector,
        strata,
        settings,
        are_warming: false,
    }
}

/// Evidence shows the fields that title and description name.
fn show_what_is_said(draft: &mut Draft) {
    let said: Vec<Name> = [&draft.title, &draft.description]
        .into_iter()
        .flat_map(|text| names(text))
        .filter_map(|name| Name::parse(name).ok())
        .collect();
    for name in said {
        let Name::Step(step, OfStep::Field(field)) = name else { continue };
        let step = draft.steps.iter_mut().find(|known| known.name.value == step);
        if let (Some(step), Ok(field)) = (step, Field::parse(&field)) {
            step.shown.insert(0, field);
        }
    }
}

/// Whether a rule has to wait before it says what it found.
fn timing(draft: &Draft) -> Timing {
    match draft.steps.iter().all(|step| step.need.value.only_grows()) {
        true => Timing::AtOnce,
        false => Timing::Settled { wait: followers(draft).map(|(_, _, within)| within).max().unwrap_or(0) },
    }
}

/// The steps that must not follow the last place: index, absence, and for how long.
fn followers(draft: &Draft) -> impl Iterator<Item = (usize, &DraftAbsence, i64)> {
    let last = draft.steps.iter().rposition(DraftStep::is_place);
    absences(draft).filter(move |(at, _, _)| last.is_some_and(|last| *at > last))
}

fn absences(draft: &Draft) -> impl Iterator<Item = (usize, &DraftAbsence, i64)> {
    draft.steps.iter().enumerate().filter_map(|(at, step)| match &step.role {
        Role::Absent(absence) => {
            let within = absence.within.as_ref().map_or(draft.window.value, |within| within.value);
            Some((at, &**absence, within))
        }
        _ => None,
    })
}

/// Adds a step for each one that must not follow, of whatever shows that its source is alive, in the same order.
fn add_witnesses(draft: &mut Draft) {
    let mut witnesses = Vec::new();
    for (at, absence, _) in followers(draft) {
        let step = &draft.steps[at];
        let condition = match (&absence.if_silent, &absence.alive, sources(step)) {
            (Some(At { value: IfSilent::Ignore, .. }), _, _) | (_, None, None) => continue,
            (_, Some(alive), _) => alive.value.clone(),
            (_, None, Some(sources)) => {
                let field = Field::parse("source").expect("a name of the event itself");
                let texts = Texts::new(Where::Whole, Case::Sensitive, sources.to_vec());
                Condition::Test(Predicate { field, test: Test::Texts(texts) })
            }
        };
        let name =
            At { value: format!("{} could be reported", step.name.value), span: step.name.span.clone() };
        let need = At { value: Need::Nothing, span: step.name.span.clone() };
        let by = step.by.clone();
        let witness = DraftStep::new(name, DraftInput::Events(condition));
        witnesses.push(DraftStep { need, by, role: Role::Witness, ..witness });
    }
    draft.steps.extend(witnesses);
}

/// For each rule how late what it takes may come. The completion of a rule that waits comes later than events do, by as
/// much as the rule waits.
fn latenesses(
    drafts: &[Draft],
    ids: &HashMap<String, usize>,
    depths: &[u8],
    settings: &EngineSettings,
) -> Vec<i64> {
    let mut lates = vec![0_i64; drafts.len()];
    let mut delays = vec![0_i64; drafts.len()];
    let mut from_the_bottom: Vec<usize> = (0..drafts.len()).collect();
    from_the_bottom.sort_by_key(|at| depths[*at]);
    for at in from_the_bottom {
        let draft = &drafts[at];
        let below = draft.steps.iter().filter_map(|step| match &step.input {
            DraftInput::Completions(target) => Some(delays[ids[&target.value]]),
            DraftInput::Events(_) => None,
        });
        let delay = below.max().unwrap_or(0);
        lates[at] = draft.late.unwrap_or(settings.lateness_micros).saturating_add(delay);
        delays[at] = match timing(draft) {
            Timing::AtOnce => delay,
            Timing::Settled { wait } => lates[at].saturating_add(wait),
        };
    }
    lates
}

fn join_unit(
    units: &mut Vec<Unit>,
    draft: &Draft,
    index: RuleIndex,
    timing: Timing,
    late: i64,
) -> (usize, u8) {
    let id = draft.group.as_ref().map_or(&draft.id.value, |group| &group.value);
    let meaning = format!("{}|{late}", draft.meaning);
    let fingerprint = u64::from_str_radix(&hash(&meaning), 16).expect("a hash is hexadecimal");
    let wait = match timing {
        Timing::AtOnce => 0,
        Timing::Settled { wait } => wait,
    };
    let window = draft.window.value;
    let span = window.saturating_add(wait);
    let suppress = draft.policies.suppress;
    // Where incidents are reopened, a key has one.
    let gap = match draft.policies.rematch {
        Rematch::New => span.max(suppress),
        Rematch::Reopen { .. } => i64::MAX,
    };
    // Before a sequence begins, something may have to be missing.
    let first = draft.steps.iter().position(DraftStep::is_place).unwrap_or(0);
    let before = absences(draft).filter(|(at, _, _)| *at < first).map(|(_, _, within)| within).max();
    let reach = span.saturating_add(late).saturating_add(before.unwrap_or(0));
    let new_for = draft.steps.iter().map(|step| match &step.need.value {
        Need::New(novelty) => novelty.forget.max(novelty.learn),
        _ => 0,
    });
    let memory = reach.max(suppress).max(new_for.max().unwrap_or(0));
    match units.iter().position(|unit| draft.group.is_some() && unit.id == *id) {
        Some(at) => {
            let unit = &mut units[at];
            unit.rules.push(index);
            unit.window = unit.window.max(window);
            unit.span = unit.span.max(span);
            unit.gap = unit.gap.max(gap);
            unit.suppress = unit.suppress.max(suppress);
            unit.coalesce = unit.coalesce.max(draft.policies.coalesce);
            unit.reach = unit.reach.max(reach);
            unit.memory = unit.memory.max(memory);
            unit.fingerprint = unit.fingerprint.rotate_left(7) ^ fingerprint;
            (at, u8::try_from(unit.rules.len() - 1).unwrap_or(u8::MAX))
        }
        None => {
            units.push(Unit {
                id: id.clone(),
                group: draft.group.as_ref().map(|group| group.value.clone()),
                rules: vec![index],
                window,
                span,
                gap,
                suppress,
                coalesce: draft.policies.coalesce,
                rematch: draft.policies.rematch.clone(),
                reach,
                memory,
                by: draft.by.value.clone(),
                fingerprint,
                number: 0,
            });
            (units.len() - 1, 0)
        }
    }
}

fn pattern(draft: &Draft) -> Pattern {
    let overlapping = overlapping(&draft.steps);
    if !draft.ordered {
        return Pattern::AllOf { distinct_events: overlapping && draft.distinct_events.unwrap_or(true) };
    }
    let mut places: Vec<Place> = Vec::new();
    let mut between: SmallVec<[u8; 2]> = SmallVec::new();
    for (at, step) in draft.steps.iter().enumerate() {
        match &step.role {
            Role::Absent(_) => between.push(at as u8),
            Role::Until | Role::Witness => {}
            Role::Place => {
                let first = places.is_empty();
                // What must not happen before the first place is one of the bounds.
                let unless = std::mem::take(&mut between);
                places.push(Place {
                    step: at as u8,
                    gap_min: step.gap_min.as_ref().map_or(0, |gap| gap.value),
                    gap_max: step.gap_max.as_ref().map(|gap| gap.value),
                    unless: if first { SmallVec::new() } else { unless },
                });
                // The further events of the same step follow without a limit of their own.
                places.extend((1..step.need.value.threshold()).map(|_| Place::of(at as u8)));
            }
        }
    }
    Pattern::Sequence { places, overlapping, bounds: bounds(draft) }
}

fn bounds(draft: &Draft) -> Bounds {
    let first = draft.steps.iter().position(DraftStep::is_place).unwrap_or(0);
    let before = absences(draft).filter(|(at, _, _)| *at < first);
    let mut witnesses = (0..draft.steps.len()).filter(|at| matches!(draft.steps[*at].role, Role::Witness));
    let after = followers(draft).map(|(at, absence, within)| {
        let asked = absence.if_silent.as_ref().map_or(IfSilent::Say, |it| it.value);
        let known = absence.alive.is_some() || sources(&draft.steps[at]).is_some();
        let silence = (asked != IfSilent::Ignore && known).then(|| Silence {
            witness: witnesses.next().expect("one was added for each") as u8,
            say: asked == IfSilent::Say,
        });
        After { step: at as u8, within, silence }
    });
    let until = draft.steps.iter().position(|step| matches!(step.role, Role::Until));
    Bounds {
        before: before.map(|(at, _, within)| (at as u8, within)).collect(),
        after: after.collect(),
        until: until.map(|at| at as u8),
    }
}

fn key_fields(step: &DraftStep, part: &str) -> Vec<Field> {
    match step.by.iter().find(|(name, _)| name.value == part) {
        Some((_, fields)) => fields.clone(),
        None => Field::parse(part).into_iter().collect(),
    }
}

fn build_step(
    step: DraftStep,
    parts: &[crate::rule::KeyPart],
    asked: &[Field],
    ids: &HashMap<String, usize>,
) -> Step {
    let keys: Vec<Vec<Field>> = parts.iter().map(|part| key_fields(&step, &part.name)).collect();
    let mut shown = step.shown;
    // Shown in any case: what the key was made of, what was counted, what was compared, what other rules build on.
    let counted = step.counted.iter().map(|(field, _)| field.clone());
    shown.extend(asked.iter().cloned().chain(counted).chain(keys.iter().flatten().cloned()));
    if let DraftInput::Events(condition) = &step.input {
        shown.extend(condition.predicates().into_iter().map(|predicate| predicate.field.clone()));
    }
    let mut seen = Vec::new();
    shown.retain(|field| {
        let own = ["source", "kind", "host_id", "user", "severity", "title"].contains(&field.name());
        let new = !own && !seen.contains(field);
        seen.push(field.clone());
        new
    });
    shown.truncate(crate::limits::SHOWN_FIELDS_MAX);
    Step {
        name: step.name.value,
        input: match step.input {
            DraftInput::Events(condition) => Input::Events(condition),
            DraftInput::Completions(target) => Input::Completions(crate::detect::index(ids[&target.value])),
        },
        need: step.need.value,
        only: step.only,
        keys,
        counted: step.counted,
        shown,
        asks: step.asks,
        keyed_as: 0,
        shown_as: 0,
    }
}

/// Gives one number to all steps that make the same keys of an event, and one to all that show the same of it.
fn number_alike(rules: &mut [Rule], units: &[Unit]) {
    let mut keyed = HashMap::new();
    let mut shown = HashMap::new();
    for rule in rules {
        let spelt: Vec<_> = units[rule.unit].by.iter().map(|part| (part.normal, part.optional)).collect();
        for step in &mut rule.steps {
            let next = keyed.len() as u32;
            step.keyed_as = *keyed.entry((step.keys.clone(), spelt.clone())).or_insert(next);
            let next = shown.len() as u32;
            step.shown_as = *shown.entry(step.shown.clone()).or_insert(next);
        }
    }
}

fn hash(text: &str) -> String {
    blake3::hash(text.as_bytes()).to_hex().as_str()[..16].to_owned()
}
