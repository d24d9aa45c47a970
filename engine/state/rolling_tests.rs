//! The table of states against an obvious one: whatever is packed, closed, put on the disk, rolled up, swept or restored.

use proptest::prelude::*;
use sightline_core::rule::RuleSet;

use super::*;
use crate::state::fixtures::{give, hit, log_time, rules, states};
use crate::state::store::Meta;
use crate::state::sweeping::Sweep;
use crate::state::table::StateTable;
use crate::state::{
    Checkpoint, CheckpointStore, ChunkLine, MemoryPlace, MemoryStore, Pace, Restore, Room, Scratch,
};

struct Into<'t>(&'t StateTable);

impl Restore for Into<'_> {
    fn begin(&mut self, meta: &Meta) -> Result<(), String> {
        self.0.begin(meta)
    }

    fn chunk(&mut self, line: &ChunkLine, sealed: &[u8]) -> Result<(), String> {
        self.0.adopt(line, sealed)
    }
}

fn settle(table: &StateTable, rules: &RuleSet, second: i64, sweep: Sweep) {
    table.settle(rules, log_time(second), sweep, &mut |_, _| {});
    // Twice: there are more keys than are looked at in one go.
    for _ in 0..2 {
        table.tidy(rules, log_time(second), Pace::Idle, &mut |_, _| {});
    }
    assert_eq!(table.fault(), None);
}

/// Writes a checkpoint, and gives how many chunks of it were new.
fn commit(table: &StateTable, store: &mut MemoryStore) -> usize {
    let listing = table.listing();
    let meta = Meta { words: listing.words, next_chunk: listing.next_chunk, ..Meta::default() };
    let checkpoint = Checkpoint { meta, chunks: listing.chunks, new: listing.new };
    store.commit(&checkpoint).expect("there is room");
    let numbers: Vec<u32> = checkpoint.chunks.iter().map(|line| line.number).collect();
    table.note_saved(&numbers);
    checkpoint.new.len()
}

fn restored(store: &mut MemoryStore, room: Room) -> StateTable {
    let table = StateTable::new(room, Scratch::in_memory());
    store.load(&mut Into(&table)).expect("usable");
    table
}

fn empty_store() -> MemoryStore {
    let mut store = MemoryPlace::default().store();
    store.load(&mut ()).expect("usable");
    store
}

/// What a step does: hits of keys, and what comes behind them.
type Step = (Vec<(u32, u64, i64)>, u8);

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let hits = prop::collection::vec((0u32..3, 0u64..30, 0i64..20), 0..25);
    prop::collection::vec((hits, 0u8..8), 1..16)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn packing_and_rolling_and_restarting_change_no_state(steps in steps(), tight in any::<bool>()) {
        let rules = rules();
        let room = if tight { Room::none() } else { Room::unlimited() };
        let mut store = empty_store();
        let mut table = StateTable::new(room, Scratch::in_memory());
        let oracle = StateTable::default();
        let mut second = 0;
        for (hits, then) in steps {
            second += 40;
            for (rule, number, later) in hits {
                give(&table, &rules, &hit(rule, number, second + later), second);
                give(&oracle, &rules, &hit(rule, number, second + later), second);
            }
            table.relieve(&rules, log_time(second));
            match then {
                0..3 => {
                    settle(&table, &rules, second, Sweep::Worthwhile);
                    commit(&table, &mut store);
                }
                3 => settle(&table, &rules, second, Sweep::All),
                4 => {
                    settle(&table, &rules, second, Sweep::Worthwhile);
                    commit(&table, &mut store);
                    table = restored(&mut store, room);
                }
                _ => {}
            }
            prop_assert_eq!(table.len(), oracle.len());
            prop_assert!(states(&table) == states(&oracle), "at second {}", second);
            let (found, expected) = (table.census(), oracle.census());
            prop_assert_eq!(found.counts, expected.counts);
            prop_assert_eq!(found.pending, expected.pending);
            prop_assert!(!tight || found.open == 0, "{} states are open", found.open);
        }
    }
}

/// A table of so many keys with a hit each, settled and written.
fn filled(rules: &RuleSet, store: &mut MemoryStore, keys: u64) -> StateTable {
    let table = StateTable::default();
    for number in 0..keys {
        give(&table, rules, &hit(0, number, 0), 0);
    }
    settle(&table, rules, 0, Sweep::Worthwhile);
    commit(&table, store);
    settle(&table, rules, 0, Sweep::Worthwhile);
    assert_eq!(table.census().open, 0, "what nothing touched is closed");
    table
}

#[test]
fn a_checkpoint_writes_what_changed_and_leaves_the_rest_alone() {
    let rules = rules();
    let mut store = empty_store();
    let table = filled(&rules, &mut store, 6_000);
    let chunks = table.listing().chunks.len();
    for round in 1..6 {
        for number in 0..50 {
            give(&table, &rules, &hit(0, number, round), round);
        }
        settle(&table, &rules, round, Sweep::Worthwhile);
        assert_eq!(commit(&table, &mut store), 1, "one small chunk in round {round}");
    }
    assert_eq!(table.listing().chunks.len(), chunks + 1, "of the small ones, the last one counts");
    assert_eq!(restored(&mut store, Room::unlimited()).len(), 6_000);
}

