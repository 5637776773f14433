//! Creates metrics and registers them.

use prometheus::core::Collector;
use prometheus::{HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};
use stowage_base::metrics::whole;

use super::SECONDS;
use crate::config::Limits;

/// Creates metrics and registers them at once.
pub(super) struct Maker<'a>(pub(super) &'a Registry);

impl Maker<'_> {
    pub(super) fn register<C: Collector + Clone + 'static>(&self, collector: C) -> Result<C, prometheus::Error> {
        self.0.register(Box::new(collector.clone()))?;
        Ok(collector)
    }

    pub(super) fn counter(&self, name: &str, help: &str) -> Result<IntCounter, prometheus::Error> {
        self.register(IntCounter::new(name, help)?)
    }

    pub(super) fn counters(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntCounterVec, prometheus::Error> {
        self.register(IntCounterVec::new(Opts::new(name, help), labels)?)
    }

    pub(super) fn gauge(&self, name: &str, help: &str) -> Result<IntGauge, prometheus::Error> {
        self.register(IntGauge::new(name, help)?)
    }

    pub(super) fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntGaugeVec, prometheus::Error> {
        self.register(IntGaugeVec::new(Opts::new(name, help), labels)?)
    }

    pub(super) fn seconds(&self, name: &str, help: &str, labels: &[&str]) -> Result<HistogramVec, prometheus::Error> {
        self.register(HistogramVec::new(HistogramOpts::new(name, help).buckets(SECONDS.to_vec()), labels)?)
    }

    /// Registers the metrics that are constant while the program runs.
    pub(super) fn constants(&self, limits: &Limits) -> Result<(), prometheus::Error> {
        let build = Opts::new("stowage_build_info", "1, with the version of the program");
        self.register(IntGaugeVec::new(build, &["version"])?)?.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        for (name, help, value) in [
            ("stowage_in_flight_limit", "limits.in_flight", limits.in_flight as u64),
            ("stowage_connections_limit", "limits.connections", limits.connections as u64),
            ("stowage_upload_buffer_limit_bytes", UPLOAD_BUFFER, limits.waited_for_bytes()),
        ] {
            self.gauge(name, help)?.set(whole(value));
        }
        Ok(())
    }
}

/// The rest of the memory is not part of the gauge either: no upload waits for it, so the gauge would never reach its limit.
const UPLOAD_BUFFER: &str = "The three quarters of limits.upload_buffer_bytes that uploads wait for";
