//! The command line of `sightline-generate`.

use std::path::PathBuf;

use clap::Parser;
use sightline_producers::Connect;
use sightline_schemas::EventTime;

use crate::attacks::ATTACKS;

/// Make events for load and training: what happens on any day, with attacks in it that the shipped rules find.
///
/// The same options give the same bytes. Events are NDJSON, on standard output or in a file, for `sightline backtest` and
/// `sightline-replay`; or they are published at once. Ends with 0 when all are written, 1 when some are not, 3 when the
/// options are wrong or no server takes the connection.
#[derive(Parser)]
#[command(name = "sightline-generate", version)]
pub struct Arguments {
    /// Events of the background.
    #[arg(long, value_name = "N", default_value_t = 10_000, help_heading = "What")]
    pub count: u64,
    /// What decides about everything that is left to chance.
    #[arg(long, value_name = "N", default_value_t = 1, help_heading = "What")]
    pub seed: u64,
    /// Hosts that the background happens on.
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u64).range(1..), help_heading = "What")]
    pub hosts: u64,
    /// Attacks to play, of those that `--list` shows; `none` for none [default: all].
    #[arg(long, value_name = "NAME", value_delimiter = ',', value_parser = known_attack, help_heading = "What")]
    pub attack: Vec<String>,
    /// How often each attack is played, against other victims each time.
    #[arg(long, value_name = "N", default_value_t = 1, help_heading = "What")]
    pub rounds: u64,
    /// When the first event happened; `now` is allowed [default: 2026-01-01T00:00:00Z, and now with --publish].
    #[arg(long, value_name = "TIME", value_parser = known_time, help_heading = "What")]
    pub start: Option<Start>,
    /// Background events in a second of event time.
    #[arg(long, value_name = "N/s", default_value = "100/s", value_parser = known_rate, help_heading = "What")]
    pub rate: f64,
    /// Whose events these are.
    #[arg(long, default_value = "default", help_heading = "What")]
    pub tenant: String,
    /// List the attacks and the rules that fire on them, and end.
    #[arg(long, help_heading = "What")]
    pub list: bool,
    /// Where to write; `-` is standard output. A name that ends in `.zst` is compressed.
    #[arg(long, short, value_name = "FILE", default_value = "-", help_heading = "Where")]
    pub output: PathBuf,
    /// Write there, as JSON, what was played: attack, rules, first and last event.
    #[arg(long, value_name = "FILE", help_heading = "Where")]
    pub truth: Option<PathBuf>,
    /// Publish the events instead of writing them.
    #[arg(long, conflicts_with = "output", help_heading = "Where")]
    pub publish: bool,
    /// With --publish: at the pace of event time. Else as fast as the server takes them.
    #[arg(long, requires = "publish", help_heading = "Where")]
    pub live: bool,
    /// Where the server is and who we are.
    #[command(flatten)]
    pub connect: Connect,
}

/// When the first event happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// When the program starts.
    Now,
    /// At that time.
    At(EventTime),
}

fn known_attack(name: &str) -> Result<String, String> {
    let known = name == "none" || ATTACKS.iter().any(|attack| attack.name == name);
    let names: Vec<&str> = ATTACKS.iter().map(|attack| attack.name).collect();
    if known { Ok(name.to_owned()) } else { Err(format!("expected none, or one of {}", names.join(", "))) }
}

fn known_time(text: &str) -> Result<Start, String> {
    if text == "now" {
        return Ok(Start::Now);
    }
    EventTime::parse(text).map(Start::At).map_err(|error| error.to_string())
}

fn known_rate(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix("/s").unwrap_or(text).parse().ok();
    number
        .filter(|rate: &f64| rate.is_finite() && *rate > 0.0)
        .ok_or_else(|| "expected events a second, such as 500/s".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_has_no_contradictions() {
        <Arguments as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn wrong_words_are_answered_with_right_ones() {
        assert!(known_attack("drop-and-walk").expect_err("no such attack").contains("drop-and-run"));
        assert_eq!(known_time("now"), Ok(Start::Now));
        assert!(known_time("soon").is_err() && known_rate("0").is_err());
    }
}
