//! What `sightline-generate` makes is what the shipped rules find: every rule fires on its attack, and none on a day on
//! which nothing happens.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use assert_cmd::cargo::cargo_bin;

/// The generator, which another package of the workspace builds.
fn generator() -> Option<PathBuf> {
    let path = cargo_bin!("sightline").with_file_name("sightline-generate");
    if !path.exists() {
        eprintln!("left out: sightline-generate is not built; `cargo build --workspace` builds it");
        return None;
    }
    Some(path)
}

/// The rules that open incidents over what the generator makes.
fn rules_that_fire(generator: &Path, arguments: &[&str]) -> BTreeSet<String> {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let events = folder.path().join("events.ndjson");
    let made = Command::new(generator).args(arguments).arg("-o").arg(&events).status().expect("it starts");
    assert!(made.success());
    let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("rules");
    let output = Command::new(cargo_bin!("sightline"))
        .args(["backtest", "--strict", "--format", "ndjson", "--rules"])
        .args([&rules, &events])
        .output()
        .expect("it starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let messages = output.stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    messages
        .map(|line| serde_json::from_slice::<serde_json::Value>(line).expect("an incident message"))
        .map(|message| message["incident"]["rule"]["id"].as_str().expect("a rule").to_owned())
        .collect()
}

/// The ids of all shipped rules, as their files have them.
fn shipped_rules() -> BTreeSet<String> {
    let mut ids = BTreeSet::new();
    for entry in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("rules")).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        if name.ends_with(".yaml") && !name.ends_with(".test.yaml") {
            let text = std::fs::read_to_string(&path).expect("a rule file");
            ids.extend(text.lines().filter_map(|line| line.strip_prefix("  - id: ")).map(str::to_owned));
        }
    }
    ids
}

#[test]
fn every_shipped_rule_fires_on_a_generated_attack() {
    let Some(generator) = generator() else { return };
    let shipped = shipped_rules();
    assert!(shipped.len() >= 16, "{shipped:?}");
    assert_eq!(rules_that_fire(&generator, &["--count", "1000", "--seed", "3"]), shipped);
}

#[test]
fn no_shipped_rule_fires_on_a_day_on_which_nothing_happens() {
    let Some(generator) = generator() else { return };
    let nothing = rules_that_fire(&generator, &["--count", "20000", "--attack", "none", "--seed", "4"]);
    assert_eq!(nothing, BTreeSet::new());
}

#[test]
fn an_attack_fires_the_rules_that_its_list_names() {
    let Some(generator) = generator() else { return };
    let list = Command::new(&generator).arg("--list").output().expect("it starts");
    let list = String::from_utf8(list.stdout).expect("text");
    assert!(list.lines().count() >= 12, "{list}");
    for line in list.lines() {
        let (attack, rules) = line.split_once(' ').expect("a name and rules");
        let expected: BTreeSet<String> = rules.split(',').map(|rule| rule.trim().to_owned()).collect();
        let found = rules_that_fire(&generator, &["--count", "10", "--attack", attack, "--rounds", "2"]);
        assert_eq!(found, expected, "{attack}");
    }
}
