//! What the four services call their things.

use std::collections::HashMap;

use serde_json::Value;

use super::http::Http;
use super::metrics::Metrics;
use super::{RoundError, Sender, item_of, key_of};

/// Items a page: the most that the services give.
const PAGE: usize = 500;
/// iris gives its last so many alerts and no more.
const IRIS_ALERTS: usize = 50;

/// A service, and what is remembered of it between two rounds.
pub enum Service {
    /// Indicators, and alerts on them.
    Iris,
    /// Findings.
    Sentry,
    /// Reports.
    Phishkit,
    /// Anomalies, and the metrics that they were found in.
    Packetwatch(Metrics),
}

impl Service {
    /// iris.
    pub fn iris() -> Self {
        Service::Iris
    }

    /// sentry.
    pub fn sentry() -> Self {
        Service::Sentry
    }

    /// phishkit.
    pub fn phishkit() -> Self {
        Service::Phishkit
    }

    /// packetwatch.
    pub fn packetwatch() -> Self {
        Service::Packetwatch(Metrics::default())
    }

    /// What the counts call it.
    pub fn name(&self) -> &'static str {
        match self {
            Service::Iris => "iris",
            Service::Sentry => "sentry",
            Service::Phishkit => "phishkit",
            Service::Packetwatch(_) => "packetwatch",
        }
    }

    /// Reads all that the service has, and sends what was not sent before.
    pub async fn round(&mut self, http: &Http, sender: &Sender<'_>) -> Result<(), RoundError> {
        match self {
            Service::Iris => iris(http, sender).await,
            Service::Sentry => {
                let findings = http.list("/findings", "findings", PAGE).await?;
                sender.send(&sender.press("sentry")?, findings).await
            }
            Service::Phishkit => {
                let mut reports = http.list("/reports", "reports", PAGE).await?;
                // What is still being analysed has no verdict: it comes with a later round.
                reports.retain(|report| {
                    report["status"].as_str().is_none_or(|status| matches!(status, "completed" | "failed"))
                });
                sender.send(&sender.press("phishkit")?, reports).await
            }
            Service::Packetwatch(metrics) => packetwatch(metrics, http, sender).await,
        }
    }
}

/// Indicators first, so that the value of an alert's indicator is at hand: the alert itself has none.
async fn iris(http: &Http, sender: &Sender<'_>) -> Result<(), RoundError> {
    let indicators = http.list("/iocs", "iocs", PAGE).await?;
    let by_id: HashMap<String, Value> = indicators
        .iter()
        .filter_map(|indicator| Some((indicator["id"].as_str()?.to_owned(), indicator.clone())))
        .collect();
    sender.send(&sender.press("iris-ioc")?, indicators).await?;

    let press = sender.press("iris-alert")?;
    let (alerts, _) = http.page("/alerts", "alerts", &[]).await?;
    watch_for_gap(&alerts, sender).await?;
    let mut joined = Vec::with_capacity(alerts.len());
    for mut alert in alerts {
        let unsent = !sender.was_sent(&press, &key_of(&item_of(&press, &alert), &alert))?;
        if let Some(id) = alert["ioc_id"].as_str().map(str::to_owned).filter(|_| unsent) {
            let indicator = match by_id.get(&id) {
                Some(indicator) => Some(indicator.clone()),
                None => match http.get(&format!("/iocs/{id}"), &[]).await {
                    Ok(indicator) => Some(indicator),
                    Err(error) if error.is_not_found() => None,
                    Err(error) => return Err(error.into()),
                },
            };
            if let (Some(indicator), Some(members)) = (indicator, alert.as_object_mut()) {
                members.insert("ioc".to_owned(), indicator);
            }
        }
        joined.push(alert);
    }
    sender.send(&press, joined).await
}

/// Alerts count up. Where the oldest that iris still gives is not the one after the newest that we know, some are gone.
async fn watch_for_gap(alerts: &[Value], sender: &Sender<'_>) -> Result<(), RoundError> {
    const NOTE: &str = "iris/newest-alert";
    let numbers: Vec<u64> = alerts.iter().filter_map(|alert| alert["id"].as_u64()).collect();
    let (Some(oldest), Some(newest)) = (numbers.iter().min(), numbers.iter().max()) else { return Ok(()) };
    let known = sender.recall(NOTE)?.and_then(|bytes| String::from_utf8(bytes).ok()?.parse::<u64>().ok());
    if known.is_some_and(|known| *oldest > known + 1) && alerts.len() >= IRIS_ALERTS {
        sender.gap("iris issued more alerts between two rounds than it gives at once: poll more often");
    }
    if known != Some(*newest) {
        sender.note(NOTE, newest.to_string().into_bytes()).await?;
    }
    Ok(())
}

/// An anomaly says nothing of a host; the metric that it was found in does.
async fn packetwatch(metrics: &mut Metrics, http: &Http, sender: &Sender<'_>) -> Result<(), RoundError> {
    let press = sender.press("packetwatch")?;
    let mut anomalies = http.list("/anomalies", "anomalies", PAGE).await?;
    let mut wanted = Vec::new();
    for anomaly in &anomalies {
        if let Some(metric) = anomaly["metric_id"].as_str()
            && !sender.was_sent(&press, &key_of(&item_of(&press, anomaly), anomaly))?
        {
            wanted.push((metric.to_owned(), anomaly["detected_at"].as_str().unwrap_or_default().to_owned()));
        }
    }
    metrics.find(http, &wanted).await?;
    for anomaly in &mut anomalies {
        let metric = anomaly["metric_id"].as_str().and_then(|id| metrics.get(id)).cloned();
        if let (Some(metric), Some(members)) = (metric, anomaly.as_object_mut()) {
            members.insert("metric".to_owned(), metric);
        }
    }
    sender.send(&press, anomalies).await?;
    metrics.forget();
    Ok(())
}
