//! Naming a field of an event, and reading it.

use std::borrow::Cow;

use sightline_schemas::{Event, Fields, Value};

/// A field as a rule names it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Field {
    name: Box<str>,
    place: Place,
    part: Part,
}

/// Where in the event the field stands.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Place {
    Source,
    Kind,
    Class,
    Severity,
    Tags,
    Entities,
    HostId,
    User,
    Title,
    Description,
    SourceEventId,
    /// Every value that the source sent, wherever it stands.
    Anywhere,
    /// In one of the objects beside `fields`, or in `fields` as if that were its name: `network.src_ip`.
    Beside(Beside, Path),
    /// In `fields`: as it is written, or as a path.
    Fields(Path),
}

/// The way to a value inside: `a.b` is a member of that name, or the member `b` of the member `a`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Path {
    written: Box<str>,
    segments: Box<[Box<str>]>,
}

/// An object that stands beside `fields`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Beside {
    Actor,
    Subject,
    Object,
    Network,
    Device,
    Attack,
    Refs,
    Producer,
}

/// Which part of the value is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Part {
    Whole,
    /// The host of a URL.
    UrlHost,
}

/// Where in an event a field can stand, so that an event without such a member need not be asked for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing<'f> {
    /// A name of the event itself.
    Own,
    /// Everywhere.
    Anywhere,
    /// The member of the payload of that name.
    Member(&'f str),
    /// In the member of the payload of either name.
    Inside(&'f str, &'f str),
    /// In that object, or in the member of the payload of either name.
    Beside(Beside, &'f str, &'f str),
}

/// One value of a field, as comparisons see it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scalar<'e> {
    /// Text.
    Text(&'e str),
    /// A whole number.
    Int(i64),
    /// Any other number.
    Float(f64),
    /// True or false.
    Bool(bool),
}

impl<'e> Scalar<'e> {
    /// The value as text: the number 3 is `"3"`.
    pub fn text(self) -> Cow<'e, str> {
        match self {
            Scalar::Text(text) => Cow::Borrowed(text),
            Scalar::Int(number) => Cow::Owned(number.to_string()),
            Scalar::Float(number) => Cow::Owned(number.to_string()),
            Scalar::Bool(flag) => Cow::Borrowed(if flag { "true" } else { "false" }),
        }
    }

    /// The value as a number, from text too: `"12"`, `"0x1410"`, `"-0.5"`.
    pub fn number(self) -> Option<f64> {
        match self {
            Scalar::Int(number) => Some(number as f64),
            Scalar::Float(number) => Some(number),
            Scalar::Bool(_) => None,
            Scalar::Text(text) => match self.bits() {
                Some(bits) if text.trim_start().starts_with("0x") => Some(bits as f64),
                _ => text.trim().parse().ok(),
            },
        }
    }

    /// The value as a bit mask, from text too: `"0x1410"`, `"5136"`.
    pub fn bits(self) -> Option<u64> {
        match self {
            Scalar::Int(number) => u64::try_from(number).ok(),
            Scalar::Text(text) => {
                let text = text.trim();
                match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
                    Some(digits) => u64::from_str_radix(digits, 16).ok(),
                    None => text.parse().ok(),
                }
            }
            Scalar::Float(_) | Scalar::Bool(_) => None,
        }
    }
}

impl Field {
    /// Reads a field name: a name of the event itself (`host_id`), a path (`network.src_ip`), or a name in `fields`,
    /// with or without `fields.` before it. `*` is every value that the source sent. `|host` behind it means the host of
    /// the URL that it holds.
    ///
    /// # Errors
    /// With what is wrong, when it is no field name.
    pub fn parse(text: &str) -> Result<Field, String> {
        let (name, part) = match text.split_once('|') {
            None => (text, Part::Whole),
            Some((name, "host")) => (name, Part::UrlHost),
            Some((_, other)) => return Err(format!("`|{other}` is no part of a value; there is `|host`")),
        };
        if name.is_empty() || name.split('.').any(str::is_empty) {
            return Err(format!("{text:?} is no field name"));
        }
        let segments: Box<[Box<str>]> = name.split('.').map(Box::from).collect();
        let place = match name {
            "source" => Place::Source,
            "kind" => Place::Kind,
            "class" => Place::Class,
            "severity" => Place::Severity,
            "tags" => Place::Tags,
            "entities" => Place::Entities,
            "host_id" => Place::HostId,
            "user" => Place::User,
            "title" => Place::Title,
            "description" => Place::Description,
            "source_event_id" => Place::SourceEventId,
            "*" => Place::Anywhere,
            _ => match (beside(&segments[0]), &segments[1..]) {
                (Some(beside), inner) if !inner.is_empty() => Place::Beside(beside, Path::of(&segments)),
                _ if &*segments[0] == "fields" && segments.len() > 1 => {
                    Place::Fields(Path::of(&segments[1..]))
                }
                _ => Place::Fields(Path::of(&segments)),
            },
        };
        Ok(Field { name: text.into(), place, part })
    }

