//! Many deaths in a row over one log, and a look at what came out in the end.

use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::time::{Duration, Instant};

use async_nats::jetstream::Context;
use sightline::crash_point::CrashPoint;

use crate::outputs::Outputs;
use crate::process::{Life, Process};
use crate::random::Random;
use crate::stage::{Stage, assert_sane, publish};
use crate::workload::{Message, Workload};

/// Messages that a life gets to work on, beside what it needs to come by its crash point.
const MESSAGES_PER_LIFE: usize = 160;
const BURST: usize = 16;
/// What is published while something happens to the server.
const LOAD_PARTS: usize = 60;
const PART: usize = 3;
/// How long a life is given to come by its crash point. Whoever does not is killed like any other, and the point is
/// tried again.
const WAY_TO_POINT_MAX: Duration = Duration::from_secs(15);
/// Lives in a row that may miss the crash point that they are meant for.
const MISSES_MAX: usize = 6;

/// A series of deaths, and what is counted in it.
pub struct Campaign {
    name: &'static str,
    stage: Stage,
    workload: Workload,
    random: Random,
    /// Rules of the next life.
    more_rules: bool,
    /// Deaths so far.
    kills: usize,
    hits: BTreeMap<CrashPoint, usize>,
    began: Instant,
}

impl Campaign {
    /// On a server with these settings.
    pub async fn begin(name: &'static str, seed: u64, server: &str) -> Self {
        Campaign {
            name,
            stage: Stage::set(server).await,
            workload: Workload::new(seed),
            random: Random::new(!seed),
            more_rules: false,
            kills: 0,
            hits: BTreeMap::new(),
            began: Instant::now(),
        }
    }

    /// Kills the worker so many times: three of four at a crash point, each in turn, the others at random.
    pub async fn kill_workers(&mut self, kills: usize) {
        // Some points need outputs and a checkpoint of an earlier life.
        let mut process = self.stage.start(&self.quiet_life());
        self.publish_burst(20 * BURST).await;
        self.stage.until_caught_up(&mut process).await;
        process.stop();
        let mut points = CrashPoint::ALL.iter().copied().cycle();
        let mut misses = 0;
        let mut next = points.next();
        while self.kills < kills {
            let point = if self.kills % 4 == 3 { None } else { next };
            let died_at = self.live(point).await;
            self.kills += 1;
            match (point, died_at) {
                (Some(_), Some(died_at)) => {
                    *self.hits.entry(died_at).or_default() += 1;
                    next = points.next();
                    misses = 0;
                }
                (Some(point), None) => {
                    misses += 1;
                    assert!(misses < MISSES_MAX, "{} is not come by", point.name());
                }
                (None, _) => {}
            }
        }
    }

    /// One life, and how it ended.
    async fn live(&mut self, point: Option<CrashPoint>) -> Option<CrashPoint> {
        let life = self.next_life(point);
        let mut process = self.stage.start(&life);
        let began = Instant::now();
        let asks_to_stop = matches!(point, Some(CrashPoint::InDrain | CrashPoint::AfterDrain));
        let pauses = matches!(point, Some(CrashPoint::BeforeTick | CrashPoint::AfterTick));
        // Some die while they begin, most while they work.
        let mut until = match point {
            Some(_) => Some(began + WAY_TO_POINT_MAX),
            None if self.random.percent(30) => Some(began + self.random.millis(0..400)),
            None => None,
        };
        let mut stop_at = None;
        let mut sent = 0;
        let ended = loop {
            if let Some(ended) = process.ended() {
                break Some(ended);
            }
            if until.is_some_and(|until| until <= Instant::now()) {
                process.kill();
                break None;
            }
            if (until.is_none() || asks_to_stop && stop_at.is_none()) && process.api().is_some() {
                let soon = Instant::now() + self.random.millis(0..700);
                until.get_or_insert(soon);
                stop_at = Some(soon);
            }
            if asks_to_stop && stop_at.is_some_and(|at| at <= Instant::now()) {
                process.ask_to_stop();
                // Once is enough.
                stop_at = Some(began + 2 * WAY_TO_POINT_MAX);
            }
            let burst = if sent < MESSAGES_PER_LIFE { BURST } else { 1 };
            sent += burst;
            self.publish_burst(burst).await;
            let pause = if pauses { 400..600 } else { 0..60 };
            tokio::time::sleep(self.random.millis(pause)).await;
        };
        assert_sane(&process);
        if let Some(ended) = ended {
            // Killed at its point, or asked to stop: nothing else ends a worker.
            let fine =
                ended.signal() == Some(9) && process.died_at() == point || asks_to_stop && ended.success();
            assert!(fine, "{ended}: {}", process.said());
        }
        process.died_at()
    }

