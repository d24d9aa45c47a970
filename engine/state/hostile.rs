//! Checkpoints from bytes of others, for the fuzzers: as they lie on disk, and behind a checksum that is right.

use sightline_core::correlate::KeyState;

use super::chunk::{self, Kind, Raw};
use super::manifest::{ListedChunk, Manifest};
use super::packed::{self, Words};
use super::store::ChunkLine;

/// Reads `data` as whatever a checkpoint holds: it may only be refused, or come back.
pub fn read(data: &[u8]) {
    for kind in [Kind::Chunk, Kind::Manifest, Kind::Text] {
        if let Ok((_, raw)) = chunk::unseal(kind, 0, data) {
            assert!(chunk::seal(kind, &raw).is_ok());
        }
    }
    // What a fuzzer cannot guess is the checksum: sealed by us, everything behind it is reached.
    if let Ok(sealed) = chunk::seal(Kind::Manifest, data)
        && let Ok(manifest) = Manifest::unseal(&sealed.bytes)
    {
        assert!(manifest.seal().is_ok(), "a manifest that was read can be written");
    }
    if let Ok(raw) = Raw::from_bytes(data.to_vec()) {
        let entries = raw.iter().filter(|entry| entry.is_ok()).count();
        assert_eq!(entries, raw.entries() as usize, "entries that were counted can be read");
    }
    let Some((length, rest)) = data.split_first_chunk::<2>() else { return };
    let Some((words, state)) = rest.split_at_checked(usize::from(u16::from_le_bytes(*length))) else {
        return;
    };
    if let Ok(words) = Words::from_bytes(words)
        && let Ok(state) = packed::unpack(state, &words)
    {
        packed::pack_alone(&state);
    }
}

/// What is written of a state can be read again, and is the same.
pub fn assert_comes_back(state: &KeyState) {
    let (mut words, mut written) = (Words::default(), Vec::new());
    packed::pack(state, &mut words, &mut written);
    let read = packed::unpack(&written, &words).expect("a state that was written can be read");
    assert_eq!(packed::pack_alone(&read), packed::pack_alone(state));
}

/// A state as [`read`] takes it: the length of its words, they, and it.
pub fn sample(state: &KeyState) -> Vec<u8> {
    let (mut words, mut written) = (Words::default(), Vec::new());
    packed::pack(state, &mut words, &mut written);
    let words = words.to_bytes();
    let length = u16::try_from(words.len()).expect("few words");
    [&length.to_le_bytes()[..], &words, &written].concat()
}

/// A manifest and a chunk, and both as they lie on disk.
pub fn samples() -> Vec<Vec<u8>> {
    let mut raw = Raw::default();
    for state in [&b"one"[..], b"", b"three"] {
        raw.push(chunk::Entry { has_incidents: true, is_due: false, active: 1, hits: 2, state });
    }
    let sealed = chunk::seal_chunk(0, &raw).expect("in memory");
    let line = ChunkLine { number: 0, entries: raw.entries(), current: vec![0b101] };
    let manifest = Manifest {
        generation: 1,
        format: 1,
        log_id: "EVENTS@2026-05-08T12:00:00.000000000Z".to_owned(),
        seq: 7,
        log_time: sightline_schemas::EventTime::from_micros(1),
        rules: [7; 32],
        words: [8; 32],
        extra: [("ticks".to_owned(), vec![0, 200])].into(),
        next_chunk: 1,
        chunks: vec![ListedChunk { line, sum: sealed.sum }],
    };
    let written = manifest.seal().expect("in memory").bytes;
    let (_, unsealed) = chunk::unseal(Kind::Manifest, 0, &written).expect("just sealed");
    vec![raw.bytes().to_vec(), sealed.bytes, unsealed, written]
}
