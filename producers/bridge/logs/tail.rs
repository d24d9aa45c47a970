//! Follows a file: through rotation, through truncation, and across a crash at the exact line.
//!
//! A line is named by the number of its file on the disk and when that was made, how often the file was cut, its place in it, and its bytes. So
//! the same line has the same id after a crash, and two lines that say the same are two events. A file that was packed before
//! it was read to its end is read to its end all the same, and its lines keep their names.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Instant;

use sightline_producers::packing::Packing;

use super::group::{EVENT_WAIT, Grouping, Placed};
use super::lines::{Line, Splitter, bytes_max};
use super::place::{self, Place};
use super::{packed, rotation};
use crate::cursor::{CursorError, Cursors};
use crate::record::Press;

/// Bytes read at once. A batch is what is in them, at most.
const READ_BYTES: usize = 256 << 10;

/// Some lines, and how far the file is read when they are delivered.
#[derive(Debug)]
pub struct Batch {
    /// The lines.
    pub lines: Vec<Placed>,
    /// How far is read then.
    pub after: Place,
    /// The file that is read to its end then, and how far: the next one follows.
    pub left: Option<Place>,
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

/// A file that is open.
struct Opened {
    file: File,
    splitter: Splitter,
    /// It is what a packed file held: when it changed says nothing.
    is_unfolded: bool,
}

/// A file that is followed.
pub struct Tail {
    live: PathBuf,
    key: String,
    press: Press,
    cursors: Cursors,
    /// Where packed files are unfolded.
    folder: PathBuf,
    open: Option<Opened>,
    place: Place,
    grouping: Grouping,
    /// How far the file reached when its last lines began to wait for more of their event, and since when.
    waiting: Option<(u64, Instant)>,
    bytes_max: usize,
    once: bool,
    /// The file itself is packed: nothing is added to it, and nothing follows.
    is_packed: bool,
    /// How far such a file was read before.
    begun_at: u64,
    ended: bool,
}

/// The file that comes next, and where to begin in it.
struct Next {
    opened: Opened,
    place: Place,
}

/// Where the files are followed.
#[derive(Clone, Copy, Debug)]
pub struct Ground<'a> {
    /// How far was read.
    pub cursors: &'a Cursors,
    /// Where packed files are unfolded.
    pub folder: &'a Path,
    /// Whether to stop at the end.
    pub once: bool,
}

impl Tail {
    /// Goes on where the cursors say; a file that they do not know is read from its beginning.
    ///
    /// # Errors
    /// When the cursors cannot be read.
    pub fn new(path: &Path, press: &Press, ground: Ground<'_>) -> Result<Self, CursorError> {
        // The same file by another way is the same file.
        let full = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let key = place::key("tail", press, &full.display().to_string());
        let place = ground
            .cursors
            .get(&key)?
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or_default();
        Ok(Tail {
            live: path.to_owned(),
            key,
            press: press.clone(),
            cursors: ground.cursors.clone(),
            folder: ground.folder.to_owned(),
            open: None,
            place,
            grouping: Grouping::of(press.format()),
            waiting: None,
            bytes_max: bytes_max(press.holds_many()),
            once: ground.once,
            is_packed: false,
            begun_at: 0,
            ended: false,
        })
    }

    /// The file that is followed.
    pub fn path(&self) -> &Path {
        &self.live
    }

    /// What the cursors are to keep before anything is read: a file that is put aside before its first lines are delivered
    /// is known then. None where it is known already, or not there yet.
    ///
    /// # Errors
    /// When a packed file cannot be read.
    pub fn first_place(&mut self) -> io::Result<Option<(String, Vec<u8>)>> {
        if self.open.is_some() || self.ended {
            return Ok(None);
        }
        if matches!(packed::packing(&self.live), Ok(Packing::Gzip | Packing::Zstd)) {
            self.is_packed = true;
            let file = packed::unfold(&self.live, &self.folder)?;
            // By the same name there may be another file since.
            let place = if self.place.is_of(&file)? { self.place.clone() } else { self.begin(&file)? };
            self.begun_at = place.offset;
            self.open = Some(self.unfolded_at(file, &place));
            return Ok((place != self.place).then(|| self.advance(place)));
        }
        if self.place.inode != 0 {
            return Ok(None);
        }
        let Ok(file) = File::open(&self.live) else { return Ok(None) };
        let metadata = file.metadata()?;
        // A file that was put aside may have been read under the name that it had before.
        let known = self.known(&file)?.filter(|known| known.inode == metadata.ino());
        Ok(Some(self.advance(known.unwrap_or_else(|| Place::beginning(&metadata)))))
    }

