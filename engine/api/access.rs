//! Who may ask: the settings of the API, read and checked before anything listens.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio_rustls::rustls;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

use super::ApiError;
use crate::config::ApiConfig;

/// Shortest token. One that a person makes up is shorter, and can be guessed.
const TOKEN_BYTES_MIN: usize = 16;

/// Where to listen, and who is answered. Only [`Access::read`] makes one, so none is open to a network and asks nobody who
/// they are.
#[derive(Clone)]
pub struct Access {
    listen: SocketAddr,
    token: Option<Token>,
    tls: Option<Arc<ServerConfig>>,
}

/// What is kept of a token: enough to know it again, and nothing that could be shown.
#[derive(Clone, Copy)]
pub(super) struct Token(blake3::Hash);

impl Token {
    fn new(text: &str) -> Self {
        Token(blake3::hash(text.as_bytes()))
    }

    /// Whether `text` is it. Takes the same time whatever they have in common: hashes compare in constant time.
    pub(super) fn is(&self, text: &[u8]) -> bool {
        self.0 == blake3::hash(text)
    }
}

impl Access {
    /// On this machine, to everybody: for tests and trials.
    ///
    /// # Errors
    /// When `listen` can be reached from other machines.
    pub fn on_loopback(listen: SocketAddr) -> Result<Self, ApiError> {
        Access { listen, token: None, tls: None }.checked()
    }

    /// As the settings say; `None` where the API is off.
    ///
    /// # Errors
    /// When a file cannot be used, a token is too short, or the address can be reached from other machines and the
    /// settings do not protect it.
    pub fn read(config: &ApiConfig) -> Result<Option<Self>, ApiError> {
        let Some(listen) = config.listen else { return Ok(None) };
        let token = token(config)?.map(|text| Token::new(&text));
        let tls = match (&config.tls_cert, &config.tls_key) {
            (Some(cert), Some(key)) => Some(Arc::new(tls(cert, key, config.tls_client_ca.as_deref())?)),
            _ => None,
        };
        let asks = token.is_some() || config.tls_client_ca.is_some();
        if !(listen.ip().is_loopback() || tls.is_some() && asks) {
            return Err(ApiError::Unprotected(listen));
        }
        Ok(Some(Access { listen, token, tls }))
    }

    fn checked(self) -> Result<Self, ApiError> {
        if self.listen.ip().is_loopback() { Ok(self) } else { Err(ApiError::Unprotected(self.listen)) }
    }

    pub(super) fn listen(&self) -> SocketAddr {
        self.listen
    }

    pub(super) fn token(&self) -> Option<Token> {
        self.token
    }

    pub(super) fn tls(&self) -> Option<Arc<ServerConfig>> {
        self.tls.clone()
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Access")
            .field("listen", &self.listen)
            .field("token", &self.token.is_some())
            .field("tls", &self.tls.is_some())
            .finish()
    }
}

/// The token that the settings name, from where they name it.
///
/// # Errors
/// When its file cannot be read, or it is too short to be one.
pub fn token(config: &ApiConfig) -> Result<Option<String>, ApiError> {
    let (setting, text) = match (&config.token, &config.token_file) {
        (Some(token), _) => ("api.token", token.clone()),
        (None, Some(path)) => {
            let text = std::fs::read_to_string(path);
            ("api.token_file", text.map_err(|error| unusable("api.token_file", path, error))?)
        }
        (None, None) => return Ok(None),
    };
    let text = text.trim();
    let sendable = text.bytes().all(|byte| byte.is_ascii_graphic());
    if text.len() < TOKEN_BYTES_MIN || !sendable {
        return Err(ApiError::Token { setting, bytes_min: TOKEN_BYTES_MIN });
    }
    Ok(Some(text.to_owned()))
}

/// Our certificate, and whose certificates we ask for, if any.
fn tls(cert: &Path, key: &Path, client_ca: Option<&Path>) -> Result<ServerConfig, ApiError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let chain = certificates("api.tls_cert", cert)?;
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| unusable("api.tls_key", key, error))?;
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .expect("the provider speaks TLS 1.2 and 1.3");
    let builder = match client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for authority in certificates("api.tls_client_ca", path)? {
                roots.add(authority).map_err(|error| unusable("api.tls_client_ca", path, error))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder.with_client_cert_verifier(
                verifier.map_err(|error| unusable("api.tls_client_ca", path, error))?,
            )
        }
    };
    let mut config =
        builder.with_single_cert(chain, private).map_err(|error| unusable("api.tls_cert", cert, error))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

fn certificates(setting: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, ApiError> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match read {
        Ok(found) if found.is_empty() => Err(unusable(setting, path, "it holds no certificate (PEM)")),
        Ok(found) => Ok(found),
        Err(error) => Err(unusable(setting, path, error)),
    }
}

fn unusable(setting: &'static str, path: &Path, why: impl fmt::Display) -> ApiError {
    ApiError::File { setting, path: PathBuf::from(path), why: why.to_string() }
}
