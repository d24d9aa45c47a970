//! The engine against a slow, obvious oracle: random rules, random histories, the same incidents.
//!
//! `SIGHTLINE_TEST_ORACLE_CASES` is how many cases to try (default 12000), `SIGHTLINE_TEST_ORACLE_SEED` the first one's seed.

mod support;

use std::collections::BTreeMap;

use bytes::Bytes;
use sightline::bus::LogMessage;
use sightline_schemas::control::{EngineSettings, IncidentCommand, RuleFile, RulesMessage};
use sightline_schemas::subject::incident_command;
use sightline_schemas::{Change, EventTime, IncidentId, IncidentMessage};
use support::histories::{Case, Entry, case, event_message, tick};
use support::oracle::Oracle;
use support::outcome::{Summary, broken_promises, latest, messages, remaining};
use support::rule_text::rule_file;
use support::runs::{Run, batches, batches_without_room, fresh};

const CASES: u64 = 12_000;

/// What a case comes to: in the engine, by the definition, and what the engine promised and broke.
struct Outcome {
    engine: BTreeMap<IncidentId, Summary>,
    definition: BTreeMap<IncidentId, Summary>,
    broken: Vec<String>,
    /// How often something was done about what a rule found.
    reopened: usize,
    suppressed: usize,
}

impl Outcome {
    fn is_right(&self) -> bool {
        self.engine == self.definition && self.broken.is_empty()
    }
}

fn rules_message(case: &Case) -> RulesMessage {
    let files = vec![RuleFile { name: "random.yaml".to_owned(), text: rule_file(&case.rules, case.late) }];
    let coalesce_micros = case.coalesce * 1_000_000;
    RulesMessage {
        files,
        settings: EngineSettings { coalesce_micros, ..EngineSettings::default() },
        ..RulesMessage::default()
    }
}

/// Runs a case. Log time is the newest event time so far: nothing comes from the future.
fn outcome(case: &Case) -> Outcome {
    let rules = rules_message(case);
    let mut oracle = Oracle::new(&case.rules);
    let mut broken = Vec::new();
    let commanded = case.history.iter().any(|entry| matches!(entry, Entry::Status { .. }));
    let mut machine = fresh(&rules, case.partitions);
    let mut run = Run::default();
    let mut log: Vec<LogMessage> = Vec::new();
    let mut clock = EventTime::from_micros(0);
    for entry in &case.history {
        let seq = log.len() as u64 + 1;
        let message = match entry {
            Entry::Event(event) => {
                oracle.take(event);
                clock = clock.max(EventTime::from_micros(event.at * 1_000_000));
                event_message(event, seq, clock)
            }
            Entry::Status { pick, status } => match command(&run, *pick, status) {
                None => tick(seq, clock),
                Some((tenant, command)) => {
                    if command.asked().is_ok_and(|asked| !asked.status.is_active())
                        && !oracle.end(command.incident)
                    {
                        broken.push(format!(
                            "ended {}, which is no incident by the definition",
                            command.incident
                        ));
                    }
                    let body = serde_json::to_vec(&command).expect("a command is plain data");
                    LogMessage {
                        subject: Some(incident_command(&tenant).into()),
                        body: Bytes::from(body),
                        ..tick(seq, clock)
                    }
                }
            },
        };
        if commanded {
            run.take(machine.apply(std::slice::from_ref(&message)));
        }
        log.push(message);
    }
    // What waits is settled, and what builds on it, and so on; then what was held back is said.
    let step = case.late * 4 + 40;
    let coalesce = case.rules.iter().filter_map(|rule| rule.coalesce).fold(case.coalesce, i64::max);
    for passed in [step, 2 * step, 3 * step, 4 * step, 5 * step, 6 * step + coalesce] {
        log.push(tick(log.len() as u64 + 1, clock.plus(passed * 1_000_000)));
    }
    let run = batches(&rules, &log, case.partitions, case.batch);
    let said = messages(&run.incidents);
    broken.extend(broken_promises(&said));
    broken.extend(said_too_soon(case, &said));
    // A fourth of the histories once more, with every state packed after every batch: it costs more than all the rest.
    if case.history.len().is_multiple_of(4) {
        let packed = batches_without_room(&rules, &log, case.partitions, case.batch);
        if packed.incidents != run.incidents {
            broken.push("other incidents where every state is packed after every batch".to_owned());
        }
    }
    if run.counts.late > 0 || !run.dead_letters.is_empty() || run.counts.commands.1 > 0 {
        broken.push(format!("{:?} and {} dead letters", run.counts, run.dead_letters.len()));
    }
    let reopened = said.iter().filter(|message| message.change == Change::Reopened).count();
    let suppressed = oracle.silent_moments();
    let mut outcome =
        Outcome { engine: remaining(&said), definition: oracle.result(), broken, reopened, suppressed };
    for summary in outcome.engine.values_mut().chain(outcome.definition.values_mut()) {
        Oracle::leave_open(&case.rules, summary);
    }
    outcome
}

