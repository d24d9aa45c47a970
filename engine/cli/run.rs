//! `sightline run`: the worker as a service.

use sightline_core::rule::Source;
use sightline_schemas::control::{RuleFile, RulesMessage};

use crate::api::Access;
use crate::cli::exit::{CliError, Exit};
use crate::cli::paint::Paint;
use crate::cli::rules;
use crate::cli::settings::Global;
use crate::config::Config;
use crate::service;

/// Runs the worker until it is told to stop.
///
/// # Errors
/// When the settings or the rules are wrong, or the worker cannot go on.
pub async fn run(global: &Global) -> Result<Exit, CliError> {
    let config = global.load_for_service()?.config;
    let api = Access::read(&config.api).map_err(|error| CliError::Usage(error.to_string()))?;
    // Before the bus is touched: wrong rules are the operator's to mend, and have an exit code of their own.
    rules::usable(&config.rule_paths(&[]), &config.engine.settings(), global.colors().stderr)?;
    service::run(&config, api.as_ref(), &|| read_rules(&config)).await?;
    Ok(Exit::Done)
}

/// The rules as they are on disk now, if they can be used. In the log they could not be taken back.
fn read_rules(config: &Config) -> anyhow::Result<RulesMessage> {
    let settings = config.engine.settings();
    // Into the log, which may be text for machines: no colours.
    match rules::usable(&config.rule_paths(&[]), &settings, Paint(false)) {
        Ok(judged) => {
            let file = |file: Source| RuleFile { name: file.name, text: file.text };
            Ok(RulesMessage {
                files: judged.files.into_iter().map(file).collect(),
                settings,
                ..RulesMessage::default()
            })
        }
        Err(error) => Err(error.into()),
    }
}
