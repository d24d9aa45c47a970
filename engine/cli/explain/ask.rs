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
    let authority = match args.worker.as_deref().filter(|url| !url.is_empty()) {
        Some(url) => state::authority(url).map_err(CliError::Usage)?,
        None => match config.api.listen {
            Some(listen) => listen.to_string(),
            None => {
                let help = "api.listen is off; say whom to ask with --worker URL";
                return Err(CliError::Usage(help.to_owned()));
            }
        },
    };
    let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
    let answer = http::get(&authority, &format!("{path}?{query}")).await?;
    let value: Value = serde_json::from_slice(&answer.body)
        .with_context(|| format!("http://{authority}{path} does not answer as a worker does"))?;
    match (answer.status, value.get("error").and_then(Value::as_str)) {
        (200, _) => Ok(value),
        (_, Some(why)) => Err(anyhow!("{why}").into()),
        (status, None) => Err(anyhow!("http://{authority}{path} answers {status}").into()),
    }
}
