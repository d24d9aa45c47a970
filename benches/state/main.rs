//! What the state costs: memory for quiet keys, a flood of keys against a budget, a key that everything happens on, a
//! checkpoint, a restart. Plain programs: they measure a process (memory, disk, time), not a function.
//!
//! `cargo bench --bench state` runs all of them (some minutes, and some gigabytes of disk); `cargo bench --bench state -- WHICH`
//! one. Each prints lines of `name measured target ratio pass|short`, and what stands behind them.

mod checkpoint;
mod flood;
mod hot_key;
mod memory;
#[path = "../../tests/support/nats.rs"]
#[expect(dead_code, reason = "a bench needs less of a server than tests do")]
mod nats;
mod population;
mod restart;

fn main() {
    let arguments: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let Some((which, rest)) = arguments.split_first() else {
        for which in ["hot_key", "checkpoint", "memory", "flood", "restart"] {
            population::in_a_process(&[which]);
        }
        return;
    };
    match which.as_str() {
        "hot_key" => hot_key::run_with(rest),
        "checkpoint" => checkpoint::run_with(rest),
        "memory" => memory::run_with(rest),
        "flood" => flood::run_with(rest),
        "restart" => restart::run_with(rest),
        other => panic!("{other:?} is no bench of the state: hot_key, checkpoint, memory, flood or restart"),
    }
}
