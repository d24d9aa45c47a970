//! One run: a worker, its logs and its store, and everything that happens to them.

use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use sightline::bus::memory::{MemoryLog, MemoryOutputs};
use sightline::bus::{BusError, LogMessage};
use sightline::state::{MemoryPlace, Room};
use sightline::telemetry::Readiness;
use sightline::telemetry::metrics::Metrics;
use sightline::worker::inspect::Status;
use sightline::worker::run::{Settings, Turn, Worker};
use sightline::worker::start::WorkerError;
use sightline_schemas::control::RulesMessage;
use sightline_schemas::{IncidentId, IncidentMessage};

use crate::faults::{Calm, Commits, Disaster, Plan, chance};
use crate::random::Random;
use crate::rules::some_rules;
use crate::workload::Workload;

pub type SimWorker = Worker<MemoryLog, MemoryOutputs, MemoryOutputs>;

/// Turns in which nothing happens, after which a worker is done.
const STILL_TURNS: u32 = 3;
/// More turns than any run needs to come to its end.
const END_TURNS_MAX: u32 = 20_000;

/// What was put into the log.
#[derive(Clone, Copy, Debug, Default)]
pub struct Published {
    pub events: u64,
    pub commands: u64,
    pub rules: u64,
}

/// An input log as it was in the end, with what was deleted of it.
#[derive(Clone, Debug, Default)]
pub struct History {
    pub id: String,
    pub messages: BTreeMap<u64, LogMessage>,
    /// Sequences of messages that no longer are there.
    pub removed: BTreeMap<u64, LogMessage>,
    pub published: Published,
    /// How much of each output log was there when the newest messages were lost, and the last that was left.
    pub tails_lost: Vec<(usize, usize, u64)>,
}

/// Everything there is in a run.
pub struct World {
    pub plan: Plan,
    pub random: Random,
    pub calm: Calm,
    pub log: MemoryLog,
    pub incidents: MemoryOutputs,
    pub dead_letters: MemoryOutputs,
    pub place: MemoryPlace,
    pub commits: Commits,
    pub metrics: Metrics,
    /// The logs, the newest one last.
    pub histories: Vec<History>,
    /// Stretches of the input that are gone and that some worker answers for: somebody must say so.
    pub missed: Vec<(u64, u64)>,
    /// Something was there by which a worker knows that it has a past with this log.
    pub has_past: bool,
    pub unreadable: Vec<(String, u64)>,
    /// Incidents that dashboards have seen, and how much of the output they have read.
    known: Vec<(String, IncidentId)>,
    read_outputs: usize,
    trace: blake3::Hasher,
    verbose: bool,
    workload: Workload,
    rules: RulesMessage,
    pub worker: Option<SimWorker>,
    announced: bool,
    pub second: Option<SimWorker>,
    /// A second worker or what a dead one had under way may have written.
    rivals: bool,
    pub input_changed: bool,
}

impl World {
    pub fn new(seed: u64, verbose: bool) -> Self {
        let mut random = Random::new(seed);
        let plan = Plan::new(&mut random);
        let (incidents, dead_letters) = (MemoryOutputs::default(), MemoryOutputs::default());
        let (place, commits, calm) = (MemoryPlace::default(), Commits::default(), Calm::default());
        commits.watch(&place, (&incidents, &dead_letters), &plan, random.fork(), &calm);
        let log = MemoryLog::default();
        let workload = Workload::new(random.fork());
        log.set_time(workload.now());
        World {
            histories: vec![History { id: log.id(), ..History::default() }],
            rules: some_rules(&mut random),
            rivals: plan.slow > 0,
            workload,
            plan,
            random,
            calm,
            log,
            incidents,
            dead_letters,
            place,
            commits,
            metrics: Metrics::new(),
            missed: Vec::new(),
            has_past: false,
            unreadable: Vec::new(),
            known: Vec::new(),
            read_outputs: 0,
            trace: blake3::Hasher::new(),
            verbose,
            worker: None,
            announced: false,
            second: None,
            input_changed: false,
        }
    }

    /// Notes what happened; two runs of one seed note the same.
    pub fn note(&mut self, what: impl FnOnce() -> String) {
        let line = what();
        if self.verbose {
            println!("{:>5} {:>4} {line}", self.log.last_seq(), self.incidents.len());
        }
        self.trace.update(line.as_bytes());
        self.trace.update(b"\n");
    }

