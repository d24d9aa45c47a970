//! Many deaths of one bridge over one state directory, the bus away for a part of them; and one life of another bridge that
//! nothing happens to, with the same to do.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use sightline_producers::crash_point::{CrashPoint, ENV};

use super::chance::Chance;
use super::ends::{Ends, Expected, adds_up};
use crate::server::Server;
use crate::stage::{Running, server_with_streams};

/// How long a bridge looks for a bus before it goes on without one, and then some.
const START_WITHOUT_BUS: Duration = Duration::from_millis(2_100);
/// Latest death of a life, after it had something to do.
const LIFE_MILLIS_MAX: u64 = 350;
/// How long a life may take to come by its point; where it does not, it is killed elsewhere.
const POINT_WAIT: Duration = Duration::from_secs(5);

/// Something that gives a bridge work, the same whenever it is asked, and what all of it must come to.
pub trait Source {
    /// How the bridge is started.
    fn command(&self, url: &str, state: &Path) -> Command;

    /// A bridge runs.
    fn started(&mut self, _running: &mut Running) {}

    /// Gives it more to do.
    async fn more(&mut self, server: &Server, bus_is_there: bool);

    /// Waits until all that was given was taken, where somebody says so.
    async fn settle(&mut self, _server: &Server) {}

    /// What must be on the streams in the end.
    fn expected(&self) -> Expected;

    /// Members of events that differ between two runs.
    fn differing(&self) -> &'static [&'static str] {
        &[]
    }

    /// Where its bridge can die.
    fn points(&self) -> &'static [CrashPoint];

    /// At most at which pass of one that a message of its own comes by; of the others, it is the first or the second.
    fn passes(&self) -> u64 {
        2
    }

    /// Whether it ends when it has read all that there is, and need not be stopped.
    fn ends_by_itself(&self) -> bool {
        false
    }

    /// What a bridge says when it knows what it is to read; none where that needs no acquaintance.
    fn knows(&self) -> Option<&'static str> {
        None
    }
}

/// Points that every bridge comes by which has a spool.
pub const POINTS: &[CrashPoint] = &[
    CrashPoint::AfterRead,
    CrashPoint::AfterHandOver,
    CrashPoint::HalfRecord,
    CrashPoint::AfterRecord,
    CrashPoint::AfterKept,
    CrashPoint::AfterSend,
    CrashPoint::AfterAcknowledgement,
    CrashPoint::AfterSpoolCursor,
];

/// Points that a bridge comes by which notes how far it has read.
pub const WITH_CURSOR: &[CrashPoint] = &[
    CrashPoint::AfterRead,
    CrashPoint::AfterHandOver,
    CrashPoint::HalfRecord,
    CrashPoint::AfterRecord,
    CrashPoint::AfterKept,
    CrashPoint::BeforeCursorFlush,
    CrashPoint::AfterCursor,
    CrashPoint::AfterSend,
    CrashPoint::AfterAcknowledgement,
    CrashPoint::AfterSpoolCursor,
];

/// Kills a bridge again and again, and compares what came of it with what comes of an undisturbed one.
pub async fn survives<S: Source>(name: &str, kills: u32, mut make: impl FnMut(&Path) -> S) {
    let undisturbed = undisturbed(kills, &mut make).await;
    let mut campaign = Campaign::begin(name).await;
    let mut source = make(campaign.place.path());
    if let Some(word) = source.knows() {
        let running = campaign.start(&mut source, None);
        running.wait_for(word);
        ended_well(running.stop());
    }
    for life in 0..kills {
        campaign.live(&mut source, life, kills).await;
    }
    let ends = campaign.end(&mut source).await;
    println!("{name}: {} events, {kills} deaths: {}", ends.events(), campaign.said());
    ends.assert_same(&undisturbed, name);
}

/// What comes of it where nothing happens.
async fn undisturbed<S: Source>(kills: u32, make: &mut impl FnMut(&Path) -> S) -> Ends {
    let campaign = Campaign::begin("undisturbed").await;
    let mut source = make(campaign.place.path());
    let mut running = campaign.start(&mut source, None);
    if let Some(word) = source.knows() {
        running.wait_for(word);
    }
    source.started(&mut running);
    for _ in 0..kills {
        source.more(&campaign.server, true).await;
    }
    campaign.last(&mut source, running).await
}

struct Campaign {
    server: Server,
    place: tempfile::TempDir,
    chance: Chance,
    bus_is_there: bool,
    /// How often a life ended there.
    deaths: BTreeMap<&'static str, u32>,
}

