//! A first look at a JSON object: is it valid, and where do its members stand?
//!
//! The scan takes the plain case and is sure of it: what it accepts, the careful reader of [`wire`](crate::wire) accepts
//! too, and reads the same values. Whatever is unusual (escaped names, surrogates, exponents, long numbers, too deep,
//! too many, or wrong) it declines, and the careful reader decides and words the refusal.

use std::borrow::Cow;

use serde::de::DeserializeSeed;

use crate::value::{Bounded, DEPTH_MAX, VALUES_MAX, Value};

/// Digits of a number that certainly fits: a longer one is for the careful reader.
const DIGITS_MAX: usize = 17;

/// Where the members of an object go.
pub(crate) trait Members<'a> {
    /// A member of the object, its value as it is written. `false` declines the whole object.
    fn member(&mut self, name: &'a str, raw: &'a str) -> bool;

    /// Whether the members of this object-valued member are wanted one by one.
    fn opens(&mut self, name: &'a str) -> bool;

    /// A member of the object that was opened.
    fn inner(&mut self, name: &'a str, raw: &'a str);
}

/// Gives the members of the one object that `raw` is. `false` where the scan is not sure: then nothing that was given
/// counts.
pub(crate) fn object<'a>(raw: &'a [u8], members: &mut impl Members<'a>) -> bool {
    let Ok(text) = std::str::from_utf8(raw) else { return false };
    let mut scan = Scan { text, bytes: raw, at: 0, values: 0 };
    scan.whole(members).is_some()
}

/// The value that a scan found valid.
pub(crate) fn value(raw: &str) -> Value<'_> {
    let bytes = raw.as_bytes();
    match bytes {
        [b'"', inner @ .., b'"'] => {
            let inner = &raw[1..=inner.len()];
            match unescaped(inner) {
                Some(text) => Value::Str(text),
                None => careful(raw),
            }
        }
        b"true" => Value::Bool(true),
        b"false" => Value::Bool(false),
        b"null" => Value::Null,
        [b'0'..=b'9' | b'-', ..] => match integer(bytes) {
            Some(number) => Value::Int(number),
            None => careful(raw),
        },
        _ => careful(raw),
    }
}

fn careful(raw: &str) -> Value<'_> {
    let mut values_left = VALUES_MAX;
    let seed = Bounded { depth: 0, values_left: &mut values_left };
    let read = seed.deserialize(&mut serde_json::Deserializer::from_str(raw));
    read.expect("the scan accepts only what the careful reader accepts")
}

/// The text between the quotes; `None` where it has escapes other than those of one letter.
fn unescaped(inner: &str) -> Option<Cow<'_, str>> {
    let Some(first) = memchr::memchr(b'\\', inner.as_bytes()) else { return Some(Cow::Borrowed(inner)) };
    let mut text = String::with_capacity(inner.len());
    let (mut from, mut at) = (0, first);
    loop {
        text.push_str(&inner[from..at]);
        text.push(match inner.as_bytes()[at + 1] {
            b'n' => '\n',
            b't' => '\t',
            b'r' => '\r',
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'u' => return None,
            // The scan let only `"`, `\` and `/` through beside these.
            same => char::from(same),
        });
        from = at + 2;
        // Escapes come close together or not at all: a path, a quoted command.
        match inner.as_bytes()[from..].iter().take(16).position(|byte| *byte == b'\\') {
            Some(next) => at = from + next,
            None => match memchr::memchr(b'\\', &inner.as_bytes()[from..]) {
                Some(next) => at = from + next,
                None => break,
            },
        }
    }
    text.push_str(&inner[from..]);
    Some(Cow::Owned(text))
}

fn integer(digits: &[u8]) -> Option<i64> {
    let (negative, digits) = match digits {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    // `-0` is a float in JSON.
    if digits.len() > DIGITS_MAX || (negative && digits == b"0") {
        return None;
    }
    let number = digits.iter().try_fold(0i64, |sum, digit| match digit {
        b'0'..=b'9' => Some(sum * 10 + i64::from(digit - b'0')),
        _ => None,
    })?;
    Some(if negative { -number } else { number })
}

struct Scan<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    values: usize,
}

impl<'a> Scan<'a> {
    fn whole(&mut self, members: &mut impl Members<'a>) -> Option<()> {
        self.blank();
        self.expect(b'{')?;
        self.count()?;
        self.blank();
        if self.peek()? == b'}' {
            self.at += 1;
        } else {
            loop {
                let name = self.plain_text()?;
                self.colon()?;
                let from = self.at;
                if self.peek()? == b'{' && members.opens(name) {
                    self.opened(members)?;
                } else {
                    self.skip(1)?;
                }
                if !members.member(name, &self.text[from..self.at]) {
                    return None;
                }
                if self.closes(b'}')? {
                    break;
                }
            }
        }
        self.blank();
        (self.at == self.bytes.len()).then_some(())
    }

