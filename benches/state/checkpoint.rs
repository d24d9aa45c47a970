//! What a checkpoint costs: 20,000 of 1,000,000 keys changed since the last one; and how much of the time between two of
//! them the worker stands still, and a core is busy writing.
//!
//! `cargo bench --bench state -- checkpoint [KEYS CHANGED ROUNDS]`

use std::time::{Duration, Instant};

use crate::population::{MIB, Population, home, line, resident};
use sightline::state::Room;

/// The worker takes one every ten seconds.
const EVERY: Duration = Duration::from_secs(10);
/// Part of the throughput that checkpoints may cost.
const COST_MAX: f64 = 0.05;

/// Runs it with these arguments.
pub fn run_with(arguments: &[String]) {
    let [keys, changed, rounds] = match arguments {
        [keys, changed, rounds] => [keys, changed, rounds].map(|text| text.parse().expect("a number")),
        _ => [1_000_000, 20_000, 20],
    };
    for size in [keys / 10, keys] {
        run(size, changed, rounds);
    }
}

fn run(keys: u64, changed: u64, rounds: u64) {
    let home = home();
    let mut population = Population::begin(home.path(), Room::unlimited());
    for number in 0..keys {
        population.failed_login(number);
        if number % 50_000 == 49_999 {
            population.checkpoint();
        }
    }
    population.checkpoint();
    population.checkpoint();
    let mut chance = 0x9e37_79b9_7f4a_7c15u64;
    let (mut worked, mut still, mut writing, mut bytes) = (Duration::ZERO, Vec::new(), Duration::ZERO, 0);
    for _ in 0..rounds {
        let began = Instant::now();
        for _ in 0..changed {
            chance ^= chance << 13;
            chance ^= chance >> 7;
            chance ^= chance << 17;
            population.failed_login(chance % keys);
        }
        population.work();
        worked += began.elapsed();
        let (stood_still, committed) = population.checkpoint();
        still.push(stood_still);
        writing += committed.duration;
        bytes += committed.bytes;
    }
    still.sort();
    let mean = still.iter().sum::<Duration>() / rounds as u32;
    let writing = writing / rounds as u32;
    let name = |what: &str| format!("checkpoint_{what}_{keys}_keys_{changed}_changed");
    line(&name("standstill"), mean.as_secs_f64() * 1e3, EVERY.as_secs_f64() * COST_MAX * 1e3, "ms");
    line(&name("cpu"), (mean + writing).as_secs_f64() * 1e3, EVERY.as_secs_f64() * COST_MAX * 1e3, "ms");
    println!(
        "  still {mean:.1?} (most {:.1?}), writing {writing:.1?}, {:.2} MiB each, {:.0} B a change; the work between: {:.1?}; resident {:.0} MiB",
        still[still.len() - 1],
        bytes as f64 / rounds as f64 / MIB,
        bytes as f64 / (rounds * changed) as f64,
        worked / rounds as u32,
        resident() / MIB,
    );
}
