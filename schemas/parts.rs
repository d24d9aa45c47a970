//! Which name of which system stands for what: the parts of an event, sorted under one name each.
//!
//! Two ways lead here. [`Parts::sort`] takes the tree of any message. [`Parts::scan`] takes JSON text as it is, reads
//! what every event is asked for, and leaves the payload unread; it declines whatever is unusual, and the tree decides.

use std::borrow::Cow;

use crate::fields::{Fields, Member};
use crate::reject::{Reason, Reject};
use crate::scan::{self, Members};
use crate::value::Value;

/// What a top-level name stands for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Slot {
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

/// Puts a value in its place, unless another name already put a different one there.
fn put<'a>(place: &mut Named<'a>, name: Cow<'a, str>, value: Value<'a>) -> Result<(), Reject> {
    if value == Value::Null {
        return Ok(());
    }
    match place {
        Some((first, there)) if *there != value => Err(Reject::new(
            Reason::AliasConflict,
            format!("`{first}` and `{name}` mean the same and have different values: leave one out"),
        )),
        Some(_) => Ok(()),
        None => {
            *place = Some((name, value));
            Ok(())
        }
    }
}

/// The parts of an event, under one name each, before they are checked.
#[derive(Default)]
pub(crate) struct Parts<'a> {
    pub(crate) version: Named<'a>,
    pub(crate) own_id: Named<'a>,
    pub(crate) tenant: Named<'a>,
    pub(crate) source: Named<'a>,
    pub(crate) source_event_id: Named<'a>,
    pub(crate) class: Named<'a>,
    pub(crate) kind: Named<'a>,
    pub(crate) severity: Named<'a>,
    pub(crate) occurred_at: Named<'a>,
    pub(crate) observed_at: Named<'a>,
    pub(crate) host_id: Named<'a>,
    pub(crate) user: Named<'a>,
    pub(crate) actor: Named<'a>,
    pub(crate) subject: Named<'a>,
    pub(crate) object: Named<'a>,
    pub(crate) network: Named<'a>,
    pub(crate) device: Named<'a>,
    pub(crate) entities: Named<'a>,
    pub(crate) title: Named<'a>,
    pub(crate) description: Named<'a>,
    pub(crate) tags: Named<'a>,
    pub(crate) attack: Named<'a>,
    pub(crate) refs: Named<'a>,
    pub(crate) producer: Named<'a>,
    pub(crate) payload: Payload<'a>,
}

impl<'a> Parts<'a> {
    /// Sorts the members of a tree.
    ///
    /// # Errors
    /// When two names for one thing have different values.
    pub(crate) fn sort(members: Vec<(Cow<'a, str>, Value<'a>)>) -> Result<Self, Reject> {
        let mut parts = Parts::default();
        let mut others = Vec::new();
        let mut fields = None;
        for (name, value) in members {
            let place = match slot(&name) {
                Slot::Ours => continue,
                Slot::Other => {
                    others.push((name, value));
                    continue;
                }
                Slot::Fields => &mut fields,
                known => parts.place(known).expect("every other name has its place"),
            };
            put(place, name, value)?;
        }
        parts.payload = Payload::Tree { fields, others };
        parts.settle()?;
        Ok(parts)
    }

    /// Sorts the members of a JSON object without a tree. `None` where it is unusual or wrong.
    pub(crate) fn scan(raw: &'a [u8]) -> Option<Box<Self>> {
        let mut scanned = Scanned::default();
        if !scan::object(raw, &mut scanned) {
            return None;
        }
        let Scanned { mut parts, fields, others, .. } = scanned;
        parts.payload = Payload::Unread { fields, others };
        parts.settle().ok()?;
        Some(parts)
    }

    fn place(&mut self, slot: Slot) -> Option<&mut Named<'a>> {
        Some(match slot {
            Slot::Version => &mut self.version,
            Slot::OwnId => &mut self.own_id,
            Slot::Tenant => &mut self.tenant,
            Slot::Source => &mut self.source,
            Slot::SourceEventId => &mut self.source_event_id,
            Slot::Class => &mut self.class,
            Slot::Kind => &mut self.kind,
            Slot::Severity => &mut self.severity,
            Slot::OccurredAt => &mut self.occurred_at,
            Slot::ObservedAt => &mut self.observed_at,
            Slot::HostId => &mut self.host_id,
            Slot::User => &mut self.user,
            Slot::Actor => &mut self.actor,
            Slot::Subject => &mut self.subject,
            Slot::Object => &mut self.object,
            Slot::Network => &mut self.network,
            Slot::Device => &mut self.device,
            Slot::Entities => &mut self.entities,
            Slot::Title => &mut self.title,
            Slot::Description => &mut self.description,
            Slot::Tags => &mut self.tags,
            Slot::Attack => &mut self.attack,
            Slot::Refs => &mut self.refs,
            Slot::Producer => &mut self.producer,
            Slot::Fields | Slot::Ours | Slot::Other => return None,
        })
    }

    /// What a name means that stands for two things, once all are there.
    fn settle(&mut self) -> Result<(), Reject> {
        // Our own `id` comes with `v`; anyone else's `id` is the key of their record.
        if self.version.is_none() {
            if let Some((name, value)) = self.own_id.take() {
                put(&mut self.source_event_id, name, value)?;
            }
            // An agent says `observed_at` for the moment it happened on the endpoint.
            if self.occurred_at.is_none() {
                self.occurred_at = self.observed_at.take();
            }
        }
        Ok(())
    }

    /// The text that is given under one of the event's own names.
    pub(crate) fn text<'n>(named: &'n Named<'a>) -> Option<&'n str> {
        named.as_ref().and_then(|(_, value)| value.as_str())
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

/// What a scan found so far.
#[derive(Default)]
struct Scanned<'a> {
    parts: Box<Parts<'a>>,
    fields: Fields<'a>,
    fields_seen: bool,
    others: Fields<'a>,
}

impl<'a> Members<'a> for Scanned<'a> {
    fn member(&mut self, name: &'a str, raw: &'a str) -> bool {
        match slot(name) {
            Slot::Ours => true,
            Slot::Other => {
                self.others.push(Member::unread(name, raw));
                true
            }
            // Anything but one object: the tree decides.
            Slot::Fields => raw.starts_with('{') && !std::mem::replace(&mut self.fields_seen, true),
            known => {
                let place = self.parts.place(known).expect("every other name has its place");
                let is_first = place.is_none();
                if raw != "null" {
                    *place = Some((Cow::Borrowed(name), scan::value(raw)));
                }
                is_first
            }
        }
    }

    fn opens(&mut self, name: &'a str) -> bool {
        slot(name) == Slot::Fields
    }

    fn inner(&mut self, name: &'a str, raw: &'a str) {
        self.fields.push(Member::unread(name, raw));
    }
}
