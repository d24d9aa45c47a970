//! Detection: which steps of which rules does this event satisfy? Stateless.
//!
//! Rules are indexed by the source and kind they require, and each distinct predicate is asked at most once for an event,
//! so the cost does not grow with rules that cannot match.

mod completion_event;
mod index;
mod route;

pub use index::{Detector, Memo};
pub use route::{completion_hits, event_hits};

pub(crate) use route::index;
