//! `sightline convert`: rules of others in our words, and what could not be carried over.
//!
//! [`eql`] reads Elastic's EQL, [`panther`] Panther's correlation rules. Both make a [`native::Rule`], which is written as
//! YAML. What is left out is said, on stderr and in the rule's head: it is a draft for a person to look at.

mod eql;
mod eql_condition;
mod eql_text;
mod native;
mod panther;

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::cli::exit::{CliError, Exit};
use crate::cli::settings::Global;

/// What to convert.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The file, `-` for standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// What it is written in; told by the ending and the content where it is left out
    #[arg(long, value_name = "LANGUAGE")]
    from: Option<Language>,
    /// Id of the rule; made of the file's name where it is left out
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    /// End with 1 where something could not be carried over
    #[arg(long)]
    strict: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Language {
    /// Elastic's event query language: an event query, or a sequence
    Eql,
    /// Panther's correlation rules (YAML)
    Panther,
}

/// A converted rule, and what could not be carried over.
#[derive(Debug, Default)]
struct Converted {
    rule: native::Rule,
    left_out: Vec<String>,
}

/// Converts a rule and prints it.
///
/// # Errors
/// When the file cannot be read, or is not what it is said to be.
pub fn run(global: &Global, args: &Args) -> Result<Exit, CliError> {
    let name = args.file.display();
    let text = match args.file.as_os_str() == "-" {
        true => std::io::read_to_string(std::io::stdin()),
        false => std::fs::read_to_string(&args.file),
    };
    let text = text.with_context(|| format!("cannot read {name}"))?;
    let id = args.id.clone().unwrap_or_else(|| id_of(&args.file));
    let converted = match args.from.unwrap_or_else(|| language(&args.file, &text)) {
        Language::Eql => eql::convert(&text, &id),
        Language::Panther => panther::convert(&text, &id),
    };
    let converted = converted.map_err(|why| CliError::Usage(format!("{name}: {why}")))?;
    let paint = global.colors().stderr;
    write!(std::io::stdout(), "{}", native::yaml(&converted.rule, &converted.left_out))?;
    let mut words = std::io::stderr();
    for what in &converted.left_out {
        writeln!(words, "{} {what}", paint.bad("not carried over:"))?;
    }
    let wrong = args.strict && !converted.left_out.is_empty();
    Ok(if wrong { Exit::FoundWrong } else { Exit::Done })
}

fn language(path: &Path, text: &str) -> Language {
    let yaml = path.extension().is_some_and(|ending| ending == "yaml" || ending == "yml");
    if yaml || text.contains("AnalysisType:") { Language::Panther } else { Language::Eql }
}

fn id_of(path: &Path) -> String {
    let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let id = native::id(&stem);
    if id.is_empty() || id == "-" { "converted".to_owned() } else { id }
}
