//! Source text as the checks read it: a tree of files, and Rust without its comments, texts and tests.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Files by their path from the root of the project, with `/` between the parts.
pub type Tree = BTreeMap<String, String>;

/// What holds nothing written by hand.
const SKIPPED: [&str; 2] = ["target", ".git"];

/// Every text file under `root`.
pub fn read_tree(root: &Path) -> Tree {
    let mut tree = Tree::new();
    read_directory(root, "", &mut tree);
    tree
}

fn read_directory(directory: &Path, prefix: &str, tree: &mut Tree) {
    let entries = fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    for entry in entries {
        let entry = entry.expect("a directory that can be listed");
        let name = entry.file_name().into_string().expect("file names of the project are UTF-8");
        let path = format!("{prefix}{name}");
        if SKIPPED.contains(&name.as_str()) {
            continue;
        }
        if entry.path().is_dir() {
            read_directory(&entry.path(), &format!("{path}/"), tree);
        } else if let Ok(text) = fs::read_to_string(entry.path()) {
            // What is not UTF-8 is data.
            tree.insert(path, text);
        }
    }
}

/// Whether the file holds tests or measurements and nothing that ships.
pub fn is_test(path: &str) -> bool {
    path.starts_with("tests/")
        || path.starts_with("benches/")
        || path.contains("/tests/")
        || path.contains("/benches/")
        || path.ends_with("/tests.rs")
        || path.ends_with("_tests.rs")
}

/// The line, counted from 1, of a byte offset.
pub fn line_of(text: &str, offset: usize) -> usize {
    text[..offset].bytes().filter(|byte| *byte == b'\n').count() + 1
}

/// Rust with its comments, texts and characters blanked; every line stays where it is.
pub fn code(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let end = token_end(&chars, at);
        match end {
            None => {
                out.push(chars[at]);
                at += 1;
            }
            Some(end) => {
                out.extend(chars[at..end].iter().map(|c| if *c == '\n' { '\n' } else { ' ' }));
                at = end;
            }
        }
    }
    out
}

/// The end of the comment, text or character that begins at `at`; `None` where code stands.
fn token_end(chars: &[char], at: usize) -> Option<usize> {
    let next = |offset: usize| chars.get(at + offset).copied();
    let in_word = at > 0 && (chars[at - 1].is_alphanumeric() || chars[at - 1] == '_');
    match (chars[at], next(1)) {
        ('/', Some('/')) => Some(find(chars, at, |rest| rest[0] == '\n', 0)),
        ('/', Some('*')) => Some(block_comment_end(chars, at)),
        ('"', _) => Some(quoted_end(chars, at + 1, '"')),
        ('\'', Some('\\')) => Some(quoted_end(chars, at + 1, '\'')),
        ('\'', Some(_)) if next(2) == Some('\'') => Some(at + 3),
        ('r', Some('"' | '#')) if !in_word || chars[at - 1] == 'b' => raw_end(chars, at),
        _ => None,
    }
}

fn find(chars: &[char], from: usize, stop: impl Fn(&[char]) -> bool, past: usize) -> usize {
    (from..chars.len()).find(|at| stop(&chars[*at..])).map_or(chars.len(), |at| at + past)
}

fn quoted_end(chars: &[char], mut at: usize, quote: char) -> usize {
    while at < chars.len() && chars[at] != quote {
        at += if chars[at] == '\\' { 2 } else { 1 };
    }
    (at + 1).min(chars.len())
}

fn raw_end(chars: &[char], at: usize) -> Option<usize> {
    let hashes = chars[at + 1..].iter().take_while(|c| **c == '#').count();
    // `r#name` is a word, not a text.
    (chars.get(at + 1 + hashes) == Some(&'"')).then(|| {
        let closes = |rest: &[char]| {
            rest[0] == '"' && rest[1..].len() >= hashes && rest[1..=hashes].iter().all(|c| *c == '#')
        };
        find(chars, at + 2 + hashes, closes, 1 + hashes)
    })
}

