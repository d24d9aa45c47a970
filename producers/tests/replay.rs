//! The replayer and the publisher against a real server.

mod server;

use std::io::Write;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use server::Server;
use sightline_producers::{Connect, Message, PublishError, Publisher, PublisherConfig};
use sightline_schemas::EventTime;
use sightline_schemas::subject::REPLAY_END;
use sightline_schemas::wire::Form;

/// Three events of two sources, one that names none, and one that is no JSON.
const MIXED: &str = r#"{"source":"fim","ts":"2026-05-08T12:00:00Z","kind":"file_change"}
{"source":"edr","ts":"2026-05-08T12:00:00.500Z","kind":"process_start"}
{"kind":"nobody said it"}
not json

{"source":"fim","ts":"2026-05-08T12:00:01Z","kind":"file_change"}
"#;

fn replay(url: &str, arguments: &[&str], input: &[u8]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_sightline-replay"))
        // The name that `sightline` has for it.
        .args(["--nats-url", url, "--patience", "1s"])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary was built");
    // It may end without reading anything.
    let _ = child.stdin.take().expect("piped").write_all(input);
    child.wait_with_output().expect("our child")
}

fn words(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_line_goes_as_it_is_to_the_subject_of_its_source_and_a_second_run_changes_nothing() {
    let server = Server::with_events().await;
    let first = replay(&server.url(), &["-"], MIXED.as_bytes());
    assert_eq!(first.status.code(), Some(0), "{}", words(&first));
    assert!(words(&first).contains("read 5, published 5, acknowledged 5, duplicates 0"), "{}", words(&first));
    assert!(words(&first).contains("without a source 2"), "{}", words(&first));

    let log = server.log().await;
    let lines: Vec<&str> = MIXED.lines().filter(|line| !line.is_empty()).collect();
    let expected: Vec<(&str, &str)> =
        ["fim", "edr", "unknown", "unknown", "fim"].into_iter().zip(lines).collect();
    let subject = |source: &str| format!("events.default.{source}");
    assert_eq!(log.len(), expected.len());
    for ((stored, body, id), (source, line)) in log.iter().zip(expected) {
        assert_eq!((stored.as_str(), body.as_slice()), (subject(source).as_str(), line.as_bytes()));
        assert!(id.is_some());
    }

    let second = replay(&server.url(), &["-"], MIXED.as_bytes());
    assert!(words(&second).contains("acknowledged 5, duplicates 5"), "{}", words(&second));
    assert_eq!(server.log().await.len(), 5);
    let third = replay(&server.url(), &["--no-msg-id", "-"], MIXED.as_bytes());
    assert!(words(&third).contains("acknowledged 5, duplicates 0"), "{}", words(&third));
    assert_eq!(server.log().await.len(), 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compressed_file_in_frames_arrives_whole() {
    let server = Server::with_events().await;
    let text: String = (0..1_000).map(|n| format!("{{\"source\":\"s{}\",\"n\":{n}}}\n", n % 3)).collect();
    let mut file = tempfile::NamedTempFile::new().expect("temporary file");
    file.write_all(&zstd::encode_all(text.as_bytes(), 1).expect("memory")).expect("written");
    let path = file.path().to_str().expect("plain path");
    let output = replay(&server.url(), &["--frame", "100", "--tenant", "acme corp", path], b"");
    assert_eq!(output.status.code(), Some(0), "{}", words(&output));
    assert!(words(&output).contains("published 1000, acknowledged 1000"), "{}", words(&output));

    let log = server.log().await;
    // 334, 333 and 333 lines: four frames each.
    assert_eq!(log.len(), 12);
    assert!(log.iter().all(|(subject, ..)| subject.starts_with("events.acme=20corp.s")));
    let mut lines: Vec<&[u8]> =
        log.iter().flat_map(|(_, body, _)| body.split(|byte| *byte == b'\n')).collect();
    let mut expected: Vec<&[u8]> = text.lines().map(str::as_bytes).collect();
    lines.sort_unstable();
    expected.sort_unstable();
    assert_eq!(lines, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_paced_by_rate_and_by_event_time() {
    let server = Server::with_events().await;
    // Five events: the fifth is due after 4/10 s. Event time spans one second: half of one at double speed.
    for (arguments, least) in [(["--rate", "10/s"], 400), (["--speed", "2"], 500)] {
        let start = Instant::now();
        let output =
            replay(&server.url(), &[arguments[0], arguments[1], "--no-msg-id", "-"], MIXED.as_bytes());
        assert_eq!(output.status.code(), Some(0), "{}", words(&output));
        assert!(start.elapsed() >= Duration::from_millis(least), "{arguments:?} took {:?}", start.elapsed());
    }
}

/// 2,500 events in frames, out of order, one second apart; every tenth is Alice's.
async fn record(server: &Server) -> Vec<String> {
    let mut lines: Vec<String> = (0..2_500_i64)
        .map(|n| {
            let at = EventTime::from_micros((1_775_000_000 + n) * 1_000_000);
            let user = if n % 10 == 0 { "alice" } else { "bob" };
            format!(r#"{{"source":"s{}","occurred_at":"{at}","actor":{{"id":"{user}"}},"n":{n}}}"#, n % 3)
        })
        .collect();
    let sorted = lines.clone();
    lines.reverse();
    let output = replay(&server.url(), &["--frame", "7", "-"], lines.join("\n").as_bytes());
    assert_eq!(output.status.code(), Some(0), "{}", words(&output));
    sorted
}

/// Runs a replay of the stream, and gives what subscribers of `replay.>` saw: bodies and headers, and the end marker.
async fn see(server: &Server, arguments: &[&str]) -> (Vec<async_nats::Message>, serde_json::Value, Output) {
    let client = async_nats::connect(server.url()).await.expect("the server listens");
    let mut subscriber = client.subscribe("replay.>").await.expect("subscribed");
    // Sent is not known: only who hears himself is heard by others.
    client.publish("replay.myself", "".into()).await.expect("sent");
    subscriber.next().await.expect("the server knows of the subscription");
    let (url, arguments) = (server.url(), [&["--stream"][..], arguments].concat());
    let run = arguments.iter().map(ToString::to_string).collect::<Vec<_>>();
    let running = tokio::task::spawn_blocking(move || {
        replay(&url, &run.iter().map(String::as_str).collect::<Vec<_>>(), b"")
    });
    let mut seen = Vec::new();
    let end = loop {
        let message = subscriber.next().await.expect("the connection lives");
        if message.subject.as_str() == REPLAY_END {
            break serde_json::from_slice(&message.payload).expect("JSON");
        }
        seen.push(message);
    };
    (seen, end, running.await.expect("no panic"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stretch_of_the_log_is_replayed_in_order_marked_and_out_of_the_way_of_workers() {
    let server = Server::with_events().await;
    let sorted = record(&server).await;
    let before = server.messages().await.len();
    let (seen, end, output) = see(&server, &["--speed", "0"]).await;
    assert_eq!(output.status.code(), Some(0), "{}", words(&output));
    let bodies: Vec<String> =
        seen.iter().map(|one| String::from_utf8_lossy(&one.payload).into_owned()).collect();
    assert!(bodies == sorted, "{} of {} events, or in another order", bodies.len(), sorted.len());
    assert_eq!((end["total"].as_u64(), end["complete"].as_bool()), (Some(2_500), Some(true)));
    assert_eq!(seen[4].subject.as_str(), "replay.default.s1");
    let header = |message: &async_nats::Message, name: &str| {
        message.headers.as_ref().and_then(|headers| headers.get(name)).map(ToString::to_string)
    };
    let run = end["replay"].as_str().map(str::to_owned);
    assert!(seen.iter().all(|one| header(one, "Sightline-Replay") == run));
    // The last ones of a source were recorded in its first frame.
    assert_eq!(header(&seen[2_499], "Sightline-Position").as_deref(), Some("1.0"));
    assert_eq!(server.messages().await.len(), before, "a replay is no input");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_is_asked_for_is_replayed() {
    let server = Server::with_events().await;
    record(&server).await;
    let at = |second: i64| EventTime::from_micros((1_775_000_000 + second) * 1_000_000).to_string();
    let (since, until) = (at(100), at(199));
    for (arguments, expected) in [
        (&["--entity", "ALICE"][..], 250),
        (&["--since", &since, "--until", &until], 100),
        (&["--since", &since, "--until", &until, "--source", "s1", "--entity", "alice"], 4),
        (&["--entity", "nobody"], 0),
    ] {
        let (seen, end, output) = see(&server, arguments).await;
        assert_eq!(output.status.code(), Some(0), "{}", words(&output));
        assert_eq!((seen.len(), end["total"].as_u64()), (expected, Some(expected as u64)), "{arguments:?}");
    }
    let missing = replay(&server.url(), &["--stream", "NONE"], b"");
    assert_eq!(missing.status.code(), Some(3), "{}", words(&missing));
    assert!(words(&missing).contains("cannot read the stream NONE"), "{}", words(&missing));
}

#[tokio::test(flavor = "multi_thread")]
async fn gaps_are_kept_in_proportion_and_long_ones_cut() {
    let server = Server::with_events().await;
    let lines = ["12:00:00", "12:00:01", "12:10:01", "12:10:02"]
        .map(|clock| format!(r#"{{"source":"a","occurred_at":"2026-05-08T{clock}Z"}}"#));
    replay(&server.url(), &["-"], lines.join("\n").as_bytes());
    let start = Instant::now();
    let (seen, _, output) = see(&server, &["--speed", "10", "--gap-max", "400ms"]).await;
    assert_eq!((seen.len(), output.status.code()), (4, Some(0)), "{}", words(&output));
    // 100 ms, 60 s cut to 400 ms, 100 ms.
    assert!(start.elapsed() >= Duration::from_millis(600), "{:?}", start.elapsed());
    assert!(start.elapsed() < Duration::from_secs(30), "the long gap was waited for: {:?}", start.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stretch_goes_into_the_log_of_another_server_where_that_is_asked_for() {
    let (recorded, fresh) = (Server::with_events().await, Server::with_events().await);
    let sorted = record(&recorded).await;
    let recorded_url = recorded.url();
    let arguments = ["--stream", "EVENTS", "--stream-url", &recorded_url, "--to", "events", "--frame", "50"];
    let output = replay(&fresh.url(), &arguments, b"");
    assert_eq!(output.status.code(), Some(0), "{}", words(&output));
    assert!(words(&output).contains("read 2500, published 2500, acknowledged 2500"), "{}", words(&output));
    let mut bodies: Vec<String> = Vec::new();
    for (_, body, _) in fresh.log().await {
        bodies.extend(String::from_utf8_lossy(&body).lines().map(str::to_owned));
    }
    let mut sorted = sorted;
    bodies.sort_unstable();
    sorted.sort_unstable();
    assert!(bodies == sorted, "{} of {} events, or others", bodies.len(), sorted.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_exit_code_tells_what_went_wrong() {
    let server = Server::start();
    let nobody = "nats://127.0.0.1:1";
    for (url, arguments, code, text) in [
        (nobody, &["-"][..], 3, "cannot connect to 127.0.0.1:1"),
        (nobody, &["--rate", "0", "-"], 3, "expected events a second"),
        (nobody, &[], 3, "FILE"),
        (nobody, &["/nowhere/at-all"], 3, "cannot open /nowhere/at-all"),
        (nobody, &["--help"], 0, ""),
        (nobody, &["--dry-run", "-"], 0, "read 5, without a source 2"),
        (&server.url(), &["-"], 1, "no stream takes this subject"),
    ] {
        let output = replay(url, arguments, MIXED.as_bytes());
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", words(&output));
        assert!(words(&output).contains(text), "{arguments:?}: {}", words(&output));
    }
    let dry = replay(nobody, &["--dry-run", "-"], MIXED.as_bytes());
    let expected = "events.default.edr 1 events 1 messages\nevents.default.fim 2 events 2 messages\n\
                    events.default.unknown 2 events 2 messages\n";
    assert_eq!(String::from_utf8_lossy(&dry.stdout), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_message_that_is_too_large_does_not_hold_up_the_others() {
    let server = Server::with_events().await;
    // The default limit of the server is 1 MiB.
    let text = format!("{{\"source\":\"a\",\"x\":\"{}\"}}\n{{\"source\":\"a\"}}\n", "x".repeat(2 << 20));
    let output = replay(&server.url(), &["-"], text.as_bytes());
    assert_eq!(output.status.code(), Some(1), "{}", words(&output));
    assert!(words(&output).contains("acknowledged 1"), "{}", words(&output));
    assert!(words(&output).contains("refused 1"), "{}", words(&output));
    assert_eq!(server.log().await.len(), 1);
}

async fn publisher(server: &Server, patience: Duration) -> Publisher {
    let client = Connect::to(server.url()).open("test").await.expect("the server listens");
    let config = PublisherConfig { patience, messages_in_flight_max: 500, ..PublisherConfig::default() };
    Publisher::start(client, config).await.expect("subscribed")
}

fn numbered(n: usize) -> Message {
    Message::raw("default", "test", format!("{{\"n\":{n}}}"), Form::Json)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_of_the_server_loses_and_doubles_nothing() {
    let mut server = Server::with_events().await;
    let publisher = publisher(&server, Duration::from_secs(60)).await;
    let total = 20_000;
    let feed = {
        let publisher = publisher.clone();
        tokio::spawn(async move {
            for n in 0..total {
                publisher.publish(numbered(n)).await.expect("the publisher lives");
            }
        })
    };
    for _ in 0..3 {
        let before = publisher.counts().acknowledged;
        // In the middle of the stream, with messages on their way.
        while publisher.counts().acknowledged < before + 1_000 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        server.restart();
    }
    feed.await.expect("fed");
    publisher.flush().await.expect("all are in the log");
    let counts = publisher.counts();
    assert_eq!((counts.acknowledged, counts.failed()), (total as u64, 0), "{counts:?}");
    assert!(counts.resent > 0, "the crashes hit nothing: {counts:?}");

    let mut stored: Vec<Vec<u8>> = server.log().await.into_iter().map(|(_, body, _)| body).collect();
    let mut expected: Vec<Vec<u8>> = (0..total).map(|n| numbered(n).body().to_vec()).collect();
    stored.sort_unstable();
    expected.sort_unstable();
    assert_eq!(stored.len(), expected.len());
    assert!(stored == expected, "another set of events");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stays_away_is_given_up_and_a_later_one_is_used() {
    let mut server = Server::with_events().await;
    let publisher = publisher(&server, Duration::from_secs(1)).await;
    assert_eq!(publisher.store(numbered(0)).await.expect("stored").seq, 1);
    assert!(publisher.store(numbered(0)).await.expect("stored").duplicate);
    server.kill();
    publisher.publish(numbered(1)).await.expect("taken");
    let error = publisher.flush().await.expect_err("nobody is there");
    assert!(matches!(error, PublishError::Some { events: 1, .. }), "{error}");
    assert!(publisher.store(numbered(2)).await.is_err());
    assert_eq!(publisher.counts().gave_up, 2);

    server.restart();
    // The client may take a moment to notice.
    while publisher.store(numbered(3)).await.is_err() {}
    assert!(publisher.flush().await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_appears_later_gets_the_message() {
    let server = Server::start();
    let publisher = publisher(&server, Duration::from_secs(30)).await;
    let waiting = tokio::spawn(async move { publisher.store(numbered(1)).await });
    tokio::time::sleep(Duration::from_millis(300)).await;
    server.create_stream().await;
    assert_eq!(waiting.await.expect("no panic").expect("stored").seq, 1);
}
