//! Settings: one YAML file, every setting with a default, overridable by environment and flags.
//!
//! [`settings_table`] declares every setting once, with kind, default and comment. All else is derived from it: the
//! loader (`load`), what `config show` and `config template` print (`show`), and the environment variables' names.
//! [`Config`] is what the rest of the engine reads. Later layers win: default, file, `NATS_…`, `SIGHTLINE_…`, flag.

pub mod settings_table;

mod errors;
mod load;
mod show;
mod sources;
mod typed;
mod value;
mod yaml;

#[cfg(test)]
mod tests;

pub use errors::{ConfigError, ConfigErrors, Origin};
pub use load::{Loaded, environment};
pub use show::{Origins, Shown, template};
pub use typed::{
    ApiConfig, Config, EngineConfig, LogConfig, LogFormat, NatsConfig, RulesConfig, StateConfig,
    StreamsConfig, WorkerConfig,
};
