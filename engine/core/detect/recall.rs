//! Values that were seen before, and what was found in them.
//!
//! Names of programs, users, hosts and kinds come again and again, and what is found in a value depends on nothing but
//! the value and the rules. So a value that comes for the second time is kept with what was found in it, and from the third
//! time on it is looked up whole. Nothing is ever taken for something else: the value itself is compared.

use std::hash::BuildHasher;
use std::sync::Arc;

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

/// A value of a field, and what was found in it.
#[derive(Debug)]
struct Known {
    hash: u64,
    field: u32,
    value: Box<str>,
    found: Box<[Wanted]>,
}

/// The values of one detector.
#[derive(Debug, Default)]
pub(super) struct Recall {
    /// Whose values they are.
    of: Option<Arc<()>>,
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
    /// Forgets everything, unless it is of this detector.
    pub(super) fn belong_to(&mut self, detector: &Arc<()>) {
        if !self.of.as_ref().is_some_and(|of| Arc::ptr_eq(of, detector)) {
            self.of = Some(Arc::clone(detector));
            self.known.clear();
            self.known.resize_with(PLACES, || None);
            self.traces.clear();
            self.traces.resize(TRACES, 0);
        }
    }

    /// What is known of this value of a field.
    pub(super) fn recall(&mut self, field: u32, value: &str) -> Recalled<'_> {
        if value.len() > VALUE_BYTES_MAX {
            return Recalled::Nothing;
        }
        let hash = FxBuildHasher.hash_one((field, value));
        let known = &self.known[place(hash, PLACES)];
        if let Some(known) = known
            && known.hash == hash
            && known.field == field
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
    pub(super) fn keep(&mut self, hash: u64, field: u32, value: &str, found: &[Wanted]) {
        if found.len() > FOUND_MAX {
            return;
        }
        let (value, found) = (value.into(), found.into());
        self.known[place(hash, PLACES)] = Some(Known { hash, field, value, found });
    }
}

fn place(hash: u64, places: usize) -> usize {
    (hash >> 32) as usize % places
}
