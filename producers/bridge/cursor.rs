//! How far a bridge has read, and what it has sent: one sled tree, the only place that knows of sled.
//!
//! It is written only when what was read is kept: on disk in the spool, or in the log. So it can be older than the truth, never newer: what was sent since goes
//! out again with the same id, which the server drops inside its duplicate window and the engine for ever.

use std::path::{Path, PathBuf};

use sightline_producers::crash_point;

/// The cursors of one bridge process.
#[derive(Clone, Debug)]
pub struct Cursors {
    place: Place,
}

#[derive(Clone, Debug)]
enum Place {
    Disk {
        db: sled::Db,
    },
    /// For a dry run: nothing is kept.
    Memory {
        db: sled::Db,
    },
}

/// The cursors cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum CursorError {
    /// Another process has them: stop it, or name another directory.
    #[error("another process uses the state in {0}: stop it, or name another directory with --state")]
    Taken(PathBuf),
    /// The disk refuses: mend it.
    #[error("cannot keep how far was read, in {path}: {source}")]
    Store {
        /// The directory.
        path: PathBuf,
        /// What the store said.
        source: sled::Error,
    },
}

impl Cursors {
    /// Opens the cursors in a directory. A store that cannot be read is put aside: what it knew is sent again.
    ///
    /// # Errors
    /// When another process has it, or the directory cannot be used.
    pub fn open(directory: &Path) -> Result<Self, CursorError> {
        let path = directory.join("cursors");
        let store = |source| CursorError::Store { path: path.clone(), source };
        std::fs::create_dir_all(&path).map_err(|error| store(sled::Error::Io(error)))?;
        remove_half_written(&path);
        let open = || sled::Config::new().path(&path).cache_capacity(16 << 20).open();
        match open() {
            Ok(db) => Ok(Cursors { place: Place::Disk { db } }),
            Err(sled::Error::Io(error)) if error.to_string().contains("acquire lock") => {
                Err(CursorError::Taken(directory.to_owned()))
            }
            Err(sled::Error::Io(error)) => Err(store(sled::Error::Io(error))),
            Err(error) => {
                let aside = directory.join("cursors.unreadable");
                tracing::error!(%error, aside = %aside.display(), "cursors unreadable: put aside, all is read again");
                // Gone or not: what matters is that the name is free.
                let _ = std::fs::remove_dir_all(&aside);
                std::fs::rename(&path, &aside).map_err(|error| store(sled::Error::Io(error)))?;
                open().map(|db| Cursors { place: Place::Disk { db } }).map_err(store)
            }
        }
    }

    /// Cursors that are forgotten at the end.
    ///
    /// # Errors
    /// When there is no room for temporary files.
    pub fn forgotten() -> Result<Self, CursorError> {
        let db = sled::Config::new().temporary(true).open();
        db.map(|db| Cursors { place: Place::Memory { db } })
            .map_err(|source| CursorError::Store { path: std::env::temp_dir(), source })
    }

    fn db(&self) -> &sled::Db {
        match &self.place {
            Place::Disk { db } | Place::Memory { db } => db,
        }
    }

    /// The value of a key.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn get(&self, key: &str) -> Result<Option<Vec<u8>>, CursorError> {
        self.db().get(key).map(|value| value.map(|bytes| bytes.to_vec())).map_err(|source| self.error(source))
    }

    /// All keys that begin so, with their values, in the order of the keys.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn starting_with(&self, prefix: &str) -> Result<Vec<(String, Vec<u8>)>, CursorError> {
        let entries = self.db().scan_prefix(prefix);
        let read = entries.map(|entry| {
            entry.map(|(key, value)| (String::from_utf8_lossy(&key).into_owned(), value.to_vec()))
        });
        read.collect::<Result<_, _>>().map_err(|source| self.error(source))
    }

    /// Forgets these.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn remove(&self, keys: Vec<String>) -> Result<(), CursorError> {
        for key in keys {
            self.db().remove(key).map_err(|source| self.error(source))?;
        }
        Ok(())
    }

    /// Writes all of these or none, and comes back when a crash of the process can no longer take them away.
    ///
    /// # Errors
    /// When the disk refuses.
    pub async fn put(&self, entries: Vec<(String, Vec<u8>)>) -> Result<(), CursorError> {
        let mut batch = sled::Batch::default();
        for (key, value) in entries {
            batch.insert(key.as_bytes(), value);
        }
        self.db().apply_batch(batch).map_err(|source| self.error(source))?;
        crash_point!(BeforeCursorFlush);
        self.db().flush_async().await.map(drop).map_err(|source| self.error(source))?;
        crash_point!(AfterCursor);
        Ok(())
    }

    fn error(&self, source: sled::Error) -> CursorError {
        let path = match &self.place {
            Place::Disk { .. } => PathBuf::from("--state"),
            Place::Memory { .. } => std::env::temp_dir(),
        };
        CursorError::Store { path, source }
    }
}

/// A crash while opening leaves a half-written snapshot, after which nothing opens; without it, all does.
fn remove_half_written(path: &Path) {
    let Ok(entries) = std::fs::read_dir(path) else { return };
    for entry in entries.flatten() {
        if entry.path().extension().is_some_and(|extension| extension == "generating") {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_was_written_is_there_after_a_restart_and_one_process_has_it() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let cursors = Cursors::open(directory.path()).expect("opened");
        cursors.put(vec![("a".to_owned(), b"1".to_vec())]).await.expect("written");
        assert!(matches!(Cursors::open(directory.path()), Err(CursorError::Taken(_))));
        drop(cursors);
        let again = Cursors::open(directory.path()).expect("opened");
        assert_eq!(again.get("a").expect("readable"), Some(b"1".to_vec()));
        assert_eq!(again.get("b").expect("readable"), None);
    }
}
