//! States that are packed and come back, and bytes that are none.

use std::sync::Arc;

use proptest::prelude::*;
use sightline_core::correlate::{KeyState, Now};

use super::*;
use crate::state::fixtures::{hit, log_time, rules};

/// A state of the first rule that took these hits, seconds after the beginning.
fn state(number: u64, seconds: &[i64]) -> KeyState {
    let rules = rules();
    let first = hit(0, number, 0);
    let unit = rules.unit_of(first.rule);
    let mut state = KeyState::new(Arc::clone(&first.tenant), unit, first.key, &rules);
    for second in seconds {
        let hit = hit(0, number, *second);
        let now = Now { rules: &rules, log_time: log_time(*second), position: hit.position };
        state.hit(unit, &hit, now, &mut Vec::new());
    }
    state
}

/// Everything in a state, by another encoding.
fn told(state: &KeyState) -> Vec<u8> {
    rmp_serde::to_vec(state).expect("states are plain data")
}

#[test]
fn a_state_comes_back_as_it_was() {
    for seconds in [&[][..], &[0], &[0, 7], &[0, 7, 9], &[0, 7, 9, 11, 400, 402, 90_000]] {
        let state = state(7, seconds);
        let (mut words, mut bytes) = (Words::default(), Vec::new());
        pack(&state, &mut words, &mut bytes);
        let words = Words::from_bytes(&words.to_bytes()).expect("as written");
        assert_eq!(told(&unpack(&bytes, &words).expect("as written")), told(&state), "{seconds:?}");
        assert_eq!(told(&unpack(&pack_alone(&state), &Words::none()).expect("as written")), told(&state));
    }
}

#[test]
fn the_prelude_is_the_beginning_of_a_state() {
    let state = state(7, &[0, 7]);
    let (mut words, mut bytes) = (Words::default(), Vec::new());
    pack(&state, &mut words, &mut bytes);
    let prelude = Prelude::read(&bytes, &words).expect("as written");
    assert_eq!(prelude.state_key(), StateKey::of(state.tenant(), state.unit_id(), state.key()));
    assert_eq!((prelude.unit(), prelude.touched), ("guessing", log_time(7)));
}

#[test]
fn a_quiet_key_takes_less_than_a_hundred_bytes() {
    let (mut words, mut bytes) = (Words::default(), Vec::new());
    pack(&state(6, &[0]), &mut words, &mut bytes);
    bytes.clear();
    pack(&state(7, &[5]), &mut words, &mut bytes);
    assert!(bytes.len() < 100, "{} bytes: {bytes:?}", bytes.len());
    bytes.clear();
    pack(&state(8, &[5, 8]), &mut words, &mut bytes);
    assert!(bytes.len() < 150, "{} bytes with two hits", bytes.len());
}

#[test]
fn every_cut_and_every_flipped_bit_is_an_error_or_a_state() {
    let (mut words, mut bytes) = (Words::default(), Vec::new());
    pack(&state(7, &[0, 7, 9]), &mut words, &mut bytes);
    for cut in 0..bytes.len() {
        assert!(unpack(&bytes[..cut], &words).is_err(), "cut at {cut}");
    }
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let _ = unpack(&flipped, &words);
    }
}

type Values = (Vec<(i64, u64, u128, i32)>, Vec<String>, Option<(bool, char, f64, u8)>);

proptest! {
    #[test]
    fn any_bytes_are_an_error_or_a_state(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = unpack(&bytes, &Words::none());
    }

    #[test]
    fn values_of_every_kind_come_back(
        numbers in prop::collection::vec((any::<i64>(), any::<u64>(), any::<u128>(), any::<i32>()), 0..90),
        texts in prop::collection::vec(prop_oneof!["[ab]{0,2}", ".{0,40}"], 0..40),
        option in any::<Option<(bool, char, f64, u8)>>(),
    ) {
        let value: Values = (numbers, texts, option);
        let (mut words, mut bytes) = (Words::default(), Vec::new());
        serde::Serialize::serialize(&value, &mut Writer::new(&mut words, &mut bytes)).expect("plain data");
        let mut reader = Reader::new(&bytes, &words);
        let read = Values::deserialize(&mut reader).expect("as written");
        prop_assert_eq!(reader.rest(), 0);
        prop_assert_eq!(read, value);
    }
}
