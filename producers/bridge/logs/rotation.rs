//! The files that a log was put aside into, and which of them come next.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use sightline_producers::packing::Sealed;

/// Endings of packed files that can be read.
const READABLE: [&str; 2] = ["gz", "zst"];

/// The number by which the disk knows a file.
fn inode(path: &Path) -> io::Result<u64> {
    fs::metadata(path).map(|metadata| metadata.ino())
}

/// Where the file of this number is now: under its old name, or beside it under a new one.
pub fn find(live: &Path, number: u64) -> Option<PathBuf> {
    if inode(live).is_ok_and(|there| there == number) {
        return Some(live.to_owned());
    }
    readable(live).find(|sibling| sibling.inode == number).map(|sibling| sibling.path)
}

/// The files that may come after that of this number: those that were put aside later, oldest first, and then the live one.
pub fn after(live: &Path, number: u64, changed: i128) -> Vec<Sibling> {
    let own = fs::metadata(live).ok();
    let live_number = own.as_ref().map(MetadataExt::ino);
    let mut newer: Vec<Sibling> = readable(live)
        .filter(|sibling| {
            sibling.inode != number && Some(sibling.inode) != live_number && sibling.changed > changed
        })
        .collect();
    newer.sort_by_key(|sibling| sibling.changed);
    newer.extend(own.map(|metadata| Sibling {
        path: live.to_owned(),
        inode: metadata.ino(),
        changed: self::changed(&metadata),
        is_packed: false,
        is_sealed: false,
    }));
    newer
}

/// The packed files beside the live one, the newest first.
pub fn packed(live: &Path) -> Vec<Sibling> {
    let mut packed: Vec<Sibling> = readable(live).filter(|sibling| sibling.is_packed).collect();
    packed.sort_by_key(|sibling| std::cmp::Reverse(sibling.changed));
    packed
}

/// When contents of a file last changed, in nanoseconds since 1970.
pub fn changed(metadata: &fs::Metadata) -> i128 {
    i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec())
}

/// A file that a log was put aside into, or the log itself.
#[derive(Debug)]
pub struct Sibling {
    /// Where it is.
    pub path: PathBuf,
    inode: u64,
    /// When its contents last changed; packing keeps that, as a rule.
    pub changed: i128,
    /// It must be unfolded.
    pub is_packed: bool,
    /// It is packed in a way that is not read.
    is_sealed: bool,
}

/// Files that may hold what was put aside later than this, and are not read for how they are packed.
pub fn sealed(live: &Path, changed: i128) -> Vec<PathBuf> {
    let sealed = siblings(live).into_iter().filter(|one| one.is_sealed && one.changed > changed);
    sealed.map(|one| one.path).collect()
}

fn readable(live: &Path) -> impl Iterator<Item = Sibling> {
    siblings(live).into_iter().filter(|sibling| !sibling.is_sealed)
}

/// Files named after the live one, such as `eve.json.1` and `eve.json-20260508`.
fn siblings(live: &Path) -> Vec<Sibling> {
    let Some(name) = live.file_name().and_then(|name| name.to_str()) else { return Vec::new() };
    let directory = live.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let mut found = Vec::new();
    for entry in entries.flatten() {
        let path = entry.path();
        let ends = |ending: &str| path.extension().is_some_and(|extension| extension == ending);
        let is_packed = READABLE.iter().any(|ending| ends(ending));
        let is_sealed = Sealed::ALL.iter().any(|sealed| ends(sealed.ending));
        let file_name = entry.file_name();
        let rest = file_name.to_str().and_then(|other| other.strip_prefix(name));
        let named_after = rest.is_some_and(|rest| rest.starts_with(['.', '-', '_']));
        if let (true, Ok(metadata)) = (named_after, entry.metadata())
            && metadata.is_file()
        {
            let (inode, changed) = (metadata.ino(), changed(&metadata));
            found.push(Sibling { path, inode, changed, is_packed, is_sealed });
        }
    }
    found
}
