//! The condition of a detection: `selection and not 1 of filter_*`.

use crate::sigma::native::Block;
use std::ops::Range;

/// How many ways to choose `2 of selection_*` are written out.
const CHOICES_MAX: usize = 1_000;

/// A condition, over the names of selections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Expression {
    Name(String),
    All(Vec<Expression>),
    Any(Vec<Expression>),
    Not(Box<Expression>),
    /// So many of these; all of them where there is no number.
    Of(Option<usize>, Names),
}

/// Names of selections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Names {
    /// All that do not begin with `_`.
    Them,
    /// Those that are like this.
    Like(String),
}

/// Reads a condition.
///
/// # Errors
/// With what is wrong.
pub(crate) fn parse(text: &str) -> Result<Expression, String> {
    if text.contains('|') {
        return Err("`|` counts in a rule, which Sigma gave up: write a correlation rule".to_owned());
    }
    let spaced = text.replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut reader = Reader { words: &words, at: 0, depth: 0 };
    let expression = reader.any()?;
    match reader.peek() {
        None => Ok(expression),
        Some(word) => Err(format!("`{word}` is not expected here: write `and` or `or` before it")),
    }
}

/// How deep parentheses and `not` may nest.
const DEPTH_MAX: usize = 32;

struct Reader<'w> {
    words: &'w [&'w str],
    at: usize,
    depth: usize,
}

impl<'w> Reader<'w> {
    fn peek(&self) -> Option<&'w str> {
        self.words.get(self.at).copied()
    }

    fn is(&self, word: &str) -> bool {
        self.peek().is_some_and(|next| next.eq_ignore_ascii_case(word))
    }

    fn take(&mut self, word: &str) -> bool {
        let there = self.is(word);
        self.at += usize::from(there);
        there
    }

    fn any(&mut self) -> Result<Expression, String> {
        let mut parts = vec![self.all()?];
        while self.take("or") {
            parts.push(self.all()?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Expression::Any(parts) })
    }

    fn all(&mut self) -> Result<Expression, String> {
        let mut parts = vec![self.one()?];
        while self.take("and") {
            parts.push(self.one()?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Expression::All(parts) })
    }

    fn one(&mut self) -> Result<Expression, String> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(format!("nested deeper than {DEPTH_MAX} levels"));
        }
        let one = self.primary();
        self.depth -= 1;
        one
    }

    fn primary(&mut self) -> Result<Expression, String> {
        if self.take("not") {
            return Ok(Expression::Not(Box::new(self.one()?)));
        }
        if self.take("(") {
            let inner = self.any()?;
            return match self.take(")") {
                true => Ok(inner),
                false => Err("a parenthesis that is not closed".to_owned()),
            };
        }
        let word = self.peek().ok_or("it ends where the name of a selection belongs")?;
        self.at += 1;
        if !self.take("of") {
            return match word {
                "and" | "or" | ")" => Err(format!("`{word}` stands where the name of a selection belongs")),
                _ => Ok(Expression::Name(word.to_owned())),
            };
        }
        let number = match word.to_ascii_lowercase().as_str() {
            "all" => None,
            "any" => Some(1),
            number => match number.parse() {
                Ok(0) | Err(_) => {
                    return Err(format!("`{word} of`: expected `1 of`, another number, or `all of`"));
                }
                Ok(number) => Some(number),
            },
        };
        let names =
            self.peek().ok_or("`of` what? write `them` or the beginning of names such as `selection_*`")?;
        self.at += 1;
        let names = match names.eq_ignore_ascii_case("them") {
            true => Names::Them,
            false => Names::Like(names.to_owned()),
        };
        Ok(Expression::Of(number, names))
    }
}

impl Names {
    pub(crate) fn hold(&self, name: &str) -> bool {
        match self {
            Names::Them => !name.starts_with('_'),
            Names::Like(pattern) => crate::predicate::Pattern::parse(pattern).is_like(name),
        }
    }
}

