//! What a running worker answers to people: how far a rule came for a key, and why an incident is there.

use std::sync::Arc;

use serde_json::{Value, json};
use sightline_core::explain::Inquiry;
use sightline_core::hit::RuleIndex;
use sightline_core::rule::diagnostic::nearest;
use sightline_core::rule::excerpt::excerpt;
use sightline_core::rule::{RuleSet, Source};
use sightline_schemas::{Incident, IncidentId};

use crate::state::state_key::StateKey;
use crate::state::table::StateTable;
use crate::telemetry::Question;

/// How far a rule came for a key, as far as the key remembers.
///
/// # Errors
/// With what is wrong with the question.
pub(super) fn why_not(
    table: &StateTable,
    rules: &Arc<RuleSet>,
    question: &Question,
) -> Result<Value, String> {
    let ids = || rules.rules.iter().map(|rule| rule.reference.id.as_str());
    let at = ids().position(|id| id == question.rule).ok_or_else(|| {
        let near = nearest(&question.rule, ids());
        let help = near.map_or(String::new(), |near| format!("; did you mean {near}?"));
        format!("there is no rule {}{help}", question.rule)
    })?;
    let index = RuleIndex(u32::try_from(at).map_err(|error| error.to_string())?);
    let (rule, unit) = (rules.rule(index), rules.unit_of(index));
    let pair = |text: &String| match text.split_once('=') {
        Some((name, value)) if unit.by.iter().any(|part| part.name == name) => {
            (Some(name.to_owned()), value.to_owned())
        }
        _ => (None, text.clone()),
    };
    let pairs: Vec<(Option<String>, String)> = question.key.iter().map(pair).collect();
    let key = Inquiry::key_of(unit, &pairs)?;
    let mut inquiry = Inquiry::new(Arc::clone(rules), index, &question.tenant, key.clone());
    let watch = rule.watch.map(|watch| &rules.watches[watch as usize].id);
    let shared = watch.and_then(|watch| {
        table.with_existing(StateKey::of(&question.tenant, watch, &key), |live| {
            let shares = live.state.is_shared_with(unit);
            if shares {
                let own = live.state.own(unit, rules);
                own.remembered(rule.member).for_each(|(step, hit)| inquiry.remember(step, hit));
            }
            shares
        })
    });
    // A rule that shares has forgotten what it once had for itself.
    let is_remembered = shared == Some(true)
        || table
            .with_existing(StateKey::of(&question.tenant, &unit.id, &key), |live| {
                live.state.remembered(rule.member).for_each(|(step, hit)| inquiry.remember(step, hit));
                live.state.incidents().iter().for_each(|incident| inquiry.see_stated(incident.stated()));
            })
            .is_some();
    let mut answer = serde_json::to_value(inquiry.answer()).expect("an answer is plain data");
    answer["remembered"] = is_remembered.into();
    Ok(answer)
}

/// An incident of that id, with the text of its rule.
pub(super) fn incident(table: &StateTable, rules: &RuleSet, files: &[Source], id: &str) -> Option<Value> {
    let id = IncidentId::parse(id)?;
    let mut found: Option<Incident> = None;
    table.for_each(|_, state| {
        if found.is_none() {
            found = state.incidents().iter().find(|known| known.answers_to(id)).map(|known| known.stated());
        }
    });
    let incident = found?;
    let rule = &incident.rule;
    let text = files.iter().find_map(|file| excerpt(file, &rule.id));
    let now = rules.rules.iter().find(|known| known.reference.id == rule.id);
    let now = now.map(|known| known.reference.version.clone()).filter(|version| *version != rule.version);
    Some(json!({ "rule_text": text, "rule_now": now, "incident": incident }))
}
