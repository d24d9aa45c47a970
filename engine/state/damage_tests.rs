//! A store that is reopened, starved, damaged and contested.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use sightline_schemas::EventTime;
use tempfile::TempDir;

use super::fixtures::{Collected, chunk};
use super::*;

fn meta(seq: u64) -> Meta {
    Meta {
        format: 1,
        log_id: "EVENTS@1".to_owned(),
        seq,
        log_time: EventTime::from_micros(seq as i64 * 1_000),
        rules: b"rules: []".to_vec(),
        words: b"\x04host".to_vec(),
        next_chunk: 9,
        extra: BTreeMap::from([("partitions".to_owned(), vec![4])]),
    }
}

/// A checkpoint at `seq` of one chunk of that number, with so many times `value`.
fn checkpoint(seq: u64, number: u32, times: usize, value: &[u8]) -> Checkpoint {
    let (line, new) = chunk(number, vec![value.to_vec(); times], |_| true);
    Checkpoint { meta: meta(seq), chunks: vec![line], new: vec![new] }
}

fn load(store: &mut SledStore) -> (Loaded, BTreeMap<u32, Vec<Vec<u8>>>) {
    let mut found = Collected::default();
    let loaded = store.load(&mut found);
    (loaded.expect("the place can be used"), found.0)
}

fn reopened(dir: &Path) -> SledStore {
    SledStore::at(dir, Durability::Kill)
}

/// The state of that number in the first chunk: hardly compressible, so that blocks are cut into pieces as in earnest.
fn state(number: u32) -> Vec<u8> {
    let mut state = vec![0; 288];
    blake3::Hasher::new().update(&number.to_le_bytes()).finalize_xof().fill(&mut state);
    state
}

/// A directory with two commits: a chunk of 3000 states at 7; at 9 another of 1000, and 1001 of the first no longer count.
fn filled() -> (TempDir, PathBuf) {
    let home = tempfile::tempdir().expect("a temporary directory");
    let dir = home.path().join("checkpoint");
    let mut store = SledStore::at(&dir, Durability::Power);
    assert_eq!(load(&mut store).0, Loaded::Empty);
    let (line, new) = chunk(3, (0..3_000).map(state), |_| true);
    let first = Checkpoint { meta: meta(7), chunks: vec![line], new: vec![new] };
    store.commit(&first).expect("there is room");
    let (fewer, _) = chunk(3, (0..3_000).map(state), |number| (1_000..2_999).contains(&number));
    let mut second = checkpoint(9, 4, 1_000, b"new");
    second.chunks.insert(0, fewer);
    let done = store.commit(&second).expect("there is room");
    assert_eq!((done.keys, done.chunks, done.written), (2_999, 2, 1));
    (home, dir)
}

#[test]
fn what_was_committed_is_found_again() {
    let (_home, dir) = filled();
    let mut store = reopened(&dir);
    let (loaded, found) = load(&mut store);
    assert_eq!(loaded, Loaded::Found(meta(9)));
    assert_eq!(found[&3], (1_000..2_999).map(state).collect::<Vec<_>>());
    assert_eq!(found[&4], vec![b"new"; 1_000]);
    // And again by the same store, after more commits, one of them without a new chunk.
    let mut third = checkpoint(10, 5, 1, b"newer");
    let listed = third.chunks.clone();
    store.commit(&third).expect("there is room");
    third = Checkpoint { meta: meta(11), chunks: listed, new: Vec::new() };
    store.commit(&third).expect("there is room");
    let (loaded, found) = load(&mut store);
    assert_eq!((loaded, found), (Loaded::Found(meta(11)), BTreeMap::from([(5, vec![b"newer".to_vec()])])));
}

#[test]
fn commits_without_loading_first_build_on_what_is_there() {
    let (_home, dir) = filled();
    let (line, _) = chunk(3, (0..3_000).map(state), |number| number < 10);
    let mut third = checkpoint(12, 5, 1, b"newest");
    third.chunks.push(line);
    reopened(&dir).commit(&third).expect("there is room");
    let (loaded, found) = load(&mut reopened(&dir));
    assert_eq!((loaded, found[&3].len(), found[&5].len()), (Loaded::Found(meta(12)), 10, 1));
}

