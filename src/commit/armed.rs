//! Removal jobs saved before the write that drops the pointers: a gateway killed in between leaves a job rather than an orphan.

use std::pin::pin;
use std::sync::Arc;

use futures_util::future::join_all;

use crate::gateway::Gateway;
use crate::jobs::Job;
use crate::plan::DocumentPlan;
use crate::pointer::Pointer;
use crate::router::DocumentTarget;

/// Jobs leased by this gateway: no other one touches them unless it dies.
#[must_use]
pub(crate) struct Armed {
    gateway: Arc<Gateway>,
    jobs: Vec<Job>,
}

impl Armed {
    /// Saves a job for each object that the document owns and the write no longer names. If jobs cannot be saved, an object that cannot be removed
    /// afterwards is logged then.
    pub(crate) async fn arm(
        gateway: &Arc<Gateway>,
        target: &DocumentTarget,
        plan: &DocumentPlan,
        dropped: &[(String, Pointer)],
    ) -> Self {
        let own = dropped.iter().filter_map(|(name, pointer)| {
            let target = target.attachment(name);
            pointer.is_own(target.at()).then(|| Job::removal(&target, &plan.stand_in(), &pointer.stowage))
        });
        let jobs: Vec<Job> = own.filter(|_| gateway.jobs.is_open()).map(|job| gateway.jobs.held(job)).collect();
        let added = gateway.jobs.add_all(&jobs).await;
        Self { gateway: Arc::clone(gateway), jobs: added.into_iter().filter_map(Result::ok).collect() }
    }

    /// Runs a future, renewing the leases until it completes.
    pub(crate) async fn during<F: Future>(&mut self, work: F) -> F::Output {
        let mut work = pin!(work);
        let third = self.gateway.jobs.config().lease / 3;
        loop {
            tokio::select! {
                done = &mut work => return done,
                () = tokio::time::sleep(third) => self.renew().await,
            }
        }
    }

    async fn renew(&mut self) {
        for job in &mut self.jobs {
            match self.gateway.jobs.save(self.gateway.jobs.held(job.clone())).await {
                Ok(Some(held)) => *job = held,
                // The gateway that saved the job in the meantime holds it now.
                Ok(None) => {}
                Err(reason) => tracing::debug!(reason, "a job could not be renewed"),
            }
        }
    }

    /// Removes the jobs, since the objects are either gone or to be kept. A job that a failed removal has added again stays.
    pub(crate) async fn done(self) {
        let dropped = join_all(self.jobs.iter().map(|job| self.gateway.jobs.drop_done(job))).await;
        for reason in dropped.into_iter().filter_map(Result::err) {
            tracing::debug!(reason, "a job about an object that is gone stays: it finds nothing to do");
        }
    }
}
