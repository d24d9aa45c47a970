//! Nothing lost, nothing twice: a producer is killed again and again, at any moment, and its server now and then; in the
//! end every event that it ever offered is on the stream once.
//!
//! The producer is this program itself, started anew for each life. It offers numbered events and notes in a file up to
//! which one it was told that they are kept; the next life begins there, as a bridge does with its cursor. What it was not
//! told of it offers again.
//!
//! `SIGHTLINE_TEST_CRASH_KILLS` says how many deaths there are in all; 40 where it does not.

mod server;

use std::collections::BTreeMap;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use server::Server;
use sightline_producers::outbox::Keeping;
use sightline_producers::{Connect, Draft, Framing, Outbox, OutboxConfig, PublisherConfig, SpoolConfig};
use sightline_schemas::wire::{self, Form};

const URL: &str = "SIGHTLINE_TEST_URL";
const FOLDER: &str = "SIGHTLINE_TEST_FOLDER";
const WITH_SPOOL: &str = "SIGHTLINE_TEST_WITH_SPOOL";
/// The last life ends by itself, behind this event.
const UNTIL: &str = "SIGHTLINE_TEST_UNTIL";

/// Chance that can be repeated: SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

/// The file with the number of the first event that is not known to be kept.
struct Note(std::fs::File);

impl Note {
    fn open(folder: &Path) -> Self {
        let mut options = std::fs::OpenOptions::new();
        options.create(true).truncate(false).read(true).write(true);
        Note(options.open(folder.join("note")).expect("a file of ours"))
    }

    fn read(&self) -> u64 {
        let mut bytes = [0; 8];
        self.0.read_exact_at(&mut bytes, 0).map_or(0, |()| u64::from_le_bytes(bytes))
    }

    fn write(&self, next: u64) {
        self.0.write_all_at(&next.to_le_bytes(), 0).expect("written");
    }
}

fn event(n: u64) -> Draft {
    // Some are long, so that segments of the spool come and go.
    let filler = "x".repeat(if n.is_multiple_of(50) { 20_000 } else { 100 });
    Draft::new("crash", "number").key(n.to_string()).field("n", n).field("filler", filler)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "no test: the producer that the others start and kill"]
async fn the_producer() {
    let variable = |name| std::env::var(name).ok();
    let (Some(url), Some(folder)) = (variable(URL), variable(FOLDER)) else { return };
    let folder = Path::new(&folder);
    let until: u64 = variable(UNTIL).map_or(u64::MAX, |until| until.parse().expect("a number"));
    let publisher = PublisherConfig { ack_wait: Duration::from_secs(1), ..PublisherConfig::default() };
    let config = if variable(WITH_SPOOL).is_some() {
        let spool = Some(SpoolConfig { bytes_max: 16 << 20, ..SpoolConfig::at(folder.join("spool")) });
        OutboxConfig { spool, publisher, flush_wait: Duration::from_secs(60), ..OutboxConfig::default() }
    } else {
        // A frame would be cut otherwise in the next life; one event a message is the same message again.
        OutboxConfig { framing: Framing::off(), publisher, ..OutboxConfig::default() }
    };
    let client = Connect::to(url).open_when_possible("crash").await.expect("the options are fine");
    let outbox = Outbox::start(client, config).await.expect("nobody else has the folder open");
    let note = Note::open(folder);
    let mut random = Random(u64::from(std::process::id()));
    let mut next = note.read();
    while next < until {
        let batch = (random.below(200) + 1).min(until - next);
        let mut waiting: Vec<Keeping> = Vec::new();
        for n in next..next + batch {
            waiting.push(outbox.store_later(event(n)).await.expect("taken"));
        }
        for one in waiting {
            one.kept().await.expect("kept");
        }
        next += batch;
        note.write(next);
    }
    assert_eq!(outbox.close().await.expect("in the log").on_disk, 0);
}

struct Stage {
    server: Server,
    folder: tempfile::TempDir,
    with_spool: bool,
    random: Random,
}

impl Stage {
    async fn set(with_spool: bool, seed: u64) -> Self {
        let folder = tempfile::tempdir().expect("a temporary directory");
        Stage { server: Server::with_events().await, folder, with_spool, random: Random(seed) }
    }

    fn live(&self, until: Option<u64>) -> Child {
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command.args(["the_producer", "--exact", "--ignored", "--nocapture"]);
        command.env(URL, self.server.url()).env(FOLDER, self.folder.path());
        command.stdout(Stdio::null());
        if self.with_spool {
            command.env(WITH_SPOOL, "1");
        }
        if let Some(until) = until {
            command.env(UNTIL, until.to_string());
        }
        command.spawn().expect("this program starts")
    }

    /// Lets a producer live and die, `kills` times; the server dies too, now and then.
    fn kill(&mut self, kills: u64) {
        let mut before = 0;
        let mut progressed = 0;
        for life in 0..kills {
            let mut child = self.live(None);
            if life % 5 == 4 {
                std::thread::sleep(Duration::from_millis(self.random.below(100)));
                self.server.restart();
            }
            std::thread::sleep(Duration::from_millis(20 + self.random.below(300)));
            child.kill().expect("our child");
            child.wait().expect("our child");
            let now = Note::open(self.folder.path()).read();
            progressed += u64::from(now > before);
            before = now;
        }
        assert!(progressed * 4 > kills, "killed before they did anything: {progressed} of {kills}");
    }

    /// The last life brings everything home; then every event must be there once.
    async fn assert_nothing_lost_or_doubled(&self) {
        let until = Note::open(self.folder.path()).read() + 500;
        let start = Instant::now();
        assert!(self.live(Some(until)).wait().expect("our child").success(), "the last life failed");
        let mut seen: BTreeMap<u64, u32> = BTreeMap::new();
        for message in self.server.messages().await {
            let form = Form::of(message.content_type.as_deref()).expect("a form of ours");
            for raw in wire::split(&message.body, form).expect("a frame") {
                let event = wire::decode(raw, form).expect("an event");
                let key = event.get("source_event_id").and_then(|key| key.as_str()).expect("a key");
                *seen.entry(key.parse().expect("a number")).or_default() += 1;
            }
        }
        let lost: Vec<u64> = (0..until).filter(|n| !seen.contains_key(n)).take(5).collect();
        let doubled: Vec<(&u64, &u32)> = seen.iter().filter(|(_, times)| **times > 1).take(5).collect();
        println!("{until} events, drained in {:?}", start.elapsed());
        assert!(lost.is_empty() && doubled.is_empty(), "of {until}: lost {lost:?}…, doubled {doubled:?}…");
        assert_eq!(seen.len() as u64, until, "events that nobody offered");
    }
}

fn kills() -> u64 {
    let Ok(text) = std::env::var("SIGHTLINE_TEST_CRASH_KILLS") else { return 40 };
    text.parse().unwrap_or_else(|_| panic!("SIGHTLINE_TEST_CRASH_KILLS={text:?} is no number"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_producer_with_a_spool_that_is_killed_loses_and_doubles_nothing() {
    let mut stage = Stage::set(true, 1).await;
    stage.kill(kills() / 2);
    stage.assert_nothing_lost_or_doubled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_producer_without_one_that_is_killed_loses_and_doubles_nothing_inside_the_duplicate_window() {
    let mut stage = Stage::set(false, 2).await;
    stage.kill(kills() / 2);
    stage.assert_nothing_lost_or_doubled().await;
}
