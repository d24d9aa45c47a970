//! Wire forms: JSON and MessagePack, one event or a frame of many in one message.
//!
//! | `Content-Type` | one event | a frame |
//! |---|---|---|
//! | `application/json` (or none) | an object | an array of objects |
//! | `application/x-ndjson` | | one object a line |
//! | `application/msgpack` | a map | an array of maps |

use serde::de::DeserializeSeed;
use serde_json::value::RawValue;
use smallvec::{SmallVec, smallvec};

use crate::edge::{Reason, Reject};
use crate::event::Event;
use crate::value::{Bounded, VALUES_MAX, Value};

/// Most bytes of one event.
pub const EVENT_BYTES_MAX: usize = 1 << 20;
/// Most events in one frame.
pub const FRAME_EVENTS_MAX: usize = 65_536;

/// How the body of a message is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `application/json`
    Json,
    /// `application/x-ndjson`
    Ndjson,
    /// `application/msgpack`
    MessagePack,
}

impl Form {
    /// The form that a `Content-Type` names; JSON where there is none.
    ///
    /// # Errors
    /// When it names a form that is not understood.
    pub fn of(content_type: Option<&str>) -> Result<Form, Reject> {
        let Some(content_type) = content_type else { return Ok(Form::Json) };
        let essence = content_type.split(';').next().unwrap_or_default().trim();
        match essence.to_ascii_lowercase().as_str() {
            "" | "application/json" => Ok(Form::Json),
            "application/x-ndjson" | "application/ndjson" => Ok(Form::Ndjson),
            "application/msgpack" | "application/x-msgpack" | "application/vnd.msgpack" => {
                Ok(Form::MessagePack)
            }
            other => Err(Reject::new(
                Reason::Undecodable,
                format!(
                    "Content-Type {other:?}: use application/json, application/x-ndjson or application/msgpack"
                ),
            )),
        }
    }

    /// The `Content-Type` of this form.
    pub const fn content_type(self) -> &'static str {
        match self {
            Form::Json => "application/json",
            Form::Ndjson => "application/x-ndjson",
            Form::MessagePack => "application/msgpack",
        }
    }
}

/// The bytes of each event in a body: one, or as many as its frame holds.
///
/// # Errors
/// When the body is no whole message of this form, or holds more events than a frame may.
pub fn split(body: &[u8], form: Form) -> Result<SmallVec<[&[u8]; 1]>, Reject> {
    let events = match form {
        Form::Json if first_byte(body) == Some(b'[') => {
            let items: Vec<&RawValue> =
                serde_json::from_slice(body).map_err(|error| undecodable("JSON", &error))?;
            items.into_iter().map(|item| item.get().as_bytes()).collect()
        }
        Form::Json => smallvec![body],
        Form::Ndjson => lines(body).filter(|line| first_byte(line).is_some()).collect(),
        Form::MessagePack => split_message_pack(body)?.into(),
    };
    if events.len() > FRAME_EVENTS_MAX {
        return Err(Reject::new(
            Reason::TooLarge,
            format!("a frame of {} events: at most {FRAME_EVENTS_MAX} are allowed", events.len()),
        ));
    }
    Ok(events)
}

/// Decodes the bytes of one event.
///
/// # Errors
/// When they cannot be decoded, or exceed the limits on bytes, values and depth.
pub fn decode(raw: &[u8], form: Form) -> Result<Value<'_>, Reject> {
    if raw.len() > EVENT_BYTES_MAX {
        return Err(Reject::new(
            Reason::TooLarge,
            format!("an event of {} bytes: at most {EVENT_BYTES_MAX} are allowed", raw.len()),
        ));
    }
    let mut values_left = VALUES_MAX;
    let seed = Bounded { depth: 0, values_left: &mut values_left };
    match form {
        Form::Json | Form::Ndjson => {
            let mut reader = serde_json::Deserializer::from_slice(raw);
            seed.deserialize(&mut reader)
                .and_then(|value| reader.end().map(|()| value))
                .map_err(|error| undecodable("JSON", &error))
        }
        Form::MessagePack => {
            if message_pack_len(raw) != Some(raw.len()) {
                return Err(Reject::new(
                    Reason::Undecodable,
                    "not MessagePack: truncated, or bytes left over",
                ));
            }
            let mut reader = rmp_serde::Deserializer::from_read_ref(raw);
            seed.deserialize(&mut reader).map_err(|error| undecodable("MessagePack", &error))
        }
    }
}

/// Writes an event as a body of its own.
///
/// # Errors
/// When a value cannot be written in this form.
pub fn encode(event: &Event<'_>, form: Form) -> Result<Vec<u8>, Reject> {
    write(event, form)
}

/// Writes an object that is to be an event, under the names that it has.
///
/// # Errors
/// When a value cannot be written in this form.
pub fn encode_value(object: &Value<'_>, form: Form) -> Result<Vec<u8>, Reject> {
    write(object, form)
}

