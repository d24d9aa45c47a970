//! A worker that is killed (SIGKILL) at any moment: what it was told is written, is there.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::fixtures::{Collected, chunk};
use super::*;

const DIR: &str = "SIGHTLINE_TEST_CHECKPOINT_DIR";
const STATES: u32 = 800;
const STATE_BYTES: usize = 1_000;
/// A chunk is part of so many checkpoints, while fewer and fewer of its entries count.
const LIFE: u64 = 5;

fn state(n: u64, number: u32) -> Vec<u8> {
    let mut state = vec![0; STATE_BYTES];
    let mut hasher = blake3::Hasher::new();
    hasher.update(&number.to_le_bytes()).update(&n.to_le_bytes()).finalize_xof().fill(&mut state);
    state
}

/// The chunk that checkpoint `made` wrote, as checkpoint `n` lists it.
fn line_of(made: u64, n: u64) -> ChunkLine {
    let mut current = super::bits::Bits::default();
    (0..STATES).filter(|number| counts(made, n, *number)).for_each(|number| current.set(number));
    ChunkLine { number: made as u32, entries: STATES, current: current.to_bytes() }
}

fn counts(made: u64, n: u64, number: u32) -> bool {
    u64::from(number) % LIFE >= n - made
}

fn checkpoint(n: u64) -> Checkpoint {
    let chunks = (n.saturating_sub(LIFE - 1).max(1)..=n).map(|made| line_of(made, n)).collect();
    let (_, new) = chunk(n as u32, (0..STATES).map(|number| state(n, number)), |_| true);
    Checkpoint { meta: Meta { seq: n, ..Meta::default() }, chunks, new: vec![new] }
}

/// Loads, checks every state, and gives which checkpoint it is (0: none).
fn load(store: &mut SledStore) -> u64 {
    let mut found = Collected::default();
    let n = match store.load(&mut found).expect("the place can be used") {
        Loaded::Empty => return 0,
        Loaded::Found(meta) => meta.seq,
        Loaded::Damaged(why) => panic!("a kill damaged the store: {why}"),
    };
    let expected = n.saturating_sub(LIFE - 1).max(1)..=n;
    assert_eq!(found.0.keys().map(|made| u64::from(*made)).collect::<Vec<_>>(), expected.collect::<Vec<_>>());
    for (made, states) in found.0 {
        let made = u64::from(made);
        let right = (0..STATES).filter(|number| counts(made, n, *number)).map(|number| state(made, number));
        assert!(states.into_iter().eq(right), "chunk {made} of checkpoint {n}");
    }
    n
}

#[test]
#[ignore = "the part that is killed; run by the test below"]
fn child() {
    let Ok(dir) = std::env::var(DIR) else { return };
    let mut store = SledStore::at(dir, Durability::Kill);
    let mut n = load(&mut store);
    loop {
        n += 1;
        store.commit(&checkpoint(n)).expect("there is room");
        println!("\nack {n} .");
        std::io::stdout().flush().expect("the parent reads");
    }
}

/// Runs the child for a while, kills it, and gives the last checkpoint that it was told is written, if any.
fn run_and_kill(dir: &Path, after: Duration) -> Option<u64> {
    let mut child = Command::new(std::env::current_exe().expect("this test"))
        .args(["state::kill_tests::child", "--exact", "--ignored", "--nocapture"])
        .env(DIR, dir)
        .stdout(Stdio::piped())
        .spawn()
        .expect("this test can run itself");
    let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let reader = std::thread::spawn(move || {
        let mut last = None;
        for line in lines.map_while(Result::ok) {
            let mut words = line.split(' ').skip_while(|word| *word != "ack").skip(1);
            // A line without its end was cut by the kill.
            if let (Some(Ok(n)), Some(".")) = (words.next().map(str::parse), words.next()) {
                last = Some(n);
            }
        }
        last
    });
    std::thread::sleep(after);
    child.kill().expect("it runs until it is killed");
    child.wait().expect("it is ours");
    reader.join().expect("reading does not fail")
}

#[test]
fn nothing_acknowledged_is_lost_by_twenty_kills() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let dir = home.path().join("checkpoint");
    let mut acknowledged = 0;
    for kill in 0..20u64 {
        // Moments that are spread over opening, loading and committing; the machine adds its own chance.
        let after = Duration::from_millis(kill * 7_919 % 701);
        acknowledged = run_and_kill(&dir, after).unwrap_or(acknowledged);
        let found = load(&mut SledStore::at(&dir, Durability::Kill));
        assert!(found >= acknowledged, "kill {kill}: {acknowledged} was acknowledged, {found} is there");
        // One more may have arrived unsaid, and one line may have been cut.
        assert!(found <= acknowledged + 2, "kill {kill}: {acknowledged} was acknowledged, {found} is there");
        acknowledged = found;
    }
    assert!(acknowledged > 5, "only {acknowledged} checkpoints were written: the kills hit nothing");
}
