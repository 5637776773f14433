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

/// A document, and the objects that a write drops from it by this plan, by attachment name.
pub(crate) struct Dropping<'a> {
    pub(crate) target: &'a DocumentTarget,
    pub(crate) plan: &'a DocumentPlan,
    pub(crate) dropped: &'a [(String, Pointer)],
}

impl Dropping<'_> {
    fn removals(&self) -> Vec<Job> {
        let own = self.dropped.iter().filter_map(|(name, pointer)| {
            let target = self.target.attachment(name);
            let removal = || Job::removal(&target, &self.plan.stand_in(), &pointer.stowage).in_doubt();
            pointer.is_own(target.at()).then(removal)
        });
        own.collect()
    }
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
        Self::arm_all(gateway, &[Dropping { target, plan, dropped }]).await
    }

    /// Saves the jobs of several documents, which are also renewed a few at a time.
    pub(crate) async fn arm_all(gateway: &Arc<Gateway>, documents: &[Dropping<'_>]) -> Self {
        let is_open = gateway.jobs.is_open();
        let jobs = if is_open { documents.iter().flat_map(Dropping::removals).collect() } else { Vec::new() };
        Self(gateway.jobs.hold_all(jobs).await)
    }

    /// Removes the jobs, since the objects are either gone or to be kept. A job that a failed removal has added again stays.
    pub(crate) async fn done(self) {
        self.0.done().await;
    }
}
