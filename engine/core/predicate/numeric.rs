//! Numbers and bit masks, also where they come as text.

use crate::field::Scalar;

/// How two numbers stand to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ordering {
    /// Greater.
    Gt,
    /// Greater or equal.
    Gte,
    /// Less.
    Lt,
    /// Less or equal.
    Lte,
}

impl Ordering {
    /// Whether `number` stands so to `than`.
    pub fn holds(self, number: f64, than: f64) -> bool {
        match self {
            Ordering::Gt => number > than,
            Ordering::Gte => number >= than,
            Ordering::Lt => number < than,
            Ordering::Lte => number <= than,
        }
    }
}

/// A number in one of several ranges, both ends included.
#[derive(Clone, Debug, PartialEq)]
pub struct Ranges(Vec<(f64, f64)>);

impl Ranges {
    /// Any of `ranges`, each from the least to the greatest.
    pub fn new(ranges: Vec<(f64, f64)>) -> Self {
        Ranges(ranges)
    }

    /// Whether the value is a number in one of them.
    pub fn hold(&self, value: Scalar<'_>) -> bool {
        value
            .number()
            .is_some_and(|number| self.0.iter().any(|(least, most)| (*least..=*most).contains(&number)))
    }

    /// For people: `from 1 to 10, or from 20 to 30`.
    pub fn expectation(&self) -> String {
        let each = self.0.iter().map(|(least, most)| format!("from {least} to {most}"));
        crate::predicate::alternatives(each)
    }
}

impl Ordering {
    /// The sign, as people write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Ordering::Gt => ">",
            Ordering::Gte => ">=",
            Ordering::Lt => "<",
            Ordering::Lte => "<=",
        }
    }
}

/// All bits of one of several masks are set.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Bits(Vec<u64>);

impl Bits {
    /// Any of `masks`, each decimal or `0x…`.
    ///
    /// # Errors
    /// With the text that is no mask, or a mask without a bit.
    pub fn new(masks: &[String]) -> Result<Self, String> {
        let parse = |text: &String| match Scalar::Text(text).bits() {
            Some(0) => Err(format!("{text:?} has no bit set: it would hold for everything")),
            Some(mask) => Ok(mask),
            None => Err(format!("{text:?} is no bit mask such as 0x10")),
        };
        masks.iter().map(parse).collect::<Result<_, _>>().map(Bits)
    }

    /// Whether the value has them.
    pub fn hold(&self, value: Scalar<'_>) -> bool {
        value.bits().is_some_and(|bits| self.0.iter().any(|mask| bits & mask == *mask))
    }

    /// For people: `a number with the bits 0x10`.
    pub fn expectation(&self) -> String {
        let masks = self.0.iter().map(|mask| format!("{mask:#x}"));
        format!("a number with the bits {}", crate::predicate::alternatives(masks))
    }
}
