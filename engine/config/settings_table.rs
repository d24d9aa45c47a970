//! Every setting, declared once: where it stands, what it may be, its default, and what it is for.

use super::value::Kind;

/// One setting.
#[derive(Debug)]
pub struct Setting {
    /// `section.name`.
    pub path: &'static str,
    /// The default, as it would be written in the file.
    pub default: &'static str,
    /// What it is for, with its unit.
    pub comment: &'static str,
    pub(super) kind: Kind,
}

/// A group of settings.
#[derive(Debug)]
pub struct Section {
    /// Its name in the file.
    pub name: &'static str,
    /// What its settings have in common.
    pub comment: &'static str,
}

impl Setting {
    /// The part before the dot.
    pub fn section(&self) -> &'static str {
        self.path.split_once('.').map_or(self.path, |(section, _)| section)
    }

    /// The part behind the dot.
    pub fn name(&self) -> &'static str {
        self.path.split_once('.').map_or(self.path, |(_, name)| name)
    }

    /// The environment variable that overrides it: `SIGHTLINE_NATS_URL`.
    pub fn env(&self) -> String {
        format!("{ENV_PREFIX}{}", self.path.replace('.', "_").to_uppercase())
    }

    /// The setting of this path.
    pub fn find(path: &str) -> Option<&'static Setting> {
        SETTINGS.iter().find(|setting| setting.path == path)
    }
}

/// How the environment variables of this program begin.
pub const ENV_PREFIX: &str = "SIGHTLINE_";

/// Variables with our prefix that are no settings: the producers' data directory, the path of the settings file, the
/// log filter.
pub const ENV_OTHER: [&str; 3] = ["SIGHTLINE_DATA", "SIGHTLINE_CONFIG", "SIGHTLINE_LOG"];

/// How the variables begin that say how long this project's own tests run. Programs that a test starts inherit them.
pub const ENV_TEST_PREFIX: &str = "SIGHTLINE_TEST_";

/// The variables that NATS's own tools read, and the setting that each one stands for.
pub const ENV_NATS: [(&str, &str); 10] = [
    ("NATS_URL", "nats.url"),
    ("NATS_CREDS", "nats.creds_file"),
    ("NATS_NKEY", "nats.nkey_seed_file"),
    ("NATS_USER", "nats.user"),
    ("NATS_PASSWORD", "nats.password"),
    ("NATS_TOKEN", "nats.token"),
    ("NATS_CA", "nats.tls_ca"),
    ("NATS_CERT", "nats.tls_cert"),
    ("NATS_KEY", "nats.tls_key"),
    ("NATS_INBOX_PREFIX", "nats.inbox_prefix"),
];

const fn section(name: &'static str, comment: &'static str) -> Section {
    Section { name, comment }
}

const fn setting(path: &'static str, kind: Kind, default: &'static str, comment: &'static str) -> Setting {
    Setting { path, default, comment, kind }
}

/// A number of things.
const fn count(min: u64, max: u64) -> Kind {
    Kind::Count { min, max }
}

/// A duration between these many milliseconds.
const fn duration(min_millis: u64, max_millis: u64) -> Kind {
    Kind::Duration { min_millis, max_millis }
}

const SECOND: u64 = 1_000;
const HOUR: u64 = 3_600 * SECOND;
const DAY: u64 = 24 * HOUR;
/// Longest duration that any setting takes: ten years. Microseconds of it fit an i64 with room to add.
const LONGEST: u64 = 3_650 * DAY;
const MIB: u64 = 1 << 20;

/// The sections, in the order in which they are written.
pub static SECTIONS: [Section; 9] = [
    section(
        "nats",
        "The NATS server. At most one way to log in: creds_file, nkey_seed_file, user and password, or token.",
    ),
    section("streams", "The JetStream streams, created where they are missing."),
    section("rules", "What to look for."),
    section("sigma", "How Sigma rules among them are read."),
    section("engine", "Settings that can change a result: they travel through the log with the rules."),
    section("worker", "How the worker reads and works. None of these changes a result."),
    section("state", "Checkpoints: a cache of the log. Losing them costs time, never truth."),
    section("api", "Health, readiness, metrics and inspection over HTTP."),
    section("log", "What is logged, to stderr."),
];

