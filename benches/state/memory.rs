//! Resident memory per quiet key, the store and all, at 1,000,000 and 10,000,000 keys: first with one remembered hit each,
//! then with two. A hit is a failed login with a source address that the rule shows; a checkpoint is taken each 50,000 events.
//!
//! `cargo bench --bench state -- memory [KEYS HITS]`; each size is a process of its own.

use std::time::Duration;

use crate::population::{MIB, Population, home, in_a_process, line, resident, resident_at_most};
use sightline::state::{Pace, Room};

/// Bytes a key, all included.
const TARGET: f64 = 128.0;
const CHECKPOINT_EVERY: u64 = 50_000;
/// By then the allocator has given back what was freed.
const GIVEN_BACK: Duration = Duration::from_secs(3);

/// Runs it with these arguments.
pub fn run_with(arguments: &[String]) {
    if let [keys, hits] = arguments {
        return run(keys.parse().expect("a number"), hits.parse().expect("a number"));
    }
    for (keys, hits) in [("1000000", "1"), ("1000000", "2"), ("10000000", "1")] {
        in_a_process(&["memory", keys, hits]);
    }
}

fn run(keys: u64, hits: u64) {
    let home = home();
    let mut population = Population::begin(home.path(), Room::unlimited());
    // What a worker takes without keys: buffers, the store, the rules.
    population.failed_login(u64::MAX);
    population.work();
    population.checkpoint();
    let before = resident();
    for _ in 0..hits {
        for number in 0..keys {
            population.failed_login(number);
            if number % CHECKPOINT_EVERY == CHECKPOINT_EVERY - 1 {
                population.checkpoint();
            }
        }
    }
    for _ in 0..2 {
        population.checkpoint();
    }
    // As a worker does while no message comes.
    while population.machine.table().census().open > 0 {
        population.machine.tidy(Pace::Idle);
    }
    // And the next checkpoint comes, and what was freed goes back to the system.
    population.checkpoint();
    std::thread::sleep(GIVEN_BACK);
    let census = population.machine.table().census();
    assert_eq!(census.counts.keys as u64, keys + 1);
    let per_key = (resident() - before) / keys as f64;
    line(&format!("memory_per_quiet_key_{keys}_keys_{hits}_hits"), per_key, TARGET, "B");
    println!(
        "  packed {:.1} B, index {:.1} B a key, {} open; resident {:.0} MiB, {:.0} before, {:.0} at most",
        census.packed_bytes as f64 / keys as f64,
        census.index_bytes as f64 / keys as f64,
        census.open,
        resident() / MIB,
        before / MIB,
        resident_at_most() / MIB,
    );
}
