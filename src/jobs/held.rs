//! A job that this gateway leases while it works on something.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use super::{Job, Jobs};

/// A job held by this gateway. After a drop, the lease runs until it expires; then any worker may claim the job.
#[derive(Debug)]
pub struct Held {
    jobs: Jobs,
    /// The job as last saved, and when; `None` if the lease can no longer be trusted.
    state: Mutex<(Job, Option<Instant>)>,
}

impl Held {
    pub(super) fn new(jobs: &Jobs, job: Job) -> Self {
        Self { jobs: jobs.clone(), state: Mutex::new((job, Some(Instant::now()))) }
    }

    /// Changes the job and returns whether `change` changed it; [`renew`](Self::renew) saves the change.
    pub fn change(&self, change: impl FnOnce(&mut Job) -> bool) -> bool {
        change(&mut self.state().0)
    }

    /// Runs a future, renewing the lease until it completes.
    pub async fn during<F: Future>(&self, work: F) -> F::Output {
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return done,
                () = tokio::time::sleep(self.jobs.config().lease / 3) => {
                    self.renew().await;
                }
            }
        }
    }

    /// Returns whether the lease is still held. Act on the answer soon.
    pub async fn is_held(&self) -> bool {
        let since = self.state().1;
        since.is_some_and(|since| since.elapsed() < self.jobs.config().lease / 3) || self.renew().await
    }

    /// Renews the lease; returns false if another gateway holds the job now, or if the save failed.
    pub async fn renew(&self) -> bool {
        let job = self.state().0.clone();
        match self.jobs.save(self.jobs.held(job)).await {
            Ok(Some(held)) => {
                *self.state() = (held, Some(Instant::now()));
                true
            }
            // Another gateway holds the job.
            Ok(None) => self.is_lost(),
            Err(reason) => {
                tracing::debug!(reason, "a job could not be renewed");
                self.is_lost()
            }
        }
    }

    /// Marks the lease as lost: it must be renewed before it is trusted again.
    fn is_lost(&self) -> bool {
        self.state().1 = None;
        false
    }

    /// Removes the finished job.
    pub async fn done(&self) {
        let job = self.state().0.clone();
        if let Err(reason) = self.jobs.drop_done(&job).await {
            tracing::debug!(reason, "a job that is done stays: it finds nothing to do");
        }
    }

    fn state(&self) -> MutexGuard<'_, (Job, Option<Instant>)> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
