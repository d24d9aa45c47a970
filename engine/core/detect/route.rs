//! From satisfied steps to hits: whose key is it, and what will people want to see?

use std::borrow::Cow;
use std::sync::Arc;

use sightline_schemas::incident::Named;
use sightline_schemas::{Event, EventId, Position, TimeSource};
use smallvec::{SmallVec, smallvec};

use crate::attack::Attack;
use crate::correlate::Completion;
use crate::detect::Memo;
use crate::detect::completion_event::as_event;
use crate::field::{Field, Scalar};
use crate::hit::{Brief, Hit, Measured, RuleIndex};
use crate::key::{Key, Normal};
use crate::limits::{KEYS_PER_HIT_MAX, SHOWN_VALUE_BYTES_MAX};
use crate::predicate::Condition;
use crate::rule::policy::Exception;
use crate::rule::{KeyPart, Need, RuleSet, Step};

/// The hits of an event, in the order of rules, steps and keys. An event that has any is given its id, which `raw`, the
/// event as it came, may be needed for.
pub fn event_hits(
    rules: &RuleSet,
    event: &mut Event<'_>,
    raw: &[u8],
    tenant: &Arc<str>,
    position: Position,
    memo: &mut Memo,
    hits: &mut Vec<Hit>,
) {
    let mut satisfied = std::mem::take(&mut memo.satisfied);
    satisfied.clear();
    rules.detector.satisfied(event, memo, |step| satisfied.push(step));
    if !satisfied.is_empty() {
        event.id = EventId::of(event, raw);
    }
    let mut made = Made::default();
    for (rule, step) in &satisfied {
        if is_excepted(&rules.rule(*rule).policies.exceptions, event) {
            // An event is excepted once, however many steps it satisfies: those of a rule follow each other.
            if memo.excepted.last() != Some(&(position, *rule)) {
                memo.excepted.push((position, *rule));
            }
            continue;
        }
        step_hits(rules, event, tenant, position, (*rule, *step), &mut made, hits);
    }
    memo.satisfied = satisfied;
}

fn is_excepted(exceptions: &[Exception], event: &Event<'_>) -> bool {
    exceptions.iter().any(|exception| {
        exception.expires.is_none_or(|expires| event.occurred_at < expires)
            && exception.condition.holds(event)
    })
}

/// What was made of an event for a step, for the steps that want the same: many rules can want one event.
#[derive(Default)]
struct Made {
    keys: SmallVec<[(u32, SmallVec<[Key; 1]>); 2]>,
    briefs: SmallVec<[(u32, Arc<Brief>); 2]>,
}

/// What stands under a number; made where nothing does.
fn made<T>(known: &mut SmallVec<[(u32, T); 2]>, number: u32, make: impl FnOnce() -> T) -> &T {
    let at = known.iter().position(|(there, _)| *there == number).unwrap_or_else(|| {
        known.push((number, make()));
        known.len() - 1
    });
    &known[at].1
}

fn step_hits(
    rules: &RuleSet,
    event: &Event<'_>,
    tenant: &Arc<str>,
    position: Position,
    (rule, step_index): (RuleIndex, u8),
    known: &mut Made,
    hits: &mut Vec<Hit>,
) {
    let step = &rules.rule(rule).steps[usize::from(step_index)];
    let keys = made(&mut known.keys, step.keyed_as, || {
        keys(&step.keys, &rules.unit_of(rule).by, |field, take| {
            field.any(event, |value| {
                take(value.text());
                false
            });
        })
    });
    if keys.is_empty() {
        return;
    }
    let value = match &step.counted {
        None => None,
        Some((field, normal)) => match measured(step, field, *normal, event) {
            Some(value) => Some(value),
            // Without the value that it counts, the event is no candidate.
            None => return,
        },
    };
    let brief = made(&mut known.briefs, step.shown_as, || Arc::new(brief(step, event)));
    hits.extend(keys.iter().map(|key| Hit {
        tenant: Arc::clone(tenant),
        rule,
        step: step_index,
        key: key.clone(),
        at: event.occurred_at,
        suspect: event.time_source == TimeSource::Suspect,
        event: event.id,
        position,
        value: value.clone(),
        brief: Arc::clone(brief),
    }));
}

