//! Which name of which system stands for what: the parts of an event, sorted under one name each.
//!
//! Two ways lead here. [`Parts::sort`] takes the tree of any message. [`Parts::scan`] takes JSON text as it is, reads
//! what every event is asked for, and leaves the payload unread; it declines whatever is unusual, and the tree decides.

use std::borrow::Cow;
use std::iter;

use crate::fields::Fields;
use crate::reject::{Reason, Reject};
use crate::scan::{self, Members, Written};
use crate::value::Value;

/// What a top-level name stands for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Slot {
    Version,
    OwnId,
    Tenant,
    Source,
    SourceEventId,
    Class,
    Kind,
    Severity,
    OccurredAt,
    ObservedAt,
    HostId,
    User,
    Actor,
    Subject,
    Object,
    Network,
    Device,
    Entities,
    Title,
    Description,
    Tags,
    Fields,
    Attack,
    Refs,
    Producer,
    /// Set by us, whatever a producer says.
    Ours,
    Other,
}

impl Slot {
    const fn bit(self) -> u32 {
        1 << self as u32
    }
}

fn slot(name: &str) -> Slot {
    match name {
        "v" => Slot::Version,
        "id" => Slot::OwnId,
        "tenant" => Slot::Tenant,
        "source" => Slot::Source,
        "source_event_id" | "sourceEventId" | "sourceAlertId" => Slot::SourceEventId,
        "class" => Slot::Class,
        "kind" | "eventType" | "event_type" | "category" => Slot::Kind,
        "severity" | "rule_severity" => Slot::Severity,
        "occurred_at" | "ts" | "timestamp" | "detected_at" | "created_at" | "last_seen" => Slot::OccurredAt,
        "observed_at" => Slot::ObservedAt,
        "host_id" | "hostname" | "endpoint_asset_id" => Slot::HostId,
        "user" | "userId" => Slot::User,
        "actor" => Slot::Actor,
        "subject" => Slot::Subject,
        "object" => Slot::Object,
        "network" => Slot::Network,
        "device" => Slot::Device,
        "entities" => Slot::Entities,
        "title" => Slot::Title,
        "description" => Slot::Description,
        "tags" => Slot::Tags,
        "fields" | "sourceData" | "custom_fields" | "properties" => Slot::Fields,
        "attack" => Slot::Attack,
        "refs" => Slot::Refs,
        "producer" => Slot::Producer,
        "received_at" | "time_source" | "severity_raw" => Slot::Ours,
        _ => Slot::Other,
    }
}

/// Whether two top-level names stand for the same field of an event: `user` and `userId` do.
pub fn same_field(one: &str, other: &str) -> bool {
    one == other || (slot(one) == slot(other) && !matches!(slot(one), Slot::Other | Slot::Ours))
}

/// Whether a top-level name is one that the edge knows; any other is kept in `fields`.
pub fn is_known_field(name: &str) -> bool {
    slot(name) != Slot::Other
}

/// A value together with the name it came under, so that a refusal can name both.
pub(crate) type Named<'a> = Option<(Cow<'a, str>, Value<'a>)>;

/// The parts of an event, under one name each, before they are checked.
pub(crate) struct Parts<'a> {
    /// A bit for each slot for which something was given.
    slots: u32,
    given: Vec<(Slot, (Cow<'a, str>, Value<'a>))>,
    pub(crate) payload: Payload<'a>,
}

/// What an event is usually given beside its payload.
const GIVEN_USUALLY: usize = 8;

impl Default for Parts<'_> {
    fn default() -> Self {
        Parts { slots: 0, given: Vec::with_capacity(GIVEN_USUALLY), payload: Payload::default() }
    }
}

impl<'a> Parts<'a> {
    /// Sorts the members of a tree.
    ///
    /// # Errors
    /// When two names for one thing have different values.
    pub(crate) fn sort(members: Vec<(Cow<'a, str>, Value<'a>)>) -> Result<Self, Reject> {
        let mut parts = Parts::default();
        let mut others = Vec::new();
        for (name, value) in members {
            match slot(&name) {
                Slot::Ours => {}
                Slot::Other => others.push((name, value)),
                known => parts.put(known, name, value)?,
            }
        }
        parts.payload = Payload::Tree { fields: parts.take(Slot::Fields), others };
        parts.settle()?;
        Ok(parts)
    }

    /// Sorts the members of a JSON object without a tree. `None` where it is unusual or wrong.
    pub(crate) fn scan(raw: &'a [u8]) -> Option<Self> {
        let mut parts = Parts::default();
        let (mut fields, mut others) = (Fields::default(), Fields::default());
        let mut scanned = Scanned {
            parts: &mut parts,
            room: raw.len() / BYTES_A_MEMBER + 1,
            fields: &mut fields,
            fields_seen: false,
            others: &mut others,
        };
        if !scan::object(raw, &mut scanned) {
            return None;
        }
        parts.payload = Payload::Unread { fields, others };
        parts.settle().ok()?;
        Some(parts)
    }

    /// Whether anything was given for a slot.
    fn has(&self, slot: Slot) -> bool {
        self.slots & slot.bit() != 0
    }

    /// What was given for a slot.
    pub(crate) fn get(&self, slot: Slot) -> Option<&(Cow<'a, str>, Value<'a>)> {
        match self.has(slot) {
            true => self.given.iter().find(|(given, _)| *given == slot).map(|(_, given)| given),
            false => None,
        }
    }