    /// A hash of everything that happened and came out.
    pub fn fingerprint(&self) -> String {
        let mut hasher = self.trace.clone();
        for (log, output) in self.incidents.stored().iter().chain(&self.dead_letters.stored()) {
            hasher.update(format!("{log} {output:?}\n").as_bytes());
        }
        hasher.finalize().to_hex().to_string()
    }

    pub fn history(&mut self) -> &mut History {
        self.histories.last_mut().expect("there always is a log")
    }

    fn settings(&mut self) -> Settings {
        let random = &mut self.random;
        let (partitions, batch_messages) = (*random.pick(&[1, 2, 3, 5]), *random.pick(&[1, 3, 20, 1_000]));
        Settings {
            partitions,
            batch_messages,
            batch_wait: Duration::from_millis(20),
            tick_every: Duration::from_millis(*random.pick(&[20, 200])),
            checkpoint_every: self.plan.checkpoint_every,
            // Half of the workers pack every state after every batch, and keep none of them in memory.
            room: if (partitions + batch_messages) % 2 == 0 { Room::none() } else { Room::unlimited() },
            scratch_dir: None,
        }
    }

    async fn begin_on(&mut self, place: &MemoryPlace) -> Option<Result<SimWorker, WorkerError>> {
        let settings = self.settings();
        let chance = chance(&self.plan, self.random.fork(), &self.calm);
        let polls = self.lifetime();
        let readiness = Readiness::new();
        let partitions = settings.partitions;
        let beginning = Worker::begin(
            self.log.with(chance.clone()),
            self.incidents.with(chance.clone()),
            self.dead_letters.with(chance),
            Box::new(place.store()),
            settings,
            self.metrics.clone(),
            readiness.clone(),
            Status::new(readiness, partitions),
        );
        until_killed(beginning, polls).await
    }

    /// How often a call may wait before its worker is killed, if it is.
    fn lifetime(&mut self) -> Option<u64> {
        let killed = !self.calm.is() && self.random.permille(self.plan.killed_inside);
        killed.then(|| self.random.below(8))
    }

    pub async fn begin(&mut self) -> Result<(), String> {
        let before = self.place.newest();
        let first = self.log.first_seq();
        let has_past = self.has_past();
        let place = self.place.clone();
        match self.begin_on(&place).await {
            Some(Ok(worker)) => {
                self.note(|| "begun".to_owned());
                let usable = before
                    .filter(|image| image.meta.log_id == self.log.id())
                    .filter(|image| image.meta.format == sightline::worker::checkpoint::STATE_FORMAT)
                    .filter(|image| image.meta.seq <= self.log.last_seq());
                // A worker answers for what follows its checkpoint; without one, for everything if it has a past. A new
                // one begins with the oldest message: what was gone before, it never had to watch.
                let needed = match usable {
                    Some(image) => image.meta.seq + 1,
                    None if has_past => 1,
                    None => first,
                };
                if needed < first {
                    self.missed.push((needed, first - 1));
                }
                if !has_past {
                    self.missed.retain(|(_, last)| *last >= first);
                    self.missed.iter_mut().for_each(|(from, _)| *from = first.max(*from));
                }
                (self.worker, self.announced, self.input_changed) = (Some(worker), false, false);
                Ok(())
            }
            Some(Err(WorkerError::Bus(error @ (BusError::Retry { .. } | BusError::Replaced)))) => {
                self.note(|| format!("not begun: {error}"));
                Ok(())
            }
            Some(Err(WorkerError::Bus(BusError::Fenced(_)))) if self.rivals => {
                self.note(|| "fenced as it began".to_owned());
                Ok(())
            }
            Some(Err(error)) => Err(format!("a worker cannot begin: {error}")),
            None => {
                self.note(|| "killed as it began".to_owned());
                self.die().await;
                Ok(())
            }
        }
    }

    /// Whether a worker that begins now has a past with this log: there is a checkpoint of it, be it unusable, or something
    /// was said of it.
    fn has_past(&mut self) -> bool {
        let log = self.log.id();
        let said = self.incidents.newest().is_some_and(|(of, _)| of == log);
        self.has_past = said || self.place.speaks_of(&log);
        self.has_past
    }

