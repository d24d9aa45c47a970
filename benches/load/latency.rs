//! From publishing an event to receiving its incident, at 20,000 events a second, one event a message; and the same while
//! checkpoints are written.

use std::time::{Duration, Instant};

use futures_util::StreamExt;
use sightline::worker::run::Settings;
use sightline_benches::report::{Report, Target};
use sightline_schemas::EventTime;
use sightline_schemas::control::{EngineSettings, RuleFile, RulesMessage};
use tokio::runtime::Runtime;

use crate::Asked;
use crate::bus::{Bus, settings};
use crate::events::{self, SUBJECT};

const EVENTS_A_SECOND: u64 = 20_000;
/// One event in so many brings an incident about at once.
const ALARM_EVERY: u64 = 100;
/// Keys with a state: what a checkpoint has to write.
const HOSTS: u64 = 100_000;

/// Measures it.
pub fn run(asked: &Asked, report: &mut Report, runtime: &Runtime) -> Result<(), String> {
    let seconds = asked.sized(6, 30);
    let still = Settings { checkpoint_every: Duration::from_secs(3_600), ..settings(1) };
    let busy = Settings { checkpoint_every: Duration::from_millis(500), ..settings(1) };
    for (name, settings) in [("latency", still), ("latency.checkpointing", busy)] {
        let mut waits = runtime.block_on(measured(seconds, &settings))?;
        waits.sort();
        let at = |share: f64| waits[((waits.len() - 1) as f64 * share) as usize].as_secs_f64() * 1_000.0;
        report.line(format!("{name}.incidents"), waits.len() as f64, Target::Shown, "incidents received");
        report.line(format!("{name}.p50"), at(0.5), Target::Shown, "ms from publish to incident received");
        report.line(format!("{name}.p99"), at(0.99), Target::AtMost(10.0), "ms, at 20,000 events/s");
    }
    Ok(())
}

fn rules() -> RulesMessage {
    let mut message = events::rules(100);
    message.files.push(RuleFile {
        name: "alarm.yaml".to_owned(),
        text: "rules:\n  - id: alarm\n    title: Alarm\n    by: host_id\n    steps: [{name: alarm, match: {kind: alarm}}]\n  \
               - id: seen\n    title: Every host has a state\n    by: host_id\n    window: 1h\n    steps: [{name: load, match: {kind: image_load}, min_count: 100000}]\n"
            .to_owned(),
    });
    RulesMessage { settings: EngineSettings::default(), ..message }
}

async fn measured(seconds: u64, settings: &Settings) -> Result<Vec<Duration>, String> {
    let bus = Bus::start(&rules()).await?;
    let dir = tempfile::tempdir().map_err(|error| error.to_string())?;
    let mut worker = bus.worker(dir.path(), settings).await?;
    worker.announce(&rules(), false).await.map_err(|error| error.to_string())?;
    let (stop, mut stopped) = tokio::sync::watch::channel(false);
    let working = tokio::spawn(async move {
        while !*stopped.borrow_and_update() {
            worker.turn().await.map_err(|error| error.to_string())?;
        }
        Ok::<(), String>(())
    });
    // A connection of its own, so that what it waits for is not what we publish.
    let listener = async_nats::connect(bus.server.url()).await.map_err(|error| error.to_string())?;
    let mut incidents = listener.subscribe("incidents.>").await.map_err(|error| error.to_string())?;
    listener.flush().await.map_err(|error| error.to_string())?;
    let total = seconds * EVENTS_A_SECOND;
    let expected = total / ALARM_EVERY;
    let receiving = tokio::spawn(async move {
        let mut received: Vec<(u64, Instant)> = Vec::new();
        let patience = Duration::from_secs(seconds + 20);
        let until = tokio::time::Instant::now() + patience;
        while (received.len() as u64) < expected {
            let Ok(Some(message)) = tokio::time::timeout_at(until, incidents.next()).await else { break };
            let now = Instant::now();
            if let Some(number) = alarm_number(&message) {
                received.push((number, now));
            }
        }
        received
    });
    let mut published: Vec<Instant> = Vec::with_capacity(expected as usize);
    let began_at = EventTime::parse("2026-01-01T00:00:00Z").expect("a time");
    let began = Instant::now();
    let mut number = 0;
    while number < total {
        let due = began.elapsed().as_micros() as u64 * EVENTS_A_SECOND / 1_000_000;
        while number < due.min(total) {
            let body = match number % ALARM_EVERY {
                0 => {
                    published.push(Instant::now());
                    format!(r#"{{"kind":"alarm","host_id":"alarm-{number}","source_event_id":"a{number}"}}"#)
                }
                _ => events::event(number, HOSTS, began_at),
            };
            bus.plain.publish(SUBJECT, body.into()).await.map_err(|error| error.to_string())?;
            number += 1;
        }
        tokio::time::sleep(Duration::from_micros(500)).await;
    }
    let received = receiving.await.map_err(|error| error.to_string())?;
    stop.send_replace(true);
    working.await.map_err(|error| error.to_string())??;
    if (received.len() as u64) < expected {
        return Err(format!("only {} of {expected} incidents came", received.len()));
    }
    Ok(received
        .into_iter()
        .filter_map(|(number, at)| Some(at.duration_since(*published.get((number / ALARM_EVERY) as usize)?)))
        .collect())
}

/// The number in the key of an alarm's incident.
fn alarm_number(message: &async_nats::Message) -> Option<u64> {
    if !message.subject.ends_with(".alarm") {
        return None;
    }
    let text = std::str::from_utf8(&message.payload).ok()?;
    let digits = text.split("alarm-").nth(1)?;
    digits.split(|letter: char| !letter.is_ascii_digit()).next()?.parse().ok()
}
