//! The files that a log was put aside into, and which of them come next.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Endings of files that are packed: what they hold was read before they were.
const PACKED: [&str; 6] = ["gz", "zst", "xz", "bz2", "lz4", "zip"];

/// The number by which the disk knows a file.
pub fn inode(path: &Path) -> io::Result<u64> {
    fs::metadata(path).map(|metadata| metadata.ino())
}

/// Where the file of this number is now: under its old name, or beside it under a new one.
pub fn find(live: &Path, number: u64) -> Option<PathBuf> {
    if inode(live).is_ok_and(|there| there == number) {
        return Some(live.to_owned());
    }
    siblings(live).into_iter().find(|sibling| sibling.inode == number).map(|sibling| sibling.path)
}

/// The file to read after that of this number: the oldest that was put aside after it, or else the live one.
///
/// # Errors
/// When there is none yet.
pub fn after(live: &Path, number: u64, changed: i128) -> io::Result<PathBuf> {
    let live_number = inode(live).ok();
    let mut newer: Vec<Sibling> = siblings(live)
        .into_iter()
        .filter(|sibling| {
            sibling.inode != number && Some(sibling.inode) != live_number && sibling.changed > changed
        })
        .collect();
    newer.sort_by_key(|sibling| sibling.changed);
    match newer.into_iter().next() {
        Some(next) => Ok(next.path),
        None if live_number.is_some() => Ok(live.to_owned()),
        None => Err(io::Error::new(io::ErrorKind::NotFound, "it was put aside, and no new one is there yet")),
    }
}

/// When contents of a file last changed, in nanoseconds since 1970.
pub fn changed(metadata: &fs::Metadata) -> i128 {
    i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec())
}

struct Sibling {
    path: PathBuf,
    inode: u64,
    changed: i128,
}

/// Files named after the live one, such as `eve.json.1` and `eve.json-20260508`.
fn siblings(live: &Path) -> Vec<Sibling> {
    let Some(name) = live.file_name().and_then(|name| name.to_str()) else { return Vec::new() };
    let directory = live.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let mut found = Vec::new();
    for entry in entries.flatten() {
        let path = entry.path();
        let packed =
            path.extension().is_some_and(|extension| PACKED.iter().any(|ending| extension == *ending));
        let file_name = entry.file_name();
        let rest = file_name.to_str().and_then(|other| other.strip_prefix(name));
        let named_after = rest.is_some_and(|rest| rest.starts_with(['.', '-', '_']));
        if let (true, false, Ok(metadata)) = (named_after, packed, entry.metadata())
            && metadata.is_file()
        {
            found.push(Sibling { path, inode: metadata.ino(), changed: changed(&metadata) });
        }
    }
    found
}
