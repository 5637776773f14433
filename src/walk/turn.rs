//! Walks through the same documents at the same time share them: each page is in work once.

use crate::jobs::{Claim, Held, Job, Jobs};
use crate::router::Database;

/// Whose the documents of a page are.
pub(super) enum Turn {
    /// This walk's, for as long as it holds the job; without one where there is no place for jobs.
    Own(Option<Box<Held>>),
    /// Another walk has them in work.
    Taken,
}

impl Turn {
    /// Asks for the documents from an id on.
    ///
    /// The right to them is a job that is held: of one whose walk was killed, a worker finds that there is nothing to do.
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

/// Does something while a job is held, and drops that then.
pub(super) async fn held_during<T, E>(
    held: Option<Box<Held>>,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    let Some(held) = held else { return work.await };
    let outcome = held.during(work).await;
    held.done().await;
    outcome
}
