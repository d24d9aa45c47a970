//! Sealed blocks that are cut, flipped and put in the wrong place, and entries that are found again.

use super::*;

fn entry(state: &[u8], hits: u32) -> Entry<'_> {
    Entry {
        has_incidents: hits.is_multiple_of(2),
        is_due: hits.is_multiple_of(3),
        active: hits % 5,
        hits,
        state,
    }
}

/// A chunk of entries whose states say their number.
fn raw(entries: u32) -> Raw {
    let mut raw = Raw::default();
    for number in 0..entries {
        let state = format!("state {number} {}", "x".repeat(number as usize % 700));
        assert_eq!(raw.push(entry(state.as_bytes(), number)), number);
    }
    raw
}

#[test]
fn entries_come_back_as_they_went_in() {
    let raw = raw(1_000);
    let sealed = seal_chunk(7, &raw).expect("in memory");
    let (sum, bytes) = unseal(Kind::Chunk, 7, &sealed.bytes).expect("untouched");
    assert_eq!(sum, sealed.sum);
    let read = Raw::from_bytes(bytes).expect("whole");
    assert_eq!((read.entries(), read.bytes()), (1_000, raw.bytes()));
    for number in 0..1_000 {
        assert_eq!(read.entry(number), raw.entry(number), "entry {number}");
    }
    assert_eq!(raw.entry(517).expect("there").hits, 517);
    assert!(raw.entry(1_000).is_err());
}

#[test]
fn an_entry_is_found_in_its_frame_alone() {
    let raw = raw(1_000);
    let sealed = seal_chunk(7, &raw).expect("in memory");
    let (_, frames) = verify(Kind::Chunk, 7, &sealed.bytes).expect("untouched");
    assert!(frames.len() > 10, "{} frames", frames.len());
    for number in [0, 1, 15, 16, 500, 999] {
        let frame = frames[frames.partition_point(|frame| frame.first_entry <= number) - 1];
        let bytes = frame.unpack(&sealed.bytes[frame.range()]).expect("untouched");
        let found = nth_entry(&bytes, (number - frame.first_entry) as usize).expect("there");
        assert_eq!(found, raw.entry(number).expect("there"), "entry {number}");
    }
}

/// What zstd itself takes for a frame is not what was put away: texts that do not compress stand in it as they are.
#[test]
fn every_flipped_byte_of_a_frame_is_noticed() {
    let raw = raw(40);
    let sealed = seal_chunk(7, &raw).expect("in memory");
    let (_, frames) = verify(Kind::Chunk, 7, &sealed.bytes).expect("untouched");
    for frame in frames {
        let packed = &sealed.bytes[frame.range()];
        for at in 0..packed.len() {
            let mut flipped = packed.to_vec();
            flipped[at] ^= 1;
            assert!(frame.unpack(&flipped).is_err(), "byte {at} of {}", packed.len());
        }
    }
}

#[test]
fn every_flipped_bit_and_every_cut_is_noticed() {
    let sealed = seal(Kind::Manifest, b"some bytes that are worth keeping").expect("in memory").bytes;
    for bit in 0..sealed.len() * 8 {
        let mut flipped = sealed.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(unseal(Kind::Manifest, 0, &flipped).is_err(), "bit {bit}");
    }
    for cut in 0..sealed.len() {
        assert!(unseal(Kind::Manifest, 0, &sealed[..cut]).is_err(), "cut at {cut}");
    }
}

#[test]
fn a_whole_block_in_the_wrong_place_is_noticed() {
    let sealed = seal_chunk(7, &raw(1)).expect("in memory").bytes;
    let wrong_number = unseal(Kind::Chunk, 8, &sealed).expect_err("number 7");
    assert_eq!(wrong_number, "another block lies in the place of Chunk 8");
    assert!(unseal(Kind::Text, 7, &sealed).is_err());
}

#[test]
fn other_formats_are_named() {
    let mut sealed = seal(Kind::Manifest, b"x").expect("in memory").bytes;
    sealed[4] = 9;
    let reason = unseal(Kind::Manifest, 0, &sealed).expect_err("format 9");
    assert_eq!(reason, "Manifest 0 has format 9, this program reads format 2");
}

#[test]
fn an_entry_that_runs_over_the_end_is_an_error() {
    let raw = raw(3);
    for cut in 1..raw.bytes().len() {
        let read = Raw::from_bytes(raw.bytes()[..cut].to_vec());
        assert!(read.is_err() || read.is_ok_and(|read| read.entries() < 3), "cut at {cut}");
    }
    assert!(Raw::from_bytes(vec![0xff; 40]).is_err());
}
