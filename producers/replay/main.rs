//! `sightline-replay`: recorded events, published as if they happened now, or for whoever wants to see them again.
//!
//! [`input`] reads events, [`pace`] says when each is due, [`target`] takes them. Words go to standard error, data
//! (`--dry-run`) to standard output.

mod arguments;
mod head;
mod input;
mod lines;
mod pace;
mod recorded;
mod stretch;
mod target;

use std::collections::BTreeMap;
use std::io::Write;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use indicatif::{HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle};
use sightline_producers::program::{self, EXIT_INCOMPLETE, EXIT_USAGE, end};
use sightline_producers::publisher::Dedup;
use sightline_producers::{Connect, Counts, Publisher, PublisherConfig};

use crate::arguments::{Arguments, Onto};
use crate::input::{Input, Read};
use crate::lines::Lines;
use crate::pace::Pace;
use crate::recorded::Selection;
use crate::stretch::Stretch;
use crate::target::Target;

fn main() -> ExitCode {
    let arguments: Arguments = match program::begin("warn,async_nats=error") {
        Ok(arguments) => arguments,
        Err(code) => return code,
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return end(&error, EXIT_USAGE),
    };
    runtime.block_on(async {
        match open(&arguments).await {
            Ok((input, target)) => replay(&arguments, input, target).await,
            Err(error) => end(&error, EXIT_USAGE),
        }
    })
}

/// Opens where the events come from, and where they go.
async fn open(arguments: &Arguments) -> anyhow::Result<(Input, Target)> {
    // Files first: a wrong name is found before a server is asked.
    let files = lines::open_all(&arguments.files)?;
    let selection = Selection::of(arguments);
    let onto = arguments.onto();
    let target = if arguments.dry_run {
        Target::Nowhere {
            framer: target::framer(arguments.frame),
            subjects: BTreeMap::new(),
            to_subscribers: onto == Onto::Replay,
        }
    } else {
        open_target(arguments, onto).await?
    };
    let input = match &arguments.stream {
        None => Input::lines(Lines::read(files), selection, &arguments.tenant),
        Some(stream) => {
            let mut connect = arguments.connect.clone();
            if let Some(url) = &arguments.stream_url {
                connect = Connect { url: url.clone(), ..connect };
            }
            let client = connect.open("sightline-replay").await?;
            Input::stretch(Stretch::open(client, stream, arguments.since).await?, selection)
        }
    };
    Ok((input, target))
}

async fn open_target(arguments: &Arguments, onto: Onto) -> anyhow::Result<Target> {
    let client = arguments.connect.open("sightline-replay").await?;
    let run = target::run_of(&client);
    if onto == Onto::Replay {
        return Ok(Target::Subscribers { client, run, sent: 0 });
    }
    let dedup = if arguments.no_msg_id { Dedup::EngineOnly } else { Dedup::ServerAndEngine };
    let config = PublisherConfig { patience: arguments.patience, dedup, ..PublisherConfig::default() };
    let publisher = Publisher::start(client, config).await?;
    Ok(Target::Log { publisher, framer: target::framer(arguments.frame), run })
}