    /// The name as the rule writes it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Gives each value of the field to `take`, lists one by one, until it answers `true`. Answers whether it did.
    pub fn any<'e>(&self, event: &'e Event<'_>, mut take: impl FnMut(Scalar<'e>) -> bool) -> bool {
        let mut text = |text: &'e str| match self.part {
            Part::Whole => take(Scalar::Text(text)),
            Part::UrlHost => crate::key::url_host(text).is_some_and(|host| take(Scalar::Text(host))),
        };
        let named = match &self.place {
            Place::Source => return text(&event.source),
            Place::Kind => return text(&event.kind),
            Place::Class => return text(event.class.as_str()),
            Place::Severity => return text(event.severity.as_str()),
            Place::Tags => return event.tags.iter().any(|tag| text(tag)),
            Place::Entities => return event.entities.iter().any(|entity| text(&entity.value)),
            Place::HostId => event.host_id.as_deref(),
            Place::User => event.user.as_deref(),
            Place::Title => event.title.as_deref(),
            Place::Description => event.description.as_deref(),
            Place::SourceEventId => event.source_event_id.as_deref(),
            Place::Anywhere => return anywhere(event, self.part, &mut take),
            Place::Beside(..) | Place::Fields(_) => None,
        };
        if let Some(named) = named {
            return text(named);
        }
        let found = match &self.place {
            Place::Beside(object, path) => {
                let object = beside_of(event, *object);
                object
                    .and_then(|object| walk(object, &path.segments[1..]))
                    .or_else(|| path.inside(&event.fields))
            }
            Place::Fields(path) => path.inside(&event.fields),
            // A name of the event itself that the source put into its payload.
            _ => event.fields.get(&self.name),
        };
        found.is_some_and(|value| self.each(value, take))
    }

    /// Gives each scalar of a value that the field was found to have to `take`, until it answers `true`.
    pub(crate) fn each<'e>(&self, value: &'e Value<'_>, mut take: impl FnMut(Scalar<'e>) -> bool) -> bool {
        each(value, self.part, &mut take)
    }

    /// Gives each scalar at any depth of a value to `take`, until it answers `true`.
    pub(crate) fn deep<'e>(&self, value: &'e Value<'_>, mut take: impl FnMut(Scalar<'e>) -> bool) -> bool {
        deep(value, self.part, &mut take)
    }

    /// Of a field that is every value: those that do not stand in the payload.
    pub(crate) fn beside_payload<'e>(
        &self,
        event: &'e Event<'_>,
        mut take: impl FnMut(Scalar<'e>) -> bool,
    ) -> bool {
        beside_payload(event, self.part, &mut take)
    }

    /// Where in an event the field can stand.
    pub(crate) fn standing(&self) -> Standing<'_> {
        match &self.place {
            Place::Fields(path) if path.segments.len() == 1 => Standing::Member(&path.written),
            Place::Fields(path) => Standing::Inside(&path.written, &path.segments[0]),
            Place::Beside(beside, path) => Standing::Beside(*beside, &path.written, &path.segments[0]),
            Place::Anywhere => Standing::Anywhere,
            _ => Standing::Own,
        }
    }

    /// Whether an event can have many values of it at once, and usually has.
    pub(crate) fn is_many(&self) -> bool {
        matches!(self.place, Place::Tags | Place::Entities | Place::Anywhere)
    }

    /// The first value as text, for showing.
    pub fn first_text(&self, event: &Event<'_>) -> Option<String> {
        let mut first = None;
        self.any(event, |scalar| {
            first = Some(scalar.text().into_owned());
            true
        });
        first
    }

    /// Whether the event has the field, with any value but null.
    pub fn exists(&self, event: &Event<'_>) -> bool {
        self.any(event, |_| true)
    }
}

