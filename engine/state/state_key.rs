//! The name of a state: of which unit of rules, for which key, of which tenant.

use std::hash::Hasher;

use sightline_core::key::Key;

/// Names the state of one unit of rules for one key of one tenant: a hash of the three.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StateKey(pub u128);

/// The bits of a name that are the owner's alone.
const OF_OWNER: u128 = 0xffff_ffff;

/// Names a key of a tenant: what the states of all units for it have in common. Made once where many rules want one event.
#[derive(Clone, Copy, Debug)]
pub struct Owner(u128);

/// Names a unit of rules.
#[derive(Clone, Copy, Debug)]
pub struct UnitName(u128);

impl StateKey {
    /// The name of that state.
    pub fn of(tenant: &str, unit: &str, key: &Key) -> Self {
        Owner::of(tenant, key).state_in(UnitName::of(unit))
    }

    /// Which of so many partitions owns the state: one owns all states of a key.
    pub const fn partition(self, partitions: usize) -> usize {
        ((self.0 & OF_OWNER) as u64 % partitions as u64) as usize
    }

    /// Of a state in one unit, the name of the same key's state in another.
    pub const fn beside(self, from: UnitName, to: UnitName) -> StateKey {
        StateKey(self.0 ^ from.0 ^ to.0)
    }
}

impl Owner {
    /// The name of that key.
    pub fn of(tenant: &str, key: &Key) -> Self {
        let parts = || std::iter::once(tenant).chain(key.values());
        // In one piece where it fits: every hit asks, and most of the cost is in the asking.
        let mut room = [0; 256];
        let mut filled = 0;
        let fits = parts().all(|part| {
            let Some((length, rest)) = room[filled..].split_first_chunk_mut::<8>() else { return false };
            let Some(text) = rest.get_mut(..part.len()) else { return false };
            *length = (part.len() as u64).to_le_bytes();
            text.copy_from_slice(part.as_bytes());
            filled += 8 + part.len();
            true
        });
        let hash = match fits {
            true => blake3::hash(&room[..filled]),
            false => {
                let mut hasher = blake3::Hasher::new();
                for part in parts() {
                    hasher.update(&(part.len() as u64).to_le_bytes());
                    hasher.update(part.as_bytes());
                }
                hasher.finalize()
            }
        };
        Owner(first_half(hash))
    }

    /// The state that it has in a unit. Two hashes of different things, joined, are as hard to hit as one of both.
    pub const fn state_in(self, unit: UnitName) -> StateKey {
        StateKey(self.0 ^ unit.0)
    }
}

impl UnitName {
    /// The name of the unit with this id.
    pub fn of(id: &str) -> Self {
        // No owner's hash begins like this: a length stands there.
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"unit of rules").update(id.as_bytes());
        UnitName(first_half(hasher.finalize()) & !OF_OWNER)
    }
}

fn first_half(hash: blake3::Hash) -> u128 {
    u128::from_le_bytes(*hash.as_bytes().first_chunk().expect("a hash has 32 bytes"))
}

/// State keys are hashes already: half of one will do.
#[derive(Debug, Default)]
pub struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.0 ^= u64::from_le_bytes(word);
        }
    }

    fn write_u128(&mut self, bits: u128) {
        // The lower half chooses the partition; the upper half spreads inside the table.
        self.0 = (bits >> 64) as u64;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_differs_in_one_of_the_three_has_another_state() {
        let key = |values: &[&str]| Key::new(values.iter().map(ToString::to_string).collect());
        let mut names = Vec::new();
        for tenant in ["a", "b", "ab", "u", ""] {
            for unit in ["a", "u", "v", ""] {
                let keys: [&[&str]; 8] =
                    [&[], &[""], &["a"], &["b"], &["a", "b"], &["ab"], &["a", ""], &["", "a"]];
                names.extend(keys.map(|values| StateKey::of(tenant, unit, &key(values))));
            }
        }
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all);
        let long = "x".repeat(300);
        assert_ne!(StateKey::of("a", "u", &key(&[&long])), StateKey::of("a", "u", &key(&[&long, ""])));
    }
}
