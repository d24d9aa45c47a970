//! The two logs on NATS JetStream.
//!
//! [`connect`] makes the connection, and remembers what the server complained about last. [`streams`] creates the
//! streams or brings them to the wanted shape. [`event_log`] reads the input log with a pull loop of its own (`pull`), whose
//! messages come over a second connection (`login`, `line`, `wire`): the client's way with each message costs more than the
//! rest of the reading. What cannot be read there is asked for by itself (`by_hand`).
//! [`output_log`] writes an output log, each message on the condition that the one before it is the last one there.
//! [`incident_feed`] follows the incidents for people. Nothing here needs more than nats-server 2.9.
//!
//! What an account needs: to read, `$JS.API.STREAM.INFO.<s>`, `$JS.API.STREAM.MSG.GET.<s>`,
//! `$JS.API.CONSUMER.CREATE.<s>.>` and `$JS.API.CONSUMER.MSG.NEXT.<s>.>`; to write, `$JS.API.STREAM.INFO.<s>`,
//! `$JS.API.STREAM.MSG.GET.<s>` and the stream's own subjects; in both cases to subscribe to its inbox prefix. Creating
//! and changing streams is for [`streams::setup`] alone. `deploy/nats-nkey.conf` says it in the server's words.

pub mod connect;
pub mod event_log;
pub mod incident_feed;
pub mod output_log;
pub mod streams;

mod by_hand;
mod line;
mod login;
mod lookup;
mod pull;
mod reply;
mod room;
mod wire;

pub use connect::{ConnectSettings, Connection, FirstConnect, connect};
pub use event_log::JetStreamEvents;
pub use incident_feed::{FeedStart, IncidentFeed};
pub use output_log::{InFlight, JetStreamOutputs};
pub use streams::{Shrink, StreamSettings, setup};
