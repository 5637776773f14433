//! A job that this gateway leases while it works on something.

use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::{Job, Jobs};

/// A job held by this gateway. After a drop, the lease runs until it expires; then any worker may claim the job.
#[derive(Debug)]
pub struct Held {
    lease: Arc<Lease>,
    /// Renews the lease in time, until the drop.
    _keeper: JoinSet<()>,
}

#[derive(Debug)]
struct Lease {
    jobs: Jobs,
    /// The job as last saved, and when; `None` if the lease can no longer be trusted. Locked while the job is saved or removed.
    state: Mutex<(Job, Option<Instant>)>,
}

impl Held {
    pub(super) fn new(jobs: &Jobs, job: Job) -> Self {
        let lease = Arc::new(Lease { jobs: jobs.clone(), state: Mutex::new((job, Some(Instant::now()))) });
        let kept = Arc::clone(&lease);
        let mut keeper = JoinSet::new();
        keeper.spawn(async move {
            loop {
                tokio::time::sleep(kept.jobs.config().lease / 3).await;
                kept.renew(&mut *kept.state.lock().await).await;
            }
        });
        Self { lease, _keeper: keeper }
    }

    /// Changes the job, and saves it if `change` returns that it has.
    pub async fn change(&self, change: impl FnOnce(&mut Job) -> bool) {
        let mut state = self.lease.state.lock().await;
        if change(&mut state.0) {
            self.lease.renew(&mut state).await;
        }
    }

    /// Returns whether the lease is still held. Act on the answer soon.
    pub async fn is_held(&self) -> bool {
        let mut state = self.lease.state.lock().await;
        state.1.is_some_and(|since| since.elapsed() < self.lease.jobs.config().lease / 3)
            || self.lease.renew(&mut state).await
    }

    /// Removes the finished job.
    pub async fn done(&self) {
        let state = self.lease.state.lock().await;
        if let Err(reason) = self.lease.jobs.drop_done(&state.0).await {
            tracing::debug!(reason, "a job that is done stays: it finds nothing to do");
        }
    }
}

impl Lease {
    /// Renews the lease; returns false if another gateway holds the job now, or if the save failed. Then the lease must be renewed before it is
    /// trusted again.
    async fn renew(&self, state: &mut (Job, Option<Instant>)) -> bool {
        match self.save(&state.0).await {
            Ok(Some(held)) => *state = (held, Some(Instant::now())),
            // Another gateway holds the job.
            Ok(None) => state.1 = None,
            Err(reason) => {
                tracing::debug!(reason, "a job could not be renewed");
                state.1 = None;
            }
        }
        state.1.is_some()
    }

    /// Saves the job for another lease, or returns `None` if another gateway holds it.
    async fn save(&self, job: &Job) -> Result<Option<Job>, String> {
        let jobs = &self.jobs;
        if let Some(held) = jobs.save(jobs.held(job.clone())).await? {
            return Ok(Some(held));
        }
        // An earlier save may have succeeded without an answer. Before the lease ends, nothing else makes this gateway the holder.
        if job.holder.as_ref().is_none_or(|holder| holder.until <= SystemTime::now()) {
            return Ok(None);
        }
        match jobs.read(&job.id).await? {
            // An operator's request for the job ends the lease.
            Some(known) if jobs.holds(&known) && known.asked == job.asked => {
                jobs.save(jobs.held(Job { rev: known.rev, ..job.clone() })).await
            }
            Some(_) | None => Ok(None),
        }
    }
}
