//! Checkpoint blocks from bytes of others, for the fuzzers: as they lie on disk, and behind a checksum that is right.

use super::chunk::{self, Kind};
use super::manifest::Manifest;
use super::rolling::Chunks;

/// Reads `data` as each kind of block: it may only be refused, or come back.
pub fn blocks(data: &[u8]) {
    for kind in [Kind::Chunk, Kind::Manifest, Kind::Rules] {
        if let Ok((_, raw)) = chunk::unseal(kind, 0, data) {
            assert!(chunk::seal(kind, 0, &raw).is_ok());
        }
    }
    // What a fuzzer cannot guess is the checksum: sealed by us, everything behind it is reached.
    let Ok(sealed) = chunk::seal(Kind::Manifest, 0, data) else { return };
    let Ok(manifest) = Manifest::unseal(&sealed.bytes) else { return };
    assert!(manifest.seal().is_ok(), "a manifest that was read can be written");
    let mut chunks = Chunks::with_room(manifest.next_chunk, &manifest.chunks);
    for listed in &manifest.chunks {
        if chunks.adopt(listed, data, &mut |_, _| Ok(())).is_err() {
            return;
        }
    }
    assert_eq!(chunks.list().len(), manifest.chunks.len());
}

/// What a fuzzer begins with: a manifest, a chunk, and both as they lie on disk.
pub fn samples() -> Vec<Vec<u8>> {
    let mut packer = chunk::Packer::default();
    for (number, value) in [&b"one"[..], b"", b"three"].into_iter().enumerate() {
        packer.push(super::StoredKey([u8::try_from(number).unwrap_or(0); 16]), value);
    }
    let sealed = chunk::seal(Kind::Chunk, 0, packer.raw()).expect("in memory");
    let listed = super::manifest::ListedChunk {
        number: 0,
        sum: sealed.sum,
        entries: 3,
        raw_bytes: u32::try_from(packer.raw().len()).unwrap_or(0),
        current: vec![0b101],
    };
    let manifest = Manifest {
        generation: 1,
        format: 1,
        log_id: "EVENTS@2026-05-08T12:00:00.000000000Z".to_owned(),
        seq: 7,
        log_time: sightline_schemas::EventTime::from_micros(1),
        rules: [7; 32],
        extra: [("ticks".to_owned(), vec![0, 200])].into(),
        next_chunk: 1,
        chunks: vec![listed],
    };
    let written = manifest.seal().expect("in memory").bytes;
    let (_, raw) = chunk::unseal(Kind::Manifest, 0, &written).expect("just sealed");
    vec![packer.raw().to_vec(), sealed.bytes, raw, written]
}
