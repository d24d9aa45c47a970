//! The generator as a program: the same bytes for the same seed, wherever they go.

mod server;

use std::path::Path;
use std::process::{Command, Output};

use server::Server;
use sightline_schemas::wire::{self, Form};

fn generate(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sightline-generate"))
        .args(arguments)
        .output()
        .expect("the binary was built")
}

fn words(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_the_truth_about_them() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let place = |name: &str| folder.path().join(name).to_str().expect("a plain path").to_owned();
    let first = generate(&["--count", "500", "--seed", "7"]);
    assert!(first.status.success(), "{}", words(&first));
    let second =
        generate(&["--count", "500", "--seed", "7", "-o", &place("a.zst"), "--truth", &place("truth.json")]);
    assert!(second.status.success(), "{}", words(&second));
    let read = |name: &str| std::fs::read(Path::new(&place(name))).expect("it was written");
    assert!(
        zstd::decode_all(&read("a.zst")[..]).expect("zstd") == first.stdout,
        "another file than standard output"
    );
    assert_ne!(generate(&["--count", "500", "--seed", "8"]).stdout, first.stdout);
    let truth: serde_json::Value = serde_json::from_slice(&read("truth.json")).expect("JSON");
    assert!(truth.as_array().is_some_and(|played| played.len() == 12), "{truth}");
    assert!(truth[0]["rules"].is_array() && truth[0]["first"].is_string(), "{truth}");
}

#[test]
fn wrong_options_are_said_and_nothing_is_written() {
    for (arguments, text) in [
        (&["--attack", "no-such"][..], "expected none, or one of drop-and-run"),
        (&["--rate", "0"], "expected events a second"),
        (&["-o", "/nowhere/at-all"], "cannot write /nowhere/at-all"),
        (&["--publish", "--url", "nats://127.0.0.1:1"], "cannot connect to 127.0.0.1:1"),
    ] {
        let output = generate(arguments);
        assert_eq!(output.status.code(), Some(3), "{arguments:?}: {}", words(&output));
        assert!(
            words(&output).contains(text) && output.stdout.is_empty(),
            "{arguments:?}: {}",
            words(&output)
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_published_is_what_is_written() {
    let server = Server::with_events().await;
    let same = ["--count", "300", "--start", "2026-05-08T12:00:00Z"];
    let written = generate(&same);
    let published = generate(&[&same[..], &["--publish", "--url", &server.url()]].concat());
    assert!(published.status.success(), "{}", words(&published));
    let mut sent: Vec<Vec<u8>> = Vec::new();
    for message in server.messages().await {
        let form = Form::of(message.content_type.as_deref()).expect("a form of ours");
        sent.extend(wire::split(&message.body, form).expect("a frame").into_iter().map(<[u8]>::to_vec));
    }
    // Published events name their tenant, which is the subject's; lines of a file leave `default` out.
    let named = |line: &[u8]| String::from_utf8_lossy(line).replace(r#","tenant":"default""#, "");
    let mut sent: Vec<String> = sent.iter().map(|event| named(event)).collect();
    let mut lines: Vec<String> = written.stdout.split(|byte| *byte == b'\n').map(named).collect();
    lines.retain(|line| !line.is_empty());
    sent.sort_unstable();
    lines.sort_unstable();
    assert!(sent == lines && sent.len() > 300, "{} and {}", sent.len(), lines.len());
}
