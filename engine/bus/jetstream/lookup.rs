//! Single questions to the server: how a stream stands, and one stored message.

use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::response::Response;
use async_nats::jetstream::stream::{Info, RawMessageError, RawMessageErrorKind, Stream};

use super::connect::Connection;
use crate::bus::{BusError, LogInfo};

/// How `stream` stands; `None` where there is no such stream.
pub(super) async fn find(connection: &Connection, stream: &str) -> Result<Option<Box<Info>>, BusError> {
    const WHAT: &str = "read the state of a stream";
    let subject = format!("STREAM.INFO.{stream}");
    let answer: Result<Response<Box<Info>>, _> = connection.context().request(subject, &()).await;
    match answer.map_err(|error| connection.retry(WHAT, format!("{stream}: {error}")))? {
        Response::Ok(info) => Ok(Some(info)),
        Response::Err { error } if error.error_code() == ErrorCode::STREAM_NOT_FOUND => Ok(None),
        Response::Err { error } => Err(BusError::Retry { what: WHAT, why: format!("{stream}: {error}") }),
    }
}

/// How `stream` stands, which must be there.
pub(super) async fn info(connection: &Connection, stream: &str) -> Result<Box<Info>, BusError> {
    // Passing: whoever sets the streams up may come after us, and one who replaces a stream deletes it first.
    let missing = || BusError::Retry { what: "find a stream", why: format!("there is no stream {stream}") };
    find(connection, stream).await?.ok_or_else(missing)
}

/// Which log this is, and how far it reaches.
pub(super) fn log_info(info: &Info) -> LogInfo {
    let created = jiff::Timestamp::from_nanosecond(info.created.unix_timestamp_nanos()).unwrap_or_default();
    let last_seq = info.state.last_sequence;
    // A stream that never held anything says 0 or 1, whichever server it is.
    let first_seq = if info.state.messages == 0 { last_seq + 1 } else { info.state.first_sequence };
    LogInfo { id: format!("{}@{created:.9}", info.config.name), first_seq, last_seq }
}

/// One message out of a stream: from its leader, so never one that is about to be taken back.
pub(super) async fn message(
    connection: &Connection,
    stream: &str,
    which: Which<'_>,
) -> Result<Option<StreamMessage>, BusError> {
    const WHAT: &str = "read a stored message";
    let handle: Stream<()> = connection
        .context()
        .get_stream_no_info(stream)
        .await
        .map_err(|error| connection.retry(WHAT, error))?;
    let found: Result<StreamMessage, RawMessageError> = match which {
        Which::At(seq) => handle.get_raw_message(seq).await,
        Which::LastOn(subject) => handle.get_last_raw_message_by_subject(subject).await,
        Which::FirstOn(subject, from) => handle.get_first_raw_message_by_subject(subject, from).await,
    };
    match found {
        Ok(message) => Ok(Some(message)),
        Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => Ok(None),
        Err(error) => Err(connection.retry(WHAT, error)),
    }
}

/// Which message of a stream.
#[derive(Clone, Copy, Debug)]
pub(super) enum Which<'a> {
    /// The one with this sequence.
    At(u64),
    /// The newest on this subject.
    LastOn(&'a str),
    /// The oldest that is left on this subject, from this sequence on.
    FirstOn(&'a str, u64),
}
