//! Comparisons with texts.

use crate::field::Scalar;

/// Where in the value the text must stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Where {
    /// It is the value. Numbers compare as text: 3 equals `"3"`.
    Whole,
    /// Anywhere.
    Inside,
    /// At its start.
    Start,
    /// At its end.
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

/// Which values are looked into for a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Look {
    /// Texts only: the number 3 holds no text.
    Texts,
    /// Numbers and flags too, by their text.
    Scalars,
}

/// One of several texts, somewhere in the value.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Texts {
    place: Where,
    case: Case,
    look: Look,
    texts: Vec<String>,
}

impl Texts {
    /// Any of `texts` at `place`. Only texts are looked into, except where the whole value must be one.
    pub fn new(place: Where, case: Case, texts: Vec<String>) -> Self {
        let mut texts = match case {
            Case::Sensitive => texts,
            Case::Ignored => texts.iter().map(|text| text.to_lowercase()).collect(),
        };
        if place == Where::Whole {
            // Looked up by halving: a list may have hundreds of thousands.
            texts.sort_unstable();
            texts.dedup();
        }
        let look = if place == Where::Whole { Look::Scalars } else { Look::Texts };
        Texts { place, case, look, texts }
    }

    /// The same, looking into these values.
    pub fn looking(mut self, look: Look) -> Self {
        self.look = look;
        self
    }

    /// The texts, where the value must be exactly one of them.
    pub fn exact(&self) -> Option<&[String]> {
        (self.place == Where::Whole && self.case == Case::Sensitive).then_some(&self.texts)
    }

    /// Where the text must stand.
    pub fn place(&self) -> Where {
        self.place
    }

    /// Whether case counts. Where it does not, [`texts`](Texts::texts) are in lower case.
    pub fn case(&self) -> Case {
        self.case
    }

    /// Which values are looked into.
    pub fn look(&self) -> Look {
        self.look
    }

    /// The texts, of which one is enough.
    pub fn texts(&self) -> &[String] {
        &self.texts
    }

    /// Whether the value holds one of the texts.
    pub fn hold(&self, value: Scalar<'_>) -> bool {
        match (self.look, value) {
            (_, Scalar::Text(text)) => self.any(text),
            (Look::Scalars, value) => self.any(&value.text()),
            (Look::Texts, _) => false,
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
        match self.place {
            Where::Whole => self.texts.binary_search_by(|text| text.as_str().cmp(value)).is_ok(),
            Where::Inside => self.texts.iter().any(|text| value.contains(text.as_str())),
            Where::Start => self.texts.iter().any(|text| value.starts_with(text.as_str())),
            Where::End => self.texts.iter().any(|text| value.ends_with(text.as_str())),
        }
    }
}
