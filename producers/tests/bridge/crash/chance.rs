//! Chance that can be repeated: SplitMix64, <https://doi.org/10.1145/2714064.2660195>.

use std::time::Duration;

pub struct Chance(u64);

impl Chance {
    /// Each of its own name has its own; `SIGHTLINE_TEST_CRASH_SEED` gives others.
    pub fn of(name: &str) -> Self {
        let seed: u64 = std::env::var("SIGHTLINE_TEST_CRASH_SEED").ok().map_or(0, |text| {
            text.parse().unwrap_or_else(|_| panic!("SIGHTLINE_TEST_CRASH_SEED={text:?} is no number"))
        });
        Chance(name.bytes().fold(seed, |sum, byte| sum.wrapping_mul(131).wrapping_add(byte.into())))
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }

    pub fn moment(&mut self, millis_max: u64) -> Duration {
        Duration::from_millis(self.below(millis_max))
    }

    pub fn one_of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        let at = self.below(all.len() as u64);
        &all[usize::try_from(at).expect("below a length")]
    }
}
