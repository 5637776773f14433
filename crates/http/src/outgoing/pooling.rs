//! Settings and idle tracking of one server's connections.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How connections to one server are opened and kept.
#[derive(Debug, Clone, Copy)]
pub struct Pooling {
    /// Connect timeout, if shorter than `timeouts.connect`.
    pub connect: Option<Duration>,
    /// Maximum number of idle connections; the oldest are closed first.
    pub most_idle: usize,
}

impl Default for Pooling {
    fn default() -> Self {
        Self { connect: None, most_idle: MOST_IDLE }
    }
}

/// When a connection became idle, if it is; cheap to clone.
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

/// Default maximum of idle connections to one server.
const MOST_IDLE: usize = 1024;
/// An idle connection is closed after this: servers close theirs as well, and racing with that costs a request; besides, its
/// buffers and descriptor are better used elsewhere.
pub(crate) const KEEP_IDLE: Duration = Duration::from_secs(20);