    /// The next lines. Nothing moves before [`Tail::advance`]: read twice, it gives the same lines.
    ///
    /// # Errors
    /// When the file is not there or cannot be read.
    pub fn read(&mut self) -> io::Result<Batch> {
        let mut place = self.place.clone();
        let mut batch =
            Batch { lines: Vec::new(), after: place.clone(), left: None, lost: false, moved: false };
        if self.ended {
            return Ok(batch);
        }
        if self.open.is_none() {
            self.open = Some(self.find_file(&mut place)?);
            batch.lost =
                self.place.inode != 0 && (place.inode, place.born) != (self.place.inode, self.place.born);
        }
        let bytes_max = self.bytes_max;
        let Some(Opened { file, splitter, is_unfolded }) = &mut self.open else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let metadata = file.metadata()?;
        if place.is_cut(file, &metadata)? {
            tracing::info!(file = %self.live.display(), "file_cut");
            place = place.cut();
            *splitter = Splitter::new(bytes_max, false);
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
        if !*is_unfolded {
            place.changed = rotation::changed(&metadata);
        }
        let quiet = file.metadata()?.len() <= from;
        let mut next = None;
        if ended && quiet {
            // Put aside: nobody writes to it any more. One more look came after that was known, in the same read.
            let is_unfolded = *is_unfolded;
            let is_live = std::fs::metadata(&self.live)
                .is_ok_and(|live| live.ino() == place.inode && place.has_birth_of(&live));
            let aside = !self.is_packed && (is_unfolded || !is_live);
            // What was unfolded has a number that is another's by now.
            let number = if is_unfolded { 0 } else { place.inode };
            next = if aside { self.next_file(number, place.changed)? } else { None };
            if next.is_some() || ((self.once || self.is_packed) && !aside) {
                let opened = self.open.as_mut().expect("it was read just now");
                take(opened.splitter.finish().into_iter().collect(), &mut place, &mut lines);
            }
        }
        let at_end = quiet && (self.once || self.is_packed);
        if next.is_none() && !at_end {
            self.hold_back(&mut lines, &mut place, from);
        }
        let Opened { file, splitter, .. } = self.open.as_mut().expect("it was read just now");
        place.skipping = splitter.is_skipping();
        place.mark(file)?;
        // What has no end yet is read again: the place is the beginning of its line.
        *splitter = Splitter::new(bytes_max, place.skipping);
        batch.moved = !lines.is_empty() || (place.inode, place.cuts, place.offset) != self.at();
        if let Some(next) = next {
            tracing::info!(file = %self.live.display(), "file_rotated");
            batch.left = Some(std::mem::replace(&mut place, next.place));
            self.open = Some(next.opened);
            batch.moved = true;
        } else if self.is_packed && ended && !batch.moved {
            // All is delivered: what it takes of the disk is given back.
            (self.open, self.ended) = (None, true);
            batch.left = (place.offset != self.begun_at).then(|| place.clone());
            batch.moved = true;
        }
        batch.lines = self.grouping.join(lines);
        batch.after = place;
        Ok(batch)
    }

    /// The lines are delivered: the next read begins behind them. Gives what the cursors are to keep.
    pub fn advance(&mut self, place: Place) -> (String, Vec<u8>) {
        self.place = place;
        (self.key.clone(), place::bytes(&self.place))
    }

    fn at(&self) -> (u64, u64, u64) {
        (self.place.inode, self.place.cuts, self.place.offset)
    }

    fn opened_at(&self, file: File, place: &Place) -> Opened {
        Opened { file, splitter: Splitter::new(self.bytes_max, place.skipping), is_unfolded: false }
    }

    fn unfolded_at(&self, file: File, place: &Place) -> Opened {
        Opened { is_unfolded: true, ..self.opened_at(file, place) }
    }

    /// Keeps the last lines for the next read, unless they have waited for more of their event as long as they may.
    fn hold_back(&mut self, lines: &mut Vec<Placed>, place: &mut Place, reached: u64) {
        let Some(first) = self.grouping.unfinished(lines) else {
            self.waiting = None;
            return;
        };
        let offset = lines[first].offset;
        if first == 0 {
            let since = match self.waiting {
                Some((until, since)) if until == reached => since,
                _ => Instant::now(),
            };
            self.waiting = Some((reached, since));
            // An event that fills what is read at once leaves in parts: waiting would not make it shorter.
            if since.elapsed() >= EVENT_WAIT || reached - offset > READ_BYTES as u64 / 2 {
                self.waiting = None;
                return;
            }
        }
        lines.truncate(first);
        place.offset = offset;
    }

    /// The file that was being read, wherever it is now, or the one to begin with.
    fn find_file(&self, place: &mut Place) -> io::Result<Opened> {
        if place.inode == 0 {
            let file = File::open(&self.live)?;
            *place = Place::beginning(&file.metadata()?);
            return Ok(self.opened_at(file, place));
        }
        let mut there = rotation::find(&self.live, place.inode).map(File::open).transpose()?;
        // A disk gives the number of a file that is gone to another one.
        if let Some(file) = &there
            && !place.has_birth_of(&file.metadata()?)
        {
            there = None;
        }
        if let Some(file) = &there
            && !place.is_cut(file, &file.metadata()?)?
        {
            return Ok(self.opened_at(file.try_clone()?, place));
        }
        for sibling in rotation::packed(&self.live) {
            if let Some(file) = self.unfolded(&sibling.path)?
                && place.is_of(&file)?
            {
                tracing::info!(file = %sibling.path.display(), "going on in the packed file");
                place.changed = sibling.changed;
                return Ok(self.unfolded_at(file, place));
            }
        }
        if let Some(file) = there {
            return Ok(self.opened_at(file, place));
        }
        // Of a file of which nothing was read, only the time is known.
        let since = if place.offset == 0 { place.changed - 1 } else { place.changed };
        let Some(mut next) = self.next_file(place.inode, since)? else {
            let why = "it was put aside, and no new one is there yet";
            return Err(io::Error::new(io::ErrorKind::NotFound, why));
        };
        // What was not begun, and is there packed, is the file itself: what was kept of it and not noted has its name.
        if place.offset == 0 && next.opened.is_unfolded && next.place.offset == 0 {
            (next.place.inode, next.place.born) = (place.inode, place.born);
        } else {
            tracing::warn!(file = %self.live.display(), "the file that was being read is gone: going on with the next");
            for sealed in rotation::sealed(&self.live, since) {
                tracing::warn!(
                    file = %sealed.display(),
                    "not read, for how it is packed: have logs packed with gzip or zstd, or later"
                );
            }
        }
        *place = next.place;
        Ok(next.opened)
    }

    /// The file behind one of this number and time: the oldest that was put aside later, packed or not, and that is not read yet, or
    /// else the live one. Whoever writes has come to it when something is in it, and not before.
    fn next_file(&self, inode: u64, since: i128) -> io::Result<Option<Next>> {
        for sibling in rotation::after(&self.live, inode, since) {
            if sibling.is_packed {
                let Some(file) = self.unfolded(&sibling.path)? else { continue };
                let mut next = self.begin(&file)?;
                if next.offset < file.metadata()?.len() {
                    next.changed = sibling.changed;
                    return Ok(Some(Next { opened: self.unfolded_at(file, &next), place: next }));
                }
            } else {
                let file = File::open(&sibling.path)?;
                let metadata = file.metadata()?;
                if metadata.len() > 0 {
                    let next = Place::beginning(&metadata);
                    return Ok(Some(Next { opened: self.opened_at(file, &next), place: next }));
                }
            }
        }
        Ok(None)
    }

    /// What a packed file holds; `None` where it is gone by now.
    fn unfolded(&self, path: &Path) -> io::Result<Option<File>> {
        match packed::unfold(path, &self.folder) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(io::Error::new(error.kind(), format!("{}: {error}", path.display()))),
        }
    }

