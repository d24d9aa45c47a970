//! The bridges, as programs, against a real nats-server and services that misbehave.
//!
//! [`stage`] runs a bridge, [`service`] answers as the recorded services do, or worse.

#[path = "../../../tests/support/certificates.rs"]
mod certificates;
mod crash;
mod every;
mod files;
mod mappings;
mod polled;
mod posted;
#[path = "../server/mod.rs"]
mod server;
mod service;
mod slow;
mod stage;
mod story;
