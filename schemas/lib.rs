//! What travels on the bus: events in, incidents out, and everything that both sides must agree on.
//!
//! Read in this order: [`event`] is the one shape every source is brought to, [`edge`] brings it there, [`wire`] reads
//! and writes the bytes, [`incident`] is what leaves, [`control`] and [`deadletter`] are the rest, [`subject`] says where
//! each of them lives, and [`mod@schema`] and
//! [`asyncapi`] say the same in JSON Schema and AsyncAPI. [`cloudevents`] opens the envelopes that some events come in.
//!
//! For programs in other languages all of this is written down in `schemas/README.md`, with the bytes of every message in
//! `schemas/golden/`.

pub mod asyncapi;
pub mod cloudevents;
pub mod control;
pub mod deadletter;
pub mod edge;
pub mod event;
pub mod fields;
pub mod id;
pub mod incident;
pub mod position;
pub mod reject;
pub mod schema;
pub mod severity;
pub mod source;
pub mod subject;
pub mod time;
pub mod value;
mod value_from;
pub mod wire;
pub mod zone;

mod parts;
mod scan;

pub use event::{Class, Event, TimeSource};
pub use fields::{Fields, Member};
pub use id::{EventId, IncidentId};
pub use incident::{Change, Incident, IncidentMessage, Resolution, Status};
pub use position::Position;
pub use severity::Severity;
pub use time::EventTime;
pub use value::Value;
pub use zone::{Local, Zone};
