//! A predicate in words, for people who ask what a rule costs.

use std::fmt;

use crate::predicate::{Case, Ordering, Predicate, Test, Texts, Where};

/// Texts that are told; how many more there are is told instead of the others.
const TOLD_MAX: usize = 3;

impl fmt::Display for Predicate {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} ", self.field.name())?;
        match &self.test {
            Test::Texts(texts) => told(texts, out),
            Test::Regular(regular) => {
                write!(out, "matches ")?;
                listed(regular.patterns(), out)
            }
            Test::Networks(_) => write!(out, "lies in one of some networks"),
            Test::Bits(_) => write!(out, "has one of some sets of bits"),
            Test::Number(ordering, than) => {
                let sign = match ordering {
                    Ordering::Gt => ">",
                    Ordering::Gte => ">=",
                    Ordering::Lt => "<",
                    Ordering::Lte => "<=",
                };
                write!(out, "{sign} {than}")
            }
            Test::Exists => write!(out, "is there"),
        }
    }
}

fn told(texts: &Texts, out: &mut fmt::Formatter<'_>) -> fmt::Result {
    out.write_str(match texts.place() {
        Where::Whole => "is ",
        Where::Inside => "contains ",
        Where::Start => "starts with ",
        Where::End => "ends with ",
    })?;
    listed(texts.texts().iter().map(String::as_str), out)?;
    match texts.case() {
        Case::Sensitive => Ok(()),
        Case::Ignored => write!(out, " in any case"),
    }
}

fn listed<'t>(texts: impl Iterator<Item = &'t str>, out: &mut fmt::Formatter<'_>) -> fmt::Result {
    for (at, text) in texts.enumerate() {
        match at {
            0 => write!(out, "{text:?}")?,
            1..TOLD_MAX => write!(out, " or {text:?}")?,
            _ => return write!(out, " or others"),
        }
    }
    Ok(())
}
