//! What rsigma detects: rules from a folder, events from standard input, one JSON object a line.
//!
//! Prints `event<TAB>rule` for each detection, both in order, the event by its number from 0. With `--logsource` a rule is
//! asked only for events whose `product`, `category` and `service` do not say otherwise. Rules that it does not take are
//! told on standard error.

use std::io::{BufRead, BufWriter, Write};
use std::path::{Path, PathBuf};

use rsigma_eval::{Engine, JsonEvent, LogSourceExtractor};
use rsigma_parser::parse_sigma_yaml;

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

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let folder = arguments.iter().find(|argument| !argument.starts_with("--")).ok_or("name a folder of rules")?;
    let mut engine = Engine::new();
    if arguments.iter().any(|argument| argument == "--logsource") {
        engine.set_logsource_extractor(Some(LogSourceExtractor::new()));
    }
    let mut paths = Vec::new();
    files(Path::new(folder), &mut paths)?;
    paths.sort();
    for path in paths {
        let text = std::fs::read_to_string(&path)?;
        let taken = parse_sigma_yaml(&text).map_err(|error| error.to_string()).and_then(|collection| {
            match collection.errors.first() {
                Some(error) => Err(error.clone()),
                None => collection
                    .rules
                    .iter()
                    .try_for_each(|rule| engine.add_rule(rule).map_err(|error| error.to_string())),
            }
        });
        if let Err(why) = taken {
            eprintln!("not taken\t{}\t{}", path.display(), why.replace('\n', " "));
        }
    }
    let mut out = BufWriter::new(std::io::stdout());
    for (number, line) in std::io::stdin().lock().lines().enumerate() {
        let value: serde_json::Value = serde_json::from_str(&line?)?;
        let results = engine.evaluate(&JsonEvent::borrow(&value));
        let mut ids: Vec<&str> = results.iter().filter_map(|result| result.header.rule_id.as_deref()).collect();
        ids.sort_unstable();
        for id in ids {
            writeln!(out, "{number}\t{id}")?;
        }
    }
    out.flush()?;
    Ok(())
}