#[test]
fn waste_stays_bounded_when_keys_change_over_and_over() {
    let rules = rules();
    let mut store = empty_store();
    let table = filled(&rules, &mut store, 4_000);
    for round in 1..40u64 {
        // A fixed walk that touches keys unevenly, as chance would.
        for step in 0..600u64 {
            let number = (step * 2_654_435_761 + round * 40_503) % 4_000;
            give(&table, &rules, &hit(0, number, round as i64 * 400), round as i64 * 400);
        }
        settle(&table, &rules, round as i64 * 400, Sweep::Worthwhile);
        commit(&table, &mut store);
        let census = table.census();
        // What counts is 4,000 states of two hits at most.
        let most = 4_000 * 200 * 4 / 3 + WASTE_FLOOR_RAW_BYTES + 2 * CHUNK_RAW_BYTES as u64;
        assert!(census.packed_bytes <= most, "round {round}: {} of {most}", census.packed_bytes);
    }
    assert!(states(&restored(&mut store, Room::none())) == states(&table));
}

#[test]
fn many_small_checkpoints_do_not_make_many_chunks() {
    let rules = rules();
    let mut store = empty_store();
    let table = StateTable::default();
    for number in 0..500 {
        give(&table, &rules, &hit(0, number, 0), 0);
        settle(&table, &rules, 0, Sweep::Worthwhile);
        commit(&table, &mut store);
        let chunks = table.listing().chunks.len() as u64;
        assert!(chunks <= CHUNKS_FLOOR + 4, "{chunks} chunks after {number} checkpoints");
    }
    assert_eq!(restored(&mut store, Room::unlimited()).len(), 500);
}

#[test]
fn idle_keys_leave_without_a_look_at_all_of_them() {
    let rules = rules();
    let table = StateTable::default();
    let idle = rules.settings.idle_micros / 1_000_000;
    for number in 0..4_000 {
        give(&table, &rules, &hit(0, number, 0), 0);
    }
    settle(&table, &rules, 0, Sweep::Worthwhile);
    settle(&table, &rules, 1, Sweep::Worthwhile);
    for number in 0..100 {
        give(&table, &rules, &hit(0, number, idle), idle);
    }
    settle(&table, &rules, idle, Sweep::Worthwhile);
    assert_eq!(table.len(), 4_000, "within the hour that the window and the lateness give");
    settle(&table, &rules, idle + 3_600, Sweep::Worthwhile);
    assert_eq!(table.len(), 100);
    assert_eq!(states(&table).len(), 100);
    assert_eq!(table.census().counts.keys, 100);
}

/// The index keeps 34 bits of a hash beside the shard, of the upper half of a key: so keys that differ in the lower half are
/// the same to it. In a table of some millions chance brings that about.
#[test]
fn a_key_that_the_index_takes_for_another_is_not_the_other() {
    let rules = rules();
    let table = filled(&rules, &mut empty_store(), 1);
    let there = *states(&table).first_key_value().expect("one state").0;
    assert!(table.with_existing(StateKey(there.0 ^ 1), |_| ()).is_none(), "nobody ever heard of that key");
    assert!(table.with_existing(there, |_| ()).is_some());
}

#[test]
fn a_key_that_is_open_is_not_swept_from_under_its_state() {
    let rules = rules();
    let table = StateTable::default();
    let idle = rules.settings.idle_micros / 1_000_000 + 7_200;
    for second in [0, idle] {
        // Packed, and left open: no tidying comes by.
        give(&table, &rules, &hit(0, 1, second), second);
        table.settle(&rules, log_time(second), Sweep::Worthwhile, &mut |_, _| {});
        assert_eq!((table.len(), table.census().open), (1, 1));
        table.settle(&rules, log_time(second + idle - 1), Sweep::Worthwhile, &mut |_, _| {});
    }
    assert_eq!((table.len(), table.fault()), (1, None));
}

#[test]
fn a_chunk_that_is_not_as_its_line_says_is_not_taken_in() {
    let rules = rules();
    let listing = filled(&rules, &mut empty_store(), 20).listing();
    let [line] = &listing.chunks[..] else { panic!("one chunk holds twenty states") };
    let table = filled(&rules, &mut empty_store(), 20);
    let whole = table.shelf().raw(1).expect("it is in memory");
    let sealed = crate::state::chunk::seal_chunk(line.number, &whole).expect("in memory").bytes;
    let adopt = |line: &ChunkLine, next_chunk: u32| {
        let table = StateTable::default();
        let meta = Meta { words: listing.words.clone(), next_chunk, ..Meta::default() };
        table.begin(&meta).and_then(|()| table.adopt(line, &sealed)).map(|()| table.len())
    };
    assert_eq!(adopt(line, line.number + 1), Ok(20));
    assert!(adopt(line, line.number).is_err(), "the next chunk would get its number");
    let fewer = ChunkLine { entries: 19, ..line.clone() };
    assert!(adopt(&fewer, line.number + 1).is_err(), "it has one more");
    let beyond = ChunkLine { current: vec![0xff; 8], ..line.clone() };
    assert!(adopt(&beyond, line.number + 1).is_err(), "there are no such entries");
}

#[test]
fn a_chunk_that_the_disk_lost_is_a_fault_and_no_empty_state() {
    let rules = rules();
    let home = tempfile::tempdir().expect("a temporary directory");
    let table = StateTable::new(Room::none(), Scratch::at(home.path().join("scratch")));
    give(&table, &rules, &hit(0, 1, 0), 0);
    table.relieve(&rules, log_time(0));
    let census = table.census();
    assert_eq!((census.open, census.packed, census.on_disk), (0, 1, 1));
    for entry in std::fs::read_dir(home.path().join("scratch")).expect("the chunk lies there") {
        std::fs::write(entry.expect("an entry").path(), b"something else").expect("writable");
    }
    give(&table, &rules, &hit(0, 1, 5), 5);
    let fault = table.fault().expect("the state cannot be read");
    assert!(fault.starts_with("chunk 0: "), "{fault}");
}
