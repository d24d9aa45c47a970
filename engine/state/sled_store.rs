//! The checkpoint in sled: new chunks first, in batches that memory bears; then the manifest that names them, in one atomic
//! batch with what goes. What a crash leaves in between is named by no manifest, and goes with the next commit.
//!
//! sled 0.34 is no longer developed, so it is used for the little that it does well and believed in nothing: blocks
//! carry checksums of their own, its panics are caught, it is waited for with a limit, and after any fault it is closed
//! and opened anew.
//!
//! Blocks lie in it cut into pieces under rising keys: `m` the manifest, `c` + number (big-endian) a chunk, `r` + hash
//! a text: the rules message in force, and the words of the states. The pieces are so small that even a full leaf of sled's tree fits into its log. sled puts
//! what does not fit into files of its own, and those it neither syncs nor survives: when one cannot be written because
//! the disk is full, the next flush waits for ever.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use super::chunk::{self, Kind, Sum};
use super::directory::{self, Fault};
use super::manifest::{ListedChunk, Manifest};
use super::store::{Checkpoint, CheckpointStore, Committed, Durability, Loaded, Meta, Restore, StoreError};

const MANIFEST_PREFIX: &[u8] = b"m";
/// Written after the first commit: a store that comes back empty beside it has lost everything.
const COMMITTED_FILE: &str = "committed";
/// sled's log grows and is reclaimed in steps of this; a quarter of it is the most that it writes into the log.
const SEGMENT_BYTES: usize = 8 << 20;
/// A leaf holds up to 17 entries before it is split, and a few more while leaves are merged.
const PIECE_BYTES: usize = SEGMENT_BYTES / 4 / 21;
/// Chunks are written once and read back rarely, so keeping them in memory twice buys nothing.
const CACHE_BYTES: u64 = 16 << 20;
/// sled's cache never lets go of the newest of each 256th page, and with leaves as large as ours that is all of them. So
/// it is closed when this much was read and written, and opened anew for the next commit.
const REOPEN_BYTES: u64 = 8 << 20;
/// New chunks go to sled in batches of about this: it holds a batch several times in memory while it writes it.
const BATCH_BYTES: usize = 8 << 20;
/// sled releases its file a little after it is dropped.
const REOPEN_TRIES: u32 = 100;
const REOPEN_PAUSE: Duration = Duration::from_millis(20);
/// Far more than the slowest disk needs for a commit: whoever takes longer never comes back.
const COMMIT_LIMIT: Duration = Duration::from_secs(120);
const CLOSE_LIMIT: Duration = Duration::from_secs(30);

/// A [`CheckpointStore`] in a directory of its own. Beside the directory lie its lock (`<dir>.lock`) and, after
/// damage, the last damaged one (`<dir>.damaged-<n>`) and a note which log it was of (`<dir>.cleared`).
pub struct SledStore {
    dir: PathBuf,
    durability: Durability,
    /// Held as long as this store lives; sled's own lock comes too late, after files were touched.
    lock: Option<File>,
    /// `None` before the first use, after a fault, and when much was read or written.
    db: Option<sled::Db>,
    /// Bytes read and written since it was opened.
    moved: u64,
    known: Option<Known>,
    /// Doing what sled stopped answering. It never lets go of its files then, so only a new directory helps.
    stuck: Option<&'static str>,
}

/// What is on disk, as far as it was acknowledged.
#[derive(Default)]
struct Known {
    chunks: BTreeMap<u32, Sum>,
    /// Chunks that may be there and that no manifest names.
    strays: BTreeSet<u32>,
    generation: u64,
    texts: Vec<Sum>,
}

impl Known {
    fn of(manifest: &Manifest) -> Self {
        Known {
            chunks: manifest.chunks.iter().map(|listed| (listed.line.number, listed.sum)).collect(),
            strays: BTreeSet::new(),
            generation: manifest.generation,
            texts: vec![manifest.rules, manifest.words],
        }
    }
}

