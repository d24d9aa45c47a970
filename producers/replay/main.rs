//! `sightline-replay`: recorded events, published as if they happened now.
//!
//! Words go to standard error, data (`--dry-run`) to standard output.

mod arguments;
mod frames;
mod head;
mod lines;
mod pace;

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use clap::Parser;
use indicatif::{HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle};
use sightline_producers::publisher::Dedup;
use sightline_producers::{Counts, Message, Publisher, PublisherConfig};
use tracing_subscriber::EnvFilter;

use crate::arguments::Arguments;
use crate::frames::Frames;
use crate::head::{Head, UNKNOWN_SOURCE};
use crate::lines::{Line, Lines};
use crate::pace::Pace;

/// Something was not published.
const EXIT_INCOMPLETE: u8 = 1;
/// The options are wrong, or there is no server.
const EXIT_USAGE: u8 = 3;

/// What was read.
#[derive(Default)]
struct Read {
    lines: u64,
    /// Lines that name no source.
    unknown: u64,
    /// Lines longer than a message can be.
    too_long: u64,
}

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version are no errors and go to standard output.
            let code = if error.use_stderr() { EXIT_USAGE } else { 0 };
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    let filter =
        EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn,async_nats=error"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .init();

    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return usage(&anyhow::Error::from(error)),
    };
    let inputs = match lines::open_all(&arguments.files) {
        Ok(inputs) => inputs,
        Err(error) => return usage(&error),
    };
    if arguments.dry_run {
        return runtime.block_on(dry_run(&arguments, Lines::read(inputs)));
    }
    runtime.block_on(async {
        let client = match arguments.connect.open("sightline-replay").await {
            Ok(client) => client,
            Err(error) => return usage(&error.into()),
        };
        let dedup = if arguments.no_msg_id { Dedup::EngineOnly } else { Dedup::ServerAndEngine };
        let config = PublisherConfig { patience: arguments.patience, dedup, ..PublisherConfig::default() };
        match Publisher::start(client, config).await {
            Ok(publisher) => replay(&arguments, Lines::read(inputs), &publisher).await,
            Err(error) => usage(&error.into()),
        }
    })
}

fn usage(error: &anyhow::Error) -> ExitCode {
    eprintln!("error: {error:#}");
    ExitCode::from(EXIT_USAGE)
}

/// Publishes all lines and says what became of them.
async fn replay(arguments: &Arguments, lines: Lines, publisher: &Publisher) -> ExitCode {
    let start = Instant::now();
    let mut read = Read::default();
    let bar = progress_bar(lines.bytes_total);
    let stopped = tokio::select! {
        done = publish_all(arguments, lines, publisher, &mut read, &bar) => done.err(),
        _ = tokio::signal::ctrl_c() => Some(anyhow::anyhow!("interrupted: the rest was not read")),
    };
    // What was handed over before is brought home in any case.
    let flushed = publisher.flush().await.err();
    bar.finish_and_clear();
    let counts = publisher.counts();
    eprintln!("{}", summary(&read, &counts, start.elapsed()));
    for error in
        stopped.iter().map(|error| format!("{error:#}")).chain(flushed.iter().map(ToString::to_string))
    {
        eprintln!("error: {error}");
    }
    let complete = stopped.is_none() && flushed.is_none() && counts.failed() == 0 && read.too_long == 0;
    if complete { ExitCode::SUCCESS } else { ExitCode::from(EXIT_INCOMPLETE) }
}

