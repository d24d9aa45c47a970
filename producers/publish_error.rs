//! Why an event is not in the log, and what to do about it.

use std::time::Duration;

use sightline_schemas::edge::Reject;

/// Why a message is not in the log.
#[derive(Clone, Debug, thiserror::Error)]
pub enum PublishError {
    /// It never will be: mend the message or the stream.
    #[error("{subject}: refused: {why}")]
    Refused {
        /// Where it was to go.
        subject: String,
        /// What the server or the client said.
        why: String,
    },
    /// Not within the configured patience: try again later.
    #[error("{subject}: given up after {}: {why}", humantime::format_duration(*.after))]
    GaveUp {
        /// Where it was to go.
        subject: String,
        /// The configured patience.
        after: Duration,
        /// What was last heard of it.
        why: String,
    },
    /// Some of the messages since the last flush.
    #[error("{events} events are not in the log; the first: {first}")]
    Some {
        /// How many events.
        events: u64,
        /// What became of the first.
        first: Box<PublishError>,
    },
    /// The engine would dead-letter it: mend the event.
    #[error("not an event that the engine takes: {reject} ({})", .reject.reason.as_str())]
    Invalid {
        /// What the engine would say.
        reject: Reject,
    },
    /// The publisher has stopped, because the client was closed: connect again.
    #[error("the connection was closed")]
    Closed,
}
