//! What the benches share: lines of a report, clocks that count work instead of waiting, and chance from a seed.

pub mod clock;
pub mod report;

/// Chance from a seed: the same on every machine and day (xorshift64).
#[derive(Clone, Debug)]
pub struct Chance(u64);

impl Chance {
    /// Of this seed.
    pub const fn new(seed: u64) -> Self {
        Chance(seed ^ 0x9e37_79b9_7f4a_7c15)
    }

    /// The next number.
    pub const fn draw(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A number below `bound`.
    pub const fn below(&mut self, bound: u64) -> u64 {
        self.draw() % bound
    }
}