/// Publishes all events and says what became of them.
async fn replay(arguments: &Arguments, input: Input, mut target: Target) -> ExitCode {
    let start = Instant::now();
    let mut read = Read::default();
    let bar = progress_bar(&input, arguments.stream.is_some());
    let stopped = tokio::select! {
        done = publish_all(arguments, input, &mut target, &mut read, &bar) => done.err(),
        _ = tokio::signal::ctrl_c() => Some(anyhow::anyhow!("interrupted: the rest was not published")),
    };
    // What was handed over before is brought home in any case.
    let finished = target.finish(stopped.is_none()).await.err();
    bar.finish_and_clear();
    let complete = match &target {
        Target::Log { publisher, .. } => {
            let counts = publisher.counts();
            eprintln!("{}", in_the_log(&read, &counts, start.elapsed()));
            counts.failed() == 0
        }
        Target::Subscribers { sent, .. } => {
            let seconds = start.elapsed().as_secs_f64();
            let text = format!("read {}, published {sent}, {seconds:.2} s", read.events);
            eprintln!("{}", with_rest(text, &read, &[]));
            true
        }
        Target::Nowhere { subjects, .. } => {
            let mut out = std::io::stdout().lock();
            for (subject, (events, messages)) in subjects {
                // A closed pipe (`| head`) is no failure.
                let _ = writeln!(out, "{subject} {events} events {messages} messages");
            }
            eprintln!("{}; nothing published", with_rest(format!("read {}", read.events), &read, &[]));
            true
        }
    };
    for error in stopped.iter().chain(&finished) {
        eprintln!("error: {error:#}");
    }
    let complete = complete && stopped.is_none() && finished.is_none() && read.too_long == 0;
    if complete { ExitCode::SUCCESS } else { ExitCode::from(EXIT_INCOMPLETE) }
}

async fn publish_all(
    arguments: &Arguments,
    mut input: Input,
    target: &mut Target,
    read: &mut Read,
    bar: &ProgressBar,
) -> anyhow::Result<()> {
    if arguments.stream.is_some() || arguments.sort {
        input = input.sorted(read).await?;
        bar.set_length(input.progress().1.unwrap_or_default());
    }
    let mut pace = Pace::new(arguments.rate, arguments.speed, arguments.gap_max);
    let start = tokio::time::Instant::now();
    while let Some(batch) = input.next(read).await? {
        for event in batch {
            let due = pace.due(event.occurred_at);
            // Waits shorter than the timer can keep add up instead.
            if due > start.elapsed() + Duration::from_millis(1) {
                tokio::time::sleep(due.saturating_sub(start.elapsed())).await;
            }
            target.take(event).await?;
        }
        bar.set_position(input.progress().0);
        bar.set_message(format!("{} events", HumanCount(target.arrived())));
        // The next message would wait as long again: one is enough to know that nobody takes them.
        if let Target::Log { publisher, .. } = target {
            anyhow::ensure!(
                publisher.counts().gave_up == 0,
                "stopped: the server takes nothing, the rest was not read"
            );
        }
    }
    Ok(())
}

/// A bar over the bytes of the files or over the events, a spinner for a pipe; hidden where standard error is no terminal.
fn progress_bar(input: &Input, of_events: bool) -> ProgressBar {
    let total = input.progress().1;
    let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr_with_hz(5));
    let template = match total {
        Some(_) if of_events => "{wide_bar} {human_pos}/{human_len} {msg} {eta}",
        Some(_) => "{wide_bar} {bytes}/{total_bytes} {msg} {eta}",
        None => "{spinner} {bytes} {msg} {elapsed}",
    };
    bar.with_style(ProgressStyle::with_template(template).expect("the template is constant"))
}

fn in_the_log(read: &Read, counts: &Counts, elapsed: Duration) -> String {
    let seconds = elapsed.as_secs_f64();
    let text = format!(
        "read {}, published {}, acknowledged {}, duplicates {}, {seconds:.2} s, {:.0} events/s",
        read.events,
        counts.sent,
        counts.acknowledged,
        counts.duplicates,
        counts.acknowledged as f64 / seconds.max(1e-6),
    );
    let rest = [("sent again", counts.resent), ("refused", counts.refused), ("given up", counts.gave_up)];
    with_rest(text, read, &rest)
}

fn with_rest(mut text: String, read: &Read, more: &[(&str, u64)]) -> String {
    let rest = [
        ("not asked for", read.passed_over),
        ("without a source", read.unknown),
        ("too long", read.too_long),
        ("no events", read.unread),
    ];
    for (what, number) in rest.iter().chain(more).filter(|(_, number)| *number > 0) {
        text.push_str(&format!(", {what} {number}"));
    }
    text
}
