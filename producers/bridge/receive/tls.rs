//! Our certificate, and whose certificates we ask senders for.
//!
//! The engine's API reads its files alike, and shares nothing with this: producers know the schemas and no other room.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

/// What speaks TLS with senders.
///
/// # Errors
/// When a file cannot be used; the text names the option and the file.
pub fn acceptor(cert: &Path, key: &Path, client_ca: Option<&Path>) -> Result<TlsAcceptor, String> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let chain = certificates("--tls-cert", cert)?;
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| unusable("--tls-key", key, error))?;
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .expect("the provider speaks TLS 1.2 and 1.3");
    let builder = match client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let unusable = |error: &dyn fmt::Display| unusable("--tls-client-ca", path, error);
            let mut roots = RootCertStore::empty();
            for authority in certificates("--tls-client-ca", path)? {
                roots.add(authority).map_err(|error| unusable(&error))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder.with_client_cert_verifier(verifier.map_err(|error| unusable(&error))?)
        }
    };
    let mut config =
        builder.with_single_cert(chain, private).map_err(|error| unusable("--tls-cert", cert, error))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn certificates(option: &str, path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match read {
        Ok(found) if found.is_empty() => Err(unusable(option, path, "it holds no certificate (PEM)")),
        Ok(found) => Ok(found),
        Err(error) => Err(unusable(option, path, error)),
    }
}

fn unusable(option: &str, path: &Path, why: impl fmt::Display) -> String {
    format!("{option}: cannot use {}: {why}", path.display())
}
