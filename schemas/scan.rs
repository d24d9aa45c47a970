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
    /// A member of the object. `false` declines the whole object.
    fn member(&mut self, name: &'a str, written: Written<'a>) -> bool;

    /// Whether the members of this object-valued member are wanted one by one.
    fn opens(&mut self, name: &'a str) -> bool;

    /// A member of the object that was opened.
    fn inner(&mut self, name: &'a str, written: Written<'a>);
}

/// A value as it is written, known to be valid.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Written<'a> {
    /// The JSON text.
    pub(crate) raw: &'a str,
    /// It is a text, and what stands between its quotes is what it says.
    pub(crate) is_plain: bool,
}

impl<'a> Written<'a> {
    /// The text that it says, if it is one that stands there as it is.
    pub(crate) fn plain(self) -> Option<&'a str> {
        if self.is_plain { self.raw.get(1..self.raw.len() - 1) } else { None }
    }

    /// The value.
    pub(crate) fn value(self) -> Value<'a> {
        match self.plain() {
            Some(text) => Value::Str(Cow::Borrowed(text)),
            None => value(self.raw),
        }
    }
}

/// Gives the members of the one object that `raw` is. `false` where the scan is not sure: then nothing that was given
/// counts.
pub(crate) fn object<'a>(raw: &'a [u8], members: &mut impl Members<'a>) -> bool {
    let Ok(text) = std::str::from_utf8(raw) else { return false };
    let mut scan = Scan { text, bytes: raw, at: 0, values: 0, block: usize::MAX, marks: 0, is_plain: false };
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
    let bytes = inner.as_bytes();
    let mut at = memchr::memchr(b'\\', bytes).unwrap_or(bytes.len());
    if at == bytes.len() {
        return Some(Cow::Borrowed(inner));
    }
    let mut text = String::with_capacity(inner.len());
    let mut from = 0;
    while at < bytes.len() {
        text.push_str(&inner[from..at]);
        from = at + 2;
        match bytes[at + 1] {
            b'n' => text.push('\n'),
            b't' => text.push('\t'),
            b'r' => text.push('\r'),
            b'b' => text.push('\u{8}'),
            b'f' => text.push('\u{c}'),
            b'u' => return None,
            // The scan let only `"`, `\` and `/` through beside these: they stand for themselves.
            _ => from = at + 1,
        }
        at += 2 + before_backslash(&bytes[at + 2..]);
    }
    text.push_str(&inner[from..]);
    Some(Cow::Owned(text))
}

