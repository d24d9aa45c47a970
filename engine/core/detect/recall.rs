//! Values that were seen before, and what was found in them.
//!
//! Names of programs, users, hosts and kinds come again and again, and what is found in a value depends on nothing but
//! the value, where it stands and the rules. So a value that comes for the second time is kept with what was found in it,
//! and from the third time on it is looked up whole, as it is written: nobody needs to read it. Nothing is ever taken for
//! something else: the value itself is compared.

use std::hash::BuildHasher;

use rustc_hash::FxBuildHasher;

use crate::detect::search::Wanted;

/// Longer values are rarely the same again.
const VALUE_BYTES_MAX: usize = 256;
/// A value in which more is found is not kept: what is kept stays below some ten megabytes.
const FOUND_MAX: usize = 512;
/// Values that are kept. Of two that have the same place the later one stays.
const PLACES: usize = 2_048;
/// Traces of values that came once: of each no more than a few bits.
const TRACES: usize = 8_192;

/// Where a value stands: for which index, under which name, and whether it is what is written or what that says.
type Place = (u32, u32, bool);

/// A value, and what was found in it.
#[derive(Debug)]
struct Known {
    hash: u64,
    place: Place,
    value: Box<str>,
    found: Box<[Wanted]>,
}

/// The values of one detector.
#[derive(Debug, Default)]
pub(super) struct Recall {
    known: Vec<Option<Known>>,
    traces: Vec<u32>,
}

/// What is known of a value.
pub(super) enum Recalled<'k> {
    /// What is found in it.
    Known(&'k [Wanted]),
    /// It came before, and is to be kept under this hash.
    Again(u64),
    /// Nothing, and it need not be kept.
    Nothing,
}

impl Recall {
    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.known.clear();
        self.known.resize_with(PLACES, || None);
        self.traces.clear();
        self.traces.resize(TRACES, 0);
    }

    /// What is known of this value in that place.
    pub(super) fn recall(&mut self, at: Place, value: &str) -> Recalled<'_> {
        if value.len() > VALUE_BYTES_MAX {
            return Recalled::Nothing;
        }
        let hash = FxBuildHasher.hash_one((at, value));
        let known = &self.known[place(hash, PLACES)];
        if let Some(known) = known
            && known.hash == hash
            && known.place == at
            && *known.value == *value
        {
            return Recalled::Known(&known.found);
        }
        // The half of the hash that does not choose the place.
        let trace = hash as u32 | 1;
        match std::mem::replace(&mut self.traces[place(hash, TRACES)], trace) == trace {
            true => Recalled::Again(hash),
            false => Recalled::Nothing,
        }
    }

    /// Keeps what was found in a value.
    pub(super) fn keep(&mut self, hash: u64, at: Place, value: &str, found: &[Wanted]) {
        if found.len() > FOUND_MAX {
            return;
        }
        let (value, found) = (value.into(), found.into());
        self.known[place(hash, PLACES)] = Some(Known { hash, place: at, value, found });
    }
}

fn place(hash: u64, places: usize) -> usize {
    (hash >> 32) as usize % places
}
