//! Asks a service over HTTP, and believes none of its answers before they are whole.

use std::collections::HashSet;

use anyhow::Context;
use reqwest::{Certificate, Client, Url};
use serde_json::Value;

use crate::arguments::Poll;

/// Most bytes of one answer.
const ANSWER_BYTES_MAX: usize = 64 << 20;
/// Most items of one list. A service that pages for ever is not followed for ever.
const ITEMS_MAX: usize = 1_000_000;
/// How often a list is read again whose pages did not fit together.
const PASSES_MAX: u32 = 3;

/// A service's answer cannot be used: try again later.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// It does not answer, or not in time, or stops in the middle.
    #[error("GET {path}: {source}")]
    Transport {
        /// What was asked for.
        path: String,
        /// What the network said.
        source: reqwest::Error,
    },
    /// It says that it cannot.
    #[error("GET {path}: answered {status}: {text}")]
    Status {
        /// What was asked for.
        path: String,
        /// The status.
        status: u16,
        /// The beginning of what it said.
        text: String,
    },
    /// It says something else than was asked for.
    #[error("GET {path}: {why}")]
    Rubbish {
        /// What was asked for.
        path: String,
        /// What is wrong with it.
        why: String,
    },
}

impl FetchError {
    /// The service knows nothing of that name.
    pub fn is_not_found(&self) -> bool {
        matches!(self, FetchError::Status { status: 404, .. })
    }
}

/// A service that can be asked.
pub struct Http {
    client: Client,
    base: Url,
    token: Option<String>,
}

impl Http {
    /// For the service that the options name.
    ///
    /// # Errors
    /// When the address is none, or a file cannot be used.
    pub fn new(poll: &Poll) -> anyhow::Result<Self> {
        let base = Url::parse(&poll.from).with_context(|| {
            format!("--from {:?}: expected an address such as http://127.0.0.1:3001", poll.from)
        })?;
        anyhow::ensure!(
            matches!(base.scheme(), "http" | "https"),
            "--from {base}: only http:// and https:// are asked"
        );
        let mut client = Client::builder()
            .connect_timeout(poll.timeout.min(std::time::Duration::from_secs(5)))
            .timeout(poll.timeout)
            .user_agent(concat!("sightline-bridge/", env!("CARGO_PKG_VERSION")));
        if let Some(path) = &poll.source_ca {
            let pem =
                std::fs::read(path).with_context(|| format!("cannot read --source-ca {}", path.display()))?;
            let certificate = Certificate::from_pem(&pem)
                .with_context(|| format!("--source-ca {} holds no certificate", path.display()))?;
            client = client.add_root_certificate(certificate);
        }
        let token = match &poll.token_file {
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .with_context(|| format!("cannot read --token-file {}", path.display()))?;
                Some(text.trim().to_owned())
            }
            None => None,
        };
        Ok(Http { client: client.build().context("cannot make an HTTP client")?, base, token })
    }

    /// The JSON that stands at a path.
    ///
    /// # Errors
    /// When there is none that can be used.
    pub async fn get(&self, path: &str, query: &[(&str, String)]) -> Result<Value, FetchError> {
        let mut url = self.base.clone();
        url.set_path(&format!("{}{path}", self.base.path().trim_end_matches('/')));
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let shown = url.path().to_owned() + &url.query().map(|query| format!("?{query}")).unwrap_or_default();
        let transport = |source: reqwest::Error| FetchError::Transport {
            path: shown.clone(),
            source: source.without_url(),
        };
        let mut request = self.client.get(url);
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        let mut answer = request.send().await.map_err(transport)?;
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(transport)? {
            body.extend_from_slice(&chunk);
            if body.len() > ANSWER_BYTES_MAX {
                let why = format!("the answer has more than {ANSWER_BYTES_MAX} bytes");
                return Err(FetchError::Rubbish { path: shown, why });
            }
        }
        if !answer.status().is_success() {
            let text: String = String::from_utf8_lossy(&body).chars().take(120).collect();
            return Err(FetchError::Status { path: shown, status: answer.status().as_u16(), text });
        }
        serde_json::from_slice(&body).map_err(|error| FetchError::Rubbish {
            path: shown,
            why: format!("the answer is no JSON: {error}"),
        })
    }

    /// A whole list, page by page: `{name: […], total}`, or a bare array, which is all there is.
    ///
    /// Where the list changes between two pages, one of its items can slip from a page not yet read to one that was: then
    /// there are fewer than the total, and the list is read again.
    ///
    /// # Errors
    /// When a page cannot be used.
    pub async fn list(&self, path: &str, name: &str, page: usize) -> Result<Vec<Value>, FetchError> {
        let mut items = Vec::new();
        let mut met = HashSet::new();
        for _ in 0..PASSES_MAX {
            let mut offset = 0;
            let total = loop {
                let query = [("limit", page.to_string()), ("offset", offset.to_string())];
                let (found, total) = self.page(path, name, &query).await?;
                let got = found.len();
                for item in found {
                    let name = item.get("id").unwrap_or(&item).to_string();
                    if met.insert(name) {
                        items.push(item);
                    }
                }
                offset += got;
                match total {
                    Some(total) if got > 0 && offset < total && offset < ITEMS_MAX => {}
                    other => break other.unwrap_or(0),
                }
            };
            if items.len() >= total {
                return Ok(items);
            }
        }
        // What slipped every time is there in the next round.
        Ok(items)
    }

    /// One page of a list, and how many items the whole has, where it says so.
    ///
    /// # Errors
    /// When it cannot be used.
    pub async fn page(
        &self,
        path: &str,
        name: &str,
        query: &[(&str, String)],
    ) -> Result<(Vec<Value>, Option<usize>), FetchError> {
        let answer = self.get(path, query).await?;
        let rubbish = |why: &str| FetchError::Rubbish { path: path.to_owned(), why: why.to_owned() };
        match answer {
            Value::Array(items) => Ok((items, None)),
            Value::Object(mut members) => match members.remove(name) {
                Some(Value::Array(items)) => {
                    let total = members.get("total").and_then(Value::as_u64);
                    Ok((
                        items,
                        Some(total.map_or(usize::MAX, |total| usize::try_from(total).unwrap_or(usize::MAX))),
                    ))
                }
                _ => Err(rubbish(&format!("the answer holds no list `{name}`"))),
            },
            _ => Err(rubbish("the answer is neither a list nor an object that holds one")),
        }
    }
}
