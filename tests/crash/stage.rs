//! Where it all happens: a server with its streams, the lives of the worker on it, and what comes out.

use std::path::PathBuf;
use std::time::Duration;

use async_nats::jetstream::{self, Context};
use futures_util::future::join_all;
use sightline::bus::jetstream::{Shrink, StreamSettings, setup};

use crate::outputs::Outputs;
use crate::process::{Life, Process};
use crate::support::bus::Bus;
use crate::workload::Message;

/// Longer than updates of incidents are held back (`engine.coalesce` of a [`Life`]).
const HELD_BACK: Duration = Duration::from_millis(400);
/// How long the server may take to acknowledge, before a producer sends again.
const ACK_WAIT: Duration = Duration::from_secs(2);
/// What a worker says whose replay differs from what was published.
const MISMATCH: &str = "the replay says something else than was published there";

/// A server and everything around it. Ends with its owner.
pub struct Stage {
    /// The server.
    pub bus: Bus,
    /// A producer's connection, which comes back by itself.
    pub producer: Context,
    /// Settings, logs and checkpoints.
    pub dir: tempfile::TempDir,
    lives: usize,
}

impl Stage {
    /// A server with these settings, as [`crate::support::nats::NatsServer::start_with`] takes them.
    pub async fn set(config: &str) -> Self {
        let bus = Bus::start_with(config).await;
        let options = async_nats::ConnectOptions::new()
            .retry_on_initial_connect()
            .reconnect_delay_callback(|_| Duration::from_millis(20));
        let mut producer =
            jetstream::new(options.connect(bus.server.url()).await.expect("the address is well formed"));
        producer.set_timeout(ACK_WAIT);
        let dir = tempfile::Builder::new().prefix("sightline-crash-").tempdir().expect("a directory");
        Stage { bus, producer, dir, lives: 0 }
    }

    /// As [`Stage::set`], with the rules of `life` in force from the first message on: what was in the log before its
    /// first rules is nobody's.
    pub async fn set_with_rules(life: &Life) -> Self {
        let mut stage = Self::set("").await;
        let mut process = stage.start(life);
        process.until("it has rules", |process| process.lines("rules in force").pop());
        process.stop();
        stage
    }

    /// Where the worker has its checkpoints.
    pub fn state_dir(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    /// What a worker has that lost its disk.
    pub fn lose_state(&self) {
        let dir = self.state_dir();
        if dir.exists() {
            std::fs::remove_dir_all(dir).expect("removed");
        }
    }

    /// Begins a life of the worker.
    pub fn start(&mut self, life: &Life) -> Process {
        self.start_in(life, "state")
    }

    /// Begins a life of a worker that has its checkpoints elsewhere.
    pub fn start_in(&mut self, life: &Life, state: &str) -> Process {
        self.lives += 1;
        let dir = self.dir.path();
        Process::start(life, &self.bus.server.url(), &dir.join(state), dir, &format!("life-{}", self.lives))
    }

    /// Publishes messages until each is stored.
    pub async fn publish(&self, messages: &[Message]) {
        publish(&self.producer, messages).await;
    }

    /// Sequence of the newest message of a stream.
    pub async fn last_seq(&self, stream: &str) -> u64 {
        for _ in 0..100 {
            // A server that was just started answers a little later, and the producer comes back a little later still.
            if let Ok(stream) = self.producer.get_stream(stream).await {
                return stream.cached_info().state.last_sequence;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the server does not say how long {stream} is")
    }

    /// The id of the incident that was spoken of last.
    pub async fn newest_incident(&self) -> Option<String> {
        let mut stream = self.producer.get_stream("INCIDENTS").await.ok()?;
        let last = stream.info().await.ok()?.state.last_sequence;
        let message = stream.get_raw_message(last).await.ok()?;
        let message: serde_json::Value = serde_json::from_slice(&message.payload).ok()?;
        message["incident"]["id"].as_str().map(str::to_owned)
    }

    /// Waits until a worker has worked through everything there is.
    pub async fn until_caught_up(&self, process: &mut Process) {
        let last = self.last_seq("EVENTS").await;
        process.until("it has caught up", |process| {
            assert!(process.ended().is_none(), "{}", process.said());
            process.position().filter(|position| *position >= last)
        });
    }

    /// Brings out everything that is held back, stops the worker, and lets one that remembers nothing say it all again:
    /// it must come to the same, and publish nothing.
    pub async fn finish(&mut self, life: &Life) -> Outputs {
        tokio::time::sleep(HELD_BACK).await;
        self.publish(&[Message::tick()]).await;
        self.live_through(life, "state").await;
        let outputs = Outputs::read(&self.producer).await;
        self.lose_state();
        self.live_through(life, "state").await;
        assert_eq!(Outputs::read(&self.producer).await.len(), outputs.len(), "a rebuild publishes nothing");
        outputs
    }

    /// The outputs of one worker over the same log that nothing happens to.
    pub async fn undisturbed(&mut self, life: &Life) -> Outputs {
        for stream in ["INCIDENTS", "DEADLETTER"] {
            self.producer.delete_stream(stream).await.expect("deleted");
        }
        setup(&self.bus.connection, &StreamSettings::default(), Shrink::Refuse).await.expect("streams");
        let before = self.last_seq("EVENTS").await;
        self.live_through(life, "undisturbed").await;
        assert_eq!(self.last_seq("EVENTS").await, before, "the log is the same");
        Outputs::read(&self.producer).await
    }

    /// Lets the worker finish, and asserts that everything it ever published is what an undisturbed one publishes.
    pub async fn end(mut self, life: &Life) {
        let found = self.finish(life).await;
        assert!(found.len_of("INCIDENTS") > 20, "the workload opens incidents");
        assert!(found.len_of("DEADLETTER") > 0, "the workload has dead letters");
        found.assert_same(&self.undisturbed(life).await);
    }

    /// A life that ends when everything is done.
    async fn live_through(&mut self, life: &Life, state: &str) {
        let mut process = self.start_in(life, state);
        self.until_caught_up(&mut process).await;
        let metrics = process.ask("/metrics").expect("metrics");
        assert!(metrics.contains("sightline_replay_mismatch_total 0"), "{}", process.said());
        process.stop();
        assert_sane(&process);
    }
}

/// Whatever happens to a life, this it must not say.
pub fn assert_sane(process: &Process) {
    let said = process.said();
    assert!(!said.contains(MISMATCH) && !said.contains("panicked"), "{said}");
}

/// Messages that are under way at a time: a server that syncs always stores some hundreds a second on a busy disk, and who
/// sends what waits there again and again keeps it from ever coming to an end.
const UNDER_WAY_MAX: usize = 100;

/// Publishes messages until each is stored. What is not acknowledged is sent again, as producers do, so that it may be
/// in the log twice.
pub async fn publish(producer: &Context, messages: &[Message]) {
    for messages in messages.chunks(UNDER_WAY_MAX) {
        publish_all_at_once(producer, messages).await;
    }
}

async fn publish_all_at_once(producer: &Context, messages: &[Message]) {
    let mut left: Vec<Message> = messages.to_vec();
    while !left.is_empty() {
        let mut under_way = Vec::new();
        for message in left.drain(..) {
            let Message { subject, headers, body } = message.clone();
            let sent = producer.publish_with_headers(subject, headers, body).await;
            under_way.push(async move {
                let stored = match sent {
                    Ok(ack) => ack.await.is_ok(),
                    Err(_) => false,
                };
                (!stored).then_some(message)
            });
        }
        left = join_all(under_way).await.into_iter().flatten().collect();
        if !left.is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
