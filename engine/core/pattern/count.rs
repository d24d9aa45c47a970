//! A step that takes so many events.

use sightline_schemas::EventTime;

use crate::pattern::track::{Stamp, Track};

/// Whether `needed` hits lie between `from` and `until`, the latter itself included.
pub fn enough(track: &Track, needed: u32, from: EventTime, until: Stamp) -> bool {
    let there = track.up_to(until);
    match there.checked_sub(needed as usize) {
        Some(oldest_needed) => track.hit(oldest_needed).stamp.at >= from,
        None => false,
    }
}
