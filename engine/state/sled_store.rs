//! The checkpoint in sled: every commit is one atomic batch on one tree, then a flush.
//!
//! sled 0.34 is no longer developed, so it is used for the little that it does well and believed in nothing: blocks
//! carry checksums of their own, its panics are caught, and after any fault it is closed and opened anew. What lies in
//! it: `manifest`, one `c` + number (big-endian) for each chunk, one `r` + hash for the rules message in force.

use std::ffi::OsString;
use std::fs::{self, File, TryLockError};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::chunk::{self, Kind, Sum};
use super::manifest::Manifest;
use super::rolling::{Chunks, Rolled};
use super::store::{Checkpoint, CheckpointStore, Committed, Durability, Loaded, Meta, StoreError, StoredKey};

const MANIFEST_KEY: &[u8] = b"manifest";
/// Written after the first commit: a store that comes back empty beside it has lost everything.
const COMMITTED_FILE: &str = "committed";
/// Chunks are written once and read back rarely, so keeping them in memory twice buys nothing.
const CACHE_BYTES: u64 = 16 << 20;
/// sled releases its file a little after it is dropped.
const REOPEN_TRIES: u32 = 100;
const REOPEN_PAUSE: Duration = Duration::from_millis(20);

/// A [`CheckpointStore`] in a directory of its own. Beside the directory lie its lock (`<dir>.lock`) and, after
/// damage, the last damaged one (`<dir>.damaged-<n>`).
pub struct SledStore {
    dir: PathBuf,
    durability: Durability,
    /// Held as long as this store lives; sled's own lock comes too late, after files were touched.
    lock: Option<File>,
    /// `None` before the first use and after a fault.
    db: Option<sled::Db>,
    known: Option<Known>,
    /// The newest blob that was forced to disk, by sled's number.
    synced_blob: i64,
}

/// What is on disk, as far as it was acknowledged.
#[derive(Default)]
struct Known {
    chunks: Chunks,
    generation: u64,
    rules: Option<Sum>,
}

/// What went wrong below, before it is known what it means.
enum Fault {
    Damaged(String),
    Io(io::Error),
    Locked,
}

impl Fault {
    /// sled does not tell a short or unreadable file from a disk that cannot be used now.
    fn while_reading(self) -> Self {
        match self {
            Fault::Io(why) if speaks_of_content(&why) => Fault::Damaged(why.to_string()),
            fault => fault,
        }
    }

    /// What breaks while writing says nothing about what was written before: opening it anew will show.
    fn while_writing(self) -> Self {
        match self {
            Fault::Damaged(reason) => Fault::Io(io::Error::other(reason)),
            fault => fault,
        }
    }
}

impl SledStore {
    /// A store in `dir`, which need not exist yet. Nothing is touched before the first call.
    pub fn at(dir: impl Into<PathBuf>, durability: Durability) -> Self {
        SledStore { dir: dir.into(), durability, lock: None, db: None, known: None, synced_blob: -1 }
    }

    /// Takes the place for this process.
    fn lock(&mut self) -> Result<(), Fault> {
        if self.lock.is_some() {
            return Ok(());
        }
        let path = beside(&self.dir, ".lock");
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        let file = File::options().create(true).truncate(false).write(true).open(path)?;
        match file.try_lock() {
            Ok(()) => self.lock = Some(file),
            Err(TryLockError::WouldBlock) => return Err(Fault::Locked),
            Err(TryLockError::Error(why)) => return Err(why.into()),
        }
        Ok(())
    }

    /// Opens sled, unless it is open.
    fn open(&mut self) -> Result<&sled::Db, Fault> {
        if self.db.is_none() {
            self.lock()?;
            fs::create_dir_all(&self.dir)?;
            remove_half_written_snapshots(&self.dir)?;
            self.db = Some(open_patiently(&self.dir)?);
            self.synced_blob = -1;
        }
        Ok(self.db.as_ref().expect("opened above"))
    }

    /// Lets go of sled. Also after faults, when its own cleaning up may panic.
    fn close(&mut self) {
        if let Some(db) = self.db.take() {
            // What it failed to write is not acknowledged; there is nothing to add to the fault that led here.
            let _ = guarded(|| {
                drop(db);
                Ok(())
            });
        }
    }

    fn manifest(&mut self) -> Result<Option<Manifest>, Fault> {
        match get(self.open()?, MANIFEST_KEY)? {
            Some(block) => Ok(Some(Manifest::unseal(&block)?)),
            None if self.dir.join(COMMITTED_FILE).exists() => {
                Err(Fault::Damaged("the store is empty, but a checkpoint was committed to it".to_owned()))
            }
            None => Ok(None),
        }
    }

