//! The command line of `sightline-replay`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use sightline_producers::Connect;
use sightline_schemas::wire::FRAME_EVENTS_MAX;

/// Publish recorded events: NDJSON files, plain or compressed with gzip or zstd.
///
/// Each line goes to `events.<tenant>.<source>` as it is; the source is read from its `source` member. A line that names
/// none, or is no JSON object, goes to `events.<tenant>.unknown`, where the engine decides about it. Ends with 0 when all
/// lines are in the log, 1 when some are not, 3 when the options are wrong or no server takes the connection.
#[derive(Parser)]
#[command(name = "sightline-replay", version)]
pub struct Arguments {
    /// Files to read in this order; `-` is standard input.
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Whose events these are.
    #[arg(long, default_value = "default", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub tenant: String,
    /// Publish at most so many events a second, such as `500/s` [default: as fast as the server takes them].
    #[arg(long, value_name = "N/s", value_parser = parse_rate, conflicts_with = "speed")]
    pub rate: Option<f64>,
    /// Publish at the pace at which they happened, so many times as fast: 1 is as it was, 60 a minute in a second.
    #[arg(long, value_name = "X", value_parser = parse_speed)]
    pub speed: Option<f64>,
    /// Pack so many lines of one source into one message. Faster; a source waits until its frame is full.
    #[arg(long, value_name = "N", default_value_t = 1, conflicts_with = "speed",
          value_parser = clap::value_parser!(u32).range(1..=FRAME_EVENTS_MAX as i64))]
    pub frame: u32,
    /// Leave it to the engine alone to drop what is published twice: less work for the server, a larger log.
    #[arg(long)]
    pub no_msg_id: bool,
    /// Give up when the server takes nothing for this long.
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = humantime::parse_duration)]
    pub patience: Duration,
    /// Write the subjects to standard output, with how many events each would get, and publish nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Where the server is and who we are.
    #[command(flatten)]
    pub connect: Connect,
}

fn parse_rate(text: &str) -> Result<f64, String> {
    positive(text.strip_suffix("/s").unwrap_or(text))
        .ok_or_else(|| "expected events a second, such as 500/s".to_owned())
}

fn parse_speed(text: &str) -> Result<f64, String> {
    positive(text.strip_suffix('x').unwrap_or(text))
        .ok_or_else(|| "expected a factor, such as 10 or 0.5".to_owned())
}

fn positive(text: &str) -> Option<f64> {
    text.parse().ok().filter(|number: &f64| number.is_finite() && *number > 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_has_no_contradictions() {
        <Arguments as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn rates_and_speeds_are_positive_numbers() {
        assert_eq!(parse_rate("500/s"), Ok(500.0));
        assert_eq!(parse_rate("0.5"), Ok(0.5));
        assert_eq!(parse_speed("10x"), Ok(10.0));
        for text in ["0", "-1", "inf", "NaN", "fast", ""] {
            assert!(parse_rate(text).is_err() && parse_speed(text).is_err(), "{text:?}");
        }
    }
}
