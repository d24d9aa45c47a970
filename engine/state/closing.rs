//! Open states, packed and closed: a little after each batch, as many as need be where there is too little room, and what
//! changed at each checkpoint.

use std::sync::atomic::Ordering;

use sightline_core::rule::RuleSet;
use sightline_schemas::EventTime;

use super::due::{DIRTY_LEFT, Pace, is_wide};
use super::room::weight;
use super::shelf::Shelf;
use super::state_key::StateKey;
use super::sweeping::Sweep;
use super::table::{Live, Released, StateTable, locked};

impl StateTable {
    /// Makes the table ready to be written down, between batches: packs what changed, forgets idle states, rolls up waste.
    /// [`Sweep::All`] looks at every state; else what is still is closed by and by.
    pub fn settle(&self, rules: &RuleSet, log_time: EventTime, sweep: Sweep, released: Released<'_>) {
        let mut shelf = self.shelf_mut();
        let still_since = self.settled.swap(self.now(), Ordering::Relaxed);
        match sweep {
            Sweep::All => self.pack(&mut shelf, still_since, rules, log_time, Some(&mut *released)),
            Sweep::Worthwhile => {
                self.pack_dirty(&mut shelf, rules, 0, usize::MAX);
                // All were weighed just now.
                let grown = self.grown_bytes.swap(0, Ordering::Relaxed);
                self.open_bytes.fetch_sub(grown, Ordering::Relaxed);
            }
        }
        self.clock.fetch_add(1, Ordering::Relaxed);
        locked(&self.due).look_again();
        let is_open = |key| self.open.contains_key(&key);
        let swept = shelf.sweep(sweep, rules, log_time, &is_open, &mut |gone| {
            locked(&self.packed).counts.remove(&gone.unit, gone.hits, gone.active);
            // What waits is not forgotten, so nothing leaves the agenda here.
            if let Some(state) = &gone.state {
                released(gone.key, state);
            }
        });
        if let Err(why) = swept {
            self.fail(why);
        }
        self.roll(&mut shelf);
        shelf.cut();
        self.make_room(&mut shelf);
        self.shrink();
    }

    /// Does some of what is due for open states, between batches, so that a checkpoint finds little left to do: packs those
    /// that changed first, and closes those that nothing touched since the checkpoint before the last one.
    pub fn tidy(&self, rules: &RuleSet, log_time: EventTime, pace: Pace, released: Released<'_>) {
        let mut shelf = self.shelf_mut();
        self.pack_dirty(&mut shelf, rules, DIRTY_LEFT, pace.packs());
        self.close_still(&mut shelf, rules, log_time, pace.looks(), released);
    }

    /// Packs at most so many states, those first that changed first, as long as more than `left` are left.
    fn pack_dirty(&self, shelf: &mut Shelf, rules: &RuleSet, left: usize, most: usize) {
        for _ in 0..most {
            let key = {
                let mut due = locked(&self.due);
                if due.dirtied.len() <= left {
                    return;
                }
                due.dirtied.pop_front()
            };
            let Some(key) = key else { return };
            if let Some(mut live) = self.open.get_mut(&key)
                && live.dirty
            {
                self.pack_one(shelf, key, &mut live, rules);
            }
        }
    }

    fn pack_one(&self, shelf: &mut Shelf, key: StateKey, live: &mut Live, rules: &RuleSet) {
        let address = shelf.put(key, &live.state, live.address, live.state.forget_at(rules));
        (live.address, live.dirty) = (Some(address), false);
        let before = std::mem::replace(&mut live.weight, weight(&live.state));
        self.open_bytes.fetch_add(live.weight, Ordering::Relaxed);
        self.open_bytes.fetch_sub(before, Ordering::Relaxed);
    }

