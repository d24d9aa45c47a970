//! Elastic's EQL: an event query, or a sequence of them.

use serde_json::json;

use super::Converted;
use super::eql_condition::Conditions;
use super::eql_text::{Token, tokens};
use super::native::{Absence, Rule, Step, Until};

/// The window of a sequence without `maxspan`.
const WINDOW_DEFAULT: &str = "1d";

/// A field whose value the events of a sequence share.
#[derive(Clone, Debug)]
struct Shared {
    field: String,
    /// Whether events without a value share that, too.
    optional: bool,
}

/// Reads words and signs one after the other.
pub(super) struct Reader {
    tokens: Vec<Token>,
    at: usize,
    /// What could not be carried over.
    pub(super) left_out: Vec<String>,
}

impl Reader {
    pub(super) fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    pub(super) fn next(&mut self) -> Option<Token> {
        let token = self.tokens.get(self.at).cloned();
        self.at += usize::from(token.is_some());
        token
    }

    /// Takes a word, in any case, if it comes next.
    pub(super) fn word(&mut self, word: &str) -> bool {
        let is = matches!(self.peek(), Some(Token::Word(next)) if next.eq_ignore_ascii_case(word));
        self.at += usize::from(is);
        is
    }

    /// Takes a sign, if it comes next.
    pub(super) fn sign(&mut self, sign: &str) -> bool {
        let is = matches!(self.peek(), Some(Token::Sign(next)) if *next == sign);
        self.at += usize::from(is);
        is
    }

    pub(super) fn expect(&mut self, sign: &str) -> Result<(), String> {
        if self.sign(sign) { Ok(()) } else { Err(format!("expected `{sign}`, found {}", self.found())) }
    }

    pub(super) fn name(&mut self) -> Result<String, String> {
        // `?field` is a field that need not exist, which is how all of ours are.
        self.sign("?");
        match self.next() {
            Some(Token::Word(word)) => Ok(word),
            _ => Err(format!("expected a name, found {}", self.found())),
        }
    }

    pub(super) fn found(&self) -> String {
        match self.peek() {
            None => "the end".to_owned(),
            Some(Token::Word(word)) => format!("`{word}`"),
            Some(Token::Text(text)) => format!("{text:?}"),
            Some(Token::Number(number)) => number.to_string(),
            Some(Token::Sign(sign)) => format!("`{sign}`"),
        }
    }

    fn shared(&mut self) -> Result<Vec<Shared>, String> {
        let mut shared = Vec::new();
        loop {
            let optional = self.peek() == Some(&Token::Sign("?"));
            shared.push(Shared { field: self.name()?, optional });
            if !self.sign(",") {
                return Ok(shared);
            }
        }
    }
}

/// Converts a query.
///
/// # Errors
/// When it is no EQL.
pub(super) fn convert(text: &str, id: &str) -> Result<Converted, String> {
    let mut reader = Reader { tokens: tokens(text)?, at: 0, left_out: Vec::new() };
    let rule = Rule { id: id.to_owned(), severity: "medium".to_owned(), ..Rule::default() };
    if reader.word("sample") {
        return Err("`sample`: only queries of events and sequences can be converted".to_owned());
    }
    let mut rule = match reader.word("sequence") {
        true => sequence(&mut reader, rule)?,
        false => {
            let step = Step {
                name: "event".to_owned(),
                conditions: query(&mut reader)?,
                min_count: 1,
                ..Step::default()
            };
            Rule { window: "1m".to_owned(), by: vec!["host.id".to_owned()], steps: vec![step], ..rule }
        }
    };
    while reader.sign("|") {
        let pipe = reader.name()?;
        reader.left_out.push(format!("the pipe `{pipe}`"));
        while reader.peek().is_some_and(|token| *token != Token::Sign("|")) {
            reader.next();
        }
    }
    if reader.peek().is_some() {
        return Err(format!("expected the end, found {}", reader.found()));
    }
    rule.title = format!("{id}, converted from EQL");
    Ok(Converted { rule, left_out: reader.left_out })
}

