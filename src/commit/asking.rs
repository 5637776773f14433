//! Asking CouchDB what became of a write, after the client has been told that it is unknown.

use std::time::Duration;

use stowage_base::tasks::Tasks;
use tokio::time::Instant;

/// Questions at growing pauses.
pub(crate) struct Asking {
    began: Instant,
    pause: Duration,
}

impl Asking {
    pub(crate) fn begin() -> Self {
        Self { began: Instant::now(), pause: Duration::from_secs(1) }
    }

    /// Waits for the time of the next question; false where there is to be none. If the program stops, it is time at once, for
    /// the last one.
    pub(crate) async fn go_on(&mut self, tasks: &Tasks) -> bool {
        if self.began.elapsed() >= ASK_FOR || tasks.is_stopping() {
            return false;
        }
        tokio::select! {
            () = tokio::time::sleep(self.pause) => {}
            () = tasks.stopping() => {}
        }
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        true
    }

    /// Whether a write that has not arrived will not arrive any more.
    pub(crate) fn is_settled(&self) -> bool {
        self.began.elapsed() > SETTLED_AFTER
    }
}

/// How long the gateway asks what became of a write.
const ASK_FOR: Duration = Duration::from_secs(600);
/// After this, a write that got no answer will not arrive any more.
const SETTLED_AFTER: Duration = Duration::from_secs(60);
/// The longest pause between two questions.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
