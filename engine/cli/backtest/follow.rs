//! Events from files through the state machine, incidents to whoever listens.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use sightline_schemas::EventTime;
use sightline_schemas::control::{EngineSettings, RulesMessage};

use crate::bus::file::{self, FileEvents};
use crate::bus::{LogMessage, Output};
use crate::cli::rules;
use crate::state::table::StateTable;
use crate::worker::machine::{Applied, Machine};

/// What a backtest is given.
#[derive(Debug)]
pub struct Backtest {
    /// Rule files and folders.
    pub rules: Vec<PathBuf>,
    /// Event files, `-` for standard input.
    pub events: Vec<String>,
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
    /// Lines read.
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
        let opened = |tally: &crate::worker::machine::RuleTally| {
            tally.changes.get(&sightline_schemas::Change::Opened).copied().unwrap_or(0)
        };
        self.opened += applied.rules.values().map(opened).sum::<u64>();
    }
}

/// Takes what a backtest says.
pub trait Listener {
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

/// Writes one incident message a line to the first, and words to the second.
struct Lines<'w>(&'w mut (dyn Write + Send), &'w mut (dyn Write + Send));

impl Listener for Lines<'_> {
    fn incident(&mut self, output: &Output) -> anyhow::Result<()> {
        self.0.write_all(&output.body)?;
        Ok(self.0.write_all(b"\n")?)
    }

    fn dead_letter(&mut self, line: u64, why: &str) -> anyhow::Result<()> {
        Ok(writeln!(self.1, "line {line}: not taken: {why}")?)
    }
}

/// Runs the events through the rules, writing one incident message a line to `out` and words to `words`.
///
/// # Errors
/// As [`follow`], and when `out` is closed.
pub async fn run(
    backtest: &Backtest,
    out: &mut (dyn Write + Send),
    words: &mut (dyn Write + Send),
) -> anyhow::Result<Summary> {
    let summary = follow(backtest, &mut Lines(out, words)).await?;
    out.flush()?;
    Ok(summary)
}

/// Runs the events through the rules, and tells `listener` what follows.
///
/// # Errors
/// When a file cannot be read, the rules cannot be used, or nobody listens.
pub async fn follow(backtest: &Backtest, listener: &mut dyn Listener) -> anyhow::Result<Summary> {
    let files = rules::read(&backtest.rules)?;
    let message = RulesMessage { files, settings: backtest.settings.clone() };
    let mut summary = Summary::default();
    let table = Arc::new(StateTable::default());
    let mut machine = Machine::new("file", message, table, backtest.partitions, 0, EventTime::MIN)
        .map_err(anyhow::Error::msg)?;
    let mut seq = 0;
    for path in &backtest.events {
        let reader = file::open(path)
            .map_err(|error| anyhow::Error::new(error).context(format!("cannot read events from {path}")))?;
        let mut events = FileEvents::new(path, reader);
        loop {
            let mut batch =
                crate::bus::EventLog::next_batch(&mut events, backtest.batch, Duration::ZERO).await?;
            if batch.is_empty() {
                break;
            }
            // Several files are one log.
            for message in &mut batch {
                seq += 1;
                message.seq = seq;
            }
            summary.lines += batch.len() as u64;
            tell(&machine.apply(&batch), &mut summary, listener)?;
        }
    }
    // Whatever was held back is due by now: nothing more will come.
    if let Some(tick) = last_tick(&machine, seq + 1) {
        tell(&machine.apply(&[tick]), &mut summary, listener)?;
    }
    Ok(summary)
}

fn last_tick(machine: &Machine, seq: u64) -> Option<LogMessage> {
    let coalesce = machine.rules().settings.coalesce_micros;
    machine.next_due()?;
    Some(LogMessage {
        seq,
        subject: Some(sightline_schemas::subject::CONTROL_TICK.to_owned()),
        content_type: None,
        content_encoding: None,
        received_at: Some(machine.log_time().plus(coalesce)),
        body: bytes::Bytes::new(),
    })
}

fn tell(applied: &Applied, summary: &mut Summary, listener: &mut dyn Listener) -> anyhow::Result<()> {
    summary.add(applied);
    for output in &applied.incidents {
        listener.incident(output)?;
    }
    for letter in &applied.dead_letters {
        let detail =
            letter.headers.iter().find(|(name, _)| *name == sightline_schemas::subject::HEADER_DETAIL);
        listener.dead_letter(letter.place.position.seq, detail.map_or("", |(_, detail)| detail))?;
    }
    Ok(())
}
