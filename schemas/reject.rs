//! Why an input is no event, or a command none that can be carried out.

/// Why an input is no event. The kind is one of a closed list; the text names what to mend.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct Reject {
    /// The closed list, for counting.
    pub reason: Reason,
    /// One line for the person who mends the producer.
    pub detail: String,
}

/// Most bytes of the line for people. It can quote the input, which has no such bound.
pub const DETAIL_BYTES_MAX: usize = 1_024;

impl Reject {
    /// A refusal for `reason`, with a line for people; a longer one is cut.
    pub fn new(reason: Reason, detail: impl Into<String>) -> Self {
        let mut detail = detail.into();
        if detail.len() > DETAIL_BYTES_MAX {
            detail.truncate(detail.floor_char_boundary(DETAIL_BYTES_MAX));
            detail.push('…');
        }
        Reject { reason, detail }
    }
}

/// Why an input is refused: a closed list.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Not JSON or MessagePack, or not an object.
    Undecodable,
    /// More bytes or values than allowed, or nested too deep.
    TooLarge,
    /// A time that cannot be read.
    BadTime,
    /// Two names for one thing, with different values.
    AliasConflict,
    /// The body names another tenant or source than the subject.
    SubjectMismatch,
    /// A field that this source must give is absent.
    MissingField,
    /// A field has a value that it cannot have.
    BadField,
    /// The subject is none that events are published on.
    BadSubject,
    /// A command that cannot be carried out.
    BadCommand,
}

impl Reason {
    /// All reasons.
    pub const ALL: [Reason; 9] = [
        Reason::Undecodable,
        Reason::TooLarge,
        Reason::BadTime,
        Reason::AliasConflict,
        Reason::SubjectMismatch,
        Reason::MissingField,
        Reason::BadField,
        Reason::BadSubject,
        Reason::BadCommand,
    ];

    /// The reason as it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Reason::Undecodable => "undecodable",
            Reason::TooLarge => "too_large",
            Reason::BadTime => "bad_time",
            Reason::AliasConflict => "alias_conflict",
            Reason::SubjectMismatch => "subject_mismatch",
            Reason::MissingField => "missing_field",
            Reason::BadField => "bad_field",
            Reason::BadSubject => "bad_subject",
            Reason::BadCommand => "bad_command",
        }
    }
}
