//! `sightline-generate`: events for load and training, the same for the same seed.
//!
//! [`background`] is what happens on any day, [`attacks`] what the shipped rules find, [`story`] both in the order of
//! time. Data goes to standard output, words to standard error.

mod arguments;
mod attacks;
mod background;
mod chance;
mod story;

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use sightline_producers::program::{self, EXIT_INCOMPLETE, EXIT_USAGE, end};
use sightline_producers::{Outbox, OutboxConfig};
use sightline_schemas::EventTime;
use sightline_schemas::wire::{self, Form};

use crate::arguments::{Arguments, Start};
use crate::attacks::{ATTACKS, Attack};
use crate::background::Population;
use crate::story::{Plot, Story};

/// 2026-01-01T00:00:00Z.
const START: EventTime = EventTime::from_micros(1_767_225_600_000_000);
/// Level of zstd that costs less than writing what it saves.
const ZSTD_LEVEL: i32 = 3;

fn main() -> ExitCode {
    let arguments: Arguments = match program::begin("warn,async_nats=error") {
        Ok(arguments) => arguments,
        Err(code) => return code,
    };
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Options(error)) => end(&error, EXIT_USAGE),
        Err(Failure::Incomplete(error)) => end(&error, EXIT_INCOMPLETE),
    }
}

/// How it can go wrong.
enum Failure {
    Options(anyhow::Error),
    Incomplete(anyhow::Error),
}

fn run(arguments: &Arguments) -> Result<(), Failure> {
    if arguments.list {
        for attack in &ATTACKS {
            // A closed pipe (`| head`) is no failure.
            let _ = writeln!(io::stdout(), "{:20} {}", attack.name, attack.rules.join(", "));
        }
        return Ok(());
    }
    let story = Story::begin(&plot(arguments));
    if let Some(path) = &arguments.truth {
        let text = serde_json::to_string_pretty(&story.played).expect("plain data") + "\n";
        std::fs::write(path, text)
            .with_context(|| format!("cannot write {}", path.display()))
            .map_err(Failure::Options)?;
    }
    if arguments.publish {
        let runtime = tokio::runtime::Runtime::new().context("no runtime").map_err(Failure::Options)?;
        runtime.block_on(publish(arguments, story))
    } else {
        let out = output(&arguments.output).map_err(Failure::Options)?;
        let written = write(story, &arguments.tenant, out);
        written
            .with_context(|| format!("cannot write {}", arguments.output.display()))
            .map_err(Failure::Incomplete)
    }
}

fn plot(arguments: &Arguments) -> Plot {
    let start = arguments.start.unwrap_or(if arguments.publish { Start::Now } else { Start::At(START) });
    let attacks: Vec<&Attack> = match &arguments.attack[..] {
        [] => ATTACKS.iter().collect(),
        names => names.iter().filter_map(|name| Attack::named(name)).collect(),
    };
    Plot {
        seed: arguments.seed,
        count: arguments.count,
        population: Population { hosts: arguments.hosts },
        start: match start {
            Start::At(at) => at,
            Start::Now => now(),
        },
        per_second: arguments.rate,
        attacks,
        rounds: arguments.rounds,
    }
}

fn now() -> EventTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    EventTime::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

fn output(path: &Path) -> anyhow::Result<Box<dyn Write>> {
    if path == Path::new("-") {
        return Ok(Box::new(BufWriter::new(io::stdout().lock())));
    }
    let unwritable = || format!("cannot write {}", path.display());
    let file = BufWriter::new(File::create(path).with_context(unwritable)?);
    if path.extension().is_some_and(|extension| extension == "zst") {
        let encoder = zstd::Encoder::new(file, ZSTD_LEVEL).with_context(unwritable)?;
        return Ok(Box::new(encoder.auto_finish()));
    }
    Ok(Box::new(file))
}

fn write(story: Story, tenant: &str, mut out: Box<dyn Write>) -> io::Result<()> {
    for (_, draft) in story {
        let event = if tenant == "default" { draft } else { draft.tenant(tenant.to_owned()) };
        let mut line = wire::encode_value(&event.to_value(), Form::Json).map_err(io::Error::other)?;
        line.push(b'\n');
        match out.write_all(&line) {
            Ok(()) => {}
            // `| head` has what it wanted.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            Err(error) => return Err(error),
        }
    }
    out.flush()
}

async fn publish(arguments: &Arguments, story: Story) -> Result<(), Failure> {
    let options = |error: anyhow::Error| Failure::Options(error);
    let client = arguments.connect.open("sightline-generate").await.map_err(|error| options(error.into()))?;
    let outbox =
        Outbox::start(client, OutboxConfig::default()).await.map_err(|error| options(error.into()))?;
    let started = tokio::time::Instant::now();
    let mut first = None;
    for (at, draft) in story {
        if arguments.live {
            let micros = at.since(*first.get_or_insert(at)).unsigned_abs();
            tokio::time::sleep_until(started + Duration::from_micros(micros)).await;
        }
        let event = draft.tenant(arguments.tenant.clone());
        outbox.publish(event).await.map_err(|error| Failure::Incomplete(error.into()))?;
    }
    let closed = outbox.clone().close().await;
    let (metrics, seconds) = (outbox.metrics(), started.elapsed().as_secs_f64());
    eprintln!(
        "published {}, acknowledged {}, duplicates {}, {seconds:.2} s, {:.0} events/s",
        metrics.accepted,
        metrics.counts.acknowledged,
        metrics.counts.duplicates,
        metrics.accepted as f64 / seconds.max(1e-6),
    );
    closed.map(drop).map_err(|error| Failure::Incomplete(error.into()))
}
