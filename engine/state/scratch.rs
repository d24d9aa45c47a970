//! Where packed states lie while there is no room for them in memory: beside the checkpoint, and of this process alone.
//!
//! A chunk that goes out lies here as it is sealed, in a file of its own. Nothing here outlives the process: a start begins
//! with the checkpoint, and throws away what the run before left.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The place for chunks that are not in memory.
#[derive(Debug)]
pub enum Scratch {
    /// Memory, for tests.
    Memory(Mutex<HashMap<u32, Vec<u8>>>),
    /// A directory, emptied before the first chunk is written.
    Directory {
        /// Which one.
        path: PathBuf,
        /// Whether it was emptied.
        is_ours: Mutex<bool>,
    },
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Scratch {
    /// In memory.
    pub fn in_memory() -> Self {
        Scratch::Memory(Mutex::default())
    }

    /// In a directory, which is emptied before the first use.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Scratch::Directory { path: path.into(), is_ours: Mutex::new(false) }
    }

    /// Puts a sealed chunk here, to lie here for as long as anybody holds what is given.
    pub(super) fn put(self: &Arc<Self>, number: u32, sealed: &[u8]) -> io::Result<Arc<OnDisk>> {
        self.write(number, sealed)?;
        Ok(Arc::new(OnDisk { scratch: Arc::clone(self), number }))
    }

    fn write(&self, number: u32, sealed: &[u8]) -> io::Result<()> {
        match self {
            Scratch::Memory(chunks) => {
                locked(chunks).insert(number, sealed.to_vec());
                Ok(())
            }
            Scratch::Directory { path, is_ours } => {
                let mut is_ours = locked(is_ours);
                if !*is_ours {
                    match fs::remove_dir_all(path) {
                        Err(why) if why.kind() != io::ErrorKind::NotFound => return Err(why),
                        _ => fs::create_dir_all(path)?,
                    }
                    *is_ours = true;
                }
                let file = path.join(number.to_string());
                let written = fs::write(&file, sealed);
                if written.is_err() {
                    // Half a chunk on a full disk helps nobody, and takes the room that is missing.
                    let _ = fs::remove_file(&file);
                }
                written
            }
        }
    }

    fn read(&self, number: u32, range: std::ops::Range<usize>) -> io::Result<Vec<u8>> {
        match self {
            Scratch::Memory(chunks) => {
                let chunks = locked(chunks);
                let part = chunks.get(&number).and_then(|chunk| chunk.get(range));
                part.map(<[u8]>::to_vec).ok_or_else(|| io::ErrorKind::NotFound.into())
            }
            Scratch::Directory { path, .. } => {
                let mut part = vec![0; range.len()];
                File::open(path.join(number.to_string()))?.read_exact_at(&mut part, range.start as u64)?;
                Ok(part)
            }
        }
    }

    fn read_all(&self, number: u32) -> io::Result<Vec<u8>> {
        match self {
            Scratch::Memory(chunks) => {
                locked(chunks).get(&number).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
            }
            Scratch::Directory { path, .. } => fs::read(path.join(number.to_string())),
        }
    }

    fn remove(&self, number: u32) {
        match self {
            Scratch::Memory(chunks) => drop(locked(chunks).remove(&number)),
            Scratch::Directory { path, .. } => {
                if let Err(error) = fs::remove_file(path.join(number.to_string())) {
                    tracing::warn!(%error, number, "cannot remove a chunk that is of no use any more");
                }
            }
        }
    }
}

/// A chunk that lies on the disk; when nobody holds it any more, it goes.
#[derive(Debug)]
pub struct OnDisk {
    scratch: Arc<Scratch>,
    number: u32,
}

impl OnDisk {
    /// Reads a part of it.
    pub(super) fn read(&self, range: std::ops::Range<usize>) -> io::Result<Vec<u8>> {
        self.scratch.read(self.number, range)
    }

    /// Reads all of it.
    pub(super) fn read_all(&self) -> io::Result<Vec<u8>> {
        self.scratch.read_all(self.number)
    }
}

impl Drop for OnDisk {
    fn drop(&mut self) {
        self.scratch.remove(self.number);
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Scratch::Directory { path, is_ours } = self
            && *locked(is_ours)
        {
            // What stays is emptied at the next start.
            let _ = fs::remove_dir_all(path);
        }
    }
}
