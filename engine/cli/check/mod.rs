//! `sightline check`: are the rules right, and their tests, and if not, what is wrong with all of them?
//!
//! [`sample`] holds rules against events as they really come: fields that no event has are mostly misspelt.

mod sample;

use std::io::Write;
use std::path::PathBuf;

use sightline_core::rule::{Diagnostic, Level, RuleSet, Source, case};

use crate::cli::cost;
use crate::cli::exit::{CliError, Exit};
use crate::cli::input::Input;
use crate::cli::rules::Judged;
use crate::cli::settings::Global;

/// Which rules, and how to say it.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Rule files, and folders of them, `-` for standard input; `rules.paths` of the settings where there are none
    paths: Vec<PathBuf>,
    /// Events as they come, in a file: warn of fields that the rules read and none of them has; may be given more than once
    #[arg(long, value_name = "EVENTS")]
    sample: Vec<String>,
    /// End with 1 where there are warnings
    #[arg(long)]
    strict: bool,
    /// Also what each rule costs: work for each event, and memory for each key
    #[arg(long)]
    cost: bool,
    /// text for people, json for programs
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Text,
    Json,
}

/// What there is to say of rule files.
struct Report {
    files: Vec<Source>,
    rules: Option<RuleSet>,
    problems: Vec<Diagnostic>,
}

impl Report {
    /// How many of the files hold rules; the others hold tests of them.
    fn rule_files(&self) -> usize {
        self.files.iter().filter(|file| !case::is_case_file(&file.name)).count()
    }

    fn has(&self, level: Level) -> bool {
        self.problems.iter().any(|problem| problem.level == level)
    }
}

/// Checks rule files.
///
/// # Errors
/// When settings are wrong or files cannot be read. Wrong rules are an exit code.
pub async fn run(global: &Global, args: &Args) -> Result<Exit, CliError> {
    let config = global.load_for_person()?.config;
    let paths = &config.rule_paths(&args.paths);
    let judged = Judged::read_with_cases(paths, &config.engine.settings())?;
    let (cases, wrong) = case::cases(&judged.files);
    let (rules, mut problems) = match judged.verdict {
        Ok(checked) => (Some(checked.rules), checked.warnings),
        Err(problems) => (None, problems),
    };
    problems.extend(wrong);
    let mut report = Report { files: judged.files, rules, problems };
    if let Some(rules) = &report.rules {
        report.problems.extend(crate::cli::test::unknown_names(&cases, rules));
    }
    if !args.sample.is_empty()
        && let Some(rules) = report.rules.take()
    {
        let (rules, found) =
            sample::warnings(rules, &report.files, &Input::Files(args.sample.clone())).await?;
        report.rules = Some(rules);
        report.problems.extend(found);
    }
    report.problems.sort_by_key(|problem| (problem.file, problem.span.start));
    match args.format {
        Format::Text => text(&report, global)?,
        Format::Json => json(&report, args.cost)?,
    }
    if let (Format::Text, true, Some(rules)) = (args.format, args.cost, &report.rules) {
        cost::table(rules, global.colors().stdout)?;
    }
    Ok(match (report.has(Level::Error), report.has(Level::Warning) && args.strict) {
        (true, _) => Exit::WrongRules,
        (false, true) => Exit::FoundWrong,
        (false, false) => Exit::Done,
    })
}

fn text(report: &Report, global: &Global) -> std::io::Result<()> {
    let colors = global.colors();
    for problem in &report.problems {
        writeln!(std::io::stderr(), "{}\n", problem.render(&report.files, colors.stderr.diagnostics()))?;
    }
    let files = many(report.rule_files(), "file");
    let count = |level| report.problems.iter().filter(|problem| problem.level == level).count();
    let (errors, warnings) = (count(Level::Error), count(Level::Warning));
    match &report.rules {
        Some(rules) if errors == 0 => {
            let ok = colors.stdout.good("ok:");
            let units = many(rules.units.len(), "unit");
            let also = if warnings == 0 { String::new() } else { format!("; {}", many(warnings, "warning")) };
            let rules = many(rules.rules.len(), "rule");
            writeln!(std::io::stdout(), "{ok} {rules} in {files}, which keep state as {units}{also}")
        }
        _ => {
            let bad = colors.stderr.bad("rules cannot be used:");
            writeln!(std::io::stderr(), "{bad} {} in {files}", many(errors, "error"))
        }
    }
}

fn json(report: &Report, with_costs: bool) -> std::io::Result<()> {
    let ok = !report.has(Level::Error);
    let rules = report.rules.as_ref().filter(|_| ok);
    let problems: Vec<_> = report.problems.iter().map(|problem| problem.line(&report.files)).collect();
    let mut told = serde_json::json!({
        "ok": ok,
        "files": report.rule_files(),
        "rules": rules.map(|rules| rules.rules.len()),
        "units": rules.map(|rules| rules.units.len()),
        "problems": problems,
    });
    if let (true, Some(rules)) = (with_costs, rules) {
        told["costs"] = cost::json(rules);
    }
    writeln!(std::io::stdout(), "{told}")
}

fn many(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}
