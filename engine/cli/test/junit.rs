//! Results as JUnit XML, which every build server reads: a suite for each rule, a case for each test.

use std::fmt::Write;

use super::suite::{CaseResult, Results};

/// The results.
pub fn text(results: &Results) -> String {
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let (all, failed) = (results.cases.len(), results.failed());
    let seconds: f64 = results.cases.iter().map(|case| case.took.as_secs_f64()).sum();
    let _ = writeln!(
        out,
        "<testsuites name=\"sightline test\" tests=\"{all}\" failures=\"{failed}\" time=\"{seconds:.3}\">"
    );
    let mut rules: Vec<&str> = Vec::new();
    for case in &results.cases {
        if !rules.contains(&case.rule.as_str()) {
            rules.push(&case.rule);
        }
    }
    for rule in rules {
        let cases: Vec<&CaseResult> = results.cases.iter().filter(|case| case.rule == rule).collect();
        suite(rule, &cases, &mut out);
    }
    out.push_str("</testsuites>\n");
    out
}

fn suite(rule: &str, cases: &[&CaseResult], out: &mut String) {
    let failed = cases.iter().filter(|case| !case.failures.is_empty()).count();
    let rule = escaped(rule);
    let _ = writeln!(out, "  <testsuite name=\"{rule}\" tests=\"{}\" failures=\"{failed}\">", cases.len());
    for case in cases {
        let (name, file, line) = (escaped(&case.name), escaped(&case.file), case.line);
        let seconds = case.took.as_secs_f64();
        let _ = write!(
            out,
            "    <testcase classname=\"{rule}\" name=\"{name}\" file=\"{file}\" line=\"{line}\" time=\"{seconds:.3}\""
        );
        if case.failures.is_empty() {
            out.push_str("/>\n");
            continue;
        }
        out.push_str(">\n");
        for failure in &case.failures {
            let message = escaped(&format!("expected {}, found {}", failure.expected, failure.found));
            let differs = failure
                .differs
                .iter()
                .map(|(what, expected, found)| format!("{what}: expected {expected}, found {found}"));
            let more: Vec<String> = differs.chain(failure.why_not.iter().cloned()).collect();
            let _ =
                writeln!(out, "      <failure message=\"{message}\">{}</failure>", escaped(&more.join("\n")));
        }
        out.push_str("    </testcase>\n");
    }
    out.push_str("  </testsuite>\n");
}

/// Text that cannot end what it stands in. What XML cannot say at all becomes a visible sign.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' => out.push_str("&#10;"),
            '\t' => out.push_str("&#9;"),
            letter if letter.is_control() || matches!(letter, '\u{fffe}' | '\u{ffff}') => {
                out.push('\u{fffd}')
            }
            letter => out.push(letter),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_name_ends_an_attribute() {
        assert_eq!(escaped("a\"<b>&\n\u{1b}"), "a&quot;&lt;b&gt;&amp;&#10;\u{fffd}");
    }
}
