//! The outbox and its spool against a real server that comes and goes.

mod server;

use std::path::Path;
use std::time::Duration;

use server::Server;
use sightline_producers::{
    Connect, Draft, Framing, Hidden, Kept, Outbox, OutboxConfig, Pseudonyms, PublishError, PublisherConfig,
    Raw, SpoolConfig, Survives, TraceParent,
};
use sightline_schemas::wire::{self, Form};

fn numbered(n: u64) -> Draft {
    Draft::new("test", "number").key(n.to_string()).field("n", n)
}

async fn outbox(server: &Server, config: OutboxConfig) -> Outbox {
    let client = Connect::to(server.url()).open_when_possible("test").await.expect("the options are fine");
    Outbox::start(client, config).await.expect("started")
}

fn spooled(folder: &Path) -> OutboxConfig {
    OutboxConfig {
        spool: Some(SpoolConfig::at(folder)),
        flush_wait: Duration::from_secs(20),
        publisher: PublisherConfig { ack_wait: Duration::from_secs(1), ..PublisherConfig::default() },
        ..OutboxConfig::default()
    }
}

/// The numbers of all events on the stream, in its order.
async fn numbers(server: &Server) -> Vec<u64> {
    let mut numbers = Vec::new();
    for message in server.messages().await {
        let form = Form::of(message.content_type.as_deref()).expect("a form of ours");
        for raw in wire::split(&message.body, form).expect("a frame") {
            let event = wire::decode(raw, form).expect("an event");
            let number = event.get("fields").and_then(|fields| fields.get("n")).and_then(|n| n.as_text());
            numbers.push(number.expect("a number").parse().expect("a number"));
        }
    }
    numbers
}

