//! Follows a file: through rotation, through truncation, and across a crash at the exact line.
//!
//! A line is named by the number of its file on the disk, how often that file was cut, its place in it, and its bytes. So
//! the same line has the same id after a crash, and two lines that say the same are two events.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::lines::{Line, Splitter, bytes_max};
use super::rotation;
use crate::cursor::{CursorError, Cursors};
use crate::record::Press;

/// Bytes read at once. A batch is what is in them, at most.
const READ_BYTES: usize = 256 << 10;
/// Bytes by which a file is known again.
const HEAD_BYTES: u64 = 256;

/// How far a file was read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The number by which the disk knows the file.
    inode: u64,
    /// How often it was cut.
    cuts: u64,
    /// Where the next line begins.
    offset: u64,
    /// Whether that is in the middle of a line that is too long.
    skipping: bool,
    /// How many bytes the file is known by, and their hash.
    head: (u64, String),
    /// When it last changed, as far as we saw: what was put aside after that comes next.
    changed: i128,
}

/// A line and what names it.
#[derive(Debug)]
pub struct Placed {
    /// The line.
    pub line: Line,
    /// The name of its place.
    pub place: String,
}

/// Some lines, and how far the file is read when they are delivered.
#[derive(Debug)]
pub struct Batch {
    /// The lines.
    pub lines: Vec<Placed>,
    /// How far is read then.
    pub after: Place,
    /// The file that was being read is gone, and what was not read of it.
    pub lost: bool,
    moved: bool,
}

impl Batch {
    /// Nothing new, and nothing moved.
    pub fn is_empty(&self) -> bool {
        !self.moved
    }
}

/// A file that is followed.
#[derive(Debug)]
pub struct Tail {
    live: PathBuf,
    key: String,
    open: Option<(File, Splitter)>,
    place: Place,
    bytes_max: usize,
    once: bool,
}

impl Tail {
    /// Goes on where the cursors say; a file that they do not know is read from its beginning.
    ///
    /// # Errors
    /// When the cursors cannot be read.
    pub fn new(path: &Path, press: &Press, once: bool, cursors: &Cursors) -> Result<Self, CursorError> {
        // The same file by another way is the same file.
        let full = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let key = format!("tail/{}/{}/{}", press.tenant(), press.name(), full.display());
        let place =
            cursors.get(&key)?.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
        let bytes_max = bytes_max(press.holds_many());
        Ok(Tail { live: path.to_owned(), key, open: None, place, bytes_max, once })
    }

    /// The file that is followed.
    pub fn path(&self) -> &Path {
        &self.live
    }

    /// What the cursors are to keep before anything is read: a file that is put aside before its first lines are delivered
    /// is known then. None where it is known already, or not there yet.
    pub fn first_place(&mut self) -> Option<(String, Vec<u8>)> {
        if self.place.inode != 0 {
            return None;
        }
        let inode = rotation::inode(&self.live).ok()?;
        Some(self.advance(Place { inode, ..Place::default() }))
    }