    /// Looks at so many open states, those first that are open longest, and closes or forgets the ones that are still.
    fn close_still(
        &self,
        shelf: &mut Shelf,
        rules: &RuleSet,
        log_time: EventTime,
        most: usize,
        released: Released<'_>,
    ) {
        let settled = self.settled.load(Ordering::Relaxed);
        let is_still = |live: &Live| !live.dirty && live.seen < settled && live.address.is_some();
        for _ in 0..most {
            let Some(key) = locked(&self.due).next_to_look_at() else { return };
            match self.open.remove_if(&key, |_, live| is_still(live)) {
                None if self.open.contains_key(&key) => locked(&self.due).opened.push_back(key),
                None => {}
                Some((_, live)) => {
                    self.open_bytes.fetch_sub(live.weight, Ordering::Relaxed);
                    if live.state.is_forgotten(rules, log_time) {
                        released(key, &live.state);
                        live.address.inspect(|address| shelf.forget(key, *address));
                    } else {
                        locked(&self.packed).put(&live.state);
                    }
                }
            }
        }
    }

    /// Closes states and puts packed ones on the disk, as far as there is no room for them. Between batches.
    pub fn relieve(&self, rules: &RuleSet, log_time: EventTime) {
        if self.open_bytes.load(Ordering::Relaxed) > self.room.open_bytes {
            let mut shelf = self.shelf_mut();
            self.pack(&mut shelf, self.now() - 1, rules, log_time, None);
            if self.open_bytes.load(Ordering::Relaxed) > self.room.open_bytes / 2 {
                self.pack(&mut shelf, self.now(), rules, log_time, None);
            }
            self.clock.fetch_add(1, Ordering::Relaxed);
            self.roll(&mut shelf);
        }
        let needed = {
            let shelf = self.shelf();
            shelf.memory_bytes() + shelf.index_bytes() > self.room.packed_bytes
        };
        if needed {
            self.make_room(&mut self.shelf_mut());
        }
    }

    /// Rolls up waste.
    fn roll(&self, shelf: &mut Shelf) {
        let rolled = shelf.roll(&mut |key, address| {
            if let Some(mut live) = self.open.get_mut(&key) {
                live.address = Some(address);
            }
        });
        if let Err(why) = rolled {
            self.fail(why);
        }
    }

    fn make_room(&self, shelf: &mut Shelf) {
        let bytes = self.room.packed_bytes.saturating_sub(shelf.index_bytes());
        if let Err(error) = shelf.keep_within(bytes) {
            tracing::error!(%error, "no place for states beyond the memory budget; they stay in memory");
        }
    }

    /// Packs what changed and closes what was not touched since the clock stood at `until`. At a checkpoint, where somebody is
    /// told of what is forgotten, also forgets what is idle, and packs states of any size.
    fn pack(
        &self,
        shelf: &mut Shelf,
        until: u32,
        rules: &RuleSet,
        log_time: EventTime,
        mut released: Option<Released<'_>>,
    ) {
        let mut open_bytes = 0;
        let mut packed = locked(&self.packed);
        let giant = self.room.giant_bytes();
        self.open.retain(|key, live| {
            let bytes = weight(&live.state);
            live.weight = bytes;
            let is_settled = released.is_some();
            if !is_settled && bytes > giant && live.seen + 1 >= self.now() {
                open_bytes += bytes;
                return true;
            }
            if let Some(released) = &mut released
                && live.state.is_forgotten(rules, log_time)
            {
                released(*key, &live.state);
                live.address.inspect(|address| shelf.forget(*key, *address));
                return false;
            }
            if live.dirty {
                let address = shelf.put(*key, &live.state, live.address, live.state.forget_at(rules));
                (live.address, live.dirty) = (Some(address), false);
            }
            if live.seen <= until && live.address.is_some() {
                packed.put(&live.state);
                return false;
            }
            open_bytes += bytes;
            true
        });
        self.open_bytes.store(open_bytes, Ordering::Relaxed);
        self.grown_bytes.store(0, Ordering::Relaxed);
        let is_dirty = |key| self.open.get(&key).is_some_and(|live| live.dirty);
        locked(&self.due).keep(is_dirty, |key| self.open.contains_key(&key));
        self.shrink();
    }

    /// Neither the map nor the lists of names give room back by themselves.
    fn shrink(&self) {
        if is_wide(self.open.capacity(), self.open.len()) {
            self.open.shrink_to_fit();
        }
        locked(&self.due).shrink();
    }
}
