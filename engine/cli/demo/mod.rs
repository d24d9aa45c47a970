//! `sightline demo`: two recorded intrusions through a real server, and what is found against what is known.
//!
//! [`stage`] is the folder and the processes, [`show`] is what is seen on it. Everything is temporary, on loopback, and
//! ends with the command, whatever way that ends.

mod show;
mod stage;

use std::io::Write;
use std::path::PathBuf;

use tokio::signal::unix::{SignalKind, signal};

use crate::cli::exit::{CliError, Exit};
use crate::cli::settings::Global;
use crate::cli::truth::{self, Truth};
use stage::Stage;

/// What to show.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The nats-server to start; found on PATH if not given
    #[arg(
        long,
        value_name = "PATH",
        env = "NATS_SERVER_BIN",
        hide_env_values = true,
        default_value = "nats-server"
    )]
    nats_server: PathBuf,
    /// Rule files, or a folder of them
    #[arg(long, value_name = "PATH", default_value = "rules")]
    rules: PathBuf,
    /// The recorded events
    #[arg(long, value_name = "FILE", default_value = "tests/data/demo.ndjson")]
    events: PathBuf,
    /// What is known to be in them
    #[arg(long, value_name = "FILE", default_value = "tests/data/demo_truth.json")]
    truth: PathBuf,
    /// Leave the folder with logs, state and streams
    #[arg(long)]
    keep: bool,
}

/// Runs the demo.
///
/// # Errors
/// When something that it needs is not there, or a process that it started fails.
pub async fn run(global: &Global, args: &Args) -> Result<Exit, CliError> {
    let colors = global.colors();
    let truth = Truth::read(&args.truth)?;
    for path in [&args.rules, &args.events] {
        std::fs::metadata(path)
            .map_err(|error| CliError::Usage(format!("cannot read {}: {error}", path.display())))?;
    }
    let mut interrupted = signal(SignalKind::interrupt())?;
    let mut terminated = signal(SignalKind::terminate())?;
    // The terminal is closed: nobody would see that a server goes on.
    let mut hung_up = signal(SignalKind::hangup())?;
    let mut stage = Stage::new(args.keep)?;
    let played = tokio::select! {
        played = show::play(&mut stage, args, colors) => Some(played),
        _ = interrupted.recv() => None,
        _ = terminated.recv() => None,
        _ = hung_up.recv() => None,
    };
    stage.end().await;
    let mut words = std::io::stderr();
    if args.keep {
        writeln!(words, "left in {}", stage.folder().display())?;
    }
    let Some(played) = played else {
        writeln!(words, "interrupted")?;
        return Ok(Exit::FoundWrong);
    };
    let played = played?;
    let report = truth.compare(&played.messages);
    writeln!(words, "{}", played.summary())?;
    let mut out = std::io::stdout();
    writeln!(out, "{}", truth::table(&report, colors.stdout))?;
    Ok(if report.agrees() { Exit::Done } else { Exit::FoundWrong })
}
