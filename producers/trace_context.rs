//! Where an event stands in a distributed trace: the header `traceparent` of <https://www.w3.org/TR/trace-context/>.

use std::fmt;
use std::str::FromStr;

/// The name of the header, on messages and in HTTP.
pub const HEADER_TRACEPARENT: &str = "traceparent";

/// A `traceparent`: which trace, which span in it, and whether it is recorded.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceParent {
    trace: [u8; 16],
    span: [u8; 8],
    flags: u8,
}

/// The text is no `traceparent`: start a new trace, as the specification says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is no traceparent: expected 00-<32 hexadecimal digits>-<16>-<2>, trace and span not all zero"
)]
pub struct TraceParentError {
    text: String,
}

impl TraceParent {
    /// From its parts; `None` where trace or span are all zero, which name nothing.
    pub fn new(trace: [u8; 16], span: [u8; 8], sampled: bool) -> Option<Self> {
        (trace != [0; 16] && span != [0; 8]).then_some(TraceParent { trace, span, flags: sampled.into() })
    }

    /// The id of the trace, 32 hexadecimal digits.
    pub fn trace_id(&self) -> String {
        hex(&self.trace)
    }

    fn read(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let [version] = unhex::<1>(version)?;
        // A later version may go on after the flags; this one may not. ff is no version.
        if version == 0xff || (version == 0 && parts.next().is_some()) {
            return None;
        }
        let [flags] = unhex::<1>(flags)?;
        let read = TraceParent::new(unhex(trace)?, unhex(span)?, false)?;
        Some(TraceParent { flags, ..read })
    }
}

impl FromStr for TraceParent {
    type Err = TraceParentError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let shown = || text.chars().take(80).collect();
        TraceParent::read(text.trim()).ok_or_else(|| TraceParentError { text: shown() })
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "00-{}-{}-{:02x}", hex(&self.trace), hex(&self.span), self.flags)
    }
}

impl fmt::Debug for TraceParent {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Lower-case digits only, as the specification demands.
fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let lower = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if text.len() != 2 * N || !text.bytes().all(lower) {
        return None;
    }
    let mut bytes = [0; N];
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_what_is_written() {
        let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let read: TraceParent = text.parse().expect("the example of the specification");
        assert_eq!((read.to_string().as_str(), read.trace_id().as_str()), (text, &text[3..35]));
        let later: TraceParent =
            format!("01{}-more", &text[2..]).parse().expect("a later version may say more");
        assert_eq!(later, read);
    }

    #[test]
    fn what_names_nothing_is_refused() {
        for text in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473ü-00f067aa0ba902b7-01",
        ] {
            assert!(text.parse::<TraceParent>().is_err(), "{text:?}");
        }
    }
}
