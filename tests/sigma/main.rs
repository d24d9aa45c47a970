//! Sigma rules mean here what they mean elsewhere.
//!
//! SigmaHQ's rules and four lanes of events are read from `SIGHTLINE_DATA`, where it is set; a few of both ship in
//! `tests/data/sigma`. `SIGHTLINE_TEST_SIGMA_EVENTS` is how many events of each lane are compared, `SIGHTLINE_TEST_SIGMA_CASES` how many
//! random correlations of each type and order (`make sigma` for the long run). The references are no part of what ships:
//! they are built and fetched here, and where that cannot be done the test says what it skips.

mod archive;
mod correlations;
mod detections;
mod pysigma;
#[path = "../sim/random.rs"]
#[expect(dead_code, reason = "the simulation uses more of it")]
mod random;
mod rsigma;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use sightline_core::rule::diagnostic::Color;
use sightline_core::rule::{Source, check};
use sightline_core::sigma::convert::convert;
use sightline_schemas::control::EngineSettings;

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
    let said = std::env::var("SIGHTLINE_TEST_SIGMA_EVENTS").ok();
    said.map_or(300, |said| said.parse().expect("SIGHTLINE_TEST_SIGMA_EVENTS is a number"))
}

/// The files that load together, and what is said of the others.
fn loadable(files: Vec<Source>) -> (Vec<Source>, Vec<String>) {
    let Err(problems) = check::check(&files, &EngineSettings::default()) else { return (files, Vec::new()) };
    let mut wrong: BTreeMap<usize, String> = BTreeMap::new();
    for problem in problems {
        let said = problem.render(&files, Color::Plain);
        wrong.entry(problem.file).or_insert(said);
    }
    let kept = files.into_iter().enumerate().filter(|(at, _)| !wrong.contains_key(at)).map(|(_, file)| file);
    (kept.collect(), wrong.into_values().collect())
}

#[test]
fn all_rules_of_sigmahq_load() {
    let Some(data) = data() else { return eprintln!("SKIPPED: SIGHTLINE_DATA is not set") };
    let files = archive::rules(&data.join("sigmahq_rules.tar.zst"));
    assert_eq!(files.len(), 3_141);
    let (kept, refused) = loadable(files);
    assert!(refused.is_empty(), "{} of 3,141 do not load:\n{}", refused.len(), refused.join("\n"));
    eprintln!("{} rules loaded", kept.len());
}

#[test]
fn what_is_converted_to_native_rules_says_the_same() {
    let files = match data() {
        Some(data) => archive::rules(&data.join("sigmahq_rules.tar.zst")),
        None => archive::folder(&shipped()),
    };
    // Every tenth: what a rule looks like does not depend on the others.
    let files: Vec<Source> = files.into_iter().step_by(10).collect();
    let converted = convert(&files).unwrap_or_else(|problems| {
        panic!("{}", problems.iter().map(|problem| problem.render(&files, Color::Plain)).collect::<String>())
    });
    let versions = |files: &[Source]| -> BTreeMap<String, String> {
        let checked = check::check(files, &EngineSettings::default()).unwrap_or_else(|problems| {
            panic!(
                "{}",
                problems.iter().map(|problem| problem.render(files, Color::Plain)).collect::<String>()
            )
        });
        checked.rules.rules.into_iter().map(|rule| (rule.reference.id, rule.reference.version)).collect()
    };
    let native = vec![Source { name: "native.yaml".to_owned(), text: converted.text.clone() }];
    assert_eq!(versions(&native), versions(&files));
    assert!(converted.left_out.iter().any(|what| what.ends_with(": `date`")), "{:?}", converted.left_out);
}

#[test]
fn detections_are_those_of_rsigma() {
    let reference = match rsigma::Reference::build() {
        Ok(reference) => reference,
        Err(why) => return eprintln!("SKIPPED: rsigma cannot be built here: {why}"),
    };
    let small = shipped();
    let lines = std::fs::read_to_string(small.join("events.ndjson")).expect("it ships");
    let lines: Vec<String> = lines.lines().map(str::to_owned).collect();
    compare(&reference, archive::folder(&small), &[("shipped", lines)]);

    let Some(data) = data() else {
        return eprintln!("SKIPPED: SIGHTLINE_DATA is not set: the lanes are not compared");
    };
    let files = archive::rules(&data.join("sigmahq_rules.tar.zst"));
    let lanes = ["no_match", "raw_windows", "structured_windows", "sysmon_file_event"];
    let lanes =
        lanes.map(|name| (name, archive::lines(&data.join(format!("lane_{name}.ndjson.zst")), events_max())));
    compare(&reference, files, &lanes);
}

