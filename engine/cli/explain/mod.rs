//! `sightline explain`: why did a rule fire, and why did it not?
//!
//! [`why`] tells an incident: key, evidence of each step, time line with its gaps, the rule. [`why_not`] tells how far a rule
//! came for a key, or what an event is to a rule. Both look at files, at what the server keeps, or ask a running worker
//! ([`ask`]). [`inquire`] runs events through the engine and looks on; the answers themselves are the core's.

mod ask;
mod inquire;
mod why;
mod why_not;

use std::path::PathBuf;
use std::sync::Arc;

use sightline_core::rule::{RuleSet, Source};
use sightline_schemas::IncidentId;
use sightline_schemas::subject::CONTROL_RULES;

use crate::bus::EventLog;
use crate::bus::jetstream::JetStreamEvents;
use crate::cli::exit::{CliError, Exit};
use crate::cli::settings::Global;
use crate::cli::{bus, rules};
use crate::config::Config;
use crate::worker::intake;
use crate::worker::machine::{compile, sources};

pub(crate) use inquire::{offset, why_missing};

/// What to explain, and where to look.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("what").required(true).args(["incident", "rule"]))]
#[command(group = clap::ArgGroup::new("where").args(["files", "from_stream", "worker"]))]
pub struct Args {
    /// Event files (NDJSON, also as gzip or zstd), `-` for standard input
    #[arg(value_name = "EVENTS")]
    files: Vec<String>,
    /// Why this incident is there: its id
    #[arg(long, value_name = "ID", value_parser = incident_id)]
    incident: Option<IncidentId>,
    /// Why this rule did not fire, for --key or for --event
    #[arg(long, value_name = "RULE", requires = "asked")]
    rule: Option<String>,
    /// A value of the key, or PART=VALUE; once for each part of the key
    #[arg(long, value_name = "VALUE", group = "asked", requires = "rule")]
    key: Vec<String>,
    /// An event, by its id or its place in the log: SEQ.INDEX, where a line of a file is a SEQ
    #[arg(long, value_name = "EVENT", group = "asked", requires = "rule", conflicts_with = "key")]
    event: Option<String>,
    /// Whose events
    #[arg(long, default_value = "default")]
    tenant: String,
    /// A rule file, or a folder of them; may be given more than once. Without it `rules.paths` of the settings, or with
    /// --from-stream the rules that the log has last
    #[arg(long, value_name = "PATH")]
    rules: Vec<PathBuf>,
    /// What the server keeps of the logs, which are only read
    #[arg(long)]
    from_stream: bool,
    /// A running worker, by the address of its API; `api.listen` of the settings where none is given
    #[arg(long, value_name = "URL", num_args = 0..=1, default_missing_value = "")]
    worker: Option<String>,
    /// With --worker: who vouches for the API's certificate (PEM), where it speaks TLS
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// With --worker: our certificate (PEM), where the API asks for one
    #[arg(long, value_name = "FILE", requires = "cert_key")]
    cert: Option<PathBuf>,
    /// With --worker: the key of our certificate (PEM)
    #[arg(long, value_name = "FILE", requires = "cert")]
    cert_key: Option<PathBuf>,
    /// text for people, json for programs
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Text,
    Json,
}

fn incident_id(text: &str) -> Result<IncidentId, String> {
    IncidentId::parse(text)
        .ok_or_else(|| "expected 32 hexadecimal digits, as incidents state their id".to_owned())
}

/// Explains.
///
/// # Errors
/// When the question makes no sense, what it is about is not there, or a file, server or worker does not answer.
pub async fn run(global: &Global, args: &Args) -> Result<Exit, CliError> {
    let config = global.load_for_person()?.config;
    match (args.incident, &args.rule) {
        (Some(id), _) => why::run(id, args, global, &config).await,
        (None, Some(rule)) => why_not::run(rule, args, global, &config).await,
        (None, None) => {
            Err(CliError::Usage("say --incident ID, or --rule RULE with --key or --event".to_owned()))
        }
    }
}

/// Rules to explain by.
struct Ruled {
    rules: Arc<RuleSet>,
    files: Vec<Source>,
}

impl Ruled {
    /// The rules that are named; without a name those of the log where it is asked for, or those of the settings.
    async fn of(args: &Args, global: &Global, config: &Config) -> Result<Self, CliError> {
        if args.from_stream && args.rules.is_empty() {
            return Ruled::of_log(config).await;
        }
        let paths = &config.rule_paths(&args.rules);
        let judged = rules::usable(paths, &config.engine.settings(), global.colors().stderr)?;
        match judged.verdict {
            Ok(checked) => Ok(Ruled { rules: Arc::new(checked.rules), files: judged.files }),
            Err(_) => unreachable!("usable rules have a good verdict"),
        }
    }

    async fn of_log(config: &Config) -> Result<Self, CliError> {
        let connection = bus::connected(&config.nats).await?;
        let mut log = JetStreamEvents::new(connection.clone(), &config.streams.events);
        let newest = log.last_on(CONTROL_RULES).await;
        connection.close().await;
        let help = "the log has no rules yet; name some with --rules";
        let message = newest?.ok_or_else(|| CliError::Usage(help.to_owned()))?;
        let read = intake::read_rules(&message).map_err(|reject| CliError::Usage(reject.detail))?;
        match compile(&read) {
            Ok(rules) => Ok(Ruled { rules: Arc::new(rules), files: sources(&read.files) }),
            Err(_) => {
                Err(CliError::Usage("the rules in the log cannot be used; name some with --rules".to_owned()))
            }
        }
    }
}
