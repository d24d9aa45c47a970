//! The settings as the engine reads them.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use sightline_schemas::control::EngineSettings;
use sightline_schemas::source::{SourceProfile, SourceProfiles};

use super::load::Values;
use super::value::{Kind, Value};

/// All settings. [`settings_table`](super::settings_table) says what each is for.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The NATS server.
    pub nats: NatsConfig,
    /// The JetStream streams.
    pub streams: StreamsConfig,
    /// What to look for.
    pub rules: RulesConfig,
    /// How Sigma rules are read.
    pub sigma: SigmaConfig,
    /// Settings that can change a result.
    pub engine: EngineConfig,
    /// How the worker reads and works.
    pub worker: WorkerConfig,
    /// Checkpoints.
    pub state: StateConfig,
    /// Health, readiness, metrics and inspection.
    pub api: ApiConfig,
    /// What is logged.
    pub log: LogConfig,
}

/// How to reach and log in to the NATS server. At most one way to log in is given.
#[derive(Clone, PartialEq, Eq)]
pub struct NatsConfig {
    /// Server, or several separated by commas; may hold a password, so it is no label and no log field.
    pub url: String,
    /// Name of the connection.
    pub name: String,
    /// Credentials file (JWT and seed).
    pub creds_file: Option<PathBuf>,
    /// File with an NKey seed.
    pub nkey_seed_file: Option<PathBuf>,
    /// User name.
    pub user: Option<String>,
    /// Password; never without a user.
    pub password: Option<String>,
    /// Token.
    pub token: Option<String>,
    /// PEM file of the authorities to trust beside the system's.
    pub tls_ca: Option<PathBuf>,
    /// PEM file of the client's certificate; never without the key.
    pub tls_cert: Option<PathBuf>,
    /// PEM file of the client's key; never without the certificate.
    pub tls_key: Option<PathBuf>,
    /// Subject prefix of replies.
    pub inbox_prefix: Option<String>,
}

/// The JetStream streams: their names and how much of them is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamsConfig {
    /// Name of the input log.
    pub events: String,
    /// Name of the output log.
    pub incidents: String,
    /// Name of the stream of what could not be read.
    pub deadletter: String,
    /// Name of the stream of raw evidence.
    pub evidence: String,
    /// Servers that keep a copy of each.
    pub replicas: usize,
    /// How long events are kept.
    pub events_max_age: Duration,
    /// How many bytes of events are kept.
    pub events_max_bytes: i64,
    /// How long incidents are kept.
    pub incidents_max_age: Duration,
    /// How many bytes of incidents are kept.
    pub incidents_max_bytes: i64,
    /// How long dead letters are kept.
    pub deadletter_max_age: Duration,
    /// How many bytes of dead letters are kept.
    pub deadletter_max_bytes: i64,
    /// How long evidence is kept.
    pub evidence_max_age: Duration,
    /// How many bytes of evidence are kept.
    pub evidence_max_bytes: i64,
}

/// What to look for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RulesConfig {
    /// Rule files, and directories of them.
    pub paths: Vec<PathBuf>,
    /// Whether new and changed rules run over what the log keeps before they take effect.
    pub warm: bool,
}

/// How Sigma rules are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SigmaConfig {
    /// Files of mappings.
    pub mapping: Vec<PathBuf>,
}

impl Config {
    /// What is read for rules: the files that are `given`, or those of the settings, and the mappings for Sigma's.
    pub fn rule_paths(&self, given: &[PathBuf]) -> Vec<PathBuf> {
        let rules = if given.is_empty() { &self.rules.paths } else { given };
        rules.iter().chain(&self.sigma.mapping).cloned().collect()
    }
}

/// Settings that can change a result. They reach the engine through the log: see [`EngineConfig::settings`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineConfig {
    /// How late an event may be and still count in any order.
    pub lateness: Duration,
    /// Least log time between two updates of one incident.
    pub coalesce: Duration,
    /// Log time after which a quiet key is forgotten.
    pub idle: Duration,
    /// Log time after which a key with an active incident is forgotten.
    pub incident_idle: Duration,
    /// What is known of sources beforehand, beside what ships.
    pub sources: BTreeMap<String, SourceProfile>,
}

