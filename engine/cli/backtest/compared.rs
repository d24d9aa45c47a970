//! Two sets of rules side by side over the same events, read once.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write;
use std::path::PathBuf;

use anyhow::Context;
use serde_json::json;
use sightline_core::rule::RuleSet;
use sightline_schemas::control::EngineSettings;
use sightline_schemas::{Change, Incident, IncidentId, IncidentMessage};

use super::compare::{Comparison, compare};
use super::follow::Running;
use crate::bus::LogMessage;
use crate::cli::cell::{self, shown};
use crate::cli::exit::CliError;
use crate::cli::input::Input;
use crate::cli::paint::{Colors, Paint};
use crate::cli::rules;
use crate::worker::machine::Applied;

/// Longest shown value of a difference.
const VALUE_CHARS_MAX: usize = 80;

/// What to compare over which events.
pub(super) struct Compared<'a> {
    /// Rules as they were.
    pub(super) old: PathBuf,
    /// Rules as they are to be.
    pub(super) new: PathBuf,
    /// The events.
    pub(super) events: &'a Input,
    /// The settings that can change a result.
    pub(super) settings: &'a EngineSettings,
    /// Messages taken at a time.
    pub(super) batch: usize,
}

/// Incidents at their last version, and which rules there were.
struct Side {
    running: Running,
    incidents: BTreeMap<IncidentId, Incident>,
    rules: BTreeMap<String, String>,
}

impl Side {
    fn begin(rules: PathBuf, settings: &EngineSettings, paint: Paint) -> Result<Self, CliError> {
        let paths = [rules];
        let judged = rules::usable(&paths, settings, paint)?;
        let versions = judged.verdict.map(|checked| versions(&checked.rules)).unwrap_or_default();
        let running = Running::begin(&paths, settings, 1)?;
        Ok(Side { running, incidents: BTreeMap::new(), rules: versions })
    }

    fn note(incidents: &mut BTreeMap<IncidentId, Incident>, applied: &Applied) -> anyhow::Result<()> {
        for output in &applied.incidents {
            let message: IncidentMessage =
                serde_json::from_slice(&output.body).context("cannot read an incident")?;
            match message.change {
                Change::Merged => incidents.remove(&message.incident.id),
                _ => incidents.insert(message.incident.id, message.incident),
            };
        }
        Ok(())
    }

    fn take(&mut self, messages: &[LogMessage]) -> anyhow::Result<()> {
        let applied = self.running.take(messages);
        Side::note(&mut self.incidents, &applied)
    }

    fn end(&mut self) -> anyhow::Result<()> {
        let incidents = &mut self.incidents;
        self.running.end(&mut |applied| Side::note(incidents, applied))
    }
}

fn versions(rules: &RuleSet) -> BTreeMap<String, String> {
    let version =
        |rule: &sightline_core::rule::Rule| (rule.reference.id.clone(), rule.reference.version.clone());
    rules.rules.iter().map(version).collect()
}

/// Rules that are new, gone, or another.
#[derive(Debug, Default, serde::Serialize)]
pub(super) struct RuleChanges {
    added: Vec<String>,
    removed: Vec<String>,
    changed: Vec<String>,
}

/// Runs both over the events.
pub(super) async fn run(what: Compared<'_>, colors: Colors) -> Result<(Comparison, RuleChanges), CliError> {
    let mut old = Side::begin(what.old, what.settings, colors.stderr)?;
    let mut new = Side::begin(what.new, what.settings, colors.stderr)?;
    let mut take = |messages: &[LogMessage]| {
        old.take(messages)?;
        new.take(messages)
    };
    what.events.read(what.batch, &mut take).await?;
    old.end()?;
    new.end()?;
    let missing = |from: &BTreeMap<String, String>, there: &BTreeMap<String, String>| -> Vec<String> {
        from.keys().filter(|id| !there.contains_key(*id)).cloned().collect()
    };
    let another =
        |(id, version): &(&String, &String)| old.rules.get(*id).is_some_and(|known| known != *version);
    let changes = RuleChanges {
        added: missing(&new.rules, &old.rules),
        removed: missing(&old.rules, &new.rules),
        changed: new.rules.iter().filter(another).map(|(id, _)| id.clone()).collect(),
    };
    Ok((compare(&old.incidents, &new.incidents), changes))
}

/// The comparison for programs: one JSON object.
pub(super) fn json(comparison: &Comparison, changes: &RuleChanges) -> serde_json::Value {
    json!({
        "gained": comparison.gained,
        "lost": comparison.lost,
        "changed": comparison.changed,
        "same": comparison.same,
        "rules": changes,
    })
}

/// The comparison for people.
pub(super) fn tell(
    comparison: &Comparison,
    changes: &RuleChanges,
    out: &mut impl Write,
    paint: Paint,
) -> std::io::Result<()> {
    for incident in &comparison.gained {
        writeln!(out, "{}  {}", paint.good("GAINED "), line(incident, paint))?;
    }
    for incident in &comparison.lost {
        writeln!(out, "{}  {}", paint.bad("LOST   "), line(incident, paint))?;
    }
    for changed in &comparison.changed {
        writeln!(out, "{}  {}", paint.bold("CHANGED"), line(&changed.incident, paint))?;
        for difference in &changed.differences {
            let or_nothing = |text: &str| match text {
                "" => "nothing".to_owned(),
                text => shown(text, VALUE_CHARS_MAX),
            };
            let (old, new) = (or_nothing(&difference.old), or_nothing(&difference.new));
            writeln!(out, "         {}: {old} -> {new}", difference.what)?;
        }
    }
    if comparison.differs() {
        writeln!(out)?;
        let mut table = cell::table(&["rule", "gained", "lost", "changed"], paint);
        for (rule, (gained, lost, changed)) in comparison.by_rule() {
            table.add_row([shown(rule, 60), gained.to_string(), lost.to_string(), changed.to_string()]);
        }
        writeln!(out, "{}\n", table.trim_fmt())?;
    }
    let mut words = String::new();
    for (what, rules) in [("new", &changes.added), ("gone", &changes.removed), ("changed", &changes.changed)]
    {
        if !rules.is_empty() {
            let _ = writeln!(words, "rules {what}: {}", rules.join(", "));
        }
    }
    write!(out, "{words}")?;
    writeln!(
        out,
        "{} gained, {} lost, {} changed, {} the same",
        comparison.gained.len(),
        comparison.lost.len(),
        comparison.changed.len(),
        comparison.same
    )
}

/// An incident on one line.
fn line(incident: &Incident, paint: Paint) -> String {
    let key = incident
        .scope
        .parts
        .iter()
        .map(|part| format!("{}={}", shown(&part.name, 30), cell::short_value(&part.value, 60)));
    format!(
        "{} {}  {}  {} .. {}, {} events  {}",
        paint.severity(incident.severity, incident.severity.as_str()),
        shown(&incident.rule.id, 60),
        key.collect::<Vec<_>>().join(" "),
        incident.first_event_at,
        incident.last_event_at,
        incident.event_count,
        paint.dim(&incident.id.to_string()),
    )
}