/// Every value of title, description, host, user and tags, of the objects beside `fields`, and of `fields`.
fn anywhere<'e>(event: &'e Event<'_>, part: Part, take: &mut impl FnMut(Scalar<'e>) -> bool) -> bool {
    beside_payload(event, part, take)
        || event.fields.members().iter().any(|member| deep(member.value(), part, take))
}

fn beside_payload<'e>(event: &'e Event<'_>, part: Part, take: &mut impl FnMut(Scalar<'e>) -> bool) -> bool {
    let own = [&event.title, &event.description, &event.host_id, &event.user];
    let texts = own.into_iter().filter_map(|text| text.as_deref()).chain(event.tags.iter().map(|tag| &**tag));
    let mut texts = texts.map(|text| match part {
        Part::Whole => Some(text),
        Part::UrlHost => crate::key::url_host(text),
    });
    let objects = [&event.actor, &event.subject, &event.object, &event.network, &event.device];
    texts.any(|text| text.is_some_and(|text| take(Scalar::Text(text))))
        || objects.into_iter().flatten().any(|object| deep(object, part, take))
}

fn deep<'e>(value: &'e Value<'_>, part: Part, take: &mut impl FnMut(Scalar<'e>) -> bool) -> bool {
    match value {
        Value::Map(members) => members.iter().any(|(_, inner)| deep(inner, part, take)),
        Value::List(items) => items.iter().any(|item| deep(item, part, take)),
        scalar => each(scalar, part, take),
    }
}

fn beside(name: &str) -> Option<Beside> {
    Some(match name {
        "actor" => Beside::Actor,
        "subject" => Beside::Subject,
        "object" => Beside::Object,
        "network" => Beside::Network,
        "device" => Beside::Device,
        "attack" => Beside::Attack,
        "refs" => Beside::Refs,
        "producer" => Beside::Producer,
        _ => return None,
    })
}

pub(crate) fn beside_of<'e, 'a>(event: &'e Event<'a>, beside: Beside) -> Option<&'e Value<'a>> {
    match beside {
        Beside::Actor => event.actor.as_ref(),
        Beside::Subject => event.subject.as_ref(),
        Beside::Object => event.object.as_ref(),
        Beside::Network => event.network.as_ref(),
        Beside::Device => event.device.as_ref(),
        Beside::Attack => event.attack.as_ref(),
        Beside::Refs => event.refs.as_ref(),
        Beside::Producer => event.producer.as_ref(),
    }
}

impl Path {
    fn of(segments: &[Box<str>]) -> Self {
        Path { written: segments.join(".").into(), segments: segments.into() }
    }

    /// The member that the path names: its dots may be part of one name, or lead inwards.
    fn inside<'e, 'a>(&self, fields: &'e Fields<'a>) -> Option<&'e Value<'a>> {
        let named = fields.get(&self.written);
        let [first, inner @ ..] = &self.segments[..] else { return named };
        named.or_else(|| (!inner.is_empty()).then(|| walk(fields.get(first)?, inner)).flatten())
    }
}

fn walk<'e, 'a>(value: &'e Value<'a>, path: &[Box<str>]) -> Option<&'e Value<'a>> {
    path.iter().try_fold(value, |value, name| value.get(name))
}

fn each<'e>(value: &'e Value<'_>, part: Part, take: &mut impl FnMut(Scalar<'e>) -> bool) -> bool {
    match (value, part) {
        (Value::Null | Value::Map(_), _) => false,
        (Value::List(items), _) => items.iter().any(|item| each(item, part, take)),
        (Value::Str(text), Part::Whole) => take(Scalar::Text(text)),
        (Value::Str(text), Part::UrlHost) => {
            crate::key::url_host(text).is_some_and(|host| take(Scalar::Text(host)))
        }
        (_, Part::UrlHost) => false,
        (Value::Int(number), Part::Whole) => take(Scalar::Int(*number)),
        (Value::Float(number), Part::Whole) => take(Scalar::Float(*number)),
        (Value::Bool(flag), Part::Whole) => take(Scalar::Bool(*flag)),
    }
}