/// How the worker reads and works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerConfig {
    /// Threads that correlate, 1 to 64.
    pub partitions: usize,
    /// Messages taken from the input log at once, at most.
    pub batch_messages: usize,
    /// How long to wait for the first message of a batch.
    pub batch_wait: Duration,
    /// Idle time after which a clock tick is written while deadlines are pending.
    pub tick_every: Duration,
    /// How long stopping waits for outputs to be acknowledged.
    pub drain_timeout: Duration,
    /// Bytes of memory that the process is kept within.
    pub memory_budget: u64,
}

/// Checkpoints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateConfig {
    /// Their directory.
    pub dir: PathBuf,
    /// Time between them.
    pub checkpoint_every: Duration,
}

/// Health, readiness, metrics and inspection.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiConfig {
    /// Address to serve on; `None` is off.
    pub listen: Option<SocketAddr>,
    /// PEM file of our certificate; never without the key.
    pub tls_cert: Option<PathBuf>,
    /// PEM file of our key; never without the certificate.
    pub tls_key: Option<PathBuf>,
    /// PEM file of the authorities whose certificates are let in; never without a certificate of ours.
    pub tls_client_ca: Option<PathBuf>,
    /// The token.
    pub token: Option<String>,
    /// File that holds the token instead.
    pub token_file: Option<PathBuf>,
}

/// What is logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// Least level to log: `error`, `warn`, `info`, `debug` or `trace`.
    pub level: String,
    /// How a line looks.
    pub format: LogFormat,
}

/// How a log line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, JSON otherwise.
    #[default]
    Auto,
    /// For people.
    Text,
    /// For machines.
    Json,
}

impl EngineConfig {
    /// The settings as they travel through the log.
    pub fn settings(&self) -> EngineSettings {
        let micros = |duration: Duration| {
            i64::try_from(duration.as_micros()).expect("durations are at most ten years by their kind")
        };
        EngineSettings {
            lateness_micros: micros(self.lateness),
            coalesce_micros: micros(self.coalesce),
            idle_micros: micros(self.idle),
            incident_idle_micros: micros(self.incident_idle),
            sources: SourceProfiles::with(self.sources.clone()),
        }
    }
}

impl fmt::Debug for NatsConfig {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("NatsConfig")
            .field("url", &Kind::Url.shown(&self.url))
            .field("name", &self.name)
            .field("creds_file", &self.creds_file)
            .field("nkey_seed_file", &self.nkey_seed_file)
            .field("user", &self.user)
            .field("password", &self.password.as_ref().map(|_| "***"))
            .field("token", &self.token.as_ref().map(|_| "***"))
            .field("tls_ca", &self.tls_ca)
            .field("tls_cert", &self.tls_cert)
            .field("tls_key", &self.tls_key)
            .field("inbox_prefix", &self.inbox_prefix)
            .finish()
    }
}

impl fmt::Debug for ApiConfig {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("ApiConfig")
            .field("listen", &self.listen)
            .field("tls_cert", &self.tls_cert)
            .field("tls_key", &self.tls_key)
            .field("tls_client_ca", &self.tls_client_ca)
            .field("token", &self.token.as_ref().map(|_| "***"))
            .field("token_file", &self.token_file)
            .finish()
    }
}

