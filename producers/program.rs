//! How the programs of this crate begin and end: options, words on standard error, exit codes.

use std::fmt::Display;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use clap::Parser;
use tracing_subscriber::EnvFilter;

/// Something is not where it belongs.
pub const EXIT_INCOMPLETE: u8 = 1;
/// The options are wrong, or there is no server.
pub const EXIT_USAGE: u8 = 3;

/// Reads the options and begins to log, as `RUST_LOG` says, or else as `log` does.
///
/// # Errors
/// When the program is to end here: the options are wrong, or ask for no more than help. What there is to say is said.
pub fn begin<A: Parser>(log: &str) -> Result<A, ExitCode> {
    let arguments = A::try_parse().map_err(|error| {
        // Help and version are no errors and go to standard output.
        let code = if error.use_stderr() { EXIT_USAGE } else { 0 };
        let _ = error.print();
        ExitCode::from(code)
    })?;
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(log));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .init();
    Ok(arguments)
}

/// Says what went wrong, with what stands behind it, and gives the exit code for it.
pub fn end(error: &dyn Display, code: u8) -> ExitCode {
    // Nobody may be there to read it.
    let _ = writeln!(std::io::stderr(), "error: {error:#}");
    ExitCode::from(code)
}
