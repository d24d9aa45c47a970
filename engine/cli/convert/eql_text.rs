//! The words and signs of an EQL query.

/// A word or sign, and where it stood.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    /// A name or keyword.
    Word(String),
    /// A text.
    Text(String),
    /// A number.
    Number(f64),
    /// A sign.
    Sign(&'static str),
}

const SIGNS: [&str; 17] =
    ["==", "!=", "<=", ">=", "![", "<", ">", "(", ")", "[", "]", ",", ":", "=", "|", "?", "~"];

/// The words and signs of a query.
///
/// # Errors
/// With what is none, and its line.
pub(super) fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if first.is_whitespace() {
            rest = rest.trim_start();
        } else if rest.starts_with("//") {
            rest = rest.find('\n').map_or("", |end| &rest[end..]);
        } else if rest.starts_with("/*") {
            rest = rest.find("*/").map_or("", |end| &rest[end + 2..]);
        } else if first == '"' {
            let (token, after) = quoted(rest).ok_or_else(|| at(text, rest, "a text without end"))?;
            tokens.push(token);
            rest = after;
        } else if first.is_ascii_digit()
            || first == '-' && rest[1..].starts_with(|c: char| c.is_ascii_digit())
        {
            let end =
                rest[1..].find(|c: char| !c.is_ascii_digit() && c != '.').map_or(rest.len(), |end| end + 1);
            let unit = rest[end..].find(|c: char| !c.is_ascii_alphabetic()).map_or(rest.len(), |at| end + at);
            tokens.push(match unit > end {
                // A length of time, such as 5m.
                true => Token::Word(rest[..unit].to_owned()),
                false => Token::Number(rest[..end].parse().map_err(|_| at(text, rest, "no number"))?),
            });
            rest = &rest[unit..];
        } else if let Some(name) = rest.strip_prefix('`')
            && let Some(end) = name.find('`')
        {
            tokens.push(Token::Word(name[..end].to_owned()));
            rest = &name[end + 1..];
        } else if first.is_alphabetic() || "_@`".contains(first) {
            let end =
                rest.find(|c: char| !(c.is_alphanumeric() || "_.@`-".contains(c))).unwrap_or(rest.len());
            tokens.push(Token::Word(rest[..end].replace('`', "")));
            rest = &rest[end..];
        } else {
            let sign = SIGNS.into_iter().find(|sign| rest.starts_with(sign));
            let sign = sign.ok_or_else(|| at(text, rest, &format!("`{first}`, which is not understood")))?;
            tokens.push(Token::Sign(sign));
            rest = &rest[sign.len()..];
        }
    }
    Ok(tokens)
}

fn at(text: &str, rest: &str, what: &str) -> String {
    let line = text[..text.len() - rest.len()].matches('\n').count() + 1;
    format!("line {line}: {what}")
}

/// `"a\"b"`, or `"""raw"""`.
fn quoted(text: &str) -> Option<(Token, &str)> {
    if let Some(raw) = text.strip_prefix("\"\"\"") {
        let end = raw.find("\"\"\"")?;
        return Some((Token::Text(raw[..end].to_owned()), &raw[end + 3..]));
    }
    let mut out = String::new();
    let mut letters = text[1..].char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return Some((Token::Text(out), &text[at + 2..])),
            '\\' => match letters.next()?.1 {
                'n' => out.push('\n'),
                't' => out.push('\t'),
                'r' => out.push('\r'),
                other => out.push(other),
            },
            letter => out.push(letter),
        }
    }
    None
}
