//! Tactics and techniques of MITRE ATT&CK: which ids there are.

use std::collections::HashSet;
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};
use sightline_schemas::incident::AttackIds;
use sightline_schemas::{Event, Value};

use crate::limits::ATTACK_IDS_MAX;

/// The ids of the version that this program knows.
static KNOWN: LazyLock<HashSet<String>> = LazyLock::new(|| {
    let words = include_str!("attack_ids.txt").lines().filter(|line| !line.starts_with('#'));
    let mut known = HashSet::new();
    for word in words.flat_map(str::split_whitespace) {
        let (technique, parts) = word.split_once(':').unwrap_or((word, ""));
        known.insert(technique.to_owned());
        known.extend(
            parts.split(',').filter(|part| !part.is_empty()).map(|part| format!("{technique}.{part}")),
        );
    }
    known
});

/// Whether the id is one of a tactic or technique that is known here.
pub fn is_known(id: &str) -> bool {
    KNOWN.contains(id)
}

/// Tactics and techniques, each once, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attack {
    ids: Vec<Box<str>>,
}

impl Attack {
    /// Takes in an id, in whatever case it is written.
    pub fn add(&mut self, id: &str) {
        let id = id.trim().to_ascii_uppercase();
        if id.is_empty() || id.len() > 32 || self.ids.len() >= ATTACK_IDS_MAX {
            return;
        }
        if let Err(place) = self.ids.binary_search_by(|known| (**known).cmp(id.as_str())) {
            self.ids.insert(place, id.into());
        }
    }

    /// Takes in another set.
    pub fn merge(&mut self, other: &Attack) {
        other.ids.iter().for_each(|id| self.add(id));
    }

    /// What an event names.
    pub fn of(event: &Event<'_>) -> Self {
        let mut attack = Attack::default();
        let named = event.attack.as_ref();
        for part in ["tactics", "techniques"] {
            match named.and_then(|named| named.get(part)) {
                Some(Value::List(ids)) => ids.iter().filter_map(Value::as_str).for_each(|id| attack.add(id)),
                Some(Value::Str(id)) => attack.add(id),
                _ => {}
            }
        }
        attack
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// As an incident shows them; `None` where there is none.
    pub fn shown(&self) -> Option<AttackIds> {
        let is_tactic = |id: &str| id.starts_with("TA");
        let those = |wanted: &dyn Fn(&str) -> bool| -> Vec<String> {
            self.ids.iter().filter(|id| wanted(id)).map(|id| id.to_string()).collect()
        };
        (!self.is_empty()).then(|| AttackIds {
            tactics: those(&is_tactic),
            techniques: those(&|id| !is_tactic(id)),
            unknown: those(&|id| !is_known(id)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_kept_once_and_the_unknown_marked() {
        let mut attack = Attack::default();
        for id in ["T1059.001", "TA0011", "t1071", "T1071", "T9999", " "] {
            attack.add(id);
        }
        let shown = attack.shown().expect("there are some");
        assert_eq!(shown.tactics, ["TA0011"]);
        assert_eq!(shown.techniques, ["T1059.001", "T1071", "T9999"]);
        assert_eq!(shown.unknown, ["T9999"]);
    }
}
