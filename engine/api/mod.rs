//! What the engine tells over HTTP: is it alive, is it ready, its metrics, and what it holds.
//!
//! | path | answer |
//! |---|---|
//! | `/healthz` | 200 while the process lives |
//! | `/readyz` | 200, or 503 with the reasons |
//! | `/metrics` | Prometheus' text format |
//! | `/state` | what the worker holds, as JSON |
//!
//! It reads and changes nothing. What it tells is in [`telemetry`](crate::telemetry); [`serve`] answers. Whom, says
//! [`Access`]: everybody on this machine, or, over TLS, who has the token or a certificate. `/healthz` and `/readyz` need no
//! token, as probes have none and they tell nothing of what is watched.

mod access;
mod server;
mod tls_listener;

pub use access::{Access, token};
pub use server::{ApiError, serve};
