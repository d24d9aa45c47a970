//! The loop: read, decide, publish, and at times a checkpoint.

mod warm;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use sightline_schemas::EventTime;
use sightline_schemas::control::RulesMessage;
use sightline_schemas::subject::CONTROL_TICK;
use tokio::time::Instant;

use crate::bus::{BusError, EventLog, LastOutput, LogMessage, Output, OutputLog, OutputPlace};
use crate::state::table::StateTable;
use crate::state::{Census, CheckpointStore, Pace, Room, Scratch};
use crate::telemetry::metrics::Metrics;
use crate::telemetry::{NotReady, Readiness};
use crate::worker::announce::{Announced, announce};
use crate::worker::checkpoint::{Checkpointer, Written};
use crate::worker::coverage::Coverage;
use crate::worker::inspect::Status;
use crate::worker::machine::Machine;
use crate::worker::report::Reporter;
use crate::worker::start::{self, WorkerError};
use crate::worker::threads::computing;

/// How long to wait before trying again what the bus refused for now.
const RETRY_DELAY: Duration = Duration::from_millis(200);
/// A batch that is as large as this share of the largest is one of a torrent.
const BEHIND_SHARE: usize = 4;
/// How long an output log may take before the worker is no longer ready.
const OUTPUT_PATIENCE: Duration = Duration::from_secs(3);
/// How often to ask how long the input log is.
const LAG_EVERY: Duration = Duration::from_secs(1);

/// How the loop runs.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Shares of the keys.
    pub partitions: usize,
    /// Most messages taken at a time.
    pub batch_messages: usize,
    /// How long to wait for the first of them.
    pub batch_wait: Duration,
    /// Without messages, and with something to say when time goes on, write a tick this often.
    pub tick_every: Duration,
    /// Take a checkpoint this often.
    pub checkpoint_every: Duration,
    /// How much memory states may take.
    pub room: Room,
    /// Where states lie for which that is too little; memory, where nothing is said.
    pub scratch_dir: Option<PathBuf>,
}

/// What one turn of the loop came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Messages were worked through.
    Worked,
    /// There were none.
    Idle,
    /// The bus was not there.
    Waited,
}

/// A worker: the machine between its two logs.
pub struct Worker<E, O, D> {
    events: E,
    incidents: O,
    dead_letters: D,
    machine: Machine,
    checkpoints: Checkpointer,
    silent: Option<OutputPlace>,
    dead_silent: Option<OutputPlace>,
    last: Option<LastOutput>,
    coverage: Coverage,
    /// Messages that are gone, to be passed over before the next are read.
    gap: Option<(u64, u64)>,
    settings: Settings,
    reporter: Reporter,
    readiness: Readiness,
    status: Status,
    target_seq: u64,
    rules_announced: bool,
    last_seq: u64,
    lag_asked: Instant,
    last_message: Instant,
}

impl<E: EventLog, O: OutputLog, D: OutputLog> Worker<E, O, D> {
    /// Begins at the place that the facts say, with `rules` announced in the log if they are not the ones in force.
    ///
    /// # Errors
    /// When the bus does not answer, another worker uses the store, or the disk fails.
    #[expect(clippy::too_many_arguments, reason = "the parts of a worker, each of its own type")]
    pub async fn begin(
        mut events: E,
        mut incidents: O,
        mut dead_letters: D,
        store: Box<dyn CheckpointStore>,
        settings: Settings,
        metrics: Metrics,
        readiness: Readiness,
        status: Status,
    ) -> Result<Self, WorkerError> {
        readiness.set(NotReady::Recovering);
        let scratch = settings.scratch_dir.as_ref().map_or_else(Scratch::in_memory, Scratch::at);
        let table = Arc::new(StateTable::new(settings.room, scratch));
        let partitions = settings.partitions;
        let begun =
            start::begin(&mut events, &mut incidents, &mut dead_letters, store, table, partitions).await?;
        let mut reporter = Reporter::new(metrics);
        reporter.rules(begun.machine.rules());
        status.rules(&begun.machine);
        let mut worker = Worker {
            events,
            incidents,
            dead_letters,
            checkpoints: Checkpointer::new(begun.store, settings.checkpoint_every, begun.saved_seq),
            machine: begun.machine,
            silent: begun.silent,
            dead_silent: begun.dead_silent,
            last: begun.last,
            coverage: begun.coverage,
            gap: None,
            settings,
            reporter,
            readiness,
            status,
            target_seq: begun.target_seq,
            rules_announced: false,
            last_seq: begun.target_seq,
            lag_asked: Instant::now(),
            last_message: Instant::now(),
        };
        if let Some((first, last)) = begun.gap {
            worker.miss(first, last).await?;
        }
        worker.note_progress();
        Ok(worker)
    }

