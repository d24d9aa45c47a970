//! What stands behind `where` in EQL, as blocks of conditions.

use serde_json::{Map, Value, json};

use super::eql::Reader;
use super::eql_text::Token;

/// Conditions.
#[derive(Clone, Debug)]
pub(super) enum Conditions {
    /// A block of one condition.
    One(Value),
    All(Vec<Conditions>),
    Any(Vec<Conditions>),
    Not(Box<Conditions>),
    /// Nothing is asked.
    Always,
}

impl Conditions {
    /// Reads conditions.
    ///
    /// # Errors
    /// When they are none.
    pub(super) fn of(reader: &mut Reader) -> Result<Self, String> {
        let mut any = vec![all(reader)?];
        while reader.word("or") {
            any.push(all(reader)?);
        }
        Ok(if any.len() == 1 { any.remove(0) } else { Conditions::Any(any) })
    }

    pub(super) fn and(self, other: Conditions) -> Self {
        match self {
            Conditions::All(mut all) => {
                all.insert(0, other);
                Conditions::All(all)
            }
            one => Conditions::All(vec![other, one]),
        }
    }

    /// As one block.
    pub(super) fn block(&self) -> Value {
        match self {
            Conditions::Always => json!({}),
            Conditions::One(block) => block.clone(),
            Conditions::Any(any) => json!({ "any": any.iter().map(Conditions::block).collect::<Vec<_>>() }),
            Conditions::Not(not) => json!({ "not": not.block() }),
            Conditions::All(all) => {
                let mut block = Map::new();
                let mut more = Vec::new();
                for one in all.iter().map(Conditions::block) {
                    if !merge(&mut block, &one) {
                        more.push(one);
                    }
                }
                if !more.is_empty() {
                    // Of two blocks with the same key one stands for itself.
                    let all = block.entry("all").or_insert_with(|| json!([]));
                    all.as_array_mut().expect("a list, as only this makes it").extend(more);
                }
                block.into()
            }
        }
    }
}

/// Puts one block into another where they do not speak of the same.
fn merge(block: &mut Map<String, Value>, one: &Value) -> bool {
    let Value::Object(members) = one else { return false };
    let clash = members.iter().any(|(name, value)| match (block.get(name), value) {
        (None, _) => name == "all",
        (Some(Value::Object(there)), Value::Object(new)) if name != "not" => {
            new.keys().any(|field| there.contains_key(field))
        }
        _ => true,
    });
    if clash {
        return false;
    }
    for (name, value) in members {
        match (block.get_mut(name), value) {
            (Some(Value::Object(there)), Value::Object(new)) => there.extend(new.clone()),
            _ => {
                block.insert(name.clone(), value.clone());
            }
        }
    }
    true
}

fn all(reader: &mut Reader) -> Result<Conditions, String> {
    let mut all = vec![one(reader)?];
    while reader.word("and") {
        all.push(one(reader)?);
    }
    Ok(if all.len() == 1 { all.remove(0) } else { Conditions::All(all) })
}

fn one(reader: &mut Reader) -> Result<Conditions, String> {
    if reader.word("not") {
        return Ok(Conditions::Not(Box::new(one(reader)?)));
    }
    if reader.sign("(") {
        let inner = Conditions::of(reader)?;
        reader.expect(")")?;
        return Ok(inner);
    }
    if reader.word("true") {
        return Ok(Conditions::Always);
    }
    let name = reader.name()?;
    let insensitive = reader.sign("~");
    if reader.sign("(") {
        return function(&name, insensitive, reader);
    }
    comparison(&name, insensitive, reader)
}

/// A name of a field with a modifier.
fn field(name: &str, insensitive: bool) -> String {
    if insensitive { format!("{name}|nocase") } else { name.to_owned() }
}

fn compare(condition: &str, field: String, values: Vec<Value>) -> Conditions {
    let value = match <[Value; 1]>::try_from(values) {
        Ok([one]) => one,
        Err(values) => values.into(),
    };
    Conditions::One(json!({ condition: { field: value } }))
}

/// Not equal, which in EQL a missing field is not either.
fn unlike(name: &str, equal: Conditions) -> Conditions {
    let there = Conditions::One(json!({ "field_exists": { name: true } }));
    Conditions::All(vec![there, Conditions::Not(Box::new(equal))])
}

