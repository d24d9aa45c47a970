//! Texts with wildcards, as Sigma means them: `*` is anything, `?` one character, `\` before one of these takes its
//! meaning away.

use crate::field::Scalar;
use crate::predicate::{Case, Look, Where};

/// What Windows takes for the dash before an option: `-`, `/`, and the dashes that word processors make of them.
const DASHES: [char; 5] = ['-', '/', '\u{2013}', '\u{2014}', '\u{2015}'];

/// A text with wildcards.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pattern(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Part {
    /// These characters.
    Literal(String),
    /// Any one character.
    One,
    /// Any characters, or none.
    Many,
    /// One of [`DASHES`].
    Dash,
}

impl Pattern {
    /// Reads wildcards.
    pub fn parse(text: &str) -> Self {
        let mut pattern = Pattern(Vec::new());
        let mut letters = text.chars().peekable();
        while let Some(letter) = letters.next() {
            match letter {
                '\\' => match letters.next_if(|next| "*?\\".contains(*next)) {
                    Some(escaped) => pattern.push_literal(escaped),
                    None => pattern.push_literal('\\'),
                },
                '*' => pattern.push(Part::Many),
                '?' => pattern.push(Part::One),
                other => pattern.push_literal(other),
            }
        }
        pattern
    }

    /// The text as it is.
    pub fn literal(text: &str) -> Self {
        let parts = if text.is_empty() { Vec::new() } else { vec![Part::Literal(text.to_owned())] };
        Pattern(parts)
    }

    fn push(&mut self, part: Part) {
        // Two in a row say no more than one.
        if part != Part::Many || self.0.last() != Some(&Part::Many) {
            self.0.push(part);
        }
    }

    fn push_literal(&mut self, letter: char) {
        match self.0.last_mut() {
            Some(Part::Literal(text)) => text.push(letter),
            _ => self.0.push(Part::Literal(letter.to_string())),
        }
    }

    /// The pattern at that place of the value, and anything around it.
    pub fn placed(self, place: Where) -> Self {
        let (before, after) = match place {
            Where::Whole => (false, false),
            Where::Start => (false, true),
            Where::End => (true, false),
            Where::Inside => (true, true),
        };
        let mut placed = Pattern(Vec::new());
        if before {
            placed.push(Part::Many);
        }
        self.0.into_iter().for_each(|part| placed.push(part));
        if after {
            placed.push(Part::Many);
        }
        placed
    }

    /// The pattern in which the dash or slash before an option may be any of [`DASHES`]: one that begins a word.
    pub fn with_any_dash(self) -> Self {
        let mut loose = Pattern(Vec::new());
        let is_word = |letter: char| letter.is_alphanumeric() || letter == '_';
        for part in self.0 {
            let Part::Literal(text) = part else {
                loose.push(part);
                continue;
            };
            let letters: Vec<char> = text.chars().collect();
            for (at, letter) in letters.iter().enumerate() {
                let after_word = at > 0 && is_word(letters[at - 1]);
                let before_word = letters.get(at + 1).is_some_and(|next| is_word(*next));
                match (letter, after_word, before_word) {
                    ('-' | '/', false, true) => loose.push(Part::Dash),
                    _ => loose.push_literal(*letter),
                }
            }
        }
        loose
    }

    /// Place and text, where that is all that the pattern asks.
    pub fn as_text(&self) -> Option<(Where, &str)> {
        match self.0.as_slice() {
            [] => Some((Where::Whole, "")),
            [Part::Literal(text)] => Some((Where::Whole, text)),
            [Part::Literal(text), Part::Many] => Some((Where::Start, text)),
            [Part::Many, Part::Literal(text)] => Some((Where::End, text)),
            [Part::Many, Part::Literal(text), Part::Many] => Some((Where::Inside, text)),
            _ => None,
        }
    }

