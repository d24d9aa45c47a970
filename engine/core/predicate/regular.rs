//! Regular expressions: linear time by construction, bounded size.

use regex::{Regex, RegexBuilder};

use crate::field::Scalar;
use crate::limits::REGEX_BYTES_MAX;
use crate::predicate::{Case, Look, required};

/// One of several regular expressions finds something in the value.
#[derive(Clone, Debug)]
pub struct Regular {
    regexes: Vec<Regex>,
    case: Case,
    look: Look,
    required: Option<Vec<String>>,
}

impl Regular {
    /// Any of `patterns`.
    ///
    /// # Errors
    /// When one cannot be read, or would grow beyond [`REGEX_BYTES_MAX`].
    pub fn new(patterns: &[String], case: Case, look: Look) -> Result<Self, String> {
        let compile = |pattern: &String| {
            RegexBuilder::new(pattern)
                .case_insensitive(case == Case::Ignored)
                .size_limit(REGEX_BYTES_MAX)
                .dfa_size_limit(REGEX_BYTES_MAX)
                .build()
                .map_err(|error| error.to_string())
        };
        let regexes = patterns.iter().map(compile).collect::<Result<_, _>>()?;
        let required = required::required(patterns.iter().map(String::as_str), case == Case::Ignored);
        Ok(Regular { regexes, case, look, required })
    }

    /// Which values are looked into.
    pub fn look(&self) -> Look {
        self.look
    }

    /// Texts in lower case of which a value in lower case must hold one; `None` where nothing is sure.
    pub fn required(&self) -> Option<Vec<&str>> {
        self.required.as_ref().map(|texts| texts.iter().map(String::as_str).collect())
    }

    /// Whether one of them finds something.
    pub fn holds(&self, value: Scalar<'_>) -> bool {
        match (self.look, value) {
            (_, Scalar::Text(text)) => self.any(text),
            (Look::Scalars, value) => self.any(&value.text()),
            (Look::Texts, _) => false,
        }
    }

    fn any(&self, text: &str) -> bool {
        self.regexes.iter().any(|regex| regex.is_match(text))
    }

    /// For people: `matches a.*b`.
    pub fn expectation(&self) -> String {
        let case = if self.case == Case::Ignored { " in any case" } else { "" };
        let patterns = self.regexes.iter().map(|regex| regex.as_str().to_owned());
        format!("matches {}{case}", crate::predicate::alternatives(patterns))
    }

    /// The patterns as text.
    pub fn patterns(&self) -> impl Iterator<Item = &str> {
        self.regexes.iter().map(Regex::as_str)
    }
}

impl PartialEq for Regular {
    fn eq(&self, other: &Self) -> bool {
        self.case == other.case && self.look == other.look && self.patterns().eq(other.patterns())
    }
}
