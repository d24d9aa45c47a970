//! Room on the server's disk. A stream with `max_bytes` reserves them when it is made, whether or not it ever needs them, so a
//! server may refuse streams that are still empty; this says what to do then.

use async_nats::jetstream::response::Response;
use serde::Deserialize;

use super::connect::Connection;

const KIB: f64 = 1_024.0;

/// What one stream is to reserve.
#[derive(Clone, Debug)]
pub(super) struct Share {
    /// The setting that says so.
    pub setting: &'static str,
    /// How much, on all servers that keep a copy.
    pub bytes: u64,
    /// How much of that it does not have yet.
    pub more: u64,
}

/// What the account has reserved, and may.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Room {
    reserved: u64,
    /// None where the account has no limit of its own: the server's disk is its limit then, of which accounts hear nothing.
    limit: Option<u64>,
}

/// Account information: <https://docs.nats.io/reference/reference-protocols/nats_api_reference>.
#[derive(Deserialize)]
struct AccountInfo {
    #[serde(default)]
    storage: u64,
    #[serde(default)]
    reserved_storage: u64,
    limits: Option<AccountLimits>,
}

#[derive(Deserialize)]
struct AccountLimits {
    max_storage: i64,
}

impl Room {
    /// Asks the server; `None` where it does not say.
    pub(super) async fn ask(connection: &Connection) -> Option<Room> {
        match connection.context().request("INFO", &()).await {
            Ok(Response::Ok(AccountInfo { storage, reserved_storage, limits })) => Some(Room {
                reserved: reserved_storage.max(storage),
                limit: limits.and_then(|limits| u64::try_from(limits.max_storage).ok()),
            }),
            Ok(Response::Err { error }) => {
                tracing::debug!(%error, "no account information");
                None
            }
            Err(error) => {
                tracing::debug!(%error, "no account information");
                None
            }
        }
    }

    /// Why the shares do not fit; `None` where they do, or nobody knows.
    pub(super) fn lacks(&self, shares: &[Share]) -> Option<String> {
        let more: u64 = shares.iter().map(|share| share.more).sum();
        let limit = self.limit?;
        (more > 0 && self.reserved.saturating_add(more) > limit).then(|| advice(shares, Some(*self)))
    }
}

/// What there is, what is asked for, and which setting to lower.
pub(super) fn advice(shares: &[Share], room: Option<Room>) -> String {
    let listed: Vec<String> =
        shares.iter().map(|share| format!("{} {}", share.setting, text(share.bytes))).collect();
    let total: u64 = shares.iter().map(|share| share.bytes).sum();
    let more: u64 = shares.iter().map(|share| share.more).sum();
    let there = match room {
        Some(Room { reserved, limit: Some(limit) }) => format!(
            "this account may keep {}, of which {} are taken and {} are left",
            text(limit),
            text(reserved),
            text(limit.saturating_sub(reserved))
        ),
        Some(Room { reserved, limit: None }) => format!(
            "this account has {} reserved and no limit of its own, so the limit is the server's: `max_file_store` in its \
             `jetstream` block, three quarters of the free disk where that is not set",
            text(reserved)
        ),
        None => "the server does not say how much room it has: `max_file_store` in its `jetstream` block is the limit"
            .to_owned(),
    };
    let largest = shares
        .iter()
        .max_by_key(|share| share.more)
        .map_or("streams.events_max_bytes", |share| share.setting);
    format!(
        "the server has no room for what the streams reserve: {} ({}), {} of it not yet reserved; {there}. Lower {largest} \
         first, or give the server more room",
        text(total),
        listed.join(", "),
        text(more)
    )
}

/// Bytes as settings have them.
fn text(bytes: u64) -> String {
    let mut value = bytes as f64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if value < KIB {
            return number(value, unit);
        }
        value /= KIB;
    }
    number(value, "TiB")
}

fn number(value: f64, unit: &str) -> String {
    if value.fract() == 0.0 { format!("{value:.0}{unit}") } else { format!("{value:.1}{unit}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shares() -> [Share; 2] {
        let share = |setting, bytes, more| Share { setting, bytes, more };
        [
            share("streams.events_max_bytes", 4 << 30, 1 << 30),
            share("streams.incidents_max_bytes", 512 << 20, 512 << 20),
        ]
    }

    #[test]
    fn what_does_not_fit_is_said_before_anything_is_made() {
        let room = Room { reserved: 3 << 30, limit: Some(4 << 30) };
        let why = room.lacks(&shares()).expect("half a gibibyte is missing");
        for part in [
            "4.5GiB (streams.events_max_bytes 4GiB, streams.incidents_max_bytes 512MiB)",
            "1.5GiB of it not yet reserved",
            "may keep 4GiB, of which 3GiB are taken and 1GiB are left",
            "Lower streams.events_max_bytes first",
        ] {
            assert!(why.contains(part), "{part}: {why}");
        }
        assert!(Room { limit: Some(5 << 30), ..room }.lacks(&shares()).is_none());
        assert!(Room { limit: None, ..room }.lacks(&shares()).is_none());
        let settled = shares().map(|share| Share { more: 0, ..share });
        assert!(Room { limit: Some(1), ..room }.lacks(&settled).is_none(), "what is there stays there");
    }
}
