//! `sightline rules`: rules in the log. [`publish`] puts them there, [`list`] tells which are in force, and since when.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, anyhow};
use serde_json::Value;
use sightline_core::rule::Source;
use sightline_schemas::control::{RuleFile, RulesMessage};

use crate::bus::jetstream::JetStreamEvents;
use crate::cli::exit::{CliError, Exit};
use crate::cli::settings::Global;
use crate::cli::{bus, cell, http, rules, state};
use crate::worker::announce::{Announced, announce};

/// What to do with rules in the log.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Put rules into the log: they take effect at their place in it, for every worker that reads it
    Publish(PublishArgs),
    /// Tell which rules are in force, and since which message
    List(ListArgs),
}

#[derive(Debug, clap::Args)]
struct PublishArgs {
    /// Rule files, and folders of them; `rules.paths` of the settings where there are none
    paths: Vec<PathBuf>,
    /// Run new and changed rules over what the log keeps before they take effect; as `--set rules.warm=true`
    #[arg(long)]
    warm: bool,
}

#[derive(Debug, clap::Args)]
struct ListArgs {
    /// The worker's API, such as http://127.0.0.1:9464; `api.listen` of the settings if not given
    #[arg(long, value_name = "URL")]
    api: Option<String>,
    #[command(flatten)]
    trust: state::Trust,
    /// text: a table; json: as the worker says it
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Text,
    Json,
}

/// Puts rules into the log, or tells which are in force.
///
/// # Errors
/// When the rules cannot be used, or the bus or the worker does not answer.
pub async fn run(global: &Global, args: &Args) -> Result<Exit, CliError> {
    match &args.command {
        Command::Publish(args) => publish(global, args).await,
        Command::List(args) => list(global, args).await,
    }
}

async fn publish(global: &Global, args: &PublishArgs) -> Result<Exit, CliError> {
    let config = global.load_for_person()?.config;
    let paths = &config.rule_paths(&args.paths);
    let settings = config.engine.settings();
    // Wrong rules never get into the log.
    let judged = rules::usable(paths, &settings, global.colors().stderr)?;
    let file = |file: Source| RuleFile { name: file.name, text: file.text };
    let files = judged.files.into_iter().map(file).collect();
    let message = RulesMessage { files, settings, ..RulesMessage::default() };
    let connection = bus::connected(&config.nats).await?;
    let mut log = JetStreamEvents::new(connection.clone(), &config.streams.events);
    let announced = announce(&mut log, &message, args.warm || config.rules.warm).await;
    connection.close().await;
    let stream = &config.streams.events;
    let mut out = std::io::stdout();
    match announced? {
        Announced::There => writeln!(out, "the log has these rules already")?,
        Announced::Stored { seq, warm_from: None } => writeln!(out, "stored as {stream} {seq}")?,
        Announced::Stored { seq, warm_from: Some(from) } => {
            writeln!(out, "stored as {stream} {seq}, to be warmed from {from} on")?;
        }
    }
    Ok(Exit::Done)
}

async fn list(global: &Global, args: &ListArgs) -> Result<Exit, CliError> {
    let target = state::target(&global.load()?.config.api, args.api.as_deref(), &args.trust)?;
    let answer = http::get(&target, "/state").await?;
    if answer.status != 200 {
        return Err(anyhow!("{}/state answers {}", target.url(), answer.status).into());
    }
    let state: Value = serde_json::from_slice(&answer.body)
        .with_context(|| format!("{}/state does not tell a state", target.url()))?;
    let mut out = std::io::stdout();
    if args.format == Format::Json {
        writeln!(out, "{}", state["rules"])?;
        return Ok(Exit::Done);
    }
    let mut table = cell::table(
        &["rule", "version", "since message", "keys", "active incidents"],
        global.colors().stdout,
    );
    for rule in state["rules"].as_array().into_iter().flatten() {
        let text = |name: &str| match &rule[name] {
            Value::String(text) => cell::shown(text, 60),
            Value::Null => "—".to_owned(),
            other => other.to_string(),
        };
        table.add_row([
            text("id"),
            text("version"),
            text("since_position"),
            text("keys"),
            text("incidents_active"),
        ]);
    }
    writeln!(out, "{}", table.trim_fmt())?;
    Ok(Exit::Done)
}