    /// The worker is gone, whatever it was about.
    async fn die(&mut self) {
        self.worker = None;
        if self.random.percent(30) {
            // What it had under way to the disk comes to its end first.
            tokio::task::yield_now().await;
        }
        self.place.owner_died();
        if !self.calm.is() && self.random.percent(self.plan.checkpoint_lost) {
            let kind = self.random.below(6);
            self.note(|| format!("the checkpoint suffers, kind {kind}"));
            self.has_past = false;
            match kind {
                0 | 1 => self.place.roll_back(),
                2 => self.place.wipe(),
                3 => self.place.damage("a fault was asked for"),
                4 => self.place.forge(|meta| meta.format += 1),
                _ => self.place.forge(|meta| meta.log_id.push_str("-other")),
            }
        }
    }

    /// One turn of the worker, which may be its last.
    async fn turn(&mut self) -> Result<Option<Turn>, String> {
        let Some(mut worker) = self.worker.take() else {
            self.begin().await?;
            return Ok(None);
        };
        if !self.announced {
            let polls = self.lifetime();
            let rules = self.rules.clone();
            match until_killed(worker.announce(&rules, false), polls).await {
                Some(Ok(new)) => {
                    self.announced = true;
                    self.note(|| format!("announced: {new}"));
                }
                Some(Err(error)) => self.note(|| format!("not announced: {error}")),
                None => {
                    drop(worker);
                    self.die().await;
                    return Ok(None);
                }
            }
        }
        let polls = self.lifetime();
        let turned = until_killed(worker.turn(), polls).await;
        self.has_past();
        match turned {
            Some(Ok(turn)) => {
                self.note(|| format!("{turn:?}"));
                match self.random.below(4) {
                    0 => worker.finish_checkpoint().await,
                    1 => tokio::task::yield_now().await,
                    _ => {}
                }
                let lag = if self.random.percent(10) { worker.refresh_lag().await } else { Ok(()) };
                match lag {
                    Ok(()) => self.worker = Some(worker),
                    Err(BusError::Replaced) if self.input_changed => self.die().await,
                    Err(error) => return Err(format!("asking for the lag ended with: {error}")),
                }
                Ok(Some(turn))
            }
            None => {
                self.note(|| "killed inside a turn".to_owned());
                drop(worker);
                self.die().await;
                Ok(None)
            }
            Some(Err(WorkerError::Bus(BusError::Replaced))) if self.input_changed => {
                self.note(|| "the input is another one".to_owned());
                worker.finish_checkpoint().await;
                Ok(None)
            }
            Some(Err(WorkerError::Bus(BusError::Fenced(_)))) if self.rivals => {
                self.note(|| "fenced".to_owned());
                worker.finish_checkpoint().await;
                Ok(None)
            }
            Some(Err(error)) => Err(format!("a turn ended with: {error}")),
        }
    }

    /// One step of the run: whatever comes next.
    pub async fn step(&mut self) -> Result<(), String> {
        for _ in 0..self.random.below(self.plan.messages + 1) {
            self.push();
        }
        let of = |world: &mut Self, times: u64| world.random.permille(times);
        if of(self, self.plan.output_silent) {
            let how_long = Duration::from_millis(self.random.below(6_000));
            self.note(|| format!("outputs silent for {how_long:?}"));
            self.incidents.silence(how_long);
            self.dead_letters.silence(how_long / 2);
        }
        if of(self, self.plan.output_full) {
            let how_long = Duration::from_millis(self.random.below(6_000));
            self.note(|| format!("outputs full for {how_long:?}"));
            self.incidents.fill(how_long);
        }
        if of(self, self.plan.other_rules) {
            self.rules = some_rules(&mut self.random);
            self.announced = false;
        }
        if of(self, self.plan.killed_between) && self.worker.is_some() {
            self.note(|| "killed between turns".to_owned());
            self.die().await;
        }
        if of(self, self.plan.drained)
            && let Some(mut worker) = self.worker.take()
        {
            let drained = until_killed(worker.drain(), None).await.map(|drained| drained.is_ok());
            self.note(|| format!("drained: {drained:?}"));
        }
        if self.plan.disaster != Disaster::None && of(self, self.plan.struck) {
            self.strike().await?;
        }
        self.step_second().await?;
        if self.random.percent(15) {
            tokio::time::sleep(Duration::from_millis(self.random.below(400))).await;
        }
        self.turn().await.map(|_| ())
    }

