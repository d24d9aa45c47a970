//! `sightline state`: what a running worker holds, as it tells over its API.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use anyhow::{Context, anyhow};
use serde_json::Value;

use crate::api::token;
use crate::cli::exit::{CliError, Exit};
use crate::cli::http::Target;
use crate::cli::paint::Paint;
use crate::cli::settings::Global;
use crate::cli::{cell, http};
use crate::config::ApiConfig;

/// Whom to ask, and how to print it.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The worker's API, such as http://127.0.0.1:9464; `api.listen` of the settings if not given
    #[arg(long, value_name = "URL")]
    api: Option<String>,
    #[command(flatten)]
    trust: Trust,
    /// text: tables; json: as the worker says it
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: Format,
}

/// Whom to trust where the API speaks TLS, and who we are.
#[derive(Debug, Default, clap::Args)]
pub struct Trust {
    /// Who vouches for the API's certificate (PEM), where it speaks TLS
    #[arg(long, value_name = "FILE")]
    pub(super) ca: Option<PathBuf>,
    /// Our certificate (PEM), where the API asks for one
    #[arg(long, value_name = "FILE", requires = "key")]
    pub(super) cert: Option<PathBuf>,
    /// The key of our certificate (PEM)
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub(super) key: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Text,
    Json,
}

/// Asks a worker for its state.
///
/// # Errors
/// When it does not answer.
pub async fn run(global: &Global, args: &Args) -> Result<Exit, CliError> {
    let target = target(&global.load()?.config.api, args.api.as_deref(), &args.trust)?;
    let answer = http::get(&target, "/state").await?;
    let url = target.url();
    match answer.status {
        200 => {}
        401 => return Err(anyhow!("{url}/state asks for the token: set api.token_file or api.token").into()),
        status => return Err(anyhow!("{url}/state answers {status}").into()),
    }
    let mut out = std::io::stdout();
    match args.format {
        Format::Json => {
            out.write_all(&answer.body)?;
            out.write_all(b"\n")?;
        }
        Format::Text => {
            let state = serde_json::from_slice(&answer.body)
                .with_context(|| format!("{url}/state does not tell a state"))?;
            writeln!(out, "{}", tables(&state, global.colors().stdout))?;
        }
    }
    Ok(Exit::Done)
}

