//! Rule files that would explode: refused with the reason, or bounded by construction. Each of these hangs, or takes all memory,
//! where its bound is taken out.

mod support;

use sightline_core::rule::{Source, check};
use sightline_schemas::control::{EngineSettings, RuleFile, RulesMessage};
use support::runs;

/// What the process may have held in the end. None of these needs a quarter of it.
const RESIDENT_BYTES_MAX: u64 = 1 << 30;

fn problems(text: &str) -> Vec<String> {
    let files = [Source { name: "hostile.yaml".to_owned(), text: text.to_owned() }];
    match check(&files, &EngineSettings::default()) {
        Ok(_) => Vec::new(),
        Err(problems) => {
            problems.into_iter().map(|problem| format!("{} {}", problem.message, problem.label)).collect()
        }
    }
}

#[track_caller]
fn refused(text: &str, reason: &str) {
    let problems = problems(text);
    assert!(problems.iter().any(|problem| problem.contains(reason)), "no {reason:?} in {problems:?}");
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux says");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a high-water mark");
    let peak: u64 = peak.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1_024;
    assert!(peak < RESIDENT_BYTES_MAX, "{peak} bytes");
}

/// On a stack as the program's threads have it.
fn with_stack(test: impl FnOnce() + Send + 'static) {
    let thread = std::thread::Builder::new().stack_size(8 << 20).spawn(test).expect("a thread");
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

fn regex_rule(pattern: &str) -> String {
    format!(
        "rules:\n  - id: x\n    by: [host_id]\n    steps: [{{name: a, match: {{source: app, field_matches: {{text: '{pattern}'}}}}}}]\n"
    )
}

#[test]
fn nested_quantifiers_cost_no_more_than_the_text_is_long() {
    // Backtracking would take longer than the universe has.
    for pattern in ["(a+)+$", "(a|aa)+$", "(a|a?)+$", "(.*a){12}$", "^(([a-z])+.)+[A-Z]([a-z])+$"] {
        let text = regex_rule(pattern);
        assert_eq!(problems(&text), Vec::<String>::new(), "{pattern}");
        let rules = RulesMessage {
            files: vec![RuleFile { name: "hostile.yaml".to_owned(), text }],
            settings: EngineSettings::default(),
            ..RulesMessage::default()
        };
        let event = format!(
            r#"{{"source":"app","kind":"k","host_id":"h","ts":"2026-05-08T12:00:00Z","fields":{{"text":"{}!"}}}}"#,
            "a".repeat(200_000)
        );
        let log = [sightline::bus::LogMessage {
            seq: 1,
            subject: Some("events.default.app".into()),
            content_type: None,
            content_encoding: None,
            received_at: Some(sightline_schemas::EventTime::from_micros(1_778_241_600_000_000)),
            body: event.into(),
        }];
        assert_eq!(runs::batches(&rules, &log, 1, 1).counts.events, 1, "{pattern}");
    }
}

#[test]
fn expressions_that_compile_to_too_much_are_refused() {
    for pattern in ["(?:a{1000}){1000}", r"\w{5000}", "(((x{100}){100}){100}){100}", r"(\p{L}{100}){100}"] {
        refused(&regex_rule(pattern), "size limit");
    }
}

#[test]
fn lists_in_lists_are_refused_before_the_stack_ends() {
    with_stack(|| {
        for depth in [46, 1_000, 1_000_000] {
            let lists = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
            let maps = format!("{}x{}", "{a: ".repeat(depth), "}".repeat(depth));
            // The reader's own words, which differ by how deep.
            refused(&format!("rules: {lists}"), "");
            refused(&format!("rules: {maps}"), "");
        }
        let blocks: String = (0..2_000).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect();
        refused(&format!("rules:\n{blocks}"), "");
    });
}

#[test]
fn conditions_in_conditions_are_refused() {
    with_stack(|| {
        let nested = (0..20).fold("{kind: x}".to_owned(), |inner, _| format!("{{not: {inner}}}"));
        let text = format!("rules:\n  - id: x\n    steps: [{{name: a, match: {nested}}}]\n");
        assert!(!problems(&text).is_empty());
    });
}

#[test]
fn an_alias_bomb_is_refused() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let before = format!("*a{}", level - 1);
        let ten = vec![before; 10].join(", ");
        text.push_str(&format!("a{level}: &a{level} [{ten}]\n"));
    }
    text.push_str("rules: *a11\n");
    with_stack(move || assert!(!problems(&text).is_empty(), "ten to the twelfth"));
}

#[test]
fn a_file_of_more_than_four_mebibytes_is_refused_unread() {
    let rule = "rules:\n  - id: x\n    steps: [{name: a, match: {kind: x}}]\n";
    let filled = |bytes: usize| format!("{rule}#{}\n", "x".repeat(bytes - rule.len() - 2));
    assert_eq!(problems(&filled(4 << 20)), Vec::<String>::new());
    refused(&filled((4 << 20) + 1), "4194304");
}

#[test]
fn more_rules_than_anybody_has_are_refused() {
    let mut files = Vec::new();
    for file in 0..8 {
        let rules: String = (0..5_000)
            .map(|rule| format!("  - {{id: r{file}_{rule}, steps: [{{name: a, match: {{kind: x}}}}]}}\n"))
            .collect();
        files.push(Source { name: format!("{file}.yaml"), text: format!("rules:\n{rules}") });
    }
    let problems = check(&files, &EngineSettings::default()).expect_err("forty thousand rules");
    let said: Vec<String> =
        problems.iter().map(|problem| format!("{}: {}", problem.message, problem.label)).collect();
    assert_eq!(said, ["40000 rules: at most 32768"]);
}
