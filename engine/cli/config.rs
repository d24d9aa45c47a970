//! `sightline config`: settings, where they come from, and what is wrong with them.

use std::io::Write;

use crate::api::Access;
use crate::cli::exit::{CliError, Exit};
use crate::cli::settings::Global;
use crate::config;

/// What to do with the settings.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Print every setting with its value and where that comes from
    Show,
    /// Print a settings file with every setting at its default, and what each is for
    Template,
    /// Say what is wrong with the settings, if anything is
    Check,
}

/// Shows or checks the settings.
///
/// # Errors
/// When they are wrong.
pub fn run(global: &Global, args: &Args) -> Result<Exit, CliError> {
    let mut out = std::io::stdout();
    match args.command {
        // Needs no settings, so that nothing wrong with them keeps anyone from the way out.
        Command::Template => out.write_all(config::template().as_bytes())?,
        Command::Show => out.write_all(global.load()?.origins.show().as_bytes())?,
        Command::Check => {
            // Files that do not hold what they should, and an API that is open to a network.
            let config = global.load()?.config;
            Access::read(&config.api).map_err(|error| CliError::Usage(error.to_string()))?;
            writeln!(out, "{} the settings can be used", global.colors().stdout.good("ok:"))?;
        }
    }
    Ok(Exit::Done)
}
