//! The whole worker without the bus and the disk: messages of the input log in, messages of the output logs out.
//!
//! What comes out is a function of what went in, whatever the batches and the number of partitions.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use rustc_hash::FxHashMap;
use sightline_core::correlate::{Completion, Counted, Refusal, Verdict};
use sightline_core::hit::RuleIndex;
use sightline_core::rule::{Diagnostic, RuleSet, Source, check};
use sightline_schemas::control::{EngineSettings, RuleFile, RulesMessage};
use sightline_schemas::deadletter::DeadLetter;
use sightline_schemas::edge::{Reason, Reject};
use sightline_schemas::incident::RuleRef;
use sightline_schemas::subject::{CONTROL_RULES, incident_command};
use sightline_schemas::{Change, EventTime, Position};

use crate::bus::{LogMessage, Output};
use crate::state::Pace;
use crate::state::table::StateTable;
use crate::worker::correlator::{Correlator, Facts, Followed};
use crate::worker::emit::{self, Ordinals};
use crate::worker::intake::{Report, SourceTally};
use crate::worker::reading::{Lanes, Observer, Readers, Taken};
use crate::worker::warm::Warmed;

/// What a batch brought about.
#[derive(Debug, Default)]
pub struct Applied {
    /// For the incident log, in order.
    pub incidents: Vec<Output>,
    /// For the dead-letter log, in order.
    pub dead_letters: Vec<Output>,
    /// Counts by source.
    pub sources: HashMap<Arc<str>, SourceTally>,
    /// Counts by rule id.
    pub rules: HashMap<String, RuleTally>,
    /// Rules that other rules build on and that were complete, in order: for whoever explains.
    pub completions: Vec<Completion>,
    /// Commands carried out, and refused.
    pub commands: (u64, u64),
    /// Rule changes that took effect, and that were refused; the latter with what is wrong with them.
    pub rule_changes: Vec<Result<(), String>>,
}

/// Counts of one rule in a batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuleTally {
    /// Hits taken in.
    pub hits: u64,
    /// Times it was complete.
    pub matches: u64,
    /// Times that opened no incident.
    pub suppressed: u64,
    /// Events of which an exception held.
    pub excepted: u64,
    /// Times that nobody could know whether a step followed.
    pub unknown: u64,
    /// Messages by what they say.
    pub changes: HashMap<Change, u64>,
}

/// The state machine.
#[derive(Debug)]
pub struct Machine {
    log_id: String,
    correlator: Correlator,
    lanes: Lanes,
    observer: Option<Box<dyn Observer>>,
    message: RulesMessage,
    incident_places: Ordinals,
    dead_places: Ordinals,
    position: u64,
    since: RulesSince,
    warmed: Option<Warmed>,
}

/// Since which message each rule is in force as it is: its version and the message's sequence, by its id.
pub type RulesSince = BTreeMap<String, (String, u64)>;

/// Reads and checks the rules of a message.
///
/// # Errors
/// With everything that is wrong with them.
pub fn compile(message: &RulesMessage) -> Result<RuleSet, (Vec<Source>, Vec<Diagnostic>)> {
    let files = sources(&message.files);
    match check(&files, &message.settings) {
        Ok(checked) => Ok(checked.rules),
        Err(problems) => Err((files, problems)),
    }
}

/// Rule files as the checker takes them.
pub fn sources(files: &[RuleFile]) -> Vec<Source> {
    files.iter().map(|file| Source { name: file.name.clone(), text: file.text.clone() }).collect()
}

impl Machine {
    /// On an input log, over states that are functions of its messages up to `position`, of which `log_time` is the
    /// last one's.
    ///
    /// # Errors
    /// When the rules in force there cannot be used by this version.
    pub fn new(
        log_id: &str,
        message: RulesMessage,
        table: Arc<StateTable>,
        partitions: usize,
        position: u64,
        log_time: EventTime,
    ) -> Result<Self, String> {
        let rules = compile(&message).map_err(|(files, problems)| first_problem(&files, &problems))?;
        Ok(Machine::with_rules(log_id, Arc::new(rules), message, table, partitions, position, log_time))
    }

    /// The same with rules that are compiled already, such as one set for many runs.
    pub fn with_rules(
        log_id: &str,
        rules: Arc<RuleSet>,
        message: RulesMessage,
        table: Arc<StateTable>,
        partitions: usize,
        position: u64,
        log_time: EventTime,
    ) -> Self {
        let mut machine = Machine {
            log_id: log_id.to_owned(),
            correlator: Correlator::new(rules, table, partitions),
            lanes: Lanes::new(partitions, log_time),
            observer: None,
            message,
            incident_places: Ordinals::default(),
            dead_places: Ordinals::default(),
            position,
            since: RulesSince::new(),
            warmed: None,
        };
        machine.note_since(position);
        machine
    }

