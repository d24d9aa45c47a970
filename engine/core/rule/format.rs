//! Rule files in one layout: rules two columns in, their keys in one order, a blank line between rules. Comments stay where
//! they belong, and what stands inside of a value stays as it is.
//!
//! Lines are moved, never written anew, and what comes out is read again: it must mean what went in, or nothing is changed.

use crate::rule::keys::{self, Key};
use crate::rule::tree::{self, Kind, Node, Saying};

/// Why a file cannot be laid out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unformatted {
    /// It is no YAML.
    #[error("line {line}: {message}")]
    NoYaml {
        /// Why.
        message: String,
        /// Where.
        line: usize,
    },
    /// Laid out it would mean something else, such as where an anchor is used before it is set.
    #[error("laid out it would mean something else, so it stays as it is")]
    AnotherMeaning,
}

/// The column at which rules begin.
const RULE_INDENT: usize = 2;

/// The text of a rule file in one layout.
///
/// # Errors
/// When it is no YAML, or would mean something else.
pub fn format(text: &str) -> Result<String, Unformatted> {
    let root = read(text)?;
    for trim in [Trim::Ends, Trim::Nothing] {
        let laid_out = lay_out(text, &root, trim);
        // Whatever was misjudged shows here.
        if read(&laid_out).is_ok_and(|again| again.canonical(Saying::Whole) == root.canonical(Saying::Whole))
        {
            return Ok(laid_out);
        }
    }
    Err(Unformatted::AnotherMeaning)
}

fn read(text: &str) -> Result<Node, Unformatted> {
    tree::read(text).map_err(|malformed| Unformatted::NoYaml {
        line: text[..malformed.span.start.min(text.len())].matches('\n').count() + 1,
        message: malformed.message,
    })
}

/// Blanks at the ends of lines mean something inside of literal texts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Trim {
    Ends,
    Nothing,
}

/// Lines of a file, and where bytes stand in it.
struct Lines<'t> {
    text: &'t str,
    lines: Vec<&'t str>,
}

impl<'t> Lines<'t> {
    fn of(text: &'t str, trim: Trim) -> Self {
        let line = |line: &'t str| if trim == Trim::Ends { line.trim_end() } else { line };
        Lines { text, lines: text.lines().map(line).collect() }
    }

    /// Line and column of a byte, both from 0.
    fn place(&self, byte: usize) -> (usize, usize) {
        let before = &self.text[..byte.min(self.text.len())];
        let start = before.rfind('\n').map_or(0, |at| at + 1);
        (before.matches('\n').count(), byte - start)
    }

    fn is_aside(&self, line: usize) -> bool {
        let text = self.lines[line].trim_start();
        text.is_empty() || text.starts_with('#')
    }

    /// The first of the lines of comment and blank ones that stand right before `line`, and not before `first`. Blank lines at
    /// their beginning belong to what stood before.
    fn asides_from(&self, line: usize, first: usize) -> usize {
        let mut from = line;
        while from > first && self.is_aside(from - 1) {
            from -= 1;
        }
        while from < line && self.lines[from].trim().is_empty() {
            from += 1;
        }
        from
    }
}

fn lay_out(text: &str, root: &Node, trim: Trim) -> String {
    let lines = Lines::of(text, trim);
    let rules = match root.member("rules").map(|rules| &rules.kind) {
        Some(Kind::List(rules)) if !rules.is_empty() && are_blocks(&lines, rules) => rules,
        // Nothing to order: only ends of lines and of the file.
        _ => return joined(lines.lines.iter().map(|line| (*line).to_owned()).collect()),
    };
    let ends = ends_of_items(&lines, rules, lines.lines.len());
    let first = item_line(&lines, &rules[0]);
    let head = lines.asides_from(first, 0);
    let mut out: Vec<String> = lines.lines[..head].iter().map(|line| (*line).to_owned()).collect();
    drop_blank_end(&mut out);
    let mut from = head;
    for (at, (rule, end)) in rules.iter().zip(&ends).enumerate() {
        if at > 0 {
            out.push(String::new());
        }
        item(&lines, rule, from, *end, RULE_INDENT, Members { keys: keys::RULE, steps: true }, &mut out);
        drop_blank_end(&mut out);
        from = *end;
    }
    out.extend(lines.lines[from..].iter().map(|line| (*line).to_owned()));
    joined(out)
}

/// Items of a list that each begin a line of their own with `- `, and are named values one under the other.
fn are_blocks(lines: &Lines<'_>, items: &[Node]) -> bool {
    items.iter().all(|item| {
        let Kind::Map(members) = &item.kind else { return false };
        let places: Vec<(usize, usize)> =
            members.iter().map(|(key, _)| lines.place(key.span.start)).collect();
        let Some((line, column)) = places.first() else { return false };
        let dash = lines.lines[*line].get(..*column).is_some_and(|before| before.trim() == "-");
        dash && places.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 == pair[1].1)
    })
}

fn item_line(lines: &Lines<'_>, item: &Node) -> usize {
    match &item.kind {
        Kind::Map(members) => members.first().map_or(0, |(key, _)| lines.place(key.span.start).0),
        _ => lines.place(item.span.start).0,
    }
}

/// Behind the last line of each item: where the comments before the next one begin, or where its own list ends.
fn ends_of_items(lines: &Lines<'_>, items: &[Node], until: usize) -> Vec<usize> {
    let mut ends = Vec::new();
    for (at, item) in items.iter().enumerate() {
        let own = item_line(lines, item);
        ends.push(match items.get(at + 1) {
            Some(next) => lines.asides_from(item_line(lines, next), own + 1),
            None => until,
        });
    }
    ends
}

