//! What became of the events of an outbox, as numbers for a program and as text for Prometheus.

use std::fmt::Write;

use crate::publisher::Counts;
use crate::spool::SpoolState;

/// What became of the events so far. Counts are events, not messages: a frame counts as many as it holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Metrics {
    /// Taken over.
    pub accepted: u64,
    /// Not taken over: the engine would have dead-lettered them.
    pub invalid: u64,
    /// Not taken over once more: the spool has them.
    pub known: u64,
    /// Messages handed over: those that the accepted events were packed into, and those that are no events.
    pub frames: u64,
    /// What the publisher says of them.
    pub counts: Counts,
    /// Whether there is a connection now.
    pub connected: bool,
    /// How full the spool is, if there is one.
    pub spool: Option<SpoolState>,
}

impl Metrics {
    /// The numbers in the text format of Prometheus,
    /// <https://prometheus.io/docs/instrumenting/exposition_formats/>.
    pub fn to_prometheus(&self) -> String {
        let mut text = String::new();
        let counts = &self.counts;
        let events = [
            ("accepted", self.accepted),
            ("invalid", self.invalid),
            ("known", self.known),
            ("sent", counts.sent),
            ("resent", counts.resent),
            ("acknowledged", counts.acknowledged),
            ("duplicate", counts.duplicates),
            ("refused", counts.refused),
            ("given_up", counts.gave_up),
        ];
        family(&mut text, "sightline_producer_events_total", "counter", "Events, by what became of them.");
        for (outcome, number) in events {
            let _ = writeln!(text, "sightline_producer_events_total{{outcome=\"{outcome}\"}} {number}");
        }
        let mut one = |name: &str, kind: &str, help: &str, number: u64| {
            family(&mut text, name, kind, help);
            let _ = writeln!(text, "{name} {number}");
        };
        one(
            "sightline_producer_messages_total",
            "counter",
            "Messages that were handed over: frames of events, and what is no event.",
            self.frames,
        );
        one(
            "sightline_producer_connected",
            "gauge",
            "1 while there is a connection to a server.",
            self.connected.into(),
        );
        if let Some(spool) = &self.spool {
            one(
                "sightline_producer_spool_waiting_events",
                "gauge",
                "Events on disk that are not in the log.",
                spool.waiting_events,
            );
            one("sightline_producer_spool_bytes", "gauge", "Bytes of the spool on disk.", spool.bytes);
            one(
                "sightline_producer_spool_bytes_max",
                "gauge",
                "Most bytes of the spool on disk.",
                spool.bytes_max,
            );
        }
        text
    }
}

fn family(text: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_in_the_text_once_and_each_family_is_declared() {
        let metrics = Metrics {
            accepted: 11,
            invalid: 12,
            known: 13,
            frames: 14,
            counts: Counts {
                sent: 15,
                resent: 16,
                acknowledged: 17,
                duplicates: 18,
                refused: 19,
                gave_up: 20,
            },
            connected: true,
            spool: Some(SpoolState { waiting_events: 21, bytes: 22, bytes_max: 23 }),
        };
        let text = metrics.to_prometheus();
        for number in 11..=23 {
            let found = text.lines().filter(|line| line.ends_with(&format!(" {number}"))).count();
            assert_eq!(found, 1, "{number} in\n{text}");
        }
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let name = line.split([' ', '{']).next().expect("a name");
            assert!(text.contains(&format!("# TYPE {name} ")), "{line}");
        }
        assert!(!Metrics::default().to_prometheus().contains("spool"));
    }
}