    /// An object at depth 1 whose members are given one by one.
    fn opened(&mut self, members: &mut impl Members<'a>) -> Option<()> {
        self.at += 1;
        self.count()?;
        self.blank();
        if self.peek()? == b'}' {
            self.at += 1;
            return Some(());
        }
        loop {
            let name = self.plain_text()?;
            self.colon()?;
            let from = self.at;
            self.skip(2)?;
            members.inner(name, &self.text[from..self.at]);
            if self.closes(b'}')? {
                return Some(());
            }
        }
    }

    /// Passes over one value at this depth.
    fn skip(&mut self, depth: usize) -> Option<()> {
        self.count()?;
        match self.peek()? {
            b'"' => self.string(),
            b'{' => {
                self.deep(depth)?;
                if self.peek()? == b'}' {
                    self.at += 1;
                    return Some(());
                }
                loop {
                    self.quote()?;
                    self.string()?;
                    self.colon()?;
                    self.skip(depth + 1)?;
                    if self.closes(b'}')? {
                        return Some(());
                    }
                }
            }
            b'[' => {
                self.deep(depth)?;
                if self.peek()? == b']' {
                    self.at += 1;
                    return Some(());
                }
                loop {
                    self.skip(depth + 1)?;
                    if self.closes(b']')? {
                        return Some(());
                    }
                }
            }
            b't' => self.word(b"true"),
            b'f' => self.word(b"false"),
            b'n' => self.word(b"null"),
            _ => self.number(),
        }
    }

    fn deep(&mut self, depth: usize) -> Option<()> {
        self.at += 1;
        self.blank();
        (depth < DEPTH_MAX).then_some(())
    }

    fn count(&mut self) -> Option<()> {
        self.values += 1;
        (self.values <= VALUES_MAX).then_some(())
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    fn quote(&self) -> Option<()> {
        (self.peek()? == b'"').then_some(())
    }

    fn blank(&mut self) {
        while let Some(b' ' | b'\n' | b'\t' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    fn colon(&mut self) -> Option<()> {
        self.blank();
        self.expect(b':')?;
        self.blank();
        Some(())
    }

    /// Behind a member: whether `end` follows, or else a comma.
    fn closes(&mut self, end: u8) -> Option<bool> {
        self.blank();
        let next = self.peek()?;
        self.at += 1;
        if next == end {
            return Some(true);
        }
        if next != b',' {
            return None;
        }
        self.blank();
        Some(false)
    }

    fn word(&mut self, word: &[u8]) -> Option<()> {
        self.bytes[self.at..].starts_with(word).then(|| self.at += word.len())
    }

    /// A text without escapes.
    fn plain_text(&mut self) -> Option<&'a str> {
        self.expect(b'"')?;
        let from = self.at;
        self.at += plain(&self.bytes[self.at..]);
        let text = &self.text[from..self.at];
        self.expect(b'"')?;
        Some(text)
    }

    fn string(&mut self) -> Option<()> {
        self.at += 1;
        loop {
            self.at += plain(&self.bytes[self.at..]);
            match self.peek()? {
                b'"' => {
                    self.at += 1;
                    return Some(());
                }
                b'\\' => self.escape()?,
                // A control character.
                _ => return None,
            }
        }
    }

    fn escape(&mut self) -> Option<()> {
        match self.bytes.get(self.at + 1)? {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => self.at += 2,
            b'u' => {
                let digits = self.bytes.get(self.at + 2..self.at + 6)?;
                let surrogate = digits[0].eq_ignore_ascii_case(&b'd') && !matches!(digits[1], b'0'..=b'7');
                if surrogate || !digits.iter().all(u8::is_ascii_hexdigit) {
                    return None;
                }
                self.at += 6;
            }
            _ => return None,
        }
        Some(())
    }

    fn number(&mut self) -> Option<()> {
        if self.peek()? == b'-' {
            self.at += 1;
        }
        let from = self.at;
        let whole = self.digits();
        if whole == 0 || (whole > 1 && self.bytes[from] == b'0') {
            return None;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            if self.digits() == 0 {
                return None;
            }
        }
        let certain = self.at - from <= DIGITS_MAX && !matches!(self.peek(), Some(b'e' | b'E'));
        certain.then_some(())
    }

    fn digits(&mut self) -> usize {
        let digits = self.bytes[self.at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.at += digits;
        digits
    }
}

/// How many bytes stand before the first quote, backslash or control character.
fn plain(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGH: u64 = u64::from_ne_bytes([0x80; 8]);
    let mut at = 0;
    while let Some(eight) = bytes.get(at..).and_then(<[u8]>::first_chunk::<8>) {
        let word = u64::from_le_bytes(*eight);
        // The lowest byte that is marked is rightly marked; above it a borrow may have passed.
        let (quote, backslash) = (word ^ (ONES * b'"' as u64), word ^ (ONES * b'\\' as u64));
        let marks = (quote.wrapping_sub(ONES) & !quote
            | backslash.wrapping_sub(ONES) & !backslash
            | word.wrapping_sub(ONES * 0x20) & !word)
            & HIGH;
        if marks != 0 {
            return at + (marks.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    let rest = &bytes[at..];
    at + rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20)).unwrap_or(rest.len())
}
