//! What happens to the input log itself: it is replaced, purged, or loses its newest messages.

use crate::faults::Disaster;
use crate::world::{History, World};

impl World {
    pub async fn strike(&mut self) -> Result<(), String> {
        self.remember();
        let last = self.log.last_seq();
        match self.plan.disaster {
            Disaster::None => {}
            Disaster::Replaced => {
                self.note(|| "the input log is replaced".to_owned());
                self.log.replace();
                (self.input_changed, self.has_past) = (true, false);
                self.histories.push(History { id: self.log.id(), ..History::default() });
            }
            Disaster::TailLost => self.lose_tail(last).await?,
            Disaster::Purged => {
                let seen = self.log.read_to();
                let first = 1 + self.random.below(last + 1);
                let (from, to) = match self.random.percent(60) {
                    true => (1, first - 1),
                    false => (first, (first + self.random.below(5)).min(last)),
                };
                self.note(|| format!("{from} to {to} are deleted, read to {seen}"));
                self.log.delete(from, to);
                let history = self.history();
                let gone: Vec<u64> =
                    history.messages.range(from..=to.max(from)).map(|(seq, _)| *seq).collect();
                for seq in gone.into_iter().filter(|seq| *seq <= to) {
                    let history = self.history();
                    if let Some(message) = history.messages.remove(&seq) {
                        history.removed.insert(seq, message);
                    }
                    if seq > seen {
                        self.missed.push((seq, seq));
                    }
                }
            }
        }
        Ok(())
    }

    /// The server dies and loses what it had not yet written down. The workers notice it at once.
    async fn lose_tail(&mut self, last: u64) -> Result<(), String> {
        let left = last.saturating_sub(self.random.below(8));
        self.note(|| format!("everything after {left} is lost"));
        self.second = None;
        self.worker = None;
        self.place.owner_died();
        self.log.lose_tail(left);
        let (incidents, dead_letters) = (self.incidents.len(), self.dead_letters.len());
        // Once, and no death after it: a worker that begins anew before anything was said of the new messages cannot tell
        // them from the lost ones once the log is as long as it was.
        (self.plan.struck, self.plan.killed_inside, self.plan.killed_between) = (0, 0, 0);
        (self.plan.drained, self.plan.second_worker) = (0, 0);
        let history = self.history();
        history.messages.retain(|seq, _| *seq <= left);
        history.tails_lost.push((incidents, dead_letters, left));
        while self.worker.is_none() {
            self.begin().await?;
        }
        Ok(())
    }
}