    fn next_life(&mut self, point: Option<CrashPoint>) -> Life {
        use CrashPoint::{AfterAnnounce, AfterClear, InSilentReplay};
        let random = &mut self.random;
        if point == Some(AfterAnnounce) || point.is_none() && random.percent(15) {
            self.more_rules = !self.more_rules;
        }
        // Only who has nothing left must rebuild, and has much to be silent about.
        let forgetful = match point {
            Some(AfterClear) => true,
            Some(InSilentReplay) => random.percent(80),
            _ => random.percent(3),
        };
        if forgetful {
            self.stage.lose_state();
        }
        let dies_at = point.map(|point| (point, random.of(1..passes(point) + 1)));
        Life {
            partitions: random.of(1..5),
            batch_messages: *random.one_of(&[3, 10, 40, 1_000]),
            tick_every_millis: random.of(50..200),
            dies_at,
            ..self.quiet_life()
        }
    }

    fn quiet_life(&self) -> Life {
        let mut life = Life::quiet();
        if self.more_rules {
            life.rules.push("tests/crash/more_rules.yaml");
        }
        life
    }

    async fn publish_burst(&mut self, count: usize) {
        let incident = self.stage.newest_incident().await;
        let burst = self.workload.burst(count, incident.as_deref());
        self.stage.publish(&burst).await;
    }

    /// Kills the server so many times, and starts it again. The worker lives through it.
    pub async fn kill_servers(&mut self, kills: usize) {
        let life = Life { tick_every_millis: 100, ..self.quiet_life() };
        let mut process = self.stage.start(&life);
        while self.kills < kills {
            self.work_a_while(&mut process).await;
            self.kill_server(None).await;
            self.kills += 1;
        }
        self.work_a_while(&mut process).await;
        process.stop();
        assert_sane(&process);
    }

    /// Kills server and worker so many times, one shortly before or after the other, and starts them again.
    pub async fn kill_both(&mut self, kills: usize) {
        while self.kills < kills {
            let life = self.next_life(None);
            let mut process = self.stage.start(&life);
            if self.random.percent(70) {
                self.work_a_while(&mut process).await;
            }
            match self.random.of(0..3) {
                0 => {
                    process.kill();
                    self.kill_server(None).await;
                }
                1 => self.kill_server(Some(&mut process)).await,
                _ => self.hang_server(&mut process).await,
            }
            assert_sane(&process);
            self.kills += 1;
        }
    }

    /// The server falls silent in the middle of a burst, so that outputs are under way and stay there; the worker goes
    /// on with what it has, for longer than it waits between checkpoints. Then both die, the server first.
    async fn hang_server(&mut self, process: &mut Process) {
        let load = self.load().await;
        let (before, silent) = (self.random.millis(0..60), self.random.millis(100..400));
        let producer = self.stage.producer.clone();
        let server = &mut self.stage.bus.server;
        let hanging = async {
            tokio::time::sleep(before).await;
            server.hang();
            tokio::time::sleep(silent).await;
            server.kill();
            process.kill();
            server.revive();
        };
        tokio::join!(publish_parts(&producer, &load), hanging);
    }

    /// Lets the worker work for a while, and now and then until nothing is left to do.
    async fn work_a_while(&mut self, process: &mut Process) {
        for _ in 0..self.random.of(1..6) {
            self.publish_burst(BURST).await;
            tokio::time::sleep(self.random.millis(0..80)).await;
        }
        if self.random.percent(30) {
            self.stage.until_caught_up(process).await;
        }
        assert!(process.ended().is_none(), "{}", process.said());
    }

