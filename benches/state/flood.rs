//! A flood of 10,000,000 distinct keys against a memory budget of 512 MiB, with a slow attack on one host hidden in it: what
//! the process takes at most, whether the attack is found, and whether the outputs are those of a run without a budget.
//!
//! `cargo bench --bench state -- flood [KEYS BUDGET_MIB]`; a budget of 0 is none. Each run is a process of its own.

use std::time::Instant;

use crate::population::{MIB, Population, event, home, in_a_process, line, resident_at_most};
use sightline::state::Room;
use sightline::worker::machine::Applied;

const CHECKPOINT_EVERY: u64 = 250_000;
/// Failed logins of the attack; then it succeeds.
const GUESSES: u64 = 10;

/// Runs it with these arguments.
pub fn run_with(arguments: &[String]) {
    if let [keys, budget, outputs] = arguments {
        return run(keys.parse().expect("a number"), budget.parse().expect("a number"), outputs);
    }
    let (keys, budget) = match arguments {
        [keys, budget] => (keys.as_str(), budget.as_str()),
        _ => ("10000000", "512"),
    };
    let home = home();
    let told = |name: &str| home.path().join(name).display().to_string();
    in_a_process(&["flood", keys, budget, &told("within")]);
    // A tenth of the keys is enough to compare, and fits without a budget as well.
    let tenth = (keys.parse::<u64>().expect("a number") / 10).to_string();
    in_a_process(&["flood", &tenth, "128", &told("tight")]);
    in_a_process(&["flood", &tenth, "0", &told("free")]);
    let read = |name| std::fs::read(told(name)).expect("written by the run");
    assert!(read("tight") == read("free"), "a budget changes what is said");
    println!("flood_same_bytes_with_and_without_budget 1 1 1.00 pass");
}

fn run(keys: u64, budget_mib: u64, outputs: &str) {
    let home = home();
    let room = if budget_mib == 0 { Room::unlimited() } else { Room::within(budget_mib << 20) };
    let mut population = Population::begin(home.path(), room);
    let mut said: Vec<u8> = Vec::new();
    let mut take = |applied: Option<Applied>| {
        for output in applied.into_iter().flat_map(|applied| applied.incidents) {
            said.extend_from_slice(&output.body);
            said.push(b'\n');
        }
    };
    let began = Instant::now();
    let (mut still, mut written) = (std::time::Duration::ZERO, 0);
    for number in 0..keys {
        if number % (keys / (GUESSES + 1)).max(1) == 1 {
            let attempt = population.seq;
            let (kind, now) = ("auth.login_failed", population.now);
            take(population.push(event(kind, "the-victim", Some("root"), attempt, now)));
        }
        take(population.failed_login(number));
        if number % CHECKPOINT_EVERY == CHECKPOINT_EVERY - 1 {
            let (stood_still, committed) = population.checkpoint();
            still += stood_still;
            written += committed.bytes;
        }
    }
    let (seq, now) = (population.seq, population.now);
    take(population.push(event("auth.login", "the-victim", Some("root"), seq, now)));
    take(Some(population.work()));
    let took = began.elapsed();
    population.checkpoint();
    let found = String::from_utf8_lossy(&said).matches("\"the-victim\"").count();
    assert!(found > 0, "the attack among the flood was not found");
    std::fs::write(outputs, &said).expect("writable");
    let census = population.machine.table().census();
    assert_eq!(census.counts.units["guessed"].keys as u64, keys + 1);
    if budget_mib > 0 {
        let name = format!("flood_{keys}_keys_resident_at_most");
        line(&name, resident_at_most() / MIB, budget_mib as f64, "MiB");
    }
    println!(
        "  {keys} keys in {took:.1?} ({:.0}/s), the attack found; {} open, {} packed in memory, {} on disk; \
         packed {:.0} MiB, index {:.0} MiB; checkpoints: standstill {still:.1?}, {:.0} MiB",
        keys as f64 / took.as_secs_f64(),
        census.open,
        census.packed - census.on_disk,
        census.on_disk,
        census.packed_bytes as f64 / MIB,
        census.index_bytes as f64 / MIB,
        written as f64 / MIB,
    );
}
