//! Prometheus metrics. No account, database, document or storage id is ever a label.

use std::sync::Arc;
use std::time::Duration;

use prometheus::core::Collector;
use prometheus::{
    Encoder, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder,
};

use crate::config::Limits;

/// Every metric of the program; cheap to clone.
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
    fallbacks: IntCounterVec,
    jobs: IntGaugeVec,
    jobs_oldest: IntGauge,
    jobs_stuck: IntGauge,
    jobs_done: IntCounterVec,
    storages_down: IntGaugeVec,
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

/// What is read when the metrics are.
#[derive(Debug, Clone, Copy, Default)]
pub struct Levels {
    /// Requests that are being answered.
    pub in_flight: usize,
    /// Bytes that the chunks of uploads hold.
    pub upload_buffer: u64,
    /// Commits, removals and other work that outlives its request.
    pub background_tasks: usize,
}

/// Makes metrics that are in the registry from the start.
struct Maker<'a>(&'a Registry);

impl Maker<'_> {
    fn register<C: Collector + Clone + 'static>(&self, collector: C) -> Result<C, prometheus::Error> {
        self.0.register(Box::new(collector.clone()))?;
        Ok(collector)
    }

    fn counter(&self, name: &str, help: &str) -> Result<IntCounter, prometheus::Error> {
        self.register(IntCounter::new(name, help)?)
    }

    fn counters(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntCounterVec, prometheus::Error> {
        self.register(IntCounterVec::new(Opts::new(name, help), labels)?)
    }

    fn gauge(&self, name: &str, help: &str) -> Result<IntGauge, prometheus::Error> {
        self.register(IntGauge::new(name, help)?)
    }

    fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntGaugeVec, prometheus::Error> {
        self.register(IntGaugeVec::new(Opts::new(name, help), labels)?)
    }

    fn seconds(&self, name: &str, help: &str, labels: &[&str]) -> Result<HistogramVec, prometheus::Error> {
        self.register(HistogramVec::new(HistogramOpts::new(name, help).buckets(SECONDS.to_vec()), labels)?)
    }

    /// What never changes while the program runs.
    fn constants(&self, limits: &Limits) -> Result<(), prometheus::Error> {
        let build = Opts::new("stowage_build_info", "1, with the version of the program");
        self.register(IntGaugeVec::new(build, &["version"])?)?.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        for (name, help, value) in [
            ("stowage_in_flight_limit", "limits.in_flight", limits.in_flight as u64),
            ("stowage_connections_limit", "limits.connections", limits.connections as u64),
            ("stowage_upload_buffer_limit_bytes", "limits.upload_buffer_bytes", limits.upload_buffer_bytes),
        ] {
            self.gauge(name, help)?.set(whole(value));
        }
        Ok(())
    }
}

