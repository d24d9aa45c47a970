//! The checkpoint in sled: every commit is one atomic batch on one tree, then a flush.
//!
//! sled 0.34 is no longer developed, so it is used for the little that it does well and believed in nothing: blocks
//! carry checksums of their own, its panics are caught, it is waited for with a limit, and after any fault it is closed
//! and opened anew.
//!
//! Blocks lie in it cut into pieces under rising keys: `m` the manifest, `c` + number (big-endian) a chunk, `r` + hash
//! the rules message in force. The pieces are so small that even a full leaf of sled's tree fits into its log. sled puts
//! what does not fit into files of its own, and those it neither syncs nor survives: when one cannot be written because
//! the disk is full, the next flush waits for ever.

use std::fs::{self, File};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use super::chunk::{self, Kind, Sum};
use super::directory::{self, Fault};
use super::manifest::Manifest;
use super::rolling::{Chunks, Rolled};
use super::store::{Checkpoint, CheckpointStore, Committed, Durability, EachState, Loaded, Meta, StoreError};

const MANIFEST_PREFIX: &[u8] = b"m";
/// Written after the first commit: a store that comes back empty beside it has lost everything.
const COMMITTED_FILE: &str = "committed";
/// sled's log grows and is reclaimed in steps of this; a quarter of it is the most that it writes into the log.
const SEGMENT_BYTES: usize = 8 << 20;
/// A leaf holds up to 17 entries before it is split, and a few more while leaves are merged.
const PIECE_BYTES: usize = SEGMENT_BYTES / 4 / 21;
/// Chunks are written once and read back rarely, so keeping them in memory twice buys nothing.
const CACHE_BYTES: u64 = 16 << 20;
/// sled releases its file a little after it is dropped.
const REOPEN_TRIES: u32 = 100;
const REOPEN_PAUSE: Duration = Duration::from_millis(20);
/// Far more than the slowest disk needs for a commit: whoever takes longer never comes back.
const COMMIT_LIMIT: Duration = Duration::from_secs(120);
const CLOSE_LIMIT: Duration = Duration::from_secs(30);

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
    /// Doing what sled stopped answering. It never lets go of its files then, so only a new directory helps.
    stuck: Option<&'static str>,
}

/// What is on disk, as far as it was acknowledged.
#[derive(Default)]
struct Known {
    chunks: Chunks,
    generation: u64,
    rules: Option<Sum>,
}

impl SledStore {
    /// A store in `dir`, which need not exist yet. Nothing is touched before the first call.
    pub fn at(dir: impl Into<PathBuf>, durability: Durability) -> Self {
        SledStore { dir: dir.into(), durability, lock: None, db: None, known: None, stuck: None }
    }

    /// Takes the place for this process.
    fn take_place(&mut self) -> Result<(), Fault> {
        if self.lock.is_none() {
            self.lock = Some(directory::lock(&self.dir)?);
        }
        Ok(())
    }

    /// Opens sled, unless it is open.
    fn open(&mut self) -> Result<&sled::Db, Fault> {
        if self.db.is_none() {
            if let Some(doing) = self.stuck {
                return Err(Fault::Stuck(doing));
            }
            self.take_place()?;
            fs::create_dir_all(&self.dir)?;
            remove_half_written_snapshots(&self.dir)?;
            self.db = Some(open_patiently(&self.dir)?);
        }
        Ok(self.db.as_ref().expect("opened above"))
    }

    /// Lets go of sled. Also after faults, when its own cleaning up may panic or hang.
    fn close(&mut self) {
        let Some(db) = self.db.take() else { return };
        // Whatever it fails to write now was not acknowledged; there is nothing to add to the fault that led here.
        let closed = within(CLOSE_LIMIT, "closing", move || {
            guarded(|| {
                drop(db);
                Ok(())
            })
        });
        if let Err(Fault::Stuck(doing)) = closed {
            self.stuck = Some(doing);
        }
    }

    fn manifest(&mut self) -> Result<Option<Manifest>, Fault> {
        match get(self.open()?, MANIFEST_PREFIX)? {
            Some(block) => Ok(Some(Manifest::unseal(&block)?)),
            None if self.dir.join(COMMITTED_FILE).exists() => {
                Err(Fault::Damaged("the store is empty, but a checkpoint was committed to it".to_owned()))
            }
            None => Ok(None),
        }
    }

