//! The command line of `sightline-replay`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use sightline_producers::Connect;
use sightline_schemas::EventTime;
use sightline_schemas::subject::EVENTS_STREAM;
use sightline_schemas::wire::FRAME_EVENTS_MAX;

/// Publish recorded events: NDJSON files, plain or compressed with gzip or zstd, or a stretch of a stream.
///
/// Lines of a file go to `events.<tenant>.<source>` as they are; the source is read from the `source` member. A line that
/// names none, or is no JSON object, goes to `events.<tenant>.unknown`, where the engine decides about it.
///
/// Events of a stream go, sorted by the time at which they happened, to `replay.<tenant>.<source>`, where no worker takes
/// them for something new, and an end marker with their number to `replay._sightline.end`.
///
/// Ends with 0 when all events are published, 1 when some are not, 3 when the options are wrong or no server takes the
/// connection.
#[derive(Parser)]
#[command(name = "sightline-replay", version)]
pub struct Arguments {
    /// Files to read in this order; `-` is standard input.
    #[arg(required_unless_present = "stream", conflicts_with = "stream", value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Replay events of this stream instead of files.
    #[arg(long, value_name = "STREAM", num_args = 0..=1, default_missing_value = EVENTS_STREAM, help_heading = "What")]
    pub stream: Option<String>,
    /// Where that stream is, if not where the events go.
    #[arg(long, value_name = "URL", requires = "stream", conflicts_with = "files", help_heading = "What")]
    pub stream_url: Option<String>,
    /// Only events that happened at this time or later.
    #[arg(long, value_name = "TIME", value_parser = parse_time, help_heading = "What")]
    pub since: Option<EventTime>,
    /// Only events that happened at this time or earlier.
    #[arg(long, value_name = "TIME", value_parser = parse_time, help_heading = "What")]
    pub until: Option<EventTime>,
    /// Only events of this source; may be given several times.
    #[arg(long, value_name = "SOURCE", help_heading = "What")]
    pub source: Vec<String>,
    /// Only events in which this host, user, address, hash or other value stands, in any case; may be given several times.
    #[arg(long, value_name = "VALUE", help_heading = "What")]
    pub entity: Vec<String>,
    /// Sort the events of files by the time at which they happened. They are held in memory for that.
    #[arg(long, conflicts_with = "stream", help_heading = "What")]
    pub sort: bool,
    /// Whose events these are. Events of a stream keep their own.
    #[arg(long, default_value = "default", conflicts_with = "stream",
          value_parser = clap::builder::NonEmptyStringValueParser::new(), help_heading = "Where")]
    pub tenant: String,
    /// `events`: into the log, as if they happened now. `replay`: to `replay.>`, where no worker listens
    /// [default: events for files, replay for a stream].
    #[arg(long, value_name = "WHERE", help_heading = "Where")]
    pub to: Option<Onto>,
    /// Publish at most so many events a second, such as `500/s` [default: as fast as the server takes them].
    #[arg(long, value_name = "N/s", value_parser = parse_rate, conflicts_with = "speed", help_heading = "Pace")]
    pub rate: Option<f64>,
    /// Publish at the pace at which they happened, so many times as fast: 1 is as it was, 60 a minute in a second, 0 does
    /// not wait.
    #[arg(long, value_name = "X", value_parser = parse_speed, help_heading = "Pace")]
    pub speed: Option<f64>,
    /// With `--speed`: wait no longer than this between two events.
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = humantime::parse_duration, help_heading = "Pace")]
    pub gap_max: Duration,
    /// Pack so many events of one source into one message. Faster; a source waits until its frame is full.
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

/// Where replayed events go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Onto {
    /// `events.<tenant>.<source>`, the input log.
    Events,
    /// `replay.<tenant>.<source>`, for whoever subscribes.
    Replay,
}

impl Arguments {
    /// Where the events go.
    pub fn onto(&self) -> Onto {
        self.to.unwrap_or(if self.stream.is_some() { Onto::Replay } else { Onto::Events })
    }
}

fn parse_time(text: &str) -> Result<EventTime, String> {
    EventTime::parse(text).map_err(|error| error.to_string())
}

fn parse_rate(text: &str) -> Result<f64, String> {
    finite(text.strip_suffix("/s").unwrap_or(text))
        .filter(|rate| *rate > 0.0)
        .ok_or_else(|| "expected events a second, such as 500/s".to_owned())
}

fn parse_speed(text: &str) -> Result<f64, String> {
    finite(text.strip_suffix('x').unwrap_or(text))
        .ok_or_else(|| "expected a factor, such as 10 or 0.5, or 0 for no waiting".to_owned())
}

fn finite(text: &str) -> Option<f64> {
    text.parse().ok().filter(|number: &f64| number.is_finite() && *number >= 0.0)
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
        assert_eq!(parse_speed("0"), Ok(0.0));
        assert!(parse_rate("0").is_err());
        for text in ["-1", "inf", "NaN", "fast", ""] {
            assert!(parse_rate(text).is_err() && parse_speed(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_stream_goes_where_no_worker_listens_unless_that_is_asked_for() {
        let onto = |words: &[&str]| {
            let words = [&["sightline-replay"][..], words].concat();
            Arguments::try_parse_from(words).expect("options").onto()
        };
        assert_eq!(onto(&["a.ndjson"]), Onto::Events);
        assert_eq!(onto(&["--stream"]), Onto::Replay);
        assert_eq!(onto(&["--stream", "OTHER", "--to", "events"]), Onto::Events);
        for wrong in [&["--stream", "--", "a.ndjson"][..], &[], &["--stream-url", "nats://h", "a.ndjson"]] {
            assert!(
                Arguments::try_parse_from([&["sightline-replay"][..], wrong].concat()).is_err(),
                "{wrong:?}"
            );
        }
    }
}
