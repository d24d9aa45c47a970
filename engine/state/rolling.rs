//! How old chunks are rolled up, so that waste stays bounded in memory and on disk.
//!
//! When there is too much waste, the chunk with the smallest part of entries that count is emptied: those go into the chunk
//! that is being built, and the old one goes away. Taking the emptiest chunk, and not the oldest, means that keys at rest
//! are not rewritten over and over because a few others change.

use super::chunk::Entry;
use super::index::Address;
use super::packed::Prelude;
use super::shelf::{CHUNK_RAW_BYTES, Chunk, Shelf};
use super::state_key::StateKey;

/// So much waste is always borne: below it, rolling saves nothing worth a rewrite.
pub(super) const WASTE_FLOOR_RAW_BYTES: u64 = 2 * CHUNK_RAW_BYTES as u64;
/// Waste beyond the floor that is borne, as a part of what counts: a third.
const WASTE_PARTS: u64 = 3;
/// So many chunks are always borne, however small: checkpoints of a handful of keys make chunks of a handful of entries.
pub(super) const CHUNKS_FLOOR: u64 = 32;

impl Shelf {
    /// Rolls up old chunks. `moved` is told every key that gets another address. Gives how many these were.
    ///
    /// # Errors
    /// When an old chunk cannot be read.
    pub(super) fn roll(&mut self, moved: &mut dyn FnMut(StateKey, Address)) -> Result<usize, String> {
        let newest = self.next_number();
        let mut carried = 0;
        while let Some(victim) = self.victim(newest) {
            let chunk = self.chunk(victim);
            let (current, forget_at) = (chunk.current.clone(), chunk.sweep_at);
            if current.ones() > 0 {
                let raw = self.raw(victim)?;
                for (number, entry) in (0..).zip(raw.iter()) {
                    let entry: Entry<'_> = entry?;
                    if current.has(number) {
                        let key = Prelude::read(entry.state, &self.words)?.state_key();
                        let address = self.push(entry, forget_at);
                        self.moved(key, Address::new(victim, number), address);
                        moved(key, address);
                        carried += 1;
                    }
                }
            }
            self.remove(victim);
        }
        Ok(carried)
    }

    /// The chunk to empty next, if any must be. Those from `newest` on hold what was rolled up before.
    fn victim(&self, newest: u32) -> Option<usize> {
        let whole = || self.chunks().filter(|(_, chunk)| !chunk.is_building());
        let raw: u64 = whole().map(|(_, chunk)| u64::from(chunk.raw_bytes)).sum();
        let current: u64 = whole().map(|(_, chunk)| chunk.current_raw_bytes()).sum();
        let old = || whole().filter(|(_, chunk)| chunk.number() < newest);
        // A chunk in which nothing counts goes at once: it costs no reading.
        if let Some((empty, _)) = whole().find(|(_, chunk)| chunk.current.ones() == 0) {
            return Some(empty);
        }
        let too_many = whole().count() as u64 > CHUNKS_FLOOR + 2 * raw / CHUNK_RAW_BYTES as u64;
        let too_wasteful = raw > current + current / WASTE_PARTS + WASTE_FLOOR_RAW_BYTES;
        let chosen = if too_wasteful {
            old().min_by_key(|(_, chunk)| part_that_counts(chunk))
        } else if too_many {
            old().min_by_key(|(_, chunk)| chunk.current_raw_bytes())
        } else {
            None
        };
        chosen.map(|(slot, _)| slot)
    }
}

/// In fractions of 2^32.
fn part_that_counts(chunk: &Chunk) -> u64 {
    (u64::from(chunk.current.ones()) << 32) / u64::from(chunk.entries.max(1))
}

#[cfg(test)]
#[path = "rolling_tests.rs"]
mod tests;
