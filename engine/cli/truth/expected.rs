//! The truth file: `expected` is a list of firings, each in the shape of its rule.

use std::path::Path;

use anyhow::Context;
use serde::Deserialize;
use sightline_schemas::{EventTime, IncidentMessage};

use super::compare::{Report, compare};
use super::found::found;
use super::{Firing, set, short_host};
use crate::cli::exit::CliError;

/// What is known to be in some events.
#[derive(Clone, Debug)]
pub struct Truth {
    pub(super) firings: Vec<Firing>,
}

#[derive(Deserialize)]
struct File {
    expected: Vec<Expected>,
}

/// Members that are left out here are enrichment (`packetwatch_within_60s`) or say where in the original recording an
/// event stood (`ref`), which incidents do not carry.
#[derive(Deserialize)]
#[serde(tag = "rule")]
enum Expected {
    A {
        host_id: String,
        sha256: String,
        image: String,
        first: EventTime,
        last: EventTime,
    },
    B {
        host_id: String,
        ioc: String,
        first: EventTime,
        last: EventTime,
    },
    C {
        host_id: String,
        source_image: String,
        access: String,
        started: EventTime,
        at: EventTime,
    },
    D {
        ioc: String,
        hosts: Vec<String>,
        at: EventTime,
    },
    E {
        user: String,
        spray: Part,
        roast: Part,
        fanout: Part,
        at: EventTime,
    },
    G {
        key: String,
        values: Vec<String>,
        first: EventTime,
        at: EventTime,
    },
    H {
        host: String,
        image: String,
        parent: String,
        at: EventTime,
        logon: (String, Option<String>, EventTime),
    },
}

/// One of the countings of which the chain E consists.
#[derive(Deserialize)]
struct Part {
    key: String,
    values: Vec<String>,
    at: EventTime,
}

impl Truth {
    /// Reads a truth file.
    ///
    /// # Errors
    /// When it cannot be read, or has another shape.
    pub fn read(path: &Path) -> Result<Self, CliError> {
        let text = std::fs::read_to_string(path);
        let wrong = |error: anyhow::Error| CliError::Usage(format!("{error:#}"));
        let text = text.with_context(|| format!("cannot read {}", path.display())).map_err(wrong)?;
        let truth = Truth::parse(&text).with_context(|| format!("{} is no truth file", path.display()));
        truth.map_err(wrong)
    }

    /// Reads the text of a truth file.
    ///
    /// # Errors
    /// When it has another shape.
    pub fn parse(text: &str) -> serde_json::Result<Self> {
        let file: File = serde_json::from_str(text)?;
        Ok(Truth { firings: file.expected.into_iter().map(firing).collect() })
    }

    /// What of this was found, and what beside it. The messages are all those of one run, in order.
    pub fn compare(&self, messages: &[IncidentMessage]) -> Report {
        let (firings, unlisted) = found(messages);
        compare(self.firings.clone(), firings, unlisted)
    }
}

fn firing(expected: Expected) -> Firing {
    match expected {
        Expected::A { host_id, sha256, image, first, last } => Firing::new(
            "A",
            &[&host_id, &sha256],
            &[("image", image), ("dropped", first.to_string()), ("run", last.to_string())],
        ),
        Expected::B { host_id, ioc, first, last } => Firing::new(
            "B",
            &[&host_id, &ioc, &first.to_string()],
            &[("visit", first.to_string()), ("report", last.to_string())],
        ),
        Expected::C { host_id, source_image, access, started, at } => Firing::new(
            "C",
            &[&host_id, &source_image],
            &[("access", access), ("run", started.to_string()), ("dump", at.to_string())],
        ),
        Expected::D { ioc, hosts, at } => {
            Firing::new("D", &[&ioc], &[("hosts", set(hosts)), ("second host", at.to_string())])
        }
        Expected::E { user, spray, roast, fanout, at } => Firing::new(
            "E",
            &[&user],
            &[
                ("spray", format!("{} {} {}", spray.at, spray.key, set(spray.values))),
                ("roast", format!("{} {} {}", roast.at, roast.key, set(roast.values))),
                ("fan-out", format!("{} {} {}", fanout.at, fanout.key, set(fanout.values))),
                ("complete", at.to_string()),
            ],
        ),
        Expected::G { key, values, first, at } => Firing::new(
            "G",
            &[&key],
            &[("hosts", set(values)), ("first host", first.to_string()), ("second host", at.to_string())],
        ),
        Expected::H { host, image, parent, at, logon } => Firing::new(
            "H",
            &[short_host(&host), &at.to_string()],
            &[
                ("image", image),
                ("parent", parent),
                ("shell", at.to_string()),
                ("logon", logon.2.to_string()),
            ],
        ),
    }
}
