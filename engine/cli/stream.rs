//! `sightline stream`: the four streams.

use std::io::Write;

use crate::bus::jetstream::streams::Outcome;
use crate::bus::jetstream::{Shrink, setup};
use crate::cli::exit::{CliError, Exit};
use crate::cli::settings::Global;
use crate::cli::{bus, cell};

/// What to do with the streams.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Create the streams, or bring them to the shape of the settings
    Setup {
        /// Also where a smaller limit makes the server delete messages
        #[arg(long)]
        force: bool,
    },
}

/// Sets the streams up.
///
/// # Errors
/// When the bus does not answer, or something stands against it.
pub async fn run(global: &Global, args: &Args) -> Result<Exit, CliError> {
    let Command::Setup { force } = args.command;
    let config = global.load_for_person()?.config;
    let connection = bus::connected(&config.nats).await?;
    let shrink = if force { Shrink::Allow } else { Shrink::Refuse };
    let reports = setup(&connection, &bus::stream_settings(&config.streams), shrink).await;
    connection.close().await;
    let mut table = cell::table(&["stream", "outcome", "changes"], global.colors().stdout);
    for report in reports? {
        let (outcome, changes) = match report.outcome {
            Outcome::Created => ("created".to_owned(), String::new()),
            Outcome::Changed(changes) => ("changed".to_owned(), changes.join("\n")),
            Outcome::Unchanged => ("unchanged".to_owned(), String::new()),
        };
        table.add_row([report.stream, outcome, changes]);
    }
    writeln!(std::io::stdout(), "{}", table.trim_fmt())?;
    Ok(Exit::Done)
}
