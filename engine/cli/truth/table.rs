//! The comparison as people read it.

use std::fmt::Write;

use sightline_schemas::EventTime;

use super::{RULES, Report, Verdict};
use crate::cli::cell::{self, short_value};
use crate::cli::paint::Paint;

/// The table and a last line that says it all; no line end.
pub fn table(report: &Report, paint: Paint) -> String {
    let mut table = cell::table(&["", "rule", "firing", "when", "verdict"], paint);
    for row in &report.rows {
        let firing = &row.firing;
        let letter = RULES.iter().find(|(_, id)| *id == firing.rule).map_or("", |(letter, _)| *letter);
        // The latest fact is what completed it.
        let when = firing.facts.values().filter_map(|fact| time(fact)).max();
        let when = when.map_or(String::new(), |time| time.to_string());
        let identity: Vec<String> = firing
            .identity
            .iter()
            .filter(|part| time(part).is_none())
            .map(|part| short_value(part, 60))
            .collect();
        let verdict = match &row.verdict {
            Verdict::Found => paint.good("found"),
            Verdict::Missing => paint.bad("MISSING"),
            Verdict::Extra => paint.bad("EXTRA"),
            Verdict::Differs(facts) => {
                let told = facts.iter().map(|(name, expected, found)| {
                    format!(
                        "{name}: expected {}, found {}",
                        cell::shown(expected, 80),
                        cell::shown(found, 80)
                    )
                });
                paint.bad(&format!("DIFFERS in {}", told.collect::<Vec<_>>().join("; ")))
            }
        };
        table.add_row([letter.to_owned(), firing.rule.to_owned(), identity.join("  "), when, verdict]);
    }
    let mut out = table.trim_fmt();
    let _ = write!(out, "\n\n{}", last_line(report, paint));
    if !report.unlisted.is_empty() {
        let rules = report.unlisted.iter().map(|(rule, count)| format!("{} {count}", cell::shown(rule, 60)));
        let _ = write!(out, "\nnot in the truth file: {}", rules.collect::<Vec<_>>().join(", "));
    }
    out
}

fn last_line(report: &Report, paint: Paint) -> String {
    let found = report.count(|verdict| *verdict == Verdict::Found);
    let differ = report.count(|verdict| matches!(verdict, Verdict::Differs(_)));
    let missing = report.count(|verdict| *verdict == Verdict::Missing);
    let extra = report.count(|verdict| *verdict == Verdict::Extra);
    let expected = report.rows.len() - extra;
    let mut line = format!("{found} of {expected} expected firings found, {missing} missing, {extra} extra");
    if differ > 0 {
        let _ = write!(line, ", {differ} that differ");
    }
    if report.agrees() { paint.good(&line) } else { paint.bad(&line) }
}

fn time(fact: &str) -> Option<EventTime> {
    EventTime::parse(fact).ok()
}
