//! What can be asked for its state.

/// What the worker tells of its state, for whoever shows it.
pub trait Inspect: Send + Sync {
    /// The state, as JSON. Called on a thread that may block, for each request.
    fn state(&self) -> serde_json::Value;
}
