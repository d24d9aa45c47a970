//! Senders that are slow, many, or not whom they say: they hold up nobody, and TLS is spoken where it is asked for.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::process::Command;
use std::time::Duration;

use serde_json::json;

use crate::certificates::Authority;
use crate::posted::{KEY, receiver};
use crate::stage::{LONG, command, post, server_with_streams, wait_for_events, words};

const PATH: &str = "/api/v1/ingest/events";

fn event(host: &str) -> String {
    json!({"source": "app", "host_id": host, "kind": "line"}).to_string()
}

/// Sends these bytes and no more; gives what comes until the other side hangs up.
fn silent_after(port: u16, bytes: &str) -> String {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("connected");
    stream.set_read_timeout(Some(LONG)).expect("set");
    stream.write_all(bytes.as_bytes()).expect("written");
    let mut answer = String::new();
    // A reset is a hanging up, too.
    let _ = stream.read_to_string(&mut answer).map_err(|error| {
        assert!(error.kind() != std::io::ErrorKind::WouldBlock, "it is still connected after {LONG:?}");
    });
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_does_not_finish_a_request_is_hung_up_on_and_holds_up_nobody() {
    let server = server_with_streams().await;
    let place = tempfile::tempdir().expect("a temporary directory");
    let more = ["--request-timeout", "1s", "--connections-max", "4"];
    let (running, port) = receiver(&server.url(), place.path(), "sentracore", &more);
    let half_head = format!("POST {PATH} HTTP/1.1\r\nHost: localhost\r\nX-Api-");
    let half_body = format!(
        "POST {PATH} HTTP/1.1\r\nHost: localhost\r\nX-Api-Key: {KEY}\r\nContent-Length: 100\r\n\r\n{{\"source\":"
    );
    // Twice as many as there are places: all of them are served in the end, with what they deserve.
    let slow: Vec<_> = [String::new(), half_head, half_body.clone(), half_body]
        .into_iter()
        .cycle()
        .take(8)
        .map(|bytes| std::thread::spawn(move || silent_after(port, &bytes)))
        .collect();
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(post(port, PATH, &[("X-Api-Key", KEY)], event("h").as_bytes()).0, 200);
    let answers: Vec<String> = slow.into_iter().map(|one| one.join().expect("no panic")).collect();
    let late = answers.iter().filter(|answer| answer.starts_with("HTTP/1.1 408 ")).count();
    assert!(late == 4, "{answers:?}");

    // A body is not read of whoever has no key, nor one that is longer than any may be.
    let announced = |key: &str, bytes: u64| {
        format!(
            "POST {PATH} HTTP/1.1\r\nHost: localhost\r\nX-Api-Key: {key}\r\nContent-Length: {bytes}\r\n\r\n"
        )
    };
    assert!(silent_after(port, &announced("wrong", 100)).starts_with("HTTP/1.1 401 "));
    assert!(silent_after(port, &announced(KEY, 1 << 30)).starts_with("HTTP/1.1 413 "));
    assert_eq!(wait_for_events(&server, 1).await.len(), 1);
    let (code, said) = running.stop();
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("read 1, sent 1"), "{said}");
}

/// What curl says to a post, with these options: the status, 000 where there is none.
fn curl(port: u16, options: &[&str], body: &str) -> String {
    let output = Command::new("curl")
        .args(["--silent", "--output", "/dev/null", "--write-out", "%{http_code}", "--data-binary", body])
        .args(["--header", &format!("X-Api-Key: {KEY}")])
        .args(options)
        .arg(format!("https://localhost:{port}{PATH}"))
        .output()
        .expect("curl runs");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn over_tls_a_sender_needs_a_certificate_of_the_authority_that_is_asked_for() {
    if Command::new("curl").arg("--version").output().is_err() {
        println!("skipped: there is no curl to speak TLS with");
        return;
    }
    let server = server_with_streams().await;
    let place = tempfile::tempdir().expect("a temporary directory");
    let file = |name: &str| place.path().join(name);
    let authority = Authority::new(&file("ca.pem"));
    let stranger = Authority::new(&file("stranger.pem"));
    let (ours, theirs) = (authority.server(&file("server")), authority.client("sensor", &file("client")));
    let other = stranger.client("sensor", &file("other"));
    let text = |path: &std::path::Path| path.to_str().expect("plain path").to_owned();
    let (cert, key, ca) = (text(&ours.cert), text(&ours.key), text(&authority.file));
    let options = ["--tls-cert", &cert, "--tls-key", &key, "--tls-client-ca", &ca];
    let (running, port) = receiver(&server.url(), place.path(), "sentracore", &options);
    let (client_cert, client_key) = (text(&theirs.cert), text(&theirs.key));
    let right = ["--cacert", &ca, "--cert", &client_cert, "--key", &client_key];
    assert_eq!(curl(port, &right, &event("h")), "200");
    assert_eq!(curl(port, &["--cacert", &ca], &event("without")), "000");
    let (other_cert, other_key) = (text(&other.cert), text(&other.key));
    assert_eq!(
        curl(port, &["--cacert", &ca, "--cert", &other_cert, "--key", &other_key], &event("other")),
        "000"
    );
    // Plain HTTP is not understood there.
    assert!(!silent_after(port, &format!("GET {PATH} HTTP/1.1\r\nHost: localhost\r\n\r\n")).contains("200"));
    assert_eq!(wait_for_events(&server, 1).await[0]["host_id"], "h");
    let (code, said) = running.stop();
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("read 1, sent 1"), "{said}");
}

#[test]
fn an_address_that_others_reach_is_not_open_to_all_of_them() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let keys = place.path().join("keys");
    std::fs::write(&keys, format!("{KEY}\n")).expect("written");
    let keys = keys.to_str().expect("plain path").to_owned();
    for (options, said) in [
        (&[][..], "--tls-cert"),
        (&["--api-keys", &keys], "--tls-cert"),
        (&["--behind-proxy"], "--api-keys"),
        (&["--api-keys", &keys, "--tls-cert", "/nowhere", "--tls-key", "/nowhere"], "/nowhere"),
    ] {
        let mut arguments = vec!["--bind", "0.0.0.0:0", "--dry-run"];
        arguments.extend(options);
        let output =
            command("nats://127.0.0.1:1", place.path(), "sentracore", &arguments).output().expect("it runs");
        assert_eq!(output.status.code(), Some(3), "{options:?}");
        assert!(words(&output).contains(said), "{options:?}: {}", words(&output));
    }
}
