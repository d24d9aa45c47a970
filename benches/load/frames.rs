//! Frames: many events in one message, from the stream to incidents with 100 rules.

use sightline_benches::report::{Report, Target};
use sightline_schemas::EventTime;
use tokio::runtime::Runtime;

use crate::bus::{Bus, Filled, settings};
use crate::{Asked, events, median};

const RULES: usize = 100;
const HOSTS: u64 = 10_000;
/// Events in one frame.
const FRAME_EVENTS: u64 = 500;
/// The fastest level: frames are compressed once and read once.
const ZSTD_LEVEL: i32 = 1;

/// Measures it.
pub fn run(asked: &Asked, report: &mut Report, runtime: &Runtime) -> Result<(), String> {
    for (name, headers, zstd) in [
        ("frames.ndjson", vec![("Content-Type", "application/x-ndjson")], false),
        (
            "frames.ndjson_zstd",
            vec![("Content-Type", "application/x-ndjson"), ("Content-Encoding", "zstd")],
            true,
        ),
    ] {
        runtime.block_on(frames(asked, report, name, &headers, zstd))?;
    }
    Ok(())
}

async fn frames(
    asked: &Asked,
    report: &mut Report,
    name: &str,
    headers: &[(&'static str, &'static str)],
    zstd: bool,
) -> Result<(), String> {
    let (frames, rounds) = asked.sized((2_000u64, 3), (10_000, 5));
    let rules = events::rules(RULES);
    let bus = Bus::start(&rules).await?;
    let began = EventTime::parse("2026-01-01T00:00:00Z").expect("a time");
    let bodies = (0..frames).map(|frame| {
        let mut body = Vec::new();
        for number in frame * FRAME_EVENTS..(frame + 1) * FRAME_EVENTS {
            body.extend_from_slice(events::event(number, HOSTS, began).as_bytes());
            body.push(b'\n');
        }
        if zstd {
            body = zstd::encode_all(&body[..], ZSTD_LEVEL).expect("memory takes everything");
        }
        Filled { headers: headers.to_vec(), body }
    });
    let last = bus.fill(bodies).await?;
    let count = frames * FRAME_EVENTS;
    let (mut rates, mut cpu) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let drained = bus.drain(last, &rules, &settings(2)).await?;
        rates.push(drained.spent.wall_rate(count));
        cpu.push(drained.spent.nanos_each(count));
        bus.forget_outputs().await?;
    }
    report.line(
        format!("{name}.rate"),
        median(rates),
        Target::AtLeast(1e6),
        "events/s end to end, 100 rules",
    );
    report.line(format!("{name}.client_cpu"), median(cpu), Target::Shown, "ns an event, all threads");
    Ok(())
}