    fn push(&mut self) {
        let unread = self.incidents.outputs_from(self.read_outputs);
        self.read_outputs += unread.len();
        self.known.extend(unread.iter().filter_map(incident));
        let push = self.workload.next(&self.known);
        let seq = self.log.push(push.at, &push.subject, &push.headers, push.body);
        if push.unreadable {
            self.unreadable.push((self.log.id(), seq));
        }
        let published = &mut self.history().published;
        published.events += push.events;
        published.commands += push.commands;
        published.rules += push.rules;
        self.note(|| format!("{seq} on {} at {}", push.subject, push.at));
    }

    /// A second worker is started on the same logs by mistake, with a store of its own.
    async fn step_second(&mut self) -> Result<(), String> {
        match self.second.take() {
            None if self.random.permille(self.plan.second_worker) => {
                self.rivals = true;
                if let Some(Ok(worker)) = self.begin_on(&MemoryPlace::default()).await {
                    self.note(|| "a second worker begins".to_owned());
                    self.second = Some(worker);
                }
                // On the same store it is refused at once.
                if self.worker.is_some() {
                    let place = self.place.clone();
                    match self.begin_on(&place).await {
                        Some(Ok(_)) => return Err("two workers on one store".to_owned()),
                        _ => self.note(|| "refused on the same store".to_owned()),
                    }
                }
            }
            None => {}
            Some(mut second) => match until_killed(second.turn(), Some(200)).await {
                Some(Ok(_)) if self.random.percent(90) => self.second = Some(second),
                Some(Ok(_)) | None => self.note(|| "the second worker leaves".to_owned()),
                Some(Err(WorkerError::Bus(BusError::Fenced(_)))) => {
                    self.note(|| "the second worker is fenced".to_owned());
                }
                Some(Err(WorkerError::Bus(BusError::Replaced))) => {}
                Some(Err(error)) => return Err(format!("the second worker ended with: {error}")),
            },
        }
        Ok(())
    }

    /// What is left when nothing goes wrong any more: everything is worked through and said.
    pub async fn finish(&mut self) -> Result<(), String> {
        self.calm.set(true);
        self.second = None;
        self.incidents.release();
        self.dead_letters.release();
        if self.random.percent(50) && self.may_die() {
            self.die().await;
        }
        self.note(|| "calm".to_owned());
        let mut still = 0;
        for _ in 0..END_TURNS_MAX {
            self.workload.pass(30_000_000);
            self.log.set_time(self.workload.now());
            let turn = self.turn().await?;
            let busy = self.worker.as_ref().is_none_or(SimWorker::has_something_to_say);
            still = if turn == Some(Turn::Idle) && !busy { still + 1 } else { 0 };
            if still == STILL_TURNS {
                let mut worker = self.worker.take().expect("it was idle a moment ago");
                worker.drain().await.map_err(|error| format!("draining ended with: {error}"))?;
                self.remember();
                return Ok(());
            }
        }
        Err("no end is reached".to_owned())
    }

    /// Who begins anew takes what is said last for the place up to which all was said. After the newest messages were lost
    /// that is wrong until something is said of what came in their places.
    fn may_die(&self) -> bool {
        let lost = self.histories.last().and_then(|history| history.tails_lost.last());
        lost.is_none_or(|(incidents, dead_letters, _)| {
            self.incidents.len() > *incidents && self.dead_letters.len() > *dead_letters
        })
    }

    /// Takes down what the input log holds, before something is done to it and in the end.
    pub fn remember(&mut self) {
        let messages = self.log.messages();
        self.history().messages.extend(messages.into_iter().map(|message| (message.seq, message)));
    }
}

fn incident(output: &sightline::bus::Output) -> Option<(String, IncidentId)> {
    let message: IncidentMessage = serde_json::from_slice(&output.body).ok()?;
    Some((message.incident.tenant, message.incident.id))
}

/// Lets something go on until it is done, or has waited so many times.
async fn until_killed<F: Future>(future: F, polls: Option<u64>) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut polls = polls;
    poll_fn(|context| match (future.as_mut().poll(context), &mut polls) {
        (Poll::Ready(done), _) => Poll::Ready(Some(done)),
        (Poll::Pending, None) => Poll::Pending,
        (Poll::Pending, Some(0)) => Poll::Ready(None),
        (Poll::Pending, Some(left)) => {
            *left -= 1;
            Poll::Pending
        }
    })
    .await
}