    /// Kills the server in the middle of a burst, lets it lie for a while, and starts it again. `process`, if given, dies
    /// meanwhile or a little later.
    async fn kill_server(&mut self, process: Option<&mut Process>) {
        let load = self.load().await;
        let (before, down) = (self.random.millis(0..25), self.random.millis(0..400));
        let after = self.random.millis(0..500);
        let dies_while_down = self.random.percent(50);
        let producer = self.stage.producer.clone();
        let server = &mut self.stage.bus.server;
        let killing = async {
            tokio::time::sleep(before).await;
            server.kill();
            tokio::time::sleep(down).await;
            match process {
                None => server.revive(),
                Some(process) if dies_while_down => {
                    process.kill();
                    server.revive();
                }
                Some(process) => {
                    server.revive();
                    tokio::time::sleep(after).await;
                    process.kill();
                }
            }
        };
        tokio::join!(publish_parts(&producer, &load), killing);
    }

    /// Enough to be published in small parts while something happens to the server: at every moment something is on its
    /// way in, and something on its way out.
    async fn load(&mut self) -> Vec<Vec<Message>> {
        let incident = self.stage.newest_incident().await;
        (0..LOAD_PARTS).map(|_| self.workload.burst(PART, incident.as_deref())).collect()
    }

    /// Publishes what is left of the recording, lets the worker finish, and compares everything with what a worker
    /// publishes that nothing happens to.
    pub async fn end(mut self) {
        let killing = self.began.elapsed();
        for part in self.workload.rest_of_recorded().chunks(500) {
            self.stage.publish(part).await;
        }
        let life = self.quiet_life();
        let found = self.stage.finish(&life).await;
        let expected = self.stage.undisturbed(&life).await;
        self.report(killing, &found, &expected).await;
        assert!(found.len_of("INCIDENTS") > 50, "the workload opens incidents");
        assert!(found.len_of("DEADLETTER") > 5, "the workload has dead letters");
        found.assert_same(&expected);
    }

    /// Says what was done, past the capturing of test output: these are the figures that the test is for.
    async fn report(&self, killing: Duration, found: &Outputs, expected: &Outputs) {
        let mut text = format!(
            "{}: {} kills in {:.0?} ({:.0?} in all), {} messages in; {} incident messages and {} dead letters out; {}\n",
            self.name,
            self.kills,
            killing,
            self.began.elapsed(),
            self.stage.last_seq("EVENTS").await,
            found.len_of("INCIDENTS"),
            found.len_of("DEADLETTER"),
            found.difference(expected),
        );
        for (point, hits) in &self.hits {
            text += &format!("  {:<24}{hits:>5}\n", point.name());
        }
        std::io::stderr().write_all(text.as_bytes()).expect("stderr");
    }

    /// Asserts that the worker died at every crash point at least so many times.
    pub fn assert_every_point(&self, times: usize) {
        for point in CrashPoint::ALL {
            let hits = self.hits.get(point).copied().unwrap_or_default();
            assert!(hits >= times, "{} was hit {hits} times: {:?}", point.name(), self.hits);
        }
    }
}

async fn publish_parts(producer: &Context, parts: &[Vec<Message>]) {
    for part in parts {
        publish(producer, part).await;
    }
}

/// How often a life comes by, at least, before it is given up.
fn passes(point: CrashPoint) -> u64 {
    use CrashPoint as P;
    match point {
        P::AfterLoad | P::AfterClear | P::AfterBegin | P::AfterAnnounce | P::InDrain | P::AfterDrain => 1,
        P::InSilentReplay => 2,
        P::BeforeTick | P::AfterTick => 3,
        P::BeforeOutputFlush | P::AfterOutputFlush | P::AfterEncode => 4,
        P::BeforeBatch | P::AfterBatch | P::AfterStoreFlush | P::AfterSync => 4,
        P::AfterCommit | P::AfterSaved => 4,
        P::BeforeDecode | P::AfterDecode | P::BeforePublish | P::MidPublish => 8,
        P::BetweenOutputs | P::AfterPublish | P::AfterAcknowledgement => 8,
    }
}
