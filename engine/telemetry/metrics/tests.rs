use sightline_schemas::Change;
use sightline_schemas::edge::Reason;

use super::*;

/// All metrics with something in each.
fn filled() -> Metrics {
    let metrics = Metrics::new();
    metrics.set_rules(["brute-force"]);
    metrics.rule("brute-force").hits(3);
    metrics.rule("brute-force").incident(Change::Opened);
    metrics.source("edr").events(2);
    metrics.source("edr").dead_letter(Reason::BadTime);
    metrics.input(7, EventTime::from_micros(1_500_000), 3);
    metrics.checkpoint_taken(Duration::from_millis(20), 4096, 5);
    metrics.coverage_gap(12);
    metrics.states_packed(40, 30);
    metrics
}

/// Name, type and help of every metric, read from the text as a scraper would.
fn families(text: &str) -> Vec<(String, String, String)> {
    let mut helps = std::collections::BTreeMap::new();
    let mut families = Vec::new();
    for line in text.lines() {
        if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) {
            helps.insert(name.to_owned(), help.to_owned());
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' '))
        {
            let help = helps.get(name).cloned().unwrap_or_default();
            families.push((name.to_owned(), kind.to_owned(), help));
        }
    }
    families
}

#[test]
fn names_follow_the_conventions() {
    let text = filled().render();
    let families = families(&text);
    for (name, kind, help) in &families {
        assert!(!help.is_empty(), "{name} has no help");
        assert!(name.starts_with("sightline_") || name.starts_with("process_"), "{name}");
        assert_eq!(name.ends_with("_total"), kind == "counter", "{name} is a {kind}");
        for wrong in ["_ms", "_millis", "_micros", "_minutes", "_kb", "_mib", "_percent", "_count", "_sum"] {
            assert!(!name.trim_end_matches("_total").ends_with(wrong), "{name}");
        }
        if kind == "histogram" {
            assert!(name.ends_with("_seconds") || name.ends_with("_events"), "{name} has no base unit");
        }
    }
    let own = families.iter().filter(|(name, _, _)| name.starts_with("sightline_")).count();
    // Every field of Series, its two parts, and the build: a metric that is declared and not rendered shows here.
    assert_eq!(own, 22 + 5 + 9 + 1, "{text}");
}

#[test]
fn values_arrive_where_they_belong() {
    let text = filled().render();
    for line in [
        "sightline_hits_total{rule=\"brute-force\"} 3",
        "sightline_incidents_total{change=\"opened\",rule=\"brute-force\"} 1",
        "sightline_incidents_total{change=\"merged\",rule=\"brute-force\"} 0",
        "sightline_events_total{source=\"edr\"} 2",
        "sightline_dead_letters_total{reason=\"bad_time\",source=\"edr\"} 1",
        "sightline_input_position 7",
        "sightline_input_lag_messages 3",
        "sightline_log_time_seconds 1.5",
        "sightline_checkpoints_total{result=\"ok\"} 1",
        "sightline_checkpoints_total{result=\"failed\"} 0",
        "sightline_checkpoint_bytes 4096",
        "sightline_state_packed_keys 40",
        "sightline_state_disk_keys 30",
        "sightline_missing_messages_total 12",
        "sightline_rules_loaded 1",
    ] {
        assert!(text.lines().any(|found| found == line), "missing: {line}\n{text}");
    }
}

#[test]
fn a_removed_rule_takes_its_series_along() {
    let metrics = filled();
    metrics.set_rules(["brute-force", "exfiltration"]);
    metrics.rule("brute-force").hits(1);
    assert!(metrics.render().contains("sightline_hits_total{rule=\"brute-force\"} 4"));
    metrics.set_rules(["exfiltration"]);
    let text = metrics.render();
    assert!(!text.contains("brute-force"), "{text}");
    assert!(text.contains("sightline_hits_total{rule=\"exfiltration\"} 0"), "{text}");
    assert!(text.contains("sightline_rules_loaded 1"), "{text}");
}

#[test]
fn sources_beyond_the_bound_count_together() {
    let metrics = Metrics::new();
    for index in 0..SOURCES_MAX + 10 {
        metrics.source(&format!("s{index}")).events(1);
    }
    metrics.source("s0").events(1);
    let text = metrics.render();
    assert!(text.contains("sightline_events_total{source=\"other\"} 10\n"), "{text}");
    assert!(text.contains("sightline_events_total{source=\"s0\"} 2\n"), "{text}");
    assert_eq!(text.matches("sightline_events_total{").count(), SOURCES_MAX + 1);
}

#[test]
fn two_engines_in_one_process_do_not_count_together() {
    let (one, two) = (Metrics::new(), Metrics::new());
    one.reconnected();
    assert!(one.render().contains("sightline_reconnects_total 1"));
    assert!(two.render().contains("sightline_reconnects_total 0"));
}
