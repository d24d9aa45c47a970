//! The command line of `sightline-bridge`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use sightline_producers::Connect;

/// Bring today's services, sensors and logs onto the bus: nothing lost, nothing doubled, everything counted.
///
/// Each bridge runs until it is stopped, or, with `--once`, until its source has nothing more to give. It ends with 0 when
/// all that was read is in the log, left out by its mapping, or kept with the reason why it is no event; with 1 when
/// something is not; with 3 when the options are wrong or, with `--once`, no server takes the connection.
#[derive(Parser)]
#[command(name = "sightline-bridge", version)]
pub struct Arguments {
    /// What to bring onto the bus.
    #[command(subcommand)]
    pub command: Command,
}

/// What to bring onto the bus.
#[derive(Subcommand)]
pub enum Command {
    /// iris: indicators and alerts, polled over HTTP
    Iris(Poll),
    /// sentry: findings, polled over HTTP
    Sentry(Poll),
    /// phishkit: reports, polled over HTTP
    Phishkit(Poll),
    /// packetwatch: anomalies joined to their metrics, polled over HTTP
    Packetwatch(Poll),
    /// SentraCore's sensors, which post to /api/v1/ingest/events
    Sentracore(Receive),
    /// OpenCTEM's agents, which post to /api/v1/telemetry-events
    Openctem(Receive),
    /// StreamTrace's sources, which post events, JSON, tables and syslog to /v1/ingest
    Streamtrace(Receive),
    /// ShieldAI's five services, which post to /api/v1/alerts/NAME
    Shieldai(Receive),
    /// Syslog over UDP and TCP
    Syslog(Syslog),
    /// Logs that people have: from files, standard input or a subject, by a mapping
    Logs(Logs),
    /// Look at mappings and check your own
    Mapping(MappingCommand),
}

/// What all bridges have in common.
#[derive(Args)]
pub struct Common {
    /// Whose events these are.
    #[arg(long, default_value = "default", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub tenant: String,
    /// Stop when the source has nothing more to give now; where others send, when nobody has for five seconds.
    #[arg(long)]
    pub once: bool,
    /// Write what would be sent to standard output, a JSON object a line; send nothing and remember nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Where to keep how far was read. One bridge, one directory.
    #[arg(long, env = "SIGHTLINE_BRIDGE_STATE", value_name = "DIR", default_value = "./bridge-state")]
    pub state: PathBuf,
    /// Where to answer /healthz and /metrics; loopback only.
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<SocketAddr>,
    /// Mappings of your own, which take the place of shipped ones of their name.
    #[arg(long, env = "SIGHTLINE_MAPPINGS", value_name = "DIR")]
    pub mappings: Option<PathBuf>,
    /// Where rejected records are kept that the bus does not take [default: rejects.ndjson in the state].
    #[arg(long, value_name = "FILE")]
    pub rejects: Option<PathBuf>,
    /// The spool that events wait in on disk.
    #[command(flatten)]
    pub spool: Spool,
    /// How long an event may be kept nowhere before a sender is told to try again; with `--once`, also how long is waited
    /// at the end for what is on disk.
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = humantime::parse_duration)]
    pub patience: Duration,
    /// A file with 64 hexadecimal digits, as `openssl rand -hex 32` writes: social security numbers leave hashed with them.
    #[arg(long, env = "SIGHTLINE_PERSONAL_KEY_FILE", value_name = "FILE")]
    pub personal_key_file: Option<PathBuf>,
    /// What telephone numbers without a country code begin with.
    #[arg(long, value_name = "CODE", default_value = "+1")]
    pub country_code: String,
    /// Where the server is and who we are.
    #[command(flatten)]
    pub connect: Connect,
}

/// Where events wait on disk, from when they are read until they are in the log.
#[derive(Args)]
pub struct Spool {
    /// Its directory [default: spool in the state].
    #[arg(long = "spool", env = "SIGHTLINE_BRIDGE_SPOOL", value_name = "DIR")]
    pub directory: Option<PathBuf>,
    /// Keep no events on disk: each counts as kept when the server has acknowledged it, and leaves in a message of its own.
    #[arg(long = "no-spool", conflicts_with_all = ["directory", "bytes_max", "survives", "frame"])]
    pub none: bool,
    /// Most bytes of the spool; when it is full, files and services wait, and who posts is told to try again.
    #[arg(long = "spool-size", value_name = "SIZE", default_value = "1GiB", value_parser = size)]
    pub bytes_max: u64,
    /// What an event in the spool survives.
    #[arg(long = "spool-survives", value_name = "WHAT", default_value = "process-death")]
    pub survives: Survival,
    /// Most events of one message [default: 512; 1 for services that are polled].
    #[arg(long, value_name = "EVENTS", value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub frame: Option<u32>,
}