/// Updates that were said sooner after the message before than their rules, or the setting, allow.
fn said_too_soon(case: &Case, said: &[IncidentMessage]) -> Vec<String> {
    let mut last: BTreeMap<IncidentId, EventTime> = BTreeMap::new();
    let mut soon = Vec::new();
    for message in said {
        let incident = &message.incident;
        let before = last.insert(incident.id, incident.updated_at);
        // What merges is said at once, and so is what somebody did.
        let absorbs = |other: &IncidentMessage| {
            other.incident.merged_into == Some(incident.id) && other.cause == message.cause
        };
        let is_held = message.change == Change::Updated && message.status_change.is_none();
        if !is_held || said.iter().any(absorbs) {
            continue;
        }
        let rule = case.rules.iter().find(|rule| rule.id == incident.rule.id).expect("it is one of these");
        let sharing = case.rules.iter().filter(|other| other.unit() == rule.unit());
        let coalesce = sharing.filter_map(|rule| rule.coalesce).max().unwrap_or(case.coalesce);
        if before.is_none_or(|before| incident.updated_at < before.plus(coalesce * 1_000_000)) {
            soon.push(format!("{} version {} came too soon", incident.id, incident.version));
        }
    }
    soon
}

/// A command to one of the incidents that are active by now.
fn command(run: &Run, pick: usize, status: &str) -> Option<(String, IncidentCommand)> {
    let said = messages(&run.incidents);
    let active =
        |message: &&IncidentMessage| message.change != Change::Merged && message.incident.status.is_active();
    let active: Vec<&IncidentMessage> = latest(&said).into_values().filter(active).collect();
    let message = active.get(pick.checked_rem(active.len())?)?;
    let command = IncidentCommand {
        incident: message.incident.id,
        status: status.to_owned(),
        resolution: None,
        actor: "oracle".to_owned(),
        reason: None,
    };
    Some((message.incident.tenant.clone(), command))
}

/// Leaves out whatever a wrong case is wrong without.
fn smallest(mut case: Case) -> Case {
    case.batch = 1;
    let still_wrong = |case: &Case| !outcome(case).is_right();
    if !still_wrong(&case) {
        case.batch = 1_000;
    }
    let mut at = 0;
    while at < case.history.len() {
        let mut less = case.clone();
        less.history.remove(at);
        if still_wrong(&less) {
            case = less;
            at = 0;
        } else {
            at += 1;
        }
    }
    // Rules that nothing builds on can go from the end.
    while case.rules.len() > 1 {
        let mut less = case.clone();
        less.rules.pop();
        if !still_wrong(&less) {
            break;
        }
        case = less;
    }
    case
}

fn report(seed: u64, wrong: Case) -> String {
    let case = smallest(wrong);
    let outcome = outcome(&case);
    let history: Vec<String> = case.history.iter().map(|entry| format!("  {entry:?}")).collect();
    let list = |incidents: &BTreeMap<IncidentId, Summary>, other: &BTreeMap<IncidentId, Summary>| -> String {
        let differing = incidents.iter().filter(|(id, summary)| other.get(id) != Some(summary));
        differing.map(|(_, summary)| format!("  {summary:?}\n")).collect()
    };
    format!(
        "SIGHTLINE_TEST_ORACLE_SEED={seed} SIGHTLINE_TEST_ORACLE_CASES=1 cargo test --test oracle\n{}\nhistory, in order of \
         arrival:\n{}\nonly in the engine:\n{}only by the definition:\n{}{}",
        rule_file(&case.rules, case.late),
        history.join("\n"),
        list(&outcome.engine, &outcome.definition),
        list(&outcome.definition, &outcome.engine),
        outcome.broken.join("\n"),
    )
}

fn number(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().expect("a whole number"),
        Err(_) => default,
    }
}

#[test]
fn random_histories_come_to_what_the_definition_says() {
    let first = number("SIGHTLINE_TEST_ORACLE_SEED", 0);
    let cases = number("SIGHTLINE_TEST_ORACLE_CASES", CASES);
    let (mut incidents, mut reopened, mut suppressed) = (0, 0, 0);
    for seed in first..first + cases {
        let case = case(seed);
        let outcome = outcome(&case);
        assert!(outcome.is_right(), "{}", report(seed, case));
        incidents += outcome.definition.len();
        reopened += outcome.reopened;
        suppressed += outcome.suppressed;
        let done = seed - first + 1;
        if cases > CASES && done.is_multiple_of(10_000) {
            eprintln!("{done} of {cases} cases, {incidents} incidents");
        }
    }
    // A generator that makes nothing happen would agree with any engine.
    assert!(cases < 100 || incidents as u64 > cases, "{incidents} incidents in {cases} cases");
    let seen = format!("{reopened} reopened and {suppressed} matches suppressed in {cases} cases");
    assert!(cases < 10_000 || (reopened > 50 && suppressed > 50), "{seen}");
}
