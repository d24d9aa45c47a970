//! Sigma rules mean here what they mean elsewhere.
//!
//! SigmaHQ's rules and four lanes of events are read from `SIGHTLINE_DATA`, where it is set; a few of both ship in
//! `tests/data/sigma`. `SIGHTLINE_SIGMA_EVENTS` is how many events of each lane are compared (`make sigma` for all).

mod archive;
mod detections;
mod rsigma;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use sightline_core::rule::diagnostic::Color;
use sightline_core::rule::{Source, check};
use sightline_schemas::control::EngineSettings;

/// Rules that cannot be loaded, and why: look-around needs more than linear time.
const NOT_LOADED: [(&str, &str); 0] = [];

fn data() -> Option<PathBuf> {
    let folder = std::env::var_os("SIGHTLINE_DATA").map(PathBuf::from)?;
    let there = folder.join("sigma").is_dir();
    if !there {
        eprintln!("SKIPPED: SIGHTLINE_DATA has no folder `sigma`");
    }
    there.then(|| folder.join("sigma"))
}

fn shipped() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/sigma")
}

/// The events of each lane that are compared.
fn events_max() -> usize {
    let said = std::env::var("SIGHTLINE_SIGMA_EVENTS").ok();
    said.map_or(300, |said| said.parse().expect("SIGHTLINE_SIGMA_EVENTS is a number"))
}

/// Loads each file by itself; the rest, and why they are left out.
fn loadable(files: Vec<Source>) -> (Vec<Source>, Vec<String>) {
    let mut refused = Vec::new();
    let whole = files.clone();
    let Err(problems) = check::check(&whole, &EngineSettings::default()) else { return (files, refused) };
    let mut wrong: BTreeMap<usize, String> = BTreeMap::new();
    for problem in problems {
        let said = problem.render(&whole, Color::Plain);
        wrong.entry(problem.file).or_insert(said);
    }
    let kept = files
        .into_iter()
        .enumerate()
        .filter(|(at, _)| !wrong.contains_key(at))
        .map(|(_, file)| file)
        .collect();
    refused.extend(wrong.into_values());
    (kept, refused)
}

#[test]
fn all_rules_of_sigmahq_load() {
    let Some(data) = data() else { return eprintln!("SKIPPED: SIGHTLINE_DATA is not set") };
    let files = archive::rules(&data.join("sigmahq_rules.tar.zst"));
    assert_eq!(files.len(), 3_141);
    let (kept, refused) = loadable(files);
    let expected =
        |text: &&String| NOT_LOADED.iter().any(|(name, why)| text.contains(name) && text.contains(why));
    let unexpected: Vec<&String> = refused.iter().filter(|text| !expected(text)).collect();
    assert!(unexpected.is_empty(), "{} of 3,141 do not load:\n{}", unexpected.len(), refused.join("\n"));
    let checked = check::check(&kept, &EngineSettings::default()).expect("what is left loads");
    assert_eq!(checked.rules.rules.len(), kept.len());
    eprintln!("{} rules loaded, {} not", kept.len(), refused.len());
}

#[test]
fn detections_are_those_of_rsigma() {
    let reference = match rsigma::Reference::build() {
        Ok(reference) => reference,
        Err(why) => return eprintln!("SKIPPED: rsigma cannot be built here: {why}"),
    };
    let small = shipped();
    let lines = std::fs::read_to_string(small.join("events.ndjson")).expect("it ships");
    let files = archive::folder(&small);
    compare("shipped", &reference, files, &lines.lines().map(str::to_owned).collect::<Vec<_>>());

    let Some(data) = data() else {
        return eprintln!("SKIPPED: SIGHTLINE_DATA is not set: the lanes are not compared");
    };
    let (files, _) = loadable(archive::rules(&data.join("sigmahq_rules.tar.zst")));
    for lane in ["no_match", "raw_windows", "structured_windows", "sysmon_file_event"] {
        let lines = archive::lines(&data.join(format!("lane_{lane}.ndjson.zst")), events_max());
        compare(lane, &reference, files.clone(), &lines);
    }
}

/// Both detect the same in each event, with log sources and without.
#[track_caller]
fn compare(name: &str, reference: &rsigma::Reference, files: Vec<Source>, lines: &[String]) {
    for routing in [rsigma::Routing::Logsource, rsigma::Routing::None] {
        let theirs = reference.detections(&files, lines, routing);
        let ours = detections::detections(files.clone(), lines, routing);
        let missing: Vec<_> = theirs.iter().filter(|detection| !ours.contains(detection)).collect();
        let extra: Vec<_> = ours.iter().filter(|detection| !theirs.contains(detection)).collect();
        let shown = |differing: &[&(usize, String)]| {
            let lines =
                differing.iter().take(5).map(|(event, rule)| format!("  {rule} in {}", lines[*event]));
            lines.collect::<Vec<_>>().join("\n")
        };
        assert!(
            missing.is_empty() && extra.is_empty(),
            "{name}, {routing:?}: of {} detections {} are missing:\n{}\nand {} are too many:\n{}",
            theirs.len(),
            missing.len(),
            shown(&missing),
            extra.len(),
            shown(&extra),
        );
        eprintln!("{name}, {routing:?}: {} events, {} detections, no difference", lines.len(), ours.len());
    }
}