/// The hits that the completion of a rule is for the rules that build on it.
pub fn completion_hits(rules: &RuleSet, completion: &Completion, hits: &mut Vec<Hit>) {
    let upstream = rules.rule(completion.rule);
    let names = &rules.units[upstream.unit].by;
    let lookup = |name: &str| -> Option<&str> {
        let part = names.iter().zip(completion.key.values()).find(|(part, _)| part.name == name);
        part.map(|(_, value)| value).or_else(|| completion.brief.get(name))
    };
    for feed in &upstream.feeds {
        let step = &rules.rule(feed.rule).steps[usize::from(feed.step)];
        let brief = Arc::new(completion_brief(rules, completion, lookup));
        let wanted = |only: &Condition| only.holds(&as_event(completion, &brief, upstream.severity));
        if !step.only.as_ref().is_none_or(wanted) {
            continue;
        }
        let keys = keys(&step.keys, &rules.unit_of(feed.rule).by, |field, take| {
            if let Some(value) = lookup(field.name()) {
                take(Cow::Borrowed(value));
            }
        });
        let value = match &step.counted {
            None => None,
            Some((field, normal)) => {
                let text = lookup(field.name());
                let value = match step.need {
                    Need::Measure(..) => text.and_then(|text| finite(Scalar::Text(text))),
                    _ => text.and_then(|text| normal.apply(text)).map(|text| Measured::Text(Arc::from(text))),
                };
                match value {
                    Some(value) => Some(value),
                    None => continue,
                }
            }
        };
        // Of several completions in one instant each value counts, whichever came first.
        let event = match &value {
            None => completion.event,
            Some(value) => {
                let value = match value {
                    Measured::Text(text) => text.to_string(),
                    Measured::Number(number) => number.to_string(),
                };
                let counted = format!("{}\u{1f}{value}", completion.key.canonical());
                EventId::of_completion(&completion.tenant, &upstream.reference.id, &counted, completion.at)
            }
        };
        hits.extend(keys.into_iter().map(|key| Hit {
            tenant: Arc::clone(&completion.tenant),
            rule: feed.rule,
            step: feed.step,
            key,
            at: completion.at,
            suspect: completion.suspect,
            event,
            position: completion.position,
            value: value.clone(),
            brief: Arc::clone(&brief),
        }));
    }
}

/// What a step counts or measures of an event: the first value of the field that is one.
pub(crate) fn measured(step: &Step, field: &Field, normal: Normal, event: &Event<'_>) -> Option<Measured> {
    if !matches!(step.need, Need::Measure(..)) {
        let text = field.first_text(event).and_then(|text| normal.apply(&text))?;
        return Some(Measured::Text(Arc::from(text)));
    }
    let mut first = None;
    field.any(event, |scalar| {
        first = finite(scalar);
        first.is_some()
    });
    first
}

fn finite(scalar: Scalar<'_>) -> Option<Measured> {
    scalar.number().filter(|number| number.is_finite()).map(Measured::Number)
}

