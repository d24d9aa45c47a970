//! `sightline test`: do rules do what their tests say?
//!
//! [`suite`] reads rules and tests and runs them, [`run_case`] is one test through the same engine as everything else,
//! [`judge`] compares what came of it with what was expected, [`coverage`] says what no test shows. [`told`] is for people,
//! [`report`] for programs, [`junit`] for build servers, and [`watch`] does it again whenever a file changes.

mod coverage;
mod judge;
mod junit;
mod report;
mod run_case;
mod suite;
mod told;
mod watch;

use std::io::Write;
use std::path::PathBuf;

use anyhow::Context;

use crate::cli::exit::{CliError, Exit};
use crate::cli::settings::Global;

use suite::Suite;
pub(crate) use suite::unknown_names;

/// Which tests, and how to say what came of them.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Rule files with `tests`, files `*.test.yaml`, and folders of both; `rules.paths` of the settings where there are none
    paths: Vec<PathBuf>,
    /// Only tests of rules, or with names, that contain this
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// text for people, json for programs
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: Format,
    /// Write the results as JUnit XML too
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// End with 1 where a rule has no test that fires or none that stays silent, or a step that no test satisfies
    #[arg(long)]
    require_coverage: bool,
    /// Run again whenever a file changes, until interrupted
    #[arg(long, conflicts_with = "format")]
    watch: bool,
    /// Name the tests that pass, too
    #[arg(short, long)]
    verbose: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Text,
    Json,
}

/// Runs tests of rules.
///
/// # Errors
/// When settings, rules or tests are wrong, or files cannot be read.
pub async fn run(global: &Global, args: &Args) -> Result<Exit, CliError> {
    let config = global.load_for_person()?.config;
    let paths = &config.rule_paths(&args.paths);
    let settings = config.engine.settings();
    let once = || Suite::read(paths, &settings, args.only.as_deref(), global.colors().stderr);
    if args.watch {
        return watch::again_and_again(paths, || match once() {
            Ok(suite) => said(&suite, args, global).map(|_| ()),
            Err(error) => {
                error.tell(global.colors().stderr);
                Ok(())
            }
        })
        .await;
    }
    said(&once()?, args, global)
}

/// Runs a suite and says what came of it.
fn said(suite: &Suite, args: &Args, global: &Global) -> Result<Exit, CliError> {
    let results = suite.run();
    if let Some(path) = &args.junit {
        let text = junit::text(&results);
        std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    let mut out = std::io::stdout().lock();
    match args.format {
        Format::Text => {
            let told = told::text(&results, args.verbose, args.require_coverage, global.colors().stdout);
            writeln!(out, "{told}")?;
        }
        Format::Json => writeln!(out, "{}", report::json(&results))?,
    }
    let covered = !args.require_coverage || results.coverage.is_whole();
    Ok(if results.passed() && covered { Exit::Done } else { Exit::FoundWrong })
}
