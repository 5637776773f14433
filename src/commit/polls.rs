//! Polls CouchDB for the outcome of a write that was reported to the client as unknown.

use std::time::Duration;

use stowage_base::backoff::Backoff;
use stowage_base::tasks::Tasks;
use tokio::time::Instant;

/// A schedule of polls with growing delays.
pub(crate) struct Polls {
    began: Instant,
    backoff: Backoff,
}

impl Polls {
    pub(crate) fn begin() -> Self {
        Self { began: Instant::now(), backoff: Backoff::new(FIRST_PAUSE, LONGEST_PAUSE) }
    }

    /// Waits for the next poll; returns false if there is none. When the program stops, the last poll is due at once.
    pub(crate) async fn next(&mut self, tasks: &Tasks) -> bool {
        if self.began.elapsed() >= ASK_FOR || tasks.is_stopping() {
            return false;
        }
        tokio::select! {
            () = tokio::time::sleep(self.backoff.next_pause()) => {}
            () = tasks.stopping() => {}
        }
        true
    }

    /// Returns whether a write that has not arrived by now never will.
    pub(crate) fn is_settled(&self) -> bool {
        self.began.elapsed() > SETTLED_AFTER
    }
}

/// How long to poll for the outcome of a write.
const ASK_FOR: Duration = Duration::from_secs(600);
/// The time after which a write without a response can no longer arrive.
const SETTLED_AFTER: Duration = Duration::from_secs(60);
/// The delay before the first poll.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest delay between two polls.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