/// Every combination of the values of the key's parts, each once. None where a part has no value.
fn keys<'f>(
    fields: &'f [Vec<Field>],
    parts: &[KeyPart],
    values_of: impl Fn(&'f Field, &mut dyn FnMut(Cow<'_, str>)),
) -> SmallVec<[Key; 1]> {
    let mut values: SmallVec<[SmallVec<[String; 1]>; 2]> = SmallVec::new();
    for (fields, part) in fields.iter().zip(parts) {
        let mut of_part: SmallVec<[String; 1]> = SmallVec::new();
        for field in fields {
            values_of(field, &mut |value| {
                if let Some(normal) = part.normal.apply(&value)
                    && !of_part.contains(&normal)
                    && of_part.len() < KEYS_PER_HIT_MAX
                {
                    of_part.push(normal);
                }
            });
        }
        if of_part.is_empty() && part.optional {
            // A key of its own: nothing in this part.
            of_part.push(String::new());
        }
        if of_part.is_empty() {
            return SmallVec::new();
        }
        values.push(of_part);
    }
    // Nearly always: one value for each part.
    if values.iter().all(|of_part| of_part.len() == 1) {
        return smallvec![Key::new(values.into_iter().flatten().collect())];
    }
    let mut keys: Vec<Vec<String>> = vec![Vec::with_capacity(parts.len())];
    for of_part in &values {
        let combine = |key: &Vec<String>| {
            let key = key.clone();
            of_part
                .iter()
                .map(move |value| [key.as_slice(), std::slice::from_ref(value)].concat())
                .collect::<Vec<_>>()
        };
        keys = keys.iter().flat_map(combine).take(KEYS_PER_HIT_MAX).collect();
    }
    keys.into_iter().map(Key::new).collect()
}

fn brief(step: &Step, event: &Event<'_>) -> Brief {
    // With no room for more: most of the memory of a hot key are briefs.
    let mut fields = Vec::with_capacity(step.shown.len());
    fields.extend(step.shown.iter().filter_map(|field| {
        let value = field.first_text(event)?;
        Some(Named { name: field.name().to_owned(), value: shorten(value) })
    }));
    Brief {
        source: short(&event.source),
        kind: short(&event.kind),
        host_id: event.host_id.as_deref().map(short),
        // Many sensors have the user in their payload.
        user: event.user.as_deref().or_else(|| event.fields.get("user")?.as_str()).map(short),
        severity: event.severity,
        title: event.title.as_deref().map(short),
        attack: event
            .attack
            .is_some()
            .then(|| Box::new(Attack::of(event)))
            .filter(|attack| !attack.is_empty()),
        fields,
    }
}

/// A completion shows the key of its rule, and what the rules that build on it asked for.
fn completion_brief<'c>(
    rules: &RuleSet,
    completion: &'c Completion,
    lookup: impl Fn(&str) -> Option<&'c str>,
) -> Brief {
    let upstream = rules.rule(completion.rule);
    let by = &rules.units[upstream.unit].by;
    let host = by.iter().zip(completion.key.values());
    let host = host.into_iter().find(|(part, value)| part.normal == Normal::Host && !value.is_empty());
    let mut fields = completion.key.named(by);
    for named in &completion.brief.fields {
        if !fields.iter().any(|field| field.name == named.name) {
            fields.push(named.clone());
        }
    }
    let mut attack = upstream.notes.attack.clone();
    if let Some(own) = &completion.brief.attack {
        attack.merge(own);
    }
    Brief {
        source: completion.brief.source.clone(),
        kind: format!("rule:{}", upstream.reference.id).into(),
        host_id: completion.brief.host_id.clone().or_else(|| host.map(|(_, value)| value.into())),
        user: lookup("user").map(Box::from),
        severity: upstream.severity,
        title: Some(upstream.title_for(&completion.key, by).into()),
        attack: Some(Box::new(attack)).filter(|attack| !attack.is_empty()),
        fields,
    }
}

fn short(text: &str) -> Box<str> {
    match text.len() <= SHOWN_VALUE_BYTES_MAX {
        true => text.into(),
        false => shorten(text.to_owned()).into(),
    }
}

fn shorten(mut text: String) -> String {
    if text.len() > SHOWN_VALUE_BYTES_MAX {
        let mut cut = SHOWN_VALUE_BYTES_MAX;
        while !text.is_char_boundary(cut) {
            cut -= 1;
        }
        text.truncate(cut);
        text.push('…');
    }
    text
}

/// The place of a rule, for those who build sets of them.
pub(crate) fn index(at: usize) -> RuleIndex {
    RuleIndex(u32::try_from(at).expect("no more rules than RULES_MAX"))
}
