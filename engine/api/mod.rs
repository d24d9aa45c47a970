//! What the engine tells over HTTP: is it alive, is it ready, its metrics, and what it holds.
//!
//! | path | answer |
//! |---|---|
//! | `/healthz` | 200 while the process lives |
//! | `/readyz` | 200, or 503 with the reasons |
//! | `/metrics` | Prometheus' text format |
//! | `/state` | what the worker holds, as JSON |
//!
//! It reads and changes nothing. [`Readiness`] is what the worker sets, [`serve`] answers.

mod readiness;
mod server;

pub use readiness::{NotReady, Readiness};
pub use server::{ApiError, Inspect, serve};
