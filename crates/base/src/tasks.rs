//! The only way to start a background task: shutdown has to see every one of them, and a panic has to be logged.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Tracks background tasks; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Tasks {
    tracker: TaskTracker,
    stopping: CancellationToken,
}

impl Tasks {
    /// Starts a task that shutdown waits for. `what` names it in the log if it panics.
    ///
    /// The handle gives `None` if the task panicked.
    pub fn spawn<F>(&self, what: &'static str, future: F) -> JoinHandle<Option<F::Output>>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.tracker.spawn(async move {
            let outcome = AssertUnwindSafe(future).catch_unwind().await;
            if outcome.is_err() {
                tracing::error!(task = what, "a background task panicked; this is a bug");
            }
            outcome.ok()
        })
    }

    /// Resolves when the program is to stop: endless tasks select on it.
    pub async fn stopping(&self) {
        self.stopping.cancelled().await;
    }

    /// Whether the program is to stop.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.stopping.is_cancelled()
    }

    /// Tells endless tasks to stop.
    pub fn stop(&self) {
        self.stopping.cancel();
    }

    /// How many tasks run now.
    #[must_use]
    pub fn running(&self) -> usize {
        self.tracker.len()
    }

    /// Waits until every task has ended, at most `limit`; gives the number that had not.
    pub async fn drain(&self, limit: Duration) -> usize {
        self.tracker.close();
        match tokio::time::timeout(limit, self.tracker.wait()).await {
            Ok(()) => 0,
            Err(_) => self.tracker.len(),
        }
    }
}