    /// The next lines. Nothing moves before [`Tail::advance`]: read twice, it gives the same lines.
    ///
    /// # Errors
    /// When the file is not there or cannot be read.
    pub fn read(&mut self) -> io::Result<Batch> {
        let mut place = self.place.clone();
        let mut lost = false;
        if self.open.is_none() {
            self.open = Some(self.find_file(&mut place)?);
            lost = self.place.inode != 0 && place.inode != self.place.inode;
        }
        let Some((file, splitter)) = &mut self.open else { return Err(io::ErrorKind::NotFound.into()) };
        let metadata = file.metadata()?;
        if is_cut(file, &metadata, &place)? {
            tracing::info!(file = %self.live.display(), "file_cut");
            place = Place {
                inode: place.inode,
                cuts: place.cuts + 1,
                changed: place.changed,
                ..Place::default()
            };
            *splitter = Splitter::new(self.bytes_max, false);
        }
        let mut lines = Vec::new();
        let mut buffer = vec![0; READ_BYTES];
        let mut from = place.offset;
        // Until there is a line, or nothing more: a long line takes several reads.
        let ended = loop {
            let got = file.read_at(&mut buffer, from)?;
            from += got as u64;
            let fed = splitter.feed(&buffer[..got]);
            let found = !fed.is_empty();
            take(fed, &mut place, &mut lines);
            if found || got == 0 {
                break got == 0;
            }
        };
        place.changed = rotation::changed(&metadata);
        let mut next_file = false;
        if ended {
            // Put aside: nobody writes to it any more. One more look came after that was known, in the same read.
            let aside = rotation::inode(&self.live).map_or(true, |live| live != place.inode);
            let quiet = file.metadata()?.len() <= from;
            // Whoever writes has come to the new file when something is in it, and not before.
            let next = rotation::after(&self.live, place.inode, place.changed)
                .and_then(|next| Ok((std::fs::metadata(&next)?.len() > 0).then_some(next)));
            let next = next.ok().flatten();
            if quiet && ((aside && next.is_some()) || (self.once && !aside)) {
                take(splitter.finish().into_iter().collect(), &mut place, &mut lines);
                if let (true, Some(next)) = (aside, next) {
                    tracing::info!(file = %self.live.display(), next = %next.display(), "file_rotated");
                    let file = File::open(&next)?;
                    place = Place { inode: file.metadata()?.ino(), ..Place::default() };
                    self.open = Some((file, Splitter::new(self.bytes_max, false)));
                    next_file = true;
                }
            }
        }
        if let (false, Some((file, splitter))) = (next_file, &mut self.open) {
            place.skipping = splitter.is_skipping();
            place.head = head_of(file, place.offset)?;
            // What has no end yet is read again: the place is the beginning of its line.
            *splitter = Splitter::new(self.bytes_max, place.skipping);
        }
        let moved = !lines.is_empty() || (place.inode, place.cuts, place.offset) != self.at();
        Ok(Batch { lines, after: place, lost, moved })
    }

    /// The lines are delivered: the next read begins behind them. Gives what the cursors are to keep.
    pub fn advance(&mut self, place: Place) -> (String, Vec<u8>) {
        self.place = place;
        (self.key.clone(), serde_json::to_vec(&self.place).expect("numbers and text can be written"))
    }

    fn at(&self) -> (u64, u64, u64) {
        (self.place.inode, self.place.cuts, self.place.offset)
    }

    /// The file that was being read, wherever it is now, or the one to begin with.
    fn find_file(&self, place: &mut Place) -> io::Result<(File, Splitter)> {
        if place.inode != 0 {
            if let Some(path) = rotation::find(&self.live, place.inode) {
                let file = File::open(path)?;
                return Ok((file, Splitter::new(self.bytes_max, place.skipping)));
            }
            tracing::warn!(file = %self.live.display(), "the file that was being read is gone: going on with the next");
        }
        let next = match place.inode {
            0 => self.live.clone(),
            gone => rotation::after(&self.live, gone, place.changed)?,
        };
        let file = File::open(next)?;
        *place = Place { inode: file.metadata()?.ino(), ..Place::default() };
        Ok((file, Splitter::new(self.bytes_max, false)))
    }
}

/// Names the lines and moves the place behind them.
fn take(fed: Vec<(Option<Line>, u64)>, place: &mut Place, lines: &mut Vec<Placed>) {
    for (line, taken) in fed {
        if let Some(line) = line {
            let (Line::Whole(bytes) | Line::TooLong(bytes)) = &line;
            let mut hasher = blake3::Hasher::new();
            hasher.update(format!("{} {} {}\n", place.inode, place.cuts, place.offset).as_bytes());
            hasher.update(bytes);
            let name = format!("file:{}", &hasher.finalize().to_hex()[..32]);
            lines.push(Placed { line, place: name });
        }
        place.offset += taken;
    }
}

/// Whether the file was emptied and written anew: it is shorter than what was read, or begins in another way.
fn is_cut(file: &File, metadata: &std::fs::Metadata, place: &Place) -> io::Result<bool> {
    if metadata.len() < place.offset {
        return Ok(true);
    }
    Ok(place.head.0 > 0 && head_of(file, place.head.0)? != place.head)
}

/// The first bytes of a file, as far as they were read.
fn head_of(file: &File, read: u64) -> io::Result<(u64, String)> {
    let mut head = vec![0; usize::try_from(read.min(HEAD_BYTES)).unwrap_or_default()];
    let mut got = 0;
    while got < head.len() {
        match file.read_at(&mut head[got..], got as u64)? {
            0 => break,
            more => got += more,
        }
    }
    Ok((got as u64, blake3::hash(&head[..got]).to_hex()[..16].to_owned()))
}