    /// Puts rules into the log, unless they are the newest ones there already. They take effect at their place, new and
    /// changed ones with what they come to over the log if `warm`.
    ///
    /// # Errors
    /// When the bus does not answer.
    pub async fn announce(&mut self, rules: &RulesMessage, warm: bool) -> Result<bool, BusError> {
        let announced = announce(&mut self.events, rules, warm).await?;
        self.rules_announced = true;
        let Announced::Stored { seq, warm_from } = announced else { return Ok(false) };
        crash_point!(AfterAnnounce);
        // Not ready before they are in force: whoever waits for that may rely on them.
        self.target_seq = self.target_seq.max(seq);
        self.readiness.set(NotReady::Recovering);
        tracing::info!(seq, warm_from, files = rules.files.len(), "rules announced");
        Ok(true)
    }

    /// Sequence of the last message worked through.
    pub fn position(&self) -> u64 {
        self.machine.position()
    }

    /// Whether something is held back until log time goes on.
    pub fn has_something_to_say(&self) -> bool {
        self.machine.next_due().is_some()
    }

    /// One turn: a batch, or what is to do without one.
    ///
    /// # Errors
    /// When the worker cannot go on. [`BusError::Replaced`]: begin anew. Everything else: stop and say so.
    pub async fn turn(&mut self) -> Result<Turn, WorkerError> {
        self.take_in_checkpoint().await;
        let mut pace = Pace::Working;
        let turn = match self.read().await {
            Ok(batch) if batch.is_empty() => {
                pace = Pace::Idle;
                self.idle().await?
            }
            Ok(batch) => {
                if batch.len() >= self.settings.batch_messages.div_ceil(BEHIND_SHARE) {
                    pace = Pace::Behind;
                }
                match warm::place(&batch) {
                    None => self.work(&batch).await?,
                    Some(at) => self.work_warm(&batch, at).await?,
                }
            }
            Err(BusError::Gap { first, last }) => {
                self.gap = Some((first, last));
                Turn::Worked
            }
            Err(BusError::Retry { what, why }) => {
                self.readiness.set(NotReady::BusAway);
                tracing::warn!(what, why, "the bus is away, trying again");
                tokio::time::sleep(RETRY_DELAY).await;
                return Ok(Turn::Waited);
            }
            Err(error) => return Err(error.into()),
        };
        self.readiness.clear(NotReady::BusAway);
        self.tidy(pace)?;
        if self.checkpoints.is_due(self.machine.position()) && !self.coverage.is_holding() {
            self.checkpoint().await?;
        }
        self.note_progress();
        Ok(turn)
    }

    fn tidy(&mut self, pace: Pace) -> Result<(), WorkerError> {
        let machine = &mut self.machine;
        computing(|| machine.tidy(pace));
        self.machine.table().fault().map_or(Ok(()), |why| Err(WorkerError::States(why)))
    }

    /// Publishes everything, takes a last checkpoint and waits until it is written.
    ///
    /// # Errors
    /// As [`Worker::turn`].
    pub async fn drain(&mut self) -> Result<(), WorkerError> {
        self.readiness.set(NotReady::Draining);
        crash_point!(InDrain);
        self.finish_checkpoint().await;
        if self.machine.position() > self.checkpoints.saved_seq() && !self.coverage.is_holding() {
            self.checkpoint().await?;
            self.finish_checkpoint().await;
        }
        let (seq, saved_seq) = (self.machine.position(), self.checkpoints.saved_seq());
        tracing::info!(seq, saved_seq, "drained");
        Ok(())
    }

    /// Waits until a checkpoint that is being written has ended.
    pub async fn finish_checkpoint(&mut self) {
        if let Some((written, census)) = self.checkpoints.finish().await {
            self.note_checkpoint(&written, &census);
        }
    }

