//! `sightline convert`: rules of others in our words, and what could not be carried over.
//!
//! [`eql`] reads Elastic's EQL, [`panther`] Panther's correlation rules with their tests. Both make a [`native::Rule`], which is written as
//! YAML. [`sigma`] asks the core, which translates Sigma's rules anyway. What is left out is said, on stderr and in the
//! head of the file: it is a draft for a person to look at.

mod eql;
mod eql_condition;
mod eql_text;
mod native;
mod panther;
mod panther_key;
mod panther_tests;
mod sigma;

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;
use sightline_core::rule::tree::{Kind, Node};
use sightline_core::rule::{Source, format};

use crate::cli::exit::{CliError, Exit};
use crate::cli::settings::Global;

/// What to convert.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The file, `-` for standard input; of Sigma, all that belong together, and folders of them
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// What it is written in; told by the ending and the content where it is left out
    #[arg(long, value_name = "LANGUAGE")]
    from: Option<Language>,
    /// Sigma: how its names are those of events, instead of `sigma.mapping` of the settings; may be given more than once
    #[arg(long, value_name = "FILE")]
    mapping: Vec<PathBuf>,
    /// Id of the rule; made of the file's name where it is left out. Sigma's rules keep their own
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
    /// Sigma's rules and correlation rules
    Sigma,
}

/// A converted rule, and what could not be carried over.
#[derive(Debug, Default)]
struct Converted {
    rule: native::Rule,
    left_out: Vec<String>,
}

impl Converted {
    /// What a part of the original says and nobody here knows is left out, and said to be.
    fn leave_out(&mut self, node: &Node, of: &str, known: &[&str]) {
        let Kind::Map(members) = &node.kind else { return };
        let names = members.iter().filter_map(|(name, _)| name.scalar_text());
        let unknown = names.filter(|name| !known.contains(&name.as_str()));
        self.left_out.extend(unknown.map(|name| format!("`{name}` of {of}")));
    }
}

/// Rules in our words, and what could not be carried over.
struct Draft {
    text: String,
    left_out: Vec<String>,
}

/// Converts rules and prints them.
///
/// # Errors
/// When a file cannot be read, or is not what it is said to be.
pub fn run(global: &Global, args: &Args) -> Result<Exit, CliError> {
    let files = read(&args.files)?;
    let draft = match args.from.unwrap_or_else(|| language(&args.files, &files)) {
        Language::Eql => one(args, &files, eql::convert)?,
        Language::Panther => one(args, &files, panther::convert)?,
        Language::Sigma => sigma::convert(global, args, files)?,
    };
    let mut out = std::io::stdout();
    for what in &draft.left_out {
        writeln!(out, "# not carried over: {}", what.replace('\n', " "))?;
    }
    write!(out, "{}", draft.text)?;
    let paint = global.colors().stderr;
    let mut words = std::io::stderr();
    for what in &draft.left_out {
        writeln!(words, "{} {what}", paint.bad("not carried over:"))?;
    }
    let wrong = args.strict && !draft.left_out.is_empty();
    Ok(if wrong { Exit::FoundWrong } else { Exit::Done })
}

/// What is named and no folder: those are for Sigma alone.
fn read(files: &[PathBuf]) -> Result<Vec<Source>, CliError> {
    let source = |file: &PathBuf| {
        let text = match file.as_os_str() == "-" {
            true => std::io::read_to_string(std::io::stdin()),
            false => std::fs::read_to_string(file),
        };
        let name = file.display().to_string();
        let text = text.with_context(|| format!("cannot read {name}"))?;
        Ok(Source { name, text })
    };
    files.iter().filter(|file| !file.is_dir()).map(source).collect()
}

/// The rule of a file, in a language that has one in each.
fn one(
    args: &Args,
    files: &[Source],
    convert: impl Fn(&str, &str) -> Result<Converted, String>,
) -> Result<Draft, CliError> {
    let ([path], [file], []) = (args.files.as_slice(), files, args.mapping.as_slice()) else {
        let why = "name one file and no mapping: only Sigma's rules are converted together";
        return Err(CliError::Usage(why.to_owned()));
    };
    let id = args.id.clone().unwrap_or_else(|| id_of(path));
    let converted =
        convert(&file.text, &id).map_err(|why| CliError::Usage(format!("{}: {why}", file.name)))?;
    Ok(Draft { text: laid_out(native::yaml(&converted.rule)), left_out: converted.left_out })
}

/// The text as `fmt` leaves it: what is laid out means the same, or stays as it is.
fn laid_out(text: String) -> String {
    format::format(&text).unwrap_or(text)
}

fn language(paths: &[PathBuf], files: &[Source]) -> Language {
    let has = |keys: &[&str]| {
        let begins = |line: &str| keys.iter().any(|key| line.starts_with(key));
        files.iter().any(|file| file.text.lines().any(begins))
    };
    let is_yaml = |path: &PathBuf| path.extension().is_some_and(|ending| ending == "yaml" || ending == "yml");
    if has(&["AnalysisType:"]) {
        Language::Panther
    } else if has(&["detection:", "correlation:", "logsource:"]) || paths.iter().any(|path| path.is_dir()) {
        Language::Sigma
    } else if paths.iter().any(is_yaml) {
        Language::Panther
    } else {
        Language::Eql
    }
}

fn id_of(path: &Path) -> String {
    let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let id = native::id(&stem);
    if id.is_empty() || id == "-" { "converted".to_owned() } else { id }
}
