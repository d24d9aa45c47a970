//! Where the packed states are: eight bytes a key.
//!
//! A place in the table holds 34 bits of the key's hash and 30 bits of address, and no key: who looks something up reads
//! what stands at the address and compares. Two keys of the same 34 bits are so rare (one look-up in some billions) that
//! the comparison practically never fails, and it is exact because it is made.
//!
//! 256 shards grow one by one, so that growing never needs much room beside what there is, and by a fourth each time, so
//! that little is empty.

use super::state_key::StateKey;

const SHARDS: usize = 256;
const PRINT_BITS: u32 = 34;
const ADDRESS_BITS: u32 = 30;
/// A shard grows when more than so many of eight places are taken.
const FULL_EIGHTHS: usize = 7;
const FIRST_PLACES: usize = 8;

/// Where a packed state is: slot of its chunk (never 0) and number of its entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address(u32);

/// So many chunks can be addressed.
pub(super) const SLOTS_MAX: usize = 1 << (ADDRESS_BITS - 16);
/// So many entries of a chunk can be addressed.
pub(super) const ENTRIES_MAX: u32 = 1 << 16;

impl Address {
    pub(super) fn new(slot: usize, entry: u32) -> Self {
        assert!(
            slot > 0 && slot < SLOTS_MAX && entry < ENTRIES_MAX,
            "no address: slot {slot}, entry {entry}"
        );
        Address((slot as u32) << 16 | entry)
    }

    pub(super) fn slot(self) -> usize {
        self.0 as usize >> 16
    }

    pub(super) fn entry(self) -> u32 {
        self.0 & 0xffff
    }
}

/// All addresses, by key.
#[derive(Debug)]
pub(super) struct Index {
    shards: Vec<Shard>,
}

#[derive(Clone, Debug, Default)]
struct Shard {
    /// Zero is an empty place.
    places: Vec<u64>,
    len: usize,
}

impl Default for Index {
    fn default() -> Self {
        Index { shards: vec![Shard::default(); SHARDS] }
    }
}

/// The part of a key that chooses the shard, and the part that is kept. The lower half of a key chooses its partition, so
/// both are of the upper half.
fn parts(key: StateKey) -> (usize, u64) {
    let upper = (key.0 >> 64) as u64;
    (upper as usize % SHARDS, upper >> (64 - PRINT_BITS))
}

impl Index {
    /// How many keys there are.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.len).sum()
    }

    /// Bytes of memory.
    pub(super) fn weight(&self) -> u64 {
        self.shards.iter().map(|shard| (shard.places.capacity() * size_of::<u64>()) as u64).sum()
    }

    /// Where the state of a key may be. Read it and compare.
    pub(super) fn candidates(&self, key: StateKey) -> impl Iterator<Item = Address> + '_ {
        let (shard, print) = parts(key);
        self.shards[shard].candidates(print)
    }

    /// A key that is not here is at that address.
    pub(super) fn insert(&mut self, key: StateKey, address: Address) {
        let (shard, print) = parts(key);
        self.shards[shard].insert(print, address);
    }

    /// The state of a key moves.
    pub(super) fn replace(&mut self, key: StateKey, from: Address, to: Address) {
        let (shard, print) = parts(key);
        let shard = &mut self.shards[shard];
        let at = shard.find(print, from).expect("who moves a state knows where it is");
        shard.places[at] = place(print, to);
    }

    /// A key is no longer here.
    pub(super) fn remove(&mut self, key: StateKey, address: Address) {
        let (shard, print) = parts(key);
        self.shards[shard].remove(print, address);
    }
}

fn place(print: u64, address: Address) -> u64 {
    print << ADDRESS_BITS | u64::from(address.0)
}

fn print_of(place: u64) -> u64 {
    place >> ADDRESS_BITS
}

impl Shard {
    /// Where the search for a print begins: prints are spread evenly, so their order is the order of places.
    fn home(&self, print: u64) -> usize {
        ((u128::from(print) * self.places.len() as u128) >> PRINT_BITS) as usize
    }