    async fn work(&mut self, batch: &[LogMessage]) -> Result<Turn, WorkerError> {
        let began = Instant::now();
        self.last_message = began;
        crash_point!(BeforeDecode);
        // Pure computation; the runtime's other tasks go on elsewhere meanwhile.
        let machine = &mut self.machine;
        let applied = computing(|| machine.apply(batch));
        crash_point!(AfterDecode);
        if let Some(why) = self.machine.table().fault() {
            return Err(WorkerError::States(why));
        }
        self.reporter.applied(&applied, batch.len(), began.elapsed());
        if !applied.rule_changes.is_empty() {
            self.note_rules(&applied.rule_changes);
        }
        let said = match self.silent {
            None => applied.incidents.iter().map(|output| output.place.position.seq).collect(),
            Some(_) => Vec::new(),
        };
        self.publish(applied.incidents, applied.dead_letters).await?;
        self.last_seq = self.last_seq.max(self.machine.position());
        for seq in said {
            let caused_by = batch.binary_search_by_key(&seq, |message| message.seq).ok();
            if let Some(received) = caused_by.and_then(|at| batch[at].received_at) {
                self.reporter.published(since(received));
            }
        }
        Ok(Turn::Worked)
    }

    async fn idle(&mut self) -> Result<Turn, WorkerError> {
        self.incidents.poll().await?;
        self.dead_letters.poll().await?;
        let waiting = self.machine.next_due().is_some();
        if waiting && self.last_message.elapsed() >= self.settings.tick_every {
            // Time enters through the log like everything else.
            self.last_message = Instant::now();
            crash_point!(BeforeTick);
            if let Err(error) = self.events.append(CONTROL_TICK, &[], Bytes::new()).await {
                tracing::warn!(%error, "cannot write a tick");
            }
            crash_point!(AfterTick);
        }
        Ok(Turn::Idle)
    }

    /// The next messages, behind a gap where there is one.
    async fn read(&mut self) -> Result<Vec<LogMessage>, BusError> {
        if let Some((first, last)) = self.gap {
            self.events.seek(last + 1).await?;
            self.gap = None;
            self.miss(first, last).await?;
        }
        self.events.next_batch(self.settings.batch_messages, self.settings.batch_wait).await
    }

    /// Goes on behind messages that are gone, and says so where nobody said it before.
    async fn miss(&mut self, first: u64, last: u64) -> Result<(), BusError> {
        self.machine.skip_to(last);
        let missing = self.coverage.miss(first, last, self.silent);
        if missing > 0 {
            tracing::error!(first, last, missing, "input messages are gone that were never seen");
            self.reporter.gap(missing);
        }
        self.publish(Vec::new(), Vec::new()).await
    }

    /// Publishes what was not published before a restart.
    async fn publish(&mut self, incidents: Vec<Output>, dead_letters: Vec<Output>) -> Result<(), BusError> {
        let mut incidents = self.unsaid(incidents);
        let reports = self.coverage.due(self.machine.position());
        if !reports.is_empty() {
            incidents.extend(reports);
            incidents.sort_by_key(|output| output.place);
        }
        let dead_letters = match self.dead_silent {
            None => dead_letters,
            Some(silent) => dead_letters.into_iter().filter(|output| output.place > silent).collect(),
        };
        if !incidents.is_empty() {
            crash_point!(BeforePublish);
            patiently(&self.readiness, self.incidents.publish(incidents)).await?;
        }
        if !dead_letters.is_empty() {
            crash_point!(BetweenOutputs);
            patiently(&self.readiness, self.dead_letters.publish(dead_letters)).await?;
        }
        crash_point!(AfterPublish);
        let in_flight = self.incidents.poll().await? + self.dead_letters.poll().await?;
        self.reporter.in_flight(in_flight);
        Ok(())
    }

    fn unsaid(&mut self, outputs: Vec<Output>) -> Vec<Output> {
        let Some(silent) = self.silent else { return outputs };
        let (said, unsaid): (Vec<Output>, Vec<Output>) =
            outputs.into_iter().partition(|output| output.place <= silent);
        if !said.is_empty() {
            crash_point!(InSilentReplay);
        }
        // The replay must come to what was said: state is a function of the log.
        if let Some(last) = self.last.take() {
            match said.iter().find(|output| output.place == last.place) {
                None => self.last = Some(last),
                Some(output) if output.body == last.body => {}
                Some(output) => {
                    self.reporter.replay_mismatch();
                    let position = output.place.position;
                    tracing::error!(%position, "the replay says something else than was published there");
                }
            }
        }
        unsaid
    }

