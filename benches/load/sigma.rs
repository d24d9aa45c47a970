//! Detection with all of SigmaHQ's rules on four lanes of events, against rsigma: the same rules and events, one thread
//! each, reading the event included, and the same detections.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use sightline::worker::machine::compile;
use sightline_benches::clock;
use sightline_benches::report::{Report, Target};
use sightline_core::detect::Memo;
use sightline_core::rule::RuleSet;
use sightline_schemas::EventTime;
use sightline_schemas::control::{EngineSettings, RuleFile, RulesMessage};
use sightline_schemas::edge::Draft;
use sightline_schemas::source::SourceProfiles;
use sightline_schemas::subject::EventSubject;
use sightline_schemas::wire::Form;
use tokio::runtime::Runtime;

use crate::{Asked, median};

const LANES: [&str; 4] = ["structured_windows", "raw_windows", "sysmon_file_event", "no_match"];
/// How many times faster than rsigma.
const TARGET: f64 = 10.0;

/// Measures it.
pub fn run(asked: &Asked, report: &mut Report, _: &Runtime) -> Result<(), String> {
    let data =
        std::env::var_os("SIGHTLINE_DATA").map(PathBuf::from).ok_or("SIGHTLINE_DATA names no folder")?;
    let archive = unpacked(&data.join("sigma/sigmahq_rules.tar.zst"))?;
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    untar(&archive, folder.path())?;
    let reference = reference();
    if let Err(why) = &reference {
        report.skip("sigma.*.times", why);
    }
    for (rules, take) in [("all", usize::MAX), ("100", 100)] {
        if asked.quick && rules == "100" {
            continue;
        }
        let files = rule_files(folder.path(), take)?;
        let ours = load(&files)?;
        // With few rules nobody has much to do but read.
        let target = if rules == "all" { Target::AtLeast(TARGET) } else { Target::Shown };
        report.line(format!("sigma.{rules}.rules"), ours.rules.len() as f64, Target::Shown, "rules");
        for lane in LANES {
            let text = String::from_utf8(unpacked(&data.join(format!("sigma/lane_{lane}.ndjson.zst")))?)
                .map_err(|error| error.to_string())?;
            let lines: Vec<&str> = text.lines().collect();
            let (cost, found) = detected(&ours, &lines, asked.sized(3, 7));
            let name = format!("sigma.{rules}.{lane}");
            report.line(
                format!("{name}.rate"),
                1e9 / cost,
                Target::Shown,
                "events/s of one core, reading included",
            );
            let Ok(program) = &reference else { continue };
            let rounds = asked.sized(2, 4);
            let mut their_found = Found::new();
            for (way, what) in [("plain", "as it is"), ("routed", "told to go by log sources")] {
                let (their_cost, theirs) = rsigma(program, folder.path(), take, &text, rounds, way)?;
                their_found = theirs;
                let unit = format!("events/s of one core, rsigma 0.23 {what}");
                report.line(format!("{name}.rsigma_{way}_rate"), 1e9 / their_cost, Target::Shown, &unit);
                let unit = format!("times rsigma {what}");
                report.line(format!("{name}.times_{way}"), their_cost / cost, target, &unit);
            }
            let differences = found.symmetric_difference(&their_found).count();
            report.line(format!("{name}.detections"), found.len() as f64, Target::Shown, "detections");
            report.line(
                format!("{name}.differences"),
                differences as f64 + 1.0,
                Target::AtMost(1.0),
                "1 + detections that differ",
            );
        }
    }
    Ok(())
}

fn load(files: &[(String, String)]) -> Result<RuleSet, String> {
    let files =
        files.iter().map(|(name, text)| RuleFile { name: name.clone(), text: text.clone() }).collect();
    compile(&RulesMessage { files, settings: EngineSettings::default(), ..RulesMessage::default() }).map_err(
        |(_, problems)| {
            format!(
                "{} problems with the rules, the first: {}, {}",
                problems.len(),
                problems[0].message,
                problems[0].label
            )
        },
    )
}

type Found = BTreeSet<(usize, String)>;

