//! A disk that is really full: a small tmpfs, where mounting is allowed.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::fixtures::{Collected, chunk};
use super::*;

/// A mounted tmpfs; unmounted when dropped.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount(size: &str) -> Option<Self> {
        let at = tempfile::tempdir().expect("a temporary directory");
        let options = format!("size={size}");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", &options, "none"]).arg(at.path()).output();
        match mounted {
            Ok(output) if output.status.success() => Some(SmallDisk(at)),
            _ => None,
        }
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("-l").arg(self.path()).status();
        assert!(unmounted.is_ok_and(|status| status.success()), "{} stays mounted", self.path().display());
    }
}

/// A chunk of states that all hold `round`, and do not compress.
fn checkpoint(round: u64) -> Checkpoint {
    let states = (0..2_000u64).map(|number| {
        let mut state = vec![0; 1_000];
        blake3::Hasher::new()
            .update(&[round as u8])
            .update(&number.to_le_bytes())
            .finalize_xof()
            .fill(&mut state);
        state[..8].copy_from_slice(&round.to_le_bytes());
        state
    });
    let (line, new) = chunk(round as u32, states, |_| true);
    Checkpoint { meta: Meta { seq: round, ..Meta::default() }, chunks: vec![line], new: vec![new] }
}

/// The round that all states hold.
fn round(store: &mut SledStore) -> u64 {
    let mut found = Collected::default();
    let loaded = store.load(&mut found);
    let Ok(Loaded::Found(meta)) = loaded else { panic!("{loaded:?}") };
    let rounds = found
        .0
        .values()
        .flatten()
        .map(|state| u64::from_le_bytes(*state.first_chunk().expect("begins with its round")));
    assert!(found.states() == 2_000 && rounds.into_iter().all(|round| round == meta.seq), "{meta:?}");
    meta.seq
}

#[test]
fn a_full_disk_costs_a_checkpoint_and_nothing_else() {
    let Some(disk) = SmallDisk::mount("160m") else {
        println!("skipped: mounting a small disk is not allowed here");
        return;
    };
    let ballast = disk.path().join("ballast");
    fs::write(&ballast, vec![1; 120 << 20]).expect("fits");
    let dir = disk.path().join("checkpoint");
    let mut store = SledStore::at(&dir, Durability::Power);

    let mut written = 0;
    let full = loop {
        match store.commit(&checkpoint(written + 1)) {
            Ok(_) => written += 1,
            Err(why) => break why,
        }
        assert!(written < 50, "the disk never became full");
    };
    assert!(matches!(full, StoreError::Full { .. }), "{full}");
    assert!(written > 0, "not even one checkpoint fitted");

    // Again and again while it is full: the same answer, and never a worse one. A try may free enough to succeed.
    let mut last = written + 1;
    for _ in 0..10 {
        last += 1;
        match store.commit(&checkpoint(last)) {
            Ok(_) => written = last,
            Err(why) => assert!(matches!(why, StoreError::Full { .. }), "{why}"),
        }
    }

    fs::remove_file(&ballast).expect("ours");
    assert!(round(&mut store) >= written);
    for _ in 0..20 {
        last += 1;
        store.commit(&checkpoint(last)).expect("there is room again");
    }
    drop(store);
    assert_eq!(round(&mut SledStore::at(&dir, Durability::Power)), last);
}

#[test]
fn commits_go_on_after_a_full_disk_without_loading() {
    let Some(disk) = SmallDisk::mount("160m") else {
        println!("skipped: mounting a small disk is not allowed here");
        return;
    };
    let dir = disk.path().join("checkpoint");
    let ballast = disk.path().join("ballast");
    let mut store = SledStore::at(&dir, Durability::Kill);
    let mut full = 0;
    for last in 1..40 {
        // Full in every fourth round, and freed in the round after.
        if last % 4 == 0 {
            let mut bytes = 160 << 20;
            while bytes > 4_096 {
                let _ = fs::OpenOptions::new()
                    .create(true)
                    .append(true)
                    .open(&ballast)
                    .and_then(|mut file| std::io::Write::write_all(&mut file, &vec![1; bytes]));
                bytes /= 2;
            }
        }
        let committed = store.commit(&checkpoint(last));
        let _ = fs::remove_file(&ballast);
        match committed {
            // Loading now and then only, so that most commits follow a fault directly.
            Ok(_) if last % 5 == 0 => assert_eq!(round(&mut store), last),
            Ok(_) => {}
            Err(why) => {
                assert!(last % 4 == 0 && matches!(why, StoreError::Full { .. }), "round {last}: {why}");
                full += 1;
            }
        }
    }
    assert!(full > 0, "the disk never became full");
}
