//! One log through the state machine in every configuration. Whatever the configuration, the bytes that come out are
//! the same.

use std::sync::Arc;

use sightline::bus::{LogMessage, Output};
use sightline::state::table::StateTable;
use sightline::state::{
    Checkpoint, CheckpointStore, ChunkLine, Loaded, MemoryPlace, MemoryStore, Meta, Restore, Room, Scratch,
};
use sightline::worker::intake::SourceTally;
use sightline::worker::machine::{Applied, Machine};
use sightline::worker::warm::{Warming, asks};
use sightline_schemas::EventTime;
use sightline_schemas::control::RulesMessage;
use sightline_schemas::subject::HEADER_PART;

/// What came out of a run, and what was counted.
#[derive(Debug, Default)]
pub struct Run {
    pub incidents: Vec<Output>,
    pub dead_letters: Vec<Output>,
    pub counts: Counts,
    /// Keys remembered at the end.
    pub keys: usize,
}

/// Counts over all sources.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub events: u64,
    pub duplicates: u64,
    pub late: u64,
    pub suspect: u64,
    pub commands: (u64, u64),
    /// Rule changes that took effect, and that were refused.
    pub rules: (usize, usize),
}

impl Run {
    /// Takes in what a batch brought about.
    pub fn take(&mut self, applied: Applied) {
        let sum = |of: fn(&SourceTally) -> u64| applied.sources.values().map(of).sum::<u64>();
        self.counts.events += sum(|tally| tally.events);
        self.counts.duplicates += sum(|tally| tally.duplicates);
        self.counts.late += sum(|tally| tally.late);
        self.counts.suspect += sum(|tally| tally.suspect);
        self.counts.commands.0 += applied.commands.0;
        self.counts.commands.1 += applied.commands.1;
        self.counts.rules.0 += applied.rule_changes.iter().filter(|change| change.is_ok()).count();
        self.counts.rules.1 += applied.rule_changes.iter().filter(|change| change.is_err()).count();
        self.incidents.extend(applied.incidents);
        for letter in applied.dead_letters {
            let part = letter.headers.iter().find(|(name, _)| *name == HEADER_PART);
            match (part, self.dead_letters.last_mut()) {
                // A letter in parts is one letter.
                (Some((_, part)), Some(whole)) if !part.starts_with("1/") => {
                    whole.body = [&whole.body[..], &letter.body].concat().into();
                }
                _ => self.dead_letters.push(letter),
            }
        }
    }
}

/// A machine that remembers nothing, under these rules.
pub fn fresh(rules: &RulesMessage, partitions: usize) -> Machine {
    fresh_within(Room::unlimited(), rules, partitions)
}

fn fresh_within(room: Room, rules: &RulesMessage, partitions: usize) -> Machine {
    let table = Arc::new(StateTable::new(room, Scratch::in_memory()));
    match Machine::new("test", rules.clone(), table, partitions, 0, EventTime::MIN) {
        Ok(machine) => machine,
        Err(why) => panic!("the rules cannot be used: {why}"),
    }
}

/// Runs a log in batches.
pub fn batches(rules: &RulesMessage, log: &[LogMessage], partitions: usize, batch: usize) -> Run {
    batches_of(fresh(rules, partitions), log, batch)
}

/// Runs a log in batches, with no room for states: every one is packed after every batch, and lies outside.
pub fn batches_without_room(
    rules: &RulesMessage,
    log: &[LogMessage],
    partitions: usize,
    batch: usize,
) -> Run {
    batches_of(fresh_within(Room::none(), rules, partitions), log, batch)
}

fn batches_of(mut machine: Machine, log: &[LogMessage], batch: usize) -> Run {
    let mut run = Run::default();
    for batch in log.chunks(batch) {
        run.take(machine.apply(batch));
    }
    run.keys = remembered(&mut machine);
    run
}

/// Runs a log, and changed rules over what was there before where their message asks for it.
pub fn warmed(rules: &RulesMessage, log: &[LogMessage], partitions: usize) -> Run {
    let mut machine = fresh(rules, partitions);
    let mut run = Run::default();
    for (at, message) in log.iter().enumerate() {
        let warming = asks(message).then(|| Warming::begin(&machine, message, partitions)).flatten();
        if let Some(mut warming) = warming {
            warming.take(&log[..at]);
            machine.adopt_warmed(warming.end());
        }
        run.take(machine.apply(std::slice::from_ref(message)));
    }
    run.keys = remembered(&mut machine);
    run
}

/// Runs a log with a restart from a checkpoint after every `every` messages, each time with another number of partitions,
/// and with much and with no room for states. Keys that are idle are swept before some of the restarts, which must make
/// no difference either.
pub fn restarts(rules: &RulesMessage, log: &[LogMessage], every: usize) -> Run {
    let mut machine = fresh(rules, 2);
    let mut store = MemoryPlace::default().store();
    store.load(&mut ()).expect("a place of our own");
    let mut run = Run::default();
    for (at, batch) in log.chunks(every).enumerate() {
        run.take(machine.apply(batch));
        if at % 2 == 1 {
            remembered(&mut machine);
        }
        let room = if at % 5 < 2 { Room::none() } else { Room::unlimited() };
        machine = restarted(&mut machine, &mut store, [1, 2, 7][at % 3], room);
    }
    run.keys = remembered(&mut machine);
    run
}

/// Takes a checkpoint into a table.
struct Into(Arc<StateTable>);

impl Restore for Into {
    fn begin(&mut self, meta: &Meta) -> Result<(), String> {
        self.0.begin(meta)
    }

    fn chunk(&mut self, line: &ChunkLine, sealed: &[u8]) -> Result<(), String> {
        self.0.adopt(line, sealed)
    }
}

/// The machine that a checkpoint of this one starts.
fn restarted(machine: &mut Machine, store: &mut MemoryStore, partitions: usize, room: Room) -> Machine {
    machine.settle();
    let listing = machine.table().listing();
    let meta = Meta { words: listing.words, next_chunk: listing.next_chunk, ..Meta::default() };
    let checkpoint = Checkpoint { meta, chunks: listing.chunks, new: listing.new };
    store.commit(&checkpoint).expect("there is room");
    let table = Arc::new(StateTable::new(room, Scratch::in_memory()));
    let loaded = store.load(&mut Into(Arc::clone(&table)));
    assert!(matches!(loaded, Ok(Loaded::Found(_))), "{loaded:?}");
    let rules = machine.rules_message().clone();
    Machine::new("test", rules, table, partitions, machine.position(), machine.log_time())
        .expect("rules that were in force can be used")
}

/// Forgets idle keys, and counts the others.
fn remembered(machine: &mut Machine) -> usize {
    let now = machine.log_time();
    machine.correlator().forget_idle(now);
    assert_eq!(machine.table().fault(), None);
    machine.table().len()
}
