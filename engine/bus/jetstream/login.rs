//! Logging in once more, for a line of our own, as the client does for its own.

use std::sync::Arc;

use async_nats::{ConnectInfo, Protocol, ServerAddr, ServerInfo};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::{Buf, BytesMut};
use nkeys::KeyPair;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs};

use super::connect::{self, ConnectSettings, Connection, REQUEST_TIMEOUT};
use super::wire::{self, Said};
use crate::bus::BusError;

const WHAT: &str = "connect once more to read";

/// What bytes go over.
pub(super) trait Socket: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Socket for T {}

/// A socket on which we are logged in, and what came over it behind the welcome.
pub(super) struct LoggedIn {
    pub(super) socket: Box<dyn Socket>,
    pub(super) room: BytesMut,
}

/// Why a server did not let us in.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error(transparent)]
    Io(#[from] std::io::Error),
    #[error("{0}")]
    Said(String),
}

impl Refusal {
    fn said(why: impl std::fmt::Display) -> Self {
        Refusal::Said(why.to_string())
    }
}

/// Logs in on the first server that lets us in: one of those that the settings name, or that the servers themselves name.
pub(super) async fn log_in(connection: &Connection) -> Result<LoggedIn, BusError> {
    let settings = connection.settings();
    let named = connect::addresses(settings)?;
    let told = connection.client().server_info().connect_urls;
    let mut why = "there is no address".to_owned();
    for address in named.iter().cloned().chain(told.iter().filter_map(|address| address.parse().ok())) {
        let attempt = log_in_at(settings, &named, &address);
        match tokio::time::timeout(REQUEST_TIMEOUT, attempt).await {
            Ok(Ok(logged_in)) => return Ok(logged_in),
            Ok(Err(refusal)) => why = refusal.to_string(),
            Err(_) => why = format!("no answer within {REQUEST_TIMEOUT:?}"),
        }
    }
    Err(connection.retry(WHAT, why))
}

async fn log_in_at(
    settings: &ConnectSettings,
    named: &[ServerAddr],
    address: &ServerAddr,
) -> Result<LoggedIn, Refusal> {
    let mut plain = TcpStream::connect((address.host(), address.port())).await?;
    plain.set_nodelay(true)?;
    let mut room = BytesMut::new();
    let info: ServerInfo = hear(&mut plain, &mut room, |said| match said {
        Said::Info(json) => Some(serde_json::from_slice(json)),
        _ => None,
    })
    .await?
    .map_err(Refusal::said)?;
    let tls_required = settings.wants_tls() || address.tls_required();
    let mut socket: Box<dyn Socket> = match tls_required || info.tls_required {
        false => Box::new(plain),
        true => {
            let name = ServerName::try_from(address.host().to_owned()).map_err(Refusal::said)?;
            // What is behind the first line in clear is not from whom the certificate is.
            room.clear();
            Box::new(tls(settings).await?.connect(name, plain).await?)
        }
    };
    let login = login(settings, named, &info, tls_required).await?;
    let login = serde_json::to_string(&login).map_err(Refusal::said)?;
    socket.write_all(format!("CONNECT {login}\r\nPING\r\n").as_bytes()).await?;
    socket.flush().await?;
    hear(&mut socket, &mut room, |said| matches!(said, Said::Pong).then_some(())).await?;
    Ok(LoggedIn { socket, room })
}

