//! The thread that reads: records in order, each handed to the publisher, which slows it down to what the bus takes.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use tokio::runtime::Handle;

use super::Shared;
use super::folder::MAGIC;
use super::record::{Found, Record};
use crate::publisher::Publisher;

#[derive(Debug)]
pub(crate) struct Reader {
    shared: Arc<Shared>,
    publisher: Publisher,
    /// The record to read next.
    next: u64,
    place: Option<Place>,
}

/// Where the reading stands.
#[derive(Debug)]
struct Place {
    /// The first record of the segment.
    segment: u64,
    file: File,
    offset: u64,
}

/// Reads at the offset and not from a buffer: the writer may take the end of the file back and write it anew.
impl Read for Place {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.offset)?;
        self.offset += read as u64;
        Ok(read)
    }
}

impl Reader {
    pub fn new(shared: Arc<Shared>, publisher: Publisher, next: u64) -> Self {
        Reader { shared, publisher, next, place: None }
    }

    pub fn run(mut self, runtime: &Handle) {
        while self.await_record() {
            let record = match self.read() {
                Ok(Some(record)) => record,
                Ok(None) => continue,
                Err(error) => {
                    tracing::error!(%error, "the spool cannot be read: what it holds is sent after a restart");
                    return;
                }
            };
            if record.number < self.next {
                continue;
            }
            if record.number > self.next {
                self.shared.ledger().skip_to(record.number);
            }
            self.next = record.number + 1;
            let (shared, message) = (Arc::clone(&self.shared), record.message.clone());
            let done = move |result: Result<_, _>| shared.hear(record.number, message, result.map(drop));
            // A connection that was closed for good ends it; the next process goes on.
            if runtime.block_on(self.publisher.publish_then(record.message, done)).is_err() {
                return;
            }
        }
    }

    /// Waits until there is a record to read; `false` when the spool is closed.
    fn await_record(&self) -> bool {
        let mut ledger = self.shared.ledger();
        while ledger.next <= self.next && !ledger.closing {
            ledger = self.shared.changed.wait(ledger).unwrap_or_else(std::sync::PoisonError::into_inner);
        }
        !ledger.closing
    }

    /// Reads the next record, or moves on to the next segment and reads nothing.
    fn read(&mut self) -> io::Result<Option<Record>> {
        if self.place.is_none() {
            self.open(|first, next| first <= next)?;
        }
        let Some(place) = &mut self.place else { return Ok(None) };
        let before = place.offset;
        match Record::read(place)? {
            Found::Record(record, _) => return Ok(Some(*record)),
            Found::End => {}
            Found::Damage => {
                tracing::error!(
                    segment = place.segment,
                    at = before,
                    "a segment of the spool is damaged: what follows in it is lost"
                );
            }
        }
        let after = place.segment;
        if !self.open(|first, _| first > after)? {
            // Nothing follows: what the ledger promises was damaged in the newest segment.
            let mut ledger = self.shared.ledger();
            self.next = ledger.next;
            ledger.skip_to(self.next);
            let end = ledger.segments.back().map_or(before, |segment| segment.bytes);
            drop(ledger);
            if let Some(place) = &mut self.place {
                place.offset = end;
            }
        }
        Ok(None)
    }

    /// Opens the segment that fits: the first one behind a place, or the last one that begins before the next record.
    fn open(&mut self, fits: impl Fn(u64, u64) -> bool) -> io::Result<bool> {
        let behind = self.place.is_some();
        let found = {
            let ledger = self.shared.ledger();
            let mut fitting = ledger.segments.iter().filter(|segment| fits(segment.first, self.next));
            let segment = if behind { fitting.next() } else { fitting.next_back() };
            segment.or(if behind { None } else { ledger.segments.front() }).cloned()
        };
        let Some(segment) = found else { return Ok(false) };
        let mut place = Place { segment: segment.first, file: File::open(&segment.path)?, offset: 0 };
        let mut magic = [0; MAGIC.len()];
        if let Err(error) = place.read_exact(&mut magic)
            && error.kind() != io::ErrorKind::UnexpectedEof
        {
            return Err(error);
        }
        if magic != MAGIC {
            tracing::error!(path = %segment.path.display(), "not a segment of a spool: it is passed over");
            // At its end: nothing is read of it.
            place.offset = u64::MAX >> 1;
        }
        self.next = self.next.max(segment.first);
        self.place = Some(place);
        Ok(true)
    }
}