    /// Takes over since when rules are in force, from whoever knew at this place.
    pub fn restore_since(&mut self, known: RulesSince) {
        self.since = known;
        self.note_since(self.position);
    }

    /// Since when each rule is in force as it is.
    pub fn since(&self) -> &RulesSince {
        &self.since
    }

    fn note_since(&mut self, seq: u64) {
        let mut before = std::mem::take(&mut self.since);
        for rule in &self.correlator.rules().rules {
            let RuleRef { id, version } = &rule.reference;
            let known = before.remove(id).filter(|(known, _)| known == version);
            self.since.insert(id.clone(), known.unwrap_or_else(|| (version.clone(), seq)));
        }
    }

    /// What changed rules came to over the past: they begin with it when their message is taken in.
    pub fn adopt_warmed(&mut self, warmed: Warmed) {
        self.warmed = Some(warmed);
    }

    /// The input log.
    pub fn log_id(&self) -> &str {
        &self.log_id
    }

    /// Sequence of the last message taken in.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Messages up to `seq` are gone, and will never be taken in.
    pub fn skip_to(&mut self, seq: u64) {
        self.position = self.position.max(seq);
    }

    /// Log time at the last message.
    pub fn log_time(&self) -> EventTime {
        self.lanes.log_time()
    }

    /// The rules in force.
    pub fn rules(&self) -> &Arc<RuleSet> {
        self.correlator.rules()
    }

    /// The rules in force as they came.
    pub fn rules_message(&self) -> &RulesMessage {
        &self.message
    }

    /// The live states.
    pub fn table(&self) -> &Arc<StateTable> {
        self.correlator.table()
    }

    /// The correlator, for idle keys.
    pub fn correlator(&mut self) -> &mut Correlator {
        &mut self.correlator
    }

    /// Lets somebody look at every event.
    pub fn observe(&mut self, observer: Box<dyn Observer>) {
        self.observer = Some(observer);
    }

    /// Makes the states ready to be written down.
    pub fn settle(&mut self) {
        self.correlator.settle(self.lanes.log_time());
    }

    /// Does some of what is due for states, so that a checkpoint finds little to do.
    pub fn tidy(&mut self, pace: Pace) {
        self.correlator.tidy(self.lanes.log_time(), pace);
    }

    /// The earliest log time at which something must be said.
    pub fn next_due(&self) -> Option<EventTime> {
        self.correlator.next_due()
    }

    /// Takes in messages, in order.
    pub fn apply(&mut self, batch: &[LogMessage]) -> Applied {
        let mut applied = Applied::default();
        let mut taken = Taken::default();
        let changes_rules = |message: &LogMessage| message.subject.as_deref() == Some(CONTROL_RULES);
        for stretch in batch.chunk_by(|one, next| !changes_rules(one) && !changes_rules(next)) {
            let rules = Arc::clone(self.correlator.rules());
            let mut by = Readers { rules: &rules, observer: self.observer.as_mut() };
            self.lanes.read(stretch, &mut by, &mut taken);
            let Some(last) = stretch.last() else { continue };
            self.position = last.seq;
            if let Some(rules) = taken.rules.take() {
                // What came before is decided by the rules before.
                self.follow(std::mem::take(&mut taken.facts), &mut taken.report, &mut applied);
                let changed = self.change_rules(*rules, last, &mut taken.report);
                applied.rule_changes.push(changed);
            }
        }
        let Taken { facts, mut report, .. } = taken;
        self.follow(facts, &mut report, &mut applied);
        report.dead.sort_by_key(|letter| letter.position);
        for letter in std::mem::take(&mut report.dead) {
            applied.dead_letters.extend(emit::dead_letter(&mut self.dead_places, letter, &self.log_id));
        }
        applied.sources = report.sources;
        applied
    }

    fn change_rules(
        &mut self,
        rules: RulesMessage,
        message: &LogMessage,
        report: &mut Report,
    ) -> Result<(), String> {
        match compile(&rules) {
            Ok(compiled) => {
                let warmed = self.warmed.take().filter(|warmed| warmed.seq == message.seq);
                let log_time = self.log_time();
                self.correlator.set_rules(Arc::new(compiled), log_time, warmed);
                self.message = rules;
                self.note_since(message.seq);
                Ok(())
            }
            Err((files, problems)) => {
                let why = first_problem(&files, &problems);
                let reject =
                    Reject::new(Reason::BadCommand, format!("rules refused, the old ones stay: {why}"));
                let position = Position::new(message.seq, 0);
                let subject = message.subject.as_deref().unwrap_or_default();
                let letter = DeadLetter::new(
                    subject,
                    position,
                    &reject,
                    message.content_type.as_deref(),
                    &message.body,
                );
                report.bury(None, letter);
                Err(why)
            }
        }
    }

