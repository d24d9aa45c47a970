//! What a server writes on a line: <https://docs.nats.io/reference/reference-protocols/nats-protocol>.

use memchr::memchr;

/// Longest line before a message: subjects, and the numbers behind them. The server takes lines of 4,096 bytes and makes
/// them longer by the subject for the answer.
const LINE_BYTES_MAX: usize = 64 << 10;

/// One thing that the server wrote, at the beginning of what was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Said<'a> {
    /// A message.
    Message(Message<'a>),
    /// It asks whether we are there.
    Ping,
    /// It complains, and mostly hangs up.
    Complaint(&'a str),
    /// What it is and can, as JSON.
    Info(&'a [u8]),
    /// The answer to our own ping.
    Pong,
    /// Nothing that concerns us.
    Else,
}

/// A message as it lies in what was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Message<'a> {
    /// The subject it was published on.
    pub(super) subject: &'a str,
    /// Where an answer is to go; empty where nobody waits for one.
    pub(super) reply: &'a [u8],
    /// The headers as they came, with the line before them.
    pub(super) headers: &'a [u8],
    /// The body.
    pub(super) body: &'a [u8],
}

/// The first thing in `bytes`, and how many of them it takes; or how many bytes it takes at least, where it is not all here.
///
/// # Errors
/// When this is no server of NATS. Nothing that comes behind can be read then.
pub(super) fn first(bytes: &[u8]) -> Result<Result<(Said<'_>, usize), usize>, &'static str> {
    let Some(end) = memchr(b'\n', bytes) else {
        return match bytes.len() > LINE_BYTES_MAX {
            true => Err("a line without an end"),
            false => Ok(Err(bytes.len() + 1)),
        };
    };
    let line = bytes[..end].strip_suffix(b"\r").unwrap_or(&bytes[..end]);
    let behind = end + 1;
    let (parts, count) = match line {
        [b'M', b'S', b'G', b' ', words @ ..] => (words, 3),
        [b'H', b'M', b'S', b'G', b' ', words @ ..] => (words, 4),
        [b'P', b'I', b'N', b'G', ..] => return Ok(Ok((Said::Ping, behind))),
        [b'P', b'O', b'N', b'G', ..] => return Ok(Ok((Said::Pong, behind))),
        [b'I', b'N', b'F', b'O', b' ', info @ ..] => return Ok(Ok((Said::Info(info), behind))),
        [b'-', b'E', b'R', b'R', text @ ..] => {
            let text = str::from_utf8(text).unwrap_or("something unreadable").trim();
            return Ok(Ok((Said::Complaint(text.trim_matches('\'')), behind)));
        }
        [b'+', b'O', b'K'] => return Ok(Ok((Said::Else, behind))),
        _ => return Err("a line that is none of the protocol"),
    };
    message(parts, count, bytes, behind)
}

/// `<subject> <subscription> [reply] [bytes of headers] <bytes>`
fn message<'a>(
    words: &'a [u8],
    count: usize,
    bytes: &'a [u8],
    behind: usize,
) -> Result<Result<(Said<'a>, usize), usize>, &'static str> {
    let mut parts: [&[u8]; 5] = [&[]; 5];
    let mut found = 0;
    for word in words.split(|byte| *byte == b' ').filter(|word| !word.is_empty()) {
        *parts.get_mut(found).ok_or("a message with too many words")? = word;
        found += 1;
    }
    let reply = match found.checked_sub(count) {
        Some(0) => &[][..],
        Some(1) => parts[2],
        _ => return Err("a message with too few or too many words"),
    };
    let number = |word| decimal(word).and_then(|number| usize::try_from(number).ok());
    let length = number(parts[found - 1]).ok_or("a message without a length")?;
    let headers = match count {
        3 => 0,
        _ => {
            number(parts[found - 2]).filter(|headers| *headers <= length).ok_or("headers without a length")?
        }
    };
    let whole =
        behind.checked_add(length).and_then(|all| all.checked_add(2)).ok_or("a message without end")?;
    if bytes.len() < whole {
        return Ok(Err(whole));
    }
    let subject = str::from_utf8(parts[0]).map_err(|_| "a subject that is not UTF-8")?;
    let (headers, body) = bytes[behind..behind + length].split_at(headers);
    Ok(Ok((Said::Message(Message { subject, reply, headers, body }), whole)))
}

/// A number in decimal digits, and nothing else.
pub(super) fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |number, digit| {
        let value = u64::from(digit.checked_sub(b'0').filter(|value| *value <= 9)?);
        number.checked_mul(10)?.checked_add(value)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_cut_out_where_they_are_whole() {
        let text = b"MSG a.b 1 $JS.ACK.x 2\r\n{}\r\nHMSG a.b 1 14 16\r\nNATS/1.0\r\n\r\n\r\n{}\r\nPING\r\n";
        let (said, taken) = first(text).expect("the protocol").expect("whole");
        let message = Message { subject: "a.b", reply: b"$JS.ACK.x", headers: b"", body: b"{}" };
        assert_eq!(said, Said::Message(message));
        let rest = &text[taken..];
        let (said, taken) = first(rest).expect("the protocol").expect("whole");
        let message = Message { subject: "a.b", reply: b"", headers: b"NATS/1.0\r\n\r\n\r\n", body: b"{}" };
        assert_eq!(said, Said::Message(message));
        assert_eq!(first(&rest[taken..]), Ok(Ok((Said::Ping, 6))));
        for short in 0..taken {
            let least = first(&rest[..short]).expect("the protocol").expect_err("cut short");
            assert!(short < least && least <= taken, "{short}: {least}");
        }
    }

    #[test]
    fn complaints_are_words() {
        assert_eq!(first(b"-ERR 'Stale Connection'\r\n"), Ok(Ok((Said::Complaint("Stale Connection"), 25))));
    }

    #[test]
    fn what_is_no_protocol_ends_the_line() {
        for wrong in [
            &b"HTTP/1.1 200 OK\r\n"[..],
            b"MSG a 1\r\n",
            b"MSG a 1 b c 2\r\n",
            b"MSG a 1 x\r\n",
            b"MSG a 1 99999999999999999999999\r\n",
            b"MSG a 1 18446744073709551615\r\n",
            b"HMSG a 1 9 2\r\n",
            b"MSG \xff 1 0\r\n\r\n",
            b"\r\n",
        ] {
            assert!(first(wrong).is_err(), "{}", wrong.escape_ascii());
        }
        assert!(first(&vec![b'x'; LINE_BYTES_MAX + 1]).is_err());
    }
}
