//! Random rules as people would write them.

use std::fmt::Write;

use sightline_schemas::{EventTime, Severity};

use super::oracle::{Compare, Exception, Grown, Measure, Need, Only, Rematch, Rule, Step, Wanted};

/// The rules as a rule file.
pub fn rule_file(rules: &[Rule], late: i64) -> String {
    let mut text = "rules:\n".to_owned();
    for rule in rules {
        let mode = if rule.severity_max { "max" } else { "rule" };
        let group = rule.group.as_ref().map(|group| format!(", group: {group}")).unwrap_or_default();
        let _ = writeln!(
            text,
            "- {{id: {}, severity: {}, severity_mode: {mode}, window: {}s, late: {}s, ordered: {}, \
             distinct_events: {}, by: [{}]{group}{}, steps: [",
            rule.id,
            rule.severity.as_str(),
            rule.window,
            // Without any lateness a rule that could wait does not, and depends on the order within an instant.
            if rule.can_be_undone() { late.max(1) } else { late },
            rule.ordered,
            rule.distinct_events,
            key_text(rule),
            policies_text(rule),
        );
        let places: Vec<usize> =
            (0..rule.steps.len()).filter(|at| rule.steps[*at].absent.is_none()).collect();
        for (at, step) in rule.steps.iter().enumerate() {
            let is_outside = at < places[0] || at > places[places.len() - 1];
            let _ = writeln!(text, "    {},", step_text(rule, step, rules, is_outside));
        }
        let until =
            rule.until.map(|kind| format!(", until: {{match: {{kind: {kind}}}}}")).unwrap_or_default();
        let _ = writeln!(text, "  ]{until}}}");
    }
    text
}

fn key_text(rule: &Rule) -> String {
    let part = |part: &&str| match rule.optional.contains(part) {
        true => format!("{{name: {part}, optional: true}}"),
        false => (*part).to_owned(),
    };
    rule.by.iter().map(part).collect::<Vec<_>>().join(", ")
}

fn policies_text(rule: &Rule) -> String {
    let mut text = String::new();
    if rule.suppress > 0 {
        let _ = write!(text, ", suppress: {{for: {}s}}", rule.suppress);
    }
    if !rule.generate {
        text.push_str(", generate: false");
    }
    if !rule.raises.is_empty() {
        let raise = |(grown, least, severity): &(Grown, usize, Severity)| {
            let step = match grown {
                Grown::Values(step) => format!("step: {}, ", rule.steps[*step].name),
                _ => String::new(),
            };
            format!("{{{step}{}: {least}, severity: {}}}", grown.name(), severity.as_str())
        };
        let raises: Vec<String> = rule.raises.iter().map(raise).collect();
        let _ = write!(text, ", severity_at: [{}]", raises.join(", "));
    }
    if let Some(coalesce) = rule.coalesce {
        let _ = write!(text, ", coalesce: {coalesce}s");
    }
    if let Some(most) = rule.listed {
        let _ = write!(text, ", evidence: {{max: {most}}}");
    }
    if !rule.exceptions.is_empty() {
        let exceptions: Vec<String> = rule.exceptions.iter().map(exception_text).collect();
        let _ = write!(text, ", except: [{}]", exceptions.join(", "));
    }
    if let Rematch::Reopen { unless_unspecified } = rule.rematch {
        text.push_str(", on_rematch: reopen");
        text.push_str(if unless_unspecified { ", keep_closed: [unspecified]" } else { "" });
    }
    text
}

fn exception_text(exception: &Exception) -> String {
    let kind = exception.kind.map(|kind| format!("kind: {kind}"));
    let tags = exception.tagged.then(|| "tags_any: [t]".to_owned());
    let b = exception.b.map(|value| format!("field_equals: {{b: {value}}}"));
    let asked: Vec<String> = kind.into_iter().chain(tags).chain(b).collect();
    let expires =
        exception.expires.map(|at| format!(", expires: {}", EventTime::from_micros(at * 1_000_000)));
    format!("{{match: {{{}}}, reason: r{}}}", asked.join(", "), expires.unwrap_or_default())
}

/// Of completions, which.
fn only_text(only: &Only) -> String {
    let asked = format!("{{field_equals: {{{}: {}}}}}", only.part, only.value);
    if only.negated { format!("{{not: {asked}}}") } else { asked }
}

fn step_text(rule: &Rule, step: &Step, rules: &[Rule], is_outside: bool) -> String {
    let mut text = format!("{{name: {}", step.name);
    let _ = match step.of_rule {
        Some(target) => {
            let only = step.only.as_ref().map(|only| format!(", match: {}", only_text(only)));
            write!(text, ", rule: {}{}", rules[target].id, only.unwrap_or_default())
        }
        None => {
            let kinds = (!step.kinds.is_empty()).then(|| format!("kind: [{}]", step.kinds.join(", ")));
            let tags = step.tagged.then(|| "tags_any: [t]".to_owned());
            let asked: Vec<String> = kinds.into_iter().chain(tags).collect();
            write!(text, ", match: {{{}}}", asked.join(", "))
        }
    };
    let _ = match step.need {
        _ if step.absent.is_some() => {
            let within = step.absent.filter(|_| is_outside).map(|within| format!(", within: {within}s"));
            let alive = step.alive.map(|(kind, say)| {
                format!(", alive: {{kind: {kind}}}, if_silent: {}", if say { "say" } else { "drop" })
            });
            write!(text, ", absent: true{}{}", within.unwrap_or_default(), alive.unwrap_or_default())
        }
        Need::Count(Wanted([Some((Compare::Gte, least)), None])) => write!(text, ", min_count: {least}"),
        Need::Count(wanted) => write!(text, ", count: {{{}}}", wanted_text(wanted)),
        Need::Distinct(wanted) => write!(text, ", distinct: {{field: v, {}}}", wanted_text(wanted)),
        Need::Measure(measure, wanted) => write!(text, ", {}", measure_text(measure, wanted)),
        Need::New { learn, forget } => {
            write!(text, ", first_seen: {{field: v, learn: {learn}s, forget: {forget}s}}")
        }
    };
    if step.gap_min > 0 {
        let _ = write!(text, ", min_gap: {}s", step.gap_min);
    }
    if let Some(gap) = step.gap {
        let _ = write!(text, ", max_gap: {gap}s");
    }
    let by: Vec<String> = step
        .key_from
        .iter()
        .filter(|(part, _)| rule.by.contains(part))
        .map(|(part, field)| format!("{part}: {field}"))
        .collect();
    if !by.is_empty() {
        let _ = write!(text, ", by: {{{}}}", by.join(", "));
    }
    text + "}"
}

fn measure_text(measure: Measure, wanted: Wanted) -> String {
    let (name, percent) = match measure {
        Measure::Sum => ("sum", String::new()),
        Measure::Avg => ("avg", String::new()),
        Measure::Min => ("min", String::new()),
        Measure::Max => ("max", String::new()),
        Measure::Median => ("median", String::new()),
        Measure::Percentile(percent) => ("percentile", format!(", percent: {percent}")),
    };
    format!("{name}: {{field: n{percent}, {}}}", wanted_text(wanted))
}

fn wanted_text(wanted: Wanted) -> String {
    let conditions: Vec<String> =
        wanted.all().map(|(compare, than)| format!("{}: {than}", compare.name())).collect();
    conditions.join(", ")
}
