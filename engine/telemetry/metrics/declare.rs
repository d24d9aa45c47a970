//! Making a metric and registering it in one step.

use prometheus::{
    Gauge, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    core::Collector,
};

/// Declares metrics in a registry, all beginning with `sightline_`.
pub(super) struct Declare<'a>(pub &'a Registry);

const ONCE: &str = "metrics are declared once, with valid names; a test makes them all";

impl Declare<'_> {
    fn register<C: Collector + Clone + 'static>(&self, made: prometheus::Result<C>) -> C {
        let metric = made.expect(ONCE);
        self.0.register(Box::new(metric.clone())).expect(ONCE);
        metric
    }

    fn opts(name: &str, help: &str) -> Opts {
        Opts::new(name, help).namespace("sightline")
    }

    pub fn counter(&self, name: &str, help: &str) -> IntCounter {
        self.register(IntCounter::with_opts(Self::opts(name, help)))
    }

    pub fn counters(&self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        self.register(IntCounterVec::new(Self::opts(name, help), labels))
    }

    /// A counter by `result`, every one of them shown from the start: an alert on a series that is not there yet
    /// would miss the first count.
    pub fn results(&self, name: &str, help: &str, results: &[&str]) -> IntCounterVec {
        let counters = self.counters(name, help, &["result"]);
        for result in results {
            let _shown = counters.with_label_values(&[result]);
        }
        counters
    }

    pub fn gauge(&self, name: &str, help: &str) -> IntGauge {
        self.register(IntGauge::with_opts(Self::opts(name, help)))
    }

    pub fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
        self.register(IntGaugeVec::new(Self::opts(name, help), labels))
    }

    pub fn float(&self, name: &str, help: &str) -> Gauge {
        self.register(Gauge::with_opts(Self::opts(name, help)))
    }

    pub fn histogram(&self, name: &str, help: &str, buckets: &[f64]) -> Histogram {
        let opts = HistogramOpts::new(name, help).namespace("sightline").buckets(buckets.to_vec());
        self.register(Histogram::with_opts(opts))
    }

    /// Memory, processor time, start time and open files of the process, where the system tells them.
    pub fn process(&self) {
        #[cfg(target_os = "linux")]
        self.0.register(Box::new(prometheus::process_collector::ProcessCollector::for_self())).expect(ONCE);
    }
}
