//! The options that all commands share, and the settings that they come to.

use std::path::PathBuf;

use crate::cli::exit::CliError;
use crate::cli::paint::{Colors, When};
use crate::config::{Config, Loaded, LogConfig, LogFormat, Origin, environment};
use crate::telemetry::logging;

/// Options of every command.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// Settings file (YAML); `sightline config template` prints one
    #[arg(long, global = true, value_name = "FILE", env = "SIGHTLINE_CONFIG", hide_env_values = true)]
    config: Option<PathBuf>,
    /// Any setting, such as `--set worker.partitions=4`; may be given more than once
    #[arg(long = "set", global = true, value_name = "PATH=VALUE", value_parser = assignment)]
    set: Vec<(String, String)>,
    /// The NATS server; as `--set nats.url=URL`
    #[arg(long, global = true, value_name = "URL")]
    nats_url: Option<String>,
    /// Least level to log: error, warn, info, debug or trace; as `--set log.level=LEVEL`
    #[arg(long, global = true, value_name = "LEVEL")]
    log_level: Option<String>,
    /// Colours
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    color: When,
}

fn assignment(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((path, value)) if !path.trim().is_empty() => Ok((path.trim().to_owned(), value.to_owned())),
        _ => Err("expected PATH=VALUE, such as nats.url=nats://127.0.0.1:4222".to_owned()),
    }
}

impl Global {
    /// Which outputs take colours.
    pub fn colors(&self) -> Colors {
        Colors::of(self.color)
    }

    /// The settings: defaults, file, environment, flags.
    ///
    /// # Errors
    /// With everything that is wrong in any of them.
    pub fn load(&self) -> Result<Loaded, CliError> {
        let mut flags = self.set.clone();
        let shorthands = [("nats.url", &self.nats_url), ("log.level", &self.log_level)];
        for (path, value) in shorthands {
            flags.extend(value.iter().map(|value| (path.to_owned(), value.clone())));
        }
        Ok(Config::load(self.config.as_deref(), environment(), &flags)?)
    }

    /// The settings, and logging begun as they say, for a service.
    ///
    /// # Errors
    /// As [`Global::load`], and when the log filter cannot be read.
    pub fn load_for_service(&self) -> Result<Loaded, CliError> {
        let loaded = self.load()?;
        begin_log(&loaded.config.log)?;
        Ok(loaded)
    }

    /// The settings, and logging begun for a command that a person waits for: warnings, as text, where nobody asked for
    /// something else.
    ///
    /// # Errors
    /// As [`Global::load_for_service`].
    pub fn load_for_person(&self) -> Result<Loaded, CliError> {
        let loaded = self.load()?;
        let asked =
            |path| loaded.origins.iter().any(|shown| shown.path == path && shown.origin != Origin::Default);
        let mut log = loaded.config.log.clone();
        if !asked("log.level") {
            log.level = "warn".to_owned();
        }
        if log.format == LogFormat::Auto {
            log.format = LogFormat::Text;
        }
        begin_log(&log)?;
        Ok(loaded)
    }
}

fn begin_log(config: &LogConfig) -> Result<(), CliError> {
    logging::init(config).map_err(|error| CliError::Usage(error.to_string()))
}
