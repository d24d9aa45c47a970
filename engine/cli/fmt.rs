//! `sightline fmt`: rule files in one layout, with the same meaning.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;
use sightline_core::rule::format::format;

use crate::cli::exit::{CliError, Exit};
use crate::cli::rules;
use crate::cli::settings::Global;

/// Which files.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Rule files, and folders of them; `-` lays out standard input to standard output
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// Change nothing; name the files that are laid out otherwise, and end with 1 where there are any
    #[arg(long)]
    check: bool,
}

/// Lays out rule files.
///
/// # Errors
/// When a file cannot be read or written. What is no rule file is told, and left as it is.
pub fn run(global: &Global, args: &Args) -> Result<Exit, CliError> {
    let files = rules::read_with_cases(&args.paths).map_err(|error| CliError::Usage(format!("{error:#}")))?;
    let paint = global.colors().stderr;
    let (mut out, mut words) = (std::io::stdout(), std::io::stderr());
    let mut exit = Exit::Done;
    for file in files {
        let laid_out = match format(&file.text) {
            Ok(laid_out) => laid_out,
            Err(why) => {
                writeln!(words, "{} {}: {why}", paint.bad("left as it is:"), file.name)?;
                exit = Exit::WrongRules;
                continue;
            }
        };
        if file.name == "-" && !args.check {
            write!(out, "{laid_out}")?;
        } else if laid_out != file.text {
            writeln!(out, "{}", file.name)?;
            if args.check {
                exit = if exit == Exit::Done { Exit::FoundWrong } else { exit };
            } else {
                let path = Path::new(&file.name);
                std::fs::write(path, laid_out).with_context(|| format!("cannot write {}", file.name))?;
            }
        }
    }
    Ok(exit)
}
