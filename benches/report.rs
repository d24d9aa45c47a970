//! Lines of a report: measured, target, ratio, pass or short. For people as a table, for the next run as JSON.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// What is wanted of a measured number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Target {
    /// At least so much.
    AtLeast(f64),
    /// At most so much.
    AtMost(f64),
    /// Nothing: it is only shown.
    Shown,
}

/// One measured number.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// Words joined by dots, the same from run to run.
    pub name: String,
    /// The number.
    pub measured: f64,
    /// What is wanted.
    pub target: Target,
    /// What it is a number of.
    pub unit: String,
}

impl Line {
    /// How far the target is reached: 1 and more is reached. `None` where nothing is wanted.
    pub fn ratio(&self) -> Option<f64> {
        match self.target {
            Target::AtLeast(target) => Some(self.measured / target),
            Target::AtMost(target) => Some(target / self.measured),
            Target::Shown => None,
        }
    }

    /// `pass`, `short`, or `-` where nothing is wanted.
    pub fn verdict(&self) -> &'static str {
        match self.ratio() {
            None => "-",
            Some(ratio) if ratio >= 1.0 => "pass",
            Some(_) => "short",
        }
    }

    /// Reads a line that another program printed: `name measured target ratio pass|short`, with anything behind.
    pub fn parse(text: &str) -> Option<Line> {
        let mut words = text.split_whitespace();
        let name = words.next()?.to_owned();
        let measured: f64 = words.next()?.parse().ok()?;
        let target: f64 = words.next()?.parse().ok()?;
        let ratio: f64 = words.next()?.parse().ok()?;
        let verdict = words.next()?;
        if verdict != "pass" && verdict != "short" {
            return None;
        }
        // Which way round it is meant shows in the ratio.
        let is_least = (measured / target - ratio).abs() <= (target / measured - ratio).abs();
        let target = if is_least { Target::AtLeast(target) } else { Target::AtMost(target) };
        Some(Line { name, measured, target, unit: words.collect::<Vec<_>>().join(" ") })
    }
}

/// All lines of a run.
#[derive(Debug, Default)]
pub struct Report {
    lines: Vec<Line>,
}

impl Report {
    /// Adds a line, and prints it.
    pub fn line(&mut self, name: impl Into<String>, measured: f64, target: Target, unit: &str) {
        self.add(Line { name: name.into(), measured, target, unit: unit.to_owned() });
    }

    /// Adds a line, and prints it.
    pub fn add(&mut self, line: Line) {
        println!("{}", shown(&line));
        self.lines.push(line);
    }

    /// Says on the table that something was not measured.
    pub fn skip(&self, name: &str, why: &str) {
        println!("{name:<44} skipped: {why}");
    }

    /// The line of that name.
    pub fn get(&self, name: &str) -> Option<&Line> {
        self.lines.iter().find(|line| line.name == name)
    }

    /// As it is kept for the next run.
    pub fn json(&self, mode: &str) -> Value {
        let lines: Vec<Value> = self
            .lines
            .iter()
            .map(|line| {
                let target = match line.target {
                    Target::AtLeast(target) | Target::AtMost(target) => Some(target),
                    Target::Shown => None,
                };
                json!({
                    "name": line.name, "measured": line.measured, "target": target, "ratio": line.ratio(),
                    "verdict": line.verdict(), "unit": line.unit,
                })
            })
            .collect();
        json!({ "mode": mode, "machine": machine(), "lines": lines })
    }

    /// Prints how each line stands to the same line of an earlier run.
    pub fn compare(&self, earlier: &Value) {
        let lines = earlier["lines"].as_array().into_iter().flatten();
        let known: BTreeMap<&str, f64> =
            lines.filter_map(|line| Some((line["name"].as_str()?, line["measured"].as_f64()?))).collect();
        println!("\n{:<44} {:>14} {:>14} {:>8}", "against the earlier run", "then", "now", "now/then");
        for line in &self.lines {
            if let Some(then) = known.get(line.name.as_str()) {
                let (then_shown, now_shown) = (number(*then), number(line.measured));
                println!("{:<44} {then_shown:>14} {now_shown:>14} {:>8.2}", line.name, line.measured / then);
            }
        }
    }

    /// How many lines are short of their target.
    pub fn short(&self) -> usize {
        self.lines.iter().filter(|line| line.verdict() == "short").count()
    }
}

/// The head of the table.
pub fn head() -> String {
    format!("{:<44} {:>14} {:>14} {:>8}  {:<6} unit", "name", "measured", "target", "ratio", "")
}

fn shown(line: &Line) -> String {
    let target = match line.target {
        Target::AtLeast(target) | Target::AtMost(target) => number(target),
        Target::Shown => "-".to_owned(),
    };
    let ratio = line.ratio().map_or("-".to_owned(), |ratio| format!("{ratio:.2}"));
    let (measured, verdict) = (number(line.measured), line.verdict());
    format!("{:<44} {measured:>14} {target:>14} {ratio:>8}  {verdict:<6} {}", line.name, line.unit)
}

/// Large numbers without a fraction, small ones with three digits.
fn number(value: f64) -> String {
    match value.abs() {
        1_000.0.. => format!("{value:.0}"),
        10.0..1_000.0 => format!("{value:.1}"),
        _ => format!("{value:.3}"),
    }
}

fn machine() -> String {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu
        .lines()
        .find_map(|line| Some(line.strip_prefix("model name")?.trim_start_matches([' ', '\t', ':'])));
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    format!("{cores} x {}", model.unwrap_or("unknown processor"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_another_program_reads_back() {
        let least = Line::parse("memory.quiet_key 120.5 128 1.06 pass bytes").expect("a line");
        assert_eq!((least.target, least.verdict()), (Target::AtMost(128.0), "pass"));
        let most = Line::parse("x.rate 50 100 0.50 short").expect("a line");
        assert_eq!((most.target, most.verdict()), (Target::AtLeast(100.0), "short"));
        assert_eq!(Line::parse("100000 keys, 50 commits of 20000 changes"), None);
    }
}