    /// Where to begin in what was unfolded: behind what was read of it before it was packed, or under another name.
    fn begin(&self, file: &File) -> io::Result<Place> {
        // What was unfolded holds a number of its own while it is open, and names of lines must last.
        Ok(self.known(file)?.unwrap_or_else(|| Place::beginning_of_unfolded(file_number(file))))
    }

    /// How far a file was read, under whatever name.
    fn known(&self, file: &File) -> io::Result<Option<Place>> {
        let mut furthest: Option<Place> = None;
        for place in place::known(&self.press, &self.cursors).map_err(io::Error::other)? {
            if place.is_of(file)? && furthest.as_ref().is_none_or(|far| far.offset < place.offset) {
                furthest = Some(place);
            }
        }
        Ok(furthest)
    }
}

/// A number for a file that has none that lasts, out of what it begins with.
fn file_number(file: &File) -> u64 {
    let mut head = vec![0; 4 << 10];
    let got = file.read_at(&mut head, 0).unwrap_or_default();
    let length = file.metadata().map_or(0, |metadata| metadata.len());
    let hash = blake3::hash(&[&head[..got], &length.to_le_bytes()].concat());
    u64::from_le_bytes(hash.as_bytes()[..8].try_into().expect("eight of 32 bytes")).max(1)
}

/// Names the lines and moves the place behind them.
fn take(fed: Vec<(Option<Line>, u64)>, place: &mut Place, lines: &mut Vec<Placed>) {
    for (line, taken) in fed {
        if let Some(line) = line {
            let (Line::Whole(bytes) | Line::TooLong(bytes)) = &line;
            let mut hasher = blake3::Hasher::new();
            let Place { inode, born, cuts, offset, .. } = place;
            hasher.update(format!("{inode} {born} {cuts} {offset}\n").as_bytes());
            hasher.update(bytes);
            let name = format!("file:{}", &hasher.finalize().to_hex()[..32]);
            lines.push(Placed { line, place: Some(name), offset: place.offset });
        }
        place.offset += taken;
    }
}
