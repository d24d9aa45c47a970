//! A worker that is killed (SIGKILL) at any moment: what it was told is written, is there.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::*;

const DIR: &str = "SIGHTLINE_TEST_CHECKPOINT_DIR";
const KEYS: u64 = 8_000;
const VALUE_BYTES: usize = 1_000;

/// A key changes once in so many commits: most often, some rarely, so that old chunks keep a few current entries.
fn stride(number: u64) -> u64 {
    if number.is_multiple_of(4) { 61 } else { 5 }
}

/// What key `number` holds at checkpoint `n`: the commit that changed it last, or `None` where that removed it.
fn expected(number: u64, n: u64) -> Option<u64> {
    let stride = stride(number);
    let last = n.checked_sub((n % stride + stride - number % stride) % stride)?;
    (last > 0 && !(last / stride + number).is_multiple_of(7)).then_some(last)
}

fn value(number: u64, n: u64) -> Vec<u8> {
    let mut value = vec![0; VALUE_BYTES];
    let mut hasher = blake3::Hasher::new();
    hasher.update(&number.to_le_bytes()).update(&n.to_le_bytes()).finalize_xof().fill(&mut value);
    value
}

fn checkpoint(n: u64) -> Checkpoint {
    let numbers = (0..KEYS).filter(|&number| number % stride(number) == n % stride(number));
    let changed = numbers.map(|number| {
        let key = StoredKey(u128::from(number).to_be_bytes());
        (key, expected(number, n).map(|last| value(number, last)))
    });
    Checkpoint { meta: Meta { seq: n, ..Meta::default() }, changed: changed.collect() }
}

/// Loads, checks every key, and gives which checkpoint it is (0: none).
fn load(store: &mut SledStore) -> u64 {
    let mut found = std::collections::HashMap::new();
    let loaded = store.load(&mut |key, value| {
        found.insert(u128::from_be_bytes(key.0) as u64, value.to_vec());
        Ok(())
    });
    let n = match loaded.expect("the place can be used") {
        Loaded::Empty => 0,
        Loaded::Found(meta) => meta.seq,
        Loaded::Damaged(why) => panic!("a kill damaged the store: {why}"),
    };
    for number in 0..KEYS {
        let right = expected(number, n).map(|last| value(number, last));
        assert_eq!(found.remove(&number), right, "key {number} of checkpoint {n}");
    }
    assert!(found.is_empty());
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
        let done = store.commit(&checkpoint(n)).expect("there is room");
        println!("\nack {n} {}", done.carried);
        std::io::stdout().flush().expect("the parent reads");
    }
}

/// Runs the child for a while, kills it, and gives the last checkpoint that it was told is written, if any, and how
/// many entries it carried.
fn run_and_kill(dir: &Path, after: Duration) -> (Option<u64>, u64) {
    let mut child = Command::new(std::env::current_exe().expect("this test"))
        .args(["state::kill_tests::child", "--exact", "--ignored", "--nocapture"])
        .env(DIR, dir)
        .stdout(Stdio::piped())
        .spawn()
        .expect("this test can run itself");
    let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let reader = std::thread::spawn(move || {
        let (mut last, mut carried) = (None, 0);
        for line in lines.map_while(Result::ok) {
            let mut words = line.split(' ').skip_while(|word| *word != "ack").skip(1);
            // A line without its second number was cut by the kill.
            if let (Some(Ok(n)), Some(Ok(more))) =
                (words.next().map(str::parse), words.next().map(str::parse::<u64>))
            {
                last = Some(n);
                carried += more;
            }
        }
        (last, carried)
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
    let (mut acknowledged, mut carried) = (0, 0);
    for kill in 0..20u64 {
        // Moments that are spread over opening, loading and committing; the machine adds its own chance.
        let after = Duration::from_millis(kill * 7_919 % 701);
        let (last, more) = run_and_kill(&dir, after);
        acknowledged = last.unwrap_or(acknowledged);
        carried += more;
        let found = load(&mut SledStore::at(&dir, Durability::Kill));
        assert!(found >= acknowledged, "kill {kill}: {acknowledged} was acknowledged, {found} is there");
        // One more may have arrived unsaid, and one line may have been cut.
        assert!(found <= acknowledged + 2, "kill {kill}: {acknowledged} was acknowledged, {found} is there");
        acknowledged = found;
    }
    assert!(acknowledged > 20, "only {acknowledged} checkpoints were written: the kills hit nothing");
    assert!(carried > 0, "no chunk was rolled up in {acknowledged} checkpoints");
}
