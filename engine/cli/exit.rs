//! How a command ends.

use std::io::Write;
use std::process::ExitCode;

use crate::bus::BusError;
use crate::cli::paint::Paint;
use crate::config::ConfigErrors;

/// The exit codes: scripts decide by them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Done = 0,
    /// It was done, or could not be, and something is wrong.
    FoundWrong = 1,
    /// The rules cannot be used.
    WrongRules = 2,
    /// Configuration or arguments are wrong.
    WrongUsage = 3,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
    }
}

/// Why a command did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The rules are wrong; everything that is, rendered for people.
    #[error("{0}")]
    Rules(String),
    /// The settings are wrong.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    /// The arguments are wrong.
    #[error("{0}")]
    Usage(String),
    /// The world is.
    #[error(transparent)]
    Failed(#[from] anyhow::Error),
}

impl From<std::io::Error> for CliError {
    fn from(error: std::io::Error) -> Self {
        CliError::Failed(error.into())
    }
}

impl From<BusError> for CliError {
    fn from(error: BusError) -> Self {
        CliError::Failed(error.into())
    }
}

impl CliError {
    /// Says what is wrong, and gives the exit code.
    pub(super) fn tell(&self, paint: Paint) -> Exit {
        let (exit, text) = match self {
            // These begin with `error:` themselves, each of them.
            CliError::Rules(rendered) => (Exit::WrongRules, rendered.clone()),
            CliError::Config(errors) => (Exit::WrongUsage, errors.to_string()),
            CliError::Usage(text) => (Exit::WrongUsage, format!("{} {text}", paint.bad("error:"))),
            // Whoever reads has had enough, as in `sightline backtest … | head`.
            CliError::Failed(error) if is_broken_pipe(error) => return Exit::Done,
            CliError::Failed(error) => (Exit::FoundWrong, format!("{} {error:#}", paint.bad("error:"))),
        };
        // Where stderr is gone, the exit code still tells.
        let _ = writeln!(std::io::stderr(), "{text}");
        exit
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<std::io::Error>())
        .any(|cause| cause.kind() == std::io::ErrorKind::BrokenPipe)
}