/// The condition over selections.
///
/// # Errors
/// With what is wrong: a name that there is not, or a choice of too many.
pub(crate) fn resolve(
    expression: &Expression,
    selections: &[(String, Block)],
    span: &Range<usize>,
) -> Result<Block, String> {
    let inner = |parts: &[Expression]| -> Result<Vec<Block>, String> {
        parts.iter().map(|part| resolve(part, selections, span)).collect()
    };
    Ok(match expression {
        Expression::All(parts) => Block::all_of(span, inner(parts)?),
        Expression::Any(parts) => Block::any_of(span, inner(parts)?),
        Expression::Not(part) => resolve(part, selections, span)?.negated(),
        Expression::Name(name) => {
            let found = selections.iter().find(|(there, _)| there == name);
            let known = || selections.iter().map(|(name, _)| name.as_str());
            let unknown = || match crate::rule::diagnostic::nearest(name, known()) {
                Some(near) => format!("there is no selection `{name}`: did you mean `{near}`?"),
                None => format!("there is no selection `{name}`"),
            };
            found.ok_or_else(unknown)?.1.clone()
        }
        Expression::Of(number, names) => {
            let meant: Vec<Block> = selections
                .iter()
                .filter(|(name, _)| names.hold(name))
                .map(|(_, block)| block.clone())
                .collect();
            if meant.is_empty() {
                return Err(match names {
                    Names::Them => "there is no selection".to_owned(),
                    Names::Like(pattern) => format!("no selection is like `{pattern}`"),
                });
            }
            match number {
                None => Block::all_of(span, meant),
                Some(1) => Block::any_of(span, meant),
                Some(number) if *number > meant.len() => {
                    return Err(format!("{number} of {} selections can never hold", meant.len()));
                }
                Some(number) => {
                    let choices = choices(meant.len(), *number).ok_or_else(|| {
                        format!("{number} of {} selections are more than {CHOICES_MAX} choices", meant.len())
                    })?;
                    let choice = |chosen: Vec<usize>| {
                        Block::all_of(span, chosen.into_iter().map(|at| meant[at].clone()).collect())
                    };
                    Block::any_of(span, choices.into_iter().map(choice).collect())
                }
            }
        }
    })
}

/// All ways to choose `number` of `many`; `None` where there are too many of them.
pub(crate) fn choices(many: usize, number: usize) -> Option<Vec<Vec<usize>>> {
    let mut found: Vec<Vec<usize>> = vec![Vec::new()];
    for left in (1..=number).rev() {
        let longer = |chosen: &Vec<usize>| {
            let from = chosen.last().map_or(0, |last| last + 1);
            (from..=many - left).map(|next| [chosen.as_slice(), &[next]].concat()).collect::<Vec<_>>()
        };
        found = found.iter().flat_map(longer).take(CHOICES_MAX + 1).collect();
        if found.len() > CHOICES_MAX {
            return None;
        }
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Expression {
        Expression::Name(text.to_owned())
    }

    #[test]
    fn not_binds_before_and_and_and_before_or() {
        let expected = Expression::Any(vec![
            Expression::All(vec![name("a"), Expression::Not(Box::new(name("b")))]),
            Expression::Of(Some(1), Names::Like("c_*".to_owned())),
        ]);
        assert_eq!(parse("a and not b or 1 of c_*"), Ok(expected));
        let inner = Expression::Any(vec![name("a"), Expression::Of(None, Names::Them)]);
        assert_eq!(parse("NOT (a OR all of them)"), Ok(Expression::Not(Box::new(inner))));
    }

    #[test]
    fn what_is_no_condition_says_where() {
        let cases = [
            ("a and", "it ends"),
            ("a b", "`b` is not expected"),
            ("(a", "not closed"),
            ("0 of a*", "expected `1 of`"),
            ("1 of", "`of` what"),
            ("selection | count() > 5", "correlation rule"),
        ];
        for (text, expected) in cases {
            let said = parse(text).expect_err(text);
            assert!(said.contains(expected), "{text}: {said}");
        }
    }

    #[test]
    fn choices_are_all_ways_and_no_more() {
        assert_eq!(choices(3, 2), Some(vec![vec![0, 1], vec![0, 2], vec![1, 2]]));
        assert_eq!(choices(40, 20), None);
    }
}
