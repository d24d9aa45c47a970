//! A tree as YAML, for people who go on with it by hand.

use crate::rule::tree::{Kind, Node};

/// Prints a tree.
pub(crate) fn print(node: &Node) -> String {
    let mut out = String::new();
    match &node.kind {
        Kind::Map(members) => write_map(members, 0, &mut out),
        Kind::List(items) => write_list(items, 0, &mut out),
        _ => {
            out.push_str(&scalar(node));
            out.push('\n');
        }
    }
    out
}

/// Most characters of a list that is written in one line.
const LINE_MAX: usize = 88;

fn write_map(members: &[(Node, Node)], indent: usize, out: &mut String) {
    for (at, (key, value)) in members.iter().enumerate() {
        if at > 0 {
            out.push_str(&" ".repeat(indent));
        }
        out.push_str(&scalar(key));
        out.push(':');
        write_value(value, indent, out);
    }
}

fn write_value(value: &Node, indent: usize, out: &mut String) {
    match &value.kind {
        Kind::Text(text) if text.trim_end().contains('\n') => write_block(text, indent + 2, out),
        Kind::Map(members) if !members.is_empty() => {
            out.push('\n');
            out.push_str(&" ".repeat(indent + 2));
            write_map(members, indent + 2, out);
        }
        Kind::List(items) if !items.is_empty() && !fits(items, indent) => {
            out.push('\n');
            out.push_str(&" ".repeat(indent + 2));
            write_list(items, indent + 2, out);
        }
        _ => {
            out.push(' ');
            out.push_str(&scalar(value));
            out.push('\n');
        }
    }
}

fn write_list(items: &[Node], indent: usize, out: &mut String) {
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            out.push_str(&" ".repeat(indent));
        }
        out.push('-');
        match &item.kind {
            Kind::Map(members) if !members.is_empty() => {
                out.push(' ');
                write_map(members, indent + 2, out);
            }
            _ => write_value(item, indent, out),
        }
    }
}

/// A text of several lines.
fn write_block(text: &str, indent: usize, out: &mut String) {
    out.push_str(if text.ends_with('\n') { " |\n" } else { " |-\n" });
    for line in text.trim_end_matches('\n').split('\n') {
        if !line.trim().is_empty() {
            out.push_str(&" ".repeat(indent));
            out.push_str(line.trim_end());
        }
        out.push('\n');
    }
}

fn fits(items: &[Node], indent: usize) -> bool {
    let plain = |item: &Node| !matches!(item.kind, Kind::Map(_) | Kind::List(_));
    let wide: usize = items.iter().map(|item| scalar(item).len() + 2).sum();
    items.iter().all(plain) && indent + wide <= LINE_MAX
}

fn scalar(node: &Node) -> String {
    match &node.kind {
        Kind::Null => "null".to_owned(),
        Kind::Bool(flag) => flag.to_string(),
        Kind::Int(number) => number.to_string(),
        Kind::Float(number) => format!("{number:?}"),
        Kind::Text(text) => quoted(text),
        Kind::Named(list) => quoted(&list.name),
        Kind::List(items) => {
            let items: Vec<String> = items.iter().map(scalar).collect();
            format!("[{}]", items.join(", "))
        }
        Kind::Map(members) => {
            let members: Vec<String> =
                members.iter().map(|(key, value)| format!("{}: {}", scalar(key), scalar(value))).collect();
            format!("{{{}}}", members.join(", "))
        }
    }
}

/// A text that YAML reads as this text, without quotes where it needs none.
pub(super) fn quoted(text: &str) -> String {
    let starts = text.chars().next().is_some_and(|letter| letter.is_ascii_alphabetic() || letter == '_');
    let tame = text.chars().all(|letter| letter.is_ascii_alphanumeric() || "_-./ ".contains(letter));
    let words = ["true", "false", "null", "yes", "no", "on", "off", "y", "n", "nan", "inf"];
    let word = words.contains(&text.to_ascii_lowercase().as_str());
    if starts && tame && !word && !text.ends_with(' ') {
        return text.to_owned();
    }
    match text.chars().any(|letter| letter.is_control() || letter == '\u{feff}') {
        false => format!("'{}'", text.replace('\'', "''")),
        true => {
            let mut out = String::from("\"");
            for letter in text.chars() {
                match letter {
                    '"' | '\\' => out.extend(['\\', letter]),
                    '\n' => out.push_str("\\n"),
                    '\t' => out.push_str("\\t"),
                    '\r' => out.push_str("\\r"),
                    letter if letter.is_control() || letter == '\u{feff}' => {
                        out.push_str(&format!("\\u{:04x}", u32::from(letter)));
                    }
                    letter => out.push(letter),
                }
            }
            out.push('"');
            out
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::tree::{Saying, read};

    #[test]
    fn what_is_printed_reads_back_as_the_same() {
        let texts = [
            "a: b\nc: [1, 2.0, true, null, 'yes', '1', '', ' x', \"a\\tb\", 'it''s', '#', '- x', 'a: b']\n",
            "d: |\n  two\n\n  lines\nlong: ['aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa', 'bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb']\n",
            "m: {'a|b': {c: []}, d: {}}\nl: [{a: 1, b: [{c: d}]}, [x, [y]], 'C:\\Windows\\*']\n",
        ];
        for text in texts {
            let node = read(text).unwrap_or_else(|why| panic!("{text}: {}", why.message));
            let printed = print(&node);
            let again = read(&printed).unwrap_or_else(|why| panic!("{printed}: {}", why.message));
            assert_eq!(node.canonical(Saying::Whole), again.canonical(Saying::Whole), "{printed}");
        }
    }
}
