//! Events of the past through the state machine, incidents to whoever listens.

use std::path::PathBuf;
use std::sync::Arc;

use sightline_schemas::EventTime;
use sightline_schemas::control::{EngineSettings, RulesMessage};
use sightline_schemas::subject::{CONTROL_TICK, HEADER_DETAIL, HEADER_PART};

use crate::bus::{LogMessage, Output};
use crate::cli::input::Input;
use crate::cli::rules;
use crate::state::table::StateTable;
use crate::worker::machine::{Applied, Machine, RuleTally};

/// Most deadlines that are waited for at the end: rules that build on each other's deadlines come to rest far sooner.
const DEADLINES_MAX: usize = 100_000;

/// What a backtest is given.
#[derive(Debug)]
pub struct Backtest {
    /// Rule files and folders.
    pub rules: Vec<PathBuf>,
    /// The events.
    pub events: Input,
    /// The settings that can change a result.
    pub settings: EngineSettings,
    /// Shares of the keys.
    pub partitions: usize,
    /// Messages taken at a time.
    pub batch: usize,
}

/// What a backtest counted.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Lines or messages read.
    pub lines: u64,
    /// Events decoded.
    pub events: u64,
    /// Events known already.
    pub duplicates: u64,
    /// Events too late for a key.
    pub late: u64,
    /// Lines that are no event.
    pub dead_letters: u64,
    /// Incidents opened.
    pub opened: u64,
    /// All incident messages.
    pub messages: u64,
}

impl Summary {
    fn add(&mut self, applied: &Applied) {
        for tally in applied.sources.values() {
            self.events += tally.events;
            self.duplicates += tally.duplicates;
            self.late += tally.late;
        }
        self.dead_letters += applied.dead_letters.len() as u64;
        self.messages += applied.incidents.len() as u64;
        let opened =
            |tally: &RuleTally| tally.changes.get(&sightline_schemas::Change::Opened).copied().unwrap_or(0);
        self.opened += applied.rules.values().map(opened).sum::<u64>();
    }
}

/// Takes what a backtest says.
pub trait Listener: Send {
    /// An incident message, in order.
    ///
    /// # Errors
    /// When nobody listens any more.
    fn incident(&mut self, output: &Output) -> anyhow::Result<()>;

    /// A line that is no event, and why.
    ///
    /// # Errors
    /// When nobody listens any more.
    fn dead_letter(&mut self, line: u64, why: &str) -> anyhow::Result<()>;
}

/// One set of rules on its way through events.
pub(super) struct Running {
    machine: Machine,
    last_seq: u64,
}

impl Running {
    /// At the beginning, with the rules of these files and folders.
    ///
    /// # Errors
    /// When a file cannot be read, or the rules cannot be used.
    pub(super) fn begin(
        rules: &[PathBuf],
        settings: &EngineSettings,
        partitions: usize,
    ) -> anyhow::Result<Self> {
        let message = RulesMessage {
            files: rules::read(rules)?,
            settings: settings.clone(),
            ..RulesMessage::default()
        };
        let table = Arc::new(StateTable::default());
        let machine = Machine::new("file", message, table, partitions, 0, EventTime::MIN);
        Ok(Running { machine: machine.map_err(anyhow::Error::msg)?, last_seq: 0 })
    }

    /// Takes in messages.
    pub(super) fn take(&mut self, messages: &[LogMessage]) -> Applied {
        self.last_seq = messages.last().map_or(self.last_seq, |last| last.seq);
        self.machine.apply(messages)
    }

    /// Time goes on by the next deadline; `None` where there is no more: nothing more will come.
    pub(super) fn next_deadline(&mut self) -> Option<Applied> {
        let due = self.machine.next_due()?;
        self.last_seq += 1;
        let tick = LogMessage {
            seq: self.last_seq,
            subject: Some(CONTROL_TICK.into()),
            content_type: None,
            content_encoding: None,
            received_at: Some(due),
            body: bytes::Bytes::new(),
        };
        Some(self.machine.apply(&[tick]))
    }

    /// What is due after the last event, deadline by deadline.
    pub(super) fn end(&mut self, take: &mut dyn FnMut(&Applied) -> anyhow::Result<()>) -> anyhow::Result<()> {
        for _ in 0..DEADLINES_MAX {
            match self.next_deadline() {
                Some(applied) => take(&applied)?,
                None => break,
            }
        }
        Ok(())
    }
}

/// Runs the events through the rules, and tells `listener` what follows.
///
/// # Errors
/// When a file or the server cannot be read, the rules cannot be used, or nobody listens.
pub async fn follow(backtest: &Backtest, listener: &mut dyn Listener) -> anyhow::Result<Summary> {
    let mut running = Running::begin(&backtest.rules, &backtest.settings, backtest.partitions)?;
    let mut summary = Summary::default();
    let mut take = |messages: &[LogMessage]| {
        summary.lines += messages.len() as u64;
        tell(&running.take(messages), &mut summary, listener)
    };
    backtest.events.read(backtest.batch, &mut take).await?;
    running.end(&mut |applied| tell(applied, &mut summary, listener))?;
    Ok(summary)
}

fn tell(applied: &Applied, summary: &mut Summary, listener: &mut dyn Listener) -> anyhow::Result<()> {
    summary.add(applied);
    for output in &applied.incidents {
        listener.incident(output)?;
    }
    for letter in &applied.dead_letters {
        let header = |wanted| letter.headers.iter().find(|(name, _)| *name == wanted);
        // A letter in parts is one letter.
        if header(HEADER_PART).is_some_and(|(_, part)| !part.starts_with("1/")) {
            continue;
        }
        let detail = header(HEADER_DETAIL);
        listener.dead_letter(letter.place.position.seq, detail.map_or("", |(_, detail)| detail))?;
    }
    Ok(())
}