/// All numbers below `total` are on the stream, each once, in the order in which they were published.
async fn assert_in_order(server: &Server, total: u64) {
    let numbers = numbers(server).await;
    let wrong = numbers.iter().zip(0..).find(|(number, expected)| *number != expected);
    assert!(
        wrong.is_none() && numbers.len() as u64 == total,
        "{} of {total}, first wrong: {wrong:?}",
        numbers.len()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_packed_and_every_one_is_counted() {
    let server = Server::with_events().await;
    for (form, form_of_frame) in
        [(Form::Json, "application/x-ndjson"), (Form::MessagePack, "application/msgpack")]
    {
        let before = server.messages().await.len();
        let outbox = outbox(&server, OutboxConfig { form, ..OutboxConfig::default() }).await;
        let total = 2_000;
        for n in 0..total {
            let offset = if form == Form::Json { 0 } else { total };
            outbox.publish(numbered(n + offset)).await.expect("taken");
        }
        outbox.flush().await.expect("all are in the log");
        let metrics = outbox.metrics();
        assert_eq!(
            (metrics.accepted, metrics.counts.acknowledged, metrics.counts.failed()),
            (total, total, 0)
        );
        let messages = &server.messages().await[before..];
        assert_eq!(messages.len() as u64, metrics.frames);
        assert!(metrics.frames < total / 10, "{metrics:?}");
        let framed = messages.iter().filter(|message| message.content_type.as_deref() == Some(form_of_frame));
        assert!(framed.count() >= 3);
    }
    assert_eq!(
        numbers(&server).await,
        (0..4_000).collect::<Vec<_>>(),
        "in the order in which they were published"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_waits_no_longer_than_it_may_and_whoever_waits_for_it_is_told() {
    let server = Server::with_events().await;
    let outbox = outbox(&server, OutboxConfig::default()).await;
    let first = outbox.store(numbered(1)).await.expect("kept");
    assert!(matches!(first, Kept::InLog(stored) if stored.seq == 1 && !stored.duplicate), "{first:?}");
    let again = outbox.store(numbered(1)).await.expect("kept");
    assert!(matches!(again, Kept::InLog(stored) if stored.duplicate), "{again:?}");
    outbox.publish(numbered(2)).await.expect("taken");
    // Nobody flushes: the frame is closed because its event has waited long enough.
    while server.messages().await.len() < 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_engine_would_not_take_does_not_leave() {
    let server = Server::with_events().await;
    let outbox = outbox(&server, OutboxConfig::default()).await;
    let error = outbox.publish(Raw::json("default", "test", br#"{"ts":"soon"}"#)).await.expect_err("no time");
    assert!(
        matches!(&error, PublishError::Invalid { .. }) && error.to_string().contains("bad_time"),
        "{error}"
    );
    let error = outbox.store(Draft::new("sentrafim", "file_change")).await.expect_err("no host");
    assert!(error.to_string().contains("`host_id` is missing"), "{error}");
    outbox.flush().await.expect("nothing failed that was taken");
    assert_eq!(
        (outbox.metrics().invalid, outbox.metrics().accepted, server.messages().await.len()),
        (2, 0, 0)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_is_told_to_whoever_waits_and_to_whoever_flushes() {
    let mut server = Server::with_events().await;
    let patience = Duration::from_millis(500);
    let publisher = PublisherConfig { patience, ..PublisherConfig::default() };
    let outbox = outbox(&server, OutboxConfig { publisher, ..OutboxConfig::default() }).await;
    outbox.store(numbered(0)).await.expect("kept");
    server.kill();
    for n in 1..=10 {
        outbox.publish(numbered(n)).await.expect("taken");
    }
    let waiting = outbox.store_later(numbered(11)).await.expect("taken");
    let error = outbox.flush().await.expect_err("nobody is there");
    assert!(matches!(error, PublishError::Some { events: 10, .. }), "{error}");
    assert!(matches!(waiting.kept().await, Err(PublishError::GaveUp { .. })));
    assert_eq!(outbox.metrics().counts.gave_up, 11);
    outbox.flush().await.expect("nothing failed since");
}

#[tokio::test(flavor = "multi_thread")]
async fn personal_data_does_not_leave_in_clear() {
    let server = Server::with_events().await;
    let hidden = Hidden {
        fields: vec!["user".to_owned()],
        entities: vec!["email".to_owned()],
        social_security_numbers: true,
    };
    let pseudonyms = Some(Pseudonyms::new([3; 32], hidden));
    let outbox = outbox(&server, OutboxConfig { pseudonyms, ..OutboxConfig::default() }).await;
    let draft =
        Draft::new("test", "listing").user("u-clear").entity("email", "Bob@Example.com").title("219-09-9999");
    outbox.publish(&draft).await.expect("taken");
    let raw = br#"{"userId":"u-clear","sourceData":{"ssn":"219099999"}}"#;
    outbox.publish(Raw::json("default", "other", raw)).await.expect("taken");
    outbox.flush().await.expect("in the log");
    let bytes: Vec<u8> = server.messages().await.into_iter().flat_map(|message| message.body).collect();
    let text = String::from_utf8_lossy(&bytes).to_lowercase();
    assert!(text.matches("kh1:").count() == 5 && text.matches(":9999").count() == 2, "{text}");
    for clear in ["u-clear", "bob@example.com", "219-09-9999", "219099999"] {
        assert!(!text.contains(clear), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_is_a_header_and_a_compressed_frame_says_so() {
    let server = Server::with_events().await;
    let framing = Framing { zstd: Some(1), linger: Duration::from_millis(50), ..Framing::default() };
    let outbox = outbox(&server, OutboxConfig { framing, ..OutboxConfig::default() }).await;
    let trace: TraceParent =
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".parse().expect("a trace");
    for n in 0..50 {
        outbox.publish(numbered(n).trace(trace)).await.expect("taken");
    }
    outbox.flush().await.expect("in the log");
    let messages = server.messages().await;
    let [message] = &messages[..] else { panic!("{} messages", messages.len()) };
    assert_eq!(message.headers.get("traceparent").map(ToString::to_string), Some(trace.to_string()));
    assert_eq!(message.headers.get("Content-Encoding").map(ToString::to_string).as_deref(), Some("zstd"));
    let plain = zstd::decode_all(&message.body[..]).expect("zstd");
    assert_eq!(wire::split(&plain, Form::Ndjson).expect("a frame").len(), 50);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_bus_is_away_events_wait_on_disk_and_then_leave_in_order() {
    let mut server = Server::with_events().await;
    let folder = tempfile::tempdir().expect("a temporary directory");
    server.kill();
    let total = 3_000;
    // The bus is away at the start of a process, at its end, and at the start of the next.
    let first =
        outbox(&server, OutboxConfig { flush_wait: Duration::from_millis(100), ..spooled(folder.path()) })
            .await;
    for n in 0..total {
        first.publish(numbered(n)).await.expect("taken");
    }
    assert_eq!(first.store(numbered(total)).await.expect("kept"), Kept::OnDisk);
    let flushed = first.close().await.expect("on disk");
    assert_eq!(flushed.on_disk, total + 1);

    let second = outbox(&server, spooled(folder.path())).await;
    assert_eq!(second.metrics().spool.expect("a spool").waiting_events, total + 1);
    // What the last process had, the caller may not know to be kept: it counts once.
    assert_eq!(second.store(numbered(total)).await.expect("kept"), Kept::Before);
    assert_eq!(second.metrics().known, 1);
    server.restart();
    assert_eq!(second.close().await.expect("in the log").on_disk, 0);
    assert_in_order(&server, total + 1).await;

    // The spool is empty, and remembers.
    let third = outbox(&server, spooled(folder.path())).await;
    assert_eq!(third.metrics().spool.expect("a spool").waiting_events, 0);
    third.publish(numbered(total)).await.expect("taken");
    third.publish(numbered(total + 1)).await.expect("taken");
    third.close().await.expect("in the log");
    assert_in_order(&server, total + 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spool_that_is_full_slows_down_and_loses_nothing() {
    let mut server = Server::with_events().await;
    let folder = tempfile::tempdir().expect("a temporary directory");
    let config = |folder: &Path| OutboxConfig {
        spool: Some(SpoolConfig {
            bytes_max: 16 << 20,
            survives: Survives::PowerLoss,
            ..SpoolConfig::at(folder)
        }),
        ..spooled(folder)
    };
    server.kill();
    let outbox = outbox(&server, config(folder.path())).await;
    let large = "x".repeat(100_000);
    let total: u64 = 700;
    let feed = {
        let outbox = outbox.clone();
        tokio::spawn(async move {
            for n in 0..total {
                outbox.publish(numbered(n).field("large", large.clone())).await.expect("taken");
            }
        })
    };
    // 70 MB do not fit into 16 MiB and the 64 frames, of half a MiB each, that wait for the disk.
    while outbox.metrics().spool.expect("a spool").bytes < 15 << 20 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!feed.is_finished());
    assert!(outbox.metrics().spool.expect("a spool").bytes <= 16 << 20);
    server.restart();
    feed.await.expect("fed");
    assert_eq!(outbox.close().await.expect("in the log").on_disk, 0);
    assert_in_order(&server, total).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_has_one_owner_and_damage_at_its_end_costs_nothing_before_it() {
    let mut server = Server::with_events().await;
    let folder = tempfile::tempdir().expect("a temporary directory");
    server.kill();
    let short = || OutboxConfig { flush_wait: Duration::from_millis(50), ..spooled(folder.path()) };
    let first = outbox(&server, short()).await;
    let client = Connect::to(server.url()).open_when_possible("test").await.expect("the options are fine");
    let error = Outbox::start(client, short()).await.expect_err("it is open already");
    assert!(error.to_string().contains("is open in another process"), "{error}");
    first.store(numbered(1)).await.expect("kept");
    first.store(numbered(2)).await.expect("kept");
    first.close().await.expect("on disk");

    let segment = folder.path().join("00000000000000000001.spool");
    let whole = std::fs::read(&segment).expect("a segment");
    for cut in [1, 30] {
        std::fs::write(&segment, &whole[..whole.len() - cut]).expect("written");
        let second = outbox(&server, short()).await;
        assert_eq!(second.metrics().spool.expect("a spool").waiting_events, 1, "{cut} bytes cut off");
        // The caller was never told that the second is kept, or offers it again.
        second.store(numbered(2)).await.expect("kept");
        assert_eq!(second.close().await.expect("on disk").on_disk, 2);
    }
    std::fs::write(folder.path().join("cursor"), b"rubbish that is no number").expect("written");
    server.restart();
    let third = outbox(&server, spooled(folder.path())).await;
    assert_eq!(third.close().await.expect("in the log").on_disk, 0);
    assert_eq!(numbers(&server).await, [1, 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_server_refuses_for_good_is_kept_with_the_reason() {
    let server = Server::with_events().await;
    let folder = tempfile::tempdir().expect("a temporary directory");
    let outbox = outbox(&server, spooled(folder.path())).await;
    // Larger than this server's messages may be, and not than an event may be.
    let large = "x".repeat((1 << 20) - 70);
    outbox.store(Draft::new("test", "large").field("large", large)).await.expect("kept");
    outbox.store(numbered(1)).await.expect("kept");
    assert_eq!(outbox.close().await.expect("done with").on_disk, 0);
    assert_eq!(numbers(&server).await, [1]);
    let kept =
        std::fs::read_to_string(folder.path().join("refused/00000000000000000001")).expect("it is kept");
    assert!(
        kept.starts_with("Subject: events.default.test\n") && kept.contains("\nWhy: "),
        "{}",
        &kept[..200]
    );
}
