//! The packed form of a key state: what the checkpoint stores, and what a quiet key is while nobody touches it.
//!
//! It is a serde format, so what a state gains is packed without a word here. Fields have no names, numbers are as long as
//! they must be, and what a state or all states say again and again is said once:
//!
//! - text that stands in the state already, as the host does that is also the key, is a reference to it, and so is an
//!   event id that stands in several places;
//! - tenants, rules, steps, sources, kinds and names of fields are numbers of the [`Words`] that all states share, and
//!   that a checkpoint stores beside them;
//! - a time is the difference to the time before it, in seconds or milliseconds where that says it all.
//!
//! Reading trusts nothing: what is no packed state is an error, and no length is believed that the bytes do not bear out.
//! The first fields of a state can be read without the rest: see [`Prelude`].

mod read;
mod words;
mod write;

use serde::Deserialize;
use sightline_core::correlate::KeyState;
use sightline_schemas::EventTime;

pub use words::Words;

use super::state_key::StateKey;
use read::Reader;
use write::Writer;

/// Times are differences to this where none stands before them: 2025-01-01, in microseconds.
const TIME_BASE: i64 = 1_735_689_600_000_000;
/// So many texts of a state can be referred to: the first ones.
const TEXTS_MAX: usize = 24;
/// So many event ids of a state can be referred to: the first ones.
const IDS_MAX: usize = 64;
/// Fields, by name, whose values are few: they are numbers of the shared words.
const WORD_FIELDS: [&str; 11] =
    ["tenant", "unit", "rule", "step", "source", "kind", "name", "version", "fingerprint", "of", "takes"];

fn is_word(field: &str) -> bool {
    WORD_FIELDS.contains(&field)
}

/// Packs a state at the end of `out`.
pub fn pack(state: &KeyState, words: &mut Words, out: &mut Vec<u8>) {
    serde::Serialize::serialize(state, &mut Writer::new(words, out)).expect("states are plain data");
}

/// A state by itself, in bytes that depend on nothing but the state: for comparing.
pub fn pack_alone(state: &KeyState) -> Vec<u8> {
    let mut out = Vec::new();
    pack(state, &mut Words::none(), &mut out);
    out
}

/// Reads a packed state.
///
/// # Errors
/// When the bytes are none, or more than one.
pub fn unpack(bytes: &[u8], words: &Words) -> Result<KeyState, String> {
    let mut reader = Reader::new(bytes, words);
    let state = KeyState::deserialize(&mut reader).map_err(|error| error.to_string())?;
    match reader.rest() {
        0 => Ok(state),
        more => Err(format!("{more} bytes too many")),
    }
}

/// The beginning of a packed state: whose it is, and when it was last touched. The fields are the first of
/// [`KeyState`], in its order; a test holds that.
#[derive(Deserialize)]
pub struct Prelude {
    tenant: String,
    unit: String,
    key: sightline_core::key::Key,
    #[expect(dead_code, reason = "stands between what is read")]
    fingerprint: u64,
    #[expect(dead_code, reason = "stands between what is read")]
    newest: EventTime,
    /// Log time of the last hit or command.
    pub touched: EventTime,
}

impl Prelude {
    /// Reads the beginning of a packed state.
    ///
    /// # Errors
    /// When the bytes are none.
    pub fn read(bytes: &[u8], words: &Words) -> Result<Self, String> {
        Prelude::deserialize(&mut Reader::new(bytes, words)).map_err(|error| error.to_string())
    }

    /// The name of the state.
    pub fn state_key(&self) -> StateKey {
        StateKey::of(&self.tenant, &self.unit, &self.key)
    }

    /// The unit of rules whose state it is.
    pub fn unit(&self) -> &str {
        &self.unit
    }
}

/// What is wrong with bytes, or with what is to become bytes.
#[derive(Debug)]
struct Wrong(String);

impl std::fmt::Display for Wrong {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(&self.0)
    }
}

impl std::error::Error for Wrong {}

impl serde::ser::Error for Wrong {
    fn custom<T: std::fmt::Display>(why: T) -> Self {
        Wrong(why.to_string())
    }
}

impl serde::de::Error for Wrong {
    fn custom<T: std::fmt::Display>(why: T) -> Self {
        Wrong(why.to_string())
    }
}

#[cfg(test)]
#[path = "packed_tests.rs"]
mod tests;
