//! The command around the backtest: what is printed, and how it ends.

use std::io::{BufWriter, Stdout, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context;
use sightline_schemas::{Change, IncidentMessage};

use super::compared::{self, Compared};
use super::{Backtest, Listener, Summary, follow};
use crate::bus::Output;
use crate::cli::exit::{CliError, Exit};
use crate::cli::input::Input;
use crate::cli::paint::{Colors, Paint};
use crate::cli::settings::Global;
use crate::cli::truth::{self, Truth};
use crate::cli::{cell, rules, timeline};

/// Dead letters that are told one by one: a file of the wrong kind is nothing but dead letters.
const DEAD_LETTERS_TOLD: u64 = 20;

/// What to run through what.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Event files (NDJSON, also as gzip or zstd), `-` for standard input
    #[arg(value_name = "EVENTS", required_unless_present_any = ["events", "from_stream"])]
    files: Vec<String>,
    /// As EVENTS
    #[arg(long, value_name = "FILE", conflicts_with = "files")]
    events: Vec<String>,
    /// Instead of files: what the server keeps of the input log, which is only read. Rules in it are left out
    #[arg(long)]
    from_stream: bool,
    /// A rule file, or a folder of them; may be given more than once, and is `rules.paths` of the settings if it is not
    #[arg(long, value_name = "PATH")]
    rules: Vec<PathBuf>,
    /// Two files or folders of rules: what the second finds that the first does not, and the other way round
    #[arg(long, value_names = ["OLD", "NEW"], num_args = 2, conflicts_with_all = ["rules", "truth", "strict"])]
    compare: Option<Vec<PathBuf>>,
    /// With --compare: end with 1 where anything is gained, lost or changed
    #[arg(long, requires = "compare")]
    fail_on_change: bool,
    /// ndjson: every incident message (of a comparison, one object); text: incidents for people, as they open. A
    /// comparison is text unless this says otherwise
    #[arg(long, value_name = "FORMAT")]
    format: Option<Format>,
    /// End with 1 where a line is no event
    #[arg(long)]
    strict: bool,
    /// Compare what is found with what this file says is there; end with 1 where they differ
    #[arg(long, value_name = "FILE")]
    truth: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Ndjson,
    Text,
}

/// Runs a backtest and says what it came to.
///
/// # Errors
/// When settings or rules are wrong, or a file cannot be read.
pub async fn command(global: &Global, args: &Args) -> Result<Exit, CliError> {
    let config = global.load_for_person()?.config;
    let colors = global.colors();
    let files: Vec<String> = args.files.iter().chain(&args.events).cloned().collect();
    let events = Input::of(&files, args.from_stream, &config)?;
    if let Some([old, new]) = args.compare.as_deref() {
        let (old, new, settings) = (old.clone(), new.clone(), &config.engine.settings());
        let what = Compared { old, new, events: &events, settings, batch: config.worker.batch_messages };
        return compare(what, args, colors).await;
    }
    let backtest = Backtest {
        rules: config.rule_paths(&args.rules),
        events,
        settings: config.engine.settings(),
        partitions: config.worker.partitions,
        batch: config.worker.batch_messages,
    };
    rules::usable(&backtest.rules, &backtest.settings, colors.stderr)?;
    let truth = args.truth.as_deref().map(Truth::read).transpose()?;
    let mut printer = Printer {
        out: BufWriter::new(std::io::stdout()),
        format: args.format.unwrap_or(Format::Ndjson),
        paint: colors.stdout,
        dead_letters: 0,
        kept: truth.is_some().then(Vec::new),
    };
    let began = Instant::now();
    let summary = follow(&backtest, &mut printer).await?;
    printer.out.flush()?;
    let mut words = std::io::stderr();
    writeln!(words, "{}", table(&summary, began.elapsed(), colors.stderr))?;
    let mut wrong = args.strict && summary.dead_letters > 0;
    if let (Some(truth), Some(messages)) = (truth, printer.kept) {
        let report = truth.compare(&messages);
        writeln!(words, "\n{}", truth::table(&report, colors.stderr))?;
        wrong |= !report.agrees();
    }
    Ok(if wrong { Exit::FoundWrong } else { Exit::Done })
}

async fn compare(what: Compared<'_>, args: &Args, colors: Colors) -> Result<Exit, CliError> {
    let (comparison, changes) = compared::run(what, colors).await?;
    let mut out = BufWriter::new(std::io::stdout());
    match args.format.unwrap_or(Format::Text) {
        Format::Ndjson => writeln!(out, "{}", compared::json(&comparison, &changes))?,
        Format::Text => compared::tell(&comparison, &changes, &mut out, colors.stdout)?,
    }
    out.flush()?;
    Ok(if args.fail_on_change && comparison.differs() { Exit::FoundWrong } else { Exit::Done })
}

struct Printer {
    out: BufWriter<Stdout>,
    format: Format,
    paint: Paint,
    dead_letters: u64,
    /// The messages, where they are compared at the end.
    kept: Option<Vec<IncidentMessage>>,
}

impl Listener for Printer {
    fn incident(&mut self, output: &Output) -> anyhow::Result<()> {
        if self.format == Format::Ndjson {
            self.out.write_all(&output.body)?;
            self.out.write_all(b"\n")?;
            if self.kept.is_none() {
                return Ok(());
            }
        }
        let message: IncidentMessage =
            serde_json::from_slice(&output.body).context("cannot read an incident")?;
        if self.format == Format::Text && message.change == Change::Opened {
            writeln!(self.out, "{}", timeline::whole(&message.incident, self.paint))?;
        }
        if let Some(kept) = &mut self.kept {
            kept.push(message);
        }
        Ok(())
    }

    fn dead_letter(&mut self, line: u64, why: &str) -> anyhow::Result<()> {
        self.dead_letters += 1;
        let mut words = std::io::stderr();
        if self.dead_letters <= DEAD_LETTERS_TOLD {
            writeln!(words, "line {line}: not taken: {}", cell::shown(why, 200))?;
        } else if self.dead_letters == DEAD_LETTERS_TOLD + 1 {
            writeln!(words, "…")?;
        }
        Ok(())
    }
}

fn table(summary: &Summary, took: Duration, paint: Paint) -> String {
    let seconds = took.as_secs_f64();
    let rate = summary.events as f64 / seconds.max(1e-6);
    let mut table = cell::table(&["backtest", ""], paint);
    let counts = [
        ("lines", summary.lines),
        ("events", summary.events),
        ("duplicates", summary.duplicates),
        ("late", summary.late),
        ("dead letters", summary.dead_letters),
        ("incidents opened", summary.opened),
        ("messages", summary.messages),
    ];
    for (name, count) in counts {
        let shown = match name {
            "dead letters" if count > 0 => paint.bad(&count.to_string()),
            _ => count.to_string(),
        };
        table.add_row([name.to_owned(), shown]);
    }
    table.add_row(["seconds".to_owned(), format!("{seconds:.3}")]);
    table.add_row(["events/s".to_owned(), format!("{rate:.0}")]);
    table.trim_fmt()
}
