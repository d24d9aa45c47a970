//! Rolling against an obvious oracle: a map of keys, and chunks kept in another.

use std::collections::{BTreeMap, HashMap};

use proptest::prelude::*;

use super::*;
use crate::state::chunk::unseal;

/// Chunks as a disk would keep them.
#[derive(Clone, Default)]
struct Disk(BTreeMap<u32, Vec<u8>>);

impl Disk {
    fn read(&self, number: u32, sum: &Sum) -> std::io::Result<Vec<u8>> {
        let (found, raw) = unseal(Kind::Chunk, u64::from(number), &self.0[&number]).expect("as sealed");
        assert_eq!(found, *sum);
        Ok(raw)
    }

    fn apply(&mut self, rolled: Rolled) {
        self.0.extend(rolled.written);
        for number in rolled.removed {
            self.0.remove(&number).expect("removed chunks were there");
        }
    }

    /// What a start from this disk would find.
    fn load(&self, chunks: &Chunks) -> HashMap<StoredKey, Vec<u8>> {
        let listed = chunks.list();
        assert_eq!(listed.len(), self.0.len(), "as many chunks on disk as are listed");
        let mut fresh = Chunks::with_room(chunks.next, &listed);
        let mut found = HashMap::new();
        for chunk in &listed {
            let raw = self.read(chunk.number, &chunk.sum).expect("as sealed");
            let mut each = |key, value: &[u8]| {
                found.insert(key, value.to_vec());
                Ok(())
            };
            fresh.adopt(chunk, &raw, &mut each).expect("as listed");
        }
        assert_eq!(&fresh, chunks, "a start finds what the run before knew");
        found
    }
}

fn key(number: u32) -> StoredKey {
    StoredKey(u128::from(number).to_le_bytes())
}

/// Changes of one commit: key number, and length of its value or none where it goes.
type Step = Vec<(u32, Option<usize>)>;

fn steps() -> impl Strategy<Value = Vec<(Step, bool)>> {
    let value = prop_oneof![1 => Just(None), 4 => (0usize..2_000_000).prop_map(Some)];
    prop::collection::vec((prop::collection::vec((0u32..40, value), 0..12), any::<bool>()), 1..20)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn a_start_finds_the_newest_value_of_each_key(steps in steps()) {
        let (mut chunks, mut disk, mut oracle) = (Chunks::default(), Disk::default(), HashMap::new());
        for (round, (step, reaches_disk)) in steps.into_iter().enumerate() {
            let changed: Vec<_> = step
                .into_iter()
                .map(|(number, bytes)| (key(number), bytes.map(|bytes| vec![round as u8; bytes])))
                .collect();
            let before = chunks.clone();
            let rolled = chunks.roll(&changed, &mut |number, sum| disk.read(number, sum)).expect("readable");
            if !reaches_disk {
                chunks.undo(rolled);
                prop_assert_eq!(&chunks.list(), &before.list());
                prop_assert_eq!(&chunks.index, &before.index);
                continue;
            }
            disk.apply(rolled);
            for (key, value) in changed {
                match value {
                    Some(value) => oracle.insert(key, value),
                    None => oracle.remove(&key),
                };
            }
            prop_assert!(disk.load(&chunks) == oracle, "round {}", round);
        }
    }
}

/// Commits and gives how many entries were carried.
fn commit(chunks: &mut Chunks, disk: &mut Disk, changed: &[(StoredKey, Option<Vec<u8>>)]) -> usize {
    let rolled = chunks.roll(changed, &mut |number, sum| disk.read(number, sum)).expect("readable");
    let carried = rolled.carried;
    disk.apply(rolled);
    carried
}

fn raw_bytes(chunks: &Chunks) -> u64 {
    chunks.live.values().map(|info| u64::from(info.raw_bytes)).sum()
}

#[test]
fn a_few_busy_keys_among_many_resting_ones_do_not_rewrite_the_resting_ones() {
    let (mut chunks, mut disk) = (Chunks::default(), Disk::default());
    let resting: Vec<_> = (0..40_000).map(|number| (key(number), Some(vec![1; 500]))).collect();
    commit(&mut chunks, &mut disk, &resting);
    let mut carried = 0;
    for round in 0..40u8 {
        let busy: Vec<_> = (50_000..54_000).map(|number| (key(number), Some(vec![round; 500]))).collect();
        carried += commit(&mut chunks, &mut disk, &busy);
    }
    assert_eq!(carried, 0, "whole chunks of busy keys become waste, none has to be read");
    assert_eq!(disk.load(&chunks).len(), 44_000);
}

#[test]
fn disk_stays_within_twice_the_content() {
    let (mut chunks, mut disk) = (Chunks::default(), Disk::default());
    let all: Vec<_> = (0..50_000).map(|number| (key(number), Some(vec![0; 1_000]))).collect();
    commit(&mut chunks, &mut disk, &all);
    let content = raw_bytes(&chunks);
    let (mut carried, mut added) = (0, 0);
    for round in 1..100u32 {
        // A fixed walk that touches keys unevenly, as chance would.
        let touched = (0..2_000u32)
            .map(|step| (step.wrapping_mul(2_654_435_761).wrapping_add(round * 40_503)) % 50_000);
        let changed: Vec<_> = touched.map(|number| (key(number), Some(vec![round as u8; 1_000]))).collect();
        added += changed.len();
        carried += commit(&mut chunks, &mut disk, &changed);
        let most = 2 * content + WASTE_FLOOR_RAW_BYTES + CHUNK_RAW_BYTES as u64;
        assert!(raw_bytes(&chunks) <= most, "round {round}: {} of {most}", raw_bytes(&chunks));
    }
    assert!(carried < 2 * added, "{carried} entries were carried for {added} that changed");
}

#[test]
fn keys_that_come_and_go_leave_nothing_behind() {
    let (mut chunks, mut disk) = (Chunks::default(), Disk::default());
    for round in 0..200u32 {
        let come = (0..50).map(|number| (key(round * 50 + number), Some(vec![7; 100])));
        let gone = (0..50).map(|number| (key(round.wrapping_sub(1).wrapping_mul(50) + number), None));
        let changed: Vec<_> = come.chain(gone).collect();
        commit(&mut chunks, &mut disk, &changed);
        assert!(chunks.chunks() <= 2, "round {round}: {} chunks", chunks.chunks());
    }
    assert_eq!(disk.load(&chunks).len(), 50);
}

#[test]
fn many_small_commits_do_not_make_many_chunks() {
    let (mut chunks, mut disk) = (Chunks::default(), Disk::default());
    for round in 0..2_000u32 {
        commit(&mut chunks, &mut disk, &[(key(round), Some(vec![7; 100]))]);
        assert!(chunks.chunks() as u64 <= CHUNKS_FLOOR + 1, "round {round}: {} chunks", chunks.chunks());
    }
    assert_eq!(disk.load(&chunks).len(), 2_000);
}
