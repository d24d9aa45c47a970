//! The rule reference: every example of it loads, and the tests in it pass.

mod support;

use std::collections::BTreeSet;

use sightline_core::rule::diagnostic::Color;
use sightline_core::rule::tree::{self, Kind, Node};
use sightline_core::rule::{Source, check};
use sightline_schemas::control::EngineSettings;
use support::cli::{file, folder, run};

/// The examples of a document, each with the line at which it begins.
fn examples(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for (at, line) in text.lines().enumerate() {
        match &mut open {
            None if line == "```yaml" => open = Some((at + 2, String::new())),
            None => {}
            Some(_) if line == "```" => found.extend(open.take()),
            Some((_, example)) => {
                example.push_str(line);
                example.push('\n');
            }
        }
    }
    found
}

fn reference() -> Vec<(usize, String)> {
    let text = std::fs::read_to_string("rules/README.md").expect("the rule reference");
    examples(&text).into_iter().filter(|(_, example)| example.contains("rules:")).collect()
}

/// The list that an example reads from a file.
const LIST: (&str, &str) = ("bad_hashes.txt", "e196b871670e\n");

/// The examples that have tests.
fn tested() -> Vec<(usize, String)> {
    reference().into_iter().filter(|(_, example)| example.contains("    tests:")).collect()
}

/// The names in the first column of the tables: keys, conditions, modifiers.
fn constructs(text: &str) -> BTreeSet<String> {
    let mut named = BTreeSet::new();
    let before_files = text.split("## The shipped files").next().unwrap_or_default();
    for row in before_files.lines().filter_map(|line| line.strip_prefix("| ")) {
        let names = row.split(" |").next().unwrap_or_default();
        // What stands between two marks is every other piece.
        for name in names.split('`').skip(1).step_by(2) {
            named.insert(name.split(':').next().unwrap_or(name).to_owned());
        }
    }
    named
}

/// The names of members, wherever they stand, and the modifiers behind them.
fn names(node: &Node, found: &mut BTreeSet<String>) {
    match &node.kind {
        Kind::Map(members) => {
            for (name, value) in members {
                found.extend(name.scalar_text().iter().flat_map(|name| name.split('|')).map(str::to_owned));
                names(value, found);
            }
        }
        Kind::List(items) => items.iter().for_each(|item| names(item, found)),
        _ => {}
    }
}

#[test]
fn every_construct_has_an_example_that_is_run() {
    let text = std::fs::read_to_string("rules/README.md").expect("the rule reference");
    let mut used = BTreeSet::new();
    for (_, example) in tested() {
        names(&tree::read(&example).expect("it loads"), &mut used);
    }
    let constructs = constructs(&text);
    assert!(constructs.len() > 80, "{constructs:?}");
    let without: Vec<&String> = constructs.difference(&used).collect();
    assert!(without.is_empty(), "in no example with tests: {without:?}");
}

#[test]
fn every_example_loads() {
    let examples = reference();
    assert!(examples.len() > 10, "{} examples", examples.len());
    for (line, example) in examples {
        let files = vec![
            Source { name: format!("README.md:{line}.yaml"), text: example },
            Source { name: LIST.0.to_owned(), text: LIST.1.to_owned() },
        ];
        if let Err(problems) = check::check(&files, &EngineSettings::default()) {
            let said = problems.iter().map(|problem| problem.render(&files, Color::Plain));
            panic!("the example at line {line}:\n{}", said.collect::<Vec<_>>().join("\n"));
        }
    }
}

#[test]
fn the_tests_of_every_example_pass() {
    let tested = tested();
    assert!(tested.len() > 10, "{} examples with tests", tested.len());
    for (line, example) in tested {
        let dir = folder();
        file(dir.path(), LIST.0, LIST.1);
        let path = file(dir.path(), "example.yaml", &example);
        let (code, out, err) = run(&["test", &path]);
        assert_eq!(code, 0, "the example at line {line}:\n{out}\n{err}");
    }
}
