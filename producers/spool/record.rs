//! One record of the spool: a message with the ids of its events, and a checksum that tells whether all of it is there.
//!
//! Its bytes, numbers in little-endian order: length of the rest after the checksum (4), the first 16 bytes of the rest's
//! BLAKE3, then number (8), events (4), message id (16), count of ids (4) and ids (16 each), subject, content type, count
//! of headers (2) and headers, the texts with their length before them (2), and the body.

use std::io::{self, Read};

use bytes::Bytes;
use sightline_schemas::EventId;

use crate::message::Message;

/// Length and checksum.
const PREFIX_BYTES: usize = 20;
/// A longer record is none: a frame is far shorter, and so is what a server takes.
const RECORD_BYTES_MAX: usize = 64 << 20;

/// One message on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    /// Counts up from 1 over the life of a spool.
    pub number: u64,
    pub message: Message,
    /// The ids of its events.
    pub ids: Vec<EventId>,
}

/// What stands where a record should.
#[derive(Debug)]
pub(crate) enum Found {
    /// A record, and how many bytes it takes.
    Record(Box<Record>, u64),
    /// Nothing: the end of the file.
    End,
    /// Something else: a record that was cut off, or damage.
    Damage,
}

impl Record {
    /// Appends the bytes of a record to `out`.
    pub fn write(number: u64, message: &Message, ids: &[EventId], out: &mut Vec<u8>) {
        let start = out.len();
        out.extend([0; PREFIX_BYTES]);
        out.extend(number.to_le_bytes());
        out.extend(message.events().to_le_bytes());
        out.extend(message.id().as_bytes());
        out.extend((ids.len() as u32).to_le_bytes());
        ids.iter().for_each(|id| out.extend(id.as_bytes()));
        text(message.subject(), out);
        text(message.content_type(), out);
        let headers: Vec<_> = message.headers().collect();
        out.extend((headers.len() as u16).to_le_bytes());
        for (name, value) in headers {
            text(name, out);
            text(value, out);
        }
        out.extend(message.body());
        let rest = start + PREFIX_BYTES;
        let length = (out.len() - rest) as u32;
        let checksum = checksum(&out[rest..]);
        out[start..start + 4].copy_from_slice(&length.to_le_bytes());
        out[start + 4..rest].copy_from_slice(&checksum);
    }

    /// Reads what stands next.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn read(from: &mut impl Read) -> io::Result<Found> {
        let mut prefix = [0; PREFIX_BYTES];
        match fill(from, &mut prefix)? {
            0 => return Ok(Found::End),
            PREFIX_BYTES => {}
            _ => return Ok(Found::Damage),
        }
        let length = u32::from_le_bytes(prefix[..4].try_into().expect("four bytes")) as usize;
        if length > RECORD_BYTES_MAX {
            return Ok(Found::Damage);
        }
        let mut rest = vec![0; length];
        if fill(from, &mut rest)? < length || checksum(&rest)[..] != prefix[4..] {
            return Ok(Found::Damage);
        }
        let bytes = (PREFIX_BYTES + length) as u64;
        Ok(parse(Bytes::from(rest)).map_or(Found::Damage, |record| Found::Record(Box::new(record), bytes)))
    }
}

fn checksum(rest: &[u8]) -> [u8; 16] {
    blake3::hash(rest).as_bytes()[..16].try_into().expect("sixteen of 32 bytes")
}

/// A text of at most 65,535 bytes; subjects and headers are far shorter, and a server takes no longer ones.
fn text(text: &str, out: &mut Vec<u8>) {
    let length = text.len().min(usize::from(u16::MAX));
    out.extend((length as u16).to_le_bytes());
    out.extend(&text.as_bytes()[..length]);
}

/// Reads until the buffer is full or the file ends; says how many bytes there were.
fn fill(from: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match from.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

fn parse(rest: Bytes) -> Option<Record> {
    let mut cursor = Cursor { bytes: &rest, at: 0 };
    let number = u64::from_le_bytes(cursor.array()?);
    let events = u32::from_le_bytes(cursor.array()?);
    let id = EventId::from_bytes(cursor.array()?);
    let count = u32::from_le_bytes(cursor.array()?);
    let mut ids = Vec::new();
    for _ in 0..count {
        ids.push(EventId::from_bytes(cursor.array()?));
    }
    let (subject, content_type) = (cursor.text()?, cursor.text()?);
    let count = u16::from_le_bytes(cursor.array()?);
    let mut headers = Vec::new();
    for _ in 0..count {
        headers.push((cursor.text()?, cursor.text()?));
    }
    let body = rest.slice(cursor.at..);
    let message = Message::on(subject, body, content_type, id, events);
    let message =
        headers.into_iter().fold(message, |message, (name, value)| message.with_header(name, value));
    Some(Record { number, message, ids })
}

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Cursor<'_> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let taken = self.bytes.get(self.at..self.at + N)?.try_into().ok()?;
        self.at += N;
        Some(taken)
    }

    fn text(&mut self) -> Option<String> {
        let length = usize::from(u16::from_le_bytes(self.array()?));
        let taken = self.bytes.get(self.at..self.at + length)?.to_vec();
        self.at += length;
        String::from_utf8(taken).ok()
    }
}

#[cfg(test)]
mod tests {
    use sightline_schemas::wire::Form;

    use super::*;

    fn record(number: u64) -> Record {
        let message = Message::frame("acme", "edr", &b"{}\n{}"[..], Form::Ndjson, 2)
            .with_header("traceparent", "00-…")
            .with_header("Content-Encoding", "zstd");
        Record { number, message, ids: (0..2).map(|n| EventId::from_bytes([n; 16])).collect() }
    }

    fn bytes(records: &[Record]) -> Vec<u8> {
        let mut bytes = Vec::new();
        records.iter().for_each(|one| Record::write(one.number, &one.message, &one.ids, &mut bytes));
        bytes
    }

    #[test]
    fn a_record_reads_back_and_the_end_is_the_end() {
        let written = bytes(&[record(7), record(8)]);
        let mut from = &written[..];
        for number in [7, 8] {
            let Ok(Found::Record(read, length)) = Record::read(&mut from) else {
                panic!("no record {number}")
            };
            assert_eq!((*read, length), (record(number), written.len() as u64 / 2));
        }
        assert!(matches!(Record::read(&mut from), Ok(Found::End)));
    }

    #[test]
    fn whatever_is_cut_off_or_changed_is_no_record() {
        let whole = bytes(&[record(7)]);
        for length in 1..whole.len() {
            assert!(matches!(Record::read(&mut &whole[..length]), Ok(Found::Damage)), "{length} bytes");
        }
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 0x10;
            assert!(matches!(Record::read(&mut &changed[..]), Ok(Found::Damage)), "byte {at}");
        }
    }
}
