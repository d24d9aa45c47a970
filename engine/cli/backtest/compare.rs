//! Two lists of incidents, and how they differ: what is gained, what is lost, what is another.

use std::collections::BTreeMap;

use serde::Serialize;
use sightline_schemas::{EventId, Incident, IncidentId};

/// How what the new rules find differs from what the old ones found.
#[derive(Debug, Default, Serialize)]
pub struct Comparison {
    /// Found by the new rules only.
    pub gained: Vec<Incident>,
    /// Found by the old rules only.
    pub lost: Vec<Incident>,
    /// Found by both, and not the same.
    pub changed: Vec<Changed>,
    /// Found by both, and the same.
    pub same: u64,
}

/// An incident that both find.
#[derive(Debug, Serialize)]
pub struct Changed {
    /// As the new rules find it.
    pub incident: Incident,
    /// What is another.
    pub differences: Vec<Difference>,
}

/// One thing that is another.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// What.
    pub what: String,
    /// With the old rules.
    pub old: String,
    /// With the new ones.
    pub new: String,
}

impl Comparison {
    /// Whether anything differs.
    pub fn differs(&self) -> bool {
        !(self.gained.is_empty() && self.lost.is_empty() && self.changed.is_empty())
    }

    /// For each rule: gained, lost, changed.
    pub fn by_rule(&self) -> BTreeMap<&str, (u64, u64, u64)> {
        let mut rules: BTreeMap<&str, (u64, u64, u64)> = BTreeMap::new();
        for incident in &self.gained {
            rules.entry(&incident.rule.id).or_default().0 += 1;
        }
        for incident in &self.lost {
            rules.entry(&incident.rule.id).or_default().1 += 1;
        }
        for changed in &self.changed {
            rules.entry(&changed.incident.rule.id).or_default().2 += 1;
        }
        rules
    }
}

/// Compares what remains of incidents, each at its last version.
///
/// The same id is the same incident: it names rule, key and instant. Where a change of the rule moves the instant, the one
/// lost and the one gained for the same key and at the same time are one that changed.
pub fn compare(old: &BTreeMap<IncidentId, Incident>, new: &BTreeMap<IncidentId, Incident>) -> Comparison {
    let mut comparison = Comparison::default();
    let mut lost: Vec<&Incident> = Vec::new();
    for (id, before) in old {
        match new.get(id) {
            Some(after) => note(before, after, &mut comparison),
            None => lost.push(before),
        }
    }
    let mut gained: Vec<&Incident> =
        new.values().filter(|incident| !old.contains_key(&incident.id)).collect();
    gained.sort_by_key(|incident| (incident.first_event_at, incident.id));
    lost.sort_by_key(|incident| (incident.first_event_at, incident.id));
    for after in gained {
        match lost.iter().position(|before| is_moved(before, after)) {
            Some(at) => note(lost.remove(at), after, &mut comparison),
            None => comparison.gained.push(after.clone()),
        }
    }
    comparison.lost = lost.into_iter().cloned().collect();
    comparison.changed.sort_by_key(|changed| (changed.incident.first_event_at, changed.incident.id));
    comparison
}

fn is_moved(before: &Incident, after: &Incident) -> bool {
    let unit = |incident: &Incident| incident.group.clone().unwrap_or_else(|| incident.rule.id.clone());
    (&before.tenant, unit(before), &before.scope.key) == (&after.tenant, unit(after), &after.scope.key)
        && before.first_event_at <= after.last_event_at
        && after.first_event_at <= before.last_event_at
}

fn note(before: &Incident, after: &Incident, comparison: &mut Comparison) {
    let differences = differences(before, after);
    if differences.is_empty() {
        comparison.same += 1;
    } else {
        comparison.changed.push(Changed { incident: after.clone(), differences });
    }
}

/// What people would see. The rule's version is not among it: that rules changed is why anybody compares.
fn differences(before: &Incident, after: &Incident) -> Vec<Difference> {
    let mut differences = Vec::new();
    let mut note = |what: &str, old: String, new: String| {
        if old != new {
            differences.push(Difference { what: what.to_owned(), old, new });
        }
    };
    note("rule", before.rule.id.clone(), after.rule.id.clone());
    note("severity", before.severity.as_str().to_owned(), after.severity.as_str().to_owned());
    note("title", before.title.clone(), after.title.clone());
    note("tags", before.tags.join(", "), after.tags.join(", "));
    note("first event", before.first_event_at.to_string(), after.first_event_at.to_string());
    note("last event", before.last_event_at.to_string(), after.last_event_at.to_string());
    note("events", before.event_count.to_string(), after.event_count.to_string());
    let steps = |incident: &Incident| {
        let steps = incident.explain.iter().map(|step| format!("{} {}", step.step, step.events));
        steps.collect::<Vec<_>>().join(", ")
    };
    note("evidence", steps(before), steps(after));
    let values = |incident: &Incident| {
        let values = incident.explain.iter().filter(|step| !step.values.is_empty());
        values.map(|step| format!("{}: {}", step.step, step.values.join(", "))).collect::<Vec<_>>().join("; ")
    };
    note("values", values(before), values(after));
    if differences.is_empty() {
        let events = |incident: &Incident| -> Vec<EventId> {
            incident.events.iter().map(|evidence| evidence.id).collect()
        };
        let (old, new) = (events(before), events(after));
        let only = |these: &[EventId], those: &[EventId]| {
            let only = these.iter().filter(|id| !those.contains(id)).map(EventId::to_string);
            only.collect::<Vec<_>>().join(", ")
        };
        let (gone, come) = (only(&old, &new), only(&new, &old));
        if gone != come {
            differences.push(Difference { what: "listed events".to_owned(), old: gone, new: come });
        }
    }
    differences
}
