//! For those who publish events: bridges, agents, importers, and any service that speaks Rust.
//!
//! [`connect`] opens the connection with the options that every NATS tool understands. [`draft`] is an event as a program
//! writes it, and [`outbox`] brings it into the log: hidden where it must be ([`pseudonyms`]), checked as the engine
//! checks, packed into frames ([`frame`]), kept on disk while the bus is away ([`spool`]), counted ([`metrics`]).
//!
//! Underneath, [`message`] is one message ready to leave, and [`publisher`] brings it into the log and reports what became
//! of it; [`in_flight`] is what it remembers of messages that the server has not acknowledged yet. [`program`] is how the
//! programs of this crate begin and end, and [`packing`] tells them how a file is packed.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use sightline_producers::{Connect, Draft, Outbox, OutboxConfig};
//!
//! let client = Connect::to("nats://127.0.0.1:4222").open("my-sensor").await?;
//! let outbox = Outbox::start(client, OutboxConfig::default()).await?;
//! outbox.publish(Draft::new("my-sensor", "auth.login_failed").key("4711").host("WS-07").user("jdoe")).await?;
//! outbox.close().await?;
//! # Ok(())
//! # }
//! ```

#[doc(hidden)]
pub mod crash_point;

pub mod connect;
pub mod draft;
pub mod frame;
pub mod in_flight;
pub mod message;
pub mod metrics;
pub mod outbox;
pub mod packing;
pub mod program;
pub mod pseudonyms;
pub mod publish_error;
pub mod publisher;
pub mod spool;
pub mod trace_context;

pub use async_nats::Client;
pub use connect::{Connect, ConnectError};
pub use draft::Draft;
pub use frame::Framing;
pub use message::Message;
pub use metrics::Metrics;
pub use outbox::{Check, Flushed, Kept, Offered, Outbox, OutboxConfig, OutboxError, Raw};
pub use pseudonyms::{Hidden, Pseudonyms};
pub use publish_error::PublishError;
pub use publisher::{Counts, Publisher, PublisherConfig, StartError, Stored};
pub use spool::{SpoolConfig, SpoolState, Survives};
pub use trace_context::TraceParent;
