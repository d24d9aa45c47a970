//! What is wrong with rules: all of it at once, each with its place, the expectation and what to write.

use std::ops::Range;

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Level as Severity, Renderer, Snippet};
use serde::Serialize;

/// A rule file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Its name, for messages.
    pub name: String,
    /// Its text.
    pub text: String,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// The rules cannot be used.
    Error,
    /// They can, and probably do not mean what was meant.
    Warning,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad it is.
    pub level: Level,
    /// Which file, by its place in the list of files.
    pub file: usize,
    /// Where in it, in bytes.
    pub span: Range<usize>,
    /// What is wrong.
    pub message: String,
    /// What stands at the caret.
    pub label: String,
    /// What to write instead.
    pub help: Option<String>,
}

/// A diagnostic for programs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DiagnosticLine<'d> {
    /// How bad it is: `error` or `warning`.
    pub severity: Level,
    /// The file.
    pub file: &'d str,
    /// Counted from 1.
    pub line: usize,
    /// In characters, counted from 1.
    pub column: usize,
    /// What is wrong.
    pub message: &'d str,
    /// What stands there.
    pub label: &'d str,
    /// What to write instead.
    pub help: Option<&'d str>,
}

impl Diagnostic {
    /// Line and column, counted from 1, the column in characters.
    pub fn line_and_column(&self, files: &[Source]) -> (usize, usize) {
        let text = &files[self.file].text;
        let before = &text[..self.span.start.min(text.len())];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
    }

    /// The diagnostic for programs.
    pub fn line<'d>(&'d self, files: &'d [Source]) -> DiagnosticLine<'d> {
        let (line, column) = self.line_and_column(files);
        DiagnosticLine {
            severity: self.level,
            file: &files[self.file].name,
            line,
            column,
            message: &self.message,
            label: &self.label,
            help: self.help.as_deref(),
        }
    }

    /// The diagnostic for people, with an excerpt and a caret.
    pub fn render(&self, files: &[Source], color: Color) -> String {
        let file = &files[self.file];
        let level = match self.level {
            Level::Error => Severity::ERROR,
            Level::Warning => Severity::WARNING,
        };
        let span = one_line(&file.text, &self.span);
        let annotation = AnnotationKind::Primary.span(span).label(self.label.as_str());
        let excerpt = Snippet::source(file.text.as_str()).path(file.name.as_str()).annotation(annotation);
        let mut group = level.primary_title(self.message.as_str()).element(excerpt);
        if let Some(help) = &self.help {
            group = group.element(Severity::HELP.message(help.as_str()));
        }
        let renderer = match color {
            Color::Plain => Renderer::plain(),
            Color::Ansi => Renderer::styled(),
        };
        renderer.decor_style(DecorStyle::Ascii).render(&[group])
    }
}

/// The part of a span that stands on its first line: a map reaches over many.
fn one_line(text: &str, span: &Range<usize>) -> Range<usize> {
    let boundary = |mut at: usize| {
        at = at.min(text.len());
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        at
    };
    let from = boundary(span.start);
    let to = boundary(span.end.max(span.start + 1)).max(from);
    let first_line = text[from..to].lines().next().unwrap_or_default().trim_end();
    from..from + first_line.len()
}

/// Whether to use colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Color {
    /// No.
    Plain,
    /// With ANSI sequences.
    Ansi,
}

/// The known name nearest to what was written, if any is near.
pub fn nearest<'n>(written: &str, known: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    let scored = known.into_iter().map(|name| (strsim::jaro_winkler(written, name), name));
    let best = scored.max_by(|(a, _), (b, _)| a.total_cmp(b))?;
    (best.0 >= 0.75).then_some(best.1)
}
