//! What is known of a source beforehand: its class, and what its events mean by leaving something out.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::event::Class;
use crate::severity::Severity;

/// What an event of this source is when it does not say so itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SourceProfile {
    /// Class of an event without `class`.
    pub class: Class,
    /// Kind of an event without `kind`.
    pub kind: String,
    /// Severity of an event without `severity`.
    pub severity: Severity,
    /// Fields without which an event is refused, such as `host_id`.
    pub require: Vec<String>,
}

impl Default for SourceProfile {
    fn default() -> Self {
        SourceProfile {
            class: Class::Event,
            kind: "event".to_owned(),
            severity: Severity::Info,
            require: Vec::new(),
        }
    }
}

/// The profiles of all sources: the ones given, then the ones that ship, then the default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct SourceProfiles(BTreeMap<String, SourceProfile>);

impl SourceProfiles {
    /// The shipped profiles, with `given` ones put over them whole.
    pub fn with(given: BTreeMap<String, SourceProfile>) -> Self {
        let mut all = shipped();
        all.extend(given);
        SourceProfiles(all)
    }

    /// The profile of a source; `None` where nothing is known of it and the default holds.
    pub fn get(&self, source: &str) -> Option<&SourceProfile> {
        self.0.get(source)
    }
}

/// SentraCore's sensors are low and need a host; trace's services are medium; agents and everything else are info.
fn shipped() -> BTreeMap<String, SourceProfile> {
    let sensor = SourceProfile {
        severity: Severity::Low,
        require: vec!["host_id".to_owned()],
        ..SourceProfile::default()
    };
    let service = |class, kind: &str| SourceProfile {
        class,
        kind: kind.to_owned(),
        severity: Severity::Medium,
        require: Vec::new(),
    };
    [
        ("powershell-hunt", sensor.clone()),
        ("sentrafim", sensor.clone()),
        ("stealershield", sensor),
        ("iris", service(Class::Indicator, "ioc")),
        ("sentry", service(Class::Finding, "finding")),
        ("phishkit", service(Class::Report, "phishing_report")),
        ("packetwatch", service(Class::Anomaly, "anomaly")),
        ("manual", service(Class::Note, "manual_note")),
    ]
    .into_iter()
    .map(|(name, profile)| (name.to_owned(), profile))
    .collect()
}
