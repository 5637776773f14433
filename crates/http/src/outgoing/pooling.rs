//! What one server's connections are like, and how long they rest.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How the connections to one server are made and kept.
#[derive(Debug, Clone, Copy)]
pub struct Pooling {
    /// How long a connection may take to be made, where that is less than `timeouts.connect`.
    pub connect: Option<Duration>,
    /// More idle connections than this are closed, the oldest first.
    pub most_idle: usize,
}

impl Default for Pooling {
    fn default() -> Self {
        Self { connect: None, most_idle: MOST_IDLE }
    }
}

/// Since when a connection has been idle, where it is; cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rest(Arc<Mutex<Option<Instant>>>);

impl Rest {
    pub(crate) fn begins(&self) {
        *self.since() = Some(Instant::now());
    }

    pub(crate) fn ends(&self) {
        *self.since() = None;
    }

    /// Resolves when the connection has been idle for [`KEEP_IDLE`].
    pub(crate) async fn is_long(&self) {
        let mut wait = KEEP_IDLE;
        while !wait.is_zero() {
            tokio::time::sleep(wait).await;
            let since = *self.since();
            wait = since.map_or(KEEP_IDLE, |since| KEEP_IDLE.saturating_sub(since.elapsed()));
        }
    }

    fn since(&self) -> MutexGuard<'_, Option<Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// More idle connections than this to one server are closed, the oldest first.
const MOST_IDLE: usize = 1024;
/// An idle connection is closed after this: servers close theirs, and a race with that costs a request; its buffers and its
/// descriptor are for those who need them.
pub(crate) const KEEP_IDLE: Duration = Duration::from_secs(20);
