//! The outcomes by which a breaker opens.

use std::time::Duration;

use tokio::time::Instant;

/// The outcomes of a while.
#[derive(Debug)]
pub(super) struct Window {
    began: Instant,
    pub(super) failed: u32,
    pub(super) answered: u32,
    /// The number of consecutive failures to connect.
    pub(super) unreached: u32,
}

impl Window {
    pub(super) fn begin() -> Self {
        Self { began: Instant::now(), failed: 0, answered: 0, unreached: 0 }
    }

    /// Begins a new window when the current one is over. Consecutive failures to connect count across windows, so that a rarely used storage trips
    /// its breaker, too.
    pub(super) fn roll(&mut self) {
        if self.began.elapsed() > WINDOW {
            *self = Self { unreached: self.unreached, ..Self::begin() };
        }
    }

    /// Returns whether the breaker has to open. A storage that answers more often than it fails is not down.
    pub(super) const fn is_enough(&self, failures: u32) -> bool {
        failures > 0 && (self.unreached >= MOST_UNREACHED || (self.failed >= failures && self.failed > self.answered))
    }
}

/// The duration of a window.
pub(super) const WINDOW: Duration = Duration::from_secs(30);
/// The number of consecutive failures to connect that opens a breaker.
const MOST_UNREACHED: u32 = 3;