fn block_comment_end(chars: &[char], mut at: usize) -> usize {
    let mut depth = 0;
    while at < chars.len() {
        match (chars[at], chars.get(at + 1)) {
            ('/', Some('*')) => (depth, at) = (depth + 1, at + 2),
            ('*', Some('/')) => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at.min(chars.len())
}

/// [`code`] with everything under `#[cfg(test)]` blanked too.
pub fn shipped_code(path: &str, text: &str) -> String {
    if is_test(path) {
        return String::new();
    }
    let mut code = code(text);
    const MARK: &str = "#[cfg(test)]";
    while let Some(start) = code.find(MARK) {
        let end = item_end(&code, start + MARK.len());
        let blank: String = code[start..end].chars().map(|c| if c == '\n' { '\n' } else { ' ' }).collect();
        code.replace_range(start..end, &blank);
    }
    code
}

/// The end of the item that begins at `from`: its closing brace, or its semicolon where it has no braces.
fn item_end(code: &str, from: usize) -> usize {
    let mut depth = 0;
    for (offset, c) in code[from..].char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ';' if depth == 0 => return from + offset + 1,
            _ => continue,
        }
        if c == '}' && depth == 0 {
            return from + offset + 1;
        }
    }
    code.len()
}

/// Byte offsets at which `word` stands in `code` as a word of its own.
pub fn words<'c>(code: &'c str, word: &'c str) -> impl Iterator<Item = usize> + 'c {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(word)
        .map(|(at, _)| at)
        .filter(move |at| !code[..*at].ends_with(part) && !code[at + word.len()..].starts_with(part))
}

/// Offsets and first names of all paths that begin with `root::`, those of groups (`root::{a, b::c}`) too.
pub fn paths_from<'c>(code: &'c str, root: &'c str) -> Vec<(usize, &'c str)> {
    let mut found = Vec::new();
    for at in words(code, root) {
        let Some(rest) = code[at + root.len()..].strip_prefix("::") else { continue };
        let start = code.len() - rest.len();
        match rest.strip_prefix('{') {
            None => found.push((start, first_name(rest))),
            Some(group) => {
                let mut depth = 1;
                let mut begins = true;
                for (offset, c) in group.char_indices() {
                    match c {
                        '{' => depth += 1,
                        '}' => depth -= 1,
                        ',' if depth == 1 => begins = true,
                        c if begins && !c.is_whitespace() => {
                            found.push((start + 1 + offset, first_name(&group[offset..])));
                            begins = false;
                        }
                        _ => {}
                    }
                    if depth == 0 {
                        break;
                    }
                }
            }
        }
    }
    found
}

fn first_name(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_code_is_code() {
        let text = r##"let a = "x.unwrap()"; // sled::open
/* prometheus:: /* nested */ */ let b = r#"todo!()"#; let c = '"'; let d: &'static str = b"\"sled";"##;
        let code = code(text);
        assert!(
            code.contains("let a =") && code.contains("let b =") && code.contains("&'static str"),
            "{code}"
        );
        for hidden in ["unwrap", "sled", "prometheus", "nested", "todo"] {
            assert!(!code.contains(hidden), "{hidden} in {code}");
        }
        assert_eq!(code.lines().count(), text.lines().count());
    }

    #[test]
    fn what_is_only_for_tests_does_not_ship() {
        let text =
            "use a;\n#[cfg(test)]\nmod tests {\n fn f() { x.unwrap() }\n}\n#[cfg(test)]\nmod far;\nuse b;";
        let code = shipped_code("engine/x.rs", text);
        assert!(code.contains("use a") && code.contains("use b"), "{code}");
        assert!(!code.contains("unwrap") && !code.contains("far"), "{code}");
        assert_eq!(shipped_code("engine/x_tests.rs", "use a;"), "");
    }

    #[test]
    fn paths_of_groups_are_seen() {
        let names = |code| paths_from(code, "crate").into_iter().map(|(_, name)| name).collect::<Vec<_>>();
        assert_eq!(
            names("use crate::{api::{self, x}, bus::y,\n state}; crate::cli::z()"),
            ["api", "bus", "state", "cli"]
        );
        assert_eq!(names("use supercrate::api; $crate::cli"), ["cli"]);
    }
}
