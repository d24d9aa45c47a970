//! Questions to a running worker, over its API.

use anyhow::{Context, anyhow};
use serde_json::Value;

use super::Args;
use crate::cli::exit::CliError;
use crate::cli::{http, state};
use crate::config::Config;

/// Asks a worker, whose address is given or that of the settings.
pub(super) async fn ask(
    args: &Args,
    config: &Config,
    path: &str,
    pairs: &[(&str, &str)],
) -> Result<Value, CliError> {
    let url = args.worker.as_deref().filter(|url| !url.is_empty());
    let trust = state::Trust { ca: args.ca.clone(), cert: args.cert.clone(), key: args.cert_key.clone() };
    let target = state::target(&config.api, url, &trust)?;
    let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
    let answer = http::get(&target, &format!("{path}?{query}")).await?;
    if answer.status == 401 {
        let why = "asks for the token: set api.token_file or api.token";
        return Err(anyhow!("{}{path} {why}", target.url()).into());
    }
    let value: Value = serde_json::from_slice(&answer.body)
        .with_context(|| format!("{}{path} does not answer as a worker does", target.url()))?;
    match (answer.status, value.get("error").and_then(Value::as_str)) {
        (200, _) => Ok(value),
        (_, Some(why)) => Err(anyhow!("{why}").into()),
        (status, None) => Err(anyhow!("{}{path} answers {status}", target.url()).into()),
    }
}
