//! A million events on one host in one window: what an event costs as the window fills, what it takes, and that the counts
//! are exact.
//!
//! `cargo bench --bench state -- hot_key [EVENTS]`

use std::time::Instant;

use crate::population::{MIB, Population, event, home, line, resident};
use sightline::state::Room;

const PARTS: u64 = 10;
/// How much dearer the last tenth of the events may be than the second.
const GROWTH_MAX: f64 = 1.25;
/// Bytes an event that no longer shows anything may take: its time, its id, where it stands, and the index of ids.
const BYTES_MAX: f64 = 200.0;

/// Runs it with these arguments.
pub fn run_with(arguments: &[String]) {
    let events = arguments.first().map_or(1_000_000, |text| text.parse().expect("a number"));
    let home = home();
    let mut population = Population::begin(home.path(), Room::unlimited());
    let before = resident();
    let mut costs = Vec::new();
    let mut last = None;
    for _ in 0..PARTS {
        let began = Instant::now();
        for _ in 0..events / PARTS {
            population.now = population.now.plus(200);
            let (seq, now) = (population.seq, population.now);
            let applied = population.push(event("auth.login_failed", "hot", Some("root"), seq, now));
            last = applied.and_then(|applied| applied.incidents.into_iter().next_back()).or(last);
        }
        costs.push(began.elapsed().as_secs_f64() / (events / PARTS) as f64);
    }
    population.now = population.now.plus(2_000_000);
    let (seq, now) = (population.seq, population.now);
    population.push(event("auth.login_failed", "hot", Some("root"), seq, now));
    // What is held back is said by the first message behind its time, whoever's it is.
    population.now = population.now.plus(2_000_000);
    let (seq, now) = (population.seq, population.now);
    population.push(event("auth.login_failed", "another", None, seq, now));
    let applied = population.work();
    last = applied.incidents.into_iter().next_back().or(last);
    let count = last.and_then(|output| {
        let message: serde_json::Value = serde_json::from_slice(&output.body).ok()?;
        message["incident"]["event_count"].as_u64()
    });
    assert_eq!(count, Some(events + 1), "the count is exact");
    println!("hot_key_exact_count {} {} 1.00 pass", events + 1, events + 1);
    line("hot_key_cost_of_last_tenth_to_second", costs[costs.len() - 1] / costs[1], GROWTH_MAX, "");
    line("hot_key_memory_per_event", (resident() - before) / events as f64, BYTES_MAX, "B");
    let told: Vec<String> = costs.iter().map(|cost| format!("{:.2}", cost * 1e6)).collect();
    println!("  microseconds an event, by tenths: {}", told.join(" "));
    let (stood_still, committed) = population.checkpoint();
    println!("  a checkpoint of it: {stood_still:.1?} standstill, {:.1} MiB", committed.bytes as f64 / MIB);
}