/// Whether a rule lists keywords under `|all`: rsigma takes each of those for a whole value, pySigma for a part of one.
fn has_all_keywords(file: &Source) -> bool {
    file.text.lines().any(|line| line.trim_start().trim_start_matches("- ").starts_with("'|all':"))
}

/// Both detect the same in each event, with log sources and without.
#[track_caller]
fn compare(reference: &rsigma::Reference, files: Vec<Source>, lanes: &[(&str, Vec<String>)]) {
    let (apart, files): (Vec<Source>, Vec<Source>) = files.into_iter().partition(has_all_keywords);
    eprintln!("{} rules compared, {} with keywords under `|all` are not", files.len(), apart.len());
    for routing in [rsigma::Routing::Logsource, rsigma::Routing::None] {
        let rules = detections::compiled(files.clone(), routing);
        for (name, lines) in lanes {
            let theirs = reference.detections(&files, lines, routing);
            let ours = detections::detections(&rules, lines);
            let missing: Vec<_> = theirs.difference(&ours).collect();
            let extra: Vec<_> = ours.difference(&theirs).collect();
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
            eprintln!(
                "{name}, {routing:?}: {} events, {} detections, no difference",
                lines.len(),
                ours.len()
            );
        }
    }
}

#[test]
fn correlations_are_those_of_pysigma() {
    let reference = match pysigma::Reference::fetch() {
        Ok(reference) => reference,
        Err(why) => return eprintln!("SKIPPED: pySigma cannot be had here: {why}"),
    };
    let said = |name: &str| std::env::var(name).ok().map(|said| said.parse::<u64>().expect("a number"));
    let each = said("SIGHTLINE_TEST_SIGMA_CASES").unwrap_or(4);
    let first = said("SIGHTLINE_TEST_SIGMA_SEED").unwrap_or(0);
    let mut cases = Vec::new();
    for sort in correlations::SORTS {
        for order in correlations::ORDERS {
            for seed in first..first + each {
                let place = seed * 1_000 + sort as u64 * 10 + order as u64;
                cases.push((
                    order,
                    seed,
                    correlations::Case::random(sort, order, &mut random::Random::new(place)),
                ));
            }
        }
    }
    let lines: Vec<String> = cases.iter().map(|(_, _, case)| case.for_reference()).collect();
    let mut compared: BTreeMap<_, (u64, u64)> = BTreeMap::new();
    let mut wrong = Vec::new();
    for ((order, seed, case), answer) in cases.iter().zip(reference.answers(&lines)) {
        let (theirs, ours) = (case.brought_about(&answer), case.alerts());
        let (cases, alerts) = compared.entry((case.sort, *order)).or_default();
        (*cases, *alerts) = (*cases + 1, *alerts + ours.len() as u64);
        if theirs != ours {
            let relative = |alerts: Vec<&correlations::Alert>| -> Vec<String> {
                alerts
                    .iter()
                    .map(|(at, group)| format!("+{} ms {}", at - correlations::START, group.join(" | ")))
                    .collect()
            };
            wrong.push(format!(
                "{:?}, {order:?}, seed {seed}:\nmissing {:?}\ntoo many {:?}\n{}\n{}",
                case.sort,
                relative(theirs.difference(&ours).collect()),
                relative(ours.difference(&theirs).collect()),
                case.rules,
                case.arrival
                    .iter()
                    .map(|place| case.events[*place].to_string())
                    .collect::<Vec<_>>()
                    .join("\n"),
            ));
        }
    }
    for ((sort, order), (cases, alerts)) in &compared {
        eprintln!("{sort:?}, {order:?}: {cases} cases, {alerts} alerts");
    }
    let kinds: Vec<&str> = wrong.iter().filter_map(|text| text.lines().next()).collect();
    let first = wrong.first().cloned().unwrap_or_default();
    assert!(wrong.is_empty(), "{} of {} cases differ: {kinds:#?}\n{first}", wrong.len(), cases.len());
}
