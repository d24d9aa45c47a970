//! The four services with their recorded answers, more of them in every life: their lists grow anywhere, and what was issued
//! before is issued anew under other ids.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use sightline_producers::crash_point::CrashPoint;

use super::campaign::{POINTS, Source, WITH_CURSOR, survives};
use super::ends::Expected;
use super::kills;
use crate::polled::items;
use crate::server::Server;
use crate::service::{Fault, Service};
use crate::stage::{command, recorded};

/// Items that a list gains with every life, of those services that have many.
const STEP: usize = 40;

struct Polled {
    source: &'static str,
    service: Service,
    lists: Vec<Growing>,
    parts: usize,
}

/// A list that grows.
struct Growing {
    path: &'static str,
    name: &'static str,
    recorded: Vec<Value>,
    step: usize,
    /// Most items at once, and all that there will ever be where it has no pages.
    page_max: Option<usize>,
    /// Members that name an item, of which a copy has others.
    names: &'static [&'static str],
    /// By which the bridge knows it again.
    key: &'static [&'static str],
}

impl Growing {
    /// What it holds after so many parts: the recorded items, and copies of them under other names.
    fn items(&self, parts: usize) -> Vec<Value> {
        let most = self.page_max.map_or(50, |_| usize::MAX);
        let item = |at: usize| {
            let (copy, of) = (at / self.recorded.len(), at % self.recorded.len());
            let mut item = self.recorded[of].clone();
            for name in self.names.iter().filter(|_| copy > 0) {
                item[*name] = format!("{}_{copy}", item[*name].as_str().expect("a name")).into();
            }
            item
        };
        // The newest first, so that what was known moves to other pages.
        (0..(parts * self.step).min(most)).rev().map(item).collect()
    }

    fn distinct(&self, parts: usize) -> usize {
        let key = |item: &Value| self.key.iter().map(|name| item[*name].to_string()).collect::<Vec<_>>();
        self.items(parts).iter().map(key).collect::<BTreeSet<_>>().len()
    }
}

impl Source for Polled {
    fn command(&self, url: &str, state: &Path) -> Command {
        command(url, state, self.source, &["--from", &self.service.url(), "--every", "30ms"])
    }

    async fn more(&mut self, _server: &Server, _bus_is_there: bool) {
        self.parts += 1;
        for list in &self.lists {
            let mut items = list.items(self.parts);
            if self.source == "sentry" {
                for item in &mut items {
                    item["id"] = format!("{}_{}", item["id"].as_str().expect("an id"), self.parts).into();
                }
            }
            self.service.list(list.path, list.name, items, list.page_max);
        }
        if self.parts.is_multiple_of(3) {
            self.service.misbehave(&[Fault::HalfBody]);
        }
    }

    fn expected(&self) -> Expected {
        let events = self.lists.iter().filter(|list| list.path != "/metrics");
        Expected { events: events.map(|list| list.distinct(self.parts)).sum(), ..Expected::default() }
    }

    fn differing(&self) -> &'static [&'static str] {
        // The id that it was issued under, of those that are issued again and again.
        if matches!(self.source, "iris" | "sentry") { &["/fields/id"] } else { &[] }
    }

    fn points(&self) -> &'static [CrashPoint] {
        assert!(POINTS.iter().all(|point| WITH_CURSOR.contains(point)));
        WITH_CURSOR
    }

    /// Each event leaves alone.
    fn passes(&self) -> u64 {
        20
    }
}

fn list(path: &'static str, name: &'static str, recorded: Vec<Value>, step: usize) -> Growing {
    Growing { path, name, recorded, step, page_max: Some(100), names: &["id"], key: &["id"] }
}

async fn polled(source: &'static str, lists: fn() -> Vec<Growing>) {
    survives(source, kills(), |_| Polled { source, service: Service::start(), lists: lists(), parts: 0 })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn iris_survives_being_killed_at_any_moment() {
    polled("iris", || {
        let alerts = recorded("iris/alerts.json").as_array().expect("a bare array").clone();
        let alerts = Growing {
            page_max: None,
            names: &["ioc_id"],
            key: &["ioc_id", "rule"],
            ..list("/alerts", "alerts", alerts, 4)
        };
        let indicators = items("iris/iocs_limit500.json", "iocs");
        vec![Growing { key: &["id", "last_seen"], ..list("/iocs", "iocs", indicators, STEP) }, alerts]
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sentry_survives_being_killed_at_any_moment() {
    polled("sentry", || {
        let findings = items("sentry/findings_limit500.json", "findings");
        let findings = list("/findings", "findings", findings, STEP);
        vec![Growing { names: &["id", "ioc_id"], key: &["rule_id", "ioc_id"], ..findings }]
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn phishkit_survives_being_killed_at_any_moment() {
    polled("phishkit", || {
        vec![list("/reports", "reports", items("phishkit/reports_limit500.json", "reports"), STEP)]
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn packetwatch_survives_being_killed_at_any_moment() {
    polled("packetwatch", || {
        let mut metrics = items("packetwatch/metrics_default_page.json", "metrics");
        metrics.push(json!({"id": "met_mwpppyj6_d3wo", "source_label": "ACCT01.pandalab.com", "unit": "count", "tags": "[]"}));
        let all = metrics.len();
        // All of them from the beginning: an anomaly has one.
        let metrics = Growing { page_max: Some(1_000), ..list("/metrics", "metrics", metrics, all) };
        let metrics = Growing { names: &[], ..metrics };
        vec![list("/anomalies", "anomalies", items("packetwatch/anomalies.json", "anomalies"), STEP), metrics]
    })
    .await;
}
