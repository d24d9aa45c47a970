//! What `config show` and `config template` print.

use std::fmt::Write;

use super::errors::Origin;
use super::settings_table::{SECTIONS, SETTINGS, Setting};
use super::value::{Kind, Value};

/// One setting as it is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// `section.name`.
    pub path: &'static str,
    /// The value as YAML; secrets are `***`.
    pub value: String,
    /// Where it came from.
    pub origin: Origin,
}

impl Shown {
    /// `text` is how a single value was given.
    pub(super) fn new(setting: &'static Setting, value: &Value, text: &str, origin: Origin) -> Self {
        let value = match value {
            Value::List(items) => {
                format!("[{}]", items.iter().map(|item| scalar(item)).collect::<Vec<_>>().join(", "))
            }
            Value::Sources(sources) => json(sources),
            _ if matches!(setting.kind, Kind::Count { .. }) => text.trim().to_owned(),
            _ => scalar(&setting.kind.shown(text)),
        };
        Shown { path: setting.path, value, origin }
    }
}

/// Every setting, in the order of the table, with its value and where that came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origins(pub(super) Vec<Shown>);

impl Origins {
    /// The settings, one by one.
    pub fn iter(&self) -> impl Iterator<Item = &Shown> {
        self.0.iter()
    }

    /// The settings as YAML, each line with where its value came from.
    pub fn show(&self) -> String {
        let lines = self.0.iter().map(|shown| {
            let (section, name) = shown.path.split_once('.').unwrap_or(("", shown.path));
            (section, format!("  {name}: {}", shown.value), &shown.origin)
        });
        let lines: Vec<_> = lines.collect();
        // One very long value should not push all comments off the screen.
        let width = lines.iter().map(|(_, line, _)| line.chars().count()).filter(|width| *width <= 60).max();
        let mut out = String::new();
        let mut current = "";
        for (section, line, origin) in lines {
            if section != current {
                let _ = writeln!(out, "{section}:");
                current = section;
            }
            let _ = writeln!(out, "{line:width$}  # {origin}", width = width.unwrap_or(0));
        }
        out
    }
}

/// A settings file with every setting at its default, and what each is for.
pub fn template() -> String {
    let mut out = String::from(
        "# Settings of Sightline. Everything here is at its default; keep only what you change.\n\
         # Each can also be given as an environment variable, such as SIGHTLINE_NATS_URL for nats.url.\n",
    );
    for section in &SECTIONS {
        let _ = writeln!(out, "\n# {}\n{}:", section.comment, section.name);
        for setting in SETTINGS.iter().filter(|setting| setting.section() == section.name) {
            for line in setting.comment.lines() {
                let _ = writeln!(out, "  # {line}");
            }
            let default = match setting.kind {
                Kind::Paths | Kind::Sources | Kind::Count { .. } => setting.default.to_owned(),
                _ => scalar(setting.default),
            };
            let _ = writeln!(out, "  {}: {default}", setting.name());
        }
    }
    out
}

/// A text as YAML: plain where nothing else could be read from it, quoted like JSON otherwise.
fn scalar(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-/: ".contains(c);
    let begins = text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '.' || c == '/');
    let word =
        ["true", "false", "null", "yes", "no", "on", "off", "~"].contains(&text.to_lowercase().as_str());
    let safe = begins
        && !word
        && text.chars().all(plain)
        && !text.contains(": ")
        && !text.ends_with([':', ' '])
        && text.parse::<f64>().is_err();
    if safe { text.to_owned() } else { json(text) }
}

/// JSON that is also YAML: without the characters that YAML does not take as they are, or takes for the end of a line.
fn json(value: &(impl serde::Serialize + ?Sized)) -> String {
    let json = serde_json::to_string(value).expect("settings are plain data");
    let refused = |c: char| {
        matches!(c, '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
    };
    if !json.contains(refused) {
        return json;
    }
    let mut out = String::with_capacity(json.len() + 16);
    for c in json.chars() {
        match refused(c) {
            true => write!(out, "\\u{:04x}", u32::from(c)).expect("a text takes all"),
            false => out.push(c),
        }
    }
    out
}