    /// The text without wildcards; `None` where it has some.
    pub fn plain(&self) -> Option<String> {
        let text = |part: &Part| match part {
            Part::Literal(text) => Some(text.clone()),
            _ => None,
        };
        self.0.iter().map(text).collect()
    }

    /// The pattern as a rule writes it. A dash that may be any is written as one.
    pub fn written(&self) -> String {
        let mut written = String::new();
        for part in &self.0 {
            match part {
                Part::Literal(text) => {
                    for letter in text.chars() {
                        if "*?\\".contains(letter) {
                            written.push('\\');
                        }
                        written.push(letter);
                    }
                }
                Part::One => written.push('?'),
                Part::Many => written.push('*'),
                Part::Dash => written.push('-'),
            }
        }
        written
    }

    /// Whether a text is like it, case and all.
    pub fn is_like(&self, text: &str) -> bool {
        self.holds(text)
    }

    /// Whether everything satisfies it.
    pub fn is_anything(&self) -> bool {
        self.0 == [Part::Many]
    }

    /// The longest run of characters that must be there.
    fn longest(&self) -> Option<&str> {
        let literals = self.0.iter().filter_map(|part| match part {
            Part::Literal(text) => Some(text.as_str()),
            _ => None,
        });
        literals.max_by_key(|text| text.len())
    }

    fn lower(&self) -> Self {
        let lower = |part: &Part| match part {
            Part::Literal(text) => Part::Literal(text.to_lowercase()),
            other => other.clone(),
        };
        Pattern(self.0.iter().map(lower).collect())
    }

    fn holds(&self, value: &str) -> bool {
        // Between two `Many` the leftmost place is as good as any; what comes first and last is tied to the ends.
        let mut pieces = self.0.split(|part| *part == Part::Many);
        let first = pieces.next().unwrap_or_default();
        let Some(mut at) = here(first, value) else { return false };
        let mut pieces: Vec<&[Part]> = pieces.collect();
        let Some(last) = pieces.pop() else { return at == value.len() };
        for piece in pieces {
            match find(piece, &value[at..]) {
                Some(end) => at += end,
                None => return false,
            }
        }
        let rest = &value[at..];
        let letters: usize = last.iter().map(Part::letters).sum();
        let start = match letters {
            0 => rest.len(),
            _ => match rest.char_indices().rev().nth(letters - 1) {
                Some((start, _)) => start,
                None => return false,
            },
        };
        here(last, &rest[start..]).is_some()
    }
}

impl Part {
    fn letters(&self) -> usize {
        match self {
            Part::Literal(text) => text.chars().count(),
            Part::One | Part::Dash => 1,
            Part::Many => 0,
        }
    }
}

/// How many bytes the parts take at the start of the value, if they stand there.
fn here(parts: &[Part], value: &str) -> Option<usize> {
    let mut rest = value;
    for part in parts {
        rest = match part {
            Part::Literal(text) => rest.strip_prefix(text.as_str())?,
            Part::One => rest.strip_prefix(|_| true)?,
            Part::Dash => rest.strip_prefix(DASHES)?,
            Part::Many => rest,
        };
    }
    Some(value.len() - rest.len())
}

/// Where the parts end at the first place where they stand.
fn find(parts: &[Part], value: &str) -> Option<usize> {
    let mut from = 0;
    loop {
        if let Some(Part::Literal(text)) = parts.first() {
            from += value[from..].find(text.as_str())?;
        }
        if let Some(taken) = here(parts, &value[from..]) {
            return Some(from + taken);
        }
        from += value[from..].chars().next()?.len_utf8();
    }
}

/// One of several texts with wildcards is the value.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Likes {
    case: Case,
    look: Look,
    patterns: Vec<Pattern>,
}

impl Likes {
    /// Any of `patterns`.
    pub fn new(case: Case, look: Look, patterns: &[Pattern]) -> Self {
        let patterns = patterns.iter().map(|pattern| match case {
            Case::Sensitive => pattern.clone(),
            Case::Ignored => pattern.lower(),
        });
        Likes { case, look, patterns: patterns.collect() }
    }

