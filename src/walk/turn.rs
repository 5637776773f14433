//! Concurrent walks through the same documents share the work: each page is processed once.

use crate::jobs::{Claim, Held, Job, Jobs};
use crate::router::Database;

/// The owner of a page's documents.
pub(super) enum Turn {
    /// This walk, while it holds the job; `None` if jobs cannot be saved.
    Own(Option<Box<Held>>),
    /// Another walk is processing them.
    Taken,
}

impl Turn {
    /// Claims the documents from an id on.
    ///
    /// The claim is a leased job. If its walk is killed, a worker takes the job and finds nothing to do.
    pub(super) async fn at(jobs: &Jobs, database: &Database, from: &str) -> Self {
        match jobs.claim(Job::walk(database, from)).await {
            Ok(Claim::Held(held)) => Self::Own(Some(held)),
            Ok(Claim::Taken) => Self::Taken,
            Err(reason) => {
                tracing::debug!(reason, "what is in work cannot be noted: another walk may do the same work");
                Self::Own(None)
            }
        }
    }
}

/// Runs a future while holding a job, then removes the job.
pub(super) async fn held_during<T, E>(
    held: Option<Box<Held>>,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    let outcome = work.await;
    if let Some(held) = held {
        held.done().await;
    }
    outcome
}
