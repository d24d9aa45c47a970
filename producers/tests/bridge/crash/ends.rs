//! What is on the streams in the end: events, dead letters and evidence, as they are compared.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::Value;
use sightline_schemas::subject::{DEADLETTER_STREAM, EVIDENCE_STREAM};

use crate::server::Server;
use crate::stage::{LONG, count, events, stored};

/// How many of each there must be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Expected {
    pub events: usize,
    pub letters: usize,
    pub evidence: usize,
}

impl std::ops::AddAssign for Expected {
    fn add_assign(&mut self, other: Self) {
        self.events += other.events;
        self.letters += other.letters;
        self.evidence += other.evidence;
    }
}

/// What there is, each with how often.
pub struct Ends {
    events: BTreeMap<String, u32>,
    /// The events' names, of which each must be there once.
    names: BTreeMap<String, u32>,
    letters: BTreeMap<Vec<u8>, u32>,
    evidence: BTreeMap<Vec<u8>, u32>,
}

impl Ends {
    /// Waits until there is as much as must be.
    pub async fn wait(server: &Server, expected: Expected, said: impl Fn() -> String) {
        let until = Instant::now() + LONG;
        loop {
            let begun = Instant::now();
            let there = Expected {
                events: events(server).await.len(),
                letters: count(server, DEADLETTER_STREAM).await,
                evidence: count(server, EVIDENCE_STREAM).await,
            };
            if there.events >= expected.events
                && there.letters >= expected.letters
                && there.evidence >= expected.evidence
            {
                return;
            }
            assert!(Instant::now() < until, "{there:?} of {expected:?}: {}", said());
            // Whoever brings them is not to be held up by who counts them.
            tokio::time::sleep(Duration::from_millis(100) + 4 * begun.elapsed()).await;
        }
    }

    /// Reads all of it.
    pub async fn read(server: &Server, differing: &[&str]) -> Self {
        let mut ends = Ends {
            events: BTreeMap::new(),
            names: BTreeMap::new(),
            letters: BTreeMap::new(),
            evidence: BTreeMap::new(),
        };
        for mut event in events(server).await {
            *ends.names.entry(format!("{} {}", event["source"], event["source_event_id"])).or_default() += 1;
            // Where evidence lies is known only where the bus was there.
            for pointer in ["/refs/raw/seq"].iter().chain(differing) {
                remove(&mut event, pointer);
            }
            *ends.events.entry(event.to_string()).or_default() += 1;
        }
        for (stream, to) in [(DEADLETTER_STREAM, &mut ends.letters), (EVIDENCE_STREAM, &mut ends.evidence)] {
            for message in stored(server, stream).await {
                *to.entry(message.payload).or_default() += 1;
            }
        }
        ends
    }

    pub fn events(&self) -> u32 {
        self.events.values().sum()
    }

    /// Nothing lost, nothing doubled, nothing else.
    #[track_caller]
    pub fn assert_same(&self, undisturbed: &Ends, name: &str) {
        let twice: Vec<_> = self.names.iter().filter(|(_, times)| **times > 1).take(5).collect();
        assert!(twice.is_empty(), "{name}: events twice on the stream: {twice:?}");
        same(name, "event", &self.events, &undisturbed.events, Clone::clone);
        let text = |bytes: &Vec<u8>| String::from_utf8_lossy(bytes).into_owned();
        same(name, "dead letter", &self.letters, &undisturbed.letters, text);
        same(name, "evidence", &self.evidence, &undisturbed.evidence, text);
    }
}

#[track_caller]
fn same<K: Ord>(
    name: &str,
    what: &str,
    found: &BTreeMap<K, u32>,
    expected: &BTreeMap<K, u32>,
    text: impl Fn(&K) -> String,
) {
    let more_in = |one: &BTreeMap<K, u32>, other: &BTreeMap<K, u32>| {
        let more = |(key, times): (&K, &u32)| {
            let there = other.get(key).copied().unwrap_or_default();
            (*times > there).then(|| format!("{} ({times}, not {there})", text(key)))
        };
        one.iter().filter_map(more).collect::<Vec<_>>()
    };
    let (lost, doubled) = (more_in(expected, found), more_in(found, expected));
    let some = |all: &[String]| all.iter().take(3).cloned().collect::<Vec<_>>().join("\n");
    assert!(
        lost.is_empty() && doubled.is_empty(),
        "{name}: {} of {what} lost, {} too many or others\nlost: {}\ntoo many: {}",
        lost.len(),
        doubled.len(),
        some(&lost),
        some(&doubled)
    );
}

fn remove(event: &mut Value, pointer: &str) {
    let (parent, member) = pointer.rsplit_once('/').expect("a pointer");
    if let Some(Value::Object(members)) = event.pointer_mut(parent) {
        members.remove(member);
    }
}

/// Whether each line of the end accounts for everything that was read: read = sent + duplicate + rejected + skipped + handed
/// back; and for the replayer, read = acknowledged.
pub fn adds_up(said: &str) -> bool {
    let number = |line: &str, word: &str| -> u64 {
        let found = line.split([':', ',']).find_map(|part| part.trim().strip_prefix(word)?.strip_prefix(' '));
        found.and_then(|digits| digits.trim().parse().ok()).unwrap_or(0)
    };
    said.lines().filter(|line| line.contains("read ")).all(|line| {
        let ends = ["sent", "duplicate", "rejected", "skipped", "handed back", "acknowledged"];
        let is_closing = ends.iter().any(|end| line.contains(&format!(", {end} ")));
        let ended = ends.iter().map(|end| number(line, end)).sum::<u64>();
        !is_closing || !line.contains("unfinished") && number(line, "read") == ended
    })
}

#[test]
fn a_line_that_does_not_add_up_is_noticed() {
    assert!(adds_up(
        "a: read 5, sent 3, duplicate 1, rejected 1\nb: read 2, sent 0, duplicate 0, rejected 0, skipped 2"
    ));
    assert!(adds_up("read 5, published 7, acknowledged 5, duplicates 2, 0.01 s, 483 events/s"));
    assert!(!adds_up("read 5, published 5, acknowledged 4, duplicates 1, 0.01 s, 483 events/s"));
    assert!(!adds_up("a: read 5, sent 3, duplicate 1, rejected 0"));
    assert!(!adds_up("a: read 5, sent 3, duplicate 1, rejected 1, unfinished 0"));
}
