//! The text of one rule, as its file has it.

use crate::rule::diagnostic::Source;
use crate::rule::tree::{self, Kind, Node};

/// The text of the rule of that id, without its tests, moved to the left; `None` where the file has no such rule.
pub fn excerpt(source: &Source, id: &str) -> Option<String> {
    let root = tree::read(&source.text).ok()?;
    let Kind::List(rules) = &root.member("rules")?.kind else { return None };
    let at = rules
        .iter()
        .position(|rule| rule.member("id").and_then(Node::scalar_text).is_some_and(|known| known == id))?;
    let line_of = |byte: usize| source.text[..byte.min(source.text.len())].matches('\n').count();
    let first = line_of(rules[at].span.start);
    let end = rules.get(at + 1).map_or(usize::MAX, |next| line_of(next.span.start));
    let Kind::Map(members) = &rules[at].kind else { return None };
    let lines_of = |member: usize| {
        let until = members.get(member + 1).map_or(end, |(key, _)| line_of(key.span.start));
        line_of(members[member].0.span.start)..until
    };
    let tests = members.iter().position(|(key, _)| key.scalar_text().as_deref() == Some("tests"));
    let tests = tests.map_or(0..0, lines_of);
    let lines: Vec<&str> = source
        .text
        .lines()
        .enumerate()
        .filter(|(line, _)| (first..end).contains(line) && !tests.contains(line))
        .map(|(_, text)| text.trim_end())
        .collect();
    Some(moved_left(&lines))
}

/// Without what stands before all lines, and without blank lines and comments at the end: those belong to what follows.
fn moved_left(lines: &[&str]) -> String {
    let is_aside = |line: &&str| line.trim_start().is_empty() || line.trim_start().starts_with('#');
    let kept = lines.iter().rposition(|line| !is_aside(line)).map_or(0, |last| last + 1);
    let lines = &lines[..kept];
    let indents =
        lines.iter().filter(|line| !line.is_empty()).map(|line| line.len() - line.trim_start().len());
    let indent = indents.min().unwrap_or(0);
    lines.iter().map(|line| line.get(indent..).unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_given_as_it_stands_without_its_tests_and_what_follows() {
        let text = "# a\nrules:\n  - id: a\n    steps: []\n  - id: b # here\n    tests:\n      - {name: x}\n    steps:\n      \
                    - {name: s}\n\n  # about c\n  - id: c\n    steps: []\n";
        let source = Source { name: "x.yaml".to_owned(), text: text.to_owned() };
        assert_eq!(excerpt(&source, "b").as_deref(), Some("- id: b # here\n  steps:\n    - {name: s}"));
        assert_eq!(excerpt(&source, "c").as_deref(), Some("- id: c\n  steps: []"));
        assert_eq!(excerpt(&source, "d"), None);
    }
}
