//! Services that are asked: each round reads all that a service has, and sends what was not sent before.
//!
//! None of them can be asked for what is new, and their lists are ordered by score: so every round pages fully, and a key
//! that stays the same names what was sent. [`http`] asks, [`services`] knows what each service calls things, [`metrics`]
//! finds the host of an anomaly.

mod http;
mod metrics;
mod services;

pub use services::Service;

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use anyhow::anyhow;
use bytes::Bytes;
use serde_json::Value;

use crate::Ended;
use crate::arguments::Poll;
use crate::bridge::Bridge;
use crate::delivery::now;
use crate::ledger::{Fate, Tally};
use crate::mapping::Origin;
use crate::record::{Input, Item, Press, content_key};
use http::Http;

/// First pause after a failed round; doubles with each further one.
const PAUSE_FIRST: Duration = Duration::from_millis(500);
/// Longest pause after failed rounds.
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// Items on their way at once.
const CHUNK: usize = 500;

/// Why a round failed: the source, and then it is tried again, or something that no further round mends.
pub enum RoundError {
    /// The service is down, slow, or answers rubbish.
    Source(String),
    /// Told to stop.
    Stopped,
    /// Our own disk.
    Own(anyhow::Error),
}

impl From<http::FetchError> for RoundError {
    fn from(error: http::FetchError) -> Self {
        RoundError::Source(error.to_string())
    }
}

impl From<crate::cursor::CursorError> for RoundError {
    fn from(error: crate::cursor::CursorError) -> Self {
        RoundError::Own(error.into())
    }
}

/// Runs rounds until stopped; with `--once`, until one succeeds or the service fails three times in a row.
pub async fn run(bridge: &mut Bridge, poll: &Poll, service: fn() -> Service) -> Result<(), Ended> {
    let http = Http::new(poll).map_err(Ended::Usage)?;
    let mut service = service();
    let tally = bridge.tally(service.name());
    let mut failures: u32 = 0;
    while !bridge.stopping() {
        match service.round(&http, &Sender { bridge, tally: &tally }).await {
            Ok(()) => {
                if failures > 0 {
                    tracing::info!(source = service.name(), failures, "source_back");
                }
                failures = 0;
                tally.source_well();
                if bridge.once || bridge.pause(poll.every).await {
                    return Ok(());
                }
            }
            Err(RoundError::Source(why)) => {
                failures += 1;
                tally.source_failed(&why);
                let pause = backoff(failures);
                tracing::warn!(
                    source = service.name(),
                    why,
                    failures,
                    pause_ms = pause.as_millis() as u64,
                    "source_failed"
                );
                if bridge.once && failures >= 3 {
                    return Err(Ended::Incomplete(anyhow!("{}: {why}", service.name())));
                }
                bridge.pause(pause).await;
            }
            Err(RoundError::Stopped) => return Ok(()),
            Err(RoundError::Own(error)) => return Err(Ended::Incomplete(error)),
        }
    }
    Ok(())
}

/// Doubles up to the maximum, and is then shortened by chance: services that fell together are not asked together.
fn backoff(failures: u32) -> Duration {
    let full = PAUSE_FIRST.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(PAUSE_MAX);
    // The standard library's own chance: a hasher with random keys.
    let chance = RandomState::new().hash_one(failures) % 1_000;
    full.mul_f64(0.5 + chance as f64 / 2_000.0)
}

/// Sends what was not sent before.
pub struct Sender<'a> {
    bridge: &'a Bridge,
    tally: &'a Tally,
}

impl Sender<'_> {
    /// What makes events by a mapping.
    pub fn press(&self, mapping: &str) -> Result<Press, RoundError> {
        self.bridge.press(mapping).map_err(RoundError::Own)
    }

    /// Whether an item with this key was sent.
    pub fn was_sent(&self, press: &Press, key: &str) -> Result<bool, RoundError> {
        self.knows(&seen(press, key))
    }

    fn knows(&self, (name, version): &(String, Vec<u8>)) -> Result<bool, RoundError> {
        Ok(self.bridge.cursors.get(name)?.is_some_and(|known| known == *version))
    }

    /// The source lost something before we read it.
    pub fn gap(&self, what: &str) {
        self.tally.gap();
        tracing::warn!(what, "gap");
    }

    /// A note of our own that stays.
    pub fn recall(&self, key: &str) -> Result<Option<Vec<u8>>, RoundError> {
        Ok(self.bridge.cursors.get(key)?)
    }

    /// Keeps such a note.
    pub async fn note(&self, key: &str, value: Vec<u8>) -> Result<(), RoundError> {
        Ok(self.bridge.cursors.put(vec![(key.to_owned(), value)]).await?)
    }

    /// Sends the items of a list, and remembers each when it is in the log.
    pub async fn send(&self, press: &Press, items: Vec<Value>) -> Result<(), RoundError> {
        let mut met = HashSet::new();
        for chunk in items.chunks(CHUNK) {
            let (mut fresh, mut keys) = (Vec::new(), Vec::new());
            for record in chunk {
                let item = item_of(press, record);
                let key = seen(press, &key_of(&item, record));
                if !met.insert(key.clone()) || self.knows(&key)? {
                    self.tally.read(1);
                    self.tally.ended(Fate::Duplicate, 1);
                } else {
                    fresh.push(item);
                    keys.push(key);
                }
            }
            if fresh.is_empty() {
                continue;
            }
            let mut stop = self.bridge.stop.clone();
            let delivered = self.bridge.delivery.deliver_all(self.tally, fresh, &mut stop).await;
            delivered.map_err(|_| RoundError::Stopped)?;
            self.bridge.cursors.put(keys).await?;
        }
        Ok(())
    }
}

/// What an item of a list becomes.
pub fn item_of(press: &Press, record: &Value) -> Item {
    let input = Input {
        bytes: Bytes::from(record.to_string()),
        content_type: "application/json",
        place: None,
        origin: Origin::default(),
    };
    press.item(&input, input.bytes.clone(), record.clone(), None, now())
}

/// The key of an event is its own; what is none is known by its contents.
pub fn key_of(item: &Item, record: &Value) -> String {
    match item {
        Item::Event(draft) => draft.key.clone(),
        Item::Skip | Item::Reject(_) => content_key(record.to_string().as_bytes()),
    }
}

/// What is remembered of an event that was sent: its name, and for an indicator, whose key ends in `@TIME`, its last
/// sighting. So there is one entry for an indicator, however often it is seen.
fn seen(press: &Press, key: &str) -> (String, Vec<u8>) {
    let (name, version) = match key.rsplit_once('@') {
        Some((name, version)) if press.name() == "iris-ioc" => (name, version),
        _ => (key, ""),
    };
    (format!("seen/{}/{}/{name}", press.tenant(), press.name()), version.as_bytes().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_stay_bounded() {
        assert!(backoff(1) <= PAUSE_FIRST && backoff(1) >= PAUSE_FIRST / 2);
        assert!(backoff(4) >= Duration::from_secs(2) && backoff(100) <= PAUSE_MAX);
    }
}
