//! Where to begin: the facts are read, the decision is [`recovery`](crate::state::recovery)'s, and the state is made.

use std::sync::Arc;

use sightline_schemas::EventTime;
use sightline_schemas::control::RulesMessage;
use sightline_schemas::subject::CONTROL_RULES;

use crate::bus::{BusError, EventLog, LastOutput, OutputLog, OutputPlace};
use crate::state::recovery::{CheckpointFact, Facts, LogFact, OutputAt, OutputFact, Start, silent_until};
use crate::state::table::StateTable;
use crate::state::{CheckpointStore, ChunkLine, Loaded, Meta, Restore, StoreError, decide};
use crate::worker::checkpoint::{RULES_SINCE, STATE_FORMAT};
use crate::worker::coverage::Coverage;
use crate::worker::emit::COVERAGE_GAP_SUBJECT;
use crate::worker::intake;
use crate::worker::machine::{Machine, compile, no_rules};
use crate::worker::threads::on_disk;

/// Why a worker cannot begin or go on.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// The bus.
    #[error(transparent)]
    Bus(#[from] BusError),
    /// The checkpoint store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The rules in force at the beginning cannot be used by this version.
    #[error("the rules in the log cannot be used by this version: {0}")]
    Rules(String),
    /// States that were packed cannot be read any more. Nothing that depends on them was said; start again.
    #[error("states that lie on the disk cannot be read ({0}): start again, from the last checkpoint")]
    States(String),
}

/// Everything that a worker begins with.
pub struct Begun {
    /// The state machine, at its place in the log.
    pub machine: Machine,
    /// The store, which holds everything up to the machine's place or nothing.
    pub store: Box<dyn CheckpointStore>,
    /// Sequence up to which the store holds everything.
    pub saved_seq: u64,
    /// Incident messages up to here were published before.
    pub silent: Option<OutputPlace>,
    /// Dead letters up to here were published before.
    pub dead_silent: Option<OutputPlace>,
    /// The newest incident message, to be compared with what the replay says at that place.
    pub last: Option<LastOutput>,
    /// The newest message of the input log at this moment: recovery ends there.
    pub target_seq: u64,
    /// Input that is gone: first and last sequence.
    pub gap: Option<(u64, u64)>,
    /// The gaps that were reported before.
    pub coverage: Coverage,
}

/// Reads the facts, decides, and makes the state.
///
/// # Errors
/// When the bus does not answer, another worker uses the store, or the disk fails.
pub async fn begin(
    events: &mut impl EventLog,
    incidents: &mut impl OutputLog,
    dead_letters: &mut impl OutputLog,
    mut store: Box<dyn CheckpointStore>,
    table: Arc<StateTable>,
    partitions: usize,
) -> Result<Begun, WorkerError> {
    let log = events.info().await?;
    let last = incidents.open(&log.id).await?;
    let last_dead = dead_letters.open(&log.id).await?;
    let coverage = Coverage::new(&log.id, incidents.all_on(COVERAGE_GAP_SUBJECT).await?);
    let (loaded, returned) = load(store, Arc::clone(&table)).await;
    store = returned;
    crash_point!(AfterLoad);
    let (loaded, cleared) = loaded?;
    let (fact, meta) = match loaded {
        Loaded::Empty => (CheckpointFact::None, None),
        Loaded::Damaged(reason) => (CheckpointFact::Damaged(reason), None),
        Loaded::Found(meta) => {
            let (log_id, seq, format) = (meta.log_id.clone(), meta.seq, meta.format);
            (CheckpointFact::Found { log_id, seq, format }, Some(meta))
        }
    };
    let reach = LogFact { id: log.id.clone(), first_seq: log.first_seq, last_seq: log.last_seq };
    let dead_silent = silent_until(&reach, last_dead.as_ref().map(output_fact).as_ref());
    let mut facts = Facts {
        checkpoint: fact,
        format: STATE_FORMAT,
        log: reach,
        last_output: last.as_ref().map(output_fact),
        cleared,
    };
    let mut decision = decide(&facts);
    let resumed = match (&decision.start, meta) {
        (Start::Resume { .. }, Some(meta)) => match resume(&log.id, &meta, Arc::clone(&table), partitions) {
            Ok(machine) => Some(machine),
            Err(why) => {
                facts.checkpoint = CheckpointFact::Damaged(why);
                decision = decide(&facts);
                None
            }
        },
        _ => None,
    };
    if let Some(doubt) = &decision.output_doubt {
        tracing::error!(%doubt, "the incident log is ahead of the input log");
    }
    let from_seq = decision.start.from_seq();
    let (machine, saved_seq) = match resumed {
        Some(machine) => {
            tracing::info!(from_seq, keys = table.len(), "resuming from the checkpoint");
            let saved_seq = machine.position();
            (machine, saved_seq)
        }
        None => {
            match &decision.start {
                Start::Rebuild { reason, .. } => {
                    tracing::warn!(%reason, from_seq, "rebuilding the state from the log");
                    store = clear(store, decision.has_past.then(|| log.id.clone())).await?;
                    crash_point!(AfterClear);
                }
                _ => tracing::info!(from_seq, "starting with no state"),
            }
            table.clear();
            let rules = first_rules(events, log.first_seq).await?;
            let first = log.first_seq.saturating_sub(1);
            let machine = Machine::new(&log.id, rules, table, partitions, first, EventTime::MIN);
            (machine.map_err(WorkerError::Rules)?, 0)
        }
    };
    // Behind a gap, which is reported below and must not be met again.
    events.seek(from_seq.max(machine.position() + 1)).await?;
    crash_point!(AfterBegin);
    Ok(Begun {
        machine,
        store,
        saved_seq,
        silent: decision.silent_until.map(place),
        dead_silent: dead_silent.map(place),
        last: last.filter(|last| last.log == log.id),
        target_seq: log.last_seq,
        gap: decision.gap.map(|gap| (gap.first, gap.last)),
        coverage,
    })
}

