//! One question over HTTP, to a worker's own API. Not for anything else: no proxy, no redirects.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore};

/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Longest answer: the state of many thousand rules is far below.
const ANSWER_BYTES_MAX: u64 = 64 << 20;

/// An answer.
#[derive(Debug)]
pub struct Answer {
    /// The status, such as 200.
    pub status: u16,
    /// The body.
    pub body: Vec<u8>,
}

/// Whom to ask. No `Debug`: it may hold a secret.
pub struct Target {
    /// Host and port.
    pub authority: String,
    /// What to send as the token.
    pub token: Option<String>,
    /// In clear if there is none.
    pub tls: Option<TlsConnector>,
}

impl Target {
    /// Somebody on this machine who asks for no token.
    pub fn local(authority: &str) -> Self {
        Target { authority: authority.to_owned(), token: None, tls: None }
    }

    /// The address as it may be shown.
    pub fn url(&self) -> String {
        format!("{}://{}", if self.tls.is_some() { "https" } else { "http" }, self.authority)
    }

    fn host(&self) -> &str {
        let host = self.authority.rsplit_once(':').map_or(&*self.authority, |(host, _)| host);
        host.trim_start_matches('[').trim_end_matches(']')
    }

    /// In clear, a token is for this machine only.
    fn may_send_token(&self) -> bool {
        let local = self.host() == "localhost"
            || self.host().parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
        self.tls.is_some() || local
    }
}

/// TLS with a server that `ca` vouches for, and a certificate of our own if it asks for one. All are PEM files.
pub fn tls(ca: &Path, own: Option<(&Path, &Path)>) -> anyhow::Result<TlsConnector> {
    let cannot = |path: &Path| format!("cannot use {}", path.display());
    let mut roots = RootCertStore::empty();
    for authority in certificates(ca)? {
        roots.add(authority).with_context(|| cannot(ca))?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider speaks TLS 1.2 and 1.3")
        .with_root_certificates(roots);
    let config = match own {
        None => builder.with_no_client_auth(),
        Some((cert, key)) => {
            let private = PrivateKeyDer::from_pem_file(key).with_context(|| cannot(key))?;
            builder.with_client_auth_cert(certificates(cert)?, private).with_context(|| cannot(cert))?
        }
    };
    Ok(TlsConnector::from(Arc::new(config)))
}

fn certificates(path: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    read.with_context(|| format!("cannot use {}", path.display()))
}

/// Asks `target` for `path`.
pub async fn get(target: &Target, path: &str) -> anyhow::Result<Answer> {
    let asked = tokio::time::timeout(TIMEOUT, ask(target, path)).await;
    asked.map_err(|_| anyhow!("{}{path} does not answer within {TIMEOUT:?}", target.url()))?
}

async fn ask(target: &Target, path: &str) -> anyhow::Result<Answer> {
    let cannot = || format!("cannot ask {}{path}", target.url());
    let nobody = || format!("{}: start a worker, or say with --api where yours listens", cannot());
    let stream = TcpStream::connect(&target.authority).await.with_context(nobody)?;
    match &target.tls {
        None => exchange(target, stream, path).await.with_context(cannot),
        Some(tls) => {
            let name = ServerName::try_from(target.host().to_owned()).with_context(cannot)?;
            let stream = tls.connect(name, stream).await.with_context(cannot)?;
            exchange(target, stream, path).await.with_context(cannot)
        }
    }
}

async fn exchange(
    target: &Target,
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    path: &str,
) -> anyhow::Result<Answer> {
    let token = target.token.as_ref().filter(|_| target.may_send_token());
    let token = token.map_or(String::new(), |token| format!("Authorization: Bearer {token}\r\n"));
    let authority = &target.authority;
    // 1.0: the answer then ends with the connection, and never comes in chunks.
    let request =
        format!("GET {path} HTTP/1.0\r\nHost: {authority}\r\nAccept: application/json\r\n{token}\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    match stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer).await {
        // The end of an answer over TLS, where the other side does not say goodbye.
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof && !answer.is_empty() => {}
        read => drop(read?),
    }
    parse(&answer)
}

fn parse(answer: &[u8]) -> anyhow::Result<Answer> {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n");
    let Some(end) = end else { bail!("the answer is no HTTP") };
    let head = std::str::from_utf8(&answer[..end]).context("the answer is no HTTP")?;
    let status =
        head.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5)).and_then(|code| code.parse().ok());
    Ok(Answer { status: status.context("the answer is no HTTP")?, body: answer[end + 4..].to_vec() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_has_a_status_and_a_body() {
        let answer = parse(b"HTTP/1.0 503 Service Unavailable\r\nx: y\r\n\r\n{}").expect("HTTP");
        assert_eq!((answer.status, &answer.body[..]), (503, &b"{}"[..]));
        for other in [&b"SSH-2.0-OpenSSH"[..], b"HTTP/1.1 \r\n\r\n", b"\xff\xfe\r\n\r\n", b""] {
            assert!(parse(other).is_err());
        }
    }
}
