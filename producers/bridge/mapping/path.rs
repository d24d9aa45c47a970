//! A way into a record: `process.parent.name`, `attacks[].technique.uid`, `answers[0]`, `$file`.

use serde_json::Value;

/// Where something stands in a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    text: String,
    steps: Vec<Step>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Member(String),
    Each,
    At(usize),
}

impl Path {
    /// Reads a path.
    ///
    /// # Errors
    /// When it is none; the text says why.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = |why: &str| Err(format!("`{text}` is no path: {why}"));
        let mut steps = Vec::new();
        for part in text.split('.') {
            let (name, mut rest) = part.split_at(part.find('[').unwrap_or(part.len()));
            if name.is_empty() && (rest.is_empty() || !steps.is_empty()) {
                return wrong("write names with single dots between them, such as process.name");
            }
            if name.chars().any(|c| c.is_whitespace() || "{}|:".contains(c)) {
                return wrong("a name holds no blanks, braces, colons or bars");
            }
            if !name.is_empty() {
                steps.push(Step::Member(name.to_owned()));
            }
            while !rest.is_empty() {
                let Some((index, after)) = rest[1..].split_once(']') else {
                    return wrong("a `[` without its `]`");
                };
                match index.parse() {
                    Ok(at) => steps.push(Step::At(at)),
                    Err(_) if index.is_empty() => steps.push(Step::Each),
                    Err(_) => {
                        return wrong("between `[` and `]` stands a number, or nothing for all of a list");
                    }
                }
                if !after.is_empty() && !after.starts_with('[') {
                    return wrong("behind a `]` comes a dot");
                }
                rest = after;
            }
        }
        Ok(Path { text: text.to_owned(), steps })
    }

    /// The path as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The name of what the bridge itself knows of a record, such as `$file`.
    pub fn own(&self) -> Option<&str> {
        self.text.strip_prefix('$')
    }

    /// What stands there. `[]` gives a list of all that is found behind it. Null, blank text and empty lists are nothing.
    pub fn find(&self, record: &Value) -> Option<Value> {
        let found = walk(record, &self.steps)?;
        let nothing = match &found {
            Value::Null => true,
            Value::String(text) => text.trim().is_empty(),
            Value::Array(items) => items.is_empty(),
            _ => false,
        };
        (!nothing).then_some(found)
    }
}

fn walk(value: &Value, steps: &[Step]) -> Option<Value> {
    let Some((first, rest)) = steps.split_first() else { return Some(value.clone()) };
    match first {
        Step::Member(name) => {
            let members = value.as_object()?;
            if let Some(found) = members.get(name).and_then(|inner| walk(inner, rest)) {
                return Some(found);
            }
            // Some shippers write `process.name` as one name instead of one inside the other.
            let mut joined = name.clone();
            for (at, step) in rest.iter().enumerate() {
                let Step::Member(next) = step else { break };
                joined = format!("{joined}.{next}");
                if let Some(found) = members.get(&joined).and_then(|inner| walk(inner, &rest[at + 1..])) {
                    return Some(found);
                }
            }
            None
        }
        Step::At(at) => walk(value.as_array()?.get(*at)?, rest),
        Step::Each => {
            let mut found = Vec::new();
            for item in value.as_array()? {
                match walk(item, rest) {
                    Some(Value::Array(inner)) => found.extend(inner),
                    Some(Value::Null) | None => {}
                    Some(other) => found.push(other),
                }
            }
            Some(Value::Array(found))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn paths_reach_members_lists_and_dotted_names() {
        let record =
            json!({"a": {"b": 1}, "p.q": {"r": 2}, "l": [{"x": "u"}, {"x": ["v", "w"]}, {}], "none": ""});
        let find = |path: &str| Path::parse(path).expect("a path").find(&record);
        assert_eq!(find("a.b"), Some(json!(1)));
        assert_eq!(find("p.q.r"), Some(json!(2)));
        assert_eq!(find("l[].x"), Some(json!(["u", "v", "w"])));
        assert_eq!(find("l[1].x[0]"), Some(json!("v")));
        assert_eq!((find("none"), find("a.c"), find("l[9]")), (None, None, None));
    }

    #[test]
    fn what_is_no_path_is_refused() {
        for text in ["", "a..b", "a b", "a[x]", "a[", "a[0]b", ".a"] {
            assert!(Path::parse(text).is_err(), "{text:?}");
        }
    }
}