fn comparison(name: &str, already: bool, reader: &mut Reader) -> Result<Conditions, String> {
    let negated = reader.word("not");
    for (word, condition) in [("in", "field_equals"), ("like", "field_like"), ("regex", "field_matches")] {
        if reader.word(word) {
            let insensitive = reader.sign("~") || already;
            let values = values(reader)?;
            let values = if word == "regex" { values.into_iter().map(anchored).collect() } else { values };
            let found = compare(condition, field(name, insensitive), values);
            return Ok(if negated { unlike(name, found) } else { found });
        }
    }
    let sign = match reader.next() {
        Some(Token::Sign(sign)) => sign,
        _ => return Err(format!("expected a comparison behind `{name}`, found {}", reader.found())),
    };
    let insensitive = reader.sign("~") || already;
    if sign == ":" {
        let values = values(reader)?;
        let wild = values.iter().any(|value| value.as_str().is_some_and(|text| text.contains(['*', '?'])));
        return Ok(compare(if wild { "field_like" } else { "field_equals" }, field(name, true), values));
    }
    let value = match reader.next() {
        Some(Token::Word(word)) if word == "null" => Value::Null,
        Some(Token::Word(word)) if word == "true" || word == "false" => (word == "true").into(),
        Some(Token::Word(other)) if sign == "==" || sign == "!=" => {
            let equal = Conditions::One(json!({ "field_equals": { format!("{name}|field"): other } }));
            return Ok(if sign == "==" { equal } else { unlike(name, equal) });
        }
        Some(Token::Word(other)) => {
            reader.left_out.push(format!("{name} {sign} {other}"));
            return Ok(Conditions::Always);
        }
        Some(token) => literal(token)?,
        None => return Err(format!("expected a value behind `{name} {sign}`")),
    };
    let exists = |there: bool| Conditions::One(json!({ "field_exists": { name: there } }));
    Ok(match (sign, value) {
        ("==", Value::Null) => exists(false),
        ("!=", Value::Null) => exists(true),
        ("==", value) => compare("field_equals", field(name, insensitive), vec![value]),
        ("!=", value) => unlike(name, compare("field_equals", field(name, insensitive), vec![value])),
        ("<", value) => compare("field_lt", name.to_owned(), vec![value]),
        ("<=", value) => compare("field_lte", name.to_owned(), vec![value]),
        (">", value) => compare("field_gt", name.to_owned(), vec![value]),
        (">=", value) => compare("field_gte", name.to_owned(), vec![value]),
        (other, _) => return Err(format!("`{other}` is no comparison")),
    })
}

/// EQL's expressions must match the whole value.
fn anchored(value: Value) -> Value {
    match value {
        Value::String(text) => format!("^(?:{text})$").into(),
        other => other,
    }
}

fn literal(token: Token) -> Result<Value, String> {
    Ok(match token {
        Token::Text(text) => text.into(),
        Token::Number(number) if number.fract() == 0.0 => (number as i64).into(),
        Token::Number(number) => number.into(),
        Token::Word(word) if word == "true" || word == "false" => (word == "true").into(),
        Token::Word(word) if word == "null" => Value::Null,
        other => return Err(format!("expected a value, found {other:?}")),
    })
}

/// One value, or several in brackets.
fn values(reader: &mut Reader) -> Result<Vec<Value>, String> {
    let several = reader.sign("(");
    let mut values = Vec::new();
    loop {
        let token = reader.next().ok_or("expected a value, found the end")?;
        values.push(literal(token)?);
        if !several || !reader.sign(",") {
            break;
        }
    }
    if several {
        reader.expect(")")?;
    }
    Ok(values)
}

fn function(name: &str, insensitive: bool, reader: &mut Reader) -> Result<Conditions, String> {
    let known = match name {
        "cidrMatch" => Some("field_cidr"),
        "startsWith" => Some("field_starts_with"),
        "endsWith" => Some("field_ends_with"),
        "stringContains" => Some("field_contains"),
        "wildcard" => Some("field_like"),
        "match" => Some("field_matches"),
        _ => None,
    };
    if let (Some(condition), Some(Token::Word(of))) = (known, reader.peek().cloned()) {
        reader.next();
        let mut values = Vec::new();
        while reader.sign(",") {
            let token = reader.next().ok_or("expected a value, found the end")?;
            values.push(literal(token)?);
        }
        reader.expect(")")?;
        return Ok(compare(condition, field(&of, insensitive), values));
    }
    // Over to its end, and what is compared with it.
    let mut depth = 1;
    while depth > 0 {
        match reader.next() {
            Some(Token::Sign("(")) => depth += 1,
            Some(Token::Sign(")")) => depth -= 1,
            Some(_) => {}
            None => return Err(format!("`{name}(` without end")),
        }
    }
    if matches!(reader.peek(), Some(Token::Sign("==" | "!=" | "<" | "<=" | ">" | ">=" | ":"))) {
        reader.next();
        reader.next();
    }
    reader.left_out.push(format!("the function {name}"));
    Ok(Conditions::Always)
}
