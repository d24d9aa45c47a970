//! A store that is reopened, starved, damaged and contested.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

use sightline_schemas::EventTime;
use tempfile::TempDir;

use super::*;

fn key(number: u64) -> StoredKey {
    // Spread, as hashes would be.
    StoredKey(*blake3::hash(&number.to_le_bytes()).as_bytes().first_chunk().expect("32 bytes"))
}

fn meta(seq: u64) -> Meta {
    Meta {
        format: 1,
        log_id: "EVENTS@1".to_owned(),
        seq,
        log_time: EventTime::from_micros(seq as i64 * 1_000),
        rules: b"rules: []".to_vec(),
        extra: BTreeMap::from([("partitions".to_owned(), vec![4])]),
    }
}

/// A commit at `seq` in which keys `from..to` get `value`.
fn checkpoint(seq: u64, keys: std::ops::Range<u64>, value: &[u8]) -> Checkpoint {
    Checkpoint { meta: meta(seq), changed: keys.map(|number| (key(number), Some(value.to_vec()))).collect() }
}

fn load(store: &mut SledStore) -> (Loaded, HashMap<StoredKey, Vec<u8>>) {
    let mut found = HashMap::new();
    let loaded = store.load(&mut |key, value| {
        found.insert(key, value.to_vec());
        Ok(())
    });
    (loaded.expect("the place can be used"), found)
}

fn reopened(dir: &Path) -> SledStore {
    SledStore::at(dir, Durability::Kill)
}

/// A directory with two commits: keys 0..3000 at 7, of which 0..1000 again at 9 and key 2999 gone.
fn filled() -> (TempDir, PathBuf) {
    let home = tempfile::tempdir().expect("a temporary directory");
    let dir = home.path().join("checkpoint");
    let mut store = SledStore::at(&dir, Durability::Power);
    assert_eq!(load(&mut store).0, Loaded::Empty);
    // Hardly compressible, so that blocks are cut into pieces as they are in earnest.
    let mut first = checkpoint(7, 0..3_000, &[0; 288]);
    for (key, value) in &mut first.changed {
        blake3::Hasher::new().update(&key.0).finalize_xof().fill(value.as_mut().expect("all are set"));
    }
    store.commit(&first).expect("there is room");
    let mut second = checkpoint(9, 0..1_000, b"new");
    second.changed.push((key(2_999), None));
    let done = store.commit(&second).expect("there is room");
    assert_eq!((done.keys, done.chunks), (2_999, 2));
    (home, dir)
}

#[test]
fn what_was_committed_is_found_again() {
    let (_home, dir) = filled();
    let mut store = reopened(&dir);
    let (loaded, found) = load(&mut store);
    assert_eq!(loaded, Loaded::Found(meta(9)));
    assert_eq!(found.len(), 2_999);
    assert_eq!(found[&key(999)], b"new");
    assert_eq!(found[&key(1_000)].len(), 288);
    assert!(!found.contains_key(&key(2_999)));
    // And again by the same store, after more commits, one of them without changes.
    store.commit(&checkpoint(10, 5..6, b"newer")).expect("there is room");
    store.commit(&checkpoint(11, 0..0, b"")).expect("there is room");
    let (loaded, found) = load(&mut store);
    assert_eq!(loaded, Loaded::Found(meta(11)));
    assert_eq!(found[&key(5)], b"newer");
}

#[test]
fn commits_without_loading_first_build_on_what_is_there() {
    let (_home, dir) = filled();
    reopened(&dir).commit(&checkpoint(12, 0..1, b"newest")).expect("there is room");
    let (loaded, found) = load(&mut reopened(&dir));
    assert_eq!((loaded, found.len()), (Loaded::Found(meta(12)), 2_999));
}

#[test]
fn new_rules_replace_the_old_ones_and_same_rules_are_not_written_again() {
    let (_home, dir) = filled();
    let mut store = reopened(&dir);
    load(&mut store);
    let mut changed_rules = checkpoint(10, 0..0, b"");
    changed_rules.meta.rules =
        (0..20_000u32).flat_map(|n| *blake3::hash(&n.to_le_bytes()).as_bytes()).collect();
    let first = store.commit(&changed_rules).expect("there is room");
    let second = store.commit(&changed_rules).expect("there is room");
    assert!(first.bytes > 600_000 && second.bytes < 10_000, "{} then {}", first.bytes, second.bytes);
    assert_eq!(load(&mut store).0, Loaded::Found(changed_rules.meta));
}

#[test]
fn a_value_that_the_caller_cannot_decode_is_damage() {
    let (_home, dir) = filled();
    let loaded = reopened(&dir).load(&mut |_, _| Err("unknown version 3".to_owned())).expect("usable");
    assert!(matches!(&loaded, Loaded::Damaged(why) if why.ends_with("unknown version 3")), "{loaded:?}");
}

#[test]
fn a_second_store_on_the_same_directory_is_refused() {
    let (_home, dir) = filled();
    let mut first = reopened(&dir);
    load(&mut first);
    let mut second = reopened(&dir);
    let refused = second.load(&mut |_, _| Ok(())).expect_err("the first has it");
    assert!(matches!(refused, StoreError::InUse { .. }), "{refused}");
    assert!(matches!(second.commit(&checkpoint(1, 0..1, b"")), Err(StoreError::InUse { .. })));
    assert!(matches!(second.clear(), Err(StoreError::InUse { .. })));
    // Undisturbed, and free once the first is gone.
    first.commit(&checkpoint(13, 0..1, b"mine")).expect("there is room");
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
        Loaded::Found(found_meta) if found_meta.seq == 7 => assert_eq!(found.len(), 3_000, "{what}"),
        Loaded::Found(found_meta) => {
            assert_eq!((found_meta, found.len()), (meta(9), 2_999), "{what}");
            assert_eq!(found[&key(0)], b"new", "{what}");
        }
        Loaded::Empty => panic!("{what}: damage was taken for a new store"),
        Loaded::Damaged(_) => {
            // And it can be begun anew.
            store.clear().expect("can be put aside");
            store.commit(&checkpoint(20, 0..10, b"again")).expect("there is room");
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
        store.clear().expect("can be put aside");
        assert_eq!(load(&mut store).0, Loaded::Empty, "round {round}");
        store.commit(&checkpoint(round, 0..5, b"x")).expect("there is room");
    }
    let mut names: Vec<_> = fs::read_dir(home.path())
        .expect("readable")
        .map(|entry| entry.expect("readable").file_name().into_string().expect("ours"))
        .collect();
    names.sort();
    assert_eq!(names, ["checkpoint", "checkpoint.damaged-3", "checkpoint.lock"]);
}

#[test]
fn a_directory_that_is_none_is_an_error_and_no_damage() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let dir = home.path().join("file").join("checkpoint");
    fs::write(home.path().join("file"), b"").expect("writable");
    let refused = reopened(&dir).load(&mut |_, _| Ok(())).expect_err("no directory can be made there");
    assert!(matches!(refused, StoreError::Io { .. }), "{refused}");
}