/// What an event in the spool survives.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub enum Survival {
    /// The death of the process, also by `kill -9`: it is written
    ProcessDeath,
    /// A loss of power, too: it is flushed to the disk
    PowerLoss,
}

/// A service that is asked again and again.
#[derive(Args)]
pub struct Poll {
    /// Where the service is, such as http://127.0.0.1:3001.
    #[arg(long, value_name = "URL")]
    pub from: String,
    /// Pause between two rounds.
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = humantime::parse_duration)]
    pub every: Duration,
    /// How long the service may take for one answer.
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = humantime::parse_duration)]
    pub timeout: Duration,
    /// A file with the token that the service asks for (`Authorization: Bearer …`).
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Certificate authority of the service (PEM), beside those of the system.
    #[arg(long, value_name = "FILE")]
    pub source_ca: Option<PathBuf>,
    /// What all bridges have in common.
    #[command(flatten)]
    pub common: Common,
}

/// An address that others post to.
#[derive(Args)]
pub struct Receive {
    /// Where to listen. Another address than loopback needs TLS, and keys or `--tls-client-ca`.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8088")]
    pub bind: SocketAddr,
    /// A file with the keys that senders may use, one a line; lines that begin with # are comments.
    #[arg(long, value_name = "FILE")]
    pub api_keys: Option<PathBuf>,
    /// Our certificate and what leads to it (PEM): senders speak TLS then.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// The key of our certificate (PEM).
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// Certificate authority of senders (PEM): whoever has no certificate of it is not talked to.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_client_ca: Option<PathBuf>,
    /// A proxy with TLS stands before this address: speak plain HTTP on it, also where other machines reach it.
    #[arg(long, conflicts_with = "tls_cert")]
    pub behind_proxy: bool,
    /// How long a sender may take for the head of a request, and again for its body.
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = humantime::parse_duration)]
    pub request_timeout: Duration,
    /// Most connections at once; further ones wait.
    #[arg(long, value_name = "COUNT", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub connections_max: u32,
    /// What all bridges have in common.
    #[command(flatten)]
    pub common: Common,
}

/// Where syslog comes in.
#[derive(Args)]
#[group(id = "way", required = true, multiple = true, args = ["udp", "tcp"])]
pub struct Syslog {
    /// Datagrams, a message each.
    #[arg(long, value_name = "ADDRESS")]
    pub udp: Option<SocketAddr>,
    /// Connections: a message a line, or counted in octets (RFC 6587).
    #[arg(long, value_name = "ADDRESS")]
    pub tcp: Option<SocketAddr>,
    /// What all bridges have in common.
    #[command(flatten)]
    pub common: Common,
}

/// Which log, and from where.
#[derive(Args)]
pub struct Logs {
    /// The mapping, such as suricata or zeek; `sightline-bridge mapping list` names all.
    #[arg(value_name = "MAPPING")]
    pub mapping: String,
    /// Files to follow; `-` is standard input.
    #[arg(value_name = "FILE", required_unless_present = "subject")]
    pub files: Vec<PathBuf>,
    /// A subject to read from instead; where a stream keeps it, from the stream, each message once.
    #[arg(long, value_name = "SUBJECT", conflicts_with = "files")]
    pub subject: Option<String>,
    /// Pause between two looks at the files.
    #[arg(long, value_name = "DURATION", default_value = "250ms", value_parser = humantime::parse_duration)]
    pub look_every: Duration,
    /// What all bridges have in common.
    #[command(flatten)]
    pub common: Common,
}

/// Mappings.
#[derive(Args)]
pub struct MappingCommand {
    /// What to do with them.
    #[command(subcommand)]
    pub what: MappingAction,
}

/// What to do with mappings.
#[derive(Subcommand)]
pub enum MappingAction {
    /// Name all mappings that ship
    List,
    /// Write one to standard output, to begin your own with
    Show {
        /// Its name.
        name: String,
    },
    /// Say all that is wrong with files
    Check {
        /// The files.
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
}

/// Reads `64MiB`.
fn size(text: &str) -> Result<u64, String> {
    let digits = text.len() - text.trim_start_matches(|sign: char| sign.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let shift = match unit.trim() {
        "" | "B" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        "TiB" => 40,
        other => return Err(format!("{other:?} is no unit: use KiB, MiB, GiB or TiB, as in 512MiB")),
    };
    let number: u64 = number.parse().map_err(|_| format!("{text:?} is no size: write it as in 512MiB"))?;
    number.checked_mul(1 << shift).ok_or_else(|| format!("{text} is more than can be counted"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_has_no_contradictions() {
        <Arguments as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn sizes_are_read_as_people_write_them() {
        assert_eq!((size("64MiB"), size("1GiB"), size("12")), (Ok(64 << 20), Ok(1 << 30), Ok(12)));
        for wrong in ["", "MiB", "1MB", "-1", "99999999999TiB"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }
}
