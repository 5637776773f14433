//! Processes one job, from claiming it to saving its outcome.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::OwnedSemaphorePermit;

use super::step::{Failure, Step};
use super::{Worker, moves, removal};
use crate::gateway::Gateway;
use crate::jobs::{Held, Job, Kind, Unsaved};

impl Worker {
    /// Claims a job that is due, as far as this gateway knows.
    pub(super) async fn take_known(self: Arc<Self>, id: Arc<str>, permit: OwnedSemaphorePermit) {
        let later = SystemTime::now() + self.gateway.jobs.config().poll;
        match self.gateway.jobs.read(&id).await {
            Ok(Some(job)) if !job.is_due(SystemTime::now()) => drop(self.known().note(&job)),
            Ok(Some(job)) if !job.asked && self.rests.rests(&self.gateway, &job).await => {
                self.known().defer(&id, later)
            }
            Ok(Some(job)) => self.take(job, permit).await,
            Ok(None) => self.known().forget(&id),
            Err(reason) => {
                tracing::debug!(job = %id, reason, "a job cannot be read");
                self.known().defer(&id, later);
            }
        }
    }

    /// Claims a job, unless another gateway holds it, and processes it.
    pub(super) async fn take(self: Arc<Self>, mut job: Job, permit: OwnedSemaphorePermit) {
        let (id, kind) = (job.id.clone(), job.kind);
        let attempt = job.clone();
        // An attempt that is cut off may have removed the object, and a request may store another one under the name: the next one looks twice again.
        if kind == Kind::Remove {
            job.seen = None;
        }
        let held = match self.gateway.jobs.hold(job).await {
            Ok(Some(held)) => held,
            // Another gateway was faster.
            Ok(None) => return,
            Err(Unsaved { reason, is_general: false }) => {
                tracing::warn!(job = %id, reason, "a job cannot be claimed: it waits");
                return self.gateway.metrics.outages().job_done(kind.as_str(), "failed");
            }
            Err(Unsaved { reason, is_general: true }) => {
                // Before the permit is given back, with which the next job would start.
                if self.halt.begin(self.gateway.jobs.config().poll) {
                    tracing::warn!(job = %id, reason, "a job cannot be claimed: all jobs wait");
                }
                return self.gateway.metrics.outages().job_done(kind.as_str(), "failed");
            }
        };
        self.halt.end();
        let outcome = self.work(attempt, held).await;
        drop(permit);
        match outcome {
            Ok(outcome) => self.gateway.metrics.outages().job_done(kind.as_str(), outcome),
            Err(reason) => {
                self.gateway.metrics.outages().job_done(kind.as_str(), "failed");
                tracing::warn!(job = %id, reason, "what became of a job could not be saved: it is tried again");
            }
        }
    }

    /// Processes a job that this gateway holds, and saves its outcome. A renewal that fails or takes long does not stop the work while the lease lasts.
    async fn work(&self, attempt: Job, held: Held) -> Result<&'static str, String> {
        let made = tokio::select! {
            made = Box::pin(step(&self.gateway, attempt)) => Some(made),
            () = held.lost() => None,
        };
        let mut job = held.end().await;
        let Some(made) = made else { return self.lost(&job).await };
        self.rests.note(&self.gateway, &job, &made).await;
        let jobs = &self.gateway.jobs;
        (job.holder, job.asked) = (None, false);
        match made {
            Step::Done => {
                if !jobs.drop_done(&job).await? {
                    return self.lost(&job).await;
                }
                Ok("ok")
            }
            Step::Waits { pause, seen, .. } => {
                job.seen = seen;
                job.next = SystemTime::now() + pause;
                self.ended(job, "waits").await
            }
            Step::Failed(failure) => {
                job.tries += 1;
                let age = SystemTime::now().duration_since(job.since).unwrap_or_default();
                let pause = if age > jobs.config().dead_after { ONCE_A_DAY } else { failure.pause_after(job.tries) };
                job.next = SystemTime::now() + pause;
                if job.error.as_deref() != Some(&*failure.reason) {
                    tracing::warn!(job = %job.id, storage = %job.storage, reason = %failure.reason, "a job waits");
                }
                job.error = Some(failure.reason);
                self.ended(job, "failed").await
            }
        }
    }

    /// Saves a job that remains in the queue, without its holder.
    async fn ended(&self, job: Job, outcome: &'static str) -> Result<&'static str, String> {
        match self.gateway.jobs.save(job.clone()).await? {
            Some(_) => Ok(outcome),
            None => self.lost(&job).await,
        }
    }

    /// Releases a job that was added or requested again while it was processed, so that the first gateway that finds it processes it once more.
    async fn lost(&self, job: &Job) -> Result<&'static str, String> {
        if let Some(mut now) = self.gateway.jobs.read(&job.id).await?
            && self.gateway.jobs.holds(&now)
        {
            now.holder = None;
            drop(self.gateway.jobs.save(now).await?);
        }
        Ok("waits")
    }
}

/// Attempts a job once.
async fn step(gateway: &Arc<Gateway>, job: Job) -> Step {
    let kind = job.kind;
    let outcome = match kind {
        Kind::Move => moves::move_out(gateway, &job).await,
        Kind::Copy => moves::copy(gateway, &job).await,
        Kind::Remove => removal::remove(gateway, &job).await,
    };
    outcome.unwrap_or_else(|error| Step::Failed(Failure::of(kind, &error)))
}

/// The interval between attempts at a stuck job.
const ONCE_A_DAY: Duration = Duration::from_secs(24 * 3600);