fn output_fact(last: &LastOutput) -> OutputFact {
    let at = OutputAt { position: last.place.position, ordinal: last.place.ordinal };
    OutputFact { log_id: last.log.clone(), at }
}

fn place(at: OutputAt) -> OutputPlace {
    OutputPlace { position: at.position, ordinal: at.ordinal }
}

fn resume(log_id: &str, meta: &Meta, table: Arc<StateTable>, partitions: usize) -> Result<Machine, String> {
    let rules: RulesMessage = serde_json::from_slice(&meta.rules).map_err(|error| error.to_string())?;
    let mut machine = Machine::new(log_id, rules, table, partitions, meta.seq, meta.log_time)?;
    let since = meta.extra.get(RULES_SINCE).and_then(|bytes| serde_json::from_slice(bytes).ok());
    machine.restore_since(since.unwrap_or_default());
    Ok(machine)
}

/// The rules in force at the beginning of a log: none, unless its own beginning is gone. Then those that the log
/// still knows first are the nearest there is.
async fn first_rules(events: &mut impl EventLog, first_seq: u64) -> Result<RulesMessage, BusError> {
    if first_seq <= 1 {
        return Ok(no_rules());
    }
    let message = events.first_on(CONTROL_RULES).await?;
    let rules = message.and_then(|message| intake::read_rules(&message).ok());
    // Rules that were refused when they came are refused here as well.
    Ok(rules.filter(|rules| compile(rules).is_ok()).unwrap_or_else(no_rules))
}

/// Takes a checkpoint into a table, if its states are of the format that this program reads.
struct Restoring {
    table: Arc<StateTable>,
    is_ours: bool,
}

impl Restore for Restoring {
    fn begin(&mut self, meta: &Meta) -> Result<(), String> {
        // One of another format is refused by who decides, for that reason and for no other.
        self.is_ours = meta.format == STATE_FORMAT;
        if self.is_ours { self.table.begin(meta) } else { Ok(()) }
    }

    fn chunk(&mut self, line: &ChunkLine, sealed: &[u8]) -> Result<(), String> {
        if self.is_ours { self.table.adopt(line, sealed) } else { Ok(()) }
    }
}

async fn load(
    mut store: Box<dyn CheckpointStore>,
    table: Arc<StateTable>,
) -> (Result<(Loaded, Option<String>), StoreError>, Box<dyn CheckpointStore>) {
    let loading = on_disk(move || {
        let loaded = store.load(&mut Restoring { table, is_ours: false });
        let loaded = loaded.and_then(|loaded| Ok((loaded, store.cleared()?)));
        (loaded, store)
    });
    match loading.await {
        Ok(loaded) => loaded,
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    }
}

async fn clear(
    mut store: Box<dyn CheckpointStore>,
    log_id: Option<String>,
) -> Result<Box<dyn CheckpointStore>, StoreError> {
    let clearing = on_disk(move || store.clear(log_id.as_deref()).map(|()| store));
    match clearing.await {
        Ok(cleared) => cleared,
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    }
}