impl SledStore {
    /// A store in `dir`, which need not exist yet. Nothing is touched before the first call.
    pub fn at(dir: impl Into<PathBuf>, durability: Durability) -> Self {
        SledStore { dir: dir.into(), durability, lock: None, db: None, moved: 0, known: None, stuck: None }
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
            self.moved = 0;
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

    /// So much was read or written: closes it when that is enough. The next who needs it opens it anew.
    fn close_after(&mut self, bytes: u64) {
        self.moved += bytes;
        if self.moved >= REOPEN_BYTES {
            self.close();
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

    /// Reads everything, chunk by chunk. Chunks prove themselves to who takes them in.
    fn read(&mut self, restore: &mut dyn Restore) -> Result<Option<Meta>, Fault> {
        self.known = None;
        let Some(manifest) = self.manifest()? else {
            self.known = Some(Known::default());
            return Ok(None);
        };
        let db = self.open()?;
        let meta = manifest.meta(text(db, &manifest.rules)?, text(db, &manifest.words)?);
        restore.begin(&meta)?;
        let mut read = 0;
        for ListedChunk { line, sum } in &manifest.chunks {
            let number = line.number;
            let block =
                get(db, &chunk_prefix(number))?.ok_or_else(|| format!("chunk {number} is missing"))?;
            let (found, _) = chunk::verify(Kind::Chunk, u64::from(number), &block)?;
            if found != *sum {
                return Err(Fault::Damaged(format!("chunk {number} is of another checkpoint")));
            }
            restore.chunk(line, &block)?;
            read += block.len() as u64;
        }
        let mut known = Known::of(&manifest);
        known.strays = chunks_there(db)?;
        known.strays.retain(|number| !known.chunks.contains_key(number));
        self.known = Some(known);
        self.close_after(read);
        Ok(Some(meta))
    }

    /// Makes sure that sled is open and holds what we believe it holds.
    fn ready(&mut self) -> Result<(), Fault> {
        if self.db.is_some() && self.known.is_some() {
            return Ok(());
        }
        let manifest = self.manifest()?;
        let on_disk = manifest.as_ref().map_or(0, |manifest| manifest.generation);
        let acknowledged = self.known.as_ref().map(|known| known.generation);
        match acknowledged {
            Some(acknowledged) if acknowledged == on_disk => Ok(()),
            Some(acknowledged) if acknowledged + 1 != on_disk => Err(Fault::Damaged(format!(
                "checkpoint {acknowledged} was written and checkpoint {on_disk} is there"
            ))),
            // The commit that failed arrived after all, and is as good as any; or nobody asked yet what is there.
            _ => {
                let strays = chunks_there(self.open()?)?;
                let mut known = manifest.as_ref().map(Known::of).unwrap_or_default();
                known.strays = strays.into_iter().filter(|chunk| !known.chunks.contains_key(chunk)).collect();
                self.known = Some(known);
                Ok(())
            }
        }
    }

    fn write(&mut self, checkpoint: &Checkpoint) -> Result<Committed, Fault> {
        self.ready().map_err(Fault::while_reading)?;
        let known = self.known.as_ref().expect("ready knows what is there");
        let is_there = |number| {
            known.chunks.contains_key(&number) || checkpoint.new.iter().any(|new| new.number == number)
        };
        if let Some(line) = checkpoint.chunks.iter().find(|line| !is_there(line.number)) {
            return Err(Fault::Damaged(format!("chunk {} should be there and is not", line.number)));
        }
        self.write_all(checkpoint).map_err(Fault::while_writing)
    }

    fn write_all(&mut self, checkpoint: &Checkpoint) -> Result<Committed, Fault> {
        let (Some(db), Some(known)) = (&self.db, &mut self.known) else {
            unreachable!("ready opens the store and knows what is in it")
        };
        let mut writing = Writing { db, batch: sled::Batch::default(), batched: 0, bytes: 0 };
        let mut sums = known.chunks.clone();
        for new in &checkpoint.new {
            let sealed = new.sealed()?;
            // Noted before it is written: whatever happens next, it may be there.
            known.strays.insert(new.number);
            sums.insert(new.number, sealed.sum);
            writing.put(&chunk_prefix(new.number), &sealed.bytes)?;
            if writing.batched >= BATCH_BYTES {
                writing.apply()?;
            }
        }
        let manifest = manifest(known.generation + 1, checkpoint, &sums);
        writing.put(MANIFEST_PREFIX, &manifest.seal()?.bytes)?;
        for (sum, text) in
            [(manifest.rules, &checkpoint.meta.rules), (manifest.words, &checkpoint.meta.words)]
        {
            if !known.texts.contains(&sum) {
                writing.put(&text_prefix(&sum), &chunk::seal(Kind::Text, text)?.bytes)?;
            }
        }
        let next = Known::of(&manifest);
        for old in known.texts.iter().filter(|old| !next.texts.contains(old)) {
            writing.put(&text_prefix(old), &[])?;
        }
        let old = known.chunks.keys().chain(&known.strays).filter(|old| !next.chunks.contains_key(old));
        for number in old.copied().collect::<BTreeSet<u32>>() {
            writing.put(&chunk_prefix(number), &[])?;
        }
        writing.apply()?;
        crash_point!(AfterStoreFlush);
        if self.durability == Durability::Power {
            force_to_disk(&self.dir)?;
        }
        crash_point!(AfterSync);
        if known.generation == 0 {
            File::create(self.dir.join(COMMITTED_FILE))?.sync_all()?;
        }
        let (bytes, chunks, written) = (writing.bytes, next.chunks.len(), checkpoint.new.len());
        *known = next;
        let keys =
            checkpoint.chunks.iter().flat_map(|line| &line.current).map(|byte| byte.count_ones() as usize);
        Ok(Committed { bytes, chunks, keys: keys.sum(), written, duration: Duration::ZERO })
    }
}

impl CheckpointStore for SledStore {
    fn load(&mut self, restore: &mut dyn Restore) -> Result<Loaded, StoreError> {
        self.close();
        match self.read(restore) {
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
            Ok(done) => {
                self.close_after(done.bytes);
                Ok(Committed { duration: started.elapsed(), ..done })
            }
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

    fn clear(&mut self, log_id: Option<&str>) -> Result<(), StoreError> {
        self.close();
        self.take_place().map_err(|fault| fault.into_error("clear", &self.dir))?;
        let noted = log_id.map_or(Ok(()), |log_id| directory::note_cleared(&self.dir, log_id));
        let aside = noted.and_then(|()| match self.dir.exists() {
            true => directory::put_aside(&self.dir),
            false => Ok(()),
        });
        aside.map_err(|why| Fault::Io(why).into_error("clear", &self.dir))?;
        self.stuck = None;
        self.known = Some(Known::default());
        Ok(())
    }

    fn cleared(&mut self) -> Result<Option<String>, StoreError> {
        directory::cleared(&self.dir).map_err(|why| Fault::Io(why).into_error("load", &self.dir))
    }
}

impl Drop for SledStore {
    fn drop(&mut self) {
        self.close();
    }
}

/// What goes to sled, batch by batch.
struct Writing<'d> {
    db: &'d sled::Db,
    batch: sled::Batch,
    /// Bytes in the batch.
    batched: usize,
    /// Bytes in all.
    bytes: u64,
}

impl Writing<'_> {
    /// Puts `block` under `prefix`; an empty one removes what is there.
    fn put(&mut self, prefix: &[u8], block: &[u8]) -> Result<(), Fault> {
        self.batched += block.len();
        self.bytes += block.len() as u64;
        replace(self.db, &mut self.batch, prefix, block)
    }

    /// Writes the batch, all of it or nothing.
    fn apply(&mut self) -> Result<(), Fault> {
        let (db, batch) = (self.db.clone(), std::mem::take(&mut self.batch));
        self.batched = 0;
        crash_point!(BeforeBatch);
        within(COMMIT_LIMIT, "writing", move || {
            guarded(|| db.apply_batch(batch))?;
            crash_point!(AfterBatch);
            guarded(|| db.flush())
        })?;
        Ok(())
    }
}

fn manifest(generation: u64, checkpoint: &Checkpoint, sums: &BTreeMap<u32, Sum>) -> Manifest {
    let meta = &checkpoint.meta;
    let listed = checkpoint.chunks.iter().map(|line| {
        let sum = *sums.get(&line.number).expect("known before, or written just now");
        ListedChunk { line: line.clone(), sum }
    });
    Manifest {
        generation,
        format: meta.format,
        log_id: meta.log_id.clone(),
        seq: meta.seq,
        log_time: meta.log_time,
        rules: *blake3::hash(&meta.rules).as_bytes(),
        words: *blake3::hash(&meta.words).as_bytes(),
        extra: meta.extra.clone(),
        next_chunk: meta.next_chunk,
        chunks: listed.collect(),
    }
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

/// The text of a hash.
fn text(db: &sled::Db, sum: &Sum) -> Result<Vec<u8>, Fault> {
    let block = get(db, &text_prefix(sum))?.ok_or_else(|| "a text of the manifest is missing".to_owned())?;
    let (_, text) = chunk::unseal(Kind::Text, 0, &block)?;
    if *blake3::hash(&text).as_bytes() == *sum {
        Ok(text)
    } else {
        Err(Fault::Damaged("a text of the manifest is another one".to_owned()))
    }
}

/// The numbers of all chunks there are, named by a manifest or not.
fn chunks_there(db: &sled::Db) -> Result<BTreeSet<u32>, Fault> {
    let keys = guarded(|| db.scan_prefix(b"c").keys().collect::<sled::Result<Vec<_>>>())?;
    let number = |key: &sled::IVec| key.get(1..5)?.try_into().ok().map(u32::from_be_bytes);
    Ok(keys.iter().filter_map(number).collect())
}

fn chunk_prefix(number: u32) -> [u8; 5] {
    let [a, b, c, d] = number.to_be_bytes();
    [b'c', a, b, c, d]
}

fn text_prefix(hash: &Sum) -> Vec<u8> {
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
#[path = "sled_store_tests.rs"]
mod tests;
