//! Where a setting came from, and what is wrong with it. All errors at once, each with its place and what to write.

use std::fmt;

use super::yaml::At;

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nobody gave one.
    Default,
    /// A place in the settings file; line and column count from 1, and are 0 where the whole file is meant.
    File {
        /// The file as it was named.
        file: String,
        /// The line.
        line: u64,
        /// The column.
        column: u64,
    },
    /// An environment variable, by name.
    Env(String),
    /// A flag for the setting of this path.
    Flag(String),
}

impl Origin {
    pub(super) fn file(file: &str, at: Option<At>) -> Self {
        let (line, column) = at.map_or((0, 0), |at| (at.line, at.column));
        Origin::File { file: file.to_owned(), line, column }
    }

    /// This origin, moved to a place inside it where it is a file.
    pub(super) fn at(&self, at: At) -> Self {
        match self {
            Origin::File { file, .. } => Origin::file(file, Some(at)),
            other => other.clone(),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => out.write_str("default"),
            Origin::File { file, line: 0, .. } => out.write_str(file),
            Origin::File { file, line, column } => write!(out, "{file}:{line}:{column}"),
            Origin::Env(name) => write!(out, "env {name}"),
            Origin::Flag(path) => write!(out, "flag {path}"),
        }
    }
}

/// One thing that is wrong with the settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// What is wrong, with the offending text unless it may be secret.
    pub message: String,
    /// Where.
    pub origin: Origin,
    /// What is expected, or what to write; may be empty.
    pub help: String,
}

/// Everything that is wrong with the settings; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl std::error::Error for ConfigError {}
impl std::error::Error for ConfigErrors {}

/// Like a compiler's message, but without the source line: that could show a password beside the error.
impl fmt::Display for ConfigError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "error: {}\n  --> {}", self.message, self.origin)?;
        if !self.help.is_empty() {
            write!(out, "\n  = help: {}", self.help)?;
        }
        Ok(())
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            let gap = if index == 0 { "" } else { "\n\n" };
            write!(out, "{gap}{error}")?;
        }
        Ok(())
    }
}

/// The name nearest to `wrong`, if one is near enough to have been meant.
pub(super) fn nearest<'a>(wrong: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wrong = wrong.to_lowercase();
    let distance = |name: &str| strsim::damerau_levenshtein(&wrong, &name.to_lowercase());
    let (found, name) = names.into_iter().map(|name| (distance(name), name)).min()?;
    let near_enough = (wrong.chars().count() / 3).max(1);
    (found <= near_enough).then_some(name)
}

/// A text for a message: shortened, on one line.
pub(super) fn quoted(text: &str) -> String {
    const CHARS_MAX: usize = 60;
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(CHARS_MAX).collect();
    let more = if text.chars().count() > CHARS_MAX { "…" } else { "" };
    format!("`{line}{more}`")
}
