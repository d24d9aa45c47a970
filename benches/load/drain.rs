//! Draining a stream, one event a message: the worker with 100 rules against a consumer that does nothing, in turn on the
//! same server.
//!
//! The consumer that does nothing is the client's, with pulls of its own on a plain subscription: the fastest that the client
//! has. The worker reads over a line of its own, which costs less for a message; what that alone comes to is shown, too.

use sightline_benches::report::{Report, Target};
use sightline_schemas::EventTime;
use tokio::runtime::Runtime;

use crate::bus::{Bus, Drained, Filled, settings};
use crate::{Asked, events, median};

const RULES: usize = 100;
const HOSTS: u64 = 10_000;

/// Measures it.
pub fn run(asked: &Asked, report: &mut Report, runtime: &Runtime) -> Result<(), String> {
    runtime.block_on(drain(asked, report))
}

async fn drain(asked: &Asked, report: &mut Report) -> Result<(), String> {
    let (count, rounds) = asked.sized((200_000u64, 3), (1_000_000, 5));
    let rules = events::rules(RULES);
    let bus = Bus::start(&rules).await?;
    let began = EventTime::parse("2026-01-01T00:00:00Z").expect("a time");
    let bodies = (0..count)
        .map(|number| Filled { headers: Vec::new(), body: events::event(number, HOSTS, began).into_bytes() });
    let last = bus.fill(bodies).await?;
    let (mut null, mut log, mut worker, mut ratios) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        let nothing = bus.drain_nothing(1, last).await?;
        log.push(bus.drain_log(last).await?);
        let drained = bus.drain(last, &rules, &settings(2)).await?;
        ratios.push(drained.spent.wall_rate(count) / nothing.spent.wall_rate(count));
        null.push(nothing);
        worker.push(drained);
        if worker.len() == 1 {
            report.line("drain.incident_messages", bus.incidents().await? as f64, Target::Shown, "messages");
        }
        bus.forget_outputs().await?;
    }
    let middle = |runs: &[Drained], of: fn(&Drained, u64) -> f64| {
        median(runs.iter().map(|drained| of(drained, count)).collect())
    };
    let rate = |drained: &Drained, count| drained.spent.wall_rate(count);
    let client = |drained: &Drained, count| drained.spent.nanos_each(count);
    let server = |drained: &Drained, count: u64| drained.server.as_nanos() as f64 / count as f64;
    report.line(
        "drain.null_rate",
        middle(&null, rate),
        Target::Shown,
        "events/s, a consumer that does nothing",
    );
    report.line("drain.null_client_cpu", middle(&null, client), Target::Shown, "ns an event");
    report.line("drain.null_server_cpu", middle(&null, server), Target::Shown, "ns an event");
    report.line("drain.log_rate", middle(&log, rate), Target::Shown, "events/s, the worker's reading alone");
    report.line("drain.log_client_cpu", middle(&log, client), Target::Shown, "ns an event");
    report.line("drain.rate", middle(&worker, rate), Target::Shown, "events/s, 100 rules");
    report.line("drain.client_cpu", middle(&worker, client), Target::Shown, "ns an event, all threads");
    report.line("drain.server_cpu", middle(&worker, server), Target::Shown, "ns an event");
    report.line("drain.ratio", median(ratios), Target::AtLeast(0.9), "of the consumer that does nothing");
    Ok(())
}
