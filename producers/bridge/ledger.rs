//! What became of everything that was read: read = sent + duplicate + rejected + skipped + handed back + on its way.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// The counts of all sources of this process.
#[derive(Clone, Default)]
pub struct Ledger(Arc<Mutex<BTreeMap<String, Arc<Tally>>>>);

/// The counts of one source.
#[derive(Default)]
pub struct Tally {
    read: AtomicU64,
    sent: AtomicU64,
    duplicate: AtomicU64,
    rejected: AtomicU64,
    skipped: AtomicU64,
    handed_back: AtomicU64,
    source_failures: AtomicU64,
    gaps: AtomicU64,
    /// Why the source gives nothing now; none where it is well.
    failing: Mutex<Option<String>>,
}

/// What became of one record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is kept for the log: there, or on disk until it is.
    Sent,
    /// It was kept already.
    Duplicate,
    /// It is no event: kept as it came, with its reason.
    Rejected,
    /// The mapping leaves such records out.
    Skipped,
    /// It is not kept, and whoever sent it was told to send it again.
    HandedBack,
}

impl Ledger {
    /// The counts of a source.
    pub fn of(&self, source: &str) -> Arc<Tally> {
        Arc::clone(self.lock().entry(source.to_owned()).or_default())
    }

    /// Sources that give nothing now, and why.
    pub fn failing(&self) -> BTreeMap<String, String> {
        let why = |(source, tally): (&String, &Arc<Tally>)| {
            let failing = tally.failing.lock().unwrap_or_else(PoisonError::into_inner).clone();
            failing.map(|why| (source.clone(), why))
        };
        self.lock().iter().filter_map(why).collect()
    }

    /// All counts as Prometheus reads them. The label is the name of the bridge's source, never something that it sent.
    pub fn render(&self) -> String {
        let mut text = String::new();
        let sources = self.lock();
        let mut family = |name: &str, help: &str, kind: &str, value: &dyn Fn(&Tally) -> u64| {
            let _ = writeln!(
                text,
                "# HELP sightline_bridge_{name} {help}\n# TYPE sightline_bridge_{name} {kind}"
            );
            for (source, tally) in sources.iter() {
                let _ = writeln!(text, "sightline_bridge_{name}{{source=\"{source}\"}} {}", value(tally));
            }
        };
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        family("read_total", "Records read from the source.", "counter", &|tally| count(&tally.read));
        family(
            "sent_total",
            "Events kept for the log: in it, or on disk until they are.",
            "counter",
            &|tally| count(&tally.sent),
        );
        family("duplicate_total", "Events that were kept before.", "counter", &|tally| {
            count(&tally.duplicate)
        });
        family(
            "rejected_total",
            "Records that are no events, kept with their reason.",
            "counter",
            &|tally| count(&tally.rejected),
        );
        family("skipped_total", "Records that the mapping leaves out.", "counter", &|tally| {
            count(&tally.skipped)
        });
        family(
            "handed_back_total",
            "Records whose sender was told to send them again.",
            "counter",
            &|tally| count(&tally.handed_back),
        );
        family("source_failures_total", "Failed attempts to read the source.", "counter", &|tally| {
            count(&tally.source_failures)
        });
        family(
            "gaps_total",
            "Places where the source lost records before they were read.",
            "counter",
            &|tally| count(&tally.gaps),
        );
        family("source_up", "1 where the last attempt to read the source succeeded.", "gauge", &|tally| {
            u64::from(tally.failing.lock().unwrap_or_else(PoisonError::into_inner).is_none())
        });
        text
    }

    /// One line a source, for the end.
    pub fn summary(&self) -> Vec<String> {
        self.lock().iter().map(|(source, tally)| format!("{source}: {}", tally.summary())).collect()
    }

    /// Records that were read so far, of all sources.
    pub fn read(&self) -> u64 {
        self.lock().values().map(|tally| tally.read.load(Ordering::Relaxed)).sum()
    }

    /// Whether everything that was read found its end.
    pub fn adds_up(&self) -> bool {
        self.lock().values().all(|tally| tally.unfinished() == 0)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Arc<Tally>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tally {
    /// So many records were read.
    pub fn read(&self, records: usize) {
        self.read.fetch_add(records as u64, Ordering::Relaxed);
    }

    /// So many of those that were read came to this end.
    pub fn ended(&self, fate: Fate, records: usize) {
        let counter = match fate {
            Fate::Sent => &self.sent,
            Fate::Duplicate => &self.duplicate,
            Fate::Rejected => &self.rejected,
            Fate::Skipped => &self.skipped,
            Fate::HandedBack => &self.handed_back,
        };
        counter.fetch_add(records as u64, Ordering::Relaxed);
    }

    /// The source could not be read.
    pub fn source_failed(&self, why: &str) {
        self.source_failures.fetch_add(1, Ordering::Relaxed);
        *self.failing.lock().unwrap_or_else(PoisonError::into_inner) = Some(why.to_owned());
    }

    /// The source was read.
    pub fn source_well(&self) {
        *self.failing.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// The source lost something before it was read.
    pub fn gap(&self) {
        self.gaps.fetch_add(1, Ordering::Relaxed);
    }

    fn unfinished(&self) -> u64 {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let ended = [&self.sent, &self.duplicate, &self.rejected, &self.skipped, &self.handed_back];
        count(&self.read) - ended.into_iter().map(count).sum::<u64>()
    }

    fn summary(&self) -> String {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let mut text = format!(
            "read {}, sent {}, duplicate {}, rejected {}",
            count(&self.read),
            count(&self.sent),
            count(&self.duplicate),
            count(&self.rejected)
        );
        let rest = [
            ("skipped", count(&self.skipped)),
            ("handed back", count(&self.handed_back)),
            ("unfinished", self.unfinished()),
            ("gaps", count(&self.gaps)),
            ("source failures", count(&self.source_failures)),
        ];
        for (what, number) in rest.into_iter().filter(|(_, number)| *number > 0) {
            let _ = write!(text, ", {what} {number}");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_read_and_how_it_ended_adds_up() {
        let ledger = Ledger::default();
        let tally = ledger.of("iris");
        tally.read(5);
        tally.ended(Fate::Sent, 3);
        tally.ended(Fate::Duplicate, 1);
        assert!(!ledger.adds_up());
        assert!(ledger.summary()[0].contains("unfinished 1"), "{:?}", ledger.summary());
        tally.ended(Fate::Rejected, 1);
        assert!(ledger.adds_up());
        tally.source_failed("500");
        assert_eq!(ledger.failing().get("iris").map(String::as_str), Some("500"));
        let text = ledger.render();
        assert!(text.contains("sightline_bridge_sent_total{source=\"iris\"} 3"), "{text}");
        assert!(text.contains("sightline_bridge_source_up{source=\"iris\"} 0"), "{text}");
    }
}