/// The settings, section by section.
pub static SETTINGS: [Setting; 48] = [
    setting(
        "nats.url",
        Kind::Url,
        "nats://127.0.0.1:4222",
        "Server, or several separated by commas; tls:// asks for TLS.",
    ),
    setting(
        "nats.name",
        Kind::Text,
        "sightline",
        "Name of the connection, as the server's monitoring shows it.",
    ),
    setting("nats.creds_file", Kind::OptionalPath, "", "Credentials file (JWT and seed)."),
    setting("nats.nkey_seed_file", Kind::OptionalPath, "", "File with an NKey seed."),
    setting("nats.user", Kind::OptionalText, "", "User name."),
    setting(
        "nats.password",
        Kind::Secret,
        "",
        "Password of the user; better given as NATS_PASSWORD than written here.",
    ),
    setting("nats.token", Kind::Secret, "", "Token; better given as NATS_TOKEN than written here."),
    setting(
        "nats.tls_ca",
        Kind::OptionalPath,
        "",
        "PEM file of the authorities to trust beside the system's.",
    ),
    setting("nats.tls_cert", Kind::OptionalPath, "", "PEM file of the client's certificate; needs tls_key."),
    setting("nats.tls_key", Kind::OptionalPath, "", "PEM file of the client's key; needs tls_cert."),
    setting(
        "nats.inbox_prefix",
        Kind::OptionalText,
        "",
        "Subject prefix of replies, where the account allows only its own; _INBOX if empty.",
    ),
    setting("streams.events", Kind::StreamName, "EVENTS", "Name of the input log."),
    setting("streams.incidents", Kind::StreamName, "INCIDENTS", "Name of the output log."),
    setting(
        "streams.deadletter",
        Kind::StreamName,
        "DEADLETTER",
        "Name of the stream of what could not be read.",
    ),
    setting("streams.evidence", Kind::StreamName, "EVIDENCE", "Name of the stream of raw evidence."),
    setting("streams.replicas", count(1, 5), "1", "Servers that keep a copy of each stream; 3 in a cluster."),
    setting(
        "streams.events_max_age",
        duration(SECOND, LONGEST),
        "7d",
        "How long events are kept, as a duration. Rebuilding reaches back this far.",
    ),
    setting(
        "streams.events_max_bytes",
        Kind::Size { min: MIB },
        "4GiB",
        "How much of the input log is kept, in bytes. The server reserves this much disk for it, and for each of the others.",
    ),
    setting(
        "streams.incidents_max_age",
        duration(SECOND, LONGEST),
        "90d",
        "How long incidents are kept, as a duration.",
    ),
    setting(
        "streams.incidents_max_bytes",
        Kind::Size { min: MIB },
        "512MiB",
        "How much of the output log is kept, in bytes.",
    ),
    setting(
        "streams.deadletter_max_age",
        duration(SECOND, LONGEST),
        "30d",
        "How long dead letters are kept, as a duration.",
    ),
    setting(
        "streams.deadletter_max_bytes",
        Kind::Size { min: MIB },
        "512MiB",
        "How many dead letters are kept, in bytes.",
    ),
    setting(
        "streams.evidence_max_age",
        duration(SECOND, LONGEST),
        "365d",
        "How long evidence is kept, as a duration. Nobody can delete it before.",
    ),
    setting(
        "streams.evidence_max_bytes",
        Kind::Size { min: MIB },
        "1GiB",
        "How much evidence is kept, in bytes; when it is full, bridges say so to whoever posts.",
    ),
    setting(
        "rules.paths",
        Kind::Paths,
        "[rules]",
        "Rule files, and directories of them; relative to the working directory.",
    ),
    setting(
        "rules.warm",
        Kind::Word(&["true", "false"]),
        "false",
        "Whether new and changed rules run over what the log keeps, silently, before they take effect.",
    ),
    setting(
        "sigma.mapping",
        Kind::Paths,
        "[]",
        "Files that say how Sigma's names are those of events, such as rules/mappings/ecs.yaml.",
    ),
    setting(
        "engine.lateness",
        duration(0, 30 * DAY),
        "10m",
        "How late an event may be and still count in any order, for rules that do not say; a duration.",
    ),
    setting(
        "engine.coalesce",
        duration(0, DAY),
        "1s",
        "Least log time between two updates of one incident; a duration.",
    ),
    setting(
        "engine.idle",
        duration(SECOND, LONGEST),
        "24h",
        "Log time after which a key without events and without an active incident is forgotten; a duration.",
    ),
    setting(
        "engine.incident_idle",
        duration(SECOND, LONGEST),
        "30d",
        "Log time after which a key with an active incident is forgotten; a duration.",
    ),
    setting(
        "engine.sources",
        Kind::Sources,
        "{}",
        "What events of a source are when they do not say:\n\
         `name: {class: event, kind: event, severity: info, require: [host_id]}`.\n\
         What is left out stays as it ships.",
    ),
    setting(
        "worker.partitions",
        count(1, 64),
        "1",
        "Threads that read and correlate, each owning its share of the keys.",
    ),
    setting(
        "worker.batch_messages",
        count(1, 100_000),
        "1000",
        "Messages taken from the input log at once, at most.",
    ),
    setting(
        "worker.batch_wait",
        duration(1, 10 * SECOND),
        "50ms",
        "How long to wait for the first message of a batch; a duration.",
    ),
    setting(
        "worker.tick_every",
        duration(10, HOUR),
        "1s",
        "Idle time after which a clock tick is written while deadlines are pending; a duration.",
    ),
    setting(
        "worker.drain_timeout",
        duration(0, HOUR),
        "5s",
        "How long stopping waits for outputs to be acknowledged; a duration.",
    ),
    setting(
        "worker.memory_budget",
        Kind::Size { min: 128 * MIB },
        "2GiB",
        "Memory that the worker is kept within, in bytes; states beyond it lie on disk, beside the checkpoints.",
    ),
    setting("state.dir", Kind::Path, "./state", "Directory of the checkpoints."),
    setting(
        "state.checkpoint_every",
        duration(100, DAY),
        "10s",
        "Time between checkpoints; a duration. A restart replays about this much.",
    ),
    setting(
        "api.listen",
        Kind::Address,
        "127.0.0.1:9464",
        "Address to serve on; an empty text switches it off. Where other machines reach it, TLS is a must, and so is one\n\
         of token, token_file and tls_client_ca.",
    ),
    setting("api.tls_cert", Kind::OptionalPath, "", "PEM file of the API's certificate; needs tls_key."),
    setting("api.tls_key", Kind::OptionalPath, "", "PEM file of the API's key; needs tls_cert."),
    setting(
        "api.tls_client_ca",
        Kind::OptionalPath,
        "",
        "PEM file of the authorities whose certificates are let in, and nobody else; needs tls_cert.",
    ),
    setting(
        "api.token",
        Kind::Secret,
        "",
        "What to send as `Authorization: Bearer` for /metrics and /state; better given as SIGHTLINE_API_TOKEN.",
    ),
    setting("api.token_file", Kind::OptionalPath, "", "File that holds the token instead."),
    setting(
        "log.level",
        Kind::Word(&["error", "warn", "info", "debug", "trace"]),
        "info",
        "Least level to log; SIGHTLINE_LOG filters more finely.",
    ),
    setting(
        "log.format",
        Kind::Word(&["auto", "text", "json"]),
        "auto",
        "text for people, json for machines; auto is text on a terminal.",
    ),
];