    /// Whether case counts. Where it does not, [`required`](Likes::required) texts are in lower case.
    pub fn case(&self) -> Case {
        self.case
    }

    /// Which values are looked into.
    pub fn look(&self) -> Look {
        self.look
    }

    /// For each pattern a text that the value must hold somewhere; `None` where one requires none.
    pub fn required(&self) -> Option<Vec<&str>> {
        self.patterns.iter().map(Pattern::longest).collect()
    }

    /// Whether the value is like one of them.
    pub fn hold(&self, value: Scalar<'_>) -> bool {
        match (self.look, value) {
            (_, Scalar::Text(text)) => self.any(text),
            (Look::Scalars, value) => self.any(&value.text()),
            (Look::Texts, _) => false,
        }
    }

    /// For people: `is like "*.exe"`.
    pub fn expectation(&self) -> String {
        let case = if self.case == Case::Ignored { " in any case" } else { "" };
        let patterns = self.patterns.iter().map(|pattern| format!("{:?}", pattern.written()));
        format!("is like {}{case}", crate::predicate::alternatives(patterns))
    }

    fn any(&self, value: &str) -> bool {
        let lower;
        let value = match self.case {
            Case::Sensitive => value,
            Case::Ignored => {
                lower = value.to_lowercase();
                &lower
            }
        };
        self.patterns.iter().any(|pattern| pattern.holds(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn like(pattern: Pattern, value: &str) -> bool {
        Likes::new(Case::Ignored, Look::Texts, &[pattern]).hold(Scalar::Text(value))
    }

    #[test]
    fn wildcards_stand_for_what_they_say() {
        let cases = [
            ("*", "", true),
            ("a*c", "abbc", true),
            ("a*c", "abb", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("a?c", "aéc", true),
            ("*b*b*", "abcb", true),
            ("*b*b*", "abc", false),
            ("*ab", "aab", true),
            ("?*?", "a", false),
            ("?*?", "ab", true),
            ("a*bc*c", "abcc", true),
            ("a*bc*c", "abc", false),
            (r"C:\\*\*.exe", r"c:\windows\*.exe", true),
            (r"C:\\*\*.exe", r"c:\windows\x.exe", false),
            (r"a\b", r"a\b", true),
            (r"a\\*", r"a\anything", true),
            (r"a\?", "a?", true),
            (r"a\?", "ab", false),
        ];
        for (pattern, value, expected) in cases {
            assert_eq!(like(Pattern::parse(pattern), value), expected, "{pattern} on {value}");
        }
    }

    #[test]
    fn the_dash_before_an_option_may_be_any_and_no_other() {
        let enc = || Pattern::literal(" -enc").with_any_dash().placed(Where::Inside);
        for value in ["x -enc y", "x /ENC", "x \u{2013}enc", "x \u{2014}Enc", "x \u{2015}enc"] {
            assert!(like(enc(), value), "{value}");
        }
        assert!(!like(enc(), "x +enc"));
        let inner = || Pattern::literal("a-b/c").with_any_dash();
        assert!(like(inner(), "a-b/c"));
        assert!(!like(inner(), "a/b/c"), "inside a word it is no option");
    }

    #[test]
    fn a_pattern_that_is_a_text_at_a_place_says_so() {
        let cases = [
            ("abc", Some((Where::Whole, "abc"))),
            ("abc*", Some((Where::Start, "abc"))),
            ("**abc", Some((Where::End, "abc"))),
            (r"*a\*c*", Some((Where::Inside, "a*c"))),
            ("a*c", None),
            ("*", None),
        ];
        for (pattern, expected) in cases {
            assert_eq!(Pattern::parse(pattern).as_text(), expected, "{pattern}");
            let written = Pattern::parse(pattern).written();
            assert_eq!(Pattern::parse(&written), Pattern::parse(pattern), "{written}");
        }
    }
}
