//! Prometheus metrics. Account, database, document and storage ids are never labels.

mod make;
mod outages;

use std::sync::Arc;
use std::time::Duration;

use prometheus::process_collector::ProcessCollector;
use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, Registry};
use stowage_base::metrics::{Held, text, whole};
use stowage_http::server::Counts;

use crate::config::Limits;
use make::Maker;
pub use outages::{JOB_OUTCOMES, Outages, Queue};

/// All metrics of the program; cheap to clone.
#[derive(Debug, Clone)]
pub struct Metrics(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    registry: Registry,
    requests: IntCounterVec,
    request_seconds: Vec<(&'static str, Histogram)>,
    cut_off: IntCounterVec,
    backend_requests: IntCounterVec,
    backend_seconds: HistogramVec,
    attachment_bytes: IntCounterVec,
    objects_left: IntCounter,
    outages: Outages,
    copies: IntCounterVec,
    couchdb_failures: IntCounterVec,
    plan_cache: IntCounterVec,
    plan_feed: IntGauge,
    in_flight: IntGauge,
    connections: IntGauge,
    tls_failures: IntCounter,
    upload_buffer: IntGauge,
    background_tasks: IntGauge,
    spans: IntCounterVec,
}

/// Gauges that are sampled at each scrape.
#[derive(Debug, Clone, Copy, Default)]
pub struct Levels {
    /// Requests in flight.
    pub in_flight: usize,
    /// Bytes of the budget that uploads wait for.
    pub upload_buffer: u64,
    /// Commits, removals and other tasks that outlive their request.
    pub background_tasks: usize,
}

impl Inner {
    /// Initialises all label values: Prometheus sees no increase when a counter appears with its first value.
    fn begin(&self) {
        for route in ROUTES {
            for outcome in ["broken", "interrupted"] {
                drop(self.cut_off.with_label_values(&[route, outcome]));
            }
        }
        for (counters, known) in [
            (&self.couchdb_failures, &COUCHDB_FAILURES[..]),
            (&self.plan_cache, &["hit", "load", "stale", "error"]),
            (&self.spans, &["exported", "rejected", "failed", "dropped"]),
        ] {
            known.iter().for_each(|label| drop(counters.with_label_values(&[label])));
        }
    }
}

impl Counts for Metrics {
    type Connection = Held;

    fn connection(&self) -> Held {
        Held::new(&self.0.connections)
    }

    fn tls_failure(&self) {
        self.0.tls_failures.inc();
    }
}

impl Metrics {
    /// Creates all metrics at zero.
    ///
    /// # Errors
    /// Returns an error only for an invalid or duplicate name, which is a bug.
    pub fn new(limits: &Limits) -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let make = Maker(&registry);
        make.constants(limits)?;
        let request_seconds =
            make.seconds("stowage_request_seconds", "Duration of requests to the last byte", &["route"])?;
        let inner = Inner {
            requests: make.counters(
                "stowage_requests_total",
                "Requests by route, method and status",
                &["route", "method", "status"],
            )?,
            request_seconds: ROUTES.map(|route| (route, request_seconds.with_label_values(&[route]))).into(),
            cut_off: make.counters(
                "stowage_cut_off_total",
                "Requests that did not come to their end: broken by a server, or interrupted by the client",
                &["route", "outcome"],
            )?,
            backend_requests: make.counters(
                "stowage_backend_requests_total",
                "Operations on storages by kind of storage",
                &["backend", "operation", "outcome"],
            )?,
            backend_seconds: make.seconds(
                "stowage_backend_seconds",
                "Duration of operations on storages; of get, to the first byte",
                &["backend", "operation"],
            )?,
            attachment_bytes: make.counters(
                "stowage_attachment_bytes_total",
                "Bytes of attachments that went to (in) and came from (out) storages",
                &["backend", "direction"],
            )?,
            objects_left: make
                .counter("stowage_objects_left_total", "Objects left in a storage that perhaps no document names")?,
            outages: Outages::new(&make)?,
            copies: make.counters(
                "stowage_copies_total",
                "Copies of attachments that CouchDB keeps, by kind of storage",
                &["backend", "outcome"],
            )?,
            couchdb_failures: make.counters(
                "stowage_couchdb_failures_total",
                "Requests that failed because CouchDB did",
                &["reason"],
            )?,
            plan_cache: make.counters("stowage_plan_cache_total", "Look-ups of storage plans", &["outcome"])?,
            plan_feed: make
                .gauge("stowage_plan_feed_up", "Whether the changes feed of the storage plans is followed")?,
            in_flight: make.gauge("stowage_in_flight", "Requests that are being answered")?,
            connections: make.gauge("stowage_connections", "Connections of clients")?,
            tls_failures: make.counter("stowage_tls_failures_total", "TLS handshakes of clients that failed")?,
            upload_buffer: make.gauge("stowage_upload_buffer_bytes", "Memory for uploads that is in use")?,
            background_tasks: make
                .gauge("stowage_background_tasks", "Commits and removals that outlive their requests")?,
            spans: make.counters("stowage_spans_total", "Spans for the OpenTelemetry collector", &["outcome"])?,
            registry,
        };
        inner.begin();
        inner.registry.register(Box::new(ProcessCollector::for_self()))?;
        Ok(Self(Arc::new(inner)))
    }

    /// Counts a completed request.
    pub fn request_done(&self, route: &str, method: &str, status: &str, took: Duration) {
        self.0.requests.with_label_values(&[route, method, status]).inc();
        if let Some((_, seconds)) = self.0.request_seconds.iter().find(|(known, _)| *known == route) {
            seconds.observe(took.as_secs_f64());
        }
    }

    /// Counts a request that was cut off.
    pub fn cut_off(&self, route: &str, outcome: &str) {
        self.0.cut_off.with_label_values(&[route, outcome]).inc();
    }

    /// Initialises the metrics of a backend at zero.
    pub fn knows_backend(&self, backend: &str) {
        for operation in OPERATIONS {
            for outcome in OUTCOMES {
                drop(self.0.backend_requests.with_label_values(&[backend, operation, outcome]));
            }
        }
        self.0.outages.knows_backend(backend);
        COPIES.iter().for_each(|outcome| drop(self.0.copies.with_label_values(&[backend, outcome])));
        for direction in ["in", "out"] {
            drop(self.attachment_bytes(backend, direction));
        }
    }

    /// Counts an operation on a storage.
    pub fn backend_done(&self, backend: &str, operation: &str, outcome: &str, took: Duration) {
        self.0.backend_requests.with_label_values(&[backend, operation, outcome]).inc();
        self.0.backend_seconds.with_label_values(&[backend, operation]).observe(took.as_secs_f64());
    }

    /// Returns the counter of bytes to (`in`) or from (`out`) a backend.
    #[must_use]
    pub fn attachment_bytes(&self, backend: &str, direction: &str) -> IntCounter {
        self.0.attachment_bytes.with_label_values(&[backend, direction])
    }

    /// Returns the metrics about storage outages and jobs.
    #[must_use]
    pub fn outages(&self) -> &Outages {
        &self.0.outages
    }

    /// Counts an object left in a storage that possibly no document names.
    pub fn object_left(&self) {
        self.0.objects_left.inc();
    }

    /// Counts a copy by its outcome, one of [`COPIES`].
    pub fn copy_done(&self, backend: &str, outcome: &str) {
        self.0.copies.with_label_values(&[backend, outcome]).inc();
    }

    /// Counts a request that failed because of CouchDB; `reason` is one of [`COUCHDB_FAILURES`].
    pub fn couchdb_failure(&self, reason: &str) {
        self.0.couchdb_failures.with_label_values(&[reason]).inc();
    }

    /// Counts a storage plan look-up.
    pub fn plan_cache(&self, outcome: &str) {
        self.0.plan_cache.with_label_values(&[outcome]).inc();
    }

    /// Sets whether the changes feed of the storage plans is connected.
    pub fn plan_feed(&self, up: bool) {
        self.0.plan_feed.set(up.into());
    }

    /// Returns the counter of spans dropped because the collector was too slow.
    #[must_use]
    pub fn dropped_spans(&self) -> IntCounter {
        self.0.spans.with_label_values(&["dropped"])
    }

    /// Counts spans by what became of their export.
    pub fn spans(&self, outcome: &str, count: u64) {
        self.0.spans.with_label_values(&[outcome]).inc_by(count);
    }

    /// Encodes the metrics in Prometheus' text format.
    #[must_use]
    pub fn text(&self, levels: Levels) -> Vec<u8> {
        self.0.in_flight.set(whole(levels.in_flight as u64));
        self.0.upload_buffer.set(whole(levels.upload_buffer));
        self.0.background_tasks.set(whole(levels.background_tasks as u64));
        text(&self.0.registry)
    }
}

/// All route labels.
pub const ROUTES: [&str; 10] = [
    "forward",
    "document",
    "attachment_get",
    "attachment_put",
    "attachment_delete",
    "attachment",
    "refused",
    "shed",
    "panic",
    "gone",
];
/// The reasons for failed CouchDB requests.
pub const COUCHDB_FAILURES: [&str; 4] = ["unreachable", "silent", "broken", "nonsense"];
/// The operations on storages.
pub const OPERATIONS: [&str; 3] = ["put", "get", "delete"];
/// The outcomes of operations on storages.
pub const OUTCOMES: [&str; 7] = ["ok", "missing", "passing", "refused", "interrupted", "too_large", "down"];
/// The outcomes of a copy beside an attachment in CouchDB: made, failed, discarded because CouchDB has no such attachment, or made although CouchDB
/// never said whether it has one.
pub const COPIES: [&str; 4] = ["ok", "failed", "discarded", "unknown"];
/// Upper bounds in seconds, from a forwarded document to a long recording. Clients give up at 20 s.
const SECONDS: [f64; 17] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 60.0, 300.0];
