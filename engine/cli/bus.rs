//! From settings to a connection, for commands that a person waits for.

use crate::bus::BusError;
use crate::bus::jetstream::{Connection, FirstConnect, StreamSettings, connect};
use crate::cli::exit::CliError;
use crate::config::{NatsConfig, StreamsConfig};
use crate::service::connect_settings;

/// Connects, or says at once that it cannot.
pub async fn connected(nats: &NatsConfig) -> Result<Connection, CliError> {
    connect(&connect_settings(nats), FirstConnect::OrFail).await.map_err(|error| match error {
        // No server can make these right: credentials, TLS files, an address.
        BusError::Stop(why) => CliError::Usage(why),
        other => other.into(),
    })
}

/// The streams as the settings want them.
pub fn stream_settings(streams: &StreamsConfig) -> StreamSettings {
    let bytes = |bytes: i64| u64::try_from(bytes).expect("sizes are positive by their kind");
    StreamSettings {
        events: streams.events.clone(),
        incidents: streams.incidents.clone(),
        deadletter: streams.deadletter.clone(),
        evidence: streams.evidence.clone(),
        replicas: streams.replicas,
        events_max_age: streams.events_max_age,
        events_max_bytes: bytes(streams.events_max_bytes),
        incidents_max_age: streams.incidents_max_age,
        incidents_max_bytes: bytes(streams.incidents_max_bytes),
        deadletter_max_age: streams.deadletter_max_age,
        deadletter_max_bytes: bytes(streams.deadletter_max_bytes),
        evidence_max_age: streams.evidence_max_age,
        evidence_max_bytes: bytes(streams.evidence_max_bytes),
    }
}
