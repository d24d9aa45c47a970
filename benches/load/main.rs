//! Every target of the project, measured on this machine and printed with its ratio.
//!
//! `make bench` runs everything, `make bench-quick` less of it, and
//! `cargo bench -p sightline-benches --bench load -- [--quick] [--only WORD]… [--json FILE] [--compare FILE]
//! [--lines PROGRAM]…` what is asked for. `--lines` runs a program and takes in the lines of the same shape it prints.

mod bus;
mod correlate;
mod detect;
mod drain;
mod events;
mod frames;
mod latency;
mod plot;
mod server;
mod sigma;
mod table;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use sightline_benches::report::{Line, Report, head};

/// What is asked for.
pub struct Asked {
    quick: bool,
    only: Vec<String>,
    json: Option<PathBuf>,
    compare: Option<PathBuf>,
    lines: Vec<String>,
    /// Where the plot goes.
    plot: Option<PathBuf>,
}

impl Asked {
    /// The smaller number where time is short.
    pub const fn sized<T: Copy>(&self, quick: T, whole: T) -> T {
        if self.quick { quick } else { whole }
    }

    fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == name)
    }
}

fn main() -> ExitCode {
    let asked = match arguments(std::env::args().skip(1)) {
        Ok(asked) => asked,
        Err(wrong) => {
            eprintln!(
                "{wrong}\nusage: [--quick] [--only WORD] [--json FILE] [--compare FILE] [--plot FILE] [--lines PROGRAM]"
            );
            return ExitCode::from(3);
        }
    };
    let mut report = Report::default();
    println!("{}", head());
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("threads can be had");
    type Part = fn(&Asked, &mut Report, &tokio::runtime::Runtime) -> Result<(), String>;
    let parts: [(&str, Part); 7] = [
        ("drain", drain::run),
        ("frames", frames::run),
        ("detect", detect::run),
        ("sigma", sigma::run),
        ("correlate", correlate::run),
        ("latency", latency::run),
        ("table", table::run),
    ];
    for (name, part) in parts {
        if asked.wants(name)
            && let Err(why) = part(&asked, &mut report, &runtime)
        {
            report.skip(name, &why);
        }
    }
    for program in &asked.lines {
        take_in(program, &mut report);
    }
    if let Some(path) = &asked.compare {
        match std::fs::read(path).map_err(|error| error.to_string()).and_then(|bytes| {
            serde_json::from_slice::<serde_json::Value>(&bytes).map_err(|error| error.to_string())
        }) {
            Ok(earlier) => report.compare(&earlier),
            Err(why) => eprintln!("cannot compare with {}: {why}", path.display()),
        }
    }
    if let Some(path) = &asked.json {
        let json = report.json(if asked.quick { "quick" } else { "whole" });
        if let Err(why) = std::fs::write(path, format!("{json:#}\n")) {
            eprintln!("cannot write {}: {why}", path.display());
        }
    }
    println!("\n{} short of their target", report.short());
    ExitCode::SUCCESS
}

/// Runs a program that prints lines like ours.
fn take_in(program: &str, report: &mut Report) {
    let run = Command::new("sh").args(["-c", program]).output();
    let text = match run {
        Ok(run) if run.status.success() => String::from_utf8_lossy(&run.stdout).into_owned(),
        Ok(run) => return report.skip(program, &format!("ended with {}", run.status)),
        Err(error) => return report.skip(program, &error.to_string()),
    };
    let lines: Vec<Line> = text.lines().filter_map(Line::parse).collect();
    if lines.is_empty() {
        report.skip(program, "printed no line of a report");
    }
    lines.into_iter().for_each(|line| report.add(line));
}

fn arguments(mut words: impl Iterator<Item = String>) -> Result<Asked, String> {
    let mut asked =
        Asked { quick: false, only: Vec::new(), json: None, compare: None, lines: Vec::new(), plot: None };
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| format!("{word} needs a value"));
        match word.as_str() {
            "--quick" => asked.quick = true,
            "--only" => asked.only.push(value()?),
            "--json" => asked.json = Some(from_root(&value()?)),
            "--compare" => asked.compare = Some(from_root(&value()?)),
            "--plot" => asked.plot = Some(from_root(&value()?)),
            "--lines" => asked.lines.push(value()?),
            // Cargo says so to every bench.
            "--bench" => {}
            other => return Err(format!("{other:?} is not understood")),
        }
    }
    Ok(asked)
}

/// A path as it is meant: cargo runs a bench in its package's folder, and who asked for it stands in the project's.
fn from_root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// The middle one.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
