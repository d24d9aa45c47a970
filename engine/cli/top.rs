//! `sightline top`: what a running worker is busy with, again and again, from its metrics.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use anyhow::anyhow;

use crate::cli::exit::{CliError, Exit};
use crate::cli::http::Target;
use crate::cli::paint::Paint;
use crate::cli::settings::Global;
use crate::cli::state::{self, Trust};
use crate::cli::{cell, http};

/// Home, and everything below it away.
const CLEAR: &str = "\x1b[H\x1b[J";

/// Whom to ask, and how often.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The worker's API, such as http://127.0.0.1:9464; `api.listen` of the settings if not given
    #[arg(long, value_name = "URL")]
    api: Option<String>,
    #[command(flatten)]
    trust: Trust,
    /// Seconds from look to look
    #[arg(long, value_name = "SECONDS", default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..3_600))]
    every: u64,
    /// Rules to show
    #[arg(long, value_name = "COUNT", default_value_t = 20)]
    rules: usize,
    /// Print so many tables and end
    #[arg(long, value_name = "COUNT")]
    times: Option<u64>,
}

/// What was counted at one moment: by name, and by rule where there is one.
struct Look {
    at: Instant,
    values: BTreeMap<(String, String), f64>,
}

impl Look {
    /// The sum of a metric over all its series.
    fn sum(&self, name: &str) -> f64 {
        self.values.iter().filter(|((known, _), _)| known == name).map(|(_, value)| value).sum()
    }

    fn of_rule(&self, name: &str, rule: &str) -> f64 {
        self.values.get(&(name.to_owned(), rule.to_owned())).copied().unwrap_or(0.0)
    }
}

/// Shows the worker until it is told to stop, or as often as asked.
///
/// # Errors
/// When the worker does not answer.
pub async fn run(global: &Global, args: &Args) -> Result<Exit, CliError> {
    let target = state::target(&global.load()?.config.api, args.api.as_deref(), &args.trust)?;
    let mut before = look(&target).await?;
    let mut shown = 0;
    while args.times.is_none_or(|times| shown < times) {
        tokio::time::sleep(Duration::from_secs(args.every)).await;
        let now = look(&target).await?;
        let tables = tables(&before, &now, args.rules, global.colors().stdout);
        let mut out = std::io::stdout();
        let clear = if out.is_terminal() { CLEAR } else { "" };
        writeln!(out, "{clear}{tables}\n")?;
        out.flush()?;
        before = now;
        shown += 1;
    }
    Ok(Exit::Done)
}

async fn look(target: &Target) -> anyhow::Result<Look> {
    let answer = http::get(target, "/metrics").await?;
    let url = target.url();
    match answer.status {
        200 => {}
        401 => return Err(anyhow!("{url}/metrics asks for the token: set api.token_file or api.token")),
        status => return Err(anyhow!("{url}/metrics answers {status}")),
    }
    Ok(Look { at: Instant::now(), values: read(&String::from_utf8_lossy(&answer.body)) })
}

/// Prometheus' text format. Of the labels only the rule is kept; series that differ in others are added up.
fn read(text: &str) -> BTreeMap<(String, String), f64> {
    let mut values = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let Some((series, value)) = line.rsplit_once(' ') else { continue };
        let Ok(value) = value.parse::<f64>() else { continue };
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        let rule = labels.split("rule=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap_or_default();
        *values.entry((name.to_owned(), rule.to_owned())).or_insert(0.0) += value;
    }
    values
}

fn tables(before: &Look, now: &Look, rules_max: usize, paint: Paint) -> String {
    let seconds = now.at.duration_since(before.at).as_secs_f64().max(1e-3);
    let rate = |name: &str| (now.sum(name) - before.sum(name)).max(0.0) / seconds;
    let mut worker = cell::table(&["worker", ""], paint);
    for (name, value) in [
        ("events/s", format!("{:.0}", rate("sightline_events_total"))),
        ("lag", format!("{:.0} messages", now.sum("sightline_input_lag_messages"))),
        ("incident messages/s", format!("{:.1}", rate("sightline_incidents_total"))),
        ("dead letters/s", format!("{:.1}", rate("sightline_dead_letters_total"))),
        ("busy", format!("{:.0} %", 100.0 * rate("sightline_batch_seconds_sum"))),
        ("keys", format!("{:.0}", now.sum("sightline_keys"))),
        ("state", state::size(now.sum("sightline_state_bytes") as u64)),
        ("resident", state::size(now.sum("process_resident_memory_bytes") as u64)),
    ] {
        worker.add_row([name.to_owned(), value]);
    }
    let bytes_a_key = now.sum("sightline_state_bytes") / now.sum("sightline_keys").max(1.0);
    let mut costliest: Vec<(f64, &str)> = now
        .values
        .keys()
        .filter(|(name, rule)| name == "sightline_hits_total" && !rule.is_empty())
        .map(|(name, rule)| (now.of_rule(name, rule) - before.of_rule(name, rule), rule.as_str()))
        .collect();
    // What a rule costs a worker is its hits first, and what it remembers next.
    costliest.sort_by(|(a, a_rule), (b, b_rule)| {
        let keys = |rule: &str| now.of_rule("sightline_rule_keys", rule);
        b.total_cmp(a).then(keys(b_rule).total_cmp(&keys(a_rule))).then(a_rule.cmp(b_rule))
    });
    let mut rules =
        cell::table(&["rule", "hits/s", "matches/s", "incidents/s", "keys", "hits held", "about"], paint);
    for (hits, rule) in costliest.into_iter().take(rules_max) {
        let rate = |name| (now.of_rule(name, rule) - before.of_rule(name, rule)).max(0.0) / seconds;
        let keys = now.of_rule("sightline_rule_keys", rule);
        rules.add_row([
            cell::shown(rule, 48),
            format!("{:.0}", hits.max(0.0) / seconds),
            format!("{:.1}", rate("sightline_matches_total")),
            format!("{:.1}", rate("sightline_incidents_total")),
            format!("{keys:.0}"),
            format!("{:.0}", now.of_rule("sightline_rule_window_hits", rule)),
            state::size((keys * bytes_a_key) as u64),
        ]);
    }
    format!("{}\n\n{}", worker.trim_fmt(), rules.trim_fmt())
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &str = "# HELP sightline_hits_total x\nsightline_hits_total{rule=\"a\"} 10\nsightline_hits_total{rule=\"b\"} 5\n\
        sightline_events_total{source=\"edr\"} 100\nsightline_events_total{source=\"iris\"} 50\n";
    const NOW: &str = "sightline_hits_total{rule=\"a\"} 12\nsightline_hits_total{rule=\"b\"} 105\n\
        sightline_events_total{source=\"edr\"} 1100\nsightline_events_total{source=\"iris\"} 1050\nsightline_rule_keys{rule=\"b\"} 7\n";

    #[test]
    fn the_rule_with_most_hits_comes_first() {
        let at = Instant::now();
        let before = Look { at, values: read(BEFORE) };
        let now = Look { at: at + Duration::from_secs(2), values: read(NOW) };
        let text = tables(&before, &now, 1, Paint(false));
        let rules: Vec<&str> =
            text.lines().skip_while(|line| !line.trim_start().starts_with("rule")).skip(1).collect();
        assert_eq!(rules.len(), 1, "{text}");
        let words: Vec<&str> = rules[0].split_whitespace().collect();
        assert_eq!(words[..5], ["b", "50", "0.0", "0.0", "7"], "{text}");
        assert!(text.contains("1000"), "{text}");
    }
}
