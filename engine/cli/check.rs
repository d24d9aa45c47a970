//! `sightline check`: are the rules right, and if not, what is wrong with all of them?

use std::io::Write;
use std::path::PathBuf;

use sightline_core::rule::Level;

use crate::cli::exit::{CliError, Exit};
use crate::cli::rules::Judged;
use crate::cli::settings::Global;

/// Which rules, and how to say it.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Rule files, and folders of them; `rules.paths` of the settings where there are none
    paths: Vec<PathBuf>,
    /// text for people, json for programs
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Text,
    Json,
}

/// Checks rule files.
///
/// # Errors
/// When settings are wrong or files cannot be read. Wrong rules are an exit code.
pub fn run(global: &Global, args: &Args) -> Result<Exit, CliError> {
    let config = global.load()?.config;
    let paths = config.rule_paths(&args.paths);
    let judged = Judged::read(&paths, &config.engine.settings())?;
    match args.format {
        Format::Text => text(&judged, global)?,
        Format::Json => json(&judged)?,
    }
    Ok(if judged.verdict.is_ok() { Exit::Done } else { Exit::WrongRules })
}

fn text(judged: &Judged, global: &Global) -> std::io::Result<()> {
    let colors = global.colors();
    if !judged.problems().is_empty() {
        writeln!(std::io::stderr(), "{}\n", judged.rendered(colors.stderr))?;
    }
    let files = many(judged.files.len(), "file");
    match &judged.verdict {
        Ok(checked) => {
            let rules = many(checked.rules.rules.len(), "rule");
            let units = many(checked.rules.units.len(), "unit");
            let ok = colors.stdout.good("ok:");
            writeln!(std::io::stdout(), "{ok} {rules} in {files}, which keep state as {units}")
        }
        Err(problems) => {
            let errors = problems.iter().filter(|problem| problem.level == Level::Error).count();
            let bad = colors.stderr.bad("rules cannot be used:");
            writeln!(std::io::stderr(), "{bad} {} in {files}", many(errors, "error"))
        }
    }
}

fn json(judged: &Judged) -> std::io::Result<()> {
    let count = |count: fn(&sightline_core::rule::RuleSet) -> usize| {
        judged.verdict.as_ref().map(|checked| count(&checked.rules)).ok()
    };
    let problems: Vec<_> = judged.problems().iter().map(|problem| problem.line(&judged.files)).collect();
    let report = serde_json::json!({
        "ok": judged.verdict.is_ok(),
        "files": judged.files.len(),
        "rules": count(|rules| rules.rules.len()),
        "units": count(|rules| rules.units.len()),
        "problems": problems,
    });
    writeln!(std::io::stdout(), "{report}")
}

fn many(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}