/// Whom the settings and the arguments mean.
pub(super) fn target(config: &ApiConfig, url: Option<&str>, trust: &Trust) -> Result<Target, CliError> {
    let own = || {
        let listen = config.listen?;
        let scheme = if config.tls_cert.is_some() { "https" } else { "http" };
        // Who listens everywhere listens here.
        let here =
            if listen.is_ipv4() { IpAddr::from(Ipv4Addr::LOCALHOST) } else { Ipv6Addr::LOCALHOST.into() };
        let ip = if listen.ip().is_unspecified() { here } else { listen.ip() };
        Some(format!("{scheme}://{}", SocketAddr::new(ip, listen.port())))
    };
    let url = url.map(str::to_owned).or_else(own);
    let url =
        url.ok_or_else(|| CliError::Usage("api.listen is off; say whom to ask with --api URL".to_owned()))?;
    let (scheme, authority) = address(&url).map_err(CliError::Usage)?;
    let tls = match (scheme, &trust.ca) {
        (Scheme::Http, _) => None,
        (Scheme::Https, None) => {
            return Err(CliError::Usage(format!(
                "{url}: say who vouches for its certificate with --ca FILE"
            )));
        }
        (Scheme::Https, Some(ca)) => {
            let own = trust.cert.as_deref().zip(trust.key.as_deref());
            Some(http::tls(ca, own).map_err(|error| CliError::Usage(format!("{error:#}")))?)
        }
    };
    let token = token(config).map_err(|error| CliError::Usage(error.to_string()))?;
    Ok(Target { authority, token, tls })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scheme {
    Http,
    Https,
}

fn address(url: &str) -> Result<(Scheme, String), String> {
    let (scheme, rest) = match url.strip_prefix("https://") {
        Some(rest) => (Scheme::Https, rest),
        None => (Scheme::Http, url.strip_prefix("http://").unwrap_or(url)),
    };
    let rest = rest.trim_end_matches('/');
    let port = rest.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
    match port {
        Some(_) if !rest.contains(['/', ' ', '\r', '\n', '@']) => Ok((scheme, rest.to_owned())),
        _ => Err("--api is no address of an API: expected one such as http://127.0.0.1:9464".to_owned()),
    }
}

/// The state as tables. What the worker does not tell is a dash: it may be of another version.
fn tables(state: &Value, paint: Paint) -> String {
    let text = |pointer: &str| shown(state.pointer(pointer));
    let mut worker = cell::table(&["worker", ""], paint);
    let reasons = state.pointer("/ready/reasons").and_then(Value::as_array).into_iter().flatten();
    let reasons: Vec<&str> = reasons.filter_map(Value::as_str).collect();
    let ready = match state.pointer("/ready/ready").and_then(Value::as_bool) {
        Some(true) => paint.good("yes"),
        Some(false) => paint.bad(&format!("no: {}", cell::shown(&reasons.join(", "), 100))),
        None => "—".to_owned(),
    };
    let position = format!("{} of {}", text("/log/position"), text("/log/last_seq"));
    let memory = match state.pointer("/bytes_estimate").and_then(Value::as_u64) {
        Some(bytes) => size(bytes),
        None => "—".to_owned(),
    };
    for (name, value) in [
        ("version", text("/version")),
        ("ready", ready),
        ("log", text("/log/id")),
        ("position", position),
        ("log time", text("/log/log_time")),
        ("partitions", text("/partitions")),
        ("keys", text("/keys")),
        ("hits", text("/hits")),
        ("memory", memory),
        ("states", places(state.get("memory"))),
        ("checkpoint", checkpoint(state.get("checkpoint"))),
    ] {
        worker.add_row([name.to_owned(), value]);
    }
    let header = [
        "rule",
        "version",
        "unit",
        "keys",
        "hits",
        "active incidents",
        "since position",
        "pending",
        "next due",
    ];
    let mut rules = cell::table(&header, paint);
    for rule in state.get("rules").and_then(Value::as_array).into_iter().flatten() {
        let members = [
            "id",
            "version",
            "unit",
            "keys",
            "hits",
            "incidents_active",
            "since_position",
            "pending",
            "next_due",
        ];
        rules.add_row(members.map(|member| shown(rule.get(member))));
    }
    format!("{}\n\n{}", worker.trim_fmt(), rules.trim_fmt())
}

/// Where the states are.
fn places(memory: Option<&Value>) -> String {
    let Some(memory) = memory else { return "—".to_owned() };
    let keys = |place: &str| shown(memory.pointer(&format!("/{place}/keys")));
    let bytes = |pointer: &str| memory.pointer(pointer).and_then(Value::as_u64).map_or("—".to_owned(), size);
    let budget = match memory.get("budget").and_then(Value::as_u64) {
        Some(budget) => size(budget),
        None => "none".to_owned(),
    };
    format!(
        "{} open ({}), {} packed ({}), {} on disk; index {}; budget {budget}",
        keys("open"),
        bytes("/open/bytes"),
        keys("packed"),
        bytes("/packed/bytes"),
        keys("on_disk"),
        bytes("/index_bytes"),
    )
}

fn checkpoint(checkpoint: Option<&Value>) -> String {
    let Some(checkpoint) = checkpoint.filter(|checkpoint| checkpoint.is_object()) else {
        return "—".to_owned();
    };
    let text = |member| shown(checkpoint.get(member));
    let bytes = checkpoint.get("bytes").and_then(Value::as_u64).map_or("—".to_owned(), size);
    let seconds = checkpoint.get("seconds").and_then(Value::as_f64);
    let took = seconds.map_or("—".to_owned(), |seconds| format!("{:.0} ms", seconds * 1_000.0));
    format!("at {}, log time {}: {} keys, {bytes} in {took}", text("seq"), text("time"), text("keys"))
}

fn shown(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => "—".to_owned(),
        Some(Value::String(text)) => cell::shown(text, 80),
        Some(other) => other.to_string(),
    }
}

pub(super) fn size(bytes: u64) -> String {
    const UNITS: [(&str, u64); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    match UNITS.iter().find(|(_, factor)| bytes >= *factor) {
        Some((unit, factor)) => format!("{:.1} {unit}", bytes as f64 / *factor as f64),
        None => format!("{bytes} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_of_another_version_is_shown_as_far_as_it_goes() {
        let state = serde_json::json!({ "keys": 3, "rules": [{ "id": "a", "hits": 7 }], "checkpoint": null });
        let told = tables(&state, Paint(false));
        assert!(told.contains("position    — of —"), "{told}");
        assert!(
            told.lines()
                .last()
                .is_some_and(|line| line.trim_start().starts_with("a ") && line.contains(" 7 ")),
            "{told}"
        );
    }

    #[test]
    fn an_address_is_host_and_port() {
        assert_eq!(address("http://127.0.0.1:9464/"), Ok((Scheme::Http, "127.0.0.1:9464".to_owned())));
        assert_eq!(address("https://a:1"), Ok((Scheme::Https, "a:1".to_owned())));
        assert_eq!(address("localhost:1"), Ok((Scheme::Http, "localhost:1".to_owned())));
        for wrong in ["ftp://a:1", "a", "http://a:1/state", "a:99999", "http://u:p@a:1"] {
            assert!(address(wrong).is_err(), "{wrong}");
        }
    }
}
