//! Text with places to fill in: `{event.kind}`, `proc.{action}`.

use serde_json::Value;

use super::path::Path;
use super::{Origin, text_of};

/// Text in which `{path}` stands for what is found there. `{{` and `}}` are braces themselves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Path(Path),
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// When a brace has no partner, or what stands between them is no path.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            plain.push_str(&rest[..at]);
            let brace = &rest[at..=at];
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix(brace) {
                plain.push_str(brace);
                rest = after;
            } else if brace == "}" {
                return Err(format!("{text:?}: a `}}` without its `{{`; write `}}}}` for the sign itself"));
            } else {
                let Some((path, after)) = rest.split_once('}') else {
                    return Err(format!(
                        "{text:?}: a `{{` without its `}}`; write `{{{{` for the sign itself"
                    ));
                };
                if !plain.is_empty() {
                    parts.push(Part::Text(std::mem::take(&mut plain)));
                }
                parts.push(Part::Path(Path::parse(path)?));
                rest = after;
            }
        }
        plain.push_str(rest);
        if !plain.is_empty() || parts.is_empty() {
            parts.push(Part::Text(plain));
        }
        Ok(Template(parts))
    }

    /// The value: of a lone `{path}` as it stands in the record, otherwise text. Nothing where a place finds nothing.
    pub fn fill(&self, record: &Value, origin: &Origin) -> Option<Value> {
        if let [Part::Path(path)] = &self.0[..] {
            return look_up(path, record, origin);
        }
        let mut text = String::new();
        for part in &self.0 {
            match part {
                Part::Text(plain) => text.push_str(plain),
                Part::Path(path) => text.push_str(&text_of(&look_up(path, record, origin)?)?),
            }
        }
        Some(Value::String(text))
    }
}

/// What a path finds in a record, or in what the bridge knows of it.
pub fn look_up(path: &Path, record: &Value, origin: &Origin) -> Option<Value> {
    match path.own() {
        Some(name) => origin.get(name).map(Value::String),
        None => path.find(record),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_lone_path_keeps_its_type_and_a_missing_one_gives_nothing() {
        let record = json!({"a": 1, "b": "x"});
        let fill = |text: &str| Template::parse(text).expect("a template").fill(&record, &Origin::default());
        assert_eq!(fill("{a}"), Some(json!(1)));
        assert_eq!(fill("{a}/{b}"), Some(json!("1/x")));
        assert_eq!(fill("{{a}}"), Some(json!("{a}")));
        assert_eq!(fill("a {c}"), None);
        assert!(Template::parse("{a").is_err() && Template::parse("a}").is_err());
    }
}
