//! Texts of which a value must hold one for a regular expression to find something in it.
//!
//! They are plain and in lower case, whatever the expression says of case: what is looked for in a value brought to lower
//! case is then there too. A letter that is not ASCII ends a text, as does one of which another case is written otherwise
//! (the long s is an `s` to an expression that ignores case).

use regex_syntax::ParserBuilder;
use regex_syntax::hir::{Class, ClassUnicode, Hir, HirKind};

/// A shorter text is nearly everywhere.
const TEXT_BYTES_MIN: usize = 3;
/// More alternatives than this say little, and each would have to be looked for.
const ALTERNATIVES_MAX: usize = 32;

/// One of these texts is in every value in which one of the patterns finds something; `None` where nothing is sure.
pub(super) fn required<'p>(
    patterns: impl Iterator<Item = &'p str>,
    ignores_case: bool,
) -> Option<Vec<String>> {
    let mut all = Vec::new();
    for pattern in patterns {
        let hir = ParserBuilder::new().case_insensitive(ignores_case).build().parse(pattern).ok()?;
        let mut search = Runs::default();
        search.visit(&hir);
        all.extend(search.finish()?);
    }
    all.sort_unstable();
    all.dedup();
    (!all.is_empty() && all.len() <= ALTERNATIVES_MAX).then_some(all)
}

/// Texts that follow each other without a gap, as an expression is passed over.
#[derive(Default)]
struct Runs {
    run: String,
    /// The best so far: its shortest text is the longest.
    best: Option<Vec<String>>,
}

impl Runs {
    fn visit(&mut self, hir: &Hir) {
        match hir.kind() {
            HirKind::Empty | HirKind::Look(_) => {}
            HirKind::Literal(literal) => match std::str::from_utf8(&literal.0) {
                Ok(text) => text.chars().for_each(|letter| self.letter(Some(letter))),
                Err(_) => self.end(),
            },
            HirKind::Class(class) => self.letter(one_letter(class)),
            HirKind::Capture(capture) => self.visit(&capture.sub),
            HirKind::Concat(parts) => parts.iter().for_each(|part| self.visit(part)),
            HirKind::Repetition(repetition) => {
                self.end();
                if repetition.min > 0 {
                    self.visit(&repetition.sub);
                    self.end();
                }
            }
            HirKind::Alternation(branches) => {
                self.end();
                let of_branch = |branch: &Hir| {
                    let mut runs = Runs::default();
                    runs.visit(branch);
                    runs.finish()
                };
                let texts: Option<Vec<Vec<String>>> = branches.iter().map(of_branch).collect();
                if let Some(texts) = texts {
                    self.offer(texts.concat());
                }
            }
        }
    }

    fn letter(&mut self, letter: Option<char>) {
        match letter.filter(char::is_ascii) {
            Some(letter) => self.run.push(letter.to_ascii_lowercase()),
            None => self.end(),
        }
    }

    fn end(&mut self) {
        let run = std::mem::take(&mut self.run);
        if run.len() >= TEXT_BYTES_MIN {
            self.offer(vec![run]);
        }
    }

    fn offer(&mut self, texts: Vec<String>) {
        let worth = |texts: &[String]| texts.iter().map(String::len).min();
        if texts.len() <= ALTERNATIVES_MAX && self.best.as_deref().and_then(worth) < worth(&texts) {
            self.best = Some(texts);
        }
    }

    fn finish(mut self) -> Option<Vec<String>> {
        self.end();
        self.best
    }
}

/// The one letter, in lower case, that all letters of a class are.
fn one_letter(class: &Class) -> Option<char> {
    let Class::Unicode(class) = class else { return None };
    let mut letters = letters(class)?.map(|letter| {
        let mut lower = letter.to_lowercase();
        (lower.next(), lower.next())
    });
    let (first, None) = letters.next()? else { return None };
    letters.all(|other| other == (first, None)).then_some(first?)
}

/// The letters of a class of few.
fn letters(class: &ClassUnicode) -> Option<impl Iterator<Item = char> + '_> {
    const LETTERS_MAX: u32 = 4;
    let count: u32 = class.iter().map(|range| range.end() as u32 - range.start() as u32 + 1).sum();
    (count <= LETTERS_MAX).then(|| class.iter().flat_map(|range| range.start()..=range.end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pattern: &str, ignores_case: bool) -> Option<Vec<String>> {
        required(std::iter::once(pattern), ignores_case)
    }

    #[test]
    fn what_must_be_there_is_known() {
        for (pattern, texts) in [
            ("abc", Some(vec!["abc"])),
            ("ABC", Some(vec!["abc"])),
            ("ab", None),
            ("^abc$", Some(vec!["abc"])),
            (r"\d+abcd.*efg", Some(vec!["abcd"])),
            ("abc.*defg|xyz", Some(vec!["defg", "xyz"])),
            ("abc|x?", None),
            ("(abc)?", None),
            ("(abc)+d", Some(vec!["abc"])),
            ("(?:one|three)-[abc]four", Some(vec!["four"])),
            ("(?:seven|three)-", Some(vec!["seven", "three"])),
            ("néabc", Some(vec!["abc"])),
            ("a.b.c", None),
        ] {
            let texts = texts.map(|texts: Vec<&str>| texts.into_iter().map(str::to_owned).collect());
            assert_eq!(of(pattern, false), texts, "{pattern}");
        }
    }

    #[test]
    fn a_letter_with_two_lower_cases_ends_a_text() {
        // The long s is one; the Kelvin sign is a k in lower case.
        assert_eq!(of("powershell", true), Some(vec!["power".to_owned()]));
        assert_eq!(of("token", true), Some(vec!["token".to_owned()]));
        assert_eq!(of("powershell", false), Some(vec!["powershell".to_owned()]));
    }

    #[test]
    fn what_is_found_holds_what_is_required() {
        let patterns =
            ["(?i)invoke-[a-z]{3,}x", r"(?:cmd|power\w+)\.exe\s+/c", "a(bcd|efgh)+i", "K[Ee]Y=.{2}"];
        let values = [
            "Invoke-abcx",
            "CMD.exe /c",
            "cmd.exe /c",
            "powerful.exe  /c",
            "aefghbcdi",
            "KEY=ab",
            "\u{212a}ey=abc",
            "",
        ];
        for (pattern, value) in patterns.iter().flat_map(|pattern| values.map(|value| (*pattern, value))) {
            for ignores_case in [false, true] {
                let regex = regex::RegexBuilder::new(pattern).case_insensitive(ignores_case).build();
                let holds = regex.expect("a pattern").is_match(value);
                let texts = of(pattern, ignores_case).expect("each requires something");
                let lower = value.to_lowercase();
                assert!(!holds || texts.iter().any(|text| lower.contains(text)), "{pattern} {value}");
            }
        }
    }
}