    fn follow(&mut self, facts: Facts, report: &mut Report, applied: &mut Applied) {
        let commands = facts.commands.clone();
        let followed = self.correlator.follow(facts);
        self.count(&followed, report, applied);
        for (at, result) in commands.into_iter().zip(followed.commands) {
            match result.unwrap_or(Err(Refusal::NotFound(at.command.incident))) {
                Ok(()) => applied.commands.0 += 1,
                Err(refusal) => {
                    applied.commands.1 += 1;
                    let reject = Reject::new(Reason::BadCommand, refusal.to_string());
                    let subject = incident_command(&at.tenant);
                    let json = Some("application/json");
                    report.bury(None, DeadLetter::new(&subject, at.position, &reject, json, &at.body));
                }
            }
        }
        applied.completions.extend(followed.completions);
        for (position, message) in followed.messages {
            let place = self.incident_places.next(position);
            let tally = applied.rules.entry(message.incident.rule.id.clone()).or_default();
            *tally.changes.entry(message.change).or_default() += 1;
            applied.incidents.push(emit::incident(place, &message));
        }
    }

    fn count(&self, followed: &Followed, report: &mut Report, applied: &mut Applied) {
        let rules = self.correlator.rules();
        for (rule, counted) in &followed.counts {
            let tally = applied.rules.entry(rules.rule(*rule).reference.id.clone()).or_default();
            match counted {
                Counted::Match { opened } => {
                    tally.matches += 1;
                    tally.suppressed += u64::from(!opened);
                }
                Counted::Excepted => tally.excepted += 1,
                Counted::Unknown => tally.unknown += 1,
            }
        }
        // One event is a duplicate once, however many rules know it.
        let (mut duplicate, mut late) = (None, None);
        let mut verdicts: Vec<_> = followed.verdicts.iter().collect();
        verdicts.sort_by_key(|(position, _, _)| *position);
        // By number first: a hit is too cheap for looking its rule up by name.
        let mut taken: FxHashMap<RuleIndex, RuleTally> = FxHashMap::default();
        for (position, rule, verdict) in verdicts {
            let odd = match verdict {
                Verdict::Taken { matches, suppressed } => {
                    let tally = taken.entry(*rule).or_default();
                    tally.hits += 1;
                    tally.matches += u64::from(*matches);
                    tally.suppressed += u64::from(*suppressed);
                    continue;
                }
                Verdict::Duplicate if duplicate == Some(*position) => continue,
                Verdict::Late if late == Some(*position) => continue,
                odd => odd,
            };
            let origin = report.origins.binary_search_by_key(position, |(position, _)| *position);
            let Ok(origin) = origin else { continue };
            let source = Arc::clone(&report.origins[origin].1);
            match odd {
                Verdict::Duplicate => {
                    duplicate = Some(*position);
                    report.source(&source).duplicates += 1;
                }
                _ => {
                    late = Some(*position);
                    report.source(&source).late += 1;
                }
            }
        }
        for (watch, hits) in &followed.shared {
            let sharing = &rules.watches[*watch].rules;
            sharing.iter().for_each(|rule| taken.entry(*rule).or_default().hits += hits);
        }
        for (rule, hits) in &followed.beside {
            taken.entry(*rule).or_default().hits -= hits;
        }
        for (rule, counted) in taken {
            let tally = applied.rules.entry(rules.rule(rule).reference.id.clone()).or_default();
            tally.hits += counted.hits;
            tally.matches += counted.matches;
            tally.suppressed += counted.suppressed;
        }
    }
}

/// The settings and no rules: what holds before the log says otherwise.
pub fn no_rules() -> RulesMessage {
    RulesMessage { files: Vec::new(), settings: EngineSettings::default(), ..RulesMessage::default() }
}

fn first_problem(files: &[Source], problems: &[Diagnostic]) -> String {
    match problems.first() {
        None => "nothing is wrong with them".to_owned(),
        Some(problem) => {
            let (line, column) = problem.line_and_column(files);
            let file = &files[problem.file].name;
            format!(
                "{file}:{line}:{column}: {} ({}); {} problems in all",
                problem.message,
                problem.label,
                problems.len()
            )
        }
    }
}
