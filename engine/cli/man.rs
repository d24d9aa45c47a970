//! `sightline completions` and `sightline man`: made of the command line itself, so that they cannot differ from it.

use std::io::Write;
use std::path::PathBuf;

use crate::cli::exit::{CliError, Exit};

/// Which shell.
#[derive(Debug, clap::Args)]
pub struct CompletionArgs {
    /// The shell
    shell: clap_complete::Shell,
}

/// Where to.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Write a page for each command into this folder
    dir: Option<PathBuf>,
}

/// Prints completions.
///
/// # Errors
/// When stdout takes nothing.
pub fn completions(mut command: clap::Command, args: &CompletionArgs) -> Result<Exit, CliError> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, "sightline", &mut script);
    std::io::stdout().write_all(&script)?;
    Ok(Exit::Done)
}

/// Prints the man page, or writes all of them.
///
/// # Errors
/// When they cannot be written.
pub fn pages(command: clap::Command, args: &Args) -> Result<Exit, CliError> {
    match &args.dir {
        Some(dir) => {
            std::fs::create_dir_all(dir)?;
            clap_mangen::generate_to(command, dir)?;
        }
        None => {
            let mut page = Vec::new();
            clap_mangen::Man::new(command).render(&mut page)?;
            std::io::stdout().write_all(&page)?;
        }
    }
    Ok(Exit::Done)
}
