//! `sightline tail`: incidents on the bus, as they come.

use std::io::Write;
use std::time::Duration;

use sightline_schemas::incident::CoverageGap;
use sightline_schemas::subject::encode_token;
use sightline_schemas::{Change, IncidentMessage, Severity};

use crate::bus::LogMessage;
use crate::bus::jetstream::{FeedStart, IncidentFeed};
use crate::cli::exit::{CliError, Exit};
use crate::cli::paint::Paint;
use crate::cli::settings::Global;
use crate::cli::{bus, cell, timeline};

/// Which incidents, from when on, and how to print them.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only those of this tenant
    #[arg(long)]
    tenant: Option<String>,
    /// Only those at least this bad: info, low, medium, high or critical
    #[arg(long, default_value = "info", value_parser = severity)]
    severity: Severity,
    /// Only those of this rule
    #[arg(long, value_name = "ID")]
    rule: Option<String>,
    /// Where to begin: `all` that are kept, `new` ones, or those of the last `1h 30m`
    #[arg(long, default_value = "new", value_name = "all|new|DURATION", value_parser = since)]
    since: FeedStart,
    /// text: for people; json: every message as it is, one a line
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Text,
    Json,
}

fn severity(text: &str) -> Result<Severity, String> {
    let known = Severity::ALL.into_iter().find(|severity| severity.as_str() == text);
    known.ok_or_else(|| "expected info, low, medium, high or critical".to_owned())
}

fn since(text: &str) -> Result<FeedStart, String> {
    match text {
        "all" => Ok(FeedStart::All),
        "new" => Ok(FeedStart::New),
        text => humantime::parse_duration(text)
            .map(FeedStart::Within)
            .map_err(|_| "expected `all`, `new`, or a duration such as 1h 30m".to_owned()),
    }
}

impl Args {
    /// The subjects to ask the server for. What it cannot tell apart by subject, which is "at least this bad", is left to
    /// [`Args::wants`].
    fn filter(&self) -> String {
        let tenant = self.tenant.as_deref().map(encode_token);
        match (tenant, self.rule.as_deref().map(encode_token)) {
            (None, None) => "incidents.>".to_owned(),
            (Some(tenant), None) => format!("incidents.{tenant}.>"),
            (tenant, Some(rule)) => format!("incidents.{}.*.{rule}", tenant.as_deref().unwrap_or("*")),
        }
    }

    fn wants(&self, severity: Severity) -> bool {
        severity >= self.severity
    }
}

/// Prints incidents until it is told to stop.
///
/// # Errors
/// When the bus does not answer at first, or stdout is closed.
pub async fn run(global: &Global, args: &Args) -> Result<Exit, CliError> {
    let config = global.load_for_person()?.config;
    let paint = global.colors().stdout;
    let connection = bus::connected(&config.nats).await?;
    let mut feed =
        IncidentFeed::open(&connection, &config.streams.incidents, &args.filter(), args.since).await?;
    let interrupted = tokio::signal::ctrl_c();
    tokio::pin!(interrupted);
    loop {
        // Long, as nothing is done when it is over.
        let next = tokio::select! {
            next = feed.next(Duration::from_secs(60)) => next?,
            _ = &mut interrupted => return Ok(Exit::Done),
        };
        if let Some(message) = next {
            print(&message, args, paint)?;
        }
    }
}

fn print(message: &LogMessage, args: &Args, paint: Paint) -> Result<(), CliError> {
    let Ok(incident) = serde_json::from_slice::<IncidentMessage>(&message.body) else {
        return print_other(message, args, paint);
    };
    if !args.wants(incident.incident.severity) {
        return Ok(());
    }
    let mut out = std::io::stdout().lock();
    match args.format {
        Format::Json => {
            out.write_all(&message.body)?;
            out.write_all(b"\n")?;
        }
        Format::Text if incident.change == Change::Opened => {
            writeln!(out, "{}", timeline::whole(&incident.incident, paint))?;
        }
        Format::Text => writeln!(out, "{}\n", timeline::line(&incident, paint))?,
    }
    Ok(out.flush()?)
}

/// What is no incident: a stretch of input that was never seen, which is worth knowing at any severity.
fn print_other(message: &LogMessage, args: &Args, paint: Paint) -> Result<(), CliError> {
    let Ok(gap) = serde_json::from_slice::<CoverageGap>(&message.body) else {
        tracing::warn!(seq = message.seq, subject = message.subject.as_deref(), "no incident message");
        return Ok(());
    };
    let mut out = std::io::stdout().lock();
    match args.format {
        Format::Json => {
            out.write_all(&message.body)?;
            out.write_all(b"\n")?;
        }
        Format::Text => {
            let (first, last, reason) = (gap.first_missing, gap.last_missing, cell::shown(&gap.reason, 100));
            writeln!(out, "{} input {first} to {last} was never seen: {reason}\n", paint.bad(" GAP "))?;
        }
    }
    Ok(out.flush()?)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn check(line: &[&str], filter: &str) {
        let line = Line::try_parse_from([&["tail"], line].concat()).expect("valid");
        assert_eq!(line.args.filter(), filter);
    }

    #[test]
    fn the_server_is_asked_for_what_its_subjects_tell() {
        check(&[], "incidents.>");
        check(&["--tenant", "a.b"], "incidents.a=2Eb.>");
        check(&["--rule", "r"], "incidents.*.*.r");
        check(&["--tenant", "t", "--rule", "r", "--severity", "high"], "incidents.t.*.r");
    }
}