    fn next(&self, at: usize) -> usize {
        if at + 1 == self.places.len() { 0 } else { at + 1 }
    }

    fn candidates(&self, print: u64) -> impl Iterator<Item = Address> + '_ {
        let mut at = self.home(print);
        std::iter::from_fn(move || {
            let place = self.places.get(at).copied().filter(|place| *place != 0)?;
            at = self.next(at);
            Some(place)
        })
        .filter(move |place| print_of(*place) == print)
        .map(|place| Address(place as u32 & ((1 << ADDRESS_BITS) - 1)))
    }

    fn find(&self, print: u64, address: Address) -> Option<usize> {
        let wanted = place(print, address);
        let mut at = self.home(print);
        loop {
            match *self.places.get(at)? {
                0 => return None,
                found if found == wanted => return Some(at),
                _ => at = self.next(at),
            }
        }
    }

    fn insert(&mut self, print: u64, address: Address) {
        if (self.len + 1) * 8 > self.places.len() * FULL_EIGHTHS {
            self.grow();
        }
        self.put(place(print, address));
        self.len += 1;
    }

    fn put(&mut self, place: u64) {
        let mut at = self.home(print_of(place));
        while self.places[at] != 0 {
            at = self.next(at);
        }
        self.places[at] = place;
    }

    fn grow(&mut self) {
        let places = (self.places.len() + self.places.len() / 4).max(FIRST_PLACES);
        let old = std::mem::replace(&mut self.places, vec![0; places]);
        old.into_iter().filter(|place| *place != 0).for_each(|place| self.put(place));
    }

    /// Takes a place out and moves those behind it up, so that no search ends early.
    fn remove(&mut self, print: u64, address: Address) {
        let mut hole = self.find(print, address).expect("who removes a state knows where it is");
        let mut at = self.next(hole);
        while self.places[at] != 0 {
            let home = self.home(print_of(self.places[at]));
            // It may move up if its home is not between the hole and where it is.
            let stays = if hole <= at { home > hole && home <= at } else { home > hole || home <= at };
            if !stays {
                self.places[hole] = self.places[at];
                hole = at;
            }
            at = self.next(at);
        }
        self.places[hole] = 0;
        self.len -= 1;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// Few prints in one shard, so that they meet.
    fn key(number: u8) -> StateKey {
        StateKey((u128::from(number % 7) << 62) << 64 | u128::from(number))
    }

    proptest! {
        #[test]
        fn every_key_is_found_where_it_was_put(steps in prop::collection::vec((0u8..60, 0u8..3), 1..400)) {
            let mut index = Index::default();
            let mut oracle: BTreeMap<u8, Address> = BTreeMap::new();
            for (round, (number, what)) in steps.into_iter().enumerate() {
                let address = Address::new(1 + round % 100, round as u32);
                match (oracle.get(&number).copied(), what) {
                    (None, _) => index.insert(key(number), address),
                    (Some(old), 0) => {
                        index.remove(key(number), old);
                        oracle.remove(&number);
                        continue;
                    }
                    (Some(old), _) => index.replace(key(number), old, address),
                }
                oracle.insert(number, address);
            }
            prop_assert_eq!(index.len(), oracle.len());
            for number in 0..60 {
                let found: Vec<Address> = index.candidates(key(number)).collect();
                match oracle.get(&number) {
                    Some(address) => prop_assert!(found.contains(address)),
                    None => prop_assert!(found.iter().all(|found| oracle.values().any(|there| there == found))),
                }
            }
        }
    }

    #[test]
    fn a_million_keys_take_less_than_twelve_bytes_each() {
        let mut index = Index::default();
        for number in 0..1_000_000u32 {
            let hash = blake3::hash(&number.to_le_bytes());
            let key = StateKey(u128::from_le_bytes(*hash.as_bytes().first_chunk().expect("32 bytes")));
            index.insert(key, Address::new(1 + number as usize / 60_000, number % 60_000));
        }
        assert!(index.weight() < 12_000_000, "{} bytes", index.weight());
    }
}
