//! The files of a spool: opening the folder, finding what is there, and where the reading goes on.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use sightline_schemas::EventId;

use super::SpoolError;
use super::ledger::{Ledger, Segment};
use super::record::{Found, Record};

/// What every segment begins with: its format and version.
pub(crate) const MAGIC: [u8; 8] = *b"SLSPOOL1";
const SUFFIX: &str = ".spool";

/// A spool that was opened: what is on disk, and the files to go on with.
#[derive(Debug)]
pub(crate) struct Folder {
    pub path: PathBuf,
    /// The segment that is written, open at its end.
    pub file: File,
    /// Holds the number of the oldest record that is not done.
    pub cursor: CursorFile,
    /// Locked while the spool is open: two writers would mix their records.
    _lock: File,
}

/// What was found in a folder, beside its files.
#[derive(Debug, Default)]
pub(crate) struct Inventory {
    pub ledger: Ledger,
    /// The ids of all events on disk, oldest first.
    pub ids: Vec<EventId>,
}

impl Folder {
    /// Opens a folder, and makes it where there is none. What a crash cut off at its end is taken away.
    ///
    /// # Errors
    /// When another process has it open, or the disk does not let us.
    pub fn open(path: &Path) -> Result<(Self, Inventory), SpoolError> {
        let failed = |source| SpoolError::Disk { path: path.to_owned(), source };
        std::fs::create_dir_all(path).map_err(failed)?;
        let lock = lock(path)?;
        let cursor = CursorFile::open(&path.join("cursor")).map_err(failed)?;
        let known = cursor.read().map_err(failed)?;
        let mut inventory = Inventory::default();
        let mut waiting = 0;
        let mut next = known.unwrap_or(1);
        let names = names(path).map_err(failed)?;
        let last = names.last().copied();
        for first in names {
            let place = segment_path(path, first);
            next = next.max(first);
            let scanned = scan(&place, Some(first) == last).map_err(failed)?;
            for (number, ids, events) in scanned.records {
                next = next.max(number + 1);
                inventory.ids.extend(ids);
                waiting += if known.is_none_or(|known| number >= known) { u64::from(events) } else { 0 };
            }
            inventory.ledger.segments.push_back(Segment { first, path: place, bytes: scanned.bytes });
        }
        if inventory.ledger.segments.is_empty() {
            inventory.ledger.segments.push_back(begin(path, next).map_err(failed)?.1);
        }
        let oldest = inventory.ledger.segments.front().map_or(next, |segment| segment.first);
        inventory.ledger.next = next;
        // Without a cursor, everything that is there is sent: the server and the engine drop what they have.
        inventory.ledger.cursor = known.unwrap_or(oldest).clamp(oldest, next);
        inventory.ledger.waiting_events = waiting;
        let written = &inventory.ledger.segments.back().expect("there is one").path;
        let mut file = OpenOptions::new().read(true).write(true).open(written).map_err(failed)?;
        file.seek(SeekFrom::End(0)).map_err(failed)?;
        Ok((Folder { path: path.to_owned(), file, cursor, _lock: lock }, inventory))
    }

    /// Begins the next segment, at record `first`.
    ///
    /// # Errors
    /// When the disk does not let us.
    pub fn begin(&mut self, first: u64) -> io::Result<Segment> {
        let (file, segment) = begin(&self.path, first)?;
        self.file = file;
        Ok(segment)
    }
}

fn lock(path: &Path) -> Result<File, SpoolError> {
    let failed = |source| SpoolError::Disk { path: path.to_owned(), source };
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path.join("lock"))
        .map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(SpoolError::InUse { path: path.to_owned() }),
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}

/// The numbers of the first records of all segments.
fn names(path: &Path) -> io::Result<Vec<u64>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(path)? {
        let name = entry?.file_name();
        let digits = name.to_str().and_then(|name| name.strip_suffix(SUFFIX));
        names.extend(digits.and_then(|digits| digits.parse::<u64>().ok()));
    }
    names.sort_unstable();
    Ok(names)
}

pub(crate) fn segment_path(folder: &Path, first: u64) -> PathBuf {
    folder.join(format!("{first:020}{SUFFIX}"))
}

fn begin(folder: &Path, first: u64) -> io::Result<(File, Segment)> {
    let path = segment_path(folder, first);
    let mut file = OpenOptions::new().create(true).truncate(true).read(true).write(true).open(&path)?;
    file.write_all(&MAGIC)?;
    Ok((file, Segment { first, path, bytes: MAGIC.len() as u64 }))
}

struct Scanned {
    /// Number, ids and count of events of each record.
    records: Vec<(u64, Vec<EventId>, u32)>,
    bytes: u64,
}

/// Reads all records of a segment. Of the last one, whatever stands behind its last whole record is cut off: it was being
/// written when the process died, and nobody was told that it is there.
fn scan(path: &Path, is_last: bool) -> io::Result<Scanned> {
    let mut reader = BufReader::with_capacity(1 << 16, File::open(path)?);
    let length = reader.get_ref().metadata()?.len();
    let mut records = Vec::new();
    let mut whole = 0;
    let mut magic = Vec::new();
    reader.by_ref().take(MAGIC.len() as u64).read_to_end(&mut magic)?;
    if magic == MAGIC {
        whole = MAGIC.len() as u64;
        while let Found::Record(record, bytes) = Record::read(&mut reader)? {
            whole += bytes;
            records.push((record.number, record.ids, record.message.events()));
        }
    }
    if whole < length {
        if !is_last {
            tracing::error!(path = %path.display(), at = whole, "a segment of the spool is damaged: what follows in it is lost");
            return Ok(Scanned { records, bytes: length });
        }
        tracing::warn!(path = %path.display(), bytes = length - whole, "cut off what a crash left unfinished");
    }
    if is_last && (whole < length || whole == 0) {
        let file = OpenOptions::new().write(true).open(path)?;
        file.set_len(whole)?;
        if whole == 0 {
            file.write_all_at(&MAGIC, 0)?;
            whole = MAGIC.len() as u64;
        }
    }
    Ok(Scanned { records, bytes: whole })
}

/// A file with one number. Written in place: what a crash tears is noticed by its checksum, and costs repetition only.
#[derive(Debug)]
pub(crate) struct CursorFile(File);

impl CursorFile {
    fn open(path: &Path) -> io::Result<Self> {
        OpenOptions::new().create(true).truncate(false).read(true).write(true).open(path).map(CursorFile)
    }

    /// The number; `None` where there is none that is whole.
    fn read(&self) -> io::Result<Option<u64>> {
        let mut bytes = [0; 24];
        match self.0.read_exact_at(&mut bytes, 0) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            Err(error) => return Err(error),
        }
        let number = u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes"));
        Ok((cursor_bytes(number) == bytes).then_some(number))
    }

    /// Writes the number.
    ///
    /// # Errors
    /// When the disk does not let us.
    pub fn write(&self, number: u64) -> io::Result<()> {
        self.0.write_all_at(&cursor_bytes(number), 0)
    }
}

fn cursor_bytes(number: u64) -> [u8; 24] {
    let mut bytes = [0; 24];
    bytes[..8].copy_from_slice(&number.to_le_bytes());
    bytes[8..].copy_from_slice(&blake3::hash(&number.to_le_bytes()).as_bytes()[..16]);
    bytes
}
