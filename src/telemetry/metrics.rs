//! Prometheus metrics. No account, database, document or storage id is ever a label.

use std::sync::Arc;
use std::time::Duration;

use prometheus::core::Collector;
use prometheus::{
    Encoder, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts, Registry, TextEncoder,
};

/// Every metric of the program; cheap to clone.
#[derive(Debug, Clone)]
pub struct Metrics(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    registry: Registry,
    requests: IntCounterVec,
    request_seconds: HistogramVec,
    backend_requests: IntCounterVec,
    backend_seconds: HistogramVec,
    attachment_bytes: IntCounterVec,
    plan_cache: IntCounterVec,
    in_flight: IntGauge,
    upload_buffer: IntGauge,
}

impl Metrics {
    /// All metrics at zero.
    ///
    /// # Errors
    /// Only for a name that is wrong or there twice: a bug.
    pub fn new() -> Result<Self, prometheus::Error> {
        let counter = |name: &str, help: &str, labels: &[&str]| IntCounterVec::new(Opts::new(name, help), labels);
        let seconds = |name: &str, help: &str, labels: &[&str]| {
            HistogramVec::new(HistogramOpts::new(name, help).buckets(SECONDS.to_vec()), labels)
        };
        let metrics = Inner {
            registry: Registry::new(),
            requests: counter(
                "stowage_requests_total",
                "Requests by route, method and status",
                &["route", "method", "status"],
            )?,
            request_seconds: seconds("stowage_request_seconds", "Duration of requests to the last byte", &["route"])?,
            backend_requests: counter(
                "stowage_backend_requests_total",
                "Operations on storages by kind of storage",
                &["backend", "operation", "outcome"],
            )?,
            backend_seconds: seconds(
                "stowage_backend_seconds",
                "Duration of operations on storages",
                &["backend", "operation"],
            )?,
            attachment_bytes: counter(
                "stowage_attachment_bytes_total",
                "Bytes of attachments that went to (in) and came from (out) storages",
                &["backend", "direction"],
            )?,
            plan_cache: counter("stowage_plan_cache_total", "Look-ups of plan documents", &["outcome"])?,
            in_flight: IntGauge::new("stowage_in_flight", "Requests that are being answered")?,
            upload_buffer: IntGauge::new("stowage_upload_buffer_bytes", "Memory held by the chunks of uploads")?,
        };
        let all: [Box<dyn Collector>; 8] = [
            Box::new(metrics.requests.clone()),
            Box::new(metrics.request_seconds.clone()),
            Box::new(metrics.backend_requests.clone()),
            Box::new(metrics.backend_seconds.clone()),
            Box::new(metrics.attachment_bytes.clone()),
            Box::new(metrics.plan_cache.clone()),
            Box::new(metrics.in_flight.clone()),
            Box::new(metrics.upload_buffer.clone()),
        ];
        for collector in all {
            metrics.registry.register(collector)?;
        }
        let process = prometheus::process_collector::ProcessCollector::for_self();
        metrics.registry.register(Box::new(process))?;
        Ok(Self(Arc::new(metrics)))
    }

    /// The counter of requests with these labels.
    #[must_use]
    pub fn requests(&self, route: &str, method: &str, status: &str) -> IntCounter {
        self.0.requests.with_label_values(&[route, method, status])
    }

    /// The durations of a route.
    #[must_use]
    pub fn request_seconds(&self, route: &str) -> Histogram {
        self.0.request_seconds.with_label_values(&[route])
    }

    /// Counts an operation on a storage.
    pub fn backend_done(&self, backend: &str, operation: &str, outcome: &str, took: Duration) {
        self.0.backend_requests.with_label_values(&[backend, operation, outcome]).inc();
        self.0.backend_seconds.with_label_values(&[backend, operation]).observe(took.as_secs_f64());
    }

    /// The counter of bytes to (`in`) or from (`out`) a kind of storage.
    #[must_use]
    pub fn attachment_bytes(&self, backend: &str, direction: &str) -> IntCounter {
        self.0.attachment_bytes.with_label_values(&[backend, direction])
    }

    /// Counts a look-up of a plan document.
    pub fn plan_cache(&self, outcome: &str) {
        self.0.plan_cache.with_label_values(&[outcome]).inc();
    }

    /// The text that Prometheus scrapes.
    #[must_use]
    pub fn text(&self, in_flight: usize, upload_buffer: u64) -> Vec<u8> {
        self.0.in_flight.set(i64::try_from(in_flight).unwrap_or(i64::MAX));
        self.0.upload_buffer.set(i64::try_from(upload_buffer).unwrap_or(i64::MAX));
        let mut text = Vec::new();
        if let Err(error) = TextEncoder::new().encode(&self.0.registry.gather(), &mut text) {
            tracing::error!(%error, "the metrics cannot be written");
        }
        text
    }
}

/// Upper bounds in seconds: from a forwarded document to a long recording.
const SECONDS: [f64; 14] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 20.0, 120.0];