impl Campaign {
    async fn begin(name: &str) -> Self {
        let place = tempfile::tempdir().expect("a temporary directory");
        let (server, chance) = (server_with_streams().await, Chance::of(name));
        Campaign { server, place, chance, bus_is_there: true, deaths: BTreeMap::new() }
    }

    fn start(&self, source: &mut impl Source, point: Option<(CrashPoint, u64)>) -> Running {
        let mut command = source.command(&self.server.url(), &self.place.path().join("state"));
        if let Some((point, nth)) = point {
            command.env(ENV, format!("{}:{nth}", point.name()));
        }
        Running::start(&mut command)
    }

    /// One life, which ends at a point or at any moment.
    async fn live(&mut self, source: &mut impl Source, life: u32, kills: u32) {
        let begins_with_bus = self.bus_is_there;
        let point = life.is_multiple_of(2).then(|| self.point(source)).flatten();
        let mut running = self.start(source, point);
        source.started(&mut running);
        source.more(&self.server, self.bus_is_there).await;
        self.move_bus(life, kills);
        let pause = self.chance.moment(LIFE_MILLIS_MAX);
        let pause = if begins_with_bus { pause } else { START_WITHOUT_BUS + pause };
        if point.is_some() {
            let until = Instant::now() + POINT_WAIT;
            while running.is_alive() && Instant::now() < until {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        } else {
            tokio::time::sleep(pause).await;
        }
        running.kill();
        let said = running.said();
        let at = point.filter(|(point, _)| said.contains(&format!("crash point {}", point.name())));
        *self.deaths.entry(at.map_or("anywhere", |(point, _)| point.name())).or_default() += 1;
    }

    /// The bus goes in the middle of one life, and comes back in the middle of another.
    fn move_bus(&mut self, life: u32, kills: u32) {
        let period = kills.clamp(3, 10);
        match life % period {
            phase if phase == period / 3 && self.bus_is_there => {
                self.server.kill();
                self.bus_is_there = false;
            }
            phase if phase == period * 2 / 3 && !self.bus_is_there => self.bus_back(),
            _ => {}
        }
    }

    fn bus_back(&mut self) {
        self.server.restart();
        self.bus_is_there = true;
    }

    /// A point that can come, and at which pass; none where none can.
    fn point(&mut self, source: &impl Source) -> Option<(CrashPoint, u64)> {
        let needs_bus =
            [CrashPoint::AfterSend, CrashPoint::AfterAcknowledgement, CrashPoint::AfterSpoolCursor];
        let possible = |point: &&CrashPoint| self.bus_is_there || !needs_bus.contains(point);
        let points: Vec<CrashPoint> = source.points().iter().filter(possible).copied().collect();
        if points.is_empty() {
            return None;
        }
        let point = *self.chance.one_of(&points);
        let of_each_message = [
            CrashPoint::AfterEvidence,
            CrashPoint::HalfRecord,
            CrashPoint::AfterRecord,
            CrashPoint::AfterReject,
            CrashPoint::AfterSend,
            CrashPoint::AfterAcknowledgement,
            CrashPoint::AfterSpoolCursor,
        ];
        let passes = if of_each_message.contains(&point) { source.passes() } else { source.passes().min(2) };
        Some((point, 1 + self.chance.below(passes)))
    }

    /// The last life: nothing happens to it.
    async fn end(&mut self, source: &mut impl Source) -> Ends {
        if !self.bus_is_there {
            self.bus_back();
        }
        let mut running = self.start(source, None);
        source.started(&mut running);
        self.last(source, running).await
    }

    async fn last(&self, source: &mut impl Source, running: Running) -> Ends {
        source.more(&self.server, true).await;
        source.settle(&self.server).await;
        Ends::wait(&self.server, source.expected(), || running.said()).await;
        ended_well(if source.ends_by_itself() { running.ended() } else { running.stop() });
        Ends::read(&self.server, source.differing()).await
    }

    /// Where it died how often.
    fn said(&self) -> String {
        let one = |(at, times): (&&str, &u32)| format!("{at} {times}");
        self.deaths.iter().map(one).collect::<Vec<_>>().join(", ")
    }
}

#[track_caller]
fn ended_well((code, said): (Option<i32>, String)) {
    assert_eq!(code, Some(0), "{said}");
    assert!(adds_up(&said), "what was read and how it ended does not add up: {said}");
}
