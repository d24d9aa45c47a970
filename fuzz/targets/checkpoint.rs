//! See `engine/hostile_input.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sightline::hostile_input::checkpoint(data));
