//! What a checkpoint costs: 20,000 changed keys of about 270 bytes at 100,000 and at 1,000,000 live keys.
//!
//! Each size runs in a process of its own, so that resident memory is its own. Run with
//! `cargo bench --bench checkpoint [-- KEYS COMMITS [kill|power]]`.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use sightline::state::{Checkpoint, CheckpointStore, Durability, Loaded, Meta, SledStore, StoredKey};

const CHANGED: u64 = 20_000;
const COMMITS: u64 = 50;

fn main() {
    let arguments: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    if let [keys, commits, rest @ ..] = &arguments[..] {
        let durability = if rest == ["kill"] { Durability::Kill } else { Durability::Power };
        return run(keys.parse().expect("a number"), commits.parse().expect("a number"), durability);
    }
    let program = std::env::current_exe().expect("this bench");
    for (keys, durability) in
        [(100_000, "kill"), (100_000, "power"), (1_000_000, "kill"), (1_000_000, "power")]
    {
        let run = Command::new(&program).args([&keys.to_string(), &COMMITS.to_string(), durability]).status();
        assert!(run.is_ok_and(|status| status.success()), "the run with {keys} keys failed");
    }
}

fn run(keys: u64, commits: u64, durability: Durability) {
    let home = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a temporary directory");
    let dir = home.path().join("checkpoint");
    let mut store = SledStore::at(&dir, durability);
    let started = Instant::now();
    for first in (0..keys).step_by(CHANGED as usize) {
        store.commit(&checkpoint(first, first..keys.min(first + CHANGED))).expect("there is room");
    }
    let filled = started.elapsed();
    let rss_filled = resident_mib();

    let (mut times, mut bytes, mut carried) = (Vec::new(), 0, 0);
    let mut chance = 0x9e37_79b9_7f4a_7c15u64;
    for round in 0..commits {
        let touched = (0..CHANGED).map(|_| {
            chance ^= chance << 13;
            chance ^= chance >> 7;
            chance ^= chance << 17;
            chance % keys
        });
        let done = store.commit(&checkpoint(keys + round, touched)).expect("there is room");
        times.push(done.duration);
        bytes += done.bytes;
        carried += done.carried;
    }
    times.sort();
    let (rss, disk) = (resident_mib(), mib(disk_bytes(&dir)));
    drop(store);

    let started = Instant::now();
    let mut found = 0;
    let loaded = SledStore::at(&dir, durability).load(&mut |_, _| {
        found += 1;
        Ok(())
    });
    assert!(matches!(loaded, Ok(Loaded::Found(_))) && found == keys, "{loaded:?}, {found} keys");
    let load = started.elapsed();

    println!("{keys} keys, {commits} commits of {CHANGED} changes, {durability:?}:");
    let median = times[times.len() / 2];
    let mean = times.iter().sum::<Duration>() / times.len() as u32;
    println!("  commit  median {median:.1?}, mean {mean:.1?}, most {:.1?}", times[times.len() - 1]);
    println!(
        "  written {:.1} MiB a commit, {} entries carried a commit",
        mib(bytes) / commits as f64,
        carried as u64 / commits
    );
    println!("  memory  {rss:.0} MiB resident ({rss_filled:.0} when filled), {:.0} at most", peak_mib());
    println!("  disk    {disk:.0} MiB");
    println!("  fill {filled:.1?}, load {load:.1?}");
}

/// A state like those of a window: repeating structure, stamps that rise, an id that does not compress.
fn checkpoint(seq: u64, keys: impl Iterator<Item = u64>) -> Checkpoint {
    let changed = keys.map(|number| {
        let hash = blake3::hash(&number.to_le_bytes());
        let mut value = Vec::with_capacity(271);
        value.extend_from_slice(format!("tenant-1/brute-force/host-{number:08}.example.net/").as_bytes());
        for stamp in 0..14u64 {
            value.extend_from_slice(
                &(1_715_171_400_000_000 + seq * 5_000_000 + stamp * 731 * number).to_le_bytes(),
            );
        }
        while value.len() < 270 {
            let id = blake3::hash(&(seq ^ value.len() as u64 ^ number << 20).to_le_bytes());
            value.extend_from_slice(&id.as_bytes()[..16]);
            value.extend_from_slice(b"failed password");
        }
        value.truncate(270);
        (StoredKey(*hash.as_bytes().first_chunk().expect("32 bytes")), Some(value))
    });
    let meta =
        Meta { format: 1, log_id: "EVENTS@1".to_owned(), seq, rules: vec![7; 4_096], ..Meta::default() };
    Checkpoint { meta, changed: changed.collect() }
}

fn disk_bytes(dir: &Path) -> u64 {
    let entries = fs::read_dir(dir).expect("readable").map(|entry| entry.expect("readable"));
    entries
        .map(|entry| match entry.metadata() {
            Ok(meta) if meta.is_dir() => disk_bytes(&entry.path()),
            Ok(meta) => meta.blocks() * 512,
            Err(_) => 0,
        })
        .sum()
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

fn resident_mib() -> f64 {
    status_mib("VmRSS:")
}

fn peak_mib() -> f64 {
    status_mib("VmHWM:")
}

/// A line of the kernel's report on this process; 0 where there is none.
fn status_mib(line: &str) -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let found = status
        .lines()
        .find_map(|text| text.strip_prefix(line)?.split_whitespace().next()?.parse::<f64>().ok());
    found.unwrap_or(0.0) / 1024.0
}