fn sequence(reader: &mut Reader, mut rule: Rule) -> Result<Rule, String> {
    rule.ordered = true;
    let mut common = Vec::new();
    loop {
        if reader.word("by") {
            common = reader.shared()?;
        } else if reader.word("with") {
            let what = reader.name()?;
            reader.expect("=")?;
            let value = reader.name()?;
            match what.as_str() {
                "maxspan" => rule.window = value,
                other => reader.left_out.push(format!("with {other}={value}")),
            }
        } else {
            break;
        }
    }
    let mut own_keys: Vec<Vec<Shared>> = Vec::new();
    while matches!(reader.peek(), Some(Token::Sign("[" | "!["))) {
        let absent = reader.sign("![");
        if !absent {
            reader.expect("[")?;
        }
        let conditions = query(reader)?;
        reader.expect("]")?;
        let mut keys = Vec::new();
        let mut runs = 1;
        loop {
            if reader.word("by") {
                keys = reader.shared()?;
            } else if reader.word("with") {
                let what = reader.name()?;
                reader.expect("=")?;
                match (what.as_str(), reader.next()) {
                    ("runs", Some(Token::Number(number))) => runs = number as u64,
                    (other, _) => reader.left_out.push(format!("with {other} of a step")),
                }
            } else {
                break;
            }
        }
        let name = format!("step_{}", rule.steps.len() + 1);
        let absence = absent.then(Absence::default);
        rule.steps.push(Step { name, conditions, min_count: runs, absence, ..Step::default() });
        own_keys.push(keys);
    }
    if !rule.steps.iter().any(|step| step.absence.is_none()) {
        return Err(format!("expected an event that must happen, `[…]`, found {}", reader.found()));
    }
    let mut until_keys = Vec::new();
    if reader.word("until") {
        reader.expect("[")?;
        rule.until = Some(Until { conditions: query(reader)?, by: Vec::new() });
        reader.expect("]")?;
        if reader.word("by") {
            until_keys = reader.shared()?;
        }
    }
    if rule.window.is_empty() {
        rule.window = WINDOW_DEFAULT.to_owned();
        reader
            .left_out
            .push(format!("a sequence without `maxspan` lasts for ever: the window is {WINDOW_DEFAULT}"));
    }
    if is_measured_otherwise(&rule.steps) {
        reader.left_out.push(
            "`maxspan` over a missing event as well: one before the first step or behind the last is looked for so long \
             before or behind that step"
                .to_owned(),
        );
    }
    keys(reader, &mut rule, &[common], &[])?;
    keys(reader, &mut rule, &own_keys, &until_keys)?;
    Ok(rule)
}

/// Whether an event must be missing at an end of a sequence of several: EQL counts its time from the other end.
fn is_measured_otherwise(steps: &[Step]) -> bool {
    let is_absent = |step: Option<&Step>| step.is_some_and(|step| step.absence.is_some());
    let happen = steps.iter().filter(|step| step.absence.is_none()).map(|step| step.min_count).sum::<u64>();
    happen > 1 && (is_absent(steps.first()) || is_absent(steps.last()))
}

/// Parts of the key: the fields of the first step, which other steps hold in others.
fn keys(reader: &mut Reader, rule: &mut Rule, steps: &[Vec<Shared>], until: &[Shared]) -> Result<(), String> {
    let Some(first) = steps.first() else { return Ok(()) };
    if steps.iter().any(|own| own.len() != first.len()) || ![0, first.len()].contains(&until.len()) {
        return Err("the steps of a sequence share as many fields each behind `by`".to_owned());
    }
    let held = |own: &[Shared]| -> Vec<(String, String)> {
        let pairs = first.iter().zip(own).map(|(part, own)| (part.field.clone(), own.field.clone()));
        pairs.filter(|(part, field)| part != field).collect()
    };
    for (step, own) in rule.steps.iter_mut().zip(steps) {
        step.by.extend(held(own));
    }
    if let Some(ends) = &mut rule.until {
        ends.by.extend(held(until));
    }
    for (at, part) in first.iter().enumerate() {
        let optional = steps.iter().filter(|own| own[at].optional).count();
        match optional == steps.len() {
            true => rule.optional.push(part.field.clone()),
            false if optional > 0 => {
                reader
                    .left_out
                    .push(format!("`?` before {} in some steps only: it must be there", part.field));
            }
            false => {}
        }
        rule.by.push(part.field.clone());
    }
    Ok(())
}

/// `process where …`
fn query(reader: &mut Reader) -> Result<serde_json::Value, String> {
    let category = reader.name()?;
    if !reader.word("where") {
        return Err(format!("expected `where`, found {}", reader.found()));
    }
    let mut conditions = Conditions::of(reader)?;
    if category != "any" {
        conditions =
            conditions.and(Conditions::One(json!({ "field_equals": { "event.category": category } })));
    }
    Ok(conditions.block())
}
