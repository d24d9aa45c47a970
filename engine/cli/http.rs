//! One question over plain HTTP, to the worker's own API on the same machine. Not for anything else: no TLS, no proxy, no
//! redirects.

use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

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

/// Asks `authority` (host and port) for `path`.
pub async fn get(authority: &str, path: &str) -> anyhow::Result<Answer> {
    let asked = tokio::time::timeout(TIMEOUT, ask(authority, path)).await;
    asked.map_err(|_| anyhow!("http://{authority}{path} does not answer within {TIMEOUT:?}"))?
}

async fn ask(authority: &str, path: &str) -> anyhow::Result<Answer> {
    let cannot = || format!("cannot ask http://{authority}{path}");
    let mut stream = TcpStream::connect(authority).await.with_context(cannot)?;
    // 1.0: the answer then ends with the connection, and never comes in chunks.
    let request = format!("GET {path} HTTP/1.0\r\nHost: {authority}\r\nAccept: application/json\r\n\r\n");
    stream.write_all(request.as_bytes()).await.with_context(cannot)?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer).await.with_context(cannot)?;
    parse(&answer).with_context(cannot)
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
