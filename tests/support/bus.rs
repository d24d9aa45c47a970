//! A server with the streams, and what tests do to it.

use async_nats::jetstream;
use sightline::bus::jetstream::{
    ConnectSettings, Connection, FirstConnect, InFlight, JetStreamEvents, JetStreamOutputs, Shrink,
    StreamSettings, connect, setup,
};
use sightline::bus::{EventLog, OutputLog};

use super::nats::NatsServer;

/// The subject of every test event.
pub const SUBJECT: &str = "events.default.iris";

/// The number that is the body of a test message.
pub fn number(body: &[u8]) -> u64 {
    std::str::from_utf8(body).expect("text").parse().expect("a number")
}

/// A server with the streams, a connection of ours and a plain client beside it.
pub struct Bus {
    /// The server itself.
    pub server: NatsServer,
    /// A connection as the engine has it.
    pub connection: Connection,
    /// A plain client beside it.
    pub plain: jetstream::Context,
}

impl Bus {
    /// Starts a server and sets the streams up.
    pub async fn start() -> Self {
        Self::start_with("").await
    }

    /// As [`Bus::start`], with settings of the server as [`NatsServer::start_with`] takes them.
    pub async fn start_with(config: &str) -> Self {
        let server = NatsServer::start_with(config);
        let settings = ConnectSettings { url: server.url(), ..ConnectSettings::default() };
        let connection = connect(&settings, FirstConnect::OrFail).await.expect("connected");
        setup(&connection, &StreamSettings::default(), Shrink::Refuse).await.expect("streams");
        let plain = jetstream::new(async_nats::connect(server.url()).await.expect("connected"));
        Bus { server, connection, plain }
    }

    /// Kills the server and starts it again. The plain client is a new one: what it sends must not get lost on the way.
    pub async fn restart(&mut self) {
        self.server.restart();
        self.plain = jetstream::new(async_nats::connect(self.server.url()).await.expect("connected"));
    }

    /// Publishes the events `first..=last`; each body is its number.
    pub async fn publish(&self, first: u64, last: u64) {
        let mut acks = Vec::new();
        for number in first..=last {
            let sent = self.plain.publish(SUBJECT, number.to_string().into()).await;
            acks.push(sent.expect("sent"));
            if acks.len() == 500 || number == last {
                for ack in acks.drain(..) {
                    ack.await.expect("stored");
                }
            }
        }
    }

    /// The input log, to be read from `seq` on.
    pub async fn events(&self, seq: u64) -> JetStreamEvents {
        let mut events = JetStreamEvents::new(self.connection.clone(), "EVENTS");
        events.seek(seq).await.expect("positioned");
        events
    }

    /// The output log, opened for input log `LOG@1`.
    pub async fn outputs(&self) -> JetStreamOutputs {
        let mut outputs = JetStreamOutputs::new(self.connection.clone(), "INCIDENTS", InFlight::default());
        outputs.open("LOG@1").await.expect("opened");
        outputs
    }

    /// A stream, as the plain client sees it.
    pub async fn stream(&self, name: &str) -> jetstream::stream::Stream {
        self.plain.get_stream(name).await.expect("a stream")
    }

    /// Changes the configuration of a stream.
    pub async fn configure(&self, name: &str, change: impl FnOnce(&mut jetstream::stream::Config)) {
        let mut config = self.stream(name).await.cached_info().config.clone();
        change(&mut config);
        self.plain.update_stream(config).await.expect("updated");
    }

    /// The numbers in the bodies of everything in `INCIDENTS`, in order.
    pub async fn stored_outputs(&self) -> Vec<u64> {
        let mut stream = self.stream("INCIDENTS").await;
        let state = stream.info().await.expect("state").state.clone();
        let mut numbers = Vec::new();
        for seq in state.first_sequence..=state.last_sequence {
            let message = stream.get_raw_message(seq).await.expect("stored");
            numbers.push(number(&message.payload));
        }
        numbers
    }
}
