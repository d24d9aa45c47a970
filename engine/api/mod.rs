//! What the engine tells over HTTP: is it alive, is it ready, its metrics, and what it holds.
//!
//! | path | answer |
//! |---|---|
//! | `/healthz` | 200 while the process lives |
//! | `/readyz` | 200, or 503 with the reasons |
//! | `/metrics` | Prometheus' text format |
//! | `/state` | what the worker holds, as JSON |
//!
//! It reads and changes nothing. What it tells is in [`telemetry`](crate::telemetry); [`serve`] answers.

mod server;

pub use server::{ApiError, serve};
