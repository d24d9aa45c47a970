//! How far a file was read, and by what it is known again: by its number on the disk, and, when it was packed and that number
//! is another's, by what it begins with and what stood where the reading ended.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};

use super::rotation;
use crate::cursor::{CursorError, Cursors};
use crate::delivery::now;
use crate::record::Press;

/// Bytes by which a file is known again, of its head and of where the reading ended.
const MARK_BYTES: u64 = 256;
/// Files that are remembered when they were read and left. A day's rotation fills it in years, a minute's in days.
const LEFT_MAX: usize = 4_096;

/// How far a file was read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The number by which the disk knows the file, or knew it before it was packed.
    pub inode: u64,
    /// When the disk made it, in nanoseconds since 1970; 0 where the disk does not say. The number of a file that is gone is
    /// given to another one, most often to the next.
    #[serde(default)]
    pub born: i128,
    /// How often it was cut.
    pub cuts: u64,
    /// Where the next line begins.
    pub offset: u64,
    /// Whether that is in the middle of a line that is too long.
    pub skipping: bool,
    /// How many bytes the file is known by, and their hash.
    head: (u64, String),
    /// The hash of what stands before the offset.
    #[serde(default)]
    foot: String,
    /// When it last changed, as far as we saw: what was put aside after that comes next.
    pub changed: i128,
}

impl Place {
    /// At the beginning of a file.
    pub fn beginning(metadata: &Metadata) -> Self {
        let changed = rotation::changed(metadata);
        Place { inode: metadata.ino(), born: born(metadata), changed, ..Place::default() }
    }

    /// At the beginning of what a packed file held, which has a number that does not last.
    pub fn beginning_of_unfolded(number: u64) -> Self {
        Place { inode: number, ..Place::default() }
    }

    /// Whether a file of the same number is the same file, as far as the disk knows.
    pub fn has_birth_of(&self, metadata: &Metadata) -> bool {
        let born = born(metadata);
        self.born == born || self.born == 0 || born == 0
    }

    /// At the beginning of the same file, which was cut.
    pub fn cut(&self) -> Self {
        Place {
            inode: self.inode,
            born: self.born,
            cuts: self.cuts + 1,
            changed: self.changed,
            ..Place::default()
        }
    }

    /// Notes by what the file is to be known.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn mark(&mut self, file: &File) -> io::Result<()> {
        self.head = head_of(file, self.offset)?;
        self.foot = hash_of(file, self.offset.saturating_sub(MARK_BYTES), self.offset)?;
        Ok(())
    }

    /// Whether the file was emptied and written anew: it is shorter than what was read, or begins in another way.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn is_cut(&self, file: &File, metadata: &Metadata) -> io::Result<bool> {
        if metadata.len() < self.offset {
            return Ok(true);
        }
        Ok(self.head.0 > 0 && head_of(file, self.head.0)? != self.head)
    }

    /// Whether this is the file that was read so far, under whatever name and number.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn is_of(&self, file: &File) -> io::Result<bool> {
        Ok(self.head.0 > 0
            && file.metadata()?.len() >= self.offset
            && head_of(file, self.head.0)? == self.head
            && hash_of(file, self.offset.saturating_sub(MARK_BYTES), self.offset)? == self.foot)
    }
}

/// Where files of this tenant and mapping are read, and where they were left.
///
/// # Errors
/// When the cursors cannot be read.
pub fn known(press: &Press, cursors: &Cursors) -> Result<Vec<Place>, CursorError> {
    let mut places = Vec::new();
    for kind in ["left", "tail"] {
        let found = cursors.starting_with(&key(kind, press, ""))?;
        places.extend(found.iter().filter_map(|(_, bytes)| serde_json::from_slice(bytes).ok()));
    }
    Ok(places)
}

/// What the cursors are to keep of a file that was read and left; the oldest of too many are forgotten.
///
/// # Errors
/// When the cursors cannot be read or written.
pub async fn leave(press: &Press, place: &Place, cursors: &Cursors) -> Result<(), CursorError> {
    let left = cursors.starting_with(&key("left", press, ""))?;
    let surplus = (left.len() + 1).saturating_sub(LEFT_MAX);
    cursors.remove(left.into_iter().take(surplus).map(|(key, _)| key).collect())?;
    let name = key("left", press, &format!("{:020}-{}", now().as_micros(), place.inode));
    cursors.put(vec![(name, bytes(place))]).await
}

/// The key of a note of this kind.
pub fn key(kind: &str, press: &Press, name: &str) -> String {
    format!("{kind}/{}/{}/{name}", press.tenant(), press.name())
}

/// A place as the cursors keep it.
pub fn bytes(place: &Place) -> Vec<u8> {
    serde_json::to_vec(place).expect("numbers and text can be written")
}

fn born(metadata: &Metadata) -> i128 {
    let since = metadata.created().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    since.and_then(|since| i128::try_from(since.as_nanos()).ok()).unwrap_or(0)
}

/// The first bytes of a file, as far as they were read.
fn head_of(file: &File, read: u64) -> io::Result<(u64, String)> {
    let most = read.min(MARK_BYTES);
    Ok((most, hash_of(file, 0, most)?))
}

fn hash_of(file: &File, from: u64, to: u64) -> io::Result<String> {
    let mut bytes = vec![0; usize::try_from(to - from).unwrap_or_default()];
    let mut got = 0;
    while got < bytes.len() {
        match file.read_at(&mut bytes[got..], from + got as u64)? {
            0 => break,
            more => got += more,
        }
    }
    Ok(blake3::hash(&bytes[..got]).to_hex()[..16].to_owned())
}
