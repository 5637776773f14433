//! Steps that a dropped future must not leave half done.

use std::future::Future;
use std::time::Duration;

use stowage_base::tasks::Tasks;
use tokio::sync::oneshot;

use crate::error::{Error, Kind, Result};

/// Runs a step to completion even if the caller is dropped. Its result is then dropped as well, so a value that cleans up in
/// `Drop` leaves nothing behind.
///
/// # Errors
/// The step's own; `Passing` if it panicked.
pub(crate) async fn to_completion<T, F>(tasks: &Tasks, what: &'static str, step: F) -> Result<T>
where
    T: Send + 'static,
    F: Future<Output = Result<T>> + Send + 'static,
{
    // Not via the task's handle: it drops an unclaimed result only after the task has ceased to count as running, and shutdown could
    // miss the clean-up started in between.
    let (sender, receiver) = oneshot::channel();
    drop(tasks.spawn(what, async move { drop(sender.send(step.await)) }));
    let broke_off = |_| Error::new(Kind::Passing, format!("the task \"{what}\" broke off"));
    receiver.await.map_err(broke_off)?
}

/// Starts clean-up from `Drop`, which cannot await. Without a runtime, the program has already ended.
pub(crate) fn clean_up<F>(tasks: &Tasks, what: &'static str, step: F)
where
    F: Future<Output = ()> + Send + 'static,
{
    if tokio::runtime::Handle::try_current().is_ok() {
        drop(tasks.spawn(what, step));
    }
}

/// Attempts of a clean-up: a few, until it has done its work.
///
/// Finding nothing to do is not a failure, but it is retried: a request whose response was lost may still be in progress on the
/// server.
#[derive(Debug, Default)]
pub(crate) struct CleanUp {
    made: usize,
    done: bool,
    failure: Option<Error>,
}

impl CleanUp {
    /// Waits for the next attempt; returns `false` if there is none.
    pub(crate) async fn again(&mut self) -> bool {
        let Some(pause) = PAUSES.get(self.made).filter(|_| !self.done) else { return false };
        self.made += 1;
        tokio::time::sleep(*pause).await;
        true
    }

    /// Records the outcome of an attempt: whether it did its work.
    pub(crate) fn note(&mut self, outcome: Result<bool>) {
        self.done = outcome.as_ref().is_ok_and(|done| *done);
        self.failure = outcome.err();
    }

    /// Returns why the last attempt failed, if it did.
    pub(crate) fn failure(self) -> Option<Error> {
        self.failure
    }
}

/// As long as a server may take to notice that a connection is gone.
const PAUSES: [Duration; 3] = [Duration::ZERO, Duration::from_secs(1), Duration::from_secs(5)];
