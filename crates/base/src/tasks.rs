//! The only way to start a background task, so that shutdown tracks every task and every panic is logged.

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
    /// Spawns a task that shutdown waits for. `what` names it in the log if it panics.
    ///
    /// The handle resolves to `None` if the task panicked.
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

    /// Resolves when the program is stopping; long-running tasks select on it.
    pub async fn stopping(&self) {
        self.stopping.cancelled().await;
    }

    /// Returns whether the program is stopping.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.stopping.is_cancelled()
    }

    /// Signals long-running tasks to stop.
    pub fn stop(&self) {
        self.stopping.cancel();
    }

    /// Returns how many tasks are running.
    #[must_use]
    pub fn running(&self) -> usize {
        self.tracker.len()
    }

    /// Waits up to `limit` for all tasks to finish; returns how many did not.
    pub async fn drain(&self, limit: Duration) -> usize {
        self.tracker.close();
        match tokio::time::timeout(limit, self.tracker.wait()).await {
            Ok(()) => 0,
            Err(_) => self.tracker.len(),
        }
    }
}
