//! What stands behind the name of a field in a comparison: `command_line|windash|all`.

use std::ops::Range;

use crate::field::Field;
use crate::predicate::{Case, Encoding, Look, TimePart};
use crate::rule::diagnostic::nearest;
use crate::rule::draft::{At, Problems};

/// A field and how its values are compared.
#[derive(Clone, Debug)]
pub(crate) struct Compared {
    pub(crate) field: Field,
    /// Every value of the rule must hold, not one.
    pub(crate) all: bool,
    pub(crate) case: Case,
    pub(crate) look: Option<Look>,
    pub(crate) any_dash: bool,
    pub(crate) encodings: Vec<Encoding>,
    /// The value names another field.
    pub(crate) other_field: bool,
    pub(crate) time_part: Option<TimePart>,
    /// The value names a list, which has been put in its place.
    pub(crate) list: bool,
}

/// What a comparison does, which decides the modifiers that go with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sort {
    /// The value is a text.
    Equality,
    /// The value holds a text.
    Text,
    /// A regular expression finds something.
    Expression,
    /// An address in a network.
    Network,
    /// A number.
    Number,
    /// Anything else.
    Other,
}

const SIMPLE: [&str; 8] = ["all", "nocase", "cased", "text", "windash", "field", "list", "host"];

/// Reads `name|modifier|…`.
pub(crate) fn compared(
    written: &str,
    span: &Range<usize>,
    comparison: &str,
    sort: Sort,
    how: (Case, Option<Look>),
    problems: &mut Problems<'_>,
) -> Option<Compared> {
    let (name, modifiers) = written.split_once('|').map_or((written, ""), |(name, rest)| (name, rest));
    let modifiers: Vec<&str> = modifiers.split('|').filter(|modifier| !modifier.is_empty()).collect();
    let host = if modifiers.contains(&"host") { "|host" } else { "" };
    let field = problems.field(&At { value: format!("{name}{host}"), span: span.clone() })?;
    let mut compared = Compared {
        field,
        all: false,
        case: how.0,
        look: how.1,
        any_dash: false,
        encodings: Vec::new(),
        other_field: false,
        time_part: None,
        list: false,
    };
    for modifier in modifiers {
        if !goes_with(modifier, sort) {
            refuse(modifier, span, comparison, problems);
            return None;
        }
        match modifier {
            "all" => compared.all = true,
            "nocase" => compared.case = Case::Ignored,
            "cased" => compared.case = Case::Sensitive,
            "text" => compared.look = Some(Look::Scalars),
            "windash" => compared.any_dash = true,
            "field" => compared.other_field = true,
            "list" => compared.list = true,
            _ => {
                compared.encodings.extend(by_name(&Encoding::NAMES, modifier));
                compared.time_part = compared.time_part.or(by_name(&TimePart::NAMES, modifier));
            }
        }
    }
    let shapes_text = compared.any_dash || !compared.encodings.is_empty();
    let clash = match (&compared, shapes_text) {
        (Compared { other_field: true, .. }, true) => {
            Some("`|field` compares what the event holds: nothing is encoded")
        }
        (Compared { other_field: true, list: true, .. }, _) => {
            Some("a list holds values, not names of fields")
        }
        (Compared { time_part: Some(_), .. }, true) => Some("a part of a time is a number"),
        (Compared { time_part: Some(_), other_field: true, .. }, _) => {
            Some("a part of a time is compared with numbers")
        }
        (Compared { any_dash: true, encodings, .. }, _) if !encodings.is_empty() => {
            Some("no dash is left in an encoded text")
        }
        _ => None,
    };
    if let Some(why) = clash {
        problems.error(span, format!("modifiers of `{name}` that do not go together"), why, None);
        return None;
    }
    Some(compared)
}

fn goes_with(modifier: &str, sort: Sort) -> bool {
    let encoding = by_name(&Encoding::NAMES, modifier).is_some();
    let time_part = by_name(&TimePart::NAMES, modifier).is_some();
    match modifier {
        "host" => true,
        "all" => matches!(sort, Sort::Equality | Sort::Text | Sort::Expression | Sort::Network),
        "nocase" | "cased" => matches!(sort, Sort::Equality | Sort::Text | Sort::Expression),
        "text" => matches!(sort, Sort::Text | Sort::Expression),
        "windash" | "field" => matches!(sort, Sort::Equality | Sort::Text),
        "list" => matches!(sort, Sort::Equality | Sort::Text | Sort::Expression | Sort::Network),
        _ if encoding => matches!(sort, Sort::Equality | Sort::Text),
        _ if time_part => sort == Sort::Equality,
        _ => false,
    }
}

fn refuse(modifier: &str, span: &Range<usize>, comparison: &str, problems: &mut Problems<'_>) {
    let encodings = Encoding::NAMES.iter().map(|(name, _)| *name);
    let parts = TimePart::NAMES.iter().map(|(name, _)| *name);
    let known: Vec<&str> = SIMPLE.into_iter().chain(encodings).chain(parts).collect();
    if known.contains(&modifier) {
        let label = format!("`{comparison}` cannot be modified so");
        problems.error(span, format!("`|{modifier}` does not go with `{comparison}`"), label, None);
        return;
    }
    let help = match nearest(modifier, known.iter().copied()) {
        Some(near) => format!("did you mean `|{near}`?"),
        None => format!("known here: {}", known.join(", ")),
    };
    problems.error(span, format!("unknown modifier `|{modifier}`"), "not known here", Some(help));
}

fn by_name<T: Copy>(names: &[(&str, T)], name: &str) -> Option<T> {
    names.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
}
