//! What must have come out: the same log, worked through once, undisturbed, in one piece.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use sightline::bus::{LogMessage, Output, OutputPlace};
use sightline::state::packed::pack_alone;
use sightline::state::state_key::StateKey;
use sightline::state::table::StateTable;
use sightline::worker::emit::COVERAGE_GAP_SUBJECT;
use sightline::worker::machine::{Applied, Machine, no_rules};
use sightline_core::rule::RuleSet;
use sightline_schemas::incident::CoverageGap;
use sightline_schemas::subject::CONTROL_RULES;
use sightline_schemas::{EventTime, Position};

use crate::faults::Disaster;
use crate::world::{History, World};

/// What a run came to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Outcome {
    pub messages: usize,
    pub incidents: usize,
    pub dead_letters: usize,
    pub commits: usize,
}

impl Outcome {
    pub fn add(&mut self, other: Outcome) {
        self.messages += other.messages;
        self.incidents += other.incidents;
        self.dead_letters += other.dead_letters;
        self.commits += other.commits;
    }
}

struct Replayed {
    applied: Applied,
    states: BTreeMap<StateKey, Vec<u8>>,
    rules: Arc<RuleSet>,
    log_time: EventTime,
}

fn replay(id: &str, messages: impl Iterator<Item = LogMessage>) -> Result<Replayed, String> {
    let table = Arc::new(StateTable::default());
    let mut machine = Machine::new(id, no_rules(), Arc::clone(&table), 1, 0, EventTime::MIN)?;
    let messages: Vec<LogMessage> = messages.collect();
    let applied = machine.apply(&messages);
    let log_time = machine.log_time();
    machine.correlator().forget_idle(log_time);
    let mut states = BTreeMap::new();
    table.for_each(|key, state| drop(states.insert(key, pack_alone(state))));
    Ok(Replayed { applied, states, rules: Arc::clone(machine.rules()), log_time })
}

/// Checks a run that has come to its end.
pub fn check(world: &World) -> Result<Outcome, String> {
    let purged = world.plan.disaster == Disaster::Purged;
    if !purged && !world.metrics.render().contains("sightline_replay_mismatch_total 0\n") {
        return Err("a replay said something else than was published".to_owned());
    }
    let replays =
        world.histories.iter().map(|history| replay(&history.id, history.messages.values().cloned()));
    let replays: Vec<Replayed> = if purged { Vec::new() } else { replays.collect::<Result<_, _>>()? };
    for (name, log) in [("incidents", &world.incidents), ("dead letters", &world.dead_letters)] {
        let stored = log.stored();
        for (index, history) in world.histories.iter().enumerate() {
            let there = of_log(&stored, &history.id);
            if world.plan.disaster != Disaster::TailLost {
                in_order(&there).map_err(|why| format!("{name} of {}: {why}", history.id))?;
            }
            if let Some(replayed) = replays.get(index) {
                let is_incidents = name == "incidents";
                let expected =
                    if is_incidents { &replayed.applied.incidents } else { &replayed.applied.dead_letters };
                let is_last = index + 1 == world.histories.len();
                let expected = with_lost_tails(history, expected, &there, is_incidents);
                same(&expected, &there, is_last).map_err(|why| format!("{name} of {}: {why}", history.id))?;
            }
        }
    }
    match world.plan.disaster {
        Disaster::Purged => check_gaps(world)?,
        Disaster::TailLost => check_checkpoint(world, &replays)?,
        Disaster::None | Disaster::Replaced => {
            check_checkpoint(world, &replays)?;
            check_commits(world, &replays)?;
            check_accounts(world, &replays)?;
        }
    }
    Ok(Outcome {
        messages: world.histories.iter().map(|history| history.messages.len()).sum(),
        incidents: world.incidents.len(),
        dead_letters: world.dead_letters.len(),
        commits: world.commits.all().len(),
    })
}

fn of_log(stored: &[(String, Output)], id: &str) -> Vec<Output> {
    stored.iter().filter(|(log, _)| log == id).map(|(_, output)| output.clone()).collect()
}