    /// The same, to take something of it.
    pub(crate) fn get_mut(&mut self, slot: Slot) -> Option<&mut (Cow<'a, str>, Value<'a>)> {
        match self.has(slot) {
            true => self.given.iter_mut().find(|(given, _)| *given == slot).map(|(_, given)| given),
            false => None,
        }
    }

    /// The same, taken out.
    pub(crate) fn take(&mut self, slot: Slot) -> Named<'a> {
        if !self.has(slot) {
            return None;
        }
        self.slots &= !slot.bit();
        let at = self.given.iter().position(|(given, _)| *given == slot)?;
        Some(self.given.swap_remove(at).1)
    }

    /// Puts a value in its place, unless another name already put a different one there.
    fn put(&mut self, slot: Slot, name: Cow<'a, str>, value: Value<'a>) -> Result<(), Reject> {
        if value == Value::Null {
            return Ok(());
        }
        match self.get(slot) {
            Some((first, there)) if *there != value => Err(Reject::new(
                Reason::AliasConflict,
                format!("`{first}` and `{name}` mean the same and have different values: leave one out"),
            )),
            Some(_) => Ok(()),
            None => {
                self.add(slot, name, || value);
                Ok(())
            }
        }
    }

    /// Puts the first value in its place. It is made there, as members of the payload are.
    #[inline(always)]
    fn add(&mut self, slot: Slot, name: Cow<'a, str>, value: impl FnOnce() -> Value<'a>) {
        self.given.extend(iter::once_with(|| (slot, (name, value()))));
        self.slots |= slot.bit();
    }

    /// What a name means that stands for two things, once all are there.
    fn settle(&mut self) -> Result<(), Reject> {
        // Our own `id` comes with `v`; anyone else's `id` is the key of their record.
        if !self.has(Slot::Version) {
            if let Some((name, value)) = self.take(Slot::OwnId) {
                self.put(Slot::SourceEventId, name, value)?;
            }
            // An agent says `observed_at` for the moment it happened on the endpoint.
            if !self.has(Slot::OccurredAt)
                && let Some((name, value)) = self.take(Slot::ObservedAt)
            {
                self.add(Slot::OccurredAt, name, || value);
            }
        }
        Ok(())
    }

    /// The text that is given for a slot.
    pub(crate) fn text(&self, slot: Slot) -> Option<&str> {
        self.get(slot).and_then(|(_, value)| value.as_str())
    }
}

/// The payload, before what stands beside it joins it.
pub(crate) enum Payload<'a> {
    /// Out of a tree: whatever stood where an object must stand.
    Tree { fields: Named<'a>, others: Vec<(Cow<'a, str>, Value<'a>)> },
    /// Out of a scan.
    Unread { fields: Fields<'a>, others: Fields<'a> },
}

impl Default for Payload<'_> {
    fn default() -> Self {
        Payload::Unread { fields: Fields::default(), others: Fields::default() }
    }
}

impl<'a> Payload<'a> {
    /// The value of that name, from beside the payload before from inside.
    pub(crate) fn get(&self, name: &str) -> Option<&Value<'a>> {
        match self {
            Payload::Tree { fields, others } => {
                let outer = others.iter().find(|(known, _)| known == name).map(|(_, value)| value);
                outer.or_else(|| fields.as_ref().and_then(|(_, map)| map.get(name)))
            }
            Payload::Unread { fields, others } => others.get(name).or_else(|| fields.get(name)),
        }
    }

    /// The payload, with every top-level name that we do not know beside it: nothing that a source says is lost.
    ///
    /// # Errors
    /// When it is no object.
    pub(crate) fn whole(self) -> Result<Fields<'a>, Reject> {
        let (mut fields, others) = match self {
            Payload::Tree { fields, others } => match fields {
                None => (Fields::default(), others.into()),
                Some((_, Value::Map(members))) => (members.into(), others.into()),
                Some((name, _)) => {
                    return Err(Reject::new(Reason::BadField, format!("`{name}` must be an object")));
                }
            },
            Payload::Unread { fields, others } => (fields, others),
        };
        fields.add_missing(others);
        Ok(fields)
    }
}

/// Bytes of an event for each member of its payload: few have more members than that leaves room for.
const BYTES_A_MEMBER: usize = 32;

/// What a scan found so far.
struct Scanned<'s, 'a> {
    parts: &'s mut Parts<'a>,
    /// Members that there is room for.
    room: usize,
    fields: &'s mut Fields<'a>,
    fields_seen: bool,
    others: &'s mut Fields<'a>,
}

impl<'a> Members<'a> for Scanned<'_, 'a> {
    fn member(&mut self, name: &'a str, written: Written<'a>) -> bool {
        match slot(name) {
            Slot::Ours => true,
            Slot::Other => {
                self.others.push(name, written, self.room);
                true
            }
            // Anything but one object: the tree decides.
            Slot::Fields => written.raw.starts_with('{') && !std::mem::replace(&mut self.fields_seen, true),
            known => {
                let is_first = !self.parts.has(known);
                if is_first && written.raw != "null" {
                    let name = Cow::Borrowed(name);
                    match written.plain() {
                        Some(text) => self.parts.add(known, name, || Value::Str(Cow::Borrowed(text))),
                        None => self.parts.add(known, name, || scan::value(written.raw)),
                    }
                }
                is_first
            }
        }
    }

    fn opens(&mut self, name: &'a str) -> bool {
        slot(name) == Slot::Fields
    }

    fn inner(&mut self, name: &'a str, written: Written<'a>) {
        self.fields.push(name, written, self.room);
    }
}