    async fn checkpoint(&mut self) -> Result<(), WorkerError> {
        crash_point!(BeforeOutputFlush);
        // What a checkpoint holds is never said again, so everything must have been said.
        patiently(&self.readiness, self.incidents.flush()).await?;
        patiently(&self.readiness, self.dead_letters.flush()).await?;
        crash_point!(AfterOutputFlush);
        let (checkpoints, machine) = (&mut self.checkpoints, &mut self.machine);
        computing(|| checkpoints.begin(machine));
        if let Some(why) = self.machine.table().fault() {
            return Err(WorkerError::States(why));
        }
        Ok(())
    }

    async fn take_in_checkpoint(&mut self) {
        if let Some((written, census)) = self.checkpoints.poll().await {
            self.note_checkpoint(&written, &census);
        }
    }

    fn note_checkpoint(&mut self, written: &Written, census: &Census) {
        match written {
            Written::Saved { seq, committed } => {
                crash_point!(AfterSaved);
                self.readiness.clear(NotReady::CheckpointFailing);
                tracing::debug!(seq, keys = committed.keys, bytes = committed.bytes, "checkpoint written");
                self.status.checkpoint(*seq, committed);
            }
            Written::Failed(error) => {
                self.readiness.set(NotReady::CheckpointFailing);
                tracing::error!(%error, "checkpoint failed; going on, and trying again");
            }
        }
        self.reporter.checkpoint(written);
        self.reporter.census(self.machine.rules(), census);
    }

    fn note_rules(&mut self, changes: &[Result<(), String>]) {
        for change in changes {
            match change {
                Ok(()) => {
                    let seq = self.machine.position();
                    tracing::info!(rules = self.machine.rules().rules.len(), seq, "rules in force");
                }
                Err(why) => tracing::error!(why, "rules in the log refused; the old ones stay in force"),
            }
        }
        self.reporter.rules(self.machine.rules());
        self.status.rules(&self.machine);
    }

    /// Tells whoever asks how far the worker is.
    fn note_progress(&mut self) {
        let position = self.machine.position();
        if position >= self.target_seq && self.rules_announced {
            self.readiness.clear(NotReady::Recovering);
        }
        if self.silent.is_some_and(|silent| silent.position.seq < position) {
            self.silent = None;
        }
        self.reporter.progress(position, self.machine.log_time(), self.last_seq.saturating_sub(position));
        self.status.progress(position, self.last_seq, self.machine.log_time());
    }

    /// Asks how long the input log is, now and then.
    ///
    /// # Errors
    /// When the log was replaced by another one.
    pub async fn refresh_lag(&mut self) -> Result<(), BusError> {
        if self.lag_asked.elapsed() < LAG_EVERY {
            return Ok(());
        }
        self.lag_asked = Instant::now();
        match self.events.info().await {
            Ok(info) if info.id != self.machine.log_id() => return Err(BusError::Replaced),
            Ok(info) => self.last_seq = info.last_seq,
            Err(error) => tracing::debug!(%error, "cannot ask how long the input log is"),
        }
        Ok(())
    }
}

/// Waits for an output log for as long as it takes, and says so when it takes long: nothing is consumed meanwhile.
async fn patiently<T>(
    readiness: &Readiness,
    output: impl Future<Output = Result<T, BusError>>,
) -> Result<T, BusError> {
    let mut output = std::pin::pin!(output);
    if let Ok(done) = tokio::time::timeout(OUTPUT_PATIENCE, &mut output).await {
        return done;
    }
    readiness.set(NotReady::OutputBlocked);
    tracing::error!("the output log takes nothing; waiting, and reading no further");
    let done = output.await;
    if done.is_ok() {
        readiness.clear(NotReady::OutputBlocked);
        tracing::info!("the output log takes messages again");
    }
    done
}

/// Wall time since the bus received something. For metrics only: nothing is decided by it.
fn since(received: EventTime) -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let received = Duration::from_micros(u64::try_from(received.as_micros()).unwrap_or(0));
    now.saturating_sub(received)
}