/// Reads until the server has said what is wanted.
async fn hear<T>(
    socket: &mut (impl AsyncRead + Unpin),
    room: &mut BytesMut,
    wanted: impl Fn(&Said<'_>) -> Option<T>,
) -> Result<T, Refusal> {
    loop {
        let heard = match wire::first(room).map_err(Refusal::said)? {
            Ok((Said::Complaint(text), _)) => return Err(Refusal::said(format!("the server said: {text}"))),
            Ok((said, taken)) => Some((wanted(&said), taken)),
            Err(_) => None,
        };
        if let Some((heard, taken)) = heard {
            room.advance(taken);
            if let Some(heard) = heard {
                return Ok(heard);
            }
        } else if socket.read_buf(room).await? == 0 {
            return Err(Refusal::said("the server hung up"));
        }
    }
}

/// Who we are, in the words of the protocol.
async fn login(
    settings: &ConnectSettings,
    named: &[ServerAddr],
    server: &ServerInfo,
    tls_required: bool,
) -> Result<ConnectInfo, Refusal> {
    let mut login = ConnectInfo {
        verbose: false,
        pedantic: false,
        user_jwt: None,
        nkey: None,
        signature: None,
        name: Some(settings.name.clone()),
        echo: true,
        lang: "rust".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        protocol: Protocol::Dynamic,
        tls_required,
        user: settings.user.clone(),
        pass: settings.password.clone(),
        auth_token: settings.token.clone(),
        headers: true,
        no_responders: true,
    };
    let sign = |seed: &str| -> Result<(String, String), Refusal> {
        let keys = KeyPair::from_seed(seed).map_err(Refusal::said)?;
        let signature = keys.sign(server.nonce.as_bytes()).map_err(Refusal::said)?;
        Ok((keys.public_key(), URL_SAFE_NO_PAD.encode(signature)))
    };
    if let Some(path) = &settings.nkey_seed_file {
        let seed = connect::read(path, "nkey_seed_file").await.map_err(Refusal::said)?;
        let (key, signature) = sign(seed.trim())?;
        (login.nkey, login.signature) = (Some(key), Some(signature));
    }
    if let Some(path) = &settings.creds_file {
        let text = connect::read(path, "creds_file").await.map_err(Refusal::said)?;
        let (jwt, seed) =
            creds(&text).ok_or_else(|| Refusal::said("creds_file holds no user JWT and seed"))?;
        login.signature = Some(sign(seed)?.1);
        login.user_jwt = Some(jwt.to_owned());
    }
    match connect::address_login(settings, named) {
        None => {}
        Some((user, Some(password))) => {
            (login.user, login.pass) = (Some(user.to_owned()), Some(password.to_owned()));
        }
        Some((token, None)) => login.auth_token = Some(token.to_owned()),
    }
    Ok(login)
}

/// The JWT and the seed of a `.creds` file: the first two lines that stand between lines of dashes.
fn creds(text: &str) -> Option<(&str, &str)> {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let dashes = |line: &str| line.starts_with("---") && line.ends_with("---");
    let mut found = lines.windows(3).filter_map(|three| match three {
        [before, line, behind] if dashes(before) && dashes(behind) => {
            (!line.is_empty() && !dashes(line)).then_some(*line)
        }
        _ => None,
    });
    Some((found.next()?, found.next()?))
}

/// TLS as the settings have it: with the authorities that they name, or those of the system.
async fn tls(settings: &ConnectSettings) -> Result<TlsConnector, Refusal> {
    let (ca, cert, key) = (settings.tls_ca.clone(), settings.tls_cert.clone(), settings.tls_key.clone());
    let certificates = |path: &std::path::Path| -> Result<Vec<CertificateDer<'static>>, Refusal> {
        CertificateDer::pem_file_iter(path)
            .and_then(Iterator::collect)
            .map_err(|error| Refusal::said(format!("cannot use {}: {error}", path.display())))
    };
    let config = move || -> Result<ClientConfig, Refusal> {
        let mut roots = RootCertStore::empty();
        match ca {
            Some(path) => {
                for authority in certificates(&path)? {
                    roots.add(authority).map_err(Refusal::said)?;
                }
            }
            None => drop(roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs)),
        }
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(Refusal::said)?
            .with_root_certificates(roots);
        match (cert, key) {
            (Some(cert), Some(key)) => {
                let key = PrivateKeyDer::from_pem_file(key).map_err(Refusal::said)?;
                builder.with_client_auth_cert(certificates(&cert)?, key).map_err(Refusal::said)
            }
            _ => Ok(builder.with_no_client_auth()),
        }
    };
    let config = tokio::task::spawn_blocking(config).await.map_err(Refusal::said)??;
    Ok(TlsConnector::from(Arc::new(config)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_creds_file_holds_a_jwt_and_a_seed() {
        let text = "-----BEGIN NATS USER JWT-----\neyJ0.eyJq-dA.TQ2_i\n------END NATS USER JWT------\n\n\
                    ************************* IMPORTANT *************************\nkeep it secret\n\n\
                    -----BEGIN USER NKEY SEED-----\r\nSUAOY5\r\n------END USER NKEY SEED------\r\n\n****\n";
        assert_eq!(creds(text), Some(("eyJ0.eyJq-dA.TQ2_i", "SUAOY5")));
        assert_eq!(creds("-----BEGIN NATS USER JWT-----\neyJ0\n------END NATS USER JWT------\n"), None);
    }
}
