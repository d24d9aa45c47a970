//! packetwatch's metrics: an anomaly names the one that it was found in, and only that one names a host.

use std::collections::HashMap;

use serde_json::Value;
use sightline_schemas::EventTime;

use super::http::{FetchError, Http};

/// Metrics a page: the most that packetwatch gives.
const PAGE: usize = 1_000;
/// Most pages that are looked through for one round's anomalies.
const PAGES_MAX: usize = 1_000;
/// How long before an anomaly's detection its metric may have been collected, in microseconds: a day.
const BEFORE_MICROS: i64 = 24 * 3_600 * 1_000_000;

/// The metrics that were looked for.
#[derive(Default)]
pub struct Metrics {
    found: HashMap<String, Value>,
}

impl Metrics {
    /// The metric of this id, if it was found.
    pub fn get(&self, id: &str) -> Option<&Value> {
        self.found.get(id)
    }

    /// What was found is sent; the next round looks for others.
    pub fn forget(&mut self) {
        self.found.clear();
    }

    /// Looks for metrics, each with the time at which its anomaly was detected: first among those of the day before, then
    /// among all. A metric that is in neither is gone, and its anomaly goes without a host.
    ///
    /// # Errors
    /// When packetwatch cannot be asked. Then nothing is sent: an anomaly without its host would stay without it.
    pub async fn find(&mut self, http: &Http, wanted: &[(String, String)]) -> Result<(), FetchError> {
        let oldest = wanted.iter().filter_map(|(_, at)| EventTime::parse(at).ok()).min();
        let since = oldest.map(|at| {
            // As packetwatch writes its own, so that it can compare them as text.
            at.minus(BEFORE_MICROS).to_string().replace('T', " ").chars().take(19).collect::<String>()
        });
        for since in [since, None] {
            if self.has_all(wanted) {
                return Ok(());
            }
            self.look_through(http, wanted, since).await?;
        }
        let missing = wanted.iter().filter(|(id, _)| !self.found.contains_key(id)).count();
        if missing > 0 {
            tracing::warn!(missing, "anomalies whose metric is gone are sent without a host");
        }
        Ok(())
    }

    async fn look_through(
        &mut self,
        http: &Http,
        wanted: &[(String, String)],
        since: Option<String>,
    ) -> Result<(), FetchError> {
        let mut offset = 0;
        for _ in 0..PAGES_MAX {
            let mut query = vec![("limit", PAGE.to_string()), ("offset", offset.to_string())];
            query.extend(since.iter().map(|since| ("since", since.clone())));
            let (metrics, total) = http.page("/metrics", "metrics", &query).await?;
            offset += metrics.len();
            let last = metrics.is_empty() || total.is_none_or(|total| offset >= total);
            for metric in metrics {
                let id = metric["id"].as_str().unwrap_or_default();
                if wanted.iter().any(|(wanted, _)| wanted == id) {
                    self.found.insert(id.to_owned(), metric);
                }
            }
            if last || self.has_all(wanted) {
                break;
            }
        }
        Ok(())
    }

    fn has_all(&self, wanted: &[(String, String)]) -> bool {
        wanted.iter().all(|(id, _)| self.found.contains_key(id))
    }
}
