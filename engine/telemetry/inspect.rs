//! What can be asked for its state.

use serde_json::Value;

/// Why is a rule not complete for a key?
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Question {
    /// Whose events.
    pub tenant: String,
    /// The rule.
    pub rule: String,
    /// The values of its key, each as `PART=VALUE` or in the order of the parts.
    pub key: Vec<String>,
}

/// What the worker tells of its state, for whoever shows it. Each is called on a thread that may block, for each request.
pub trait Inspect: Send + Sync {
    /// The state, as JSON.
    fn state(&self) -> Value;

    /// How far a rule came for a key.
    ///
    /// # Errors
    /// With what is wrong with the question.
    fn why_not(&self, question: &Question) -> Result<Value, String>;

    /// An incident that is remembered, and its rule; `None` where there is none of that id.
    fn incident(&self, id: &str) -> Option<Value>;
}
