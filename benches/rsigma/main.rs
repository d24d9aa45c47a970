//! How fast rsigma detects: `FOLDER-OF-RULES EVENTS ROUNDS plain|routed`, the events one JSON object a line. `routed` has it
//! ask only the rules whose log source the event does not contradict; that finds the same.
//!
//! Prints for each round the nanoseconds of this thread's processor time that an event took, reading it from its line
//! included, and at the end the detections as `event<TAB>rule`, in order, the event by its number from 0.

use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rsigma_eval::{Engine, JsonEvent, LogSourceExtractor};
use rsigma_parser::parse_sigma_yaml;
use rustix::time::{ClockId, clock_gettime};

fn files(folder: &Path, found: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            files(&path, found)?;
        } else if path.extension().is_some_and(|ending| ending == "yml") {
            found.push(path);
        }
    }
    Ok(())
}

fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, events, rounds, way] = &arguments[..] else {
        return Err("FOLDER EVENTS ROUNDS plain|routed".into());
    };
    let mut engine = Engine::new();
    if way == "routed" {
        engine.set_logsource_extractor(Some(LogSourceExtractor::new()));
    }
    let mut paths = Vec::new();
    files(Path::new(folder), &mut paths)?;
    paths.sort();
    let mut rules = Vec::new();
    for path in paths {
        let collection = parse_sigma_yaml(&std::fs::read_to_string(&path)?)?;
        rules.extend(collection.rules);
    }
    if let Some((at, why)) = engine.add_rules(&rules).first() {
        return Err(format!("rule {at} is not taken: {why}").into());
    }
    let text = std::fs::read_to_string(events)?;
    let lines: Vec<&str> = text.lines().collect();
    let mut found: Vec<Vec<String>> = Vec::new();
    for round in 0..rounds.parse::<usize>()? {
        let began = cpu();
        let mut results = 0;
        for line in &lines {
            let value: serde_json::Value = serde_json::from_str(line)?;
            let results_of_event = engine.evaluate(&JsonEvent::borrow(&value));
            results += results_of_event.len();
            if round == 0 {
                let id = |result: &rsigma_eval::EvaluationResult| result.header.rule_id.clone();
                found.push(results_of_event.iter().filter_map(id).collect());
            }
        }
        std::hint::black_box(results);
        // The first round is the one that notes what was found, and warms up.
        if round > 0 {
            println!("ns\t{}", (cpu() - began).as_nanos() / lines.len().max(1) as u128);
        }
    }
    let mut out = BufWriter::new(std::io::stdout());
    for (number, mut ids) in found.into_iter().enumerate() {
        ids.sort_unstable();
        for id in ids {
            writeln!(out, "{number}\t{id}")?;
        }
    }
    out.flush()?;
    Ok(())
}