async fn publish_all(
    arguments: &Arguments,
    mut lines: Lines,
    publisher: &Publisher,
    read: &mut Read,
    bar: &ProgressBar,
) -> anyhow::Result<()> {
    let mut frames = Frames::new(&arguments.tenant, arguments.frame);
    let mut pace = Pace::new(arguments.rate, arguments.speed);
    let start = tokio::time::Instant::now();
    while let Some(batch) = lines.batches.recv().await {
        let batch = match batch {
            Ok(batch) => batch,
            Err(error) => {
                publish(publisher, frames.finish()).await?;
                return Err(error);
            }
        };
        for line in batch {
            let Some((head, line)) = read.line(line) else { continue };
            let due = pace.due(head.occurred_at);
            // Waits shorter than the timer can keep add up instead.
            if due > start.elapsed() + Duration::from_millis(1) {
                tokio::time::sleep(due.saturating_sub(start.elapsed())).await;
            }
            publish(publisher, frames.add(head.source.as_deref().unwrap_or(UNKNOWN_SOURCE), line)).await?;
        }
        bar.set_position(lines.bytes_read.load(Ordering::Relaxed));
        bar.set_message(format!("{} events", HumanCount(publisher.counts().acknowledged)));
        // The next message would wait as long again: one is enough to know that nobody takes them.
        anyhow::ensure!(
            publisher.counts().gave_up == 0,
            "stopped: the server takes nothing, the rest was not read"
        );
    }
    publish(publisher, frames.finish()).await
}

async fn publish(publisher: &Publisher, messages: Vec<Message>) -> anyhow::Result<()> {
    for message in messages {
        publisher.publish(message).await?;
    }
    Ok(())
}

/// Counts the events of each subject instead of publishing them.
async fn dry_run(arguments: &Arguments, mut lines: Lines) -> ExitCode {
    let mut read = Read::default();
    let mut subjects: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    let mut frames = Frames::new(&arguments.tenant, arguments.frame);
    let mut count = |messages: Vec<Message>| {
        for message in messages {
            let (sent, events) = subjects.entry(message.subject().to_owned()).or_default();
            *sent += 1;
            *events += u64::from(message.events());
        }
    };
    let mut failed = None;
    while let Some(batch) = lines.batches.recv().await {
        match batch {
            Ok(batch) => {
                for line in batch {
                    let Some((head, line)) = read.line(line) else { continue };
                    count(frames.add(head.source.as_deref().unwrap_or(UNKNOWN_SOURCE), line));
                }
            }
            Err(error) => failed = Some(error),
        }
    }
    count(frames.finish());
    let mut out = std::io::stdout().lock();
    for (subject, (messages, events)) in &subjects {
        // A closed pipe (`| head`) is no failure.
        let _ = writeln!(out, "{subject} {events} events {messages} messages");
    }
    eprintln!(
        "read {}, without a source {}, too long {}; nothing published",
        read.lines, read.unknown, read.too_long
    );
    match failed {
        None if read.too_long == 0 => ExitCode::SUCCESS,
        None => ExitCode::from(EXIT_INCOMPLETE),
        Some(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(EXIT_INCOMPLETE)
        }
    }
}

impl Read {
    /// Counts a line; gives its head and its bytes, unless it cannot be published.
    fn line(&mut self, line: Line) -> Option<(Head, Vec<u8>)> {
        self.lines += 1;
        let Line::Whole(line) = line else {
            self.too_long += 1;
            return None;
        };
        let head = Head::of(&line);
        self.unknown += u64::from(head.source.is_none());
        Some((head, line))
    }
}

/// A bar over the bytes of the files, a spinner for a stream; hidden where standard error is no terminal.
fn progress_bar(bytes_total: Option<u64>) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(bytes_total, ProgressDrawTarget::stderr_with_hz(5));
    let template = match bytes_total {
        Some(_) => "{wide_bar} {bytes}/{total_bytes} {msg} {eta}",
        None => "{spinner} {bytes} {msg} {elapsed}",
    };
    bar.with_style(ProgressStyle::with_template(template).expect("the template is constant"))
}

fn summary(read: &Read, counts: &Counts, elapsed: Duration) -> String {
    let seconds = elapsed.as_secs_f64();
    let mut text = format!(
        "read {}, published {}, acknowledged {}, duplicates {}, {seconds:.2} s, {:.0} events/s",
        read.lines,
        counts.sent,
        counts.acknowledged,
        counts.duplicates,
        counts.acknowledged as f64 / seconds.max(1e-6),
    );
    let rest = [
        ("without a source", read.unknown),
        ("too long", read.too_long),
        ("sent again", counts.resent),
        ("refused", counts.refused),
        ("given up", counts.gave_up),
    ];
    for (what, number) in rest.into_iter().filter(|(_, number)| *number > 0) {
        text.push_str(&format!(", {what} {number}"));
    }
    text
}
