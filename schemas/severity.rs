//! Five severities and the words that sources use for them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How bad it is. Ordered: `info < low < medium < high < critical`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// For the record.
    #[default]
    Info,
    /// Look when there is time.
    Low,
    /// Look today.
    Medium,
    /// Look now.
    High,
    /// Wake someone.
    Critical,
}

impl Severity {
    /// All severities, lowest first.
    pub const ALL: [Severity; 5] =
        [Severity::Info, Severity::Low, Severity::Medium, Severity::High, Severity::Critical];

    /// The severity as it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Severity::Info => "info",
            Severity::Low => "low",
            Severity::Medium => "medium",
            Severity::High => "high",
            Severity::Critical => "critical",
        }
    }

    /// Reads a severity as the known sources write it, in any case; `None` for any other word.
    pub fn parse(text: &str) -> Option<Self> {
        const WORDS: [(&str, Severity); 8] = [
            ("info", Severity::Info),
            ("informational", Severity::Info),
            ("low", Severity::Low),
            ("medium", Severity::Medium),
            ("high", Severity::High),
            ("critical", Severity::Critical),
            ("likely_phishing", Severity::Medium),
            ("confirmed_phishing", Severity::High),
        ];
        WORDS.iter().find(|(word, _)| text.trim().eq_ignore_ascii_case(word)).map(|(_, severity)| *severity)
    }
}
