//! What the steps of a Panther rule share: the parts of a key, each with the field that holds it at each step.

use sightline_core::rule::tree::{Kind, Node};

use super::Converted;
use super::native::id as as_id;

/// A field of a step, by the step's place.
type Place = (usize, String);

/// What the matches of transitions, or the criteria of a group, say is equal.
pub(super) fn key(detection: &Node, converted: &mut Converted) {
    let mut shared: Vec<Vec<Place>> = Vec::new();
    for pair in transitions(detection, converted).into_iter().chain(criteria(detection, converted)) {
        join(&mut shared, pair);
    }
    shared.iter_mut().for_each(|places| places.sort());
    shared.sort();
    for places in &shared {
        part(places, converted);
    }
    if converted.rule.by.is_empty() {
        converted.left_out.push("no key: one window over everything".to_owned());
    }
}

/// What is equal to something that is shared is shared with it.
fn join(shared: &mut Vec<Vec<Place>>, places: Vec<Place>) {
    let (mut joined, apart): (Vec<_>, Vec<_>) =
        shared.drain(..).partition(|known| known.iter().any(|place| places.contains(place)));
    joined.push(places);
    let mut joined: Vec<Place> = joined.concat();
    joined.sort();
    joined.dedup();
    *shared = apart;
    shared.push(joined);
}

/// A part of the key is shared by all steps.
fn part(places: &[Place], converted: &mut Converted) {
    let field = |at: usize| places.iter().find(|(step, _)| *step == at).map(|(_, field)| field);
    let steps = &mut converted.rule.steps;
    let lacking: Vec<usize> = (0..steps.len()).filter(|at| field(*at).is_none()).collect();
    let named = |at: &usize| steps[*at].name.clone();
    let told: Vec<String> = places.iter().map(|(at, field)| format!("{field} of {}", named(at))).collect();
    if lacking.iter().any(|at| steps[*at].absence.is_none()) {
        let told = told.join(" = ");
        converted.left_out.push(format!(
            "that {told}: what is shared must be so by all steps, or a chain of two rules asks for it"
        ));
        return;
    }
    for at in &lacking {
        converted
            .left_out
            .push(format!("{} shares nothing with the others: here it has the same key", named(at)));
    }
    for (at, pair) in places.windows(2).filter(|pair| pair[0].0 == pair[1].0).map(|pair| (pair[0].0, pair)) {
        converted.left_out.push(format!("that {} is {} of {}", pair[1].1, pair[0].1, named(&at)));
    }
    let part = places[0].1.clone();
    for (at, step) in steps.iter_mut().enumerate() {
        if let Some(field) = field(at).filter(|field| **field != part) {
            step.by.push((part.clone(), field.clone()));
        }
    }
    converted.rule.by.push(part);
}

fn list(node: Option<&Node>) -> &[Node] {
    match node.map(|node| &node.kind) {
        Some(Kind::List(items)) => items,
        _ => &[],
    }
}

fn text(node: &Node, name: &str) -> Option<String> {
    node.member(name).and_then(Node::scalar_text)
}

fn step(name: Option<String>, converted: &Converted) -> Option<usize> {
    let name = as_id(&name?);
    converted.rule.steps.iter().position(|step| step.name == name)
}

/// From one step to the next: what they share, and how far they may be apart.
fn transitions(detection: &Node, converted: &mut Converted) -> Vec<Vec<Place>> {
    let mut shared = Vec::new();
    for transition in list(detection.member("Transitions")) {
        converted.leave_out(
            transition,
            "a transition",
            &["ID", "From", "To", "WithinTimeFrameMinutes", "Match"],
        );
        let ends = (step(text(transition, "From"), converted), step(text(transition, "To"), converted));
        let (Some(from), Some(to)) = ends else {
            converted.left_out.push("a transition from or to what is no step".to_owned());
            continue;
        };
        if let Some(minutes) = text(transition, "WithinTimeFrameMinutes") {
            limit(from, to, format!("{minutes}m"), converted);
        }
        for equal in list(transition.member("Match")) {
            converted.leave_out(equal, "a match", &["On", "From", "To"]);
            match (text(equal, "On"), text(equal, "From"), text(equal, "To")) {
                (Some(on), _, _) => shared.push(vec![(from, on.clone()), (to, on)]),
                (None, Some(here), Some(there)) => shared.push(vec![(from, here), (to, there)]),
                _ => converted.left_out.push("a match without `On`, or `From` and `To`".to_owned()),
            }
        }
    }
    shared
}

/// Each criterion of a group names a field of each member.
fn criteria(detection: &Node, converted: &mut Converted) -> Vec<Vec<Place>> {
    let Some(Kind::Map(criteria)) = detection.member("MatchCriteria").map(|node| &node.kind) else {
        return Vec::new();
    };
    let mut shared = Vec::new();
    for (_, members) in criteria {
        let mut places = Vec::new();
        for member in list(Some(members)) {
            match (step(text(member, "GroupID"), converted), text(member, "Match")) {
                (Some(at), Some(field)) => places.push((at, field)),
                _ => converted.left_out.push("a criterion of what is no member of the group".to_owned()),
            }
        }
        if !places.is_empty() {
            shared.push(places);
        }
    }
    shared
}

/// The step follows the one before within that time, or must not.
fn limit(from: usize, to: usize, time: String, converted: &mut Converted) {
    // From a step to itself: its events lie within that time.
    if from == to && converted.rule.steps.len() == 1 {
        converted.rule.window = time;
        return;
    }
    let steps = &mut converted.rule.steps;
    let name = steps[to].name.clone();
    // What is absent stands between no two steps: the one before is the one before that.
    let before = (0..to).rev().find(|at| steps[*at].absence.is_none());
    if before != Some(from) {
        let what =
            format!("that {name} follows within {time}: {} is not the step before it", steps[from].name);
        return converted.left_out.push(what);
    }
    let is_between = steps[to + 1..].iter().any(|step| step.absence.is_none());
    match &mut steps[to].absence {
        None => steps[to].max_gap = Some(time),
        Some(absence) if !is_between => absence.within = Some(time),
        Some(_) => {
            let what = format!("that {name} is absent for {time} only: it must be until the next step");
            converted.left_out.push(what);
        }
    }
}
