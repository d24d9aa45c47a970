//! Scenarios: messages in, incidents out, in every configuration. `tests/README.md` says how to add one.

mod support;

use std::collections::BTreeMap;

use bytes::Bytes;
use sightline::bus::LogMessage;
use support::outcome::{broken_promises, messages, remaining};
use support::runs::{batches, restarts};
use support::scenario::{SettingsPatch, folder, rules_message};
use support::scenario_check::check_file;

macro_rules! files {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            check_file(concat!(stringify!($name), ".yaml"));
        })*

        #[test]
        fn every_file_of_scenarios_is_checked() {
            let listed = [$(concat!(stringify!($name), ".yaml")),*];
            let there = std::fs::read_dir(folder("tests/scenarios")).expect("the folder is there");
            for file in there {
                let name = file.expect("it can be listed").file_name();
                assert!(listed.iter().any(|listed| name == *listed), "add {name:?} to `files!`");
            }
        }
    };
}

files! {
    clock engine measures patterns poison policies predicates sentracore sequences sigma streamtrace trace
}

/// The recorded intrusions, as a file: log time follows event time.
fn demo() -> Vec<LogMessage> {
    let text = std::fs::read(folder("tests/data").join("demo.ndjson")).expect("the demo is there");
    let text = Bytes::from(text);
    let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let message = |(at, line): (usize, &[u8])| LogMessage {
        seq: at as u64 + 1,
        subject: None,
        content_type: None,
        content_encoding: None,
        received_at: None,
        body: text.slice_ref(line),
    };
    lines.enumerate().map(message).collect()
}

/// What `tests/data/demo_truth.json` lists, counted in incidents: by its rules A, B, C, D, E, G and H, and the three
/// that E builds on. B's five visits are five incidents of one address; C's six accesses to lsass are one incident for
/// each of four hosts. Beside these, ten values that iris lists have a finding of sentry.
#[test]
fn the_recorded_intrusions_are_found_in_every_configuration() {
    let files = ["intrusion.yaml", "sentracore.yaml", "streamtrace.yaml", "trace.yaml"].map(str::to_owned);
    let rules = rules_message(&files, &[&SettingsPatch::default()]);
    let log = demo();
    let plain = batches(&rules, &log, 1, 1);
    let said = messages(&plain.incidents);
    assert_eq!(broken_promises(&said), Vec::<String>::new());
    let mut found: BTreeMap<String, usize> = BTreeMap::new();
    for summary in remaining(&said).into_values() {
        *found.entry(summary.rule).or_default() += 1;
    }
    let expected = [
        ("drop_and_run", 5),
        ("phish_host_visited", 5),
        ("drop_run_dump", 4),
        ("shared_c2", 1),
        ("password_spray", 1),
        ("kerberoast", 1),
        ("winrm_fan_out", 1),
        ("spray_roast_fan_out", 1),
        ("shared_dropped_file", 1),
        ("remote_logon_then_shell", 3),
        ("cr_ioc_to_finding", 10),
    ];
    let expected: BTreeMap<String, usize> =
        expected.into_iter().map(|(rule, count)| (rule.to_owned(), count)).collect();
    assert_eq!(found, expected);
    assert_eq!((plain.counts.events, plain.dead_letters.len()), (log.len() as u64, 0));

    for (partitions, batch) in [(2, 3), (7, 1_000), (2, 10_000)] {
        let run = batches(&rules, &log, partitions, batch);
        assert!(run.incidents == plain.incidents, "{partitions} partitions, batches of {batch}");
        assert_eq!(run.counts, plain.counts);
    }
    assert!(restarts(&rules, &log, 100).incidents == plain.incidents, "with restarts");
}
