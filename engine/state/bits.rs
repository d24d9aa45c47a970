//! A set of small numbers: which entries of a chunk count.

/// A set of entry numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bits {
    words: Vec<u64>,
    ones: u32,
}

impl Bits {
    /// How many numbers are in the set.
    pub fn ones(&self) -> u32 {
        self.ones
    }

    /// Whether a number is in the set.
    pub fn has(&self, bit: u32) -> bool {
        self.words.get(bit as usize / 64).is_some_and(|word| word >> (bit % 64) & 1 == 1)
    }

    /// Puts a number in.
    pub fn set(&mut self, bit: u32) {
        let word = bit as usize / 64;
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        self.ones += u32::from(!self.has(bit));
        self.words[word] |= 1 << (bit % 64);
    }

    /// Takes a number out.
    pub fn clear(&mut self, bit: u32) {
        if self.has(bit) {
            self.words[bit as usize / 64] &= !(1 << (bit % 64));
            self.ones -= 1;
        }
    }

    /// One more than the highest number in the set; 0 where it is empty.
    pub fn end(&self) -> u32 {
        let last = self.words.iter().rposition(|&word| word != 0);
        last.map_or(0, |at| at as u32 * 64 + 64 - self.words[at].leading_zeros())
    }

    /// Bytes of memory.
    pub fn weight(&self) -> u64 {
        (self.words.capacity() * size_of::<u64>()) as u64
    }

    /// From bytes, lowest first.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let words = bytes.chunks(8).map(|part| {
            let mut word = [0; 8];
            word[..part.len()].copy_from_slice(part);
            u64::from_le_bytes(word)
        });
        let words: Vec<u64> = words.collect();
        let ones = words.iter().map(|word| word.count_ones()).sum();
        Bits { words, ones }
    }

    /// As bytes, lowest first.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }
}