fn in_order(there: &[Output]) -> Result<(), String> {
    match there.windows(2).find(|pair| pair[0].place >= pair[1].place) {
        None => Ok(()),
        Some(pair) => Err(format!("{:?} is followed by {:?}", pair[0].place, pair[1].place)),
    }
}

/// Nothing is lost, doubled or different. Of a log that was replaced, the end may never have been worked through.
fn same(expected: &[Output], there: &[Output], whole: bool) -> Result<(), String> {
    let differs = expected.iter().zip(there).position(|(expected, there)| expected != there);
    if let Some(at) = differs {
        let (expected, there) = (format!("{:?}", expected[at]), format!("{:?}", there[at]));
        // From a little before where they part.
        let parts =
            expected.bytes().zip(there.bytes()).take_while(|(a, b)| a == b).count().saturating_sub(150);
        let show = |text: &str| text.chars().skip(parts).take(400).collect::<String>();
        let place = &there[..there.len().min(90)];
        let (expected, there) = (show(&expected), show(&there));
        return Err(format!("number {at} differs, {place}:\nexpected {expected}\nfound    {there}"));
    }
    match there.len() {
        found if found > expected.len() => Err(format!("too many, from {:?} on", there[expected.len()])),
        found if whole && found < expected.len() => Err(format!("missing, from {:?} on", expected[found])),
        _ => Ok(()),
    }
}

/// What was said of messages that the server lost later stays said; what came in their places is said behind it.
fn with_lost_tails(
    history: &History,
    expected: &[Output],
    there: &[Output],
    is_incidents: bool,
) -> Vec<Output> {
    let mut said: Option<OutputPlace> = None;
    let mut before = 0;
    for (incidents, dead_letters, left) in &history.tails_lost {
        let len = if is_incidents { *incidents } else { *dead_letters };
        let end = OutputPlace { position: Position::new(*left, u32::MAX), ordinal: u32::MAX };
        if len > before {
            said = Some(there[len - 1].place);
        }
        said = said.map(|said| said.min(end));
        before = len;
    }
    let rest = expected.iter().filter(|output| said.is_none_or(|said| output.place > said));
    there[..before].iter().chain(rest).cloned().collect()
}

/// The last checkpoint is what the log says.
fn check_checkpoint(world: &World, replays: &[Replayed]) -> Result<(), String> {
    let history = world.histories.last().expect("there always is a log");
    let Some(image) = world.place.newest() else { return Err("no checkpoint in the end".to_owned()) };
    if (image.meta.log_id.as_str(), image.meta.seq) != (history.id.as_str(), world.log.last_seq()) {
        return Err(format!("the last checkpoint is at {} of {}", image.meta.seq, image.meta.log_id));
    }
    let replayed = replays.last().expect("there always is a log");
    // Keys that are forgotten may still lie there.
    let remembered = image.states()?.into_iter();
    let remembered = remembered.filter(|(_, state)| !state.is_forgotten(&replayed.rules, replayed.log_time));
    let states: BTreeMap<StateKey, Vec<u8>> =
        remembered.map(|(key, state)| (key, pack_alone(&state))).collect();
    let differs = |key: &&StateKey| states.get(*key) != replayed.states.get(*key);
    match states.keys().chain(replayed.states.keys()).find(differs) {
        None => Ok(()),
        Some(key) => Err(format!(
            "the checkpoint is not what the log says: key {key:?} is {:?} and should be {:?}",
            states.get(key).map(Vec::len),
            replayed.states.get(key).map(Vec::len)
        )),
    }
}

