//! Identities that anyone can recompute: BLAKE3, cut to 128 bits, written as 32 hexadecimal digits.

use std::fmt;
use std::sync::LazyLock;

use blake3::Hasher;
use blake3::hazmat::{ContextKey, HasherExt, hash_derive_key_context};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::event::Event;
use crate::time::EventTime;

/// What an id is of, hashed once: the same parts of different things give different ids.
type Domain = LazyLock<ContextKey>;

static EVENT_BY_KEY: Domain = LazyLock::new(|| hash_derive_key_context("sightline event by source key v1"));
static EVENT_BY_BYTES: Domain = LazyLock::new(|| hash_derive_key_context("sightline event by raw bytes v1"));
static COMPLETION: Domain = LazyLock::new(|| hash_derive_key_context("sightline completion v1"));
static INCIDENT: Domain = LazyLock::new(|| hash_derive_key_context("sightline incident v1"));

/// Joins parts so that no two lists of parts give the same bytes: each part is preceded by its length.
fn digest(domain: &ContextKey, parts: &[&[u8]]) -> [u8; 16] {
    let mut hasher = Hasher::new_from_context_key(domain);
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    let mut id = [0; 16];
    id.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    id
}

macro_rules! hex_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 16]);

        impl $name {
            /// From its sixteen bytes.
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                $name(bytes)
            }

            /// Its sixteen bytes.
            pub const fn as_bytes(&self) -> &[u8; 16] {
                &self.0
            }

            /// Reads 32 hexadecimal digits.
            pub fn parse(text: &str) -> Option<Self> {
                if text.len() != 32 || !text.is_ascii() {
                    return None;
                }
                let mut bytes = [0; 16];
                for (at, byte) in bytes.iter_mut().enumerate() {
                    *byte = u8::from_str_radix(&text[at * 2..at * 2 + 2], 16).ok()?;
                }
                Some($name(bytes))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, out)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                if serializer.is_human_readable() {
                    serializer.collect_str(self)
                } else {
                    serializer.serialize_u128(u128::from_be_bytes(self.0))
                }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                if deserializer.is_human_readable() {
                    let text = String::deserialize(deserializer)?;
                    $name::parse(&text).ok_or_else(|| serde::de::Error::custom("expected 32 hexadecimal digits"))
                } else {
                    u128::deserialize(deserializer).map(|bits| $name(bits.to_be_bytes()))
                }
            }
        }

        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": "string", "pattern": "^[0-9a-f]{32}$" })
            }
        }
    };
}

hex_id! {
    /// Names one event, however often it is published.
    EventId
}

hex_id! {
    /// Names one incident, wherever and whenever it is computed.
    IncidentId
}

impl EventId {
    /// The id of an event whose producer gives a stable key.
    pub fn from_source_key(tenant: &str, source: &str, source_event_id: &str) -> Self {
        let parts = [tenant.as_bytes(), source.as_bytes(), source_event_id.as_bytes()];
        EventId(digest(&EVENT_BY_KEY, &parts))
    }

    /// The id of an event without such a key: its bytes as they came.
    pub fn from_raw(tenant: &str, source: &str, raw: &[u8]) -> Self {
        EventId(digest(&EVENT_BY_BYTES, &[tenant.as_bytes(), source.as_bytes(), raw]))
    }

    /// The id of the completion of a rule at an instant, which is an event to the rules that build on it. Like that of an
    /// incident it names the time and not the event that completed the rule.
    pub fn of_completion(tenant: &str, rule: &str, key: &str, at: EventTime) -> Self {
        let at = at.as_micros().to_le_bytes();
        let parts = [tenant.as_bytes(), rule.as_bytes(), key.as_bytes(), &at];
        EventId(digest(&COMPLETION, &parts))
    }

    /// The id of this event, from its key or from its bytes.
    pub fn of(event: &Event<'_>, raw: &[u8]) -> Self {
        match &event.source_event_id {
            Some(key) => EventId::from_source_key(&event.tenant, &event.source, key),
            None => EventId::from_raw(&event.tenant, &event.source, raw),
        }
    }
}

impl IncidentId {
    /// The id of the incident whose first match was complete, in event time, at `opening`.
    ///
    /// The time and not the event that completed it: of several events in one instant any could be the last to arrive.
    /// `generation` counts the incidents of that rule and key which lasted over that instant before and ended.
    pub fn of(tenant: &str, rule: &str, key: &str, opening: EventTime, generation: u32) -> Self {
        let (opening, generation) = (opening.as_micros().to_le_bytes(), generation.to_le_bytes());
        let parts = [tenant.as_bytes(), rule.as_bytes(), key.as_bytes(), &opening, &generation];
        IncidentId(digest(&INCIDENT, &parts))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cannot_be_shifted() {
        assert_ne!(EventId::from_source_key("a", "bc", "d"), EventId::from_source_key("ab", "c", "d"));
    }

    #[test]
    fn an_id_reads_back() {
        let id = EventId::from_source_key("default", "iris", "1");
        assert_eq!(EventId::parse(&id.to_string()), Some(id));
        assert_eq!(EventId::parse("xyz"), None);
    }
}
