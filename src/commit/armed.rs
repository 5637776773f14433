//! Removal jobs saved before the write that drops the pointers: a gateway killed in between leaves a job rather than an orphan.

use std::sync::Arc;

use crate::gateway::Gateway;
use crate::jobs::{AllHeld, Job};
use crate::plan::DocumentPlan;
use crate::pointer::Pointer;
use crate::router::DocumentTarget;

/// Removal jobs leased by this gateway; other gateways run them only after it has died or dropped them.
#[must_use]
pub(crate) struct Armed(AllHeld);

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
        let jobs: Vec<Job> = own.filter(|_| gateway.jobs.is_open()).collect();
        Self(gateway.jobs.hold_all(jobs).await)
    }

    /// Removes the jobs, since the objects are either gone or to be kept. A job that a failed removal has added again stays.
    pub(crate) async fn done(self) {
        self.0.done().await;
    }
}
