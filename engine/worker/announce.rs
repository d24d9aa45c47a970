//! Rules into the log: unless they are the newest ones there already.

use bytes::Bytes;
use sightline_schemas::control::RulesMessage;
use sightline_schemas::subject::{CONTROL_RULES, HEADER_CONTENT_ENCODING, HEADER_CONTENT_TYPE};

use crate::bus::{BusError, EventLog};
use crate::worker::intake;
use crate::worker::machine::compile;

/// Level of compression of rules messages: they are rare, and must fit into one message.
const RULES_ZSTD_LEVEL: i32 = 9;

/// What became of rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Announced {
    /// They are in the log already, as its newest.
    There,
    /// They are in the log now.
    Stored {
        /// At this place.
        seq: u64,
        /// To be warmed from this message on.
        warm_from: Option<u64>,
    },
}

/// Puts rules into the log. `warm`: with the place from which on new and changed ones are to be run before they take effect,
/// which is as far back as any of them can remember, or the oldest message that is kept.
///
/// # Errors
/// When the bus does not answer.
pub async fn announce(
    log: &mut impl EventLog,
    rules: &RulesMessage,
    warm: bool,
) -> Result<Announced, BusError> {
    let newest = log.last_on(CONTROL_RULES).await?;
    let newest = newest.and_then(|message| intake::read_rules(&message).ok());
    if newest.as_ref().is_some_and(|newest| newest.means_the_same(rules)) {
        return Ok(Announced::There);
    }
    let mut rules = rules.clone();
    rules.warm_from = match warm {
        true => Some(reach(log, &rules, newest.as_ref()).await?),
        false => None,
    };
    let json = serde_json::to_vec(&rules).expect("rules are plain data");
    let body = zstd::encode_all(&json[..], RULES_ZSTD_LEVEL)
        .map_err(|error| BusError::Stop(format!("cannot compress the rules: {error}")))?;
    let headers =
        [(HEADER_CONTENT_TYPE, "application/json".to_owned()), (HEADER_CONTENT_ENCODING, "zstd".to_owned())];
    let seq = log.append(CONTROL_RULES, &headers, Bytes::from(body)).await?;
    Ok(Announced::Stored { seq, warm_from: rules.warm_from })
}

/// The first message that a changed rule can still remember something of.
async fn reach(
    log: &mut impl EventLog,
    rules: &RulesMessage,
    before: Option<&RulesMessage>,
) -> Result<u64, BusError> {
    let about = log.info().await?;
    let Ok(compiled) = compile(rules) else { return Ok(about.first_seq) };
    let before = before.and_then(|before| compile(before).ok());
    let changed = compiled.units.iter().filter(|unit| {
        let known = before.as_ref().and_then(|before| before.unit_by_id(&unit.id));
        known.is_none_or(|known| known.fingerprint != unit.fingerprint)
    });
    // A rule on completions remembers them, and they remember in turn: all windows of a chain, one behind the other.
    let depth = i64::from(compiled.strata);
    let longest = changed.map(|unit| unit.reach.max(unit.memory)).max().unwrap_or(0);
    let longest = compiled
        .units
        .iter()
        .map(|unit| unit.window)
        .max()
        .unwrap_or(0)
        .saturating_mul(depth - 1)
        .saturating_add(longest);
    log.first_within(longest).await
}
