//! From Rust's own values, and from JSON's, to a [`Value`]: for those who build events.

use std::borrow::Cow;

use crate::value::Value;

impl From<bool> for Value<'_> {
    fn from(flag: bool) -> Self {
        Value::Bool(flag)
    }
}

macro_rules! whole_numbers {
    ($($of:ty),+) => {$(
        impl From<$of> for Value<'_> {
            fn from(number: $of) -> Self {
                Value::Int(number.into())
            }
        }
    )+};
}

whole_numbers!(i64, i32, i16, i8, u32, u16, u8);

impl From<u64> for Value<'_> {
    /// A number above `i64::MAX` becomes the nearest floating-point number, as it does when it is read.
    fn from(number: u64) -> Self {
        i64::try_from(number).map_or(Value::Float(number as f64), Value::Int)
    }
}

impl From<f64> for Value<'_> {
    fn from(number: f64) -> Self {
        Value::Float(number)
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Value::Str(Cow::Borrowed(text))
    }
}

impl From<String> for Value<'_> {
    fn from(text: String) -> Self {
        Value::Str(Cow::Owned(text))
    }
}

impl<'a, T: Into<Value<'a>>> From<Option<T>> for Value<'a> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Value::Null, Into::into)
    }
}

impl<'a, T: Into<Value<'a>>> From<Vec<T>> for Value<'a> {
    fn from(items: Vec<T>) -> Self {
        Value::List(items.into_iter().map(Into::into).collect())
    }
}

impl From<serde_json::Value> for Value<'_> {
    fn from(json: serde_json::Value) -> Self {
        match json {
            serde_json::Value::Null => Value::Null,
            serde_json::Value::Bool(flag) => Value::Bool(flag),
            serde_json::Value::Number(number) => match (number.as_i64(), number.as_f64()) {
                (Some(whole), _) => Value::Int(whole),
                (None, Some(number)) => Value::Float(number),
                (None, None) => Value::Str(Cow::Owned(number.to_string())),
            },
            serde_json::Value::String(text) => Value::Str(Cow::Owned(text)),
            serde_json::Value::Array(items) => Value::from(items),
            serde_json::Value::Object(members) => Value::Map(
                members.into_iter().map(|(name, value)| (Cow::Owned(name), value.into())).collect(),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::wire::{self, Form};

    #[test]
    fn json_becomes_what_its_bytes_would_be_read_as() {
        let json = json!({ "a": [1, -2, 0.5, u64::MAX, null, true], "b": { "c": "text" } });
        let bytes = json.to_string();
        assert_eq!(Value::from(json), wire::decode(bytes.as_bytes(), Form::Json).expect("JSON"));
    }

    #[test]
    fn rusts_values_have_one_each() {
        assert_eq!(Value::from(Some(7_u16)), Value::Int(7));
        assert_eq!(Value::from(None::<&str>), Value::Null);
        assert_eq!(Value::from(vec!["a"]), Value::List(vec![Value::from("a".to_owned())]));
    }
}
