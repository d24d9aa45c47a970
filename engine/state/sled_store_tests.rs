//! A sled that hangs, falls back, or holds whole blocks that nobody meant.

use super::*;

fn checkpoint(seq: u64) -> Checkpoint {
    Checkpoint { meta: Meta { seq, ..Meta::default() }, ..Checkpoint::default() }
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
    assert!(matches!(store.load(&mut ()), Ok(Loaded::Damaged(_))));
    store.clear(None).expect("a directory can be renamed while it is in use");
    store.commit(&checkpoint(3)).expect("there is room");
    assert_eq!(store.load(&mut ()).expect("usable"), Loaded::Found(checkpoint(3).meta));
}

/// Changes what lies in sled, past the store: each of these blocks in the place of what is under its prefix.
fn swap(dir: &Path, blocks: &[(&[u8], Vec<u8>)]) {
    let db = open_patiently(dir).expect("nobody else has it");
    let mut batch = sled::Batch::default();
    for (prefix, block) in blocks {
        replace(&db, &mut batch, prefix, block).expect("writable");
    }
    db.apply_batch(batch).expect("writable");
    db.flush().expect("writable");
}

/// Each block proves that it is whole, and the manifest that it is the one that was meant.
#[test]
fn a_whole_block_that_the_manifest_does_not_mean_is_damage() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let dir = home.path().join("checkpoint");
    let (line, new) = crate::state::fixtures::chunk(3, [b"one".to_vec()], |_| true);
    let (_, other) = crate::state::fixtures::chunk(3, [b"two".to_vec()], |_| true);
    let rules = b"rules: []".to_vec();
    let prefix = text_prefix(blake3::hash(&rules).as_bytes());
    let meta = Meta { seq: 1, rules: rules.clone(), ..Meta::default() };
    let whole = Checkpoint { meta: meta.clone(), chunks: vec![line], new: vec![new] };
    let mut store = SledStore::at(&dir, Durability::Kill);
    store.commit(&whole).expect("there is room");
    store.close();
    let sealed = |text: &[u8]| chunk::seal(Kind::Text, text).expect("in memory").bytes;

    swap(&dir, &[(&prefix, sealed(b"rules: [x]"))]);
    let loaded = store.load(&mut ()).expect("usable");
    assert_eq!(loaded, Loaded::Damaged("a text of the manifest is another one".to_owned()));
    swap(&dir, &[(&prefix, sealed(&rules)), (&chunk_prefix(3), other.sealed().expect("in memory").bytes)]);
    let loaded = store.load(&mut ()).expect("usable");
    assert_eq!(loaded, Loaded::Damaged("chunk 3 is of another checkpoint".to_owned()));
    swap(&dir, &[(&chunk_prefix(3), whole.new[0].sealed().expect("in memory").bytes)]);
    assert_eq!(store.load(&mut ()).expect("usable"), Loaded::Found(meta));
}

#[test]
fn a_store_that_fell_back_behind_what_was_acknowledged_is_not_built_upon() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let dir = home.path().join("checkpoint");
    let mut store = SledStore::at(&dir, Durability::Kill);
    store.commit(&checkpoint(1)).expect("there is room");
    let first = get(store.open().expect("open"), MANIFEST_PREFIX).expect("readable").expect("there");
    store.commit(&checkpoint(2)).expect("there is room");
    store.commit(&checkpoint(3)).expect("there is room");
    store.close();
    swap(&dir, &[(MANIFEST_PREFIX, first)]);
    let refused = store.commit(&checkpoint(4)).expect_err("two of them are gone");
    assert!(refused.to_string().contains("checkpoint 3 was written and checkpoint 1 is there"), "{refused}");
}

#[test]
fn a_full_leaf_fits_into_the_log() {
    let leaf = 20 * (PIECE_BYTES + 64);
    assert!(leaf < SEGMENT_BYTES / 4 - 64, "{leaf} bytes would become a file of its own");
}
