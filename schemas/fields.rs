//! The payload of an event: its members under the source's own names, each read when somebody first asks for it.
//!
//! Most members of most events are read by no rule. What comes out of a JSON message is therefore kept as the text that
//! it is, known to be valid, and becomes a [`Value`] at the first question.

use std::borrow::Cow;
use std::cell::OnceCell;

use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::scan::Written;
use crate::value::Value;

/// Named values, in the order they came in.
#[derive(Clone, Debug, Default)]
pub struct Fields<'a> {
    members: Vec<Member<'a>>,
}

/// One named value.
#[derive(Clone, Debug)]
pub struct Member<'a> {
    name: Cow<'a, str>,
    /// Valid JSON that the value is still to be read from; empty where it is there.
    raw: &'a str,
    /// It is a text, and what stands between its quotes is what it says.
    is_plain: bool,
    value: OnceCell<Value<'a>>,
}

impl<'a> Member<'a> {
    /// A value that is there.
    pub fn new(name: Cow<'a, str>, value: Value<'a>) -> Self {
        Member { name, raw: "", is_plain: false, value: OnceCell::from(value) }
    }

    /// A value that is still the JSON text it came as.
    #[inline(always)]
    pub(crate) fn unread(name: &'a str, written: Written<'a>) -> Self {
        let Written { raw, is_plain } = written;
        Member { name: Cow::Borrowed(name), raw, is_plain, value: OnceCell::new() }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The JSON text that the value came as, if it did.
    pub fn text(&self) -> Option<&'a str> {
        (!self.raw.is_empty()).then_some(self.raw)
    }

    /// Its value.
    pub fn value(&self) -> &Value<'a> {
        self.value.get_or_init(|| Written { raw: self.raw, is_plain: self.is_plain }.value())
    }
}

impl<'a> Fields<'a> {
    /// How many members there are.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// The members, in the order they came in.
    pub fn members(&self) -> &[Member<'a>] {
        &self.members
    }

    /// The first value of that name.
    pub fn get(&self, name: &str) -> Option<&Value<'a>> {
        self.members.iter().find(|member| member.name == name).map(Member::value)
    }

    /// Adds a member at the end; behind the first there is room for so many.
    ///
    /// It is made where it stays: what was just written in pieces is waited for when it is moved as a whole, which took as
    /// long as a fifth of the reading.
    #[inline]
    pub(crate) fn push(&mut self, name: &'a str, written: Written<'a>, room: usize) {
        if self.members.capacity() == 0 {
            self.members.reserve(room);
        }
        self.members.extend(std::iter::once_with(|| Member::unread(name, written)));
    }

    /// Adds the members of `others` whose names are not here yet.
    pub fn add_missing(&mut self, others: Fields<'a>) {
        if self.members.is_empty() {
            *self = others;
            return;
        }
        let given = self.members.len();
        for member in others.members {
            if !self.members[..given].iter().any(|known| known.name == member.name) {
                self.members.push(member);
            }
        }
    }
}

impl<'a> FromIterator<(Cow<'a, str>, Value<'a>)> for Fields<'a> {
    fn from_iter<I: IntoIterator<Item = (Cow<'a, str>, Value<'a>)>>(members: I) -> Self {
        Fields { members: members.into_iter().map(|(name, value)| Member::new(name, value)).collect() }
    }
}

impl<'a> From<Vec<(Cow<'a, str>, Value<'a>)>> for Fields<'a> {
    fn from(members: Vec<(Cow<'a, str>, Value<'a>)>) -> Self {
        members.into_iter().collect()
    }
}

impl PartialEq for Fields<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.members == other.members
    }
}

impl PartialEq for Member<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.value() == other.value()
    }
}

impl Serialize for Fields<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.members.len()))?;
        for member in &self.members {
            map.serialize_entry(&member.name, member.value())?;
        }
        map.end()
    }
}

/// Any object is a payload, as it is any value.
impl schemars::JsonSchema for Fields<'_> {
    fn inline_schema() -> bool {
        Value::inline_schema()
    }

    fn schema_name() -> Cow<'static, str> {
        Value::schema_name()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        Value::json_schema(generator)
    }
}
