//! The ids of the events that were handed over last, so that the same event is not written twice.

use std::collections::{HashSet, VecDeque};

use sightline_schemas::EventId;

/// Ids that are remembered: what a caller that starts anew may not know to be kept, many times over. About 6 MB.
pub(crate) const REMEMBERED_MAX: usize = 131_072;

/// The last ids, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Recent {
    order: VecDeque<EventId>,
    known: HashSet<EventId>,
}

impl Recent {
    /// Notes an id; `false` where it is known.
    pub fn note(&mut self, id: EventId) -> bool {
        if !self.known.insert(id) {
            return false;
        }
        self.order.push_back(id);
        if self.order.len() > REMEMBERED_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_known_until_so_many_others_came() {
        let id = |n: usize| EventId::from_raw("", "", &n.to_le_bytes());
        let mut recent = Recent::default();
        assert!(recent.note(id(0)) && !recent.note(id(0)));
        assert!((1..REMEMBERED_MAX).all(|n| recent.note(id(n))));
        assert!(!recent.note(id(0)));
        assert!(recent.note(id(REMEMBERED_MAX)) && recent.note(id(0)));
    }
}