    /// Reads and verifies everything, chunk by chunk.
    fn read(
        &mut self,
        each: &mut dyn FnMut(StoredKey, &[u8]) -> Result<(), String>,
    ) -> Result<Option<Meta>, Fault> {
        self.known = None;
        let Some(manifest) = self.manifest()? else {
            self.known = Some(Known::default());
            return Ok(None);
        };
        let db = self.open()?;
        let mut chunks = Chunks::with_room(manifest.next_chunk, &manifest.chunks);
        for listed in &manifest.chunks {
            chunks.adopt(listed, &read_chunk(db, listed.number, &listed.sum)?, each)?;
        }
        let block = get(db, &rules_key(&manifest.rules))?;
        let block = block.ok_or_else(|| "the rules message is missing".to_owned())?;
        let (_, rules) = chunk::unseal(Kind::Rules, 0, &block)?;
        if *blake3::hash(&rules).as_bytes() != manifest.rules {
            return Err(Fault::Damaged("the rules message is another one".to_owned()));
        }
        self.known = Some(Known { chunks, generation: manifest.generation, rules: Some(manifest.rules) });
        Ok(Some(manifest.into_meta(rules)))
    }

    /// Makes sure that sled is open and holds what we believe it holds.
    fn ready(&mut self) -> Result<(), Fault> {
        if self.db.is_some() && self.known.is_some() {
            return Ok(());
        }
        let on_disk = self.manifest()?.map_or(0, |manifest| manifest.generation);
        match self.known.as_ref().map(|known| known.generation) {
            Some(acknowledged) if acknowledged == on_disk => Ok(()),
            // The commit that failed arrived after all: it is as good as any, but its entries lie elsewhere.
            Some(acknowledged) if acknowledged + 1 == on_disk => self.read(&mut |_, _| Ok(())).map(drop),
            Some(acknowledged) => Err(Fault::Damaged(format!(
                "checkpoint {acknowledged} was written and checkpoint {on_disk} is there"
            ))),
            None => self.read(&mut |_, _| Ok(())).map(drop),
        }
    }

    fn write(&mut self, checkpoint: &Checkpoint) -> Result<Committed, Fault> {
        self.ready().map_err(Fault::while_reading)?;
        let (Some(db), Some(known)) = (&self.db, &mut self.known) else {
            unreachable!("ready opens the store and knows what is in it")
        };
        let mut read = |number, sum: &Sum| read_chunk(db, number, sum).map_err(Fault::while_reading);
        let rolled = known.chunks.roll(&checkpoint.changed, &mut read)?;
        let written = apply(db, known, &rolled, &checkpoint.meta);
        let written = written.and_then(|done| {
            guarded(|| db.flush())?;
            if self.durability == Durability::Power {
                self.synced_blob = force_to_disk(&self.dir, self.synced_blob)?;
            }
            if known.generation == 0 {
                File::create(self.dir.join(COMMITTED_FILE))?.sync_all()?;
            }
            Ok(done)
        });
        match written {
            Ok((bytes, rules)) => {
                known.generation += 1;
                known.rules = Some(rules);
                let (chunks, keys) = (known.chunks.chunks(), known.chunks.keys());
                Ok(Committed { bytes, chunks, keys, carried: rolled.carried, duration: Duration::ZERO })
            }
            Err(fault) => {
                known.chunks.undo(rolled);
                Err(fault.while_writing())
            }
        }
    }

    /// Puts the directory aside; the one that was put aside before goes.
    fn put_aside(&mut self) -> io::Result<()> {
        let (mut number, mut old) = (0, Vec::new());
        let prefix =
            beside(Path::new(self.dir.file_name().unwrap_or_default()), ".damaged-").into_os_string();
        for entry in
            fs::read_dir(self.dir.parent().filter(|at| *at != Path::new("")).unwrap_or(Path::new(".")))?
        {
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
        fs::rename(&self.dir, beside(&self.dir, &format!(".damaged-{}", number + 1)))
    }

    fn place(&self) -> String {
        self.dir.display().to_string()
    }

    fn error(&self, what: &'static str, fault: Fault) -> StoreError {
        let place = self.place();
        match fault {
            Fault::Locked => StoreError::InUse { place },
            Fault::Damaged(reason) => StoreError::Damaged { place, reason },
            Fault::Io(why) if is_full(&why) => StoreError::Full { place, why: why.to_string() },
            Fault::Io(why) => StoreError::Io { what, place, why: why.to_string() },
        }
    }
}

impl CheckpointStore for SledStore {
    fn load(
        &mut self,
        each: &mut dyn FnMut(StoredKey, &[u8]) -> Result<(), String>,
    ) -> Result<Loaded, StoreError> {
        self.close();
        match self.read(each) {
            Ok(Some(meta)) => Ok(Loaded::Found(meta)),
            Ok(None) => Ok(Loaded::Empty),
            Err(fault) => {
                self.close();
                match fault.while_reading() {
                    Fault::Damaged(reason) => Ok(Loaded::Damaged(reason)),
                    fault => Err(self.error("load", fault)),
                }
            }
        }
    }

    fn commit(&mut self, checkpoint: &Checkpoint) -> Result<Committed, StoreError> {
        let started = Instant::now();
        match self.write(checkpoint) {
            Ok(done) => Ok(Committed { duration: started.elapsed(), ..done }),
            Err(fault) => {
                // sled refuses all work after an IO error: the next commit opens it anew.
                self.close();
                Err(self.error("commit", fault))
            }
        }
    }

