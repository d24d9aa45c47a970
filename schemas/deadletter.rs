//! What could not be read: the bytes as they came, with reason and position in the headers. What is too large for one
//! message comes in parts, one message each, in order.

use crate::edge::{Reason, Reject};
use crate::position::Position;
use crate::subject::{HEADER_DETAIL, HEADER_LOG, HEADER_POSITION, HEADER_REASON, HEADER_SUBJECT};

/// Most bytes that are kept of an input's `Content-Type`.
pub const CONTENT_TYPE_BYTES_MAX: usize = 256;

/// One message on `deadletter.<tenant>.<source>`. Its body is the input as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// The subject that the input came on.
    pub subject: String,
    /// Where it stands in the input log.
    pub position: Position,
    /// Why it is a dead letter: a closed list.
    pub reason: Reason,
    /// Why, for people.
    pub detail: String,
    /// The input's own `Content-Type`, if it had one.
    pub content_type: Option<String>,
    /// The input as it came: the event's own bytes out of a frame, or the whole message.
    pub body: Vec<u8>,
}

impl DeadLetter {
    /// The dead letter of `body`, refused for `reject`.
    pub fn new(
        subject: &str,
        position: Position,
        reject: &Reject,
        content_type: Option<&str>,
        body: &[u8],
    ) -> Self {
        DeadLetter {
            subject: subject.to_owned(),
            position,
            reason: reject.reason,
            detail: reject.detail.clone(),
            // Cut: the server bounds all headers of a message together, not each.
            content_type: content_type
                .map(|text| text[..text.floor_char_boundary(CONTENT_TYPE_BYTES_MAX)].to_owned()),
            body: body.to_vec(),
        }
    }

    /// The subject to publish it on.
    pub fn destination(&self) -> String {
        crate::subject::deadletter(&self.subject)
    }

    /// Its headers, the input log being `log`. Line breaks cannot stand in a header and become blanks.
    pub fn headers(&self, log: &str) -> Vec<(&'static str, String)> {
        let line = |text: &str| text.replace(['\r', '\n'], " ");
        let mut headers = vec![
            (HEADER_REASON, self.reason.as_str().to_owned()),
            (HEADER_DETAIL, line(&self.detail)),
            (HEADER_POSITION, self.position.to_string()),
            (HEADER_LOG, line(log)),
            (HEADER_SUBJECT, line(&self.subject)),
        ];
        if let Some(content_type) = &self.content_type {
            headers.push((crate::subject::HEADER_CONTENT_TYPE, line(content_type)));
        }
        headers
    }
}
