//! `sightline incident`: what people decide about incidents, said through the log.

use std::io::Write;

use bytes::Bytes;
use sightline_schemas::control::IncidentCommand;
use sightline_schemas::subject::{HEADER_CONTENT_TYPE, incident_command};
use sightline_schemas::{IncidentId, Resolution};

use crate::bus::EventLog;
use crate::bus::jetstream::JetStreamEvents;
use crate::cli::bus;
use crate::cli::exit::{CliError, Exit};
use crate::cli::settings::Global;

/// What to do with an incident.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Set the status of an incident
    Set(SetArgs),
}

#[derive(Debug, clap::Args)]
struct SetArgs {
    /// The incident's id: 32 hexadecimal digits
    id: String,
    /// open, triaged, investigating, contained, resolved, dismissed or closed
    status: String,
    /// Whose incident it is
    #[arg(long, default_value = "default")]
    tenant: String,
    /// How it ended, with a terminal status: fixed, false_positive, duplicate, accepted, benign or unspecified
    #[arg(long)]
    resolution: Option<String>,
    /// Why
    #[arg(long)]
    reason: Option<String>,
    /// Who says so
    #[arg(long, env = "USER", hide_env_values = true, default_value = "unknown")]
    actor: String,
}

/// Puts a command for an incident into the log.
///
/// # Errors
/// When it makes no sense, or the bus does not take it.
pub async fn run(global: &Global, args: &Args) -> Result<Exit, CliError> {
    let Command::Set(args) = &args.command;
    let command = command(args)?;
    let config = global.load_for_person()?.config;
    let connection = bus::connected(&config.nats).await?;
    let mut log = JetStreamEvents::new(connection.clone(), &config.streams.events);
    let body = Bytes::from(serde_json::to_vec(&command).map_err(anyhow::Error::new)?);
    let headers = [(HEADER_CONTENT_TYPE, "application/json".to_owned())];
    let stored = log.append(&incident_command(&args.tenant), &headers, body).await;
    connection.close().await;
    let seq = stored?;
    let stream = &config.streams.events;
    writeln!(std::io::stdout(), "stored as {stream} {seq}: {} {}", command.incident, command.status)?;
    Ok(Exit::Done)
}

/// The command, if it can mean anything: the engine would refuse it too, but later and elsewhere.
fn command(args: &SetArgs) -> Result<IncidentCommand, CliError> {
    let incident = IncidentId::parse(&args.id).ok_or_else(|| {
        CliError::Usage(format!(
            "incident {:?}: expected 32 hexadecimal digits, as incidents state their id",
            args.id
        ))
    })?;
    let resolution = args.resolution.as_deref().map(resolution).transpose()?;
    let command = IncidentCommand {
        incident,
        status: args.status.clone(),
        resolution,
        actor: args.actor.clone(),
        reason: args.reason.clone(),
    };
    command.asked().map_err(CliError::Usage)?;
    Ok(command)
}

fn resolution(word: &str) -> Result<Resolution, CliError> {
    serde_json::from_value(serde_json::Value::from(word)).map_err(|_| {
        let known = "fixed, false_positive, duplicate, accepted, benign or unspecified";
        CliError::Usage(format!("resolution {word:?}: use {known}"))
    })
}