#[test]
fn a_chunk_that_is_listed_and_not_there_is_damage() {
    let (_home, dir) = filled();
    let mut odd = checkpoint(12, 5, 1, b"newest");
    odd.chunks.push(ChunkLine { number: 8, entries: 1, current: vec![1] });
    let refused = reopened(&dir).commit(&odd).expect_err("nobody wrote chunk 8");
    assert!(matches!(refused, StoreError::Damaged { .. }), "{refused}");
    assert_eq!(load(&mut reopened(&dir)).0, Loaded::Found(meta(9)));
}

#[test]
fn new_rules_replace_the_old_ones_and_same_rules_are_not_written_again() {
    let (_home, dir) = filled();
    let mut store = reopened(&dir);
    load(&mut store);
    let mut changed_rules = checkpoint(10, 4, 1, b"x");
    changed_rules.meta.rules =
        (0..20_000u32).flat_map(|n| *blake3::hash(&n.to_le_bytes()).as_bytes()).collect();
    let first = store.commit(&changed_rules).expect("there is room");
    let second = store.commit(&changed_rules).expect("there is room");
    assert!(first.bytes > 600_000 && second.bytes < 10_000, "{} then {}", first.bytes, second.bytes);
    assert_eq!(load(&mut store).0, Loaded::Found(changed_rules.meta));
}

struct Fussy;

impl Restore for Fussy {
    fn begin(&mut self, _: &Meta) -> Result<(), String> {
        Ok(())
    }

    fn chunk(&mut self, _: &ChunkLine, _: &[u8]) -> Result<(), String> {
        Err("unknown version 3".to_owned())
    }
}

#[test]
fn a_chunk_that_the_caller_cannot_read_is_damage() {
    let (_home, dir) = filled();
    let loaded = reopened(&dir).load(&mut Fussy).expect("usable");
    assert!(matches!(&loaded, Loaded::Damaged(why) if why.ends_with("unknown version 3")), "{loaded:?}");
}

#[test]
fn a_second_store_on_the_same_directory_is_refused() {
    let (_home, dir) = filled();
    let mut first = reopened(&dir);
    load(&mut first);
    let mut second = reopened(&dir);
    let refused = second.load(&mut ()).expect_err("the first has it");
    assert!(matches!(refused, StoreError::InUse { .. }), "{refused}");
    assert!(matches!(second.commit(&checkpoint(1, 0, 1, b"")), Err(StoreError::InUse { .. })));
    assert!(matches!(second.clear(None), Err(StoreError::InUse { .. })));
    // Undisturbed, and free once the first is gone.
    first.commit(&checkpoint(13, 5, 1, b"mine")).expect("there is room");
    drop(first);
    assert_eq!(load(&mut second).0, Loaded::Found(meta(13)));
}

#[test]
fn a_leftover_of_a_crash_while_opening_does_no_harm() {
    let (_home, dir) = filled();
    fs::write(dir.join("snap.0000000000000FFF.generating"), b"half").expect("writable");
    assert_eq!(load(&mut reopened(&dir)).0, Loaded::Found(meta(9)));
}