    /// Reads and verifies everything, chunk by chunk.
    fn read(&mut self, each: EachState<'_>) -> Result<Option<Meta>, Fault> {
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
        let block = get(db, &rules_prefix(&manifest.rules))?;
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
        let written = prepare(db, known, &rolled, &checkpoint.meta).and_then(|prepared| {
            let db = db.clone();
            crash_point!(BeforeBatch);
            within(COMMIT_LIMIT, "writing", move || {
                guarded(|| db.apply_batch(prepared.batch))?;
                crash_point!(AfterBatch);
                guarded(|| db.flush())
            })?;
            crash_point!(AfterStoreFlush);
            if self.durability == Durability::Power {
                force_to_disk(&self.dir)?;
            }
            crash_point!(AfterSync);
            if known.generation == 0 {
                File::create(self.dir.join(COMMITTED_FILE))?.sync_all()?;
            }
            Ok((prepared.bytes, prepared.rules))
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
}

impl CheckpointStore for SledStore {
    fn load(&mut self, each: EachState<'_>) -> Result<Loaded, StoreError> {
        self.close();
        match self.read(each) {
            Ok(Some(meta)) => Ok(Loaded::Found(meta)),
            Ok(None) => Ok(Loaded::Empty),
            Err(fault) => {
                self.close();
                match fault.while_reading() {
                    Fault::Damaged(reason) => Ok(Loaded::Damaged(reason)),
                    Fault::Stuck(doing) => Ok(Loaded::Damaged(directory::stuck_reason(doing))),
                    fault => Err(fault.into_error("load", &self.dir)),
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
                match fault {
                    // Dropping it would wait for ever. Its own threads keep it alive anyway.
                    Fault::Stuck(doing) => {
                        self.stuck = Some(doing);
                        std::mem::forget(self.db.take());
                    }
                    _ => self.close(),
                }
                Err(fault.into_error("commit", &self.dir))
            }
        }
    }

    fn clear(&mut self) -> Result<(), StoreError> {
        self.close();
        self.take_place().map_err(|fault| fault.into_error("clear", &self.dir))?;
        if self.dir.exists() {
            let aside = directory::put_aside(&self.dir);
            aside.map_err(|why| Fault::Io(why).into_error("clear", &self.dir))?;
        }
        self.stuck = None;
        self.known = Some(Known::default());
        Ok(())
    }
}

impl Drop for SledStore {
    fn drop(&mut self) {
        self.close();
    }
}

/// All that a commit changes in sled.
struct Prepared {
    batch: sled::Batch,
    bytes: u64,
    /// Hash of the rules message in force.
    rules: Sum,
}

fn prepare(db: &sled::Db, known: &Known, rolled: &Rolled, meta: &Meta) -> Result<Prepared, Fault> {
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
    let mut put = |prefix: &[u8], block: &[u8]| {
        bytes += block.len() as u64;
        replace(db, &mut batch, prefix, block)
    };
    for (number, block) in &rolled.written {
        put(&chunk_prefix(*number), block)?;
    }
    put(MANIFEST_PREFIX, &manifest.seal()?.bytes)?;
    if known.rules != Some(rules) {
        put(&rules_prefix(&rules), &chunk::seal(Kind::Rules, 0, &meta.rules)?.bytes)?;
        if let Some(old) = known.rules {
            put(&rules_prefix(&old), &[])?;
        }
    }
    for number in &rolled.removed {
        put(&chunk_prefix(*number), &[])?;
    }
    Ok(Prepared { batch, bytes, rules })
}

/// Puts `block` in the place of whatever lies under `prefix`; an empty one removes it.
fn replace(db: &sled::Db, batch: &mut sled::Batch, prefix: &[u8], block: &[u8]) -> Result<(), Fault> {
    let pieces = block.chunks(PIECE_BYTES).zip(0u32..);
    let keyed = pieces.map(|(piece, number)| ([prefix, &number.to_be_bytes()].concat(), piece));
    let mut surplus =
        guarded(|| db.scan_prefix(prefix).keys().collect::<sled::Result<Vec<_>>>())?.into_iter();
    for (key, piece) in keyed {
        surplus.next();
        batch.insert(key, piece);
    }
    surplus.for_each(|key| batch.remove(key));
    Ok(())
}

/// The block under `prefix`, if there is one.
fn get(db: &sled::Db, prefix: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
    let pieces = guarded(|| db.scan_prefix(prefix).values().collect::<sled::Result<Vec<_>>>())?;
    Ok((!pieces.is_empty()).then(|| pieces.concat()))
}

fn read_chunk(db: &sled::Db, number: u32, sum: &Sum) -> Result<Vec<u8>, Fault> {
    let block = get(db, &chunk_prefix(number))?.ok_or_else(|| format!("chunk {number} is missing"))?;
    let (found, raw) = chunk::unseal(Kind::Chunk, u64::from(number), &block)?;
    if found == *sum {
        Ok(raw)
    } else {
        Err(Fault::Damaged(format!("chunk {number} is of another checkpoint")))
    }
}

fn chunk_prefix(number: u32) -> [u8; 5] {
    let [a, b, c, d] = number.to_be_bytes();
    [b'c', a, b, c, d]
}

fn rules_prefix(hash: &Sum) -> Vec<u8> {
    [b"r", &hash[..]].concat()
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
    let config = sled::Config::new().path(dir).segment_size(SEGMENT_BYTES).cache_capacity(CACHE_BYTES);
    for _ in 1..REOPEN_TRIES {
        match guarded(|| config.open()) {
            // We hold our own lock, so this is most likely the remainder of our own last opening.
            Err(Fault::Locked) => thread::sleep(REOPEN_PAUSE),
            opened => return opened,
        }
    }
    guarded(|| config.open())
}

/// sled's flush hands everything to the operating system; this forces it further.
fn force_to_disk(dir: &Path) -> io::Result<()> {
    File::open(dir.join("db"))?.sync_all()?;
    File::open(dir)?.sync_all()
}

/// Waits for `work` in a thread of its own, but not for ever.
fn within<T: Send + 'static>(
    limit: Duration,
    doing: &'static str,
    work: impl FnOnce() -> Result<T, Fault> + Send + 'static,
) -> Result<T, Fault> {
    let (sender, done) = mpsc::sync_channel(1);
    thread::Builder::new().name("checkpoint".to_owned()).spawn(move || {
        // Nobody listens any more if it took too long.
        let _ = sender.send(work());
    })?;
    done.recv_timeout(limit).unwrap_or(Err(Fault::Stuck(doing)))
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

#[cfg(test)]
mod tests {
    use super::super::store::StoredKey;
    use super::*;

    fn checkpoint(seq: u64) -> Checkpoint {
        let changed = vec![(StoredKey([1; 16]), Some(seq.to_le_bytes().to_vec()))];
        Checkpoint { meta: Meta { seq, ..Meta::default() }, changed }
    }

    #[test]
    fn who_does_not_answer_is_not_waited_for() {
        let stuck = within(Duration::from_millis(20), "sleeping", || {
            thread::sleep(Duration::from_secs(2));
            Ok(())
        });
        assert!(matches!(stuck, Err(Fault::Stuck("sleeping"))), "{stuck:?}");
        assert!(matches!(within(COMMIT_LIMIT, "adding", || Ok(1 + 1)), Ok(2)));
    }

    #[test]
    fn a_stuck_sled_is_left_behind_with_its_directory() {
        let home = tempfile::tempdir().expect("a temporary directory");
        let mut store = SledStore::at(home.path().join("checkpoint"), Durability::Kill);
        store.commit(&checkpoint(1)).expect("there is room");
        // As commit leaves it when sled does not answer: open for ever, and locked.
        std::mem::forget(store.db.take());
        store.stuck = Some("writing");
        assert!(matches!(store.commit(&checkpoint(2)), Err(StoreError::Damaged { .. })));
        assert!(matches!(store.load(&mut |_, _| Ok(())), Ok(Loaded::Damaged(_))));
        store.clear().expect("a directory can be renamed while it is in use");
        store.commit(&checkpoint(3)).expect("there is room");
        assert_eq!(store.load(&mut |_, _| Ok(())).expect("usable"), Loaded::Found(checkpoint(3).meta));
    }

    #[test]
    fn a_full_leaf_fits_into_the_log() {
        let leaf = 20 * (PIECE_BYTES + 64);
        assert!(leaf < SEGMENT_BYTES / 4 - 64, "{leaf} bytes would become a file of its own");
    }
}