impl Config {
    /// Fills the structs. Every path here is in the table with the kind that is asked of it; a test loads all.
    pub(super) fn from_values(values: &Values) -> Self {
        let read = Typed(values);
        Config {
            nats: NatsConfig {
                url: read.text("nats.url"),
                name: read.text("nats.name"),
                creds_file: read.optional("nats.creds_file").map(PathBuf::from),
                nkey_seed_file: read.optional("nats.nkey_seed_file").map(PathBuf::from),
                user: read.optional("nats.user"),
                password: read.optional("nats.password"),
                token: read.optional("nats.token"),
                tls_ca: read.optional("nats.tls_ca").map(PathBuf::from),
                tls_cert: read.optional("nats.tls_cert").map(PathBuf::from),
                tls_key: read.optional("nats.tls_key").map(PathBuf::from),
                inbox_prefix: read.optional("nats.inbox_prefix"),
            },
            streams: StreamsConfig {
                events: read.text("streams.events"),
                incidents: read.text("streams.incidents"),
                deadletter: read.text("streams.deadletter"),
                evidence: read.text("streams.evidence"),
                replicas: read.count("streams.replicas"),
                events_max_age: read.duration("streams.events_max_age"),
                events_max_bytes: read.bytes("streams.events_max_bytes"),
                incidents_max_age: read.duration("streams.incidents_max_age"),
                incidents_max_bytes: read.bytes("streams.incidents_max_bytes"),
                deadletter_max_age: read.duration("streams.deadletter_max_age"),
                deadletter_max_bytes: read.bytes("streams.deadletter_max_bytes"),
                evidence_max_age: read.duration("streams.evidence_max_age"),
                evidence_max_bytes: read.bytes("streams.evidence_max_bytes"),
            },
            rules: RulesConfig { paths: read.paths("rules.paths"), warm: read.text("rules.warm") == "true" },
            sigma: SigmaConfig { mapping: read.paths("sigma.mapping") },
            engine: EngineConfig {
                lateness: read.duration("engine.lateness"),
                coalesce: read.duration("engine.coalesce"),
                idle: read.duration("engine.idle"),
                incident_idle: read.duration("engine.incident_idle"),
                sources: read.sources("engine.sources"),
            },
            worker: WorkerConfig {
                partitions: read.count("worker.partitions"),
                batch_messages: read.count("worker.batch_messages"),
                batch_wait: read.duration("worker.batch_wait"),
                tick_every: read.duration("worker.tick_every"),
                drain_timeout: read.duration("worker.drain_timeout"),
                memory_budget: read.bytes("worker.memory_budget") as u64,
            },
            state: StateConfig {
                dir: PathBuf::from(read.text("state.dir")),
                checkpoint_every: read.duration("state.checkpoint_every"),
            },
            api: ApiConfig {
                listen: read.address("api.listen"),
                tls_cert: read.optional("api.tls_cert").map(PathBuf::from),
                tls_key: read.optional("api.tls_key").map(PathBuf::from),
                tls_client_ca: read.optional("api.tls_client_ca").map(PathBuf::from),
                token: read.optional("api.token"),
                token_file: read.optional("api.token_file").map(PathBuf::from),
            },
            log: LogConfig {
                level: read.text("log.level"),
                format: match read.text("log.format").as_str() {
                    "text" => LogFormat::Text,
                    "json" => LogFormat::Json,
                    _ => LogFormat::Auto,
                },
            },
        }
    }
}

/// The values with the types that the table promises.
struct Typed<'a>(&'a Values);

/// Says which setting's declaration and use disagree; never the value, which may be secret.
macro_rules! typed {
    ($name:ident, $kind:ident, $out:ty, $value:ident => $read:expr) => {
        fn $name(&self, path: &str) -> $out {
            match self.0.get(path) {
                Value::$kind($value) => $read,
                _ => unreachable!("{path} is declared as another kind"),
            }
        }
    };
}

impl Typed<'_> {
    typed!(text, Text, String, text => text.clone());
    typed!(duration, Duration, Duration, duration => *duration);
    typed!(count, Number, usize, number => usize::try_from(*number).expect("counts are small by their kind"));
    typed!(bytes, Number, i64, number => i64::try_from(*number).expect("sizes fit an i64 by their kind"));
    typed!(address, Address, Option<SocketAddr>, address => *address);
    typed!(paths, List, Vec<PathBuf>, items => items.iter().map(PathBuf::from).collect());
    typed!(sources, Sources, BTreeMap<String, SourceProfile>, sources => sources.clone());

    fn optional(&self, path: &str) -> Option<String> {
        match self.0.get(path) {
            Value::Unset => None,
            _ => Some(self.text(path)),
        }
    }
}
