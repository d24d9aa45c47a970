//! Which worker a command asks, and how it gets there.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use anyhow::anyhow;

use crate::api::token;
use crate::cli::exit::CliError;
use crate::cli::http::{self, Answer, Target};
use crate::cli::settings::Global;

/// Whom to ask.
#[derive(Debug, Default, clap::Args)]
pub struct WorkerApi {
    /// The worker's API, such as http://127.0.0.1:9464; `api.listen` of the settings if not given
    #[arg(long, value_name = "URL")]
    pub api: Option<String>,
    /// Who vouches for the API's certificate (PEM), where it speaks TLS
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Our certificate (PEM), where the API asks for one
    #[arg(long, value_name = "FILE", requires = "key")]
    cert: Option<PathBuf>,
    /// The key of our certificate (PEM)
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
}

impl WorkerApi {
    /// Whom the settings and the arguments mean.
    ///
    /// # Errors
    /// When neither names an address, or what TLS needs is missing.
    pub fn target(&self, global: &Global) -> Result<Target, CliError> {
        let config = &global.load()?.config.api;
        let own = || {
            let listen = config.listen?;
            let scheme = if config.tls_cert.is_some() { "https" } else { "http" };
            // Who listens everywhere listens here.
            let here =
                if listen.is_ipv4() { IpAddr::from(Ipv4Addr::LOCALHOST) } else { Ipv6Addr::LOCALHOST.into() };
            let ip = if listen.ip().is_unspecified() { here } else { listen.ip() };
            Some(format!("{scheme}://{}", SocketAddr::new(ip, listen.port())))
        };
        let url = self.api.clone().or_else(own);
        let url = url
            .ok_or_else(|| CliError::Usage("api.listen is off; say whom to ask with --api URL".to_owned()))?;
        let (scheme, authority) = address(&url).map_err(CliError::Usage)?;
        let tls = match (scheme, &self.ca) {
            (Scheme::Http, _) => None,
            (Scheme::Https, None) => {
                return Err(CliError::Usage(format!(
                    "{url}: say who vouches for its certificate with --ca FILE"
                )));
            }
            (Scheme::Https, Some(ca)) => {
                let own = self.cert.as_deref().zip(self.key.as_deref());
                Some(http::tls(ca, own).map_err(|error| CliError::Usage(format!("{error:#}")))?)
            }
        };
        let token = token(config).map_err(|error| CliError::Usage(error.to_string()))?;
        Ok(Target { authority, token, tls })
    }
}

/// The answer of a worker at this path, if it is one.
///
/// # Errors
/// When it does not answer, or with another status than 200.
pub async fn ask(target: &Target, path: &str) -> anyhow::Result<Answer> {
    let answer = http::get(target, path).await?;
    let url = target.url();
    match answer.status {
        200 => Ok(answer),
        401 => Err(anyhow!("{url}{path} asks for the token: set api.token_file or api.token")),
        status => Err(anyhow!("{url}{path} answers {status}")),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

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
