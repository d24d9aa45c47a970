//! The manifest: which chunks make up the checkpoint, which of their entries count, and its meta.
//!
//! It is the one block that every commit rewrites, in the same atomic write as the chunks that it names. A chunk is
//! named with its checksum, so a manifest can only ever be read together with exactly the chunks it was written for,
//! whatever the store below mixes up.

use std::collections::BTreeMap;

use rmp_serde::config::BytesMode;
use serde::{Deserialize, Serialize};
use sightline_schemas::EventTime;

use super::chunk::{self, Kind, Sealed, Sum};
use super::store::{ChunkLine, Meta};

/// A manifest without the texts, which lie beside it under their hashes.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Manifest {
    /// Counts commits, from 1.
    pub(super) generation: u64,
    pub(super) format: u32,
    pub(super) log_id: String,
    pub(super) seq: u64,
    pub(super) log_time: EventTime,
    /// BLAKE3 of the rules message.
    pub(super) rules: Sum,
    /// BLAKE3 of the words.
    pub(super) words: Sum,
    pub(super) extra: BTreeMap<String, Vec<u8>>,
    /// Number that the next chunk gets.
    pub(super) next_chunk: u32,
    pub(super) chunks: Vec<ListedChunk>,
}

/// A chunk of the checkpoint, and the sum that its bytes must have.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct ListedChunk {
    pub(super) line: ChunkLine,
    pub(super) sum: Sum,
}

impl Manifest {
    pub(super) fn seal(&self) -> std::io::Result<Sealed> {
        let mut raw = Vec::new();
        let mut writer = rmp_serde::Serializer::new(&mut raw).with_bytes(BytesMode::ForceAll);
        self.serialize(&mut writer).map_err(std::io::Error::other)?;
        chunk::seal(Kind::Manifest, &raw)
    }

    pub(super) fn unseal(block: &[u8]) -> Result<Self, String> {
        let (_, raw) = chunk::unseal(Kind::Manifest, 0, block)?;
        rmp_serde::from_slice(&raw).map_err(|why| format!("the manifest cannot be decoded: {why}"))
    }

    /// The meta of this checkpoint, given the texts that it names.
    pub(super) fn meta(&self, rules: Vec<u8>, words: Vec<u8>) -> Meta {
        Meta {
            format: self.format,
            log_id: self.log_id.clone(),
            seq: self.seq,
            log_time: self.log_time,
            rules,
            words,
            next_chunk: self.next_chunk,
            extra: self.extra.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_comes_back_as_it_was() {
        let manifest = Manifest {
            generation: 3,
            format: 2,
            log_id: "EVENTS@2026".to_owned(),
            seq: u64::MAX,
            log_time: EventTime::from_micros(-5),
            rules: [255; 32],
            words: [7; 32],
            extra: BTreeMap::from([("ticks".to_owned(), vec![0, 200, 255])]),
            next_chunk: 9,
            chunks: vec![ListedChunk {
                line: ChunkLine { number: 8, entries: 12, current: vec![0xff, 0x0f] },
                sum: [128; 32],
            }],
        };
        let sealed = manifest.seal().expect("in memory");
        assert_eq!(Manifest::unseal(&sealed.bytes), Ok(manifest));
    }
}
