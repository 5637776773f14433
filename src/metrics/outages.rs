//! Metrics about storage outages and jobs.

use std::time::Duration;

use prometheus::{IntCounterVec, IntGauge, IntGaugeVec};
use stowage_base::metrics::whole;

use super::make::Maker;

/// Metrics about storage outages and jobs.
#[derive(Debug)]
pub struct Outages {
    down: IntGaugeVec,
    fallbacks: IntCounterVec,
    jobs: IntGaugeVec,
    oldest: IntGauge,
    stuck: IntGauge,
    tried: IntCounterVec,
}

/// The state of the job queue.
#[derive(Debug, Clone, Default)]
pub struct Queue {
    /// The number of waiting jobs of each kind.
    pub waiting: Vec<(&'static str, u64)>,
    /// The age of the oldest job.
    pub oldest: Duration,
    /// The number of stuck jobs.
    pub stuck: u64,
}

impl Outages {
    pub(super) fn new(make: &Maker<'_>) -> Result<Self, prometheus::Error> {
        let outages = Self {
            down: make.gauges(
                "stowage_storages_down",
                "Storages that nothing waits for because they do not answer, by kind of storage",
                &["backend"],
            )?,
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
            oldest: make.gauge("stowage_jobs_oldest_seconds", "Age of the oldest job")?,
            stuck: make.gauge("stowage_jobs_stuck", "Jobs that wait for longer than jobs.dead_after")?,
            tried: make.counters(
                "stowage_jobs_done_total",
                "Jobs that this gateway has tried",
                &["kind", "outcome"],
            )?,
        };
        for kind in JOBS {
            drop(outages.jobs.with_label_values(&[kind]));
            JOB_OUTCOMES.iter().for_each(|outcome| drop(outages.tried.with_label_values(&[kind, outcome])));
        }
        Ok(outages)
    }

    /// Initialises the metrics of a backend at zero.
    pub(super) fn knows_backend(&self, backend: &str) {
        drop(self.fallbacks.with_label_values(&[backend]));
        drop(self.down.with_label_values(&[backend]));
    }

    /// Sets how many storages of a backend are down.
    pub fn down(&self, backend: &str, count: u64) {
        self.down.with_label_values(&[backend]).set(whole(count));
    }

    /// Counts an attachment that CouchDB keeps because its storage cannot take it.
    pub fn fallen_back(&self, backend: &str) {
        self.fallbacks.with_label_values(&[backend]).inc();
    }

    /// Sets the state of the job queue.
    pub fn queue(&self, queue: &Queue) {
        for (kind, count) in &queue.waiting {
            self.jobs.with_label_values(&[kind]).set(whole(*count));
        }
        self.oldest.set(whole(queue.oldest.as_secs()));
        self.stuck.set(whole(queue.stuck));
    }

    /// Counts an attempt at a job; `outcome` is one of [`JOB_OUTCOMES`].
    pub fn job_done(&self, kind: &str, outcome: &str) {
        self.tried.with_label_values(&[kind, outcome]).inc();
    }
}

/// The kinds of jobs.
const JOBS: [&str; 3] = ["move", "copy", "remove"];
/// The outcomes of an attempt at a job.
pub const JOB_OUTCOMES: [&str; 3] = ["ok", "waits", "failed"];