/// How many bytes stand before the first backslash. Escapes come close together: a path, a quoted command.
#[inline]
fn before_backslash(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    let mut at = 0;
    while let Some(eight) = bytes[at..].first_chunk() {
        // A byte that was a backslash is zero; the lowest byte that is marked is rightly marked.
        let word = u64::from_le_bytes(*eight) ^ (ONES * b'\\' as u64);
        let marks = word.wrapping_sub(ONES) & !word & (ONES << 7);
        if marks != 0 {
            return at + marks.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    let rest = &bytes[at..];
    at + rest.iter().position(|byte| *byte == b'\\').unwrap_or(rest.len())
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
    /// Where the block begins whose marks are known, and which of its bytes are marked.
    block: usize,
    marks: u64,
    /// Whether the latest text has no escapes.
    is_plain: bool,
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
                let name = self.name()?;
                let from = self.at;
                if self.peek()? == b'{' && members.opens(name) {
                    self.opened(members)?;
                } else {
                    self.skip(1)?;
                }
                let written = self.written(from);
                if !members.member(name, written) {
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
            let name = self.name()?;
            let from = self.at;
            self.skip(2)?;
            let written = self.written(from);
            members.inner(name, written);
            if self.closes(b'}')? {
                return Some(());
            }
        }
    }

    /// The value that ends here.
    #[inline(always)]
    fn written(&self, from: usize) -> Written<'a> {
        let raw = &self.text[from..self.at];
        Written { raw, is_plain: self.is_plain && raw.as_bytes()[0] == b'"' }
    }

    /// Passes over one value at this depth.
    #[inline(always)]
    fn skip(&mut self, depth: usize) -> Option<()> {
        self.count()?;
        match self.peek()? {
            // As most values are.
            b'"' => self.string(),
            _ => self.skip_other(depth),
        }
    }

    /// Passes over a value that is no text.
    fn skip_other(&mut self, depth: usize) -> Option<()> {
        match self.peek()? {
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

    #[inline]
    fn blank(&mut self) {
        // Most JSON has none.
        if self.peek().is_some_and(|byte| byte <= b' ') {
            self.blanks();
        }
    }

    #[cold]
    fn blanks(&mut self) {
        while let Some(b' ' | b'\n' | b'\t' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    #[inline]
    fn colon(&mut self) -> Option<()> {
        self.blank();
        self.expect(b':')?;
        self.blank();
        Some(())
    }

    /// Behind a member: whether `end` follows, or else a comma.
    #[inline]
    fn closes(&mut self, end: u8) -> Option<bool> {
        self.blank();
        let next = self.peek()?;
        self.at += 1;
        if next == b',' {
            self.blank();
            return Some(false);
        }
        (next == end).then_some(true)
    }

    fn word(&mut self, word: &[u8]) -> Option<()> {
        self.bytes[self.at..].starts_with(word).then(|| self.at += word.len())
    }

    /// The place of the first mark from there on, or the end.
    #[inline]
    fn mark(&mut self, from: usize) -> usize {
        let ahead = if from - from % BLOCK == self.block { self.marks >> (from % BLOCK) } else { 0 };
        match ahead {
            0 => self.mark_behind(from),
            _ => from + ahead.trailing_zeros() as usize,
        }
    }

    fn mark_behind(&mut self, from: usize) -> usize {
        let mut at = from;
        while at < self.bytes.len() {
            let block = at - at % BLOCK;
            if block != self.block {
                self.block = block;
                let bytes = &self.bytes[block..];
                self.marks = match bytes.first_chunk() {
                    Some(bytes) => marks(bytes),
                    None => {
                        let mut rest = [b' '; BLOCK];
                        rest[..bytes.len()].copy_from_slice(bytes);
                        marks(&rest)
                    }
                };
            }
            let ahead = self.marks >> (at % BLOCK);
            if ahead != 0 {
                return at + ahead.trailing_zeros() as usize;
            }
            at = block + BLOCK;
        }
        self.bytes.len()
    }

    /// The name of a member, without escapes, and the colon behind it.
    #[inline(always)]
    fn name(&mut self) -> Option<&'a str> {
        self.expect(b'"')?;
        let from = self.at;
        self.at = self.mark(from);
        let text = &self.text[from..self.at];
        self.expect(b'"')?;
        self.colon()?;
        Some(text)
    }

    #[inline(always)]
    fn string(&mut self) -> Option<()> {
        let mut at = self.at + 1;
        self.is_plain = true;
        loop {
            at = self.mark(at);
            match self.bytes.get(at)? {
                b'"' => {
                    self.at = at + 1;
                    return Some(());
                }
                b'\\' => {
                    self.is_plain = false;
                    match self.bytes.get(at + 1)? {
                        b'\\' | b'"' => at += 2,
                        _ => at = self.escape(at)?,
                    }
                }
                // A control character.
                _ => return None,
            }
        }
    }

    /// Where the escape that begins there ends.
    fn escape(&self, at: usize) -> Option<usize> {
        match self.bytes.get(at + 1)? {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some(at + 2),
            b'u' => {
                let digits = self.bytes.get(at + 2..at + 6)?;
                let surrogate = digits[0].eq_ignore_ascii_case(&b'd') && !matches!(digits[1], b'0'..=b'7');
                (!surrogate && digits.iter().all(u8::is_ascii_hexdigit)).then_some(at + 6)
            }
            _ => None,
        }
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

/// Bytes of which the marks are found at once.
const BLOCK: usize = u64::BITS as usize;

/// Which bytes are a quote, a backslash or a control character; the first is the lowest bit.
#[inline(never)]
fn marks(bytes: &[u8; BLOCK]) -> u64 {
    // Plain loops over bytes: many of them are compared at once. Then the lowest bits of eight bytes become neighbours.
    const GATHER: u64 = 0x0102_0408_1020_4080;
    let mut flags = [0u8; BLOCK];
    for (flag, byte) in flags.iter_mut().zip(bytes) {
        *flag = u8::from(*byte == b'"') | u8::from(*byte == b'\\') | u8::from(*byte < 0x20);
    }
    let (eights, _) = flags.as_chunks::<8>();
    let gathered = eights.iter().map(|eight| u64::from_le_bytes(*eight).wrapping_mul(GATHER) >> 56);
    (0..).step_by(8).zip(gathered).fold(0, |marks, (shift, eight)| marks | eight << shift)
}
