//! Comparisons with texts.

use crate::field::Scalar;

/// Where in the value the text must stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Where {
    /// It is the value. Numbers compare as text: 3 equals `"3"`.
    Whole,
    /// Anywhere. Text only.
    Inside,
    /// At its start. Text only.
    Start,
    /// At its end. Text only.
    End,
}

/// Whether upper and lower case differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Case {
    /// They do.
    Sensitive,
    /// They do not, in any script.
    Ignored,
}

/// One of several texts, somewhere in the value.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Texts {
    place: Where,
    case: Case,
    texts: Vec<String>,
}

impl Texts {
    /// Any of `texts` at `place`.
    pub fn new(place: Where, case: Case, texts: Vec<String>) -> Self {
        let texts = match case {
            Case::Sensitive => texts,
            Case::Ignored => texts.iter().map(|text| text.to_lowercase()).collect(),
        };
        Texts { place, case, texts }
    }

    /// The texts, where the value must be exactly one of them.
    pub fn exact(&self) -> Option<&[String]> {
        (self.place == Where::Whole && self.case == Case::Sensitive).then_some(&self.texts)
    }

    /// Where in the value a text must stand.
    pub fn place(&self) -> Where {
        self.place
    }

    /// Whether upper and lower case differ. Where they do not, the texts are in lower case.
    pub fn case(&self) -> Case {
        self.case
    }

    /// The texts, one of which the value must hold.
    pub fn texts(&self) -> &[String] {
        &self.texts
    }

    /// Whether the value holds one of the texts.
    pub fn hold(&self, value: Scalar<'_>) -> bool {
        match (self.place, value) {
            (Where::Whole, value) => self.any(&value.text()),
            (_, Scalar::Text(text)) => self.any(text),
            _ => false,
        }
    }

    /// For people: `ends with ".exe"`.
    pub fn expectation(&self) -> String {
        let verb = match self.place {
            Where::Whole => "is",
            Where::Inside => "contains",
            Where::Start => "starts with",
            Where::End => "ends with",
        };
        let case = if self.case == Case::Ignored { " in any case" } else { "" };
        format!(
            "{verb} {}{case}",
            crate::predicate::alternatives(self.texts.iter().map(|text| format!("{text:?}")))
        )
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
        self.texts.iter().any(|text| match self.place {
            Where::Whole => value == text,
            Where::Inside => value.contains(text.as_str()),
            Where::Start => value.starts_with(text.as_str()),
            Where::End => value.ends_with(text.as_str()),
        })
    }
}
