//! Raw evidence: the bytes as they came, on `evidence.<tenant>.<source>`, named by their BLAKE3.

use bytes::Bytes;
use serde_json::{Value, json};
use sightline_producers::Message;
use sightline_schemas::EventId;
use sightline_schemas::subject::{EVIDENCE_STREAM, HEADER_BLAKE3, evidence};

/// Bytes to keep.
#[derive(Clone, Debug)]
pub struct Evidence {
    /// Who sent them.
    pub source: String,
    /// As they came.
    pub bytes: Bytes,
    /// What they are.
    pub content_type: String,
}

/// Bytes that are kept.
#[derive(Clone, Debug)]
pub struct Kept {
    /// The whole hash, in hexadecimal.
    pub blake3: String,
    /// Its number in the stream; none where it waits on the disk, and only the hash names it.
    seq: Option<u64>,
    bytes: usize,
    content_type: String,
}

impl Evidence {
    fn hash(&self) -> String {
        blake3::hash(&self.bytes).to_hex().to_string()
    }

    /// The message that keeps them. The same bytes of one source have the same id.
    pub fn message(&self, tenant: &str) -> Message {
        let id = EventId::from_raw(tenant, &format!("evidence of {}", self.source), &self.bytes);
        Message::on(evidence(tenant, &self.source), self.bytes.clone(), self.content_type.clone(), id, 1)
            .with_header(HEADER_BLAKE3, self.hash())
    }

    /// Where they are kept.
    pub fn kept(&self, seq: Option<u64>) -> Kept {
        Kept { blake3: self.hash(), seq, bytes: self.bytes.len(), content_type: self.content_type.clone() }
    }
}

impl Kept {
    /// What an event says of its evidence, as `refs.raw`.
    pub fn reference(&self) -> Value {
        let mut reference = json!({
            "stream": EVIDENCE_STREAM, "blake3": self.blake3, "bytes": self.bytes, "content_type": self.content_type,
        });
        if let Some(seq) = self.seq {
            reference["seq"] = seq.into();
        }
        reference
    }
}
