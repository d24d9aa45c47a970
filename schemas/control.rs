//! What people and the worker put into the input log beside events.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::id::IncidentId;
use crate::incident::{Resolution, Status};
use crate::source::SourceProfiles;

/// Most bytes of who says so: a name, an address or the id of a program.
pub const ACTOR_BYTES_MAX: usize = 256;
/// Most bytes of why: it goes with every later message of the incident.
pub const REASON_BYTES_MAX: usize = 4_096;

/// Sets the status of an incident, on `control.<tenant>.incident`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct IncidentCommand {
    /// Which incident.
    pub incident: IncidentId,
    /// The new status: `open`, `triaged`, `investigating`, `contained`, `resolved`, `dismissed`, or a served system's
    /// word for one of them (`closed`, `RESOLVED`, `FALSE_POSITIVE`).
    pub status: String,
    /// How it ended, with a terminal status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolution: Option<Resolution>,
    /// Who says so.
    pub actor: String,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The status and resolution that a command asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The new status.
    pub status: Status,
    /// How it ended, if terminal.
    pub resolution: Option<Resolution>,
}

impl IncidentCommand {
    /// What the command asks for.
    ///
    /// # Errors
    /// With the allowed words, when the status is none, or a resolution is given for an active one; when actor or reason
    /// are too long.
    pub fn asked(&self) -> Result<Asked, String> {
        let given = [
            ("actor", self.actor.len(), ACTOR_BYTES_MAX),
            ("reason", self.reason.as_ref().map_or(0, String::len), REASON_BYTES_MAX),
        ];
        for (name, bytes, bytes_max) in given {
            if bytes > bytes_max {
                return Err(format!("{name} has {bytes} bytes: at most {bytes_max} are allowed"));
            }
        }
        let Some((status, implied)) = Status::parse(&self.status) else {
            return Err(format!(
                "status {:?}: use open, triaged, investigating, contained, resolved, dismissed or closed",
                self.status
            ));
        };
        match (status.is_active(), self.resolution.or(implied)) {
            (true, Some(_)) => Err(format!("status {:?} is active and takes no resolution", self.status)),
            (true, None) => Ok(Asked { status, resolution: None }),
            (false, resolution) => {
                Ok(Asked { status, resolution: Some(resolution.unwrap_or(Resolution::Unspecified)) })
            }
        }
    }
}

/// One rule file as it was when it was published.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RuleFile {
    /// Its name, for messages.
    pub name: String,
    /// Its text.
    pub text: String,
}

/// Settings that can change a result: they travel with the rules, through the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EngineSettings {
    /// How late a hit may be and still count in any order, for rules that do not say; microseconds.
    pub lateness_micros: i64,
    /// Least log time between two `updated` messages of one incident; microseconds.
    pub coalesce_micros: i64,
    /// Log time after which a key without hits and without an active incident is forgotten; microseconds.
    pub idle_micros: i64,
    /// Log time after which a key with an active incident is forgotten; microseconds.
    pub incident_idle_micros: i64,
    /// What is known of sources beforehand.
    pub sources: SourceProfiles,
}

impl Default for EngineSettings {
    fn default() -> Self {
        const MINUTE: i64 = 60_000_000;
        EngineSettings {
            lateness_micros: 10 * MINUTE,
            coalesce_micros: 1_000_000,
            idle_micros: 24 * 60 * MINUTE,
            incident_idle_micros: 30 * 24 * 60 * MINUTE,
            sources: SourceProfiles::with(std::collections::BTreeMap::new()),
        }
    }
}

/// The rules and settings in force from this message on, on `control.rules`. The body is JSON, compressed with
/// zstd where `Content-Encoding` says so.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RulesMessage {
    /// The rule files, sorted by name.
    pub files: Vec<RuleFile>,
    /// The settings.
    pub settings: EngineSettings,
    /// Where rules that are new or changed begin: they run over the input log from this sequence on up to this message,
    /// and are silent until then. Without it they begin with nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warm_from: Option<u64>,
}

impl RulesMessage {
    /// Whether both put the same in force, wherever it begins.
    pub fn means_the_same(&self, other: &RulesMessage) -> bool {
        (&self.files, &self.settings) == (&other.files, &other.settings)
    }

    /// A hash of files and settings: equal if and only if nothing changed.
    pub fn fingerprint(&self) -> String {
        let bytes = serde_json::to_vec(self).expect("rules and settings are plain data");
        blake3::hash(&bytes).to_hex().as_str()[..32].to_owned()
    }
}