/// The members of an item: which keys, in which order, and whether there are steps among them.
#[derive(Clone, Copy)]
struct Members {
    keys: &'static [Key],
    steps: bool,
}

/// Writes one item of a list: its comments, and its members in their order.
fn item(
    lines: &Lines<'_>,
    item: &Node,
    from: usize,
    end: usize,
    indent: usize,
    how: Members,
    out: &mut Vec<String>,
) {
    let Kind::Map(members) = &item.kind else { return };
    let own = item_line(lines, item);
    for line in from..own {
        out.push(aside(lines.lines[line], indent));
    }
    let starts: Vec<usize> = members.iter().map(|(key, _)| lines.place(key.span.start).0).collect();
    let mut chunks: Vec<(usize, Vec<String>)> = Vec::new();
    let mut begin = own;
    for (at, (key, value)) in members.iter().enumerate() {
        let until = starts.get(at + 1).map_or(end, |next| lines.asides_from(*next, starts[at] + 1));
        let name = key.scalar_text().unwrap_or_default();
        let place = how.keys.iter().position(|known| known.name == name).unwrap_or(how.keys.len());
        let mut chunk = Vec::new();
        for line in begin..starts[at] {
            chunk.push(aside(lines.lines[line], indent + 2));
        }
        let column = lines.place(key.span.start).1;
        let first = lines.lines[starts[at]].get(column..).unwrap_or_default();
        chunk.push(format!("{}{first}", " ".repeat(indent + 2)));
        match &value.kind {
            Kind::List(steps) if how.steps && name == "steps" && are_blocks(lines, steps) => {
                let ends = ends_of_items(lines, steps, until);
                let mut from = starts[at] + 1;
                for (step, end) in steps.iter().zip(ends) {
                    let members = Members { keys: keys::STEP, steps: false };
                    self::item(lines, step, from, end, indent + 4, members, &mut chunk);
                    from = end;
                }
            }
            _ => {
                for line in starts[at] + 1..until {
                    chunk.push(moved(lines.lines[line], column, indent + 2));
                }
            }
        }
        drop_blank_end(&mut chunk);
        chunks.push((place, chunk));
        begin = until;
    }
    chunks.sort_by_key(|(place, _)| *place);
    let written = out.len();
    out.extend(chunks.into_iter().flat_map(|(_, chunk)| chunk));
    // The first line of the first member takes the dash; comments before it stay above.
    if let Some(line) =
        out[written..].iter_mut().find(|line| !line.trim_start().starts_with('#') && !line.is_empty())
    {
        line.replace_range(indent..indent + 1, "-");
    }
}

/// A comment, at the column of what it belongs to.
fn aside(line: &str, indent: usize) -> String {
    match line.trim_start() {
        "" => String::new(),
        text => format!("{}{text}", " ".repeat(indent)),
    }
}

/// A line inside of a value, as far to the right of its key as it was.
fn moved(line: &str, from: usize, to: usize) -> String {
    let own = line.len() - line.trim_start().len();
    if line.trim_start().is_empty() {
        return line.get(own.min(from)..).unwrap_or_default().to_owned();
    }
    format!("{}{}", " ".repeat((own + to).saturating_sub(from)), line.trim_start())
}

fn drop_blank_end(lines: &mut Vec<String>) {
    while lines.last().is_some_and(|line| line.trim().is_empty()) {
        lines.pop();
    }
}

fn joined(mut lines: Vec<String>) -> String {
    drop_blank_end(&mut lines);
    match lines.is_empty() {
        true => String::new(),
        false => lines.join("\n") + "\n",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let once = format(text).expect("it can be laid out");
        assert_eq!(once, expected);
        assert_eq!(format(&once).expect("again"), expected, "twice is as good as once");
    }

    #[test]
    fn keys_stand_in_one_order_and_comments_go_with_them() {
        check(
            "# head\n\nrules:\n- steps:\n  # the step\n  - match: {kind: x}   \n    name: a\n  # how bad\n  severity: high\n  id: one # here\n\n\n\n# two\n- id: two\n  description: |\n    a\n\n      b\n  steps: [{name: a, match: {kind: x}}]\n",
            "# head\n\nrules:\n  - id: one # here\n    # how bad\n    severity: high\n    steps:\n      # the step\n      - name: a\n        match: {kind: x}\n\n  # two\n  - id: two\n    description: |\n      a\n\n        b\n    steps: [{name: a, match: {kind: x}}]\n",
        );
    }

    #[test]
    fn what_is_no_block_of_rules_only_loses_blank_ends() {
        check("rules: []  \n\n\n", "rules: []\n");
        check("rules: [{id: a, steps: []}]\n", "rules: [{id: a, steps: []}]\n");
        check("# nothing\n", "# nothing\n");
        check("", "");
    }

    #[test]
    fn a_file_that_would_mean_something_else_stays() {
        let text = "rules:\n  - steps: &s [{name: a, match: {kind: x}}]\n    id: one\n    tests: []\n  - id: two\n    steps: *s\n";
        assert!(format(text).is_ok(), "the anchor still comes first");
        let text = "rules:\n  - tests: &t [{name: a}]\n    id: one\n    steps: *t\n";
        assert_eq!(format(text), Err(Unformatted::AnotherMeaning));
    }

    #[test]
    fn blanks_inside_of_a_literal_text_stay() {
        let text = "rules:\n  - id: one\n    description: |\n      a  \n      b\n    steps: []\n";
        check(text, text);
    }
}