/// Nanoseconds an event, and what was found.
fn detected(rules: &RuleSet, lines: &[&str], rounds: usize) -> (f64, Found) {
    // What the sensor says is the payload, as a bridge would send it.
    let bodies: Vec<String> =
        lines.iter().map(|line| format!("{{\"ts\":\"2026-01-01T00:00:00Z\",\"fields\":{line}}}")).collect();
    let subject = EventSubject { tenant: "default".to_owned(), source: "sensor".to_owned() };
    let (profiles, received) = (SourceProfiles::default(), EventTime::default());
    let mut memo = Memo::default();
    let mut found = Found::new();
    let mut costs = Vec::new();
    for round in 0..=rounds {
        let mut satisfied = 0u64;
        let (_, spent) = clock::thread(|| {
            for (at, body) in bodies.iter().enumerate() {
                let draft = Draft::read(body.as_bytes(), Form::Json).expect("an event");
                let event = draft.into_event(&subject, received, &profiles).expect("an event");
                rules.detector.satisfied(&event, &mut memo, |(rule, _)| {
                    satisfied += 1;
                    if round == 0 {
                        found.insert((at, rules.rule(rule).reference.id.clone()));
                    }
                });
            }
        });
        std::hint::black_box(satisfied);
        // The first round notes what was found, and warms up.
        if round > 0 {
            costs.push(spent.nanos_each(bodies.len() as u64));
        }
    }
    (median(costs), found)
}

/// Builds the program that runs rsigma.
fn reference() -> Result<PathBuf, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let target = root.join("../target/rsigma");
    let build = Command::new(env!("CARGO"))
        .args(["build", "--release", "--locked", "--quiet", "--manifest-path"])
        .arg(root.join("rsigma/Cargo.toml"))
        .arg("--target-dir")
        .arg(&target)
        .output()
        .map_err(|error| error.to_string())?;
    match build.status.success() {
        true => Ok(target.join("release/sightline-bench-rsigma")),
        false => {
            Err(format!("rsigma cannot be built: {}", String::from_utf8_lossy(&build.stderr).trim_end()))
        }
    }
}

fn rsigma(
    program: &Path,
    rules: &Path,
    take: usize,
    events: &str,
    rounds: usize,
    way: &str,
) -> Result<(f64, Found), String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    for (at, (_, text)) in rule_files(rules, take)?.iter().enumerate() {
        std::fs::write(folder.path().join(format!("{at:06}.yml")), text)
            .map_err(|error| error.to_string())?;
    }
    let file = folder.path().join("events.ndjson");
    std::fs::write(&file, events).map_err(|error| error.to_string())?;
    let run = Command::new(program)
        .arg(folder.path())
        .arg(&file)
        .arg((rounds + 1).to_string())
        .arg(way)
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| error.to_string())?;
    if !run.status.success() {
        return Err("rsigma's program failed".to_owned());
    }
    let (mut costs, mut found) = (Vec::new(), Found::new());
    for line in String::from_utf8_lossy(&run.stdout).lines() {
        match line.split_once('\t') {
            Some(("ns", nanos)) => costs.extend(nanos.parse::<f64>()),
            Some((event, rule)) => {
                let event = event.parse().map_err(|_| format!("{line:?}"))?;
                found.insert((event, rule.to_owned()));
            }
            None => return Err(format!("{line:?}")),
        }
    }
    Ok((median(costs), found))
}

/// Name and text of the first rules, in order of their names.
fn rule_files(folder: &Path, take: usize) -> Result<Vec<(String, String)>, String> {
    let mut paths = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).map_err(|error| error.to_string())? {
            let path = entry.map_err(|error| error.to_string())?.path();
            match path.is_dir() {
                true => folders.push(path),
                false => paths.push(path),
            }
        }
    }
    paths.sort();
    let read = |path: &PathBuf| {
        let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok((path.strip_prefix(folder).unwrap_or(path).display().to_string(), text))
    };
    paths
        .iter()
        .filter(|path| path.extension().is_some_and(|ending| ending == "yml"))
        .take(take)
        .map(read)
        .collect()
}

fn unpacked(path: &Path) -> Result<Vec<u8>, String> {
    let file = std::fs::File::open(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let mut bytes = Vec::new();
    let read = zstd::Decoder::new(file).and_then(|mut decoder| decoder.read_to_end(&mut bytes));
    read.map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(bytes)
}

fn untar(archive: &[u8], into: &Path) -> Result<(), String> {
    let file = into.join("rules.tar");
    std::fs::write(&file, archive).map_err(|error| error.to_string())?;
    let status = Command::new("tar").arg("-xf").arg(&file).arg("-C").arg(into).status();
    std::fs::remove_file(&file).map_err(|error| error.to_string())?;
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("tar ended with {status}")),
        Err(error) => Err(format!("tar: {error}")),
    }
}