fn write(object: &impl serde::Serialize, form: Form) -> Result<Vec<u8>, Reject> {
    let mut bytes = Vec::with_capacity(512);
    match form {
        Form::Json | Form::Ndjson => {
            serde_json::to_writer(&mut bytes, object).map_err(|error| undecodable("JSON", &error))?;
        }
        Form::MessagePack => {
            // Human-readable: times stay text in every form, so that any language can write them.
            let mut writer = rmp_serde::Serializer::new(&mut bytes).with_struct_map().with_human_readable();
            object.serialize(&mut writer).map_err(|error| undecodable("MessagePack", &error))?;
        }
    }
    Ok(bytes)
}

fn undecodable(form: &str, error: &dyn std::fmt::Display) -> Reject {
    let text = error.to_string();
    let reason = match text.contains("nested deeper")
        || text.contains("more than")
        || text.contains("recursion limit")
    {
        true => Reason::TooLarge,
        false => Reason::Undecodable,
    };
    Reject::new(reason, format!("not {form} that is understood: {text}"))
}

fn first_byte(bytes: &[u8]) -> Option<u8> {
    bytes.iter().copied().find(|byte| !byte.is_ascii_whitespace())
}

/// The lines of a text, without their ends.
fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut from = 0;
    let ends = memchr::memchr_iter(b'\n', text).chain([text.len()]);
    ends.map(move |end| {
        let line = &text[from..end];
        from = end + 1;
        line
    })
}

fn split_message_pack(body: &[u8]) -> Result<Vec<&[u8]>, Reject> {
    let broken = || Reject::new(Reason::Undecodable, "not MessagePack: truncated, or bytes left over");
    let (count, mut rest) = match body {
        [first @ 0x90..=0x9f, rest @ ..] => (usize::from(first & 0x0f), rest),
        [0xdc, a, b, rest @ ..] => (usize::from(u16::from_be_bytes([*a, *b])), rest),
        [0xdd, a, b, c, d, rest @ ..] => (u32::from_be_bytes([*a, *b, *c, *d]) as usize, rest),
        _ => return Ok(vec![body]),
    };
    if count > FRAME_EVENTS_MAX {
        return Err(Reject::new(
            Reason::TooLarge,
            format!("a frame of {count} events: at most {FRAME_EVENTS_MAX} are allowed"),
        ));
    }
    let mut events = Vec::with_capacity(count.min(rest.len()));
    for _ in 0..count {
        let (event, after) = rest.split_at(message_pack_len(rest).ok_or_else(broken)?);
        events.push(event);
        rest = after;
    }
    if rest.is_empty() { Ok(events) } else { Err(broken()) }
}

/// How many bytes the first MessagePack value takes; `None` where it is cut short or no value.
///
/// The lengths are those of <https://github.com/msgpack/msgpack/blob/master/spec.md>. Works without recursion, so
/// nesting cannot exhaust the stack.
fn message_pack_len(bytes: &[u8]) -> Option<usize> {
    let number = |at: usize, width: usize| -> Option<usize> {
        let digits = bytes.get(at..at + width)?;
        Some(digits.iter().fold(0usize, |sum, byte| sum << 8 | usize::from(*byte)))
    };
    let mut at = 0usize;
    let mut pending = 1usize;
    while pending > 0 {
        let marker = *bytes.get(at)?;
        let (header, body, members) = match marker {
            0x00..=0x7f | 0xe0..=0xff | 0xc0 | 0xc2 | 0xc3 => (1, 0, 0),
            0x80..=0x8f => (1, 0, 2 * usize::from(marker & 0x0f)),
            0x90..=0x9f => (1, 0, usize::from(marker & 0x0f)),
            0xa0..=0xbf => (1, usize::from(marker & 0x1f), 0),
            0xc4 | 0xd9 => (2, number(at + 1, 1)?, 0),
            0xc5 | 0xda => (3, number(at + 1, 2)?, 0),
            0xc6 | 0xdb => (5, number(at + 1, 4)?, 0),
            0xc7 => (3, number(at + 1, 1)?, 0),
            0xc8 => (4, number(at + 1, 2)?, 0),
            0xc9 => (6, number(at + 1, 4)?, 0),
            0xcc | 0xd0 => (2, 0, 0),
            0xcd | 0xd1 => (3, 0, 0),
            0xca | 0xce | 0xd2 => (5, 0, 0),
            0xcb | 0xcf | 0xd3 => (9, 0, 0),
            0xd4 => (3, 0, 0),
            0xd5 => (4, 0, 0),
            0xd6 => (6, 0, 0),
            0xd7 => (10, 0, 0),
            0xd8 => (18, 0, 0),
            0xdc => (3, 0, number(at + 1, 2)?),
            0xdd => (5, 0, number(at + 1, 4)?),
            0xde => (3, 0, 2 * number(at + 1, 2)?),
            0xdf => (5, 0, 2 * number(at + 1, 4)?),
            0xc1 => return None,
        };
        at = at.checked_add(header)?.checked_add(body)?;
        pending = pending.checked_add(members)? - 1;
        // Every value takes a byte at least, so more pending values than bytes cannot be whole.
        if at > bytes.len() || pending > bytes.len() - at {
            return None;
        }
    }
    Some(at)
}