/// No checkpoint was written before everything up to it was said.
fn check_commits(world: &World, replays: &[Replayed]) -> Result<(), String> {
    for (history, replayed) in world.histories.iter().zip(replays) {
        let due =
            |outputs: &[Output], seq| outputs.partition_point(|output| output.place.position.seq <= seq);
        for commit in world.commits.all().iter().filter(|commit| commit.log == history.id) {
            let incidents = due(&replayed.applied.incidents, commit.seq);
            let dead_letters = due(&replayed.applied.dead_letters, commit.seq);
            if commit.incidents < incidents || commit.dead_letters < dead_letters {
                return Err(format!(
                    "{commit:?} was written before {incidents} incidents and {dead_letters} dead letters were said"
                ));
            }
        }
    }
    Ok(())
}

/// What was published is accepted or a dead letter.
fn check_accounts(world: &World, replays: &[Replayed]) -> Result<(), String> {
    let history = world.histories.last().expect("there always is a log");
    let applied = &replays.last().expect("there always is a log").applied;
    let dead: u64 = applied.sources.values().flat_map(|tally| tally.dead.values()).sum();
    let events: u64 = applied.sources.values().map(|tally| tally.events).sum();
    let rules_taken = applied.rule_changes.iter().filter(|change| change.is_ok()).count() as u64;
    let is_rules = |message: &&LogMessage| message.subject.as_deref() == Some(CONTROL_RULES);
    let rules = history.messages.values().filter(is_rules).count() as u64;
    let put_in = history.published.events + history.published.commands + rules;
    // Refused commands and rules are among the dead letters.
    let came_out = events + dead + applied.commands.0 + rules_taken;
    if put_in != came_out {
        return Err(format!("{put_in} things were published, and {came_out} accounted for"));
    }
    let letters = dead;
    let there = of_log(&world.dead_letters.stored(), &history.id).len() as u64;
    if letters != there {
        return Err(format!("{letters} things were refused, and there are {there} dead letters"));
    }
    Ok(())
}

/// What was deleted before anybody saw it is reported, once; what is reported was deleted; the rest is worked through.
fn check_gaps(world: &World) -> Result<(), String> {
    let history = world.histories.last().expect("there always is a log");
    let mut reports = BTreeSet::new();
    for output in world.incidents.outputs().iter().filter(|output| output.subject == COVERAGE_GAP_SUBJECT) {
        let gap: CoverageGap = serde_json::from_slice(&output.body).map_err(|error| error.to_string())?;
        if !reports.insert((gap.first_missing, gap.last_missing)) {
            return Err(format!("{gap:?} is reported twice"));
        }
        if let Some(there) =
            (gap.first_missing..=gap.last_missing).find(|seq| !history.removed.contains_key(seq))
        {
            return Err(format!("{gap:?} is reported, and message {there} is there"));
        }
    }
    let covered = |seq: u64| reports.iter().any(|(first, last)| (*first..=*last).contains(&seq));
    for (first, last) in &world.missed {
        if let Some(seq) = (*first..=*last).find(|seq| !covered(*seq)) {
            return Err(format!("{first} to {last} are gone, and nobody says so of {seq}: {reports:?}"));
        }
    }
    let all = history.messages.iter().chain(&history.removed);
    let all: BTreeMap<u64, LogMessage> = all.map(|(seq, message)| (*seq, message.clone())).collect();
    let replayed = replay(&history.id, all.into_values())?;
    let intact = history.removed.keys().next().copied().unwrap_or(u64::MAX);
    let until = |outputs: &[Output]| -> Vec<Output> {
        let before = |output: &&Output| output.place.position.seq < intact;
        outputs.iter().take_while(before).cloned().collect()
    };
    same(&until(&replayed.applied.incidents), &until(&world.incidents.outputs()), true)
        .map_err(|why| format!("before the first gap: {why}"))?;
    let buried: BTreeSet<u64> =
        world.dead_letters.outputs().iter().map(|output| output.place.position.seq).collect();
    let here = |seq: &u64| history.messages.contains_key(seq);
    match world.unreadable.iter().map(|(_, seq)| *seq).find(|seq| here(seq) && !buried.contains(seq)) {
        Some(seq) => Err(format!("message {seq} cannot be read, and is no dead letter")),
        None => Ok(()),
    }
}
