//! Nothing lost, nothing twice: the worker and the server are killed, again and again, and in the end the output logs
//! are, byte for byte, what a worker publishes that nothing happens to.
//!
//! A [`campaign`] is many deaths in a row over one log: a [`workload`] is published while a worker [`process`] lives on
//! a [`stage`], until it dies at a crash point (`engine/crash_point.rs`) or at a random moment. Then the next life
//! begins. [`outputs`] compares. [`faults`] has what happens once.
//!
//! `SIGHTLINE_TEST_CRASH_KILLS` says how many deaths there are in all; 100 where it does not. `SIGHTLINE_TEST_CRASH_SEED`
//! repeats a workload and its choices (what the clock adds to them, it cannot repeat).

mod campaign;
mod faults;
mod outputs;
mod process;
mod random;
mod stage;
mod surroundings;
#[expect(dead_code, reason = "shared with other tests, each of which uses a part of it")]
#[path = "../support"]
mod support {
    pub mod bus;
    pub mod nats;
}
mod workload;

use campaign::Campaign;
use sightline::crash_point::CrashPoint;

/// Acknowledged means on the disk.
const SYNC_ALWAYS: &str = "jetstream { store_dir: \"$STORE_DIR\", sync_interval: always }";

/// So many of the deaths in all, in percent.
fn kills(percent: usize) -> usize {
    number("SIGHTLINE_TEST_CRASH_KILLS").unwrap_or(100) * percent / 100
}

fn seed(own: u64) -> u64 {
    own ^ number("SIGHTLINE_TEST_CRASH_SEED").unwrap_or(0) as u64
}

fn number(variable: &str) -> Option<usize> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable}={text:?} is no number")))
}

#[test]
#[ignore = "no test: the worker that the others start and kill"]
fn the_worker() {
    process::be_the_worker();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_is_killed_publishes_what_an_undisturbed_one_does() {
    let mut campaign = Campaign::begin("worker killed", seed(1), "").await;
    let kills = kills(70);
    campaign.kill_workers(kills).await;
    // A life now and then does not come to its point.
    campaign.assert_every_point(kills * 3 / 4 / CrashPoint::ALL.len() * 9 / 10);
    campaign.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_costs_nothing() {
    let mut campaign = Campaign::begin("server killed", seed(2), "").await;
    campaign.kill_servers(kills(10)).await;
    campaign.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_syncs_always_and_is_killed_costs_nothing() {
    let mut campaign = Campaign::begin("server killed, sync_interval: always", seed(3), SYNC_ALWAYS).await;
    campaign.kill_servers(kills(10)).await;
    campaign.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_and_its_server_that_are_killed_together_cost_nothing() {
    let mut campaign = Campaign::begin("worker and server killed", seed(4), "").await;
    campaign.kill_both(kills(10)).await;
    campaign.end().await;
}
