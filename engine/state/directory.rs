//! The directory of a checkpoint and what lies beside it: its lock, the last damaged one, and the note of what that was about.

use std::ffi::OsString;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use super::store::StoreError;

/// What went wrong below, before it is known what it means.
#[derive(Debug)]
pub(super) enum Fault {
    /// The content is not to be trusted.
    Damaged(String),
    /// The disk refuses.
    Io(io::Error),
    /// Somebody else has the place.
    Locked,
    /// The store below does not answer any more.
    Stuck(&'static str),
}

impl Fault {
    /// A short or unreadable file looks like a disk that cannot be used now; while reading it is damage.
    pub(super) fn while_reading(self) -> Self {
        match self {
            Fault::Io(why) if speaks_of_content(&why) => Fault::Damaged(why.to_string()),
            fault => fault,
        }
    }

    /// What breaks while writing says nothing about what was written before: opening it anew will show.
    pub(super) fn while_writing(self) -> Self {
        match self {
            Fault::Damaged(reason) => Fault::Io(io::Error::other(reason)),
            fault => fault,
        }
    }

    /// The fault as the worker is told of it.
    pub(super) fn into_error(self, what: &'static str, dir: &Path) -> StoreError {
        let place = dir.display().to_string();
        match self {
            Fault::Locked => StoreError::InUse { place },
            Fault::Damaged(reason) => StoreError::Damaged { place, reason },
            Fault::Stuck(doing) => StoreError::Damaged { place, reason: stuck_reason(doing) },
            Fault::Io(why) if is_full(&why) => StoreError::Full { place, why: why.to_string() },
            Fault::Io(why) => StoreError::Io { what, place, why: why.to_string() },
        }
    }
}

/// Why a store that is stuck is given up.
pub(super) fn stuck_reason(doing: &str) -> String {
    format!("the store below does not answer since a fault while {doing}")
}

fn is_full(why: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(why.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}

fn speaks_of_content(why: &io::Error) -> bool {
    use io::ErrorKind::{InvalidData, InvalidInput, NotFound, Other, UnexpectedEof};
    const EIO: i32 = 5;
    matches!(why.kind(), InvalidData | InvalidInput | NotFound | Other | UnexpectedEof)
        || why.raw_os_error() == Some(EIO)
}

impl From<io::Error> for Fault {
    fn from(why: io::Error) -> Self {
        Fault::Io(why)
    }
}

impl From<String> for Fault {
    fn from(reason: String) -> Self {
        Fault::Damaged(reason)
    }
}

/// Takes `dir` for this process, for as long as the file lives. The lock lies beside the directory, so that it holds
/// before anything in there is touched and while the directory is put aside.
pub(super) fn lock(dir: &Path) -> Result<File, Fault> {
    let path = beside(dir, ".lock");
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    let file = File::options().create(true).truncate(false).write(true).open(path)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Fault::Locked),
        Err(TryLockError::Error(why)) => Err(why.into()),
    }
}

/// Notes beside `dir` which log its content was about, so that it is known when the content is gone.
pub(super) fn note_cleared(dir: &Path, log_id: &str) -> io::Result<()> {
    let (note, new) = (beside(dir, ".cleared"), beside(dir, ".cleared-new"));
    fs::write(&new, log_id)?;
    File::open(&new)?.sync_all()?;
    fs::rename(new, note)
}

/// The log of the last note, if there is one.
pub(super) fn cleared(dir: &Path) -> io::Result<Option<String>> {
    match fs::read_to_string(beside(dir, ".cleared")) {
        Ok(log_id) => Ok(Some(log_id)),
        // One that is no text proves nothing.
        Err(why) if matches!(why.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidData) => Ok(None),
        Err(why) => Err(why),
    }
}

/// Renames `dir` to `<dir>.damaged-<n>`; the ones that were put aside before go. Numbers rise, so that a name in a log
/// line means one directory only.
pub(super) fn put_aside(dir: &Path) -> io::Result<()> {
    let prefix = beside(Path::new(dir.file_name().unwrap_or_default()), ".damaged-").into_os_string();
    let parent = dir.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new("."));
    let (mut number, mut old) = (0, Vec::new());
    for entry in fs::read_dir(parent)? {
        let entry = entry?;
        let name = entry.file_name();
        let suffix = name.as_encoded_bytes().strip_prefix(prefix.as_encoded_bytes());
        if let Some(found) = suffix.and_then(|digits| str::from_utf8(digits).ok()?.parse::<u64>().ok()) {
            number = number.max(found);
            old.push(entry.path());
        }
    }
    for path in old {
        fs::remove_dir_all(path)?;
    }
    fs::rename(dir, beside(dir, &format!(".damaged-{}", number + 1)))
}

/// `<dir><suffix>`, in the same parent.
fn beside(dir: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(dir);
    name.push(suffix);
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_read_is_damage_and_what_cannot_be_reached_is_not() {
        use io::ErrorKind::{InvalidData, NotFound, PermissionDenied, StorageFull, UnexpectedEof};
        for (kind, is_damage) in [
            (UnexpectedEof, true),
            (InvalidData, true),
            (NotFound, true),
            (PermissionDenied, false),
            (StorageFull, false),
        ] {
            let fault = Fault::Io(kind.into()).while_reading();
            assert_eq!(matches!(fault, Fault::Damaged(_)), is_damage, "{fault:?}");
        }
        // While writing, the same says nothing of what was written before.
        assert!(matches!(Fault::Damaged("half".to_owned()).while_writing(), Fault::Io(_)));
    }
}
