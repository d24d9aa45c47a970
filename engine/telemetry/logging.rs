//! Log lines on stderr: text on a terminal, JSON otherwise.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

use crate::config::{LogConfig, LogFormat};

/// The variable that filters more finely than `log.level`: `SIGHTLINE_LOG=info,sightline::worker=debug`.
pub const ENV_FILTER: &str = "SIGHTLINE_LOG";

/// Why logging could not begin.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter cannot be read.
    #[error(
        "{ENV_FILTER}={text:?} is no log filter: expected a level, or target=level pairs separated by commas"
    )]
    Filter {
        /// What was given.
        text: String,
        /// What the filter's own reader said.
        source: ParseError,
    },
    /// Something else logs already.
    #[error("logging was begun twice in this process")]
    Twice,
}

/// Begins to log, for the rest of the process. Call it once.
///
/// # Errors
/// When `SIGHTLINE_LOG` cannot be read, or logging has begun already.
pub fn init(config: &LogConfig) -> Result<(), LogError> {
    let filter = filter(&config.level, std::env::var(ENV_FILTER).ok().as_deref())?;
    let terminal = std::io::stderr().is_terminal();
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let begun = if json(config.format, terminal) {
        lines.json().flatten_event(true).with_current_span(false).try_init()
    } else {
        // https://no-color.org: any value but the empty one.
        let color = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        lines.with_ansi(color).try_init()
    };
    begun.map_err(|_| LogError::Twice)
}

fn json(format: LogFormat, terminal: bool) -> bool {
    match format {
        LogFormat::Json => true,
        LogFormat::Text => false,
        LogFormat::Auto => !terminal,
    }
}

/// The filter: `given` if there is one, otherwise `level`. The bus client tells of every reconnect and ping on its own;
/// below a warning it is only heard where somebody names it.
fn filter(level: &str, given: Option<&str>) -> Result<EnvFilter, LogError> {
    let given = given.map(str::trim).filter(|text| !text.is_empty());
    let client = if level == "error" && given.is_none() { "error" } else { "warn" };
    // Of two directives for one target the later one holds.
    EnvFilter::builder()
        .parse(format!("async_nats={client},{}", given.unwrap_or(level)))
        .map_err(|source| LogError::Filter { text: given.unwrap_or(level).to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(level: &str, given: Option<&str>, expected: &[&str]) {
        let text = filter(level, given).expect("valid").to_string();
        let mut directives: Vec<&str> = text.split(',').collect();
        directives.sort_unstable();
        assert_eq!(directives, expected);
    }

    #[test]
    fn the_bus_client_is_quiet_unless_it_is_named() {
        check("info", None, &["async_nats=warn", "info"]);
        check("debug", Some(" "), &["async_nats=warn", "debug"]);
        check("error", None, &["async_nats=error", "error"]);
        check("info", Some("debug"), &["async_nats=warn", "debug"]);
        check("info", Some("warn,async_nats=trace"), &["async_nats=trace", "warn"]);
    }

    #[test]
    fn a_wrong_filter_is_told_with_its_text() {
        let told = filter("info", Some("sightline=loud")).expect_err("no level").to_string();
        assert!(told.contains("SIGHTLINE_LOG=\"sightline=loud\""), "{told}");
    }

    #[test]
    fn auto_is_text_on_a_terminal_only() {
        assert!(!json(LogFormat::Auto, true) && json(LogFormat::Auto, false));
        assert!(json(LogFormat::Json, true) && !json(LogFormat::Text, false));
    }
}
