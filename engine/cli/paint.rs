//! Colours, where the reader can see them.

use std::io::IsTerminal;

use sightline_core::rule::diagnostic::Color;
use sightline_schemas::Severity;

/// When to use colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum When {
    /// On a terminal, unless NO_COLOR is set
    #[default]
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// Whether each output takes colours.
#[derive(Clone, Copy, Debug)]
pub struct Colors {
    /// For data.
    pub stdout: Paint,
    /// For words.
    pub stderr: Paint,
}

impl Colors {
    /// As wanted, where the outputs can.
    pub fn of(when: When) -> Self {
        // https://no-color.org: any value but the empty one.
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let paint = |terminal: bool| match when {
            When::Always => Paint(true),
            When::Never => Paint(false),
            When::Auto => Paint(terminal && !refused),
        };
        Colors {
            stdout: paint(std::io::stdout().is_terminal()),
            stderr: paint(std::io::stderr().is_terminal()),
        }
    }
}

/// Puts text in colour, or does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Paint(pub(super) bool);

impl Paint {
    fn with(self, code: &str, text: &str) -> String {
        if self.0 { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// What matters.
    pub fn bold(self, text: &str) -> String {
        self.with("1", text)
    }

    /// What matters less.
    pub fn dim(self, text: &str) -> String {
        self.with("2", text)
    }

    /// What is as it should be.
    pub fn good(self, text: &str) -> String {
        self.with("32", text)
    }

    /// What is not.
    pub fn bad(self, text: &str) -> String {
        self.with("1;31", text)
    }

    /// A severity, or text in its colour.
    pub fn severity(self, severity: Severity, text: &str) -> String {
        let code = match severity {
            Severity::Critical => "1;97;41",
            Severity::High => "1;31",
            Severity::Medium => "1;33",
            Severity::Low => "36",
            Severity::Info => "2",
        };
        self.with(code, text)
    }

    /// As the rule checker takes it.
    pub fn diagnostics(self) -> Color {
        if self.0 { Color::Ansi } else { Color::Plain }
    }
}