impl Inner {
    /// An increase from nothing is none for Prometheus: what can be counted is there from the start.
    fn begin(&self) {
        for route in ROUTES {
            for outcome in ["broken", "interrupted"] {
                drop(self.cut_off.with_label_values(&[route, outcome]));
            }
        }
        for kind in JOBS {
            drop(self.jobs.with_label_values(&[kind]));
            JOB_OUTCOMES.iter().for_each(|outcome| drop(self.jobs_done.with_label_values(&[kind, outcome])));
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

impl Metrics {
    /// All metrics at zero.
    ///
    /// # Errors
    /// Only for a name that is wrong or there twice: a bug.
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
            fallbacks: make.counters(
                "stowage_fallbacks_total",
                "Attachments that CouchDB keeps because their storage could not take them, by kind of storage",
                &["backend"],
            )?,
            jobs: make.gauges(
                "stowage_jobs",
                "Jobs that wait, of all gateways, when last looked through",
                &["kind"],
            )?,
            jobs_oldest: make.gauge("stowage_jobs_oldest_seconds", "Age of the oldest job")?,
            jobs_stuck: make.gauge("stowage_jobs_stuck", "Jobs that wait for longer than jobs.dead_after")?,
            jobs_done: make.counters(
                "stowage_jobs_done_total",
                "Jobs that this gateway has tried",
                &["kind", "outcome"],
            )?,
            storages_down: make.gauges(
                "stowage_storages_down",
                "Storages that nothing waits for because they do not answer, by kind of storage",
                &["backend"],
            )?,
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
            upload_buffer: make.gauge("stowage_upload_buffer_bytes", "Memory held by the chunks of uploads")?,
            background_tasks: make
                .gauge("stowage_background_tasks", "Commits and removals that outlive their requests")?,
            spans: make.counters("stowage_spans_total", "Spans for the OpenTelemetry collector", &["outcome"])?,
            registry,
        };
        inner.begin();
        let process = prometheus::process_collector::ProcessCollector::for_self();
        inner.registry.register(Box::new(process))?;
        Ok(Self(Arc::new(inner)))
    }

    /// Counts a request that has ended.
    pub fn request_done(&self, route: &str, method: &str, status: &str, took: Duration) {
        self.0.requests.with_label_values(&[route, method, status]).inc();
        if let Some((_, seconds)) = self.0.request_seconds.iter().find(|(known, _)| *known == route) {
            seconds.observe(took.as_secs_f64());
        }
    }

    /// Counts a request that did not come to its end.
    pub fn cut_off(&self, route: &str, outcome: &str) {
        self.0.cut_off.with_label_values(&[route, outcome]).inc();
    }

    /// Begins to count for a kind of storage, from zero.
    pub fn knows_backend(&self, backend: &str) {
        for operation in OPERATIONS {
            for outcome in OUTCOMES {
                drop(self.0.backend_requests.with_label_values(&[backend, operation, outcome]));
            }
        }
        drop(self.0.fallbacks.with_label_values(&[backend]));
        drop(self.0.storages_down.with_label_values(&[backend]));
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

    /// The counter of bytes to (`in`) or from (`out`) a kind of storage.
    #[must_use]
    pub fn attachment_bytes(&self, backend: &str, direction: &str) -> IntCounter {
        self.0.attachment_bytes.with_label_values(&[backend, direction])
    }

    /// Counts an attachment that CouchDB keeps because its storage cannot take it.
    pub fn fallen_back(&self, backend: &str) {
        self.0.fallbacks.with_label_values(&[backend]).inc();
    }

    /// Says what waits in the queue.
    pub fn queue(&self, queue: &Queue) {
        for (kind, count) in &queue.waiting {
            self.0.jobs.with_label_values(&[kind]).set(whole(*count));
        }
        self.0.jobs_oldest.set(whole(queue.oldest.as_secs()));
        self.0.jobs_stuck.set(whole(queue.stuck));
    }

    /// Counts a job that was tried; `outcome` is one of [`JOB_OUTCOMES`].
    pub fn job_done(&self, kind: &str, outcome: &str) {
        self.0.jobs_done.with_label_values(&[kind, outcome]).inc();
    }

    /// Says how many storages of a kind are down.
    pub fn storages_down(&self, backend: &str, count: u64) {
        self.0.storages_down.with_label_values(&[backend]).set(whole(count));
    }

    /// Counts an object that stays in a storage although perhaps no document names it.
    pub fn object_left(&self) {
        self.0.objects_left.inc();
    }

    /// Counts what became of a copy; `outcome` is one of [`COPIES`].
    pub fn copy_done(&self, backend: &str, outcome: &str) {
        self.0.copies.with_label_values(&[backend, outcome]).inc();
    }

    /// Counts a request that failed because CouchDB did; `reason` is one of [`COUCHDB_FAILURES`].
    pub fn couchdb_failure(&self, reason: &str) {
        self.0.couchdb_failures.with_label_values(&[reason]).inc();
    }

    /// Counts a look-up of a storage plan.
    pub fn plan_cache(&self, outcome: &str) {
        self.0.plan_cache.with_label_values(&[outcome]).inc();
    }

    /// Says whether the changes feed of the storage plans is followed.
    pub fn plan_feed(&self, up: bool) {
        self.0.plan_feed.set(up.into());
    }

    /// Counts a connection of a client until the guard is dropped.
    #[must_use]
    pub fn connection(&self) -> Connection {
        self.0.connections.inc();
        Connection(self.0.connections.clone())
    }

    /// Counts a TLS handshake of a client that failed.
    pub fn tls_failure(&self) {
        self.0.tls_failures.inc();
    }

    /// Counts spans that the collector was too slow for.
    #[must_use]
    pub fn dropped_spans(&self) -> IntCounter {
        self.0.spans.with_label_values(&["dropped"])
    }

    /// Counts spans for the collector.
    pub fn spans(&self, outcome: &str, count: u64) {
        self.0.spans.with_label_values(&[outcome]).inc_by(count);
    }

    /// The text that Prometheus scrapes.
    #[must_use]
    pub fn text(&self, levels: Levels) -> Vec<u8> {
        self.0.in_flight.set(whole(levels.in_flight as u64));
        self.0.upload_buffer.set(whole(levels.upload_buffer));
        self.0.background_tasks.set(whole(levels.background_tasks as u64));
        let mut text = Vec::new();
        if let Err(error) = TextEncoder::new().encode(&self.0.registry.gather(), &mut text) {
            tracing::error!(%error, "the metrics cannot be written");
        }
        text
    }
}

/// What waits in the queue of jobs.
#[derive(Debug, Clone, Default)]
pub struct Queue {
    /// How many of each kind.
    pub waiting: Vec<(&'static str, u64)>,
    /// The age of the oldest.
    pub oldest: Duration,
    /// How many are stuck.
    pub stuck: u64,
}

/// A connection that is counted.
#[derive(Debug)]
pub struct Connection(IntGauge);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.dec();
    }
}

fn whole(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// Every route that a request can be counted under.
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
/// Why CouchDB could not be asked.
pub const COUCHDB_FAILURES: [&str; 4] = ["unreachable", "silent", "broken", "nonsense"];
/// What is done with storages.
pub const OPERATIONS: [&str; 3] = ["put", "get", "delete"];
/// How that ends.
pub const OUTCOMES: [&str; 7] = ["ok", "missing", "passing", "refused", "interrupted", "too_large", "down"];
/// What is done later.
pub const JOBS: [&str; 3] = ["move", "copy", "remove"];
/// How a try of that ends.
pub const JOB_OUTCOMES: [&str; 3] = ["ok", "waits", "failed"];
/// What becomes of the copy of an attachment that CouchDB keeps: made, not made, taken back because CouchDB has no such
/// attachment, or made although CouchDB never said whether it has one.
pub const COPIES: [&str; 4] = ["ok", "failed", "discarded", "unknown"];
/// Upper bounds in seconds: from a forwarded document to a long recording. 20 s is when clients give up.
const SECONDS: [f64; 17] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 60.0, 300.0];
