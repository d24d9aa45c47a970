//! The words that all packed states share.

use std::collections::HashMap;
use std::sync::Arc;

/// So many words, whoever invents sources and kinds of events: what comes later is written out in each state.
const WORDS_MAX: usize = 32_768;
/// A longer one is no word.
const WORD_BYTES_MAX: usize = 64;

/// A list that only grows: numbers stay valid. A checkpoint stores it whole, when it has grown.
#[derive(Clone, Debug, Default)]
pub struct Words {
    list: Vec<Arc<[u8]>>,
    numbers: HashMap<Arc<[u8]>, u32>,
    /// Takes in no more.
    closed: bool,
}

impl Words {
    /// Without words, for ever.
    pub(super) fn none() -> Self {
        Words { closed: true, ..Words::default() }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The number of a word, given to it now if it is new; `None` where there is no room for it.
    pub(super) fn number(&mut self, word: &[u8]) -> Option<u32> {
        if let Some(number) = self.numbers.get(word) {
            return Some(*number);
        }
        if self.closed || self.list.len() >= WORDS_MAX || word.len() > WORD_BYTES_MAX {
            return None;
        }
        let number = self.list.len() as u32;
        let word: Arc<[u8]> = word.into();
        self.list.push(Arc::clone(&word));
        self.numbers.insert(word, number);
        Some(number)
    }

    /// The word of a number.
    pub(super) fn word(&self, number: u64) -> Option<&[u8]> {
        let at = usize::try_from(number).ok()?;
        self.list.get(at).map(|word| &**word)
    }

    /// As a checkpoint stores them: each behind its length, which fits a byte.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for word in &self.list {
            bytes.push(word.len() as u8);
            bytes.extend_from_slice(word);
        }
        bytes
    }

    /// Reads stored words.
    ///
    /// # Errors
    /// When the bytes are none.
    pub fn from_bytes(mut bytes: &[u8]) -> Result<Self, String> {
        let mut words = Words::default();
        while let Some((len, rest)) = bytes.split_first() {
            let (word, rest) = rest.split_at_checked(usize::from(*len)).ok_or("the words end inside one")?;
            let next = words.len();
            let number = words.number(word).ok_or("there are more words than there can be")?;
            if number as usize != next {
                return Err("a word stands twice in the words".to_owned());
            }
            bytes = rest;
        }
        Ok(words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_come_back_with_their_numbers() {
        let mut words = Words::default();
        assert_eq!(
            (words.number(b"one"), words.number(b"two"), words.number(b"one")),
            (Some(0), Some(1), Some(0))
        );
        let read = Words::from_bytes(&words.to_bytes()).expect("as written");
        assert_eq!((read.word(1), read.word(2)), (Some(&b"two"[..]), None));
        for cut in [1, 2, 5] {
            assert!(Words::from_bytes(&words.to_bytes()[..cut]).is_err(), "cut at {cut}");
        }
        assert!(Words::from_bytes(b"\x01a\x01a").is_err());
    }

    #[test]
    fn invented_words_do_not_grow_the_list_without_end() {
        let mut words = Words::default();
        for number in 0..WORDS_MAX {
            assert_eq!(words.number(&number.to_le_bytes()), Some(number as u32));
        }
        assert_eq!(words.number(b"one more"), None);
        assert_eq!(words.number(&[b'x'; WORD_BYTES_MAX + 1]), None);
    }
}