    fn clear(&mut self) -> Result<(), StoreError> {
        self.close();
        self.lock().map_err(|fault| self.error("clear", fault))?;
        if self.dir.exists() {
            self.put_aside().map_err(|why| self.error("clear", Fault::Io(why)))?;
        }
        self.known = Some(Known::default());
        Ok(())
    }
}

impl Drop for SledStore {
    fn drop(&mut self) {
        self.close();
    }
}

/// Writes chunks, manifest and rules in one batch. Gives the bytes written and the hash of the rules.
fn apply(db: &sled::Db, known: &Known, rolled: &Rolled, meta: &Meta) -> Result<(u64, Sum), Fault> {
    let rules = *blake3::hash(&meta.rules).as_bytes();
    let manifest = Manifest {
        generation: known.generation + 1,
        format: meta.format,
        log_id: meta.log_id.clone(),
        seq: meta.seq,
        log_time: meta.log_time,
        rules,
        extra: meta.extra.clone(),
        next_chunk: known.chunks.next_chunk(),
        chunks: known.chunks.list(),
    };
    let mut batch = sled::Batch::default();
    let mut bytes = 0;
    let mut insert = |key: &[u8], block: &[u8]| {
        bytes += block.len() as u64;
        batch.insert(key, block);
    };
    for (number, block) in &rolled.written {
        insert(&chunk_key(*number), block);
    }
    insert(MANIFEST_KEY, &manifest.seal()?.bytes);
    if known.rules != Some(rules) {
        insert(&rules_key(&rules), &chunk::seal(Kind::Rules, 0, &meta.rules)?.bytes);
        if let Some(old) = known.rules {
            batch.remove(rules_key(&old));
        }
    }
    for number in &rolled.removed {
        batch.remove(&chunk_key(*number));
    }
    guarded(|| db.apply_batch(batch))?;
    Ok((bytes, rules))
}

fn get(db: &sled::Db, key: &[u8]) -> Result<Option<sled::IVec>, Fault> {
    guarded(|| db.get(key))
}

fn read_chunk(db: &sled::Db, number: u32, sum: &Sum) -> Result<Vec<u8>, Fault> {
    let block = get(db, &chunk_key(number))?.ok_or_else(|| format!("chunk {number} is missing"))?;
    let (found, raw) = chunk::unseal(Kind::Chunk, u64::from(number), &block)?;
    if found == *sum {
        Ok(raw)
    } else {
        Err(Fault::Damaged(format!("chunk {number} is of another checkpoint")))
    }
}

fn chunk_key(number: u32) -> [u8; 5] {
    let [a, b, c, d] = number.to_be_bytes();
    [b'c', a, b, c, d]
}

fn rules_key(hash: &Sum) -> Vec<u8> {
    [b"r", &hash[..]].concat()
}

/// `<dir><suffix>`, in the same parent.
fn beside(dir: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(dir);
    name.push(suffix);
    name.into()
}

/// A crash or full disk while sled opens leaves these, and every later opening fails. They are never of use.
fn remove_half_written_snapshots(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "generating") {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

fn open_patiently(dir: &Path) -> Result<sled::Db, Fault> {
    let config = sled::Config::new().path(dir).cache_capacity(CACHE_BYTES);
    for _ in 1..REOPEN_TRIES {
        match guarded(|| config.open()) {
            // We hold our own lock, so this is most likely the remainder of our own last opening.
            Err(Fault::Locked) => std::thread::sleep(REOPEN_PAUSE),
            opened => return opened,
        }
    }
    guarded(|| config.open())
}

/// sled's flush hands everything to the operating system; this forces it further. Large values are files of their own
/// in `blobs`, named by rising numbers, and must get there as well. Gives the newest one.
fn force_to_disk(dir: &Path, synced_blob: i64) -> io::Result<i64> {
    let blobs = dir.join("blobs");
    let mut newest = synced_blob;
    for entry in fs::read_dir(&blobs)? {
        let entry = entry?;
        let Some(number) = entry.file_name().to_str().and_then(|name| name.parse::<i64>().ok()) else {
            continue;
        };
        if number > synced_blob {
            match File::open(entry.path()) {
                Ok(file) => file.sync_all()?,
                // sled removes those that are replaced.
                Err(why) if why.kind() == io::ErrorKind::NotFound => {}
                Err(why) => return Err(why),
            }
            newest = newest.max(number);
        }
    }
    File::open(dir.join("db"))?.sync_all()?;
    File::open(&blobs)?.sync_all()?;
    File::open(dir)?.sync_all()?;
    Ok(newest)
}

/// Runs something of sled's, which panics on some damage where it could have said so.
fn guarded<T>(work: impl FnOnce() -> sled::Result<T>) -> Result<T, Fault> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(sled::Error::Io(why))) if why.to_string().contains("could not acquire lock") => {
            Err(Fault::Locked)
        }
        Ok(Err(sled::Error::Io(why))) => Err(Fault::Io(why)),
        Ok(Err(why)) => Err(Fault::Damaged(why.to_string())),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|&text| text.to_owned()));
            Err(Fault::Damaged(format!("sled panicked: {}", text.unwrap_or_default())))
        }
    }
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
