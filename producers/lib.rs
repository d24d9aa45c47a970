//! For those who publish events: bridges, agents, importers, and any service that speaks Rust.
//!
//! [`connect`] opens the connection with the options that every NATS tool understands. [`message`] is one message ready
//! to leave: subject, body, id. [`publisher`] brings it into the log and reports what became of it. [`in_flight`] is what
//! the publisher remembers of messages that the server has not acknowledged yet.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use sightline_producers::{Connect, Message, Publisher, PublisherConfig};
//! use sightline_schemas::wire::Form;
//!
//! let client = Connect::to("nats://127.0.0.1:4222").open("my-sensor").await?;
//! let publisher = Publisher::start(client, PublisherConfig::default()).await?;
//! let body = br#"{"source":"my-sensor","kind":"auth.login_failed","host_id":"WS-07"}"#;
//! publisher.publish(Message::raw("default", "my-sensor", &body[..], Form::Json)).await?;
//! publisher.flush().await?;
//! # Ok(())
//! # }
//! ```

pub mod connect;
pub mod in_flight;
pub mod message;
pub mod publisher;

pub use async_nats::Client;
pub use connect::{Connect, ConnectError};
pub use message::Message;
pub use publisher::{Counts, PublishError, Publisher, PublisherConfig, StartError, Stored};
