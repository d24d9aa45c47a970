//! How fast events get into the log of a real server: against the bare client, without frames and with them.
//!
//! `cargo bench -p sightline-producers --bench publish`; `SIGHTLINE_TEST_BENCH_EVENTS` says how many events a run has (100,000).
//! Each line: name, measured, target, ratio of the two, pass or short, unit; `make bench` takes them in. Runs are taken in
//! turn, three of each, each into an empty stream, and the median counts: what else the machine does then meets all of them.

#[path = "../tests/server/mod.rs"]
mod server;

use std::time::Instant;

use async_nats::HeaderMap;
use bytes::Bytes;
use futures_util::StreamExt;
use server::Server;
use sightline_producers::{Connect, Framing, Message, Outbox, OutboxConfig, Publisher, PublisherConfig, Raw};
use sightline_schemas::wire::Form;

/// Least part of the bare client's rate.
const OF_BARE: f64 = 0.9;
/// Least multiple of the rate without frames.
const OF_UNFRAMED: f64 = 5.0;
/// Runs of each.
const ROUNDS: usize = 3;

/// The events of a round, made beforehand: what is measured is bringing them into the log.
fn bodies(round: usize, events: usize) -> Vec<Vec<u8>> {
    (0..events).map(|n| body(round, n)).collect()
}

fn body(round: usize, n: usize) -> Vec<u8> {
    format!(
        r#"{{"source":"bench","source_event_id":"{round}-{n}","occurred_at":"2026-05-08T12:00:00Z","kind":"process_start","severity":"low","host_id":"WS-{:04}","user":"user{:04}","fields":{{"image":"C:\\Windows\\System32\\svchost.exe","pid":{n},"parent_image":"C:\\Windows\\System32\\services.exe","integrity":"System"}}}}"#,
        n % 1_000,
        n % 700
    )
    .into_bytes()
}

/// The client and nothing else: as many on their way, acknowledgements counted on one inbox, the same headers.
async fn bare(server: &Server, round: usize, events: usize) -> f64 {
    let client = async_nats::connect(server.url()).await.expect("the server listens");
    let inbox = client.new_inbox();
    let mut answers = client.subscribe(format!("{inbox}.*")).await.expect("subscribed");
    let window = PublisherConfig::default().messages_in_flight_max;
    let bodies = bodies(round, events);
    let start = Instant::now();
    let mut on_their_way = 0;
    for (n, body) in bodies.into_iter().enumerate() {
        let body = Bytes::from(body);
        let message = Message::raw("default", "bench", body, Form::Json);
        let mut headers = HeaderMap::new();
        headers.insert("Content-Type", message.content_type());
        headers.insert("Nats-Msg-Id", message.id().to_string());
        let (subject, reply) = (message.subject().to_owned(), format!("{inbox}.{n}"));
        let sent = client.publish_with_reply_and_headers(subject, reply, headers, message.body().clone());
        sent.await.expect("sent");
        on_their_way += 1;
        if on_their_way >= window {
            answers.next().await.expect("an answer");
            on_their_way -= 1;
        }
    }
    for _ in 0..on_their_way {
        answers.next().await.expect("an answer");
    }
    events as f64 / start.elapsed().as_secs_f64()
}

async fn publisher(server: &Server, round: usize, events: usize) -> f64 {
    let client = Connect::to(server.url()).open("bench").await.expect("the server listens");
    let publisher = Publisher::start(client, PublisherConfig::default()).await.expect("started");
    let bodies = bodies(round, events);
    let start = Instant::now();
    for body in bodies {
        let message = Message::raw("default", "bench", body, Form::Json);
        publisher.publish(message).await.expect("taken");
    }
    publisher.flush().await.expect("in the log");
    events as f64 / start.elapsed().as_secs_f64()
}

async fn outbox(server: &Server, round: usize, events: usize, config: OutboxConfig) -> f64 {
    let client = Connect::to(server.url()).open("bench").await.expect("the server listens");
    let outbox = Outbox::start(client, config).await.expect("started");
    let bodies = bodies(round, events);
    let start = Instant::now();
    for body in &bodies {
        outbox.publish(Raw::json("default", "bench", body)).await.expect("taken");
    }
    outbox.flush().await.expect("in the log");
    events as f64 / start.elapsed().as_secs_f64()
}

/// Empties the stream behind a run, which must have brought all its events there.
async fn settle(server: &Server, name: &str, messages: std::ops::RangeInclusive<u64>) {
    let mut stream = server.jetstream().await.get_stream("EVENTS").await.expect("the stream is there");
    let there = stream.info().await.expect("the server answers").state.messages;
    assert!(messages.contains(&there), "{name}: {there} messages on the stream, expected {messages:?}");
    stream.purge().await.expect("emptied");
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}

fn line(name: &str, measured: f64, target: f64) {
    let verdict = if measured >= target { "pass" } else { "short" };
    println!("{name} {measured:.0} {target:.0} {:.2} {verdict} events/s", measured / target);
}

#[tokio::main]
async fn main() {
    let events: usize =
        std::env::var("SIGHTLINE_TEST_BENCH_EVENTS").map_or(100_000, |text| text.parse().expect("a number"));
    let server = Server::with_events().await;
    let mut rates: [Vec<f64>; 4] = Default::default();
    let alone = events as u64..=events as u64;
    // As many to a frame as fit; the last of each may be short, and one that lingered too.
    let framed = events.div_ceil(512) as u64..=events as u64 / 5;
    for round in 0..ROUNDS {
        // Other rounds have other events: none is a duplicate.
        let round = round * 4;
        rates[0].push(bare(&server, round, events).await);
        settle(&server, "bare client", alone.clone()).await;
        rates[1].push(publisher(&server, round + 1, events).await);
        settle(&server, "publisher", alone.clone()).await;
        let unframed = OutboxConfig { framing: Framing::off(), ..OutboxConfig::default() };
        rates[2].push(outbox(&server, round + 2, events, unframed).await);
        settle(&server, "outbox without frames", alone.clone()).await;
        rates[3].push(outbox(&server, round + 3, events, OutboxConfig::default()).await);
        settle(&server, "outbox with frames", framed.clone()).await;
    }
    let [bare, publisher, unframed, framed] = rates.map(median);
    println!("the bare client: {bare:.0} events/s; {events} events a run, {ROUNDS} runs of each, medians");
    line("publish.publisher_against_bare_client", publisher, OF_BARE * bare);
    line("publish.outbox_against_bare_client", unframed, OF_BARE * bare);
    line("publish.frames_against_one_a_message", framed, OF_UNFRAMED * unframed);
}