/// Every regular file of the store.
fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = Vec::new();
    for entry in fs::read_dir(dir).expect("readable") {
        let path = entry.expect("readable").path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

/// Loading must give a checkpoint that was committed, whole, or say that there is damage. Gives whether it said so.
fn is_whole_or_damaged(dir: &Path, what: &str) -> bool {
    let mut store = reopened(dir);
    let (loaded, found) = load(&mut store);
    match loaded {
        // sled may fall back to the commit before; that is a checkpoint like any other.
        Loaded::Found(found_meta) if found_meta.seq == 7 => assert_eq!(found[&3].len(), 3_000, "{what}"),
        Loaded::Found(found_meta) => {
            assert_eq!((found_meta, found[&3].len()), (meta(9), 1_999), "{what}");
            assert_eq!(found[&4], vec![b"new"; 1_000], "{what}");
        }
        Loaded::Empty => panic!("{what}: damage was taken for a new store"),
        Loaded::Damaged(_) => {
            // And it can be begun anew.
            store.clear(None).expect("can be put aside");
            store.commit(&checkpoint(20, 0, 10, b"again")).expect("there is room");
            assert_eq!(load(&mut store).0, Loaded::Found(meta(20)), "{what}");
            return true;
        }
    }
    false
}

#[test]
fn damaged_files_are_noticed() {
    let (home, dir) = filled();
    let mut noticed = 0;
    let names = files(&dir);
    assert!(!names.iter().any(|path| path.parent().is_some_and(|parent| parent.ends_with("blobs"))));
    for path in &names {
        let name = path.strip_prefix(&dir).expect("inside");
        let bytes = fs::read(path).expect("readable");
        for (number, damage) in damages(&bytes).into_iter().enumerate() {
            let copy =
                home.path().join(format!("copy-{number}-{}", name.display().to_string().replace('/', "-")));
            copy_dir(&dir, &copy);
            match damage {
                Some(bytes) => fs::write(copy.join(name), bytes).expect("writable"),
                None => fs::remove_file(copy.join(name)).expect("writable"),
            }
            noticed +=
                usize::from(is_whole_or_damaged(&copy, &format!("{} damaged, way {number}", name.display())));
        }
    }
    assert!(noticed > 8, "only {noticed} of the damages were noticed");
}

/// The file gone, emptied, cut in half, and with a byte flipped in each sixteenth that is not all zero.
fn damages(bytes: &[u8]) -> Vec<Option<Vec<u8>>> {
    let mut ways = vec![None, Some(Vec::new()), Some(bytes[..bytes.len() / 2].to_vec())];
    for part in 0..16 {
        let range = bytes.len() * part / 16..bytes.len() * (part + 1) / 16;
        if let Some(at) = range.clone().find(|&at| bytes[at] != 0) {
            let mut flipped = bytes.to_vec();
            flipped[at + (range.end - at) / 2] ^= 0x10;
            ways.push(Some(flipped));
        }
    }
    ways
}

fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("writable");
    for entry in fs::read_dir(from).expect("readable") {
        let path = entry.expect("readable").path();
        let target = to.join(path.file_name().expect("an entry has a name"));
        if path.is_dir() {
            copy_dir(&path, &target);
        } else {
            fs::copy(&path, &target).expect("writable");
        }
    }
}

#[test]
fn one_damaged_directory_is_kept() {
    let (home, dir) = filled();
    let mut store = reopened(&dir);
    for round in 1..=3 {
        store.clear(None).expect("can be put aside");
        assert_eq!(load(&mut store).0, Loaded::Empty, "round {round}");
        store.commit(&checkpoint(round, 0, 5, b"x")).expect("there is room");
    }
    let mut names: Vec<_> = fs::read_dir(home.path())
        .expect("readable")
        .map(|entry| entry.expect("readable").file_name().into_string().expect("ours"))
        .collect();
    names.sort();
    assert_eq!(names, ["checkpoint", "checkpoint.damaged-3", "checkpoint.lock"]);
}

#[test]
fn what_was_cleared_away_is_known_until_another_takes_its_place() {
    let (_home, dir) = filled();
    let mut store = reopened(&dir);
    assert_eq!(store.cleared().expect("readable"), None);
    store.clear(Some("EVENTS@1")).expect("can be put aside");
    drop(store);
    let mut store = reopened(&dir);
    assert_eq!(load(&mut store).0, Loaded::Empty);
    assert_eq!(store.cleared().expect("readable").as_deref(), Some("EVENTS@1"));
    // Who clears and has nothing to say of the log leaves the note of another.
    store.clear(None).expect("nothing is there");
    assert_eq!(store.cleared().expect("readable").as_deref(), Some("EVENTS@1"));
}

#[test]
fn a_directory_that_is_none_is_an_error_and_no_damage() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let dir = home.path().join("file").join("checkpoint");
    fs::write(home.path().join("file"), b"").expect("writable");
    let refused = reopened(&dir).load(&mut ()).expect_err("no directory can be made there");
    assert!(matches!(refused, StoreError::Io { .. }), "{refused}");
}
